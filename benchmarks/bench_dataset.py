"""Storing a tree of 917 nodes on a sample; 1 = the DictField that the panel reads."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import numpy as np

from pipeline import dataset as datasets
from pipeline.segmentation import segment
from pipeline.tree import Tree

from .timing import Row, side_by_side


def run() -> list[Row]:
    """Compare one DictField with six label fields of all nodes, as loaders make them."""
    os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "true")
    import fiftyone as fo

    tree = _tree()
    clip = datasets.Clip(30, 30 * 600)
    dataset = fo.Dataset()
    try:
        sample = fo.Sample(filepath="/bench/video.mp4")
        dataset.add_sample(sample)
        sample["tree"] = {"nodes": []}
        for i in range(6):
            sample[f"labels_{i}"] = fo.TemporalDetections()
        sample.save()

        def as_dict() -> None:
            sample["tree"] = tree.to_dict()
            sample.save()

        def as_labels() -> None:
            for i in range(6):
                sample[f"labels_{i}"] = datasets.labels(tree, clip, "plm_caption")
            sample.save()

        return side_by_side({"one DictField": as_dict, "six label fields": as_labels})
    finally:
        with suppress(Exception):
            dataset.delete()


def _tree() -> Tree:
    """917 nodes with captions of the real data's median length."""
    rng = np.random.default_rng(0)
    embeddings = np.cumsum(rng.normal(size=(3000, 16)), axis=0)
    tree = segment(embeddings, 30, "bench")
    row: dict[str, Any] = tree.to_dict()
    for node in row["nodes"]:
        node["plm_caption"] = "word " * 52
    return Tree.from_dict({**row, "nodes": row["nodes"][:917]})
