"""What FiftyOne's operator menu shows: one file an operator."""


def register(plugin):
    """Register every operator with FiftyOne."""
    from .annotate_videos import AnnotateVideos
    from .compare_with_ground_truth import CompareWithGroundTruth
    from .find_segments import FindSegments

    for operator in (AnnotateVideos, CompareWithGroundTruth, FindSegments):
        plugin.register(operator)
