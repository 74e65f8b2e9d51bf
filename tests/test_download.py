"""Downloads of every kind of video from a web site on this machine, with yt-dlp and ffmpeg."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.download import (
    DownloadError,
    DownloadEvent,
    DownloadSettings,
    DownloadSummary,
    download_videos,
    read_id_list,
)
from pipeline.download.settings import js_runtimes
from pipeline.download.source import wants_section
from tests.clips import H264, clip, has_encoder, packets, probe, shown
from tests.site import SCRIPT, Site, environment, serve, shell

MAX_DURATION = 2.0


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serve() as site:
        yield site


@dataclass
class Run:
    """One run over all kinds of sources."""

    output: Path
    sources: Path
    summary: DownloadSummary
    events: dict[str, DownloadEvent]


# Each kind's id, the file's name, how it is encoded, and how it is made otherwise.
_KINDS = [
    ("-good__h264", "good.mp4", H264, {}),
    ("vp9_in_webm", "vp9.webm", ("-c:v", "libvpx-vp9", "-cpu-used", "8", "-c:a", "libopus"), {}),
    ("hevc_______", "hevc.mp4", ("-c:v", "libx265", "-preset", "ultrafast", "-c:a", "aac"), {}),
    ("av1________", "av1.mp4", ("-c:v", "libsvtav1", "-preset", "12", "-c:a", "aac"), {}),
    (
        *("odd_sizes__", "odd.mkv", ("-c:v", "libx264", "-pix_fmt", "yuv444p", "-c:a", "aac")),
        {"size": "161x121"},
    ),
    ("silent_____", "silent.mp4", (*H264, "-an"), {}),
    ("mute_mpeg4_", "mute.mp4", ("-c:v", "mpeg4", "-an"), {}),
    ("tall_______", "tall.mp4", H264, {"size": "120x200"}),
    ("long_______", "long.mp4", H264, {"seconds": 5}),
    ("long_encode", "long.webm", ("-c:v", "libvpx", "-c:a", "libopus"), {"seconds": 5}),
    ("b_frames___", "b.mp4", (*H264, "-preset", "medium", "-bf", "3"), {"seconds": 5}),
    ("60_frames__", "60.mp4", H264, {"seconds": 3, "fps": 60}),
    ("surround_aa", "51.mp4", (*H264, "-ac", "6"), {}),
    ("surround_ac", "51.mkv", (*H264[:-1], "ac3", "-ac", "6"), {}),
    (
        *("var_rate___", "vfr.mkv"),
        (*H264, "-vf", "select='lt(n,20)+not(mod(n,3))'", "-fps_mode", "vfr"),
        {"seconds": 4},
    ),
    ("late_begin_", "late.ts", (*H264, "-output_ts_offset", "7"), {"seconds": 4}),
]
_ENCODERS = {"hevc_______": "libx265", "av1________": "libsvtav1", "vp9_in_webm": "libvpx-vp9"}


@pytest.fixture(scope="module")
def run(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Run:
    sources = tmp_path_factory.mktemp("sources")
    output = tmp_path_factory.mktemp("out") / "videos"
    for uid, name, encoding, how in _KINDS:
        if has_encoder(_ENCODERS.get(uid, "libx264")):
            site.add(uid, clip(sources / name, *encoding, **how))
    good = site.videos["-good__h264"]
    site.add("only_sound_", clip(sources / "sound.m4a", "-vn", "-c:a", "aac"), "audio/mp4")
    site.add("html_page__", b"<html><title>Gone</title><p>no video</p></html>", "text/html")
    site.add("html_as_mp4", b"<html><title>Gone</title><p>no video</p></html>")
    site.add("empty_file_", b"")
    site.add("half_index_", good[: len(good) // 2])  # its index is at the end, so it is lost
    fast = clip(sources / "fast.mp4", *H264, "-movflags", "+faststart")
    site.add("half_frames", fast[: len(fast) // 2])
    site.add("forbidden__", good)
    site.faults["forbidden__"] += [403] * 9
    clip(
        sources / "manifest.mpd",
        *H264,
        *("-f", "dash", "-seg_duration", "1", "-adaptation_sets", "id=0,streams=v id=1,streams=a"),
    )
    site.add("dash_parts_", (sources / "manifest.mpd").read_bytes(), "application/dash+xml")
    ids = [*site.videos, "not_there__", "../../passwd", "--exec=true", "-good__h264", "too-short"]
    for part in (path for pattern in ("init-*", "chunk-*") for path in sources.glob(pattern)):
        site.add(part.name, part.read_bytes())
    events: dict[str, DownloadEvent] = {}
    settings = DownloadSettings(
        output_dir=output,
        jobs=3,
        max_height=144,
        max_duration=MAX_DURATION,
        retry_wait=0.01,
        url_template=site.url_template,
    )
    summary = download_videos(ids, settings, lambda event: events.update({event.video_uid: event}))
    return Run(output, sources, summary, events)


def test_a_file_that_fits_is_copied_and_not_encoded(run: Run) -> None:
    result, source = run.output / "-good__h264.mp4", run.sources / "good.mp4"
    assert packets(result, "v") == packets(source, "v")
    assert packets(result, "a") == packets(source, "a")


@pytest.mark.parametrize(
    ("uid", "size", "seconds", "sound"),
    [
        ("-good__h264", (160, 120), 1.6, True),
        ("vp9_in_webm", (160, 120), 1.6, True),
        ("hevc_______", (160, 120), 1.6, True),
        ("av1________", (160, 120), 1.6, True),
        ("odd_sizes__", (160, 120), 1.6, True),
        ("silent_____", (160, 120), 1.6, False),
        ("mute_mpeg4_", (160, 120), 1.6, False),
        ("tall_______", (86, 144), 1.6, True),
        ("long_______", (160, 120), MAX_DURATION, True),
        ("long_encode", (160, 120), MAX_DURATION, True),
        ("b_frames___", (160, 120), MAX_DURATION, True),
        ("60_frames__", (160, 120), MAX_DURATION, True),
        ("surround_aa", (160, 120), 1.6, True),
        ("surround_ac", (160, 120), 1.6, True),
        ("var_rate___", (160, 120), MAX_DURATION, True),
        ("late_begin_", (160, 120), MAX_DURATION, True),
        ("dash_parts_", (160, 120), 1.6, True),
    ],
)
def test_every_source_becomes_the_designed_form(
    run: Run, uid: str, size: tuple[int, int], seconds: float, sound: bool
) -> None:
    if not has_encoder(_ENCODERS.get(uid, "libx264")):
        pytest.skip(f"this machine's ffmpeg lacks {_ENCODERS[uid]}")
    assert run.events[uid].outcome == "done"
    path = run.output / f"{uid}.mp4"
    streams = probe(path)
    video = streams["video"]
    assert (video["codec_name"], video["pix_fmt"]) == ("h264", "yuv420p")
    assert (video["width"], video["height"]) == size
    fps = {"60_frames__": 60, "var_rate___": 25 / 3}.get(uid, 25)
    frame = 1 / fps
    assert float(video["start_time"]) == pytest.approx(0, abs=frame / 2)
    assert float(video["duration"]) == pytest.approx(seconds, abs=frame + 0.002)
    if uid != "var_rate___":
        assert int(video["nb_read_packets"]) == pytest.approx(seconds * fps, abs=1)
    assert len(shown(path)) == int(video["nb_read_packets"])  # every one is decoded and shown
    assert ("audio" in streams) == sound
    if sound:
        assert streams["audio"]["codec_name"] == "aac"
        assert float(streams["audio"]["duration"]) == pytest.approx(seconds, abs=frame + 0.05)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # faststart


@pytest.mark.parametrize(
    ("uid", "name"),
    [("long_______", "long.mp4"), ("60_frames__", "60.mp4"), ("var_rate___", "vfr.mkv")],
)
def test_a_long_picture_that_fits_is_cut_without_encoding(run: Run, uid: str, name: str) -> None:
    assert run.events[uid].reason == "copied"
    result, source = packets(run.output / f"{uid}.mp4", "v"), packets(run.sources / name, "v")
    assert result == source[: len(result)]
    assert shown(run.output / f"{uid}.mp4") == shown(run.sources / name)[: len(result)]


def test_b_frames_are_cut_between_two_groups_of_them(site: Site, run: Run, tmp_path: Path) -> None:
    """Wherever the cut falls, what is shown is the source's beginning, to within a frame."""
    source = run.sources / "b.mp4"
    whole = shown(source)
    copied = 0
    for frames in range(50, 58):
        output = tmp_path / str(frames)
        settings = DownloadSettings(
            output_dir=output, max_duration=frames / 25, url_template=site.url_template
        )
        events: list[DownloadEvent] = []
        download_videos(["b_frames___"], settings, events.append)
        result = shown(output / "b_frames___.mp4")
        assert abs(len(result) - frames) <= 1
        if events[0].reason == "copied":
            copied += 1
            assert result == whole[: len(result)]
    assert copied >= 4


def test_an_encoded_picture_can_be_jumped_into_every_two_seconds(
    site: Site, run: Run, tmp_path: Path
) -> None:
    settings = DownloadSettings(output_dir=tmp_path, url_template=site.url_template)
    download_videos(["long_encode"], settings)
    flags = subprocess.run(
        [
            *("ffprobe", "-v", "error", "-select_streams", "v"),
            *("-show_entries", "packet=pts_time,flags", "-of", "csv=p=0"),
            tmp_path / "long_encode.mp4",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    keys = [float(line.split(",")[0]) for line in flags if "K" in line]
    assert keys == pytest.approx([0, 2, 4], abs=0.05)


def test_sound_that_fits_is_copied_though_the_picture_is_encoded(run: Run) -> None:
    assert packets(run.output / "tall_______.mp4", "a") == packets(run.sources / "tall.mp4", "a")
    assert probe(run.output / "surround_aa.mp4")["audio"]["channels"] == 6
    assert probe(run.output / "surround_ac.mp4")["audio"]["channels"] == 2


def test_a_picture_and_its_sound_in_two_streams_are_joined_without_encoding(run: Run) -> None:
    whole = run.sources / "manifest.mpd"
    for stream in "va":
        assert packets(run.output / "dash_parts_.mp4", stream) == packets(whole, stream)


@pytest.mark.parametrize(
    ("uid", "outcome", "reason"),
    [
        ("not_there__", "gone", "404"),
        ("forbidden__", "blocked", "403"),
        ("html_page__", "failed", "Unsupported URL"),
        ("html_as_mp4", "failed", "not a whole video"),
        ("empty_file_", "failed", "data blocks"),
        ("only_sound_", "failed", "it has no picture"),
        ("half_index_", "failed", "not a whole video (Invalid data"),
        ("half_frames", "failed", "it is cut off: it has 0."),
        ("'../../passwd'", "failed", "is not a video id"),
        ("'--exec=true'", "failed", "is not a video id"),
        ("'too-short'", "failed", "is not a video id"),
    ],
)
def test_a_bad_video_is_told_with_its_reason_and_leaves_no_file(
    run: Run, uid: str, outcome: str, reason: str
) -> None:
    assert run.events[uid].outcome == outcome
    assert reason in run.events[uid].reason
    assert getattr(run.summary, outcome)[uid] == run.events[uid].reason
    assert run.events[uid].reason.count("\n") == 0
    assert not (run.output / f"{uid}.mp4").exists()


def test_nothing_but_the_videos_the_history_and_the_logs_is_left(run: Run) -> None:
    assert len(run.summary.done) == len(run.events) - 11
    assert {path.name for path in run.output.iterdir()} == {
        *(f"{uid}.mp4" for uid in run.summary.done),
        *("downloads.sqlite", "logs", ".lock"),
    }
    logs = {path.stem for path in (run.output / "logs").iterdir()}
    assert logs == {uid for uid in run.events if uid[0] != "'"}
    log = (run.output / "logs" / "half_frames.log").read_text()
    assert "[download] Destination" in log and "$ ffmpeg " in log and "failed: it is cut" in log


def test_a_second_run_fetches_nothing_that_is_there(site: Site, run: Run) -> None:
    before = site.requests.copy()
    settings = DownloadSettings(output_dir=run.output, url_template=site.url_template)
    summary = download_videos(run.summary.done, settings)
    assert summary.there == run.summary.done
    assert not summary.done and not summary.failed
    assert summary.other_form == len(run.summary.done)  # that run wanted 144 lines and 2 s
    assert site.requests == before


# -- sections ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        *((None, False), (60, False), (180, False), (181, True), (720, True)),
        *((721, False), (3600, False), (11520, False), (11521, True)),
    ],
)
def test_sections_are_for_videos_that_are_neither_short_nor_slowed(
    duration: float | None, expected: bool
) -> None:
    assert wants_section(duration, 90) is expected


@pytest.fixture(scope="module")
def long_video(site: Site, run: Run) -> Path:
    path = run.sources / "hundred.mp4"
    encoding = (*H264, "-x264-params", "nal-hrd=cbr:vbv-maxrate=2000:vbv-bufsize=2000:bitrate=2000")
    # The index comes first, as on sites that stream.
    site.add("hundred.mp4", clip(path, *encoding, "-movflags", "+faststart", seconds=100))
    site.page("a_section__", "hundred.mp4", 100)
    return path


def test_of_a_longer_video_only_the_beginning_is_fetched(
    site: Site, long_video: Path, tmp_path: Path
) -> None:
    settings = DownloadSettings(
        output_dir=tmp_path, max_duration=MAX_DURATION, url_template=site.url_template
    )
    site.sent.clear()
    summary = download_videos(["a_section__"], settings)
    assert summary.done == ["a_section__"]
    assert site.sent["hundred.mp4"] < long_video.stat().st_size / 2
    result = packets(tmp_path / "a_section__.mp4", "v")
    assert len(result) == pytest.approx(MAX_DURATION * 25, abs=1)
    assert result == packets(long_video, "v")[: len(result)]
    log = (tmp_path / "logs" / "a_section__.log").read_text()
    assert "Downloading 1 time ranges: 0.0-5.0" in log


def test_a_rate_limit_needs_the_whole_file(site: Site, long_video: Path, tmp_path: Path) -> None:
    settings = DownloadSettings(
        output_dir=tmp_path,
        max_duration=MAX_DURATION,
        rate_limit=50_000_000,
        url_template=site.url_template,
    )
    site.sent.clear()
    assert download_videos(["a_section__"], settings).done
    assert site.sent["hundred.mp4"] >= long_video.stat().st_size


def test_a_section_that_is_cut_off_is_no_video(
    site: Site, long_video: Path, tmp_path: Path
) -> None:
    """ffmpeg takes a cut connection for the end of the file; the video must not end there."""
    site.page("lying_page_", "long_______", 600)  # 5 s only
    settings = DownloadSettings(
        output_dir=tmp_path,
        max_duration=30,
        retries=1,
        retry_wait=0,
        url_template=site.url_template,
    )
    summary = download_videos(["lying_page_"], settings)
    assert summary.failed == {"lying_page_": "it is cut off: it has 5.0 s of 30.0 s"}


# -- settings and the shell command ----------------------------------------------------------------


def test_the_shell_command_works_from_any_folder(site: Site, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "a folder's name"
    (folder / "pipeline").mkdir(parents=True)  # is not taken for the repository's
    (folder / "pipeline" / "__init__.py").write_text("raise SystemExit('wrong pipeline')")
    (folder / "video_ids.txt").write_bytes(b"-good__h264\r\nnot_there__\r\n\r\n")
    result = shell(folder, "--json", URL_TEMPLATE=site.url_template, MAX_DURATION="1.5", JOBS=2)
    assert result.returncode == 1
    assert (folder / "videos" / "-good__h264.mp4").is_file()
    summary = json.loads(result.stdout)
    assert summary["done"] == ["-good__h264"]
    assert "404" in summary["gone"]["not_there__"]
    assert "-good__h264: done, copied" in result.stderr
    assert "[2/2] " in result.stderr
    assert "\r" not in result.stderr  # a log gets lines, not a bar
    assert "1 of the listed videos in videos (1 new), 1 gone, 0 blocked, 0 fail" in result.stderr
    assert "  1 x gone: " in result.stderr
    again = shell(folder, URL_TEMPLATE=site.url_template)
    assert again.returncode == 0  # what is gone is skipped
    assert "1 that earlier runs found gone or gave up were skipped" in again.stderr
    assert "1 on disk were made with another MAX_HEIGHT or MAX_DURATION" in again.stderr
    status = shell(folder, "--status")
    assert status.returncode == 0
    assert status.stdout.startswith("not_there__\tgone\t1\t")
    assert "1 videos in videos; 1 gone, 0 blocked, 0 failed" in status.stderr
    rows = json.loads(shell(folder, "--status", "--json").stdout)
    assert (rows["on_disk"], rows["missing"][0]["outcome"]) == (1, "gone")


def test_help_names_every_variable(tmp_path: Path) -> None:
    result = shell(tmp_path, "--help")
    assert result.returncode == 0
    for name in (
        *("JOBS", "MAX_VIDEOS", "MAX_HEIGHT", "MAX_DURATION", "COOKIES", "COOKIES_FROM"),
        *("VIDEO_IDS", "OUTPUT_DIR", "URL_TEMPLATE", "RETRIES", "RETRY_FAILED", "RATE_LIMIT"),
        *("PROXY", "JS_RUNTIME"),
    ):
        assert f"  {name} " in result.stdout


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"JOBS": "abc"}, "JOBS is 'abc'; it must be a whole number"),
        ({"JOBS": "0"}, "JOBS is 0; it must be 1 or more"),
        ({"MAX_VIDEOS": "-3"}, "MAX_VIDEOS is -3"),
        ({"MAX_HEIGHT": "48.5"}, "MAX_HEIGHT is '48.5'; it must be a whole number"),
        ({"MAX_DURATION": "-1"}, "MAX_DURATION is -1; it must be above 0 s"),
        ({"MAX_DURATION": "nan"}, "MAX_DURATION is nan"),
        ({"RETRIES": "-1"}, "RETRIES is -1; it must be 0 or more"),
        ({"RETRY_WAIT": "inf"}, "RETRY_WAIT is inf; it must be 0 s or more"),
        ({"RETRY_FAILED": "maybe"}, "RETRY_FAILED is 'maybe'; it must be 1 or 0"),
        ({"RATE_LIMIT": "fast"}, "RATE_LIMIT is 'fast'; it must be a number of bytes"),
        ({"RATE_LIMIT": "5"}, "RATE_LIMIT is 5; it must be 1024 or more"),
        ({"PROXY": "me:secret@host"}, "PROXY is not a proxy's address; it must look like"),
        ({"PROXY": "http://me:secret@host:port"}, "PROXY is not a proxy's address"),
        ({"JS_RUNTIME": "basic"}, "JS_RUNTIME is 'basic'; it must be one of deno, node"),
        ({"JS_RUNTIME": "node:/no/node"}, "JS_RUNTIME is 'node:/no/node', but there is no such"),
        ({"URL_TEMPLATE": "file:///{id}"}, "URL_TEMPLATE is 'file:///{id}'"),
        ({"URL_TEMPLATE": "http://host/watch"}, "URL_TEMPLATE is"),
        ({"VIDEO_IDS": "nowhere.txt"}, "cannot read the id list nowhere.txt"),
        ({"VIDEO_IDS": "empty.txt"}, "the id list empty.txt is empty"),
        ({"COOKIES": "nowhere.txt"}, "cannot read COOKIES file nowhere.txt"),
        ({"COOKIES": "cookies.txt"}, "line 2 of COOKIES file cookies.txt is not in Netscape"),
        ({"COOKIES_FROM": "lynx"}, "COOKIES_FROM is 'lynx'; the browser must be one of"),
        ({"OUTPUT_DIR": "ids.txt"}, "cannot write to the output folder"),
        ({"OUTPUT_DIR": "broken"}, "broken/downloads.sqlite (file is not a database); delete it"),
        ({"PATH": "without ffmpeg"}, "install it with: sudo apt-get install ffmpeg"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_status_2(
    tmp_path: Path, variables: dict[str, str], message: str
) -> None:
    (tmp_path / "ids.txt").write_text("-good__h264\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "cookies.txt").write_text("# Netscape HTTP Cookie File\nsid=secret-value\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "downloads.sqlite").write_text("no database" * 200)
    if "PATH" in variables:  # bash and dirname themselves are found, ffmpeg is not
        (tmp_path / "bin").mkdir()
        for program in ("bash", "dirname", "env"):
            (tmp_path / "bin" / program).symlink_to(str(shutil.which(program)))
        variables = {"PATH": str(tmp_path / "bin")}
    result = subprocess.run(
        [SCRIPT],
        cwd=tmp_path,
        env=environment(
            **{"VIDEO_IDS": "ids.txt", "URL_TEMPLATE": "http://127.0.0.1/{id}", **variables}
        ),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert message in result.stderr
    assert "secret" not in result.stderr


def test_a_named_javascript_runtime_is_found() -> None:
    if shutil.which("node") is None:
        pytest.skip("there is no node on this machine")
    found = {"node": {"path": shutil.which("node")}}
    assert js_runtimes("node") == found
    assert js_runtimes(f"node:{shutil.which('node')}") == found
    with pytest.raises(DownloadError, match="JS_RUNTIME=bun:PATH"):
        js_runtimes("bun:/nowhere/bun")


def test_an_id_list_is_read_without_empty_lines_and_repetitions(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("b\n\n a \r\nb\n")
    assert read_id_list(tmp_path / "ids.txt") == ["b", "a"]
