"""The files of a run: whole or not there, found again by what made them, safe from others."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from pipeline.store import (
    RunStore,
    StoreError,
    VideoFolder,
    fingerprint,
    folder_name,
    stamp,
    temporary_sibling,
    write_json,
)

REPO = Path(__file__).parents[1]


def child(code: str, *arguments: object, **options) -> subprocess.Popen[str]:
    """A second Python process that can import the pipeline."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=REPO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture
def folder(tmp_path: Path) -> VideoFolder:
    return RunStore(tmp_path / "run").video("-video")


# -- whole files -------------------------------------------------------------------------------


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "result.json"
    with temporary_sibling(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == tmp_path
    assert target.read_text() == "half"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    target = tmp_path / "result.json"
    write_json(target, {"old": 1})
    with pytest.raises(TypeError):
        write_json(target, {"new": object()})
    with pytest.raises(RuntimeError), temporary_sibling(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert json.loads(target.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("letter", ["a", "é", "あ", "🍲"])
def test_the_longest_file_name_can_be_written(tmp_path, letter):
    name = letter * (255 // len(letter.encode()))
    write_json(tmp_path / name, [1])
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_process_killed_while_it_writes_leaves_the_old_file(tmp_path):
    target = tmp_path / "result.json"
    write_json(target, {"old": 1})
    writer = child(
        """
        import sys, time
        from pipeline.store import temporary_sibling
        with temporary_sibling(sys.argv[1]) as temporary:
            temporary.write_text("half")
            print("writing", flush=True)
            time.sleep(60)
        """,
        target,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    writer.kill()
    writer.communicate()
    assert json.loads(target.read_text()) == {"old": 1}


# -- results by stamp --------------------------------------------------------------------------


def test_arrays_and_plain_data_come_back_as_they_were_saved(folder):
    array = np.arange(12, dtype=np.float16).reshape(3, 4)
    folder.save("embeddings", "abc", array)
    folder.save("tree", "abc", {"title": "é\n"})
    loaded = folder.load("embeddings", "abc")
    assert loaded.dtype == np.float16
    assert np.array_equal(loaded, array)
    assert folder.load("tree", "abc") == {"title": "é\n"}
    assert sorted(p.name for p in folder.path.iterdir()) == [
        "embeddings-abc.npy",
        "tree-abc.json",
    ]


def test_a_result_made_by_something_else_is_not_there(folder):
    folder.save("tree", "abc", {})
    assert folder.has("tree", "abc")
    assert not folder.has("tree", "abd")
    with pytest.raises(FileNotFoundError):
        folder.load("tree", "abd")


def test_a_new_result_replaces_outdated_ones_of_its_stage_only(folder):
    folder.save("tree", "old", {})
    folder.save("video", "old", {})
    folder.append("captions", "old", {})
    folder.save("tree", "new", {})
    assert sorted(p.name for p in folder.path.iterdir()) == [
        "captions-old.jsonl",
        "tree-new.json",
        "video-old.json",
    ]
    folder.append("captions", "new", {})
    folder.drop_outdated("captions", "new")
    assert not folder.has("captions", "old")
    assert folder.has("captions", "new")


def test_a_stamp_changes_with_any_part_and_not_with_the_order_of_keys():
    assert stamp("refine", {"a": 1, "b": [2]}) == stamp("refine", {"b": [2], "a": 1})
    different = [
        stamp("refine", {"a": 1, "b": [2]}),
        stamp("refine", {"a": 1, "b": [3]}),
        stamp("refine", {"a": 1}),
        stamp("refine", {"a": "1", "b": [2]}),
        stamp("refine", {"a": 1, "b": [2]}, None),
        stamp(["refine", {"a": 1, "b": [2]}]),
        stamp(),
    ]
    assert len(set(different)) == len(different)
    assert all(len(s) == 12 and int(s, 16) >= 0 for s in different)


def test_a_stamp_is_the_same_in_another_process():
    other = child("from pipeline.store import stamp; print(stamp('x', {'b': 1.5, 'a': 'é'}))")
    assert other.communicate()[0].strip() == stamp("x", {"b": 1.5, "a": "é"})


def test_a_fingerprint_survives_copying_and_tells_changes_at_either_end(tmp_path):
    data = bytearray(np.random.default_rng(0).bytes(300_000))
    (tmp_path / "a.mp4").write_bytes(data)
    (tmp_path / "b.mp4").write_bytes(data)
    os.utime(tmp_path / "b.mp4", (0, 0))
    first = fingerprint(tmp_path / "a.mp4")
    assert fingerprint(tmp_path / "b.mp4") == first
    for changed in (data[:-1], b"x" + data[1:], data[:-1] + b"x", b""):
        (tmp_path / "b.mp4").write_bytes(changed)
        assert fingerprint(tmp_path / "b.mp4") != first


# -- growing results ---------------------------------------------------------------------------


def test_lines_come_back_in_order_whatever_their_texts_hold(folder):
    assert folder.lines("captions", "abc") == []
    lines = [{"text": t} for t in ("a\nb", "é\u2028\x85", '"', "", "x" * 100_000)]
    for line in lines:
        folder.append("captions", "abc", line)
    assert folder.lines("captions", "abc") == lines


def test_half_a_character_becomes_a_question_mark(folder):
    # Half an emoji, as a model leaves it when its answer is cut off.
    folder.append("captions", "abc", {"text": "soup \ud83c"})
    folder.save("tree", "abc", {"text": "soup \ud83c"})
    assert folder.lines("captions", "abc") == [{"text": "soup ?"}]
    assert folder.load("tree", "abc") == {"text": "soup ?"}


def test_an_incomplete_last_line_is_cut_off_and_the_next_one_is_whole(folder):
    folder.append("captions", "abc", {"n": 1})
    with folder.file("captions", "abc").open("ab") as file:
        file.write(b'{"n": 2, "text": "hal')
    assert folder.lines("captions", "abc") == [{"n": 1}]
    folder.append("captions", "abc", {"n": 3})
    assert folder.lines("captions", "abc") == [{"n": 1}, {"n": 3}]


def test_after_a_kill_in_the_middle_of_appending_all_lines_are_whole(folder):
    appender = child(
        """
        import sys
        from pathlib import Path
        from pipeline.store import VideoFolder
        folder = VideoFolder(Path(sys.argv[1]))
        for n in range(10**9):
            folder.append("captions", "abc", {"n": n, "text": "é" * 20_000})
            if n == 20:
                print("going", flush=True)
        """,
        folder.path,
    )
    assert appender.stdout is not None
    assert appender.stdout.readline() == "going\n"
    appender.send_signal(signal.SIGKILL)
    appender.communicate()
    lines = folder.lines("captions", "abc")
    assert len(lines) > 20
    assert [line["n"] for line in lines] == list(range(len(lines)))
    assert all(line["text"] == "é" * 20_000 for line in lines)
    folder.append("captions", "abc", {"n": "next"})
    assert folder.lines("captions", "abc")[-1] == {"n": "next"}


# -- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", ["-video", "---UfNyophA", "a b", "ü", "..a", "x" * 200])
def test_a_uid_that_names_one_folder_is_that_folder_s_name(uid, tmp_path):
    assert folder_name(uid) == uid
    assert RunStore(tmp_path).video(uid).path.parent == tmp_path


@pytest.mark.parametrize(
    "uid", ["", ".", "..", "/", "/etc", "a/b", "../a", "a\\b", "a\0b", "é" * 101, "a\udcff"]
)
def test_a_uid_that_could_name_anything_else_is_refused(uid, tmp_path):
    with pytest.raises(ValueError, match="must name one folder"):
        RunStore(tmp_path).video(uid)


# -- runs --------------------------------------------------------------------------------------


def test_a_run_remembers_what_it_was_told(tmp_path):
    store = RunStore(tmp_path / "new" / "run")
    assert store.read_config() is None
    store.write_config({"preset": "embedded"})
    assert RunStore(tmp_path / "new" / "run").read_config() == {"preset": "embedded"}


def test_part_files_that_no_run_made_are_not_touched(tmp_path):
    foreign = tmp_path / "part-00000.parquet"
    foreign.write_bytes(b"theirs")
    with pytest.raises(StoreError, match=r"holds part-\*\.parquet that no run made; name a new"):
        RunStore(tmp_path)
    assert list(tmp_path.iterdir()) == [foreign]


def test_a_run_s_own_part_files_are_listed_in_order(tmp_path):
    RunStore(tmp_path).write_config({})
    for number in (1, 0, 10):
        (tmp_path / f"part-{number:05}.parquet").touch()
    names = [path.name for path in RunStore(tmp_path).parts()]
    assert names == ["part-00000.parquet", "part-00001.parquet", "part-00010.parquet"]


def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    for target in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(StoreError, match="name a folder that you may write to") as error:
            RunStore(target)
        assert str(target) in str(error.value)


def test_a_read_only_folder_is_named_with_what_to_do(tmp_path):
    # Root may write anywhere, so that root asks as a user who may not.
    target = tmp_path / "run"
    target.mkdir()
    target.chmod(stat.S_IRUSR | stat.S_IXUSR)
    asked = child(
        """
        import os, sys, tempfile
        from pipeline.store import RunStore, StoreError
        if os.getuid() == 0:
            os.chmod(sys.argv[1], 0o555)
            os.chroot(os.path.dirname(sys.argv[1]))  # no folder above it is in the way
            sys.argv[1] = "/run"
            os.setuid(65534)
        try:
            RunStore(sys.argv[1])
        except StoreError as error:
            print(error)
        """,
        target,
    )
    answer, errors = asked.communicate()
    assert "cannot write to the output folder" in answer, errors
    assert "Permission denied; name a folder that you may write to" in answer


def test_a_run_is_locked_against_other_processes_until_its_own_ends(tmp_path):
    code = """
        import sys, time
        from pipeline.store import RunStore, StoreError
        try:
            with RunStore(sys.argv[1]).lock():
                print("locked", flush=True)
                time.sleep(float(sys.argv[2]))
        except StoreError as error:
            print(error, flush=True)
        """
    first = child(code, tmp_path, 60)
    assert first.stdout is not None
    assert first.stdout.readline() == "locked\n"
    second = child(code, tmp_path, 0).communicate()[0]
    assert second.startswith(f"another process is working on the run in {tmp_path}; wait until")
    with pytest.raises(StoreError), RunStore(tmp_path).lock():
        pass
    first.kill()
    first.communicate()
    assert child(code, tmp_path, 0).communicate()[0] == "locked\n"
    with RunStore(tmp_path).lock():
        pass
