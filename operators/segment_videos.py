"""Operator ``segment_videos``: the second stage alone."""

from .annotating import PipelineOperator
from .work import config_of


class SegmentVideos(PipelineOperator):
    """Cuts embedded videos into trees.

    Example::

        import fiftyone as fo
        import fiftyone.operators as foo

        segment_videos = foo.get_operator("@action100m/action100m-fiftyone/segment_videos")
        dataset = fo.load_dataset("action100m")
        segment_videos(dataset.take(4), "baseline", changes=["segment.min_duration=1.0"])
    """

    stages = ("segment",)
    done = "segmented"

    @property
    def config(self):
        return config_of(
            "segment_videos",
            "Segment videos (stage 1b)",
            (
                "Cut embedded videos into trees of segments; with another threshold they are "
                "only cut again"
            ),
            "call_split",
        )
