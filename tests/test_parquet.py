"""Reading and writing Action100M's parquet schema."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.synthetic import write_parts
from pipeline.parquet import (
    SCHEMA,
    ParquetError,
    Part,
    find_rows,
    part_on_disk,
    read_models,
    read_rows,
    read_trees,
    read_uids,
    read_videos,
    write_trees,
)
from pipeline.segmentation import segment
from pipeline.tree import Segment, Tree, node_id
from tests.real_trees import REAL_FILE, needs_real_trees, real_trees

TRANSCRIPT = [
    {"time": "0.5", "text": 'it\'s  a "test"\nwith } {braces}'},
    {"time": "12.345", "text": "[Music] \\ 'x'"},
]


def small_tree(uid: str = "-UfNyophA--", seed: int = 0, **metadata) -> Tree:
    rng = np.random.default_rng(seed)
    return segment(rng.normal(size=(40, 3)).cumsum(axis=0), 25, uid, metadata or None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "part-00000.parquet"


def write_rows(path: Path, *rows: dict, schema: pa.Schema = SCHEMA) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)


# -- round trips -------------------------------------------------------------------------------


@needs_real_trees
def test_the_real_file_read_and_written_back_is_an_equal_table(path):
    assert write_trees(path, read_trees(REAL_FILE)) == 5
    real, written = pq.read_table(REAL_FILE), pq.read_table(path)
    assert written.equals(real)
    assert written.schema.equals(real.schema)


@needs_real_trees
def test_times_are_the_decimals_that_the_float32_of_the_file_stand_for():
    for tree in real_trees():
        assert all(round(t, 2) == t for s in tree.segments for t in (s.start, s.end))


def test_trees_come_back_as_they_were_written(path):
    trees = [
        small_tree("---UfNyophA", 1),
        small_tree("-other", 2, title="-t", view_count=3, transcript=TRANSCRIPT),
        small_tree("third", 3, title=None, transcript=[]),
    ]
    write_trees(path, trees)
    keys = SCHEMA.field("metadata").type.names
    for tree, again in zip(trees, read_trees(path), strict=True):
        assert (again.video_uid, again.segments) == (tree.video_uid, tree.segments)
        if tree.metadata is None:
            assert again.metadata is None
        else:
            assert again.metadata == dict.fromkeys(keys) | dict(tree.metadata)
    assert read_uids(path) == ["---UfNyophA", "-other", "third"]


def test_nulls_stay_null_wherever_they_are(path):
    root = {"node_id": "r", "parent_id": None, "level": 0, "start": 0.0, "end": 9.0}
    gpts = [
        None,
        {"summary": None, "action": None},
        {"summary": {"brief": None, "detailed": None}, "action": None},
        {"summary": None, "action": {"brief": "cut", "detailed": None, "actor": None}},
    ]
    rows = [{"video_uid": f"v{i}", "metadata": None, "nodes": [root | {"gpt": gpt}]}
            for i, gpt in enumerate(gpts)]  # fmt: skip
    no_values = dict.fromkeys(SCHEMA.field("metadata").type.names)
    rows += [
        {"video_uid": "no nodes", "metadata": no_values, "nodes": None},
        {"video_uid": "empty", "metadata": no_values | {"transcript": []}, "nodes": []},
        {
            "video_uid": "lines",
            "metadata": no_values
            | {"transcript": [{"time": None, "text": "a"}, {"time": "1", "text": None}]},
            "nodes": [],
        },
    ]
    write_rows(path, *rows)
    trees = list(read_trees(path))
    assert [t.root.gpt for t in trees[:4]] == gpts
    assert [t.metadata for t in trees] == [row["metadata"] for row in rows]
    again = path.with_name("again.parquet")
    write_trees(again, trees)
    # Of all of this only a missing list of nodes becomes an empty one.
    rows[4]["nodes"] = []
    assert pq.read_table(again).to_pylist() == pa.Table.from_pylist(rows, SCHEMA).to_pylist()


def test_files_are_in_exactly_action100m_s_schema(path):
    write_trees(path, [small_tree()])
    assert pq.read_schema(path).equals(SCHEMA)
    node = SCHEMA.field("nodes").type.value_type
    assert str(node.field("level").type) == "int16"
    assert str(node.field("start").type) == str(node.field("end").type) == "float"


def test_the_models_that_made_a_file_are_kept_in_it(path):
    write_trees(path, [small_tree()], models={"preset": "embedded", "refine": "é"})
    assert read_models(path) == {"preset": "embedded", "refine": "é"}
    write_trees(path, [small_tree()])
    assert read_models(path) == {}


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_beside_it(path):
    write_trees(path, [small_tree("old")])

    def trees():
        yield small_tree("new")
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        write_trees(path, trees())
    assert read_uids(path) == ["old"]
    assert list(path.parent.iterdir()) == [path]


def test_no_trees_make_a_file_without_rows(path):
    assert write_trees(path, []) == 0
    assert list(read_trees(path)) == []


# -- transcripts -------------------------------------------------------------------------------


def without_time_column(transcript: str) -> tuple[dict, pa.Schema]:
    """A row whose transcript is one string, and the schema of its file."""
    fields = [
        pa.field("transcript", pa.string()) if f.name == "transcript" else f
        for f in SCHEMA.field("metadata").type
    ]
    schema = SCHEMA.set(1, pa.field("metadata", pa.struct(fields)))
    root = {"node_id": "r", "level": 0, "start": 0.0, "end": 9.0}
    return {"video_uid": "v", "metadata": {"transcript": transcript}, "nodes": [root]}, schema


ARRAY = np.array(TRANSCRIPT, dtype=object)
SPELLINGS = {
    "JSON": json.dumps(TRANSCRIPT),
    "Python": repr(TRANSCRIPT),
    "numpy, on lines of their own": "[" + "\n ".join(map(repr, TRANSCRIPT)) + "]",
    "numpy, on one line": "[" + " ".join(map(repr, TRANSCRIPT)) + "]",
    "numpy as it prints": str(ARRAY),
    "numpy's repr": repr(ARRAY),
    "numpy's repr on more lines": "array([" + ",\n       ".join(map(repr, TRANSCRIPT)) + "],"
    " dtype=object)",
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_transcript_that_became_one_string_is_read(path, spelling):
    row, schema = without_time_column(SPELLINGS[spelling])
    write_rows(path, row, schema=schema)
    (tree,) = read_trees(path)
    assert tree.metadata is not None
    assert tree.metadata["transcript"] == TRANSCRIPT


def test_of_a_transcript_that_numpy_shortened_the_rest_is_read(path):
    lines = np.array([{"time": f"{i}.0", "text": f"line {i}"} for i in range(1500)], dtype=object)
    assert "..." in str(lines)
    row, schema = without_time_column(str(lines))
    write_rows(path, row, schema=schema)
    (tree,) = read_trees(path)
    assert tree.metadata is not None
    assert [line["text"] for line in tree.metadata["transcript"]] == [
        f"line {i}" for i in (0, 1, 2, 1497, 1498, 1499)
    ]


@pytest.mark.parametrize("spelling", ["", "nan", "None", "null"])
def test_a_transcript_that_says_nothing_is_none(path, spelling):
    row, schema = without_time_column(spelling)
    write_rows(path, row, schema=schema)
    (tree,) = read_trees(path)
    assert tree.metadata is not None
    assert tree.metadata["transcript"] is None


def test_a_transcript_is_never_run_as_code(path, tmp_path):
    mark = tmp_path / "ran"
    row, schema = without_time_column(f"[__import__('pathlib').Path({str(mark)!r}).touch()]")
    write_rows(path, row, schema=schema)
    with pytest.raises(ParquetError, match="video 'v': its transcript is a string that is no list"):
        list(read_trees(path))
    assert not mark.exists()


# -- reading a part of a file ------------------------------------------------------------------


def test_videos_are_found_by_id(path):
    write_trees(path, [small_tree(f"-video-{i}") for i in range(5)])
    trees = read_trees(path, video_uids=["-video-3", "-video-1", "not there"])
    assert [t.video_uid for t in trees] == ["-video-1", "-video-3"]
    assert list(read_trees(path, video_uids=[])) == []


def test_row_groups_without_wanted_videos_are_not_decoded(path):
    tree = small_tree()
    write_trees(path, (replace(tree, video_uid=f"v{i}") for i in range(150)))
    file = pq.ParquetFile(path)
    assert file.num_row_groups == 3
    # Destroy the nodes of the second group: who reads the others never notices.
    group = file.metadata.row_group(1)
    chunks = [group.column(i) for i in range(group.num_columns)]
    (ids,) = (c for c in chunks if c.path_in_schema.endswith("node_id"))
    file.close()
    start = ids.dictionary_page_offset or ids.data_page_offset
    with path.open("r+b") as raw:
        raw.seek(start)
        raw.write(b"\xff" * ids.total_compressed_size)
    assert [t.video_uid for t in read_trees(path, video_uids=["v3", "v149"])] == ["v3", "v149"]
    with pytest.raises(ParquetError, match=r"part-00000.parquet is not a readable parquet file"):
        list(read_trees(path, video_uids=["v70"]))


class CountedFile(io.FileIO):
    """A file that notes which bytes are read."""

    def __init__(self, path: Path, reads: list[tuple[int, int]]) -> None:
        super().__init__(path)
        self.reads = reads

    def read(self, size: int | None = -1) -> bytes:
        at = self.tell()
        content = super().read(size)
        self.reads.append((at, at + len(content)))
        return content


def counted(path: Path) -> tuple[Part, list[tuple[int, int]]]:
    reads: list[tuple[int, int]] = []
    return Part(str(path), lambda: CountedFile(path, reads), far=True), reads


def extent(metadata: pq.FileMetaData, group: int) -> tuple[int, int]:
    """The first byte of a row group and the one after its last."""
    chunks = [metadata.row_group(group).column(i) for i in range(metadata.num_columns)]
    first = min(min(filter(None, (c.dictionary_page_offset, c.data_page_offset))) for c in chunks)
    return first, first + sum(c.total_compressed_size for c in chunks)


def test_statistics_tell_which_row_groups_cannot_hold_an_id(path):
    write_trees(path, (replace(small_tree(), video_uid=f"v{i:04d}") for i in range(640)))
    part, reads = counted(path)
    located = find_rows(part, ["v0070", "v0100", "v9999", "a"])
    assert located.rows == {1: {6: "v0070", 36: "v0100"}}
    # The ids are in order: of ten groups only the one that can hold them was looked into.
    first, last = extent(located.metadata, 1)
    start = extent(located.metadata, 9)[1]
    assert [r for r in reads if r[0] < start and r[0] != 0] == [
        (begin, end) for begin, end in reads if first <= begin < end <= last
    ]
    reads.clear()
    assert [r.tree.video_uid for r in read_rows(located)] == ["v0070", "v0100"]
    assert {r for r in reads if not first <= r[0] < r[1] <= last} <= {(0, 4)}
    assert sum(end - begin for begin, end in reads) < 1.05 * (last - first)


def test_ids_in_no_order_are_found_from_the_id_column_alone(tmp_path):
    uids = write_parts(tmp_path, rows=300, rows_per_file=300, rows_per_group=30)
    part, reads = counted(tmp_path / "part-00000.parquet")
    located = find_rows(part, [uids[100], uids[299], "none"])
    assert located.rows == {3: {10: uids[100]}, 9: {29: uids[299]}}
    assert sum(end - begin for begin, end in reads) < 0.01 * Path(part.name).stat().st_size
    assert [r.tree.video_uid for r in read_rows(located)] == [uids[100], uids[299]]


def test_a_file_without_statistics_is_read_all_the_same(path):
    rows = [small_tree(f"v{i}").to_dict() for i in range(40)]
    table = pa.Table.from_pylist(rows, SCHEMA)
    pq.write_table(table, path, row_group_size=10, write_statistics=False)
    assert [t.video_uid for t in read_trees(path, ["v3", "v39"])] == ["v3", "v39"]


@pytest.mark.slow
def test_memory_does_not_depend_on_the_size_of_a_row_group(tmp_path, repo):
    uids = write_parts(tmp_path, rows=1500, rows_per_file=1500, rows_per_group=1500)
    (file,) = tmp_path.iterdir()
    assert pq.ParquetFile(file).metadata.num_row_groups == 1
    program = (
        "import sys\n"
        "from pipeline.parquet import read_trees\n"
        "found = [tree.video_uid for tree in read_trees(sys.argv[1], sys.argv[2:])]\n"
        "assert sorted(found) == sorted(sys.argv[2:]), found\n"
        # Not ru_maxrss, in which this process counts too: the child begins as a copy of it.
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, file, uids[0], uids[1499]],
        cwd=repo,
        capture_output=True,
        text=True,
        check=True,
    )
    # The group is 500 MB decoded, and 240 MB as it lies in the file.
    assert int(done.stdout) < 400_000


def test_of_several_files_the_first_row_of_a_video_counts_and_the_rest_is_not_read(tmp_path):
    for name, uids in (("a", ["v1", "v2"]), ("b", ["v2", "v3"]), ("c", ["v3", "v4"])):
        trees = [replace(small_tree(uid), metadata={"title": name}) for uid in uids]
        write_trees(tmp_path / f"{name}.parquet", trees)
    parts = [part_on_disk(path) for path in sorted(tmp_path.iterdir())]
    rows = list(read_videos(parts, {"v2", "v3", "none"}, pytest.fail))
    assert [(r.tree.video_uid, r.tree.metadata["title"]) for r in rows] == [
        ("v2", "a"),
        ("v3", "b"),
    ]
    opened = []

    def noting():
        for part in [*parts, *parts * 10]:
            opened.append(part.name)
            yield part

    assert len(list(read_videos(noting(), {"v1"}, pytest.fail, threads=2))) == 1
    assert len(opened) <= 4


def test_videos_of_a_file_that_breaks_off_are_named(path):
    write_trees(path, (replace(small_tree(), video_uid=f"v{i}") for i in range(150)))
    first, last = extent(pq.ParquetFile(path).metadata, 1)
    with path.open("r+b") as raw:
        raw.seek(first + (last - first) // 2)
        raw.write(b"\xff" * ((last - first) // 4))
    broken: list[str] = []
    rows = list(
        read_videos([part_on_disk(path)], {"v3", "v70"}, lambda part, why: broken.append(why))
    )
    assert [(r.tree.video_uid, r.problem is None) for r in rows] == [("v3", True), ("v70", False)]
    assert len(broken) == 1 and "is not a readable parquet file" in broken[0]
    assert rows[1].problem == broken[0]


# -- what cannot be read -----------------------------------------------------------------------


def test_a_row_that_is_no_tree_is_named_and_left_out(path):
    good = small_tree("good").to_dict()
    lost_level = small_tree("bad").to_dict()
    lost_level["nodes"][2]["level"] = None
    no_uid = small_tree("x").to_dict() | {"video_uid": None}
    write_rows(path, lost_level, good, no_uid)
    errors: list[tuple[str, str]] = []
    trees = read_trees(path, on_error=lambda uid, reason: errors.append((uid, reason)))
    assert [t.video_uid for t in trees] == ["good"]
    assert errors == [("bad", "node 2 has no level"), ("", "the row has no video_uid")]
    with pytest.raises(ParquetError, match=r"part-00000.parquet, video 'bad': node 2 has no level"):
        list(read_trees(path))


def text_file(path: Path) -> None:
    path.write_text("video_uid,metadata,nodes\n" * 20)


def half_a_file(path: Path) -> None:
    write_trees(path, [small_tree()])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_columns(path: Path) -> None:
    pq.write_table(pa.table({"video_uid": ["a"], "caption": ["b"]}), path)


def nodes_as_text(path: Path) -> None:
    pq.write_table(
        pa.table({"video_uid": ["a"], "metadata": [{"title": "t"}], "nodes": ["b"]}), path
    )


def metadata_as_text(path: Path) -> None:
    schema = SCHEMA.set(1, pa.field("metadata", pa.string()))
    write_rows(path, {"video_uid": "v", "metadata": "{}", "nodes": []}, schema=schema)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "no such file; check the path"),
        (lambda path: path.mkdir(), "is not a readable parquet file"),
        (Path.touch, "is not a readable parquet file: .* delete it and download it again"),
        (text_file, "is not a readable parquet file: .* delete it and download it again"),
        (half_a_file, "is not a readable parquet file: .* delete it and download it again"),
        (other_columns, r"lacks the column\(s\) metadata, nodes \(it has video_uid, caption\)"),
        (nodes_as_text, "its column nodes holds string; name a file where it holds lists"),
        (metadata_as_text, "its column metadata holds string; name a file where it holds structs"),
    ],
    ids=["missing", "folder", "empty", "text", "half", "columns", "nodes", "metadata"],
)
@pytest.mark.parametrize("read", [lambda path: list(read_trees(path)), read_uids, read_models])
def test_a_file_that_cannot_be_read_is_named_with_what_to_do(path, read, make, sentence):
    make(path)
    with pytest.raises(ParquetError, match=sentence) as error:
        read(path)
    assert str(path) in str(error.value)


def test_columns_that_a_mirror_left_out_of_nodes_and_metadata_are_none(path):
    root = {"node_id": node_id("v", 0, 9), "level": 0, "start": 0.0, "end": 9.1}
    row = {"video_uid": "v", "metadata": {"title": "t"}, "nodes": [root]}
    pq.write_table(pa.Table.from_pylist([row]), path)
    (tree,) = read_trees(path)
    assert tree == Tree("v", (Segment(root["node_id"], None, 0, 0.0, 9.1),), {"title": "t"})


def test_large_strings_and_other_columns_do_no_harm(path):
    tree = small_tree("-v")
    table = pa.Table.from_pylist([tree.to_dict()], SCHEMA)
    table = table.set_column(0, "video_uid", table["video_uid"].cast(pa.large_string()))
    pq.write_table(table.append_column("score", pa.array([1.0])), path)
    assert [t.segments for t in read_trees(path, video_uids=["-v"])] == [tree.segments]
