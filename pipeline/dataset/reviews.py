"""What people say of a run's segments by hand: flags, tags, corrected texts.

It is kept in the run's tree, as the ``review`` of a node, ``{"flagged", "tags", "before", "by",
"at"}``, and in the run's labels of that segment. A corrected text stands where the model's was;
``before`` has the model's by field, like "gpt.action.brief".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from ..tree import Tree
from .fields import LABEL_TEXTS, plain
from .trees import set_text

if TYPE_CHECKING:
    import fiftyone as fo

#: The tag on labels of flagged segments.
FLAG = "flagged"


def node_text(node: Mapping[str, Any], field: str) -> str | None:
    """A text of a node in plain data by its field, like "gpt.action.brief"; None without it."""
    value: Any = node
    for name in field.split("."):
        value = (value or {}).get(name)
    return value


def correct_text(node: dict[str, Any], field: str, text: str, before: dict[str, Any]) -> None:
    """Put a person's text into a node, and what the model has there into ``before``.

    A text that is just the model's is no correction: ``before`` lacks the field then.
    """
    if before.setdefault(field, node_text(node, field)) == text:
        del before[field]
    set_text(node, tuple(field.split(".")), text)


def carry_reviews(earlier: Mapping[str, Any] | None, tree: Tree) -> dict[str, Any]:
    """A tree that was made again, with what people said of its segments in the earlier one.

    A review moves to the node that has the same start and end. What has no place waits in
    ``set_aside`` for a tree that has it again, ``[{"start", "end", "texts", "review"}]``: reviews
    of segments (seconds) that are no more, and corrected texts (by field) of a ``gpt`` that the
    segment has lost, since it is a leaf now.

    Args:
        earlier: what the ``*_tree`` field held; None for the first tree

    Returns:
        what the ``*_tree`` field is to hold; ``set_aside`` is there only if something waits
    """
    made = plain(tree)
    nodes = {(node["start"], node["end"]): node for node in made["nodes"]}
    refined = {(s.start, s.end) for s in tree.segments if tree.is_refined(s)}
    waiting = []
    for said in _all_said(earlier or {}):
        times, texts, review = (said["start"], said["end"]), dict(said["texts"]), said["review"]
        node = nodes.get(times)
        if node is not None:
            before = dict((node.get("review") or {}).get("before") or {})
            for field in list(texts):
                # Also where nothing is refined yet: the next stage fills in the rest.
                if not field.startswith("gpt.") or times in refined:
                    correct_text(node, field, texts.pop(field), before)
            node["review"] = {**review, "before": before}
        if texts or (node is None and (review["flagged"] or review["tags"])):
            waiting.append({**said, "texts": texts})
    if waiting:
        made["set_aside"] = waiting
    return made


_NOTHING_SAID: Mapping[str, Any] = {"flagged": False, "tags": [], "before": {}, "by": "", "at": ""}


def _all_said(tree: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A stored tree's reviews in the shape of ``set_aside``, the oldest first: the last holds."""
    said = [*tree.get("set_aside", ())]
    for node in tree.get("nodes", ()):
        if review := node.get("review"):
            texts = {field: node_text(node, field) for field in review.get("before") or ()}
            times = {"start": node["start"], "end": node["end"]}
            said.append({**times, "texts": texts, "review": {**_NOTHING_SAID, **review}})
    return sorted(deepcopy(said), key=lambda each: each["review"]["at"])


def count_reviews(dataset: fo.Dataset, key: str) -> int:
    """How many segments of a run somebody has said something of, those that wait included."""
    tree = f"${key}_tree"
    said = {"$filter": {"input": f"{tree}.nodes.review", "cond": {"$gt": ["$$this", None]}}}
    lists = (said, f"{tree}.set_aside")
    count: dict[str, Any] = {"$add": [{"$size": {"$ifNull": [each, []]}} for each in lists]}
    stages = [{"$group": {"_id": None, "count": {"$sum": count}}}]
    found = list(dataset._sample_collection.aggregate(stages))
    return found[0]["count"] if found else 0


def update_labels(
    sample: fo.Sample,
    key: str,
    nodes: Iterable[Mapping[str, Any]],
    dropped: Collection[str] = (),
) -> None:
    """Bring a run's labels of reviewed nodes up to date: their texts and tags.

    Args:
        nodes: in plain data, each with its ``review``
        dropped: tags that are taken off first; others that the labels carry stay
    """
    by_id = {node["node_id"]: node for node in nodes}
    for name, path in LABEL_TEXTS.items():
        field = f"{key}_{name}"
        found = sample[field] if by_id and sample.has_field(field) else None
        for detection in (found.detections if found else None) or ():
            own = detection["node_id"] if detection.has_attribute("node_id") else None
            if (node := by_id.get(own)) is None:
                continue
            if (text := node_text(node, ".".join(path))) is not None:
                detection.label = text
            review = node["review"]
            said = [*([FLAG] if review["flagged"] else []), *review["tags"]]
            kept = [tag for tag in detection.tags if tag not in dropped]
            detection.tags = [*kept, *(tag for tag in said if tag not in kept)]
