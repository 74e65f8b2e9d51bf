"""Operator ``annotate_videos``: the pipeline on the selected samples, the view or the dataset."""

from fiftyone.operators import types

from ..pipeline import presets
from .annotating import PipelineOperator
from .work import config_of


class AnnotateVideos(PipelineOperator):
    """Makes a Tree-of-Captions of each video and stores it as a run of the dataset.

    Example::

        import fiftyone as fo
        import fiftyone.operators as foo

        annotate_videos = foo.get_operator("@action100m/action100m-fiftyone/annotate_videos")
        dataset = fo.load_dataset("action100m")
        annotate_videos(dataset.take(4), "baseline", "embedded")
    """

    stages = presets.STAGES
    done = "annotated"

    @property
    def config(self):
        return config_of(
            "annotate_videos",
            "Annotate videos with Trees-of-Captions",
            (
                "Embed, segment, caption and refine the selected videos, the view or the "
                "dataset, and store the trees as a run beside the ground truth"
            ),
            "account_tree",
        )

    def resolve_placement(self, ctx):
        return types.Placement(
            types.Places.SAMPLES_GRID_SECONDARY_ACTIONS,
            types.Button(label="Annotate videos", icon="account_tree", prompt=True),
        )
