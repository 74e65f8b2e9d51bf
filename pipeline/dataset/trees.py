"""The trees that samples hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..tree import Segment, Tree
from .fields import GROUND_TRUTH, GROUND_TRUTH_LABELS, LABEL_TEXTS, TRANSCRIPT_LABELS

if TYPE_CHECKING:
    import fiftyone as fo


def sample_trees(sample: fo.Sample) -> list[dict[str, Any]]:
    """All trees of a sample in plain data, the ground truth first.

    Each is ``{"name", "label", "source", "nodes"}``. ``source`` is "tree" where the sample holds
    the whole tree in a ``DictField``, or "labels" where it is rebuilt from label fields whose
    detections carry ``node_id`` and ``parent_id`` (datasets made elsewhere): such a tree has only
    the nodes that have labels.
    """
    trees: dict[str, dict[str, Any]] = {}
    for field_name in sample.field_names:
        if field_name.endswith("_tree"):
            value = sample[field_name]
            if isinstance(value, Mapping) and isinstance(value.get("nodes"), list):
                name = field_name.removesuffix("_tree")
                trees[name] = {"source": "tree", "nodes": value["nodes"]}
    for name, nodes in _trees_from_labels(sample):
        trees.setdefault(name, {"source": "labels", "nodes": nodes})
    return [
        {"name": name, "label": "Ground truth" if name == GROUND_TRUTH else name, **tree}
        for name, tree in sorted(trees.items(), key=lambda item: (item[0] != GROUND_TRUTH, item[0]))
        if tree["nodes"]
    ]


def _trees_from_labels(sample: fo.Sample) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    import fiftyone as fo

    by_name: dict[str, dict[str, dict[str, Any]]] = {}
    for field_name in sample.field_names:
        value = sample[field_name]
        if not isinstance(value, fo.TemporalDetections):
            continue
        name, path = _label_field(field_name)
        for detection in value.detections or ():
            if not detection.has_attribute("node_id") or detection["node_id"] is None:
                continue
            nodes = by_name.setdefault(name, {})
            node = nodes.setdefault(detection["node_id"], _node(detection, sample))
            set_text(node, path, detection.label)
    for name, nodes in by_name.items():
        _set_levels(nodes)
        yield name, sorted(nodes.values(), key=lambda n: (n["level"], n["start"]))


def _label_field(field_name: str) -> tuple[str, tuple[str, ...]]:
    """The tree that a label field belongs to, and the text of its segments that it holds."""
    for suffix, path in LABEL_TEXTS.items():
        if field_name == suffix or field_name.endswith(f"_{suffix}"):
            prefix = field_name[: -len(suffix)].rstrip("_")
            own = prefix in ("", GROUND_TRUTH_LABELS, GROUND_TRUTH)
            return (GROUND_TRUTH if own else prefix), path
    return field_name, ("plm_caption",)


def _node(detection: fo.TemporalDetection, sample: fo.Sample) -> dict[str, Any]:
    def attribute(name: str) -> Any:
        return detection[name] if detection.has_attribute(name) else None

    start, end = attribute("start"), attribute("end")
    if start is None or end is None:
        fps = sample.metadata.frame_rate if sample.metadata is not None else None
        if not fps:
            raise ValueError(
                "the labels have no start and end, and the sample has no metadata to compute them "
                "from its frame rate: run dataset.compute_metadata()"
            )
        start, end = (detection.support[0] - 1) / fps, detection.support[1] / fps
    return asdict(
        Segment(
            node_id=str(detection["node_id"]),
            parent_id=attribute("parent_id"),
            level=0,
            start=round(float(start), 2),
            end=round(float(end), 2),
        )
    )


def set_text(node: dict[str, Any], path: tuple[str, ...], text: str | None) -> None:
    """Set a text of a node in plain data; a ``gpt`` that was not there gets all of its fields."""
    if path[0] == "gpt" and node.get("gpt") is None:
        node["gpt"] = {
            "summary": {"brief": None, "detailed": None},
            "action": {"brief": None, "detailed": None, "actor": None},
        }
    for part in path[:-1]:
        if node.get(part) is None:
            node[part] = {}
        node = node[part]
    node[path[-1]] = text


def _set_levels(nodes: dict[str, dict[str, Any]]) -> None:
    """Set each node's depth from its ancestors, of which labels may lack some."""
    for node in nodes.values():
        seen = {node["node_id"]}
        parent_id = node["parent_id"]
        while parent_id in nodes and parent_id not in seen:
            seen.add(parent_id)
            parent_id = nodes[parent_id]["parent_id"]
        node["level"] = len(seen) - 1


# Trees that are fetched together: with their captions a tree is some 0.4 MB.
_AT_A_TIME = 32


def stored_trees(
    samples: fo.SampleCollection, name: str, metadata: bool = False
) -> Iterator[tuple[str, Tree]]:
    """(sample id, tree) of each sample that holds the tree, in the view's order.

    The database is asked for the tree alone. FiftyOne's samples bring all label fields along, which
    takes ten times as long.

    Args:
        name: "ground_truth" or a run key
        metadata: whether to give the trees the samples' facts as Action100M's files have them; of
            the transcript there are only the lines within the clip

    Raises:
        ValueError: a tree cannot be read; with the sample's id
    """
    from bson import ObjectId

    field = f"{name}_tree"
    wanted = dict.fromkeys((field, "video_uid", "filepath"), 1)
    if metadata:
        wanted |= dict.fromkeys((*_FACTS, "upload_date", "full_video_duration"), 1)
        wanted |= {f"{TRANSCRIPT_LABELS}.detections.{each}": 1 for each in ("start", "label")}
    collection = samples._root_dataset._sample_collection
    ids = video_sample_ids(samples)
    for at in range(0, len(ids), _AT_A_TIME):
        chunk = ids[at : at + _AT_A_TIME]
        query = {"_id": {"$in": [ObjectId(each) for each in chunk]}, f"{field}.nodes.0": _THERE}
        found = {str(each["_id"]): each for each in collection.find(query, wanted)}
        for sample_id in chunk:
            if (document := found.get(sample_id)) is not None:
                try:
                    yield sample_id, _stored_tree(document, field, metadata)
                except (ValueError, TypeError) as error:
                    raise ValueError(f"the {field} of sample {sample_id}: {error}") from error


_THERE = {"$exists": True}
_FACTS = ("title", "description", "view_count", "like_count")


def video_sample_ids(samples: fo.SampleCollection) -> list[str]:
    """The ids of the videos; a clips view has several samples of each."""
    if samples._is_clips:
        return list(dict.fromkeys(samples.values("sample_id")))
    return samples.values("id")


def _stored_tree(document: Mapping[str, Any], field: str, metadata: bool) -> Tree:
    tree = document[field]
    uid = document.get("video_uid") or tree.get("video_uid") or Path(document["filepath"]).stem
    facts: dict[str, Any] | None = None
    if metadata:
        facts = {name: document.get(name) for name in _FACTS}
        seconds, uploaded = document.get("full_video_duration"), document.get("upload_date")
        facts["duration"] = None if seconds is None else round(seconds)
        facts["upload_date"] = uploaded.strftime("%Y%m%d") if uploaded else None
        lines = (document.get(TRANSCRIPT_LABELS) or {}).get("detections") or ()
        facts["transcript"] = [
            {"time": str(line["start"]), "text": line["label"]}
            for line in lines
            if line.get("start") is not None
        ] or None
    return Tree.from_dict({"video_uid": uid, "nodes": tree["nodes"], "metadata": facts})


def count_trees(samples: fo.SampleCollection, name: str) -> int:
    """How many of the videos have the tree."""
    from bson import ObjectId

    ids = [ObjectId(each) for each in video_sample_ids(samples)]
    query = {"_id": {"$in": ids}, f"{name}_tree.nodes.0": _THERE}
    return samples._root_dataset._sample_collection.count_documents(query)
