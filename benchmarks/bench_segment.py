"""Embeddings to a tree, D = 1408, T = 675 to 100,000; 1 = scikit-learn's clustering alone.

The last row of each T cuts a dendrogram that was kept. Memory is measured in a process for each
way: what it takes at its peak on top of the embeddings (float16), in MB and as a multiple of T * D
numbers in float32.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .timing import Row, side_by_side

_WIDTH = 1408
_WAYS = ("Ward alone", "segment", "cut again")


def run() -> list[Row]:
    """Compare the whole way to a tree with the clustering that it contains."""
    rows: list[Row] = []
    for samples in (675, 2700, 27_000, 100_000):
        for what, seconds, ratio in _in_a_process("seconds", samples):
            growth = _in_a_process(what, samples)
            more = {"MB": growth / 1e6, "of float32": growth / (4 * samples * _WIDTH)}
            rows.append(Row(f"T = {samples:,}: {what}", seconds, ratio, more))
    return rows


def _in_a_process(what: str, samples: int) -> Any:
    command = [sys.executable, "-m", "benchmarks.bench_segment", what, str(samples)]
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def _main(what: str, samples: int) -> None:
    """Print the seconds of all ways, or by how many bytes one lets the process grow."""
    embeddings = _walk(samples)
    few = embeddings[:100]  # so that nothing is imported or set up later
    if what == "seconds":
        for way in _WAYS:
            _way(way, few)()
        ways = {way: _way(way, embeddings) for way in _WAYS}
        rows = side_by_side(ways, rounds=max(2, 20_000 // samples))
        print(json.dumps([row[:3] for row in rows]))
    else:
        _way(what, few)()
        way = _way(what, embeddings)
        before = _peak_bytes()
        way()
        print(json.dumps(_peak_bytes() - before))


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
