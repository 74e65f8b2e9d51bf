"""Reads and writes trees in exactly Action100M's parquet schema.

Values survive a round trip: what is null stays null, and times, which the files hold as float32,
become the two-decimal numbers that they stand for (219.15, not 219.14999389648438).
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .store import temporary_sibling
from .tree import Tree

SCHEMA = pa.schema(
    [
        ("video_uid", pa.string()),
        (
            "metadata",
            pa.struct(
                [
                    ("title", pa.string()),
                    ("description", pa.string()),
                    ("view_count", pa.int64()),
                    ("like_count", pa.int64()),
                    ("duration", pa.int64()),
                    ("upload_date", pa.string()),
                    (
                        "transcript",
                        pa.list_(pa.struct([("time", pa.string()), ("text", pa.string())])),
                    ),
                ]
            ),
        ),
        (
            "nodes",
            pa.list_(
                pa.struct(
                    [
                        ("node_id", pa.string()),
                        ("parent_id", pa.string()),
                        ("level", pa.int16()),
                        ("start", pa.float32()),
                        ("end", pa.float32()),
                        ("plm_action", pa.string()),
                        ("plm_caption", pa.string()),
                        ("llama3_caption", pa.string()),
                        (
                            "gpt",
                            pa.struct(
                                [
                                    (
                                        "summary",
                                        pa.struct(
                                            [("brief", pa.string()), ("detailed", pa.string())]
                                        ),
                                    ),
                                    (
                                        "action",
                                        pa.struct(
                                            [
                                                ("brief", pa.string()),
                                                ("detailed", pa.string()),
                                                ("actor", pa.string()),
                                            ]
                                        ),
                                    ),
                                ]
                            ),
                        ),
                    ]
                )
            ),
        ),
    ]
)

#: Key of the file's key-value metadata under which the models that made the trees are named (JSON).
MODELS_KEY = b"action100m.models"

_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    "video_uid": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t),
    "metadata": lambda t: pa.types.is_struct(t) or pa.types.is_null(t),
    "nodes": lambda t: (
        (pa.types.is_list(t) or pa.types.is_large_list(t)) and pa.types.is_struct(t.value_type)
    ),
}

# A row is 100 to 800 KB decoded; this many bound the memory of a reader that wants one of them.
_ROWS_PER_GROUP = 64


class ParquetError(ValueError):
    """A file that is not readable as Action100M parquet; the message names it and the reason."""


def find_parquet(path: str | os.PathLike[str]) -> list[Path]:
    """The file itself, or a folder's parquet files: in its ``data`` as on the hub, or in itself."""
    path = Path(path)
    if path.is_file():
        return [path]
    return sorted(path.glob("data/*.parquet")) or sorted(path.glob("*.parquet"))


def read_trees(
    path: str | os.PathLike[str],
    video_uids: Collection[str] | None = None,
    on_error: Callable[[str, str], None] | None = None,
) -> Iterator[Tree]:
    """Yield the trees of a file, a row group at a time.

    Args:
        path: a parquet file with the columns of :data:`SCHEMA`
        video_uids: only these videos; row groups without any of them are not decoded
        on_error: called with (video_uid, reason) for a row that is not a tree, which is then left
            out; without it such a row raises

    Raises:
        ParquetError: the file is missing, no parquet, damaged, or lacks columns
    """
    with open_parquet(path) as file:
        wanted = None if video_uids is None else set(video_uids)
        for group in range(file.num_row_groups):
            try:
                if wanted is None:
                    table = file.read_row_group(group)
                else:
                    uids = file.read_row_group(group, columns=["video_uid"])["video_uid"]
                    mask = pc.is_in(uids, pa.array(sorted(wanted), uids.type))
                    if not pc.any(mask).as_py():
                        continue
                    table = file.read_row_group(group).filter(mask)
            except (pa.ArrowException, OSError) as error:
                raise _unreadable(path, error) from error
            for batch in table.to_batches(max_chunksize=16):
                for row in batch.to_pylist():
                    tree = _tree(path, row, on_error)
                    if tree is not None:
                        yield tree


def read_uids(path: str | os.PathLike[str]) -> list[str]:
    """The ids of a file's videos in its order, decoding no other column."""
    with open_parquet(path) as file:
        return [uid for uid in file.read(["video_uid"])["video_uid"].to_pylist() if uid]


def read_metadata(
    path: str | os.PathLike[str], video_uids: Collection[str]
) -> dict[str, dict[str, Any] | None]:
    """The metadata of those of the videos that the file has, without decoding any node."""
    wanted = pa.array(sorted(video_uids), pa.string())
    found: dict[str, dict[str, Any] | None] = {}
    with open_parquet(path) as file:
        for batch in file.iter_batches(columns=["video_uid", "metadata"]):
            for row in batch.filter(pc.is_in(batch["video_uid"], wanted)).to_pylist():
                found[row["video_uid"]] = _metadata(row["metadata"])
    return found


def read_models(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The models that made a file's trees, as :func:`write_trees` was told; {} if it says none."""
    with open_parquet(path) as file:
        stored = (file.schema_arrow.metadata or {}).get(MODELS_KEY)
    return json.loads(stored) if stored else {}


def write_trees(
    path: str | os.PathLike[str], trees: Iterable[Tree], models: Mapping[str, Any] | None = None
) -> int:
    """Write trees to a file, which appears complete or not at all; returns how many.

    Args:
        path: the file; its folder must exist
        trees: consumed as they are written, a row group at a time
        models: the models that made the trees, kept in the file's key-value metadata
    """
    schema = SCHEMA
    if models:
        schema = schema.with_metadata({MODELS_KEY: json.dumps(models, sort_keys=True).encode()})
    count = 0
    rows = (tree.to_dict() for tree in trees)
    with (
        temporary_sibling(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        while chunk := list(islice(rows, _ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
            count += len(chunk)
    return count


def open_parquet(path: str | os.PathLike[str]) -> pq.ParquetFile:
    """A file after making sure that it has the schema's columns; ParquetError if it has not."""
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise ParquetError(f"{path}: no such file; check the path") from None
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    missing = [name for name in SCHEMA.names if name not in file.schema_arrow.names]
    if missing:
        has = ", ".join(file.schema_arrow.names[:8]) or "none"
        file.close()
        raise ParquetError(
            f"{path} is not an Action100M file: it lacks the column(s) {', '.join(missing)} "
            f"(it has {has}); name a file with video_uid, metadata and nodes"
        )
    for name, fits in _KINDS.items():
        kind = file.schema_arrow.field(name).type
        if not fits(kind):
            file.close()
            raise ParquetError(
                f"{path} is not an Action100M file: its column {name} holds {str(kind)[:60]}; "
                f"name a file where it holds {str(SCHEMA.field(name).type).split('<')[0]}s"
            )
    return file


def _unreadable(path: str | os.PathLike[str], error: Exception) -> ParquetError:
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return ParquetError(
        f"{path} is not a readable parquet file: {reason}; "
        "if it was downloaded, delete it and download it again"
    )


def _tree(
    path: str | os.PathLike[str], row: dict[str, Any], on_error: Callable[[str, str], None] | None
) -> Tree | None:
    try:
        if not row["video_uid"]:
            raise ValueError("the row has no video_uid")
        for node in row["nodes"] or ():
            for key in ("start", "end"):
                if node and node.get(key) is not None:
                    # The shortest decimal that is this float32: lossless, and what was meant.
                    node[key] = float(str(np.float32(node[key])))
        row["metadata"] = _metadata(row["metadata"])
        return Tree.from_dict(row)
    except ValueError as error:
        if on_error is None:
            raise ParquetError(f"{path}, video {row['video_uid']!r}: {error}") from error
        on_error(row["video_uid"] or "", str(error))
        return None


def _metadata(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    if metadata and "transcript" in metadata:
        metadata["transcript"] = _transcript(metadata["transcript"])
    return metadata


def _transcript(value: Any) -> list[dict[str, str | None]] | None:
    """The transcript as a list of {"time", "text"}; some mirrors hold it as one string."""
    if isinstance(value, str):
        value = _parsed(value)
    if value is None:
        return None
    if not isinstance(value, list):
        raise ValueError("its transcript is not a list")
    return [
        {
            "time": None if line.get("time") is None else str(line["time"]),
            "text": None if line.get("text") is None else str(line["text"]),
        }
        for line in value
        if isinstance(line, dict)
    ]


# Between two dicts, numpy prints no comma, and for a part of a long array three dots. The quoted
# strings come first, so that what looks like it inside of them is passed over.
_BETWEEN_DICTS = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|\}\s*(?:\.\.\.\s*)?\{""")


def _parsed(text: str) -> Any:
    """A list that was written as JSON, as Python, or as numpy prints an array of dicts."""
    text = text.strip()
    if text.lower() in ("", "none", "null", "nan"):
        return None
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    text = re.sub(r"^array\((.*), dtype=object\)$", r"\1", text, flags=re.DOTALL)
    with_commas = _BETWEEN_DICTS.sub(lambda m: m[1] or "}, {", text)
    for candidate in (text, with_commas):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            return ast.literal_eval(candidate)
    raise ValueError("its transcript is a string that is no list")
