"""What the benchmarks share: timing side by side, and rows of ratios."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Row(NamedTuple):
    """One line of a result.

    Attributes:
        what: was timed
        seconds: it took
        ratio: the seconds as a multiple of the first line's
        more: what else was measured, by a name that tells the unit
    """

    what: str
    seconds: float
    ratio: float
    more: Mapping[str, float] | None = None


def side_by_side(ways: Mapping[str, Callable[[], object]], rounds: int = 3) -> list[Row]:
    """Time each way in turn, several rounds over; the best of each, since noise only adds.

    Taking turns spreads what else the machine does over all of them.
    """
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - started)
    first = next(iter(best.values()))
    return [Row(name, seconds, seconds / first) for name, seconds in best.items()]
