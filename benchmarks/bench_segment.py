"""Embeddings to a tree, D = 1408, T = 675 to 100,000; 1 = scikit-learn's clustering alone.

Each way runs in a process of its own, so that its peak memory can be told: what it takes on top of
the embeddings (float16), and that as a multiple of T * D numbers in float32. The last row of each T
cuts a dendrogram that was kept.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .timing import Row, side_by_side

_WIDTH = 1408
_WAYS = {"Ward alone": 3, "segment": 3, "cut again": 1}  # and processes to take the best of
_WARM_UP = 100


def run() -> list[Row]:
    """Compare the whole way to a tree with the clustering that it contains."""
    rows: list[Row] = []
    for samples in (675, 2700, 27_000, 100_000):
        best: dict[str, Row] = {}
        for turn in range(max(_WAYS.values())):
            for way in (way for way, turns in _WAYS.items() if turn < turns):
                row = _in_a_process(way, samples)
                if way not in best or row.seconds < best[way].seconds:
                    best[way] = row
        first = best["Ward alone"].seconds
        rows += [best[way]._replace(ratio=best[way].seconds / first) for way in _WAYS]
    return rows


def _in_a_process(way: str, samples: int) -> Row:
    command = [sys.executable, "-m", "benchmarks.bench_segment", way, str(samples)]
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True, text=True)
    seconds, growth = json.loads(done.stdout)
    more = {"MB": growth / 1e6, "of float32": growth / (4 * samples * _WIDTH)}
    return Row(f"T = {samples:,}: {way}", seconds, 1.0, more)


def _main(way: str, samples: int) -> None:
    """Print the seconds, and the bytes by which the process grew meanwhile."""
    embeddings = _walk(samples)
    _way(way, embeddings[:_WARM_UP])()
    chosen = _way(way, embeddings)
    before = _peak_bytes()
    ((_, seconds, _, _),) = side_by_side({way: chosen}, rounds=max(1, 20_000 // samples))
    print(json.dumps([seconds, _peak_bytes() - before]))


def _peak_bytes() -> int:
    """The most memory that this process has had; what its parent had does not count."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])


def _way(way: str, embeddings: np.ndarray) -> Callable[[], object]:
    from pipeline.segmentation import cut, segment, ward_dendrogram

    if way == "Ward alone":
        return lambda: _ward(embeddings)
    if way == "segment":
        return lambda: segment(embeddings, 30, "bench")
    merges = ward_dendrogram(embeddings)
    return lambda: cut(merges, 30, "bench", min_duration=1)


def _walk(samples: int) -> np.ndarray:
    """(samples, 1408) float16: a random walk with jumps, like a video with cuts."""
    rng = np.random.default_rng(0)
    walk = np.empty((samples, _WIDTH), np.float16)
    at = np.zeros(_WIDTH)
    for row in walk:
        at += rng.normal(size=_WIDTH) * rng.choice([0.1, 3], p=[0.97, 0.03])
        row[:] = at
    return walk


def _ward(embeddings: np.ndarray) -> None:
    from scipy.sparse import diags_array
    from sklearn.cluster import ward_tree

    links = np.ones(len(embeddings) - 1)
    ward_tree(embeddings, connectivity=diags_array([links, links], offsets=[-1, 1]))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
