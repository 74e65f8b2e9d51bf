"""The modal panel that draws a video's Trees-of-Captions beside the video.

This half hands over data; drawing, seeking and following the video are JavaScript (``src``).
"""

import logging
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

logger = logging.getLogger(__name__)


class TreeOfCaptions(foo.Panel):
    """Ground truth and runs as icicles on one time axis, in step with the video."""

    @property
    def config(self):
        return foo.PanelConfig(
            name="tree_of_captions",
            label="Tree-of-Captions",
            surfaces="modal",
            icon="account_tree",
            help_markdown=(
                "The captioned segments of this video, from the whole video at the top to the "
                "shortest moments at the bottom. Click a segment to go there."
            ),
        )

    def get_trees(self, ctx):
        """The open sample's trees and what is needed to place them on the video's time axis.

        The App calls this with the id of the sample that it shows as ``sample_id``, because
        ``ctx.current_sample`` can lag behind when a person moves quickly from video to video.

        Returns:
            ``{"sample_id", "title", "fps", "frames", "duration", "trees"}`` (``duration``: seconds
            of the clip; ``trees``: as from ``pipeline.dataset.sample_trees``), or
            ``{"error": sentence}``: an exception that escapes here would close the whole modal
        """
        try:
            sample_id = ctx.params.get("sample_id") or ctx.current_sample
            if not sample_id:
                return {"error": "No sample is open."}
            return {"sample_id": sample_id, **_describe(_video_sample(ctx, sample_id))}
        except Exception as error:
            logger.exception("The trees of a sample could not be read")
            return {"error": f"The trees could not be read ({type(error).__name__}): {error}"}

    def render(self, ctx):
        view = types.View(
            component="TreeOfCaptionsView", composite_view=True, get_trees=self.get_trees
        )
        return types.Property(types.Object(), view=view)


def _video_sample(ctx, sample_id):
    """The sample with this id; where the App shows clips, the video that the clip is cut from."""
    try:
        return ctx.dataset[sample_id]
    except KeyError:
        return ctx.dataset[ctx.view[sample_id]["sample_id"]]


def _describe(sample):
    from ..pipeline import dataset

    if sample.media_type != "video":
        return {"error": f"Trees-of-Captions belong to videos; this sample is {sample.media_type}."}
    metadata = sample.metadata
    if metadata is None or not metadata.frame_rate or not metadata.total_frame_count:
        metadata = fo.VideoMetadata.build_for(sample.filepath)
    title = sample["title"] if sample.has_field("title") else None
    return {
        "title": title or Path(sample.filepath).stem,
        "fps": metadata.frame_rate,
        "frames": metadata.total_frame_count,
        "duration": metadata.total_frame_count / metadata.frame_rate,
        "trees": dataset.sample_trees(sample),
    }
