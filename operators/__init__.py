"""What FiftyOne's operator menu shows: one file an operator."""


def register(plugin):
    """Register every operator with FiftyOne."""
    from .annotate_videos import AnnotateVideos
    from .caption_segments import CaptionSegments
    from .compare_with_ground_truth import CompareWithGroundTruth
    from .embed_videos import EmbedVideos
    from .export_trees import ExportTrees
    from .find_segments import FindSegments
    from .load_action100m import LoadAction100M
    from .manage_runs import ManageRuns
    from .refine_captions import RefineCaptions
    from .segment_videos import SegmentVideos

    for operator in (
        AnnotateVideos,
        EmbedVideos,
        SegmentVideos,
        CaptionSegments,
        RefineCaptions,
        CompareWithGroundTruth,
        ExportTrees,
        FindSegments,
        LoadAction100M,
        ManageRuns,
    ):
        plugin.register(operator)
