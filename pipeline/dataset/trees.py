"""The trees that a sample holds, in plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..tree import Segment
from .fields import GROUND_TRUTH, GROUND_TRUTH_LABELS, LABEL_TEXTS

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
            _set_text(node, path, detection.label)
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


def _set_text(node: dict[str, Any], path: tuple[str, ...], text: str | None) -> None:
    if path[0] != "gpt":
        node[path[0]] = text
        return
    if node["gpt"] is None:
        node["gpt"] = {
            "summary": {"brief": None, "detailed": None},
            "action": {"brief": None, "detailed": None, "actor": None},
        }
    node["gpt"][path[1]][path[2]] = text


def _set_levels(nodes: dict[str, dict[str, Any]]) -> None:
    """Set each node's depth from its ancestors, of which labels may lack some."""
    for node in nodes.values():
        seen = {node["node_id"]}
        parent_id = node["parent_id"]
        while parent_id in nodes and parent_id not in seen:
            seen.add(parent_id)
            parent_id = nodes[parent_id]["parent_id"]
        node["level"] = len(seen) - 1
