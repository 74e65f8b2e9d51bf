"""What FiftyOne's operator menu shows: one file an operator."""


def register(plugin):
    """Register every operator with FiftyOne."""
    from .annotate_videos import AnnotateVideos
    from .find_segments import FindSegments

    plugin.register(AnnotateVideos)
    plugin.register(FindSegments)
