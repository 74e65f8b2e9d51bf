"""Slow and obvious references, written without looking at what they check.

Everything is computed in exact fractions, so that a tie is a tie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Cluster:
    """Neighbouring samples that were joined into one."""

    id: int
    rows: tuple[tuple[Fraction, ...], ...]


def ward_cost(a: Cluster, b: Cluster) -> Fraction:
    """By how much joining two clusters raises the sum of squared distances to their means."""
    return _scatter(a.rows + b.rows) - _scatter(a.rows) - _scatter(b.rows)


def _scatter(rows: Sequence[tuple[Fraction, ...]]) -> Fraction:
    total = Fraction(0)
    for column in zip(*rows, strict=True):
        mean = sum(column) / len(column)
        total += sum((x - mean) ** 2 for x in column)
    return total


def _singletons(embeddings: np.ndarray) -> list[Cluster]:
    return [
        Cluster(i, (tuple(Fraction(float(x)) for x in row),)) for i, row in enumerate(embeddings)
    ]


def ward_merges(embeddings: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (smaller id, larger id) that Ward joins on a chain, the cheapest first.

    Of equally cheap pairs the one with the smallest larger id is joined.
    """
    chain = _singletons(embeddings)
    merges = []
    while len(chain) > 1:

        def rank(i: int, chain: list[Cluster] = chain) -> tuple[Fraction, int, int]:
            a, b = chain[i], chain[i + 1]
            return ward_cost(a, b), max(a.id, b.id), min(a.id, b.id)

        best = min(range(len(chain) - 1), key=rank)
        a, b = chain[best], chain[best + 1]
        merges.append((min(a.id, b.id), max(a.id, b.id)))
        chain[best : best + 2] = [Cluster(len(embeddings) + len(merges) - 1, a.rows + b.rows)]
    return merges


def merge_costs(
    embeddings: np.ndarray, merges: Sequence[tuple[int, int]]
) -> Iterator[tuple[Fraction, Fraction]]:
    """For each merge, what it costs and what the cheapest merge at that point would have cost."""
    chain = _singletons(embeddings)
    for row, merge in enumerate(merges):
        costs = {frozenset((a.id, b.id)): ward_cost(a, b) for a, b in pairwise(chain)}
        yield costs[frozenset(merge)], min(costs.values())
        at = next(i for i, (a, b) in enumerate(pairwise(chain)) if {a.id, b.id} == set(merge))
        joined = Cluster(len(embeddings) + row, chain[at].rows + chain[at + 1].rows)
        chain[at : at + 2] = [joined]


def cut_merges(
    merges: Sequence[tuple[int, int]], fps: Fraction, min_duration: Fraction
) -> list[tuple[int, float, float]]:
    """The (level, start, end) of all segments, sorted, by the rules in the words of the paper."""
    samples = len(merges) + 1
    # A cut lies midway between two sampled raw frames; the video's ends are the ends.
    edges = [
        Fraction(0),
        *(Fraction(4 * i + 4 * (i + 1), 2) for i in range(samples - 1)),
        Fraction(4 * samples),
    ]
    covered = {i: {i} for i in range(samples)}
    for row, (a, b) in enumerate(merges):
        covered[samples + row] = covered[a] | covered[b]

    def frames(cluster: int) -> tuple[Fraction, Fraction]:
        return edges[min(covered[cluster])], edges[max(covered[cluster]) + 1]

    def below(cluster: int, level: int) -> Iterator[tuple[int, float, float]]:
        start, end = frames(cluster)
        yield level, round(int(start) / float(fps), 2), round(int(end) / float(fps), 2)
        if cluster >= samples:
            a, b = merges[cluster - samples]
            if all((end - start) / fps >= min_duration for start, end in map(frames, (a, b))):
                yield from below(a, level + 1)
                yield from below(b, level + 1)

    return sorted(below(2 * samples - 2, 0))
