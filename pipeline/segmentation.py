"""Stage 2, segment: frame embeddings become a tree of segments, before any captions.

``python -m pipeline segment`` and the second stage of ``annotate`` run this. As in the paper (arXiv
2601.10592), frames are clustered by Ward linkage with each frame connected only to its neighbours
in time; what is too short is discarded. How exactly, was measured on the authors' trees:

- A split of the dendrogram is kept if and only if both children last at least 0.5 s.
- Sampled frames are the raw frames 0, 4, 8, ...; a cut between two of them lies midway.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .tree import MIN_SEGMENT_DURATION, Segment, Tree, node_id
from .video import SAMPLING_STRIDE

#: Part of the stamps: raise it when the same embeddings give another tree.
VERSION = 1

# Times are stored in hundredths of a second; two cuts that are this far apart (seconds) never
# become one. It is the shortest duration that may be asked for.
SHORTEST_DURATION = Fraction(2, 100)


def segment(
    embeddings: ArrayLike,
    fps: float | Fraction,
    video_uid: str,
    metadata: Mapping[str, Any] | None = None,
    min_duration: float = MIN_SEGMENT_DURATION,
) -> Tree:
    """Cut a video into a tree of segments: :func:`ward_dendrogram`, then :func:`cut`.

    Args:
        embeddings: (T, D) floats, one row per sampled frame (raw frames 0, 4, 8, ...)
        fps: raw frames per second
        video_uid: goes into the tree and the ids of its nodes
        metadata: goes into the tree as it is
        min_duration: seconds; a split is kept if both of its children last this long

    Raises:
        ValueError: embeddings that are not a filled (T, D) array of finite numbers, or an fps or
            min_duration out of range
    """
    return cut(ward_dendrogram(embeddings), fps, video_uid, metadata, min_duration)


def ward_dendrogram(embeddings: ArrayLike) -> NDArray[np.intp]:
    """Cluster T frames, always joining the two neighbours in time that Ward's criterion favours.

    Args:
        embeddings: (T, D) floats of any precision; distances are computed in float64

    Returns:
        (T - 1, 2) integers: the clusters that were joined, in the order of joining. Ids below T
        are frames; ``T + i`` is the cluster that row i made. Of equally good pairs, the one with
        the smallest larger id is joined.

    Raises:
        ValueError: no frames, no values per frame, not two dimensions, or numbers that are not
            finite
    """
    vectors = _checked(embeddings)
    frames = len(vectors)
    if frames == 1:
        return np.empty((0, 2), np.intp)

    from scipy.sparse import diags_array
    from sklearn.cluster import ward_tree

    links = np.ones(frames - 1)
    chain = diags_array([links, links], offsets=[-1, 1])
    children, *_ = ward_tree(vectors, connectivity=chain)
    return np.asarray(children, np.intp)


def cut(
    merges: ArrayLike,
    fps: float | Fraction,
    video_uid: str,
    metadata: Mapping[str, Any] | None = None,
    min_duration: float = MIN_SEGMENT_DURATION,
) -> Tree:
    """Keep the splits of a dendrogram whose children both last ``min_duration``.

    The walk goes down from the root and ends where a split is not kept. It does not look at the
    heights of the merges, which under the constraint of time can be higher below than above.

    Args:
        merges: (T - 1, 2) integers, as :func:`ward_dendrogram` returns
        fps, video_uid, metadata: as for :func:`segment`
        min_duration: seconds, at least 0.02. With less than 0.5 the tree has nodes shorter than
            Action100M's, and ``Tree.validate`` says so.

    Raises:
        ValueError: an fps or min_duration out of range, or merges that do not join neighbours
    """
    rate, shortest = _fraction("fps", fps), _fraction("min_duration", min_duration)
    if shortest < SHORTEST_DURATION:
        raise ValueError(
            f"min_duration is {min_duration} s; it must be at least "
            f"{float(SHORTEST_DURATION)} s, for times are kept in hundredths of a second"
        )
    joined, float_rate = _checked_merges(merges), float(rate)
    first, last = _spans(joined)
    samples = len(joined) + 1
    if round(SAMPLING_STRIDE * samples / float_rate, 2) <= 0:
        raise ValueError(
            f"{samples} embeddings at {float_rate:g} fps last less than 0.01 s; check the fps"
        )

    def raw_frame(sample: int) -> int:
        """The raw frame of the cut before this sample."""
        if sample in (0, samples):
            return SAMPLING_STRIDE * sample
        return SAMPLING_STRIDE * sample - SAMPLING_STRIDE // 2

    def seconds(sample: int) -> float:
        # Divided in floating point, as the authors did: 5160 frames at 24000/1001 fps are exactly
        # 215.215 s, and their file says 215.21. Ids are made of these times.
        return round(raw_frame(sample) / float_rate, 2)

    # Whole frames against a whole number of frames: exact, whatever the fps.
    shortest_frames = math.ceil(shortest * rate)

    def is_kept(cluster: int) -> bool:
        frames = raw_frame(last[cluster]) - raw_frame(first[cluster])
        return frames >= shortest_frames

    segments = []
    queue: deque[tuple[int, str | None, int]] = deque([(2 * samples - 2, None, 0)])
    while queue:
        cluster, parent_id, level = queue.popleft()
        start, end = seconds(first[cluster]), seconds(last[cluster])
        own_id = node_id(video_uid, start, end)
        segments.append(Segment(own_id, parent_id, level, start, end))
        if cluster >= samples:
            children = sorted(joined[cluster - samples], key=first.__getitem__)
            if all(map(is_kept, children)):
                queue.extend((child, own_id, level + 1) for child in children)
    return Tree(video_uid, tuple(segments), metadata)


def _spans(joined: list[list[int]]) -> tuple[list[int], list[int]]:
    """The first sample of each of the 2T - 1 clusters, and the one after its last."""
    samples = len(joined) + 1
    first = list(range(samples))
    last = list(range(1, samples + 1))
    for row, (a, b) in enumerate(joined):
        if not (0 <= a < len(first) and 0 <= b < len(first)) or (
            last[a] != first[b] and last[b] != first[a]
        ):
            raise ValueError(f"row {row} of merges joins {a} and {b}, which are no neighbours")
        first.append(min(first[a], first[b]))
        last.append(max(last[a], last[b]))
    # The last cluster is then a tree of T frames, so that each of the T - 1 joins is used once.
    if (first[-1], last[-1]) != (0, samples):
        raise ValueError(f"merges do not end in one cluster of all {samples} frames")
    return first, last


def _checked_merges(merges: ArrayLike) -> list[list[int]]:
    array = np.asarray(merges)
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
        raise ValueError(
            f"merges must be (T - 1, 2) integers, not {array.shape} of type {array.dtype}"
        )
    return array.tolist()


def _checked(embeddings: ArrayLike) -> NDArray[Any]:
    array = np.asarray(embeddings)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"embeddings must be real numbers, not of type {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"embeddings must have the shape (T, D), not {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"embeddings of shape {array.shape} have no frames or no values")
    if not _all_finite(array):
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        raise ValueError(f"embeddings hold NaN or infinity in {len(bad)} rows, first in {bad[0]}")
    return array


def _all_finite(array: NDArray[Any]) -> bool:
    if array.dtype != np.float16:
        return bool(np.isfinite(array).all())
    # Fifteen times as fast as isfinite, which has no instructions for half precision: NaN and
    # infinity are the numbers whose exponent is all ones.
    exponent = 0x7C00
    return int((array.view(np.uint16) & exponent).max()) < exponent


def _fraction(name: str, value: float | Fraction) -> Fraction:
    """The simplest fraction that is this number: 30000/1001 for its float, 1/2 for 0.5."""
    try:
        exact = Fraction(value.item() if isinstance(value, np.generic) else value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be a finite number above 0, not {value!r}") from None
    if exact <= 0:
        raise ValueError(f"{name} must be a finite number above 0, not {value!r}")
    simple = exact.limit_denominator(1_000_000)
    return simple if float(simple) == float(exact) else exact
