"""Many videos: resuming, what a change redoes, bad videos, lost workers, the files of a run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from pipeline import child, presets, runner
from pipeline.parquet import read_metadata, read_models, read_trees, read_uids
from pipeline.store import RunStore, StoreError

PRESET = presets.load("embedded")


@pytest.fixture(scope="module")
def videos(kit):
    metadata = read_metadata(kit.parquet, [spec.uid for spec, _ in kit.videos])
    return [runner.Video(spec.uid, path, metadata[spec.uid]) for spec, path in kit.videos]


@pytest.fixture
def run(kit_run, tmp_path) -> RunStore:
    """A finished run that a test may change."""
    shutil.copytree(kit_run, tmp_path / "run")
    return RunStore(tmp_path / "run")


def _times(folder: Path) -> dict[str, int]:
    """The modification time of each result by its stage and video."""
    return {
        f"{path.parent.name}/{path.name.split('-')[0]}": path.stat().st_mtime_ns
        for path in folder.glob("*/*-*.*")
    }


def _changed(before: dict[str, int], folder: Path) -> set[str]:
    after = _times(folder)
    return {key.split("/")[1] for key in after if after[key] != before.get(key)}


def test_a_run_leaves_each_videos_results_and_one_parquet_file(videos, kit_run):
    for video in videos:
        names = sorted(path.name.split("-")[0] for path in (kit_run / video.uid).iterdir())
        assert names == ["annotations", "captions", "embeddings", "merges", "tree", "video"]
    (part,) = kit_run.glob("part-*.parquet")
    assert read_uids(part) == [video.uid for video in videos]
    assert read_models(part)["embed"] == "measured descriptors (no model)"
    for tree, video in zip(read_trees(part), videos, strict=True):
        tree.validate()
        assert tree.metadata == video.metadata
    summary = json.loads((kit_run / "summary.json").read_text())
    assert summary["done"] == [video.uid for video in videos]
    assert set(summary["seconds"]) == set(presets.STAGES)


def test_running_again_does_nothing(videos, run):
    before = _times(run.folder)
    summary = runner.annotate(videos, PRESET, run)
    assert summary.reused == summary.done == [video.uid for video in videos]
    assert not _changed(before, run.folder)


@pytest.mark.parametrize(
    ("old", "new", "redone"),
    [
        ("sentences: 4", "sentences: 2", {"annotations"}),
        ("frames: 32", "frames: 8", {"captions", "annotations"}),
        ("min_duration: 0.5", "min_duration: 1.0", {"tree", "captions", "annotations"}),
    ],
)
def test_a_changed_setting_redoes_just_what_depends_on_it(videos, run, tmp_path, old, new, redone):
    path = tmp_path / "mine.yaml"
    path.write_text((presets.FOLDER / "embedded.yaml").read_text().replace(old, new))
    before = _times(run.folder)
    runner.annotate(videos, presets.load(path), run)
    assert _changed(before, run.folder) == redone


def test_a_changed_video_is_done_again_and_a_moved_one_is_not(videos, run, kit, tmp_path):
    moved = runner.Video(videos[0].uid, tmp_path / "moved.mp4", videos[0].metadata)
    shutil.copyfile(videos[0].path, moved.path)
    before = _times(run.folder)
    assert runner.annotate([moved], PRESET, run).reused == [moved.uid]
    shutil.copyfile(videos[1].path, moved.path)
    assert runner.annotate([moved], PRESET, run).reused == []
    assert _changed(before, run.folder) == {
        "video",
        "embeddings",
        "merges",
        "tree",
        "captions",
        "annotations",
    }


def test_a_result_that_was_cut_off_in_the_middle_of_a_line_is_completed(videos, run, kit_run):
    for stage in ("captions", "annotations"):
        (path,) = (run.folder / videos[0].uid).glob(f"{stage}-*.jsonl")
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    kept = path.read_bytes().rpartition(b"\n")[0]
    summary = runner.annotate(videos, PRESET, run)
    assert videos[0].uid not in summary.reused
    assert path.read_bytes().startswith(kept)
    assert _rows(run.folder) == _rows(kit_run)


def _rows(folder: Path) -> list:
    rows = pq.read_table(sorted(folder.glob("part-*.parquet"))).to_pylist()
    return sorted(rows, key=lambda row: row["video_uid"])


def test_stages_run_one_by_one_give_the_same_as_all_at_once(videos, kit_run, tmp_path):
    store = RunStore(tmp_path / "run")
    for stage in presets.STAGES:
        summary = runner.annotate(videos[:1], PRESET, store, [stage])
        assert not summary.failed
        assert summary.stages == (stage,)
    assert _rows(store.folder) == [r for r in _rows(kit_run) if r["video_uid"] == videos[0].uid]


def test_a_stage_without_its_input_says_which_to_run(videos, tmp_path):
    summary = runner.annotate(videos[:1], PRESET, RunStore(tmp_path / "run"), ["caption"])
    assert "run the stages embed, segment too" in summary.failed[videos[0].uid]["reason"]
    assert summary.parts == []


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_videos_are_reported_and_the_others_done(videos, tmp_path, workers):
    half = tmp_path / "half.mp4"
    half.write_bytes(videos[0].path.read_bytes()[: videos[0].path.stat().st_size // 2])
    mixed = [runner.Video("half", half), runner.Video("gone", tmp_path / "gone.mp4"), *videos[:2]]
    summary = runner.annotate(mixed, PRESET, RunStore(tmp_path / "run"), workers=workers)
    assert sorted(summary.done) == sorted(video.uid for video in videos[:2])
    assert {uid: failure["stage"] for uid, failure in summary.failed.items()} == {
        "half": "embed",
        "gone": "embed",
    }
    assert str(half) in summary.failed["half"]["reason"]
    assert not (tmp_path / "run" / "errors.log").exists()  # neither is a defect of ours


def test_later_videos_of_a_run_join_the_earlier_ones(videos, run, kit_run, tmp_path):
    other = runner.Video("other", videos[0].path)
    summary = runner.annotate([other, videos[2]], PRESET, run)
    assert len(summary.parts) == 2
    uids = [uid for part in summary.parts for uid in read_uids(part)]
    assert uids == [*(video.uid for video in videos), "other"]
    assert [r for r in _rows(run.folder) if r["video_uid"] != "other"] == _rows(kit_run)


def test_progress_counts_every_video_of_every_stage(videos, run):
    seen = []
    runner.annotate(videos, PRESET, run, on_progress=seen.append)
    assert [(p.stage, p.done, p.total) for p in seen] == [
        (stage, i + 1, len(videos)) for stage in presets.STAGES for i in range(len(videos))
    ]
    assert all(p.remaining == 0 for p in seen if p.done == p.total)


@pytest.mark.parametrize("value", ["0.001", "soon", "[1]"])
def test_a_setting_that_cannot_be_is_an_error_before_any_work_starts(videos, tmp_path, value):
    path = tmp_path / "mine.yaml"
    text = (presets.FOLDER / "embedded.yaml").read_text()
    path.write_text(text.replace("min_duration: 0.5", f"min_duration: {value}"))
    store = RunStore(tmp_path / "run")
    with pytest.raises(presets.PresetError, match="min_duration"):
        runner.annotate(videos, presets.load(path), store)
    assert list(store.folder.iterdir()) == []


def test_two_processes_cannot_work_on_one_run(videos, run):
    with run.lock(), pytest.raises(StoreError, match="another process"):
        runner.annotate(videos, PRESET, RunStore(run.folder))


# -- killed runs -------------------------------------------------------------------------------


def _start(kit, folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline", "annotate", str(kit.folder / "videos")]
    command += ["--metadata", str(kit.parquet), "--preset", "embedded", "--out", str(folder)]
    root = Path(__file__).parent.parent
    return subprocess.Popen(
        [*command, "--workers", "2", "--progress", "json", *options],
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and what they start inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def _wait_for(process: subprocess.Popen[str], stage: str, done: int) -> None:
    for line in process.stderr:
        progress = json.loads(line)
        if (progress["stage"], progress["done"]) == (stage, done):
            return
    pytest.fail(f"the run ended before {done} videos of stage {stage} were done")


def _gone(pids: list[int], within: float) -> bool:
    deadline = time.monotonic() + within
    while any(psutil.pid_exists(pid) and _alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(("stage", "done"), [("embed", 1), ("segment", 2), ("caption", 1)])
def test_a_killed_run_goes_on_where_it_was(kit, kit_run, tmp_path, stage, done):
    folder = tmp_path / "run"
    process = _start(kit, folder)
    _wait_for(process, stage, done)
    children = [worker.pid for worker in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert _gone(children, within=10), "workers outlive a killed run"
    finished = {key: t for key, t in _times(folder).items() if "captions" not in key}
    assert finished

    again = _start(kit, folder)
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    after = _times(folder)
    assert {key: after[key] for key in finished} == finished  # nothing that was finished is redone
    assert _rows(folder) == _rows(kit_run)
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_a_run_takes_seconds_and_leaves_no_process(kit, tmp_path, number):
    process = _start(kit, tmp_path / "run")
    _wait_for(process, "embed", 1)
    children = [worker.pid for worker in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "goes on where this one was" in errors
    assert "Traceback" not in errors
    assert _gone(children, within=5)


def test_a_worker_that_is_killed_costs_no_video(kit, kit_run, tmp_path):
    process = _start(kit, tmp_path / "run")
    deadline = time.monotonic() + 30
    workers: list[psutil.Process] = []
    while not workers and time.monotonic() < deadline:
        time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [c for c in children if "spawn_main" in " ".join(c.cmdline())]
    os.kill(workers[0].pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert _rows(tmp_path / "run") == _rows(kit_run)


def test_a_run_in_a_child_ends_with_the_one_who_asked(kit, videos, tmp_path):
    steps = child.annotate_in_child(videos, "embedded", tmp_path / "run")
    next(steps)
    (process,) = [c for c in psutil.Process().children() if "annotate" in c.cmdline()]
    workers = [worker.pid for worker in process.children(recursive=True)]
    assert workers
    steps.close()
    assert _gone([process.pid, *workers], within=10)


def test_a_run_in_a_child_gives_the_same_and_its_summary(videos, run):
    seen = []

    def collect():
        seen.append((yield from child.annotate_in_child(videos, "embedded", run.folder)))

    progress = list(collect())
    assert progress[-1].stage == "refine"
    assert seen[0]["reused"] == [video.uid for video in videos]


def test_a_run_in_a_child_that_cannot_start_says_why(videos, run):
    with pytest.raises(child.RunFailed, match="unknown preset 'nope'"):
        list(child.annotate_in_child(videos, "nope", run.folder))
