"""Annotations as large as real ones, made up: parquet files laid out like the hub's.

A row is a video of 267 nodes on average, with 1.3 KB of text and ids a node, which snappy brings to
half: 170 KB a row, like those that the authors publish as an example. The texts are random words;
each is a piece of one long random text, so that no two are alike and no dictionary shrinks them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.parquet import SCHEMA

#: Bytes of the random text that all captions are pieces of; more than the window of any codec.
_TEXT_BYTES = 16_000_000
#: Median and sigma of the lengths in bytes, log-normal, as measured on real texts.
_LENGTHS = {
    "title": (50, 0.4),
    "description": (700, 0.8),
    "line": (40, 0.3),
    "plm_action": (33, 0.4),
    "plm_caption": (330, 0.75),
    "llama3_caption": (861, 0.3),
    "summary_brief": (103, 0.3),
    "summary_detailed": (484, 0.4),
    "action_brief": (18, 0.4),
    "action_detailed": (148, 0.33),
    "actor": (28, 0.6),
}
_NODES = (115, 419)  # of a row, uniformly; odd, as those of a binary tree are
_SECONDS_PER_NODE = 0.9
_LINES_PER_NODE = 0.29


def write_parts(
    folder: Path, rows: int, rows_per_file: int, rows_per_group: int, seed: int = 0
) -> list[str]:
    """Write ``folder/part-00000.parquet`` and so on, with snappy; returns the ids in their order.

    Args:
        rows: videos in all
        rows_per_file, rows_per_group: the last of each may have fewer
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    uids = [f"v{number:010d}" for number in rng.permutation(rows)]
    for part, first in enumerate(range(0, rows, rows_per_file)):
        chunk = uids[first : first + rows_per_file]
        with pq.ParquetWriter(folder / f"part-{part:05d}.parquet", SCHEMA) as writer:
            for at in range(0, len(chunk), rows_per_group):
                group = chunk[at : at + rows_per_group]
                writer.write_table(_rows(rng, group), row_group_size=rows_per_group)
    return uids


def _rows(rng: np.random.Generator, uids: list[str]) -> pa.Table:
    """The table of these videos. Their trees are complete binary ones, nodes breadth-first."""
    counts = rng.integers(_NODES[0] // 2, _NODES[1] // 2 + 1, len(uids)) * 2 + 1
    offsets = np.concatenate([[0], np.cumsum(counts)])
    total = int(offsets[-1])
    number = np.arange(total) - np.repeat(offsets[:-1], counts)  # of a node within its tree
    level = np.floor(np.log2(number + 1)).astype(np.int16)
    seconds = np.repeat(counts * _SECONDS_PER_NODE, counts) / 2.0**level
    start = seconds * (number + 1 - 2**level)
    inner = 2 * number + 1 < np.repeat(counts, counts)
    refined = inner & (seconds >= 4)
    ids = _hex_ids(rng, total)
    parents = np.repeat(offsets[:-1], counts) + (number - 1) // 2
    gpt = {
        name: _texts(rng, name, refined)
        for name in ("summary_brief", "summary_detailed", "action_brief", "action_detailed")
    }
    nothing = pa.array(~refined)
    summary = pa.StructArray.from_arrays(
        [gpt["summary_brief"], gpt["summary_detailed"]], ["brief", "detailed"], mask=nothing
    )
    action = pa.StructArray.from_arrays(
        [gpt["action_brief"], gpt["action_detailed"], _texts(rng, "actor", refined)],
        ["brief", "detailed", "actor"],
        mask=nothing,
    )
    nodes = pa.StructArray.from_arrays(
        [
            _strings(ids),
            _strings(ids[parents], number > 0),
            pa.array(level),
            pa.array(start.round(2).astype(np.float32)),
            pa.array((start + seconds).round(2).astype(np.float32)),
            _texts(rng, "plm_action", np.ones(total, bool)),
            _texts(rng, "plm_caption", np.ones(total, bool)),
            _texts(rng, "llama3_caption", ~inner),
            pa.StructArray.from_arrays([summary, action], ["summary", "action"], mask=nothing),
        ],
        fields=list(SCHEMA.field("nodes").type.value_type),
    )
    return pa.Table.from_arrays(
        [
            pa.array(uids),
            _metadata(rng, counts),
            pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), nodes),
        ],
        schema=SCHEMA,
    )


def _metadata(rng: np.random.Generator, counts: np.ndarray) -> pa.StructArray:
    everywhere = np.ones(len(counts), bool)
    # 28 % of the videos have no transcript.
    lines = np.where(rng.random(len(counts)) < 0.28, 0, counts * _LINES_PER_NODE).astype(int)
    offsets = np.concatenate([[0], np.cumsum(lines)])
    times = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lines)
    transcript = pa.StructArray.from_arrays(
        [
            pa.array([f"{3.1 * i:.2f}" for i in times], pa.string()),
            _texts(rng, "line", np.ones(int(offsets[-1]), bool)),
        ],
        ["time", "text"],
    )
    return pa.StructArray.from_arrays(
        [
            _texts(rng, "title", everywhere),
            _texts(rng, "description", everywhere),
            pa.array(rng.integers(100, 10**7, len(counts))),
            pa.array(rng.integers(0, 10**5, len(counts))),
            pa.array((counts * _SECONDS_PER_NODE).astype(np.int64)),
            pa.array([f"20{y:02d}0{m}1{d}" for y, m, d in rng.integers(1, 10, (len(counts), 3))]),
            pa.ListArray.from_arrays(
                pa.array(offsets, pa.int32()), transcript, mask=pa.array(lines == 0)
            ),
        ],
        fields=list(SCHEMA.field("metadata").type),
    )


def _texts(rng: np.random.Generator, kind: str, where: np.ndarray) -> pa.StringArray:
    """Consecutive pieces of the long text; null where ``where`` is False."""
    text = _long_text()
    median, sigma = _LENGTHS[kind]
    lengths = np.where(where, rng.lognormal(np.log(median), sigma, len(where)), 0).astype(np.int64)
    lengths = np.where(where, np.maximum(lengths, 4), 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    needed = int(offsets[-1])
    first = int(rng.integers(0, len(text)))
    pieces = [text[first : first + needed]]
    while (missing := needed - sum(map(len, pieces))) > 0:
        pieces.append(text[:missing])
    return pa.StringArray.from_buffers(
        len(where),
        pa.py_buffer(offsets.astype(np.int32)),
        pa.py_buffer(np.concatenate(pieces)),
        pa.array(where).buffers()[1],
    )


def _strings(letters: np.ndarray, where: np.ndarray | None = None) -> pa.Array:
    """An array of strings of one length from (N, length) ASCII codes; null where not ``where``."""
    flat = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(letters.shape[1]),
        len(letters),
        [
            None if where is None else pa.array(where).buffers()[1],
            pa.py_buffer(np.ascontiguousarray(letters)),
        ],
    )
    return flat.cast(pa.binary()).cast(pa.string())


def _hex_ids(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 36) ASCII codes, each row a random UUID."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)[rng.integers(0, 16, (count, 36))]
    digits[:, [8, 13, 18, 23]] = ord("-")
    return digits


@cache
def _long_text() -> np.ndarray:
    """ASCII codes of random words, which snappy brings to about half, as it does real captions."""
    rng = np.random.default_rng(1)
    words = [
        bytes(rng.integers(ord("a"), ord("z") + 1, rng.integers(2, 11)).astype(np.uint8))
        for _ in range(8_000)
    ]
    # Common words are short and make up most of a text.
    words.sort(key=len)
    chosen = np.minimum(rng.zipf(1.15, _TEXT_BYTES // 4) - 1, len(words) - 1)
    text = b" ".join([words[i] for i in chosen])
    return np.frombuffer(text[:_TEXT_BYTES], np.uint8)
