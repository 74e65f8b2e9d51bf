"""Operator ``caption_segments``: the third stage alone."""

from .annotating import PipelineOperator
from .work import config_of


class CaptionSegments(PipelineOperator):
    """Captions every segment of a run's trees.

    Example::

        import fiftyone as fo
        import fiftyone.operators as foo

        caption_segments = foo.get_operator("@action100m/action100m-fiftyone/caption_segments")
        dataset = fo.load_dataset("action100m")
        caption_segments(dataset.take(4), "baseline")
    """

    stages = ("caption",)
    done = "captioned"

    @property
    def config(self):
        return config_of(
            "caption_segments",
            "Caption segments (stage 2)",
            ("Describe every segment of a run's trees, and the middle frame of each leaf"),
            "closed_caption",
        )
