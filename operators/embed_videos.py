"""Operator ``embed_videos``: the first stage alone."""

from .annotating import PipelineOperator
from .work import config_of


class EmbedVideos(PipelineOperator):
    """Embeds videos and keeps the vectors with the run.

    Example::

        import fiftyone as fo
        import fiftyone.operators as foo

        embed_videos = foo.get_operator("@action100m/action100m-fiftyone/embed_videos")
        dataset = fo.load_dataset("action100m")
        embed_videos(dataset.take(4), "baseline", "embedded")
    """

    stages = ("embed",)
    done = "embedded"

    @property
    def config(self):
        return config_of(
            "embed_videos",
            "Embed videos (stage 1a)",
            (
                "Turn each video into a vector for every fourth frame, the first half of the "
                "pipeline's first stage; other stages of the run go on from it"
            ),
            "grain",
        )
