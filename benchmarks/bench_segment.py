"""Embeddings to a tree, D = 1408, at T = 675 and 2,700; 1 = scikit-learn's clustering alone."""

from __future__ import annotations

import numpy as np

from pipeline.segmentation import segment

from .timing import Row, side_by_side


def run() -> list[Row]:
    """Compare the whole way to a tree with the clustering that it contains."""
    rows: list[Row] = []
    for samples in (675, 2700):
        embeddings = _walk(samples)
        ways = {
            f"T = {samples:,}: Ward alone": lambda e=embeddings: _ward(e),
            f"T = {samples:,}: segment": lambda e=embeddings: segment(e, 30, "bench"),
        }
        rows += side_by_side(ways)
    return rows


def _walk(samples: int) -> np.ndarray:
    """A random walk with jumps, like a video with cuts."""
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(samples, 1408)) * rng.choice([0.1, 3], (samples, 1), p=[0.97, 0.03])
    return np.cumsum(steps, axis=0).astype(np.float16)


def _ward(embeddings: np.ndarray) -> None:
    from scipy.sparse import diags_array
    from sklearn.cluster import ward_tree

    links = np.ones(len(embeddings) - 1)
    ward_tree(embeddings, connectivity=diags_array([links, links], offsets=[-1, 1]))
