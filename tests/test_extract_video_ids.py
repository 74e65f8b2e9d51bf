"""The id list from parquet files on disk and from a hub on this machine (the real client)."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.synthetic import write_parts
from pipeline.parquet import write_trees
from pipeline.tree import Tree
from tests.hub import COMMIT, REPOSITORY, Hub

SCRIPT = Path(__file__).parent.parent / "download_scripts" / "extract_video_ids.py"


def extract(folder: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def write_part(path: Path, *uids: str, text_bytes: int = 0) -> None:
    """A file of videos with descriptions that do not compress."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = random.Random(0)
    write_trees(
        path,
        [Tree(uid, metadata={"description": noise.randbytes(text_bytes).hex()}) for uid in uids],
    )


# -- files on disk -------------------------------------------------------------------------------


def test_ids_of_all_files_are_written_sorted_and_once(tmp_path: Path) -> None:
    write_part(tmp_path / "action100m-preview/data/part-0.parquet", "zzzzzzzzzzz", "---UfNyophA")
    write_part(tmp_path / "action100m-preview/data/part-1.parquet", "aaaaaaaaaaa", "zzzzzzzzzzz")
    result = extract(tmp_path)
    assert result.returncode == 0
    assert result.stdout == ""
    assert "3 ids in video_ids.txt, from 2 files of action100m-preview" in result.stderr
    assert (tmp_path / "video_ids.txt").read_text() == "---UfNyophA\naaaaaaaaaaa\nzzzzzzzzzzz\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("action100m-preview", "video_ids.txt"),
    ]


def test_files_in_the_folder_itself_are_read_too_and_limit_takes_the_first(tmp_path: Path) -> None:
    write_part(tmp_path / "mine/part.parquet", *(f"video_{i:05d}" for i in range(9, -1, -1)))
    result = extract(tmp_path, "--data", "mine", "--out", "few.txt", "--limit", 2, "--json")
    assert json.loads(result.stdout) == {
        "out": "few.txt",
        "ids": 2,
        "source": "mine",
        "files": 1,
        "malformed": 0,
        "failed": {},
        "download": None,
    }
    assert (tmp_path / "few.txt").read_text() == "video_00000\nvideo_00001\n"


def test_a_malformed_id_is_left_out_with_a_warning(tmp_path: Path) -> None:
    write_part(tmp_path / "d/part.parquet", "good_id____", "../../../etc", "bad\nbad\nbad", "")
    result = extract(tmp_path, "--data", "d", "--json")
    assert result.returncode == 0
    assert (tmp_path / "video_ids.txt").read_text() == "good_id____\n"
    assert "warning: '../../../etc' is not a video id; left out\n" in result.stderr
    assert "warning: 'bad\\nbad\\nbad' is not a video id; left out\n" in result.stderr
    assert json.loads(result.stdout)["malformed"] == 2


def test_one_unreadable_file_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    write_part(tmp_path / "d/data/part-0.parquet", "good_id____")
    (tmp_path / "d/data/part-1.parquet").write_text("<html>")
    result = extract(tmp_path, "--data", "d", "--json")
    assert result.returncode == 1
    assert (tmp_path / "video_ids.txt").read_text() == "good_id____\n"
    assert "error: d/data/part-1.parquet is not a readable parquet file" in result.stderr
    assert list(json.loads(result.stdout)["failed"]) == ["d/data/part-1.parquet"]


def test_an_earlier_list_stays_when_there_is_nothing_to_write(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/part.parquet").write_bytes(b"")
    (tmp_path / "video_ids.txt").write_text("good_id____\n")
    result = extract(tmp_path, "--data", "d")
    assert result.returncode == 1
    assert "there are no video ids in d; nothing was written" in result.stderr
    assert (tmp_path / "video_ids.txt").read_text() == "good_id____\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "0"], "argument --limit: invalid count (1 or more) value: '0'"),
        (["--repo", "action100m"], "--repo is 'action100m'; it must be OWNER/NAME"),
        (["--out", "no/ids.txt"], "--out is no/ids.txt; its folder does not exist"),
    ],
)
def test_a_wrong_call_is_status_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = extract(tmp_path, *arguments)
    assert result.returncode == 2
    assert message in result.stderr.splitlines()[-1]


# -- the hub -------------------------------------------------------------------------------------


@pytest.fixture
def filled_hub(hub: Hub, tmp_path: Path) -> Hub:
    """Two parquet files, most of whose bytes are texts."""
    for part in range(2):
        path = tmp_path / "source" / f"part-{part:05d}.parquet"
        uids = [f"-video_{part}_{i:02d}" for i in range(40)]
        write_part(path, *uids, text_bytes=40_000)
        hub.files[f"data/{path.name}"] = path.read_bytes()
    hub.files["README.md"] = b"# Action100M"
    return hub


def test_without_files_on_disk_only_the_id_column_is_read_from_the_hub(
    filled_hub: Hub, tmp_path: Path
) -> None:
    result = extract(tmp_path, "--json", **filled_hub.variables(tmp_path))
    assert result.returncode == 0, result.stderr
    ids = (tmp_path / "video_ids.txt").read_text().split()
    assert ids == [f"-video_{part}_{i:02d}" for part in range(2) for i in range(40)]
    assert json.loads(result.stdout)["source"] == f"{REPOSITORY} on the hub"
    assert filled_hub.sent < sum(map(len, filled_hub.files.values())) / 20
    assert not (tmp_path / "action100m-preview").exists()


def test_conditions_read_only_the_columns_that_they_need_from_the_hub(
    filled_hub: Hub, tmp_path: Path
) -> None:
    total = sum(map(len, filled_hub.files.values()))
    call = ("--min-duration", 1, "--min-actions", 1, "--has-transcript")
    result = extract(tmp_path, *call, **filled_hub.variables(tmp_path))
    assert "there are no video ids that fit" in result.stderr
    assert filled_hub.sent < total / 10


def test_a_private_repository_is_read_with_the_token_at_a_revision(
    filled_hub: Hub, tmp_path: Path
) -> None:
    filled_hub.private = True
    variables = filled_hub.variables(tmp_path)
    result = extract(tmp_path, "--revision", COMMIT, **variables)
    assert result.returncode == 0, result.stderr
    assert len((tmp_path / "video_ids.txt").read_text().split()) == 80
    assert any(f"/resolve/{COMMIT}/data/" in request for request in filled_hub.requests)
    refused = extract(tmp_path, **{**variables, "HF_TOKEN": "hf_other"})
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith(f"error: cannot list {REPOSITORY} on the hub")
    assert "Traceback" not in refused.stderr and "hf_other" not in refused.stderr


@pytest.mark.parametrize("lfs", [True, False], ids=["LFS", "git"])
def test_download_fetches_whole_files_once(filled_hub: Hub, tmp_path: Path, lfs: bool) -> None:
    filled_hub.lfs = lfs
    variables = filled_hub.variables(tmp_path)
    result = extract(tmp_path, "--download", "--limit", 3, "--json", **variables)
    assert result.returncode == 0, result.stderr
    assert fetched_as_on(filled_hub, tmp_path)
    names = [name for name in filled_hub.files if name.endswith(".parquet")]
    size = sum(len(filled_hub.files[name]) for name in names)
    assert "2 files fetched into action100m-preview" in result.stderr
    assert "3 ids in video_ids.txt, from 2 files of action100m-preview" in result.stderr
    assert json.loads(result.stdout)["download"] == {
        "fetched": names,
        "complete": [],
        "received": size,
        "failed": {},
    }
    filled_hub.ranges.clear()
    result = extract(tmp_path, "--download", "--json", **variables)
    assert json.loads(result.stdout)["download"] == {
        "fetched": [],
        "complete": names,
        "received": 0,
        "failed": {},
    }
    assert filled_hub.ranges == []


def fetched_as_on(hub: Hub, folder: Path) -> bool:
    """Whether the folder has the hub's parquet files, and nothing else beside them."""
    data = folder / "action100m-preview" / "data"
    here = {f"data/{path.name}": path.read_bytes() for path in data.iterdir()}
    return here == {name: text for name, text in hub.files.items() if name.endswith(".parquet")}


@pytest.mark.parametrize("lfs", [True, False], ids=["LFS", "git"])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_download_fetches_what_is_damaged_again_and_no_other_file(
    filled_hub: Hub, tmp_path: Path, damage: str, lfs: bool
) -> None:
    filled_hub.lfs = lfs
    variables = filled_hub.variables(tmp_path)
    assert extract(tmp_path, "--download", **variables).returncode == 0
    bad = tmp_path / "action100m-preview/data/part-00001.parquet"
    content = bytearray(bad.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 1  # the size is the same, and so is the time
    times = (bad.stat().st_atime, bad.stat().st_mtime)
    bad.write_bytes(content)
    os.utime(bad, times)
    filled_hub.ranges.clear()
    assert extract(tmp_path, "--download", **variables).returncode == 0
    assert fetched_as_on(filled_hub, tmp_path)
    assert filled_hub.ranges == [("data/part-00001.parquet", 0)]


def test_a_damaged_beginning_is_not_gone_on_with(filled_hub: Hub, tmp_path: Path) -> None:
    variables = filled_hub.variables(tmp_path)
    filled_hub.stall_after = 500_000
    with subprocess.Popen(
        [sys.executable, SCRIPT, "--download"],
        cwd=tmp_path,
        env={**os.environ, **variables},
        stderr=subprocess.DEVNULL,
    ) as process:
        data = tmp_path / "action100m-preview" / "data"
        deadline = time.monotonic() + 30
        while len(started := sorted(data.glob(".*.incomplete"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
    for path in started:
        path.write_bytes(b"x" * 1000)
    filled_hub.stall_after = None
    assert extract(tmp_path, "--download", **variables).returncode == 0
    assert fetched_as_on(filled_hub, tmp_path)


def test_a_file_that_is_not_what_the_hub_lists_is_not_taken(
    filled_hub: Hub, tmp_path: Path
) -> None:
    name = "data/part-00001.parquet"
    filled_hub.lies[name] = filled_hub.files[name][:-1] + b"?"
    result = extract(tmp_path, "--download", "--json", **filled_hub.variables(tmp_path))
    assert result.returncode == 1
    summary = json.loads(result.stdout)
    assert summary["download"]["failed"] == {
        name: f"{name} arrived with another hash than the hub lists"
    }
    assert summary["ids"] == 40
    data = tmp_path / "action100m-preview" / "data"
    assert [path.name for path in data.iterdir()] == ["part-00000.parquet"]


def test_a_broken_file_on_the_hub_is_named_and_the_others_are_read(
    filled_hub: Hub, tmp_path: Path
) -> None:
    filled_hub.files["data/part-00001.parquet"] = b"no parquet at all"
    result = extract(tmp_path, "--json", **filled_hub.variables(tmp_path))
    assert result.returncode == 1
    assert len((tmp_path / "video_ids.txt").read_text().split()) == 40
    (failed,) = json.loads(result.stdout)["failed"].items()
    assert failed[0] == f"data/part-00001.parquet of {REPOSITORY} on the hub"
    assert "cannot be read" in failed[1] and "\n" not in failed[1]


def test_an_unknown_repository_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    for option in ("--json", "--download"):
        result = extract(tmp_path, "--repo", "some/thing", option, **hub.variables(tmp_path))
        assert result.returncode == 1
        assert result.stderr.splitlines()[-1].startswith("error: cannot ")
        assert "some/thing" in result.stderr.splitlines()[-1]
        assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def large_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 MB of annotations as large as real ones, in four files of five row groups each."""
    folder = tmp_path_factory.mktemp("large")
    write_parts(folder, rows=1200, rows_per_file=300, rows_per_group=60)
    return folder


# What of the files moves at most, in percent. Distinct actions are one column in every node.
@pytest.mark.parametrize(
    ("conditions", "percent", "fit"),
    [
        ([], 0.5, 1200),
        (["--min-duration", 200], 0.5, None),
        (["--query", "zq"], 1, None),
        (["--has-transcript"], 0.5, None),
        (["--min-actions", 40], 2, None),
    ],
    ids=["all", "duration", "query", "transcript", "actions"],
)
def test_the_id_list_moves_little_of_a_large_repository(
    hub: Hub,
    large_files: Path,
    tmp_path: Path,
    conditions: list[object],
    percent: float,
    fit: int | None,
) -> None:
    hub.add_folder(large_files)
    assert hub.size > 190e6
    result = extract(tmp_path, "--json", *conditions, **hub.variables(tmp_path))
    assert result.returncode == 0, result.stderr
    ids = json.loads(result.stdout)["ids"]
    assert ids == fit if fit else 0 < ids < 1200
    assert hub.sent < hub.size * percent / 100
    print(f"{conditions}: {hub.sent} of {hub.size} bytes, {hub.sent / hub.size:.3%}")


def test_a_killed_download_goes_on_where_it_was(
    hub: Hub, large_files: Path, tmp_path: Path
) -> None:
    hub.add_folder(large_files)
    hub.stall_after = 25_000_000
    variables = hub.variables(tmp_path)
    data = tmp_path / "action100m-preview" / "data"

    def arrived() -> list[int]:
        return sorted(path.stat().st_size for path in data.glob(".*.incomplete"))

    with subprocess.Popen(
        [sys.executable, SCRIPT, "--download"],
        cwd=tmp_path,
        env={**os.environ, **variables},
        stderr=subprocess.DEVNULL,
    ) as process:
        # huggingface_hub hands over 10 MiB at a time: two of them have come, the third never does.
        deadline = time.monotonic() + 30
        while arrived() != [20 << 20] * 4:
            assert time.monotonic() < deadline, arrived()
            time.sleep(0.05)
        process.kill()
    assert not list(data.glob("*.parquet"))
    hub.stall_after, hub.sent = None, 0
    hub.ranges.clear()
    result = extract(tmp_path, "--download", "--json", **variables)
    assert result.returncode == 0, result.stderr
    assert fetched_as_on(hub, tmp_path)
    assert sorted(hub.ranges) == [(name, 20 << 20) for name in sorted(hub.files)]
    rest = hub.size - 4 * (20 << 20)
    assert json.loads(result.stdout)["download"]["received"] == rest
    assert rest <= hub.sent < rest + 5_000  # and the list of the files
