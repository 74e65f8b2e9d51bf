"""Reads and writes trees in exactly Action100M's parquet schema.

Values survive a round trip: what is null stays null, and times, which the files hold as float32,
become the two-decimal numbers that they stand for (219.15, not 219.14999389648438).
"""

from __future__ import annotations

import ast
import json
import os
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .ahead import look_ahead
from .store import temporary_sibling
from .tree import Segment, Tree

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
# Rows that are decoded together. Few rows and a small buffer for each column are as fast as whole
# row groups, and need 30 MB where a row group of 4,000 rows needs 2.5 GB.
_ROWS_AT_A_TIME = 16
_NEAR_BUFFER = 1 << 16
_FAR_BUFFER = 1 << 22
# Row groups that are decoded at the same time, and how many rows of one may wait to be asked for.
_GROUPS_AT_A_TIME = 4
_ROWS_AHEAD = 8
# Bytes of a row group, uncompressed, that a reader from afar holds.
_FETCHED_AT_ONCE = 256_000_000


class ParquetError(ValueError):
    """A file that is not readable as Action100M parquet; the message names it and the reason."""


@dataclass(frozen=True)
class Part:
    """A parquet file, on this machine or elsewhere.

    Attributes:
        name: what messages call it
        open: opens it as a file that can seek
        far: whether each read costs a round trip, so that few large ones are better than many
    """

    name: str
    open: Callable[[], Any]
    far: bool = False


@dataclass(frozen=True)
class Located:
    """Where in a file the rows of wanted videos are.

    Attributes:
        part: the file
        metadata: its footer, which need not be read again
        rows: for each row group that has any, the numbers of its wanted rows, from 0 and in order,
            with their ids
    """

    part: Part
    metadata: pq.FileMetaData
    rows: Mapping[int, Mapping[int, str | None]]


class Row(NamedTuple):
    """A row as far as it could be read.

    Attributes:
        tree: without segments where those are no tree, without metadata where that is unreadable
        problem: what could not be read, or None
    """

    tree: Tree
    problem: str | None = None


def find_parquet(path: str | os.PathLike[str]) -> list[Path]:
    """The file itself, or a folder's parquet files: in its ``data`` as on the hub, or in itself."""
    path = Path(path)
    if path.is_file():
        return [path]
    return sorted(path.glob("data/*.parquet")) or sorted(path.glob("*.parquet"))


def part_on_disk(path: str | os.PathLike[str]) -> Part:
    """A file of this machine."""
    return Part(str(path), partial(pa.OSFile, os.fspath(path)))


def read_trees(
    path: str | os.PathLike[str],
    video_uids: Collection[str] | None = None,
    on_error: Callable[[str, str], None] | None = None,
) -> Iterator[Tree]:
    """Yield the trees of a file, some rows at a time.

    Args:
        path: a parquet file with the columns of :data:`SCHEMA`
        video_uids: only these videos; see :func:`find_rows` and :func:`read_rows` for what is read
        on_error: called with (video_uid, reason) for a row that is not a tree, which is then left
            out; without it such a row raises

    Raises:
        ParquetError: the file is missing, no parquet, damaged, or lacks columns
    """
    part = part_on_disk(path)
    if video_uids is None:
        with open_parquet(part) as file:
            sizes = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
            every = {g: dict.fromkeys(range(rows)) for g, rows in enumerate(sizes)}
            located = Located(part, file.metadata, every)
    else:
        located = find_rows(part, video_uids)
    for tree, problem in read_rows(located):
        if problem is None:
            yield tree
        elif on_error is None:
            raise ParquetError(f"{path}, video {tree.video_uid!r}: {problem}")
        else:
            on_error(tree.video_uid, problem)


def find_rows(part: Part, video_uids: Collection[str]) -> Located:
    """Find the rows of videos by their ids.

    Reads the footer, and the id column of those row groups whose statistics leave open whether they
    hold a wanted id. Where ids are in no order, as in the authors' files, that is all of them.

    Raises:
        ParquetError: the file is missing, no parquet, damaged, or lacks columns
    """
    wanted = sorted(video_uids)
    rows: dict[int, dict[int, str | None]] = {}
    with open_parquet(part) as file:
        metadata = file.metadata
        columns = [file.schema.column(i).path for i in range(len(file.schema))]
        column = columns.index("video_uid")
        groups = [
            group
            for group in range(metadata.num_row_groups)
            if _may_hold(metadata.row_group(group).column(column).statistics, wanted)
        ]
        # The groups are read as one long column: these are the numbers of their first rows in it.
        firsts = np.cumsum([0] + [metadata.row_group(group).num_rows for group in groups])
        number = 0
        if groups:
            values = pa.array(wanted, file.schema_arrow.field("video_uid").type)
            ids = file.iter_batches(
                8192, row_groups=groups, columns=["video_uid"], use_threads=False
            )
            for batch in ids:
                uids = batch["video_uid"]
                mask = pc.is_in(uids, values)
                for index in np.flatnonzero(mask.to_numpy(zero_copy_only=False)):
                    at = int(np.searchsorted(firsts, number + index, side="right")) - 1
                    row = int(number + index - firsts[at])
                    rows.setdefault(groups[at], {})[row] = uids[int(index)].as_py()
                number += len(uids)
    return Located(part, metadata, rows)


def _may_hold(statistics: pq.Statistics | None, wanted: list[str]) -> bool:
    """Whether a column chunk can hold one of the sorted ids, as far as its statistics tell."""
    if statistics is None or not statistics.has_min_max:
        return True
    low, high = statistics.min, statistics.max
    if not isinstance(low, str) or not isinstance(high, str):
        return True
    # Python compares code points and parquet UTF-8 bytes: the same order.
    first = bisect_left(wanted, low)
    return first < len(wanted) and wanted[first] <= high


def read_rows(located: Located) -> Iterator[Row]:
    """Yield the rows that :func:`find_rows` found, in the file's order.

    Of a row group without wanted rows nothing is read. pyarrow cannot begin in the middle of one,
    so of the others all columns are decoded up to the last wanted row, a few rows at a time: memory
    is bounded whatever the size of a row group, and Python objects are made of wanted rows only.

    Raises:
        ParquetError: the file has changed or is damaged
    """
    part, metadata = located.part, located.metadata
    sizes = [metadata.row_group(g).total_byte_size for g in located.rows]
    # From afar a row group is fetched in one go; a huge one, and files on disk, as it is decoded.
    whole = part.far and max(sizes, default=0) <= _FETCHED_AT_ONCE
    buffer = 0 if whole else (_FAR_BUFFER if part.far else _NEAR_BUFFER)
    with open_parquet(part, metadata, pre_buffer=whole, buffer_size=buffer) as file:
        for group, wanted in located.rows.items():
            numbers = sorted(wanted)
            batches = file.iter_batches(_ROWS_AT_A_TIME, row_groups=[group])
            first, position = 0, 0
            while position < len(numbers):
                batch = next(batches)
                while position < len(numbers) and numbers[position] < first + len(batch):
                    yield _row(batch, numbers[position] - first)
                    position += 1
                first += len(batch)


def read_videos(
    parts: Iterable[Part],
    video_uids: Collection[str],
    on_error: Callable[[Part, str], None],
    threads: int = 8,
) -> Iterator[Row]:
    """Yield a row for each of the videos that any of the files has, the first of several.

    Rows are found in several files at a time, since those elsewhere mostly wait, and several row
    groups are decoded at a time, but neither far ahead of who asks for the rows. When every video
    is found, the other files are not read.

    Args:
        on_error: called with (file, reason) for a file that cannot be read; rows that were found in
            it but not read are yielded with the reason as their problem
        threads: files in which rows are looked for at the same time
    """
    missing = set(video_uids)
    broken: set[str] = set()

    def find(part: Part) -> Located | ParquetError:
        try:
            return find_rows(part, video_uids)
        except ParquetError as error:
            return error

    def row_groups() -> Iterator[Located]:
        """Of each file, each row group that has wanted rows, as if it had no others."""
        with closing(look_ahead(find, parts, threads, threads)) as found:
            for part, located in found:
                if isinstance(located, ParquetError):
                    on_error(part, str(located))
                    continue
                for group, rows in located.rows.items():
                    first = {row: uid for row, uid in rows.items() if _claim(missing, uid)}
                    if first:
                        yield replace(located, rows={group: first})
                if not missing:
                    return

    cores = min(_GROUPS_AT_A_TIME, os.cpu_count() or 1)
    with closing(look_ahead(_begin, row_groups(), cores, cores)) as begun:
        for located, rows in begun:
            unread = {uid for wanted in located.rows.values() for uid in wanted.values()}
            try:
                for row in rows:
                    unread.discard(row.tree.video_uid)
                    yield row
            except ParquetError as error:
                if located.part.name not in broken:
                    broken.add(located.part.name)
                    on_error(located.part, str(error))
                for uid in sorted(uid for uid in unread if uid):
                    yield Row(Tree(uid), str(error))


def _begin(located: Located) -> Iterable[Row]:
    """The rows, read here where they are few; of many, only as they are asked for."""
    if sum(map(len, located.rows.values())) <= _ROWS_AHEAD:
        with suppress(ParquetError):  # which comes again when they are asked for
            return list(read_rows(located))
    return read_rows(located)


def _claim(missing: set[str], uid: str | None) -> bool:
    """Take the id out of those that are missing; False if it was found before."""
    if uid not in missing:
        return False
    missing.discard(uid)
    return True


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


@contextmanager
def open_parquet(
    source: str | os.PathLike[str] | Part,
    metadata: pq.FileMetaData | None = None,
    **reading: Any,
) -> Iterator[pq.ParquetFile]:
    """Open a file after making sure that it has the schema's columns.

    Args:
        source: a path, or a file elsewhere
        metadata: the file's footer, where it is known
        reading: how to read; see :class:`pyarrow.parquet.ParquetFile`

    Raises:
        ParquetError: it cannot be read or lacks columns; also for what fails in the ``with`` block
    """
    part = source if isinstance(source, Part) else part_on_disk(source)
    try:
        with part.open() as handle:
            file = pq.ParquetFile(handle, metadata=metadata, **reading)
            _check_columns(part, file)
            yield file
    except FileNotFoundError:
        raise ParquetError(f"{part.name}: no such file; check the path") from None
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(part, error) from error


def _check_columns(part: Part, file: pq.ParquetFile) -> None:
    missing = [name for name in SCHEMA.names if name not in file.schema_arrow.names]
    if missing:
        has = ", ".join(file.schema_arrow.names[:8]) or "none"
        raise ParquetError(
            f"{part.name} is not an Action100M file: it lacks the column(s) {', '.join(missing)} "
            f"(it has {has}); name a file with video_uid, metadata and nodes"
        )
    for name, fits in _KINDS.items():
        kind = file.schema_arrow.field(name).type
        if not fits(kind):
            raise ParquetError(
                f"{part.name} is not an Action100M file: its column {name} holds "
                f"{str(kind)[:60]}; "
                f"name a file where it holds {str(SCHEMA.field(name).type).split('<')[0]}s"
            )


def _unreadable(part: Part, error: Exception) -> ParquetError:
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    if part.far:
        return ParquetError(f"{part.name} cannot be read: {reason}; try again")
    return ParquetError(
        f"{part.name} is not a readable parquet file: {reason}; "
        "if it was downloaded, delete it and download it again"
    )


def _row(batch: pa.RecordBatch, index: int) -> Row:
    """A row in plain Python; what cannot be read of it is left out and said."""
    uid, metadata = "", None
    segments: tuple[Segment, ...] = ()
    problems = []
    try:
        uid = batch["video_uid"][index].as_py() or ""
        if not uid:
            problems.append("the row has no video_uid")
    except ValueError as error:  # also of text that is not UTF-8
        problems.append(f"its video_uid cannot be read: {error}")
    try:
        metadata = batch["metadata"][index].as_py()
        metadata = _metadata(metadata)
    except ValueError as error:
        problems.append(str(error))
        if metadata is not None:
            metadata["transcript"] = None
    try:
        nodes = batch["nodes"][index].as_py()
        for node in nodes or ():
            for key in ("start", "end"):
                if node and node.get(key) is not None:
                    # The shortest decimal that is this float32: lossless, and what was meant.
                    node[key] = float(str(np.float32(node[key])))
        segments = Tree.from_dict({"video_uid": uid, "nodes": nodes}).segments
    except ValueError as error:
        problems.append(str(error))
    return Row(Tree(uid, segments, metadata), "; ".join(problems) or None)


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
