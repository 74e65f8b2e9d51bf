"""The panel that draws a video's Trees-of-Captions, beside the video or beside the grid.

This half hands over data and saves what a person says of segments; drawing, seeking and following
the video are JavaScript (``src``).
"""

import functools
import logging
from collections.abc import Mapping
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .review import ReviewError, save_review, user_name

logger = logging.getLogger(__name__)

#: Characters of text from which on a sample's trees come without their long texts first: a browser
#: takes a third of a second to read the 14 MB of two trees with 5,000 segments.
LARGE = 1_000_000
#: Characters of a caption that a bar could ever show.
BEGINNING = 200

#: Counting trees reads every sample; a panel must not do that to a large dataset.
COUNTED_VIDEOS = 2000


def _answering(method):
    """Answer with ``{"error": sentence}`` instead of raising.

    An exception that escapes from a panel's method would close the whole modal.
    """

    @functools.wraps(method)
    def answer(self, ctx):
        try:
            return method(self, ctx)
        except ReviewError as error:
            return {"error": str(error)}
        except Exception as error:
            logger.exception("The panel's method %s failed", method.__name__)
            return {"error": f"The {_OBJECTS[method.__name__]} ({type(error).__name__}): {error}"}

    return answer


_OBJECTS = {
    "get_trees": "trees could not be read",
    "get_counts": "dataset could not be counted",
    "review": "segment could not be saved",
    "open_clips": "clips could not be opened",
    "open_sample": "video could not be opened",
    "annotate": "form of annotate_videos could not be opened",
}


class TreeOfCaptions(foo.Panel):
    """Ground truth and runs as icicles on one time axis, in step with the video."""

    @property
    def config(self):
        return foo.PanelConfig(
            name="tree_of_captions",
            label="Tree-of-Captions",
            surfaces="grid modal",
            icon="account_tree",
            help_markdown=(
                "The captioned segments of this video, from the whole video at the top to the "
                "shortest moments at the bottom. Click a segment to go there."
            ),
        )

    @_answering
    def get_trees(self, ctx):
        """A sample's trees and what is needed to place them on the video's time axis.

        The App calls this with the id of the sample that it shows as ``sample_id``, because
        ``ctx.current_sample`` can lag behind when a person moves quickly from video to video.

        Of very large trees it gets what drawing needs first, and asks again with ``whole``.

        Returns:
            ``{"sample_id", "title", "fps", "frames", "duration", "trees", "transcript",
            "whole"}``: ``duration`` in seconds of the clip; ``trees`` as from
            ``pipeline.dataset.sample_trees``, each with ``editable``, ``models`` and ``agreement``;
            ``transcript`` as ``[{"start", "end", "text"}]``; ``whole`` is false where the nodes
            lack their long texts
        """
        sample_id = ctx.params.get("sample_id") or ctx.current_sample
        if not sample_id:
            return {"error": "No sample is open."}
        answer = _describe(ctx.dataset, _video_sample(ctx, sample_id))
        answer["whole"] = bool(ctx.params.get("whole")) or _text_length(answer) <= LARGE
        if not answer["whole"]:
            for tree in answer["trees"]:
                tree["nodes"] = [_without_long_texts(node) for node in tree["nodes"]]
        return {"sample_id": sample_id, **answer}

    @_answering
    def get_counts(self, ctx):
        """What the dataset has: ``{"dataset", "videos", "trees": [{"label", "count"}]}``."""
        from ..pipeline import dataset as datasets

        dataset = ctx.dataset
        videos = dataset.count()
        fields = [
            name
            for name in dataset.get_field_schema(ftype=fo.DictField)
            if name.endswith("_tree") and videos <= COUNTED_VIDEOS
        ]
        names = {f"{datasets.GROUND_TRUTH}_tree": "With ground truth"}
        return {
            "dataset": dataset.name,
            "videos": videos,
            "trees": [
                {
                    "label": names.get(field, f"With run {field.removesuffix('_tree')}"),
                    "count": dataset.exists(field).count(),
                }
                for field in sorted(fields, key=lambda f: (f not in names, f))
            ],
        }

    @_answering
    def review(self, ctx):
        """Save a flag, tags and corrections of a run's segment; returns what ``get_trees`` does."""
        sample = _video_sample(ctx, ctx.params["sample_id"])
        save_review(
            sample,
            ctx.params["tree"],
            ctx.params["node_id"],
            by=user_name(ctx),
            flagged=bool(ctx.params.get("flagged")),
            tags=ctx.params.get("tags") or [],
            action=ctx.params.get("action"),
            actor=ctx.params.get("actor"),
        )
        return self.get_trees(ctx)

    @_answering
    def open_clips(self, ctx):
        """Show segments of a tree (``node_ids``) as a view of clips; closes the open sample."""
        from ..pipeline import dataset as datasets

        sample = _video_sample(ctx, ctx.params["sample_id"])
        wanted = set(ctx.params["node_ids"])
        (tree,) = (t for t in datasets.sample_trees(sample) if t["name"] == ctx.params["tree"])
        metadata = _metadata(sample)
        clip = datasets.Clip(metadata.frame_rate, metadata.total_frame_count)
        supports = [
            clip.support(node["start"], node["end"])
            for node in tree["nodes"]
            if node["node_id"] in wanted
        ]
        supports = [support for support in supports if support]
        if not supports:
            return {"error": "None of the shown segments lies within this clip."}
        ctx.ops.close_sample()
        ctx.ops.set_view(view=ctx.dataset.select(sample.id).to_clips([supports]))
        return {"clips": len(supports)}

    @_answering
    def open_sample(self, ctx):
        """Open a sample in the modal."""
        ctx.ops.open_sample(id=ctx.params["sample_id"])
        return {}

    @_answering
    def annotate(self, ctx):
        """Open the form of ``annotate_videos`` for one sample, which becomes the selected one."""
        ctx.ops.set_selected_samples([ctx.params["sample_id"]])
        operator = f"{self.uri.rpartition('/')[0]}/annotate_videos"
        ctx.prompt(operator, params={"view_target": "SELECTED_SAMPLES"})
        return {}

    def render(self, ctx):
        view = types.View(
            component="TreeOfCaptionsView",
            composite_view=True,
            **{name: getattr(self, name) for name in _OBJECTS},
        )
        return types.Property(types.Object(), view=view)


def _video_sample(ctx, sample_id):
    """The sample with this id; where the App shows clips, the video that the clip is cut from."""
    try:
        return ctx.dataset[sample_id]
    except KeyError:
        return ctx.dataset[ctx.view[sample_id]["sample_id"]]


def _metadata(sample):
    metadata = sample.metadata
    if metadata is None or not metadata.frame_rate or not metadata.total_frame_count:
        return fo.VideoMetadata.build_for(sample.filepath)
    return metadata


def _describe(dataset, sample):
    from ..pipeline import dataset as datasets

    if sample.media_type != "video":
        return {"error": f"Trees-of-Captions belong to videos; this sample is {sample.media_type}."}
    metadata = _metadata(sample)
    runs = datasets.run_keys(dataset)
    return {
        "title": _value(sample, "title") or Path(sample.filepath).stem,
        "fps": metadata.frame_rate,
        "frames": metadata.total_frame_count,
        "duration": metadata.total_frame_count / metadata.frame_rate,
        "trees": [
            {
                **tree,
                "editable": tree["source"] == "tree" and tree["name"] != datasets.GROUND_TRUTH,
                "models": _models(dataset, tree["name"]) if tree["name"] in runs else {},
                "agreement": _value(sample, f"{tree['name']}_agreement"),
            }
            for tree in datasets.sample_trees(sample)
        ],
        "transcript": _transcript(sample, metadata.frame_rate),
    }


def _text_length(answer):
    """The characters in all texts of all trees."""
    return sum(_length(tree["nodes"]) for tree in answer.get("trees", ()))


def _length(value):
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_length, value.values()))
    return sum(map(_length, value)) if isinstance(value, list) else 0


def _without_long_texts(node):
    """A node with what its bar needs: the brief texts, or the beginning of the only one it has."""
    short = {name: node.get(name) for name in ("node_id", "parent_id", "level", "start", "end")}
    gpt = node.get("gpt") or {}
    for part in ("summary", "action"):
        brief = {k: v for k, v in (gpt.get(part) or {}).items() if k != "detailed"}
        if any(brief.values()):
            short.setdefault("gpt", {})[part] = brief
    for name in ("plm_action", "review"):
        if node.get(name):
            short[name] = node[name]
    if not {"gpt", "plm_action"} & short.keys():
        for name in ("plm_caption", "llama3_caption"):
            if node.get(name):
                short[name] = node[name][:BEGINNING]
    return short


def _models(dataset, key):
    """Which model wrote a run's texts, by the first part of their field."""
    config = dataset.get_run_info(key).config
    models = getattr(config, "models", None) or {}
    caption = (getattr(config, "configuration", None) or {}).get("caption") or {}
    segments = leaves = models.get("caption")
    if caption.get("leaf"):  # two captioners, which the run names together
        segments, leaves = caption.get("model"), caption["leaf"].get("model")
    found = {
        "plm_action": segments,
        "plm_caption": segments,
        "llama3_caption": leaves,
        "gpt": models.get("refine"),
    }
    return {field: model for field, model in found.items() if model}


def _transcript(sample, fps):
    """The transcript's lines, from the labels that ``parse_to_fiftyone.py`` makes of them."""
    labels = _value(sample, "transcript_segments")
    lines = []
    for line in getattr(labels, "detections", None) or ():
        start, end = (line[n] if line.has_attribute(n) else None for n in ("start", "end"))
        if start is None or end is None:
            start, end = (line.support[0] - 1) / fps, line.support[1] / fps
        lines.append({"start": start, "end": end, "text": line.label})
    return lines


def _value(sample, name):
    return sample[name] if sample.has_field(name) else None
