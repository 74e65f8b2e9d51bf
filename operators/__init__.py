"""What FiftyOne's operator menu shows: one file an operator."""


def register(plugin):
    """Register every operator with FiftyOne."""
    from .annotate_videos import AnnotateVideos
    from .compare_with_ground_truth import CompareWithGroundTruth
    from .export_trees import ExportTrees
    from .find_segments import FindSegments
    from .load_action100m import LoadAction100M
    from .manage_runs import ManageRuns

    for operator in (
        AnnotateVideos,
        CompareWithGroundTruth,
        ExportTrees,
        FindSegments,
        LoadAction100M,
        ManageRuns,
    ):
        plugin.register(operator)
