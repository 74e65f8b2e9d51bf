"""The sample kit: real files, a true tree, and nothing done twice."""

from __future__ import annotations

import re
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline import samplekit
from pipeline.parquet import SCHEMA, read_uids
from pipeline.samplekit import (
    KIT_VIDEOS,
    Kit,
    KitVideo,
    SampleKitError,
    film,
    make_kit,
    true_tree,
    write_video,
)

SMALLEST = min(KIT_VIDEOS, key=lambda video: video.frames)
each_video = pytest.mark.parametrize("video", KIT_VIDEOS, ids=lambda video: video.uid)


def path_of(kit: Kit, video: KitVideo) -> Path:
    return next(path for spec, path in kit.videos if spec is video)


def small_grey_frames(path: Path) -> np.ndarray:
    """(frames, 48, 48) float32: all frames, decoded and reduced."""
    with av.open(str(path)) as container:
        return np.stack(
            [
                frame.reformat(48, 48, "gray").to_ndarray().astype(np.float32)
                for frame in container.decode(video=0)
            ]
        )


def test_the_kit_has_the_promised_variety() -> None:
    assert len({v.uid for v in KIT_VIDEOS}) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{11}", v.uid) for v in KIT_VIDEOS)
    assert sum(v.uid.startswith("-") for v in KIT_VIDEOS) == 1
    assert {v.fps for v in KIT_VIDEOS} == {24, 25, 30, Fraction(30000, 1001)}
    assert sum(not v.has_audio for v in KIT_VIDEOS) == 1
    assert sum(v.size[0] < v.size[1] for v in KIT_VIDEOS) == 1
    assert all(20 <= v.duration <= 60 for v in KIT_VIDEOS)


@each_video
def test_scenes_are_made_of_steps_and_steps_of_motions(video: KitVideo) -> None:
    assert 3 <= len(video.scenes) <= 5
    for scene in video.scenes:
        assert scene.title or 2 <= len(scene.steps) <= 3
        for step in scene.steps:
            assert 2 <= len(step.motions) <= 3
    for span in video.spans:
        assert 1 <= (span.end - span.first) / video.fps <= 4


@each_video
def test_changes_lie_on_the_grid_of_sampled_frames(video: KitVideo) -> None:
    assert video.frames % 4 == 0
    assert all(span.first % 4 == 2 for span in video.spans[1:])
    assert set(video.scene_changes) < set(video.step_changes) < set(video.motion_changes)


@each_video
def test_a_video_is_what_its_specification_says(kit: Kit, video: KitVideo) -> None:
    with av.open(str(path_of(kit, video))) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == video.size
        assert stream.average_rate == video.fps
        assert sum(1 for _ in container.decode(stream)) == video.frames
    with av.open(str(path_of(kit, video))) as container:
        assert [s.codec_context.name for s in container.streams.audio] == ["aac"] * video.has_audio
        if video.has_audio:
            sound = np.concatenate(
                [f.to_ndarray().astype(float).ravel() for f in container.decode(audio=0)]
            )
            assert np.abs(sound).max() > 0.05
            assert len(sound) / 44100 == pytest.approx(video.duration, abs=0.1)


@each_video
def test_the_picture_starts_playing_before_the_file_is_read_to_its_end(
    kit: Kit, video: KitVideo
) -> None:
    data = path_of(kit, video).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@each_video
def test_the_picture_changes_strongly_at_scene_changes_only(kit: Kit, video: KitVideo) -> None:
    frames = small_grey_frames(path_of(kit, video))
    change = np.abs(np.diff(frames, axis=0)).mean((1, 2))  # change[i]: from frame i to i + 1
    first = {span.first for span in video.spans[1:]}
    cuts = [f - 1 for f in first if video.seconds(f) in video.scene_changes]
    steps = [f - 1 for f in first if video.seconds(f) in video.step_changes]
    inside = [i for i in range(len(change)) if i + 1 not in first]
    assert change[cuts].min() > 20
    assert change[inside].max() < 5
    assert change[steps].min() > change[inside].max()


@each_video
def test_the_true_tree_is_valid_and_holds_every_true_change(kit: Kit, video: KitVideo) -> None:
    tree = kit.trees()[video.uid]
    tree.validate()
    assert tree == true_tree(video)
    assert (
        tree.duration == video.duration == pytest.approx(float(video.frames / video.fps), abs=0.01)
    )
    assert [leaf.start for leaf in tree.leaves()] == [0, *video.motion_changes]
    assert len(tree) == 2 * len(video.spans) - 1


@each_video
def test_every_node_is_described_as_in_the_real_data(video: KitVideo) -> None:
    tree = true_tree(video)
    for node in tree.segments:
        assert node.plm_action and node.plm_caption
        assert bool(node.llama3_caption) == tree.is_leaf(node)
        assert bool(node.gpt) == tree.is_refined(node)
        if not node.gpt:
            continue
        summary, action = node.gpt["summary"], node.gpt["action"]
        assert not summary["brief"].endswith(".") and summary["detailed"].endswith(".")
        if action["brief"] == "N/A":
            assert action == {"brief": "N/A", "detailed": "N/A", "actor": "N/A"}
            continue
        assert not action["brief"].endswith(".") and len(action["brief"]) <= 61
        assert not action["brief"].split()[0].endswith("ing")
        assert action["detailed"].endswith(".") and action["detailed"].count(". ") == 0


def test_title_cards_have_no_action() -> None:
    actions = {
        node.gpt["action"]["actor"]
        for video in KIT_VIDEOS
        for node in true_tree(video).segments
        if node.gpt and node.end <= video.scene_changes[0]
    }
    assert actions == {"N/A"}


def test_what_animals_do_is_not_told_of_the_person() -> None:
    actors = {
        node.gpt["action"]["actor"]
        for video in KIT_VIDEOS
        for node in true_tree(video).segments
        if node.gpt
    }
    assert "A red robin" in actors


@each_video
def test_transcripts_look_like_the_real_ones(video: KitVideo) -> None:
    transcript = (true_tree(video).metadata or {})["transcript"]
    if video.captions is None:
        assert transcript is None
        return
    times = [float(line["time"]) for line in transcript]
    assert times == sorted(times) and times[-1] < video.duration
    assert all(re.fullmatch(r"\d+\.\d{1,3}", line["time"]) for line in transcript)
    assert all(line["text"] for line in transcript)
    if video.captions == "automatic":
        assert transcript[0]["text"] == "[Music]"
        assert all("  " in line["text"] for line in transcript[1:])


def test_the_annotations_have_exactly_the_schema(kit: Kit) -> None:
    assert pq.read_schema(kit.parquet).equals(SCHEMA)
    assert read_uids(kit.parquet) == [video.uid for video in KIT_VIDEOS]


def test_the_kit_is_small(kit: Kit) -> None:
    files = [kit.parquet, *(path for _, path in kit.videos)]
    assert sum(path.stat().st_size for path in files) < 6e6


def test_a_second_run_is_fast_and_touches_nothing(kit: Kit) -> None:
    files = [kit.parquet, *(path for _, path in kit.videos)]
    before = [path.stat().st_mtime_ns for path in files]
    said: list[str] = []
    start = time.perf_counter()
    assert make_kit(kit.folder, said.append) == kit
    assert time.perf_counter() - start < 1
    assert [path.stat().st_mtime_ns for path in files] == before
    assert not said


def test_two_runs_give_the_same_bytes(kit: Kit, tmp_path: Path) -> None:
    again = tmp_path / "again.mp4"
    write_video(SMALLEST, again, samplekit._generator())
    assert again.read_bytes() == path_of(kit, SMALLEST).read_bytes()
    assert list(tmp_path.iterdir()) == [again]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    def interrupted(video: KitVideo):
        for count, frame in enumerate(frames(video)):
            if count == 50:
                raise stop
            yield frame

    frames = film.frames
    monkeypatch.setattr(film, "frames", interrupted)
    with pytest.raises(stop):
        make_kit(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_changed_generator_makes_everything_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samplekit, "KIT_VIDEOS", (SMALLEST,))
    said: list[str] = []
    make_kit(tmp_path, said.append)
    assert len(said) == 2
    monkeypatch.setattr(samplekit, "_generator", lambda: "samplekit-changed")
    made = make_kit(tmp_path, said.append)
    assert len(said) == 4
    assert b"samplekit-changed" in path_of(made, SMALLEST).read_bytes()


def test_only_what_is_missing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplekit, "KIT_VIDEOS", (SMALLEST,))
    kit = make_kit(tmp_path)
    kit.parquet.write_text("no parquet")
    video = path_of(kit, SMALLEST).stat().st_mtime_ns
    said: list[str] = []
    make_kit(tmp_path, said.append)
    assert said == ["writing the annotations"]
    assert path_of(kit, SMALLEST).stat().st_mtime_ns == video


def test_a_missing_ffmpeg_is_one_clear_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SampleKitError, match=r"ffmpeg is not installed.*apt-get install ffmpeg"):
        make_kit(tmp_path / "kit")


def test_a_failing_ffmpeg_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "ffmpeg"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'Unknown encoder libx264' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    with pytest.raises(SampleKitError, match=r"kitTea_0001\.mp4: Unknown encoder libx264"):
        make_kit(tmp_path / "kit")
