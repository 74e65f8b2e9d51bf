"""Finds segments by what they say and how long they are, and shows them as clips.

The search is an aggregation over the trees' ``DictField`` inside mongod: nothing but the hits comes
to Python. It asks the collection itself, several threads a part of it each, since mongod works in
one thread for each question; FiftyOne's own aggregations ask one at a time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from ..tree import NOT_APPLICABLE, Tier
from .errors import InputError
from .fields import GROUND_TRUTH, LABEL_TEXTS, declare
from .labels import Clip
from .trees import video_sample_ids

if TYPE_CHECKING:
    import fiftyone as fo

#: The field in which clips of found segments have their labels; always empty on the samples.
FOUND = "found_segments"

NotApplicable = Literal["only", "excluded"]

# Where a segment's shortest text is, the most telling first.
_SHORTEST = ("gpt.action.brief", "gpt.summary.brief", "plm_action", "plm_caption", "llama3_caption")
# Times are stored rounded to hundredths of a second, so a duration can be off by a little.
_ROUNDING = 0.005
# Questions at a time; mongod has a thread for each.
_THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class SegmentQuery:
    """What a segment has to be like; all that is given has to hold.

    Attributes:
        text: occurs in any of its captions, in whatever case
        min_duration, max_duration: seconds
        min_level, max_level: depth in the tree; the root is 0
        tier: "root", "mid" or "leaf" (has no children)
        actor: occurs in who acts, in whatever case
        not_applicable: "only" = segments whose action is "N/A", "excluded" = no such segments

    Raises:
        InputError: a value makes no sense, or there is none
    """

    text: str | None = None
    min_duration: float | None = None
    max_duration: float | None = None
    min_level: int | None = None
    max_level: int | None = None
    tier: Tier | None = None
    actor: str | None = None
    not_applicable: NotApplicable | None = None

    def __post_init__(self) -> None:
        for name, unit in (("duration", " s"), ("level", "")):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            for end, value in (("min", low), ("max", high)):
                if value is not None and not 0 <= value < float("inf"):
                    raise InputError(f"{end}_{name}", f"{value:g}{unit} is not 0{unit} or more")
            if low is not None and high is not None and low > high:
                raise InputError(
                    f"max_{name}", f"{high:g}{unit} is less than the minimum of {low:g}{unit}"
                )
        for name, choices in (
            ("tier", get_args(Tier)),
            ("not_applicable", get_args(NotApplicable)),
        ):
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise InputError(name, f"{value!r} is none of {', '.join(choices)}")
        if all(getattr(self, each.name) in (None, "") for each in fields(self)):
            raise InputError("text", "give a text, or any other condition, to look for")

    def conditions(self) -> list[dict[str, Any]]:
        """As expressions of mongod over a node ``$$node``, the cheapest first; all but the tier."""
        found: list[dict[str, Any]] = []
        duration = {"$subtract": ["$$node.end", "$$node.start"]}
        for operator, value, slack in (
            ("$gte", self.min_duration, -_ROUNDING),
            ("$lte", self.max_duration, _ROUNDING),
        ):
            if value is not None:
                found.append({operator: [duration, value + slack]})
        if self.min_level is not None:
            found.append({"$gte": ["$$node.level", self.min_level]})
        if self.max_level is not None:
            found.append({"$lte": ["$$node.level", self.max_level]})
        if self.not_applicable is not None:
            compare = "$eq" if self.not_applicable == "only" else "$ne"
            found.append({compare: ["$$node.gpt.action.brief", NOT_APPLICABLE]})
        if self.actor:
            found.append(_matches("$$node.gpt.action.actor", self.actor))
        if self.text:
            found.append({"$or": [_matches(f"$$node.{path}", self.text) for path in _TEXTS]})
        return found


_TEXTS = tuple(".".join(path) for path in LABEL_TEXTS.values())


def _literal(text: str) -> str:
    """A regular expression for the text itself; mongod's know no zero bytes."""
    return re.escape(text).replace("\0", r"\x00")


def _matches(path: str, text: str) -> dict[str, Any]:
    return {"$regexMatch": {"input": path, "regex": _literal(text), "options": "i"}}


class Hit(NamedTuple):
    """A segment that was found.

    Attributes:
        sample_id: of its video
        start, end: seconds
        text: its shortest caption
        on_disk: whether its start lies within the file, which can be a shorter clip of the video
    """

    sample_id: str
    node_id: str
    level: int
    tier: Tier
    start: float
    end: float
    text: str | None
    on_disk: bool


def tree_names(dataset: fo.Dataset) -> list[str]:
    """What has whole trees on the samples: "ground_truth" first, then runs."""
    import fiftyone as fo

    names = [
        name.removesuffix("_tree")
        for name in dataset.get_field_schema(ftype=fo.DictField)
        if name.endswith("_tree")
    ]
    return sorted(names, key=lambda name: (name != GROUND_TRUTH, name))


def find_segments(
    samples: fo.SampleCollection, query: SegmentQuery, tree: str = GROUND_TRUTH
) -> list[Hit]:
    """The segments that fit, video by video in the view's order, each video's breadth-first.

    Args:
        samples: a dataset or a view; the videos of a clips view are searched whole
        tree: "ground_truth" or a run key

    Raises:
        InputError: there are no such trees on the dataset
    """
    from bson import ObjectId

    dataset = samples._root_dataset
    check_tree(dataset, tree)
    ids = video_sample_ids(samples)
    pipeline = _pipeline(query, f"{tree}_tree")

    def ask(chunk: Sequence[str]) -> list[dict[str, Any]]:
        chosen = {"$match": {"_id": {"$in": [ObjectId(each) for each in chunk]}}}
        return list(dataset._sample_collection.aggregate([chosen, *pipeline]))

    size = -(-len(ids) // _THREADS) or 1
    chunks = [ids[at : at + size] for at in range(0, len(ids), size)]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = {str(each["_id"]): each for answer in pool.map(ask, chunks) for each in answer}
    return [hit for each in ids if each in found for hit in _hits(found[each], query.tier)]


def check_tree(dataset: fo.Dataset, tree: str) -> None:
    """Raise InputError unless the dataset has whole trees of that name."""
    names = tree_names(dataset)
    if tree not in names:
        has = f"it has those of {', '.join(names)}" if names else "it has none"
        raise InputError("tree", f"the dataset has no trees of {tree!r}; {has}")


def _pipeline(query: SegmentQuery, field: str) -> list[dict[str, Any]]:
    nodes = f"{field}.nodes"
    conditions = query.conditions()
    fits = {"$filter": {"input": f"${nodes}", "as": "node", "cond": {"$and": conditions}}}
    hit = {**_OF_NODE, "text": _shortest_text()}
    return [
        {
            "$project": {
                "fps": "$metadata.frame_rate",
                "frames": "$metadata.total_frame_count",
                "nodes": fits if conditions else f"${nodes}",
                "parents": f"${nodes}.parent_id",
            }
        },
        {"$match": {"nodes.0": {"$exists": True}}},
        {
            "$project": {
                "fps": True,
                "frames": True,
                "inner": {"$setIntersection": ["$nodes.node_id", "$parents"]},
                "nodes": {"$map": {"input": "$nodes", "as": "node", "in": hit}},
            }
        },
    ]


_OF_NODE = {name: f"$$node.{name}" for name in ("node_id", "parent_id", "level", "start", "end")}


def _shortest_text() -> Any:
    """The text that says what a node shows, as an expression; "N/A" says nothing."""
    text: Any = None
    for path in reversed(_SHORTEST):
        path = f"$$node.{path}"
        text = {"$cond": [{"$eq": [path, NOT_APPLICABLE]}, text, {"$ifNull": [path, text]}]}
    return text


def _hits(found: dict[str, Any], tier: Tier | None) -> Iterable[Hit]:
    inner = set(found["inner"])
    fps, frames = found.get("fps"), found.get("frames")
    clip = Clip(fps, frames) if fps and frames else None
    for node in found["nodes"]:
        if node.get("parent_id") is None:
            its: Tier = "root"
        else:
            its = "mid" if node["node_id"] in inner else "leaf"
        if tier in (None, its):
            yield Hit(
                str(found["_id"]),
                node["node_id"],
                node["level"],
                its,
                node["start"],
                node["end"],
                node.get("text"),
                clip is not None and clip.support(node["start"], node["end"]) is not None,
            )


# -- clips -------------------------------------------------------------------------------------


def segment_clips(
    dataset: fo.Dataset, hits: Iterable[Hit], tree: str = GROUND_TRUTH, limit: int | None = None
) -> fo.DatasetView:
    """A clip for each segment that the file has, labelled with its text in :data:`FOUND`.

    The view makes the labels out of the trees while it is loaded, so nothing is written to the
    samples; the dataset only gets the empty field :data:`FOUND`, without which there would be no
    place for the labels.

    Args:
        limit: of clips, the first of them; None = all
    """
    import fiftyone as fo

    shown = list(islice((hit for hit in hits if hit.on_disk), limit))
    declare(dataset, {FOUND: ("labels", "what find_segments found; empty but in its clips")})
    sample_ids = list(dict.fromkeys(hit.sample_id for hit in shown))
    facts = [name for name in ("video_uid", "title") if dataset.has_sample_field(name)]
    labels = _labels_of(f"{tree}_tree.nodes", [hit.node_id for hit in shown])
    return (
        dataset.select(sample_ids)
        .set_field(FOUND, fo.ViewExpression(labels))
        .to_clips(FOUND, other_fields=facts)
    )


def _labels_of(nodes: str, node_ids: Sequence[str]) -> dict[str, Any]:
    """An expression that makes TemporalDetections of a tree's nodes; see :meth:`Clip.support`."""

    def frame(time: str) -> dict[str, Any]:
        return {"$toInt": {"$round": [{"$multiply": [time, "$metadata.frame_rate"]}, 0]}}

    tier = {
        "$cond": [
            {"$eq": [{"$ifNull": ["$$node.parent_id", None]}, None]},
            "root",
            {"$cond": [{"$in": ["$$node.node_id", f"${nodes}.parent_id"]}, "mid", "leaf"]},
        ]
    }
    frames = "$metadata.total_frame_count"
    clip_end = {"$divide": [frames, "$metadata.frame_rate"]}
    overhang = {"$subtract": ["$$node.end", clip_end]}
    label = {
        "_cls": "TemporalDetection",
        "tags": [],
        "label": {"$ifNull": [_shortest_text(), ""]},
        "support": [
            {"$add": [frame("$$node.start"), 1]},
            {"$min": [frame("$$node.end"), frames]},
        ],
        **_OF_NODE,
        "tier": tier,
        "truncated": {"$gt": [overhang, {"$divide": [4, "$metadata.frame_rate"]}]},
    }
    wanted = {"$in": ["$$node.node_id", list(node_ids)]}
    chosen = {"$filter": {"input": f"${nodes}", "as": "node", "cond": wanted}}
    return {
        "_cls": "TemporalDetections",
        "detections": {"$map": {"input": chosen, "as": "node", "in": label}},
    }
