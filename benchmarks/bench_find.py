"""Finding segments in 1,000 videos of 267 nodes; 1 = find_segments, a rare word."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import dataset as datasets
from pipeline.dataset.labels import label_document
from pipeline.parquet import read_trees

from . import synthetic
from .timing import Row, side_by_side

if TYPE_CHECKING:
    import fiftyone as fo

# So many samples are iterated over, and their time taken times as much; all would take minutes.
_ITERATED = 40


def run(videos: int = 1_000) -> list[Row]:
    """Compare the search with iterating over the samples, and with FiftyOne's own aggregations."""
    os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "true")
    dataset = _dataset(videos)
    try:
        rare, common = _words(dataset)
        ways = {
            "find_segments, a rare word": lambda: _found(dataset, text=rare),
            "find_segments, a common word": lambda: _found(dataset, text=common),
            "find_segments, at least 60 s": lambda: _found(dataset, min_duration=60),
            "and the clips of a rare word": lambda: _clips(dataset, rare),
            "Dataset.values of the trees, a rare word": lambda: _by_values(dataset, rare),
        }
        rows = side_by_side(ways)
        hits = {name: ways[name]() for name in ways}
        rows = [row._replace(more={"hits": hits[row.what]}) for row in rows]
        seconds = _seconds(lambda: _by_iterating(dataset, rare)) * videos / min(videos, _ITERATED)
        rows.append(Row("iterating over samples, a rare word", seconds, seconds / rows[0].seconds))
        return rows
    finally:
        with suppress(Exception):
            dataset.delete()


def _dataset(videos: int) -> fo.Dataset:
    """Samples with trees and labels, as parse_to_fiftyone.py stores them, of videos of no file."""
    import fiftyone as fo
    from bson import ObjectId
    from pymongo import UpdateOne

    dataset = fo.Dataset()
    clip = datasets.Clip(30, 30 * 90)
    metadata = fo.VideoMetadata(frame_rate=30.0, total_frame_count=30 * 90)
    samples = [fo.Sample(filepath=f"/bench/{i}.mp4", metadata=metadata) for i in range(videos)]
    ids = dataset.add_samples(samples, progress=False)
    names = [name for name in datasets.LABEL_TEXTS if name.startswith(("summary", "action"))]
    dataset.add_sample_field("ground_truth_tree", fo.DictField)
    for name in names:
        dataset.add_sample_field(
            f"gpt_{name}", fo.EmbeddedDocumentField, embedded_doc_type=fo.TemporalDetections
        )
    with tempfile.TemporaryDirectory() as folder:
        synthetic.write_parts(Path(folder), videos, videos, 100)
        for sample_id, tree in zip(
            ids, read_trees(Path(folder) / "part-00000.parquet"), strict=True
        ):
            stored: dict[str, Any] = {"ground_truth_tree": {"nodes": tree.to_dict()["nodes"]}}
            for name in names:
                stored[f"gpt_{name}"] = label_document(tree, clip, name)
            change = UpdateOne({"_id": ObjectId(sample_id)}, {"$set": stored})
            dataset._bulk_write([change], ids=[sample_id])
    return dataset


def _words(dataset: fo.Dataset) -> tuple[str, str]:
    """A word of one caption that is in few others, and one that is in many."""
    nodes = dataset.first()["ground_truth_tree"]["nodes"]
    words = {word for node in nodes for word in node["plm_caption"].split()}
    rare = max(words, key=lambda word: (len(word), word))
    common = sorted(words, key=lambda word: (abs(len(word) - 5), word))[0]
    return rare, common


def _found(dataset: fo.Dataset, **query: Any) -> int:
    return len(datasets.find_segments(dataset, datasets.SegmentQuery(**query)))


def _clips(dataset: fo.Dataset, word: str) -> int:
    hits = datasets.find_segments(dataset, datasets.SegmentQuery(text=word))
    return len(datasets.segment_clips(dataset, hits, limit=1000))


def _by_values(dataset: fo.Dataset, word: str) -> int:
    pattern = re.compile(re.escape(word), re.IGNORECASE)
    trees = dataset.values("ground_truth_tree")
    return sum(_says(node, pattern) for tree in trees for node in tree["nodes"])


def _by_iterating(dataset: fo.Dataset, word: str) -> int:
    pattern = re.compile(re.escape(word), re.IGNORECASE)
    return sum(
        _says(node, pattern)
        for sample in dataset.limit(_ITERATED).iter_samples()
        for node in sample["ground_truth_tree"]["nodes"]
    )


def _says(node: dict[str, Any], pattern: re.Pattern[str]) -> bool:
    texts = [node["plm_action"], node["plm_caption"], node["llama3_caption"]]
    if node["gpt"]:
        texts += [*node["gpt"]["summary"].values(), *node["gpt"]["action"].values()]
    return any(text and pattern.search(text) for text in texts)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
