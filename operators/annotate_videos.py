"""Operator ``annotate_videos``: the pipeline on the selected samples, the view or the dataset."""

from fiftyone.operators import types

from ..pipeline import presets
from .annotating import PipelineOperator, config_of


class AnnotateVideos(PipelineOperator):
    """Makes a Tree-of-Captions of each video and stores it as a run of the dataset."""

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

    def __call__(self, samples, run_key, preset, resume=False, delegate=False, changes=()):
        """Annotate videos from Python.

        Args:
            samples: a dataset, or a view of the videos
            run_key: names the run and its fields, ``<run_key>_tree`` first of all
            preset: a preset's name, or the path of a YAML file; a run that goes on has its own
            resume: whether ``run_key`` names a run that is to go on
            delegate: whether to queue the work for ``fiftyone delegated launch``
            changes: of the preset, like "refine.model=NAME"; a run that goes on has its own

        Example::

            import fiftyone as fo
            import fiftyone.operators as foo

            annotate_videos = foo.get_operator("@action100m/action100m-fiftyone/annotate_videos")
            dataset = fo.load_dataset("action100m")
            annotate_videos(dataset.take(4), "baseline", "embedded")
        """
        return self._call(samples, run_key, preset, resume, changes, delegate)
