"""The one model of the data: a video's Tree-of-Captions and the segments that it is made of.

Everything passes trees: parquet files give them, segmentation makes them, captioning and
refinement fill them, metrics compare two, FiftyOne stores them and the panel draws them.

The invariants of :meth:`Tree.validate` hold for every node that the Action100M authors published;
they follow from the paper's section on hierarchical temporal segmentation (arXiv 2601.10592).
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

Tier = Literal["root", "mid", "leaf"]

#: A split of the Ward dendrogram is kept if and only if both children last this long (seconds).
MIN_SEGMENT_DURATION = 0.5
#: Inner nodes that last at least this long (seconds) are refined into ``gpt``; no others are.
MIN_REFINED_DURATION = 4.0
#: The exact text where no action or no actor is visible.
NOT_APPLICABLE = "N/A"

# Times are stored rounded to hundredths of a second, so two of them can be off by this much.
_ROUNDING = 0.0101


def node_id(video_uid: str, start: float, end: float) -> str:
    """The id Action100M gives to the segment ``[start, end]`` (seconds, rounded to 2 decimals)."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{video_uid}|{start:.6f}|{end:.6f}"))


@dataclass(frozen=True, slots=True)
class Segment:
    """One node of a tree.

    Attributes:
        node_id: a UUID made of the video's uid, ``start`` and ``end``; see :func:`node_id`
        parent_id: the parent's ``node_id``; None for the root
        level: the depth in the tree; the root is 0
        start, end: seconds from the start of the video, rounded to 2 decimals
        plm_action: a short action phrase (any video captioner)
        plm_caption: a caption of the segment (any video captioner)
        llama3_caption: a caption of the middle frame (any image captioner); leaves only
        gpt: ``{"summary": {"brief", "detailed"}, "action": {"brief", "detailed", "actor"}}``;
            inner nodes of at least 4 s only. The names are the dataset's own, kept for any model.
    """

    node_id: str
    parent_id: str | None
    level: int
    start: float
    end: float
    plm_action: str | None = None
    plm_caption: str | None = None
    llama3_caption: str | None = None
    gpt: Mapping[str, Any] | None = None

    @property
    def duration(self) -> float:
        """Seconds."""
        return round(self.end - self.start, 2)

    def text(self, part: Literal["summary", "action"], name: str) -> str | None:
        """``gpt[part][name]``, or None where any of it is null."""
        return ((self.gpt or {}).get(part) or {}).get(name)


_SEGMENT_FIELDS = tuple(f.name for f in fields(Segment))


class InvalidTree(ValueError):
    """A tree that breaks the invariants; ``problems`` has a sentence for each."""

    def __init__(self, video_uid: str, problems: list[str]):
        self.video_uid = video_uid
        self.problems = problems
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        super().__init__(
            f"the tree of video {video_uid!r} is invalid: {'; '.join(problems[:3])}{more}"
        )


@dataclass(frozen=True)
class Tree:
    """A video's Tree-of-Captions.

    Attributes:
        video_uid: the YouTube id, or the stem of the video's file
        metadata: ``title``, ``description``, ``view_count``, ``like_count``, ``duration`` (whole
            seconds; can be wrong by 10 %), ``upload_date`` ("YYYYMMDD") and ``transcript`` (a list
            of ``{"time": "12.3", "text": "..."}``); any of them may be missing or None
        segments: the nodes breadth-first, i.e. sorted by (level, start)
    """

    video_uid: str
    segments: tuple[Segment, ...] = ()
    metadata: Mapping[str, Any] | None = field(default=None)

    # -- walks ---------------------------------------------------------------------------------

    @cached_property
    def _by_id(self) -> dict[str, Segment]:
        return {s.node_id: s for s in self.segments}

    @cached_property
    def _children(self) -> dict[str | None, tuple[Segment, ...]]:
        children: dict[str | None, list[Segment]] = {}
        for segment in self.segments:
            children.setdefault(segment.parent_id, []).append(segment)
        return {k: tuple(sorted(v, key=lambda s: s.start)) for k, v in children.items()}

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, node_id: str) -> Segment:
        return self._by_id[node_id]

    @property
    def root(self) -> Segment:
        """The node without a parent; IndexError if the tree has no nodes."""
        return self._children.get(None, self.segments)[0]

    @property
    def duration(self) -> float:
        """The root's end in seconds (``metadata["duration"]`` can be wrong); 0 without nodes."""
        return self.root.end if self.segments else 0.0

    @property
    def depth(self) -> int:
        """The deepest level; 0 for a root alone."""
        return max((s.level for s in self.segments), default=0)

    def children(self, segment: Segment) -> tuple[Segment, ...]:
        """The segment's children in order of time: two, or none for a leaf."""
        return self._children.get(segment.node_id, ())

    def is_leaf(self, segment: Segment) -> bool:
        """Whether the segment has no children (at whatever level)."""
        return segment.node_id not in self._children

    def tier(self, segment: Segment) -> Tier:
        """ "root", "leaf" (has no children) or "mid". A root without children is "root"."""
        if segment.parent_id is None:
            return "root"
        return "leaf" if self.is_leaf(segment) else "mid"

    def leaves(self) -> tuple[Segment, ...]:
        """All nodes without children in order of time."""
        return tuple(sorted((s for s in self.segments if self.is_leaf(s)), key=lambda s: s.start))

    def is_refined(self, segment: Segment) -> bool:
        """Whether the dataset's rule gives this node a ``gpt``: inner and at least 4 s long."""
        return not self.is_leaf(segment) and segment.duration >= MIN_REFINED_DURATION

    def breadth_first(self) -> Iterator[Segment]:
        """All nodes sorted by (level, start): the order in which files list them."""
        return iter(sorted(self.segments, key=lambda s: (s.level, s.start)))

    def depth_first(self, start: Segment | None = None) -> Iterator[Segment]:
        """``start`` (default: the root) and all its descendants, parents before their children."""
        if not self.segments:
            return
        stack, seen = [start or self.root], set()
        while stack:
            segment = stack.pop()
            if segment.node_id in seen:  # a tree that was not validated can lead in a circle
                continue
            seen.add(segment.node_id)
            yield segment
            stack.extend(reversed(self.children(segment)))

    # -- plain data ----------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The tree as one row of Action100M's parquet schema, in plain Python types."""
        return {
            "video_uid": self.video_uid,
            "metadata": None if self.metadata is None else dict(self.metadata),
            "nodes": [
                # As dataclasses.asdict, which looks at every text to see whether it is one.
                {name: getattr(s, name) for name in _SEGMENT_FIELDS} | {"gpt": deepcopy(s.gpt)}
                for s in self.segments
            ],
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Tree:
        """The inverse of :meth:`to_dict`; text fields may be missing.

        Raises:
            ValueError: where a node's id, level, start or end is missing, or a time is no number
        """
        segments = []
        for i, node in enumerate(row.get("nodes") or ()):
            missing = [
                k for k in ("node_id", "level", "start", "end") if (node or {}).get(k) is None
            ]
            if missing:
                raise ValueError(f"node {i} has no {', '.join(missing)}")
            if not (math.isfinite(node["start"]) and math.isfinite(node["end"])):
                raise ValueError(f"node {i} lasts from {node['start']} to {node['end']}")
            segments.append(Segment(**{k: node.get(k) for k in _SEGMENT_FIELDS}))
        return cls(row["video_uid"], tuple(segments), row.get("metadata"))

    # -- invariants ----------------------------------------------------------------------------

    def validate(self) -> None:
        """Check every invariant of Action100M's trees.

        The tree is strictly binary, two children tile their parent, ``level`` is the depth, nodes
        are listed breadth-first, the root starts at 0, every other node lasts at least 0.5 s, ids
        are those of :func:`node_id`, only leaves have a ``llama3_caption``, only inner nodes of at
        least 4 s have a ``gpt``, and "N/A" stands in an action's ``brief`` and ``detailed``
        together (then in ``actor`` too) and never in a summary. Texts may be missing, since a tree
        is filled in stages.

        Raises:
            InvalidTree: with a sentence for each broken invariant
        """
        problems = [*self._structural_problems(), *self._textual_problems()]
        if problems:
            raise InvalidTree(self.video_uid, problems)

    def _structural_problems(self) -> Iterator[str]:
        if not self.segments:
            yield "it has no nodes"
            return
        if len(self._by_id) != len(self.segments):
            yield f"{len(self.segments) - len(self._by_id)} node(s) repeat another node's id"
            return
        roots = [s for s in self.segments if s.parent_id is None]
        if len(roots) != 1:
            yield f"it has {len(roots)} roots instead of one"
            return
        if self.root.start != 0:
            yield f"the root starts at {self.root.start} s instead of 0"
        if list(self.segments) != list(self.breadth_first()):
            yield "its nodes are not sorted by level and start"
        if len(list(self.depth_first())) != len(self.segments):
            yield "some nodes cannot be reached from the root"
        for s in self.segments:
            yield from (f"node {s.node_id} {problem}" for problem in self._node_problems(s))

    def _node_problems(self, s: Segment) -> Iterator[str]:
        children = self.children(s)
        parent = self._by_id.get(s.parent_id) if s.parent_id is not None else None
        if s.parent_id is not None and parent is None:
            yield f"names a parent {s.parent_id} that does not exist"
        if s.level != (parent.level + 1 if parent else 0):
            yield f"is at level {s.level}, which is not its depth"
        if s.node_id != node_id(self.video_uid, s.start, s.end):
            yield f"has an id that is not made of its video and times ({s.start} to {s.end})"
        if not s.start < s.end < math.inf:
            yield f"ends at {s.end}, not after its start {s.start}"
        elif s.parent_id is not None and s.duration < MIN_SEGMENT_DURATION - _ROUNDING:
            yield f"lasts {s.duration} s, less than {MIN_SEGMENT_DURATION} s"
        if len(children) not in (0, 2):
            yield f"has {len(children)} children instead of 0 or 2"
        elif children and [s.start, children[0].end, s.end] != [
            children[0].start,
            children[1].start,
            children[1].end,
        ]:
            yield "is not tiled exactly by its two children"

    def _textual_problems(self) -> Iterator[str]:
        for s in self.segments:
            if s.llama3_caption is not None and not self.is_leaf(s):
                yield f"inner node {s.node_id} has a llama3_caption"
            if s.gpt is None:
                continue
            if not self.is_refined(s):
                yield f"node {s.node_id} has a gpt, but is a leaf or shorter than 4 s"
            brief, detailed, actor = (
                s.text("action", name) == NOT_APPLICABLE for name in ("brief", "detailed", "actor")
            )
            if brief != detailed or (brief and not actor):
                yield f"node {s.node_id} says N/A in a part of its action only"
            if NOT_APPLICABLE in (s.text("summary", "brief"), s.text("summary", "detailed")):
                yield f"node {s.node_id} says N/A in its summary"
