"""What FiftyOne's operator menu shows: one file an operator."""


def register(plugin):
    """Register every operator with FiftyOne."""
    from .annotate_videos import AnnotateVideos

    plugin.register(AnnotateVideos)
