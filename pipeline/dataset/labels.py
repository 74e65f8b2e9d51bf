"""Segments as FiftyOne's TemporalDetections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..tree import Segment, Tree
from .fields import LABEL_TEXTS

if TYPE_CHECKING:
    import fiftyone as fo


@dataclass(frozen=True)
class Clip:
    """What of a video is on disk: its frame rate, its frames, and how long it is at most (s)."""

    fps: float
    frames: int
    limit: float | None = None

    @property
    def end(self) -> float:
        """Seconds."""
        end = self.frames / self.fps
        return end if self.limit is None else min(end, self.limit)

    def support(self, start: float, end: float) -> list[int] | None:
        """The frames of ``[start, end]`` seconds, or None where it lies outside of the clip.

        FiftyOne counts frames from 1 and includes the last. Rounding both ends in the same way
        makes neighbours tile; ``TemporalDetection.from_timestamps`` misses every second boundary.
        """
        last = min(self.frames, round(self.end * self.fps))
        first, final = round(start * self.fps) + 1, min(round(end * self.fps), last)
        return [first, final] if first <= final else None

    def cuts(self, end: float) -> bool:
        """Whether the clip ends before ``end`` by more than what sampling every 4th frame adds."""
        return end - self.end > 4 / self.fps


def labels(tree: Tree, clip: Clip, name: str) -> fo.TemporalDetections:
    """One kind of text (a key of :data:`LABEL_TEXTS`) of every segment that has it, as labels.

    Segments beyond the clip are left out; those across its end are cut there and marked
    ``truncated``, while ``start`` and ``end`` (seconds) keep the whole segment.
    """
    import fiftyone as fo

    return fo.TemporalDetections.from_dict(label_document(tree, clip, name))


def transcript_labels(tree: Tree, clip: Clip) -> fo.TemporalDetections:
    """The transcript's lines as labels, each until the next begins."""
    import fiftyone as fo

    return fo.TemporalDetections.from_dict(transcript_document(tree, clip))


def label_document(tree: Tree, clip: Clip, name: str) -> dict[str, Any]:
    """What :func:`labels` gives, as FiftyOne stores it: ten times as fast to make."""
    detections = []
    for segment in tree.segments:
        text = _text(segment, LABEL_TEXTS[name])
        support = clip.support(segment.start, segment.end)
        if text is None or support is None:
            continue
        detections.append(
            _detection(
                text,
                support,
                node_id=segment.node_id,
                parent_id=segment.parent_id,
                level=segment.level,
                tier=tree.tier(segment),
                start=segment.start,
                end=segment.end,
                truncated=clip.cuts(segment.end),
            )
        )
    return {"_cls": "TemporalDetections", "detections": detections}


def transcript_document(tree: Tree, clip: Clip) -> dict[str, Any]:
    """What :func:`transcript_labels` gives, as FiftyOne stores it."""
    detections = []
    lines = transcript_lines(tree)
    for i, (start, text) in enumerate(lines):
        end = lines[i + 1][0] if i + 1 < len(lines) else tree.duration
        support = clip.support(start, max(end, start))
        if support is not None:
            detections.append(
                _detection(text, support, start=start, end=end, truncated=clip.cuts(end))
            )
    return {"_cls": "TemporalDetections", "detections": detections}


def _detection(text: str, support: list[int], **attributes: Any) -> dict[str, Any]:
    from bson import ObjectId

    return {
        "_id": ObjectId(),
        "_cls": "TemporalDetection",
        "tags": [],
        "label": text,
        "support": support,
        **attributes,
    }


def _text(segment: Segment, path: tuple[str, ...]) -> str | None:
    value: Any = getattr(segment, path[0])
    for key in path[1:]:
        value = (value or {}).get(key)
    return value


def transcript_lines(tree: Tree) -> list[tuple[float, str]]:
    """(start in seconds, text) of each line that has both."""
    lines = []
    for line in (tree.metadata or {}).get("transcript") or ():
        try:
            lines.append((float(line["time"]), " ".join(line["text"].split())))
        except (TypeError, ValueError, AttributeError):
            continue  # a null time or text says nothing about when or what
    return sorted(lines)
