"""Tree against tree: how well a prediction's segments and texts agree with a reference's.

``python -m pipeline compare`` shows what :func:`compare` finds. Nothing here reads a file or knows
who made the trees.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tree import NOT_APPLICABLE, Segment, Tree

#: How far apart two boundaries may be and still be the same (seconds).
BOUNDARY_TOLERANCE = 0.5
#: From this temporal IoU on, two nodes are taken for the same when their texts are compared.
MATCHED_IOU = 0.5

# So many reference nodes are held against all predicted nodes at a time: 10 MB at 5,000 nodes.
_CHUNK = 256

_WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class Shape:
    """What a tree looks like, in numbers. Durations are in seconds, 0 where there is no node."""

    nodes: int
    leaves: int
    depth: int
    described: int  # nodes with a gpt
    duration: float
    median_node: float
    median_leaf: float


@dataclass(frozen=True)
class BoundaryAgreement:
    """Distinct inner boundaries, matched one to one within ``tolerance`` seconds.

    Where neither tree has any, they agree (1.0); where only one has, they don't (0.0).
    """

    tolerance: float
    reference: int
    prediction: int
    matched: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Overlap:
    """The mean temporal IoU of a tree's nodes with their best match in the other tree, 0 to 1.

    ``mean`` is None for a tree without nodes.
    """

    mean: float | None
    by_tier: Mapping[str, float]
    by_level: Mapping[int, float]


@dataclass(frozen=True)
class TextAgreement:
    """The mean token F1 of the brief texts of matched nodes; None where no pair has any.

    ``matched`` of the ``described`` reference nodes with a gpt overlap their best match among the
    predicted nodes with a gpt by at least :data:`MATCHED_IOU`.
    """

    described: int
    matched: int
    action_f1: float | None
    summary_f1: float | None


@dataclass(frozen=True)
class Side:
    """A node in a row: when, and its brief texts."""

    node_id: str
    level: int
    start: float
    end: float
    action: str | None
    summary: str | None


@dataclass(frozen=True)
class Row:
    """A reference node beside its best match: a line of "Time range | reference | prediction"."""

    reference: Side
    prediction: Side | None  # None where no predicted node overlaps
    iou: float


@dataclass(frozen=True)
class Comparison:
    """All that :func:`compare` finds about two trees of one video."""

    video_uid: str
    title: str | None
    reference: Shape
    prediction: Shape
    boundaries: BoundaryAgreement
    reference_overlap: Overlap  # is what the reference has in the prediction?
    prediction_overlap: Overlap  # is what the prediction has in the reference?
    text: TextAgreement
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; levels become strings there."""
        return asdict(self)


def compare(reference: Tree, prediction: Tree, tolerance: float = BOUNDARY_TOLERANCE) -> Comparison:
    """Hold a predicted tree against a reference tree of the same video."""
    rows = comparison_rows(reference, prediction)
    return Comparison(
        video_uid=reference.video_uid,
        title=(reference.metadata or {}).get("title"),
        reference=shape(reference),
        prediction=shape(prediction),
        boundaries=boundary_agreement(reference, prediction, tolerance),
        reference_overlap=overlap(reference, prediction),
        prediction_overlap=overlap(prediction, reference),
        text=_text_agreement(reference, prediction, rows),
        rows=rows,
    )


def shape(tree: Tree) -> Shape:
    """Counts and durations of a tree's nodes."""
    leaves = tree.leaves()
    return Shape(
        nodes=len(tree),
        leaves=len(leaves),
        depth=tree.depth,
        described=sum(s.gpt is not None for s in tree.segments),
        duration=tree.duration,
        median_node=round(median(s.duration for s in tree.segments), 2) if len(tree) else 0.0,
        median_leaf=round(median(s.duration for s in leaves), 2) if leaves else 0.0,
    )


# -- overlap -----------------------------------------------------------------------------------


def temporal_iou(a: Segment, b: Segment) -> float:
    """The time that two segments share over the time that they cover together, 0 to 1."""
    shared = min(a.end, b.end) - max(a.start, b.start)
    covered = (a.end - a.start) + (b.end - b.start) - shared
    return shared / covered if shared > 0 and covered > 0 else 0.0


def best_matches(reference: Tree, prediction: Tree) -> dict[str, tuple[str, float]]:
    """For each reference node the predicted node with the highest temporal IoU.

    Of equally good ones it is the first in the prediction's order (breadth-first, so the highest).

    Returns:
        reference ``node_id`` -> (predicted ``node_id``, IoU); nodes that overlap none are left out
    """
    return {
        s.node_id: (match.node_id, iou)
        for s, match, iou in _matches(reference.segments, prediction.segments)
        if match is not None
    }


def overlap(tree: Tree, other: Tree) -> Overlap:
    """How well each node of ``tree`` is found in ``other``: at whatever level, by times alone."""
    tiers: dict[str, list[float]] = {}
    levels: dict[int, list[float]] = {}
    for s, _, iou in _matches(tree.segments, other.segments):
        tiers.setdefault(tree.tier(s), []).append(iou)
        levels.setdefault(s.level, []).append(iou)
    return Overlap(
        mean=_mean(iou for ious in levels.values() for iou in ious),
        by_tier={
            tier: round(fmean(tiers[tier]), 4) for tier in ("root", "mid", "leaf") if tier in tiers
        },
        by_level={level: round(fmean(ious), 4) for level, ious in sorted(levels.items())},
    )


def _matches(
    segments: Sequence[Segment], others: Sequence[Segment]
) -> Iterable[tuple[Segment, Segment | None, float]]:
    """Each segment with its best match among the others, or None, and their IoU."""
    if not others:
        yield from ((s, None, 0.0) for s in segments)
        return
    spans, other_spans = _spans(segments), _spans(others)
    other_durations = other_spans[1] - other_spans[0]
    for offset in range(0, len(segments), _CHUNK):
        start, end = (column[offset : offset + _CHUNK, None] for column in spans)
        shared = np.minimum(end, other_spans[1]) - np.maximum(start, other_spans[0])
        shared.clip(min=0, out=shared)
        covered = (end - start) + other_durations - shared
        ious = np.divide(shared, covered, out=np.zeros_like(shared), where=covered > 0)
        best = ious.argmax(axis=1)
        for row, column in enumerate(best):
            iou = float(ious[row, column])
            yield segments[offset + row], others[column] if iou > 0 else None, iou


def _spans(segments: Sequence[Segment]) -> NDArray[np.float64]:
    """(2, N): starts and ends in seconds."""
    return np.array([[s.start for s in segments], [s.end for s in segments]], np.float64)


# -- boundaries --------------------------------------------------------------------------------


def boundaries(tree: Tree) -> list[float]:
    """The distinct times within the video at which a segment ends and another starts, sorted."""
    return sorted({s.start for s in tree.segments if s.start > 0})


def boundary_agreement(
    reference: Tree, prediction: Tree, tolerance: float = BOUNDARY_TOLERANCE
) -> BoundaryAgreement:
    """Match as many boundaries one to one as possible, none further apart than ``tolerance``."""
    ours, theirs = boundaries(reference), boundaries(prediction)
    matched = i = j = 0
    # In order of time, pairing the first two that are near enough never costs a later pair.
    while i < len(ours) and j < len(theirs):
        apart = theirs[j] - ours[i]
        if abs(apart) <= tolerance + 1e-6:  # times are hundredths kept in binary
            matched, i, j = matched + 1, i + 1, j + 1
        elif apart > 0:
            i += 1
        else:
            j += 1
    if not ours and not theirs:
        precision = recall = f1 = 1.0
    else:
        precision = matched / len(theirs) if theirs else 0.0
        recall = matched / len(ours) if ours else 0.0
        f1 = 2 * matched / (len(ours) + len(theirs))
    return BoundaryAgreement(
        tolerance,
        len(ours),
        len(theirs),
        matched,
        *(round(value, 4) for value in (precision, recall, f1)),
    )


# -- texts -------------------------------------------------------------------------------------


def token_f1(a: str, b: str) -> float:
    """The F1 of two texts as bags of lower-cased words, 0 to 1; "N/A" is one word of its own."""
    words, others = _words(a), _words(b)
    if not words or not others:
        return float(words == others)
    return 2 * (words & others).total() / (words.total() + others.total())


def _words(text: str) -> Counter[str]:
    if text.strip() == NOT_APPLICABLE:
        return Counter([NOT_APPLICABLE])
    return Counter(_WORD.findall(text.lower()))


def comparison_rows(reference: Tree, prediction: Tree) -> tuple[Row, ...]:
    """The reference's described nodes, depth-first, each beside its best match.

    Described nodes are those with a ``gpt``, and the match is sought among those of the prediction;
    in a tree where no node has one, all nodes count, with their ``plm_action`` and ``plm_caption``.
    """
    return tuple(
        Row(_side(s), None if match is None else _side(match), round(iou, 4))
        for s, match, iou in _matches(_described(reference), _described(prediction))
    )


def _described(tree: Tree) -> list[Segment]:
    nodes = list(tree.depth_first())
    return [s for s in nodes if s.gpt is not None] or nodes


def _side(s: Segment) -> Side:
    if s.gpt is None:
        return Side(s.node_id, s.level, s.start, s.end, s.plm_action, s.plm_caption)
    action, summary = s.text("action", "brief"), s.text("summary", "brief")
    return Side(s.node_id, s.level, s.start, s.end, action, summary)


def _text_agreement(reference: Tree, prediction: Tree, rows: Iterable[Row]) -> TextAgreement:
    described = {s.node_id for s in reference.segments if s.gpt is not None}
    candidates = {s.node_id for s in prediction.segments if s.gpt is not None}
    matched = [
        (row.reference, row.prediction)
        for row in rows
        if row.prediction is not None
        and row.reference.node_id in described
        and row.prediction.node_id in candidates
        and row.iou >= MATCHED_IOU
    ]
    return TextAgreement(
        described=len(described),
        matched=len(matched),
        action_f1=_mean_f1((a.action, b.action) for a, b in matched),
        summary_f1=_mean_f1((a.summary, b.summary) for a, b in matched),
    )


def _mean_f1(pairs: Iterable[tuple[str | None, str | None]]) -> float | None:
    """Over the pairs of which at least one text is there; one alone agrees with nothing."""
    return _mean(token_f1(a or "", b or "") for a, b in pairs if (a, b) != (None, None))


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return round(fmean(values), 4) if values else None
