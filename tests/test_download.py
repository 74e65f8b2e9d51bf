"""The downloader against a web server on this machine, with the real yt-dlp and ffmpeg."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.download import (
    DownloadError,
    DownloadSettings,
    DownloadSummary,
    download_videos,
    read_id_list,
)

SCRIPT = Path(__file__).parent.parent / "download_scripts" / "download_videos.sh"
MAX_DURATION = 2.0
FRAME = 1 / 25


@dataclass
class Site:
    """What the server has under ``/watch/<id>`` and how often it was asked for it."""

    url_template: str = ""
    videos: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    cut_connection: set[str] = field(default_factory=set)
    stall: set[str] = field(default_factory=set)
    requests: Counter[str] = field(default_factory=Counter)
    cookies: list[str] = field(default_factory=list)
    stalled: dict[str, threading.Event] = field(
        default_factory=lambda: defaultdict(threading.Event)
    )

    def add(self, uid: str, content: bytes, content_type: str = "video/mp4") -> str:
        self.videos[uid], self.types[uid] = content, content_type
        return uid


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            uid = self.path.removeprefix("/watch/")
            site.requests[uid] += 1
            site.cookies.append(self.headers.get("Cookie", ""))
            content = site.videos.get(uid)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", site.types[uid])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            half = len(content) // 2
            try:
                self.wfile.write(content[:half])
                if uid in site.cut_connection:
                    return
                if uid in site.stall:
                    self.wfile.flush()
                    site.stalled[uid].set()
                    time.sleep(30)
                self.wfile.write(content[half:])
            except OSError:  # the client went away
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url_template = f"http://127.0.0.1:{server.server_port}/watch/{{id}}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield site
    server.shutdown()
    server.server_close()


def ffmpeg(*arguments: object) -> bytes:
    return subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)],
        check=True,
        capture_output=True,
    ).stdout


def clip(path: Path, *encoding: object, size: str = "160x120", seconds: float = 1.6) -> bytes:
    """A test picture with a tone, encoded as told; "-an" makes it silent."""
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration={seconds}"),
        *("-f", "lavfi", "-i", f"sine=frequency=330:duration={seconds}"),
        *encoding,
        path,
    )
    return path.read_bytes()


H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac")


def probe(path: Path) -> dict[str, dict]:
    """The file's streams by kind, with the number of packets."""
    output = subprocess.run(
        ["ffprobe", "-v", "error", "-count_packets", "-show_streams", "-of", "json", path],
        check=True,
        capture_output=True,
    ).stdout
    streams = json.loads(output)["streams"]
    assert len({s["codec_type"] for s in streams}) == len(streams)
    return {s["codec_type"]: s for s in streams}


def packets(path: Path, stream: str) -> bytes:
    """A hash over one stream's packets, without decoding them."""
    return ffmpeg("-i", path, "-map", f"0:{stream}", "-c", "copy", "-f", "md5", "pipe:")


def is_faststart(path: Path) -> bool:
    content = path.read_bytes()
    return content.index(b"moov") < content.index(b"mdat")


@dataclass
class Run:
    """One run over all kinds of sources."""

    output: Path
    sources: Path
    summary: DownloadSummary
    outcomes: dict[str, str]


@pytest.fixture(scope="module")
def run(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Run:
    sources = tmp_path_factory.mktemp("sources")
    output = tmp_path_factory.mktemp("out") / "videos"
    good = clip(sources / "good.mp4", *H264)
    site.add("-good__h264", good)
    vp9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus")
    site.add("vp9_in_webm", clip(sources / "vp9.webm", *vp9), "video/webm")
    odd = ("-c:v", "libx264", "-pix_fmt", "yuv444p", "-c:a", "aac")
    site.add("odd_sizes__", clip(sources / "odd.mkv", *odd, size="161x121"), "video/x-matroska")
    site.add("silent_____", clip(sources / "silent.mp4", *H264, "-an"))
    site.add("mute_mpeg4_", clip(sources / "mute.mp4", "-c:v", "mpeg4", "-an"))
    site.add("tall_______", clip(sources / "tall.mp4", *H264, size="120x200"))
    site.add("long_______", clip(sources / "long.mp4", *H264, seconds=5))
    site.add("only_sound_", clip(sources / "sound.m4a", "-vn", "-c:a", "aac"), "audio/mp4")
    site.add("html_page__", b"<html><title>Gone</title><p>no video</p></html>", "text/html")
    site.add("html_as_mp4", b"<html><title>Gone</title><p>no video</p></html>")
    site.add("empty_file_", b"")
    site.add("half_index_", good[: len(good) // 2])  # its index is at the end, so it is lost
    fast = clip(sources / "fast.mp4", *H264, "-movflags", "+faststart")
    site.add("half_frames", fast[: len(fast) // 2])
    site.add("conn_is_cut", good)
    site.cut_connection.add("conn_is_cut")
    clip(
        sources / "manifest.mpd",
        *H264,
        *("-f", "dash", "-seg_duration", "1", "-adaptation_sets", "id=0,streams=v id=1,streams=a"),
    )
    for part in (path for pattern in ("init-*", "chunk-*") for path in sources.glob(pattern)):
        site.add(part.name, part.read_bytes())
    site.add("dash_parts_", (sources / "manifest.mpd").read_bytes(), "application/dash+xml")
    outcomes: dict[str, str] = {}
    settings = DownloadSettings(
        output_dir=output,
        jobs=3,
        max_height=144,
        max_duration=MAX_DURATION,
        url_template=site.url_template,
    )
    ids = [uid for uid in site.videos if not uid.endswith(".m4s")]
    ids += ["not_there__", "../../passwd", "--exec=true", "-good__h264", "too-short"]
    summary = download_videos(
        ids, settings, lambda event: outcomes.update({event.video_uid: event.outcome})
    )
    return Run(output, sources, summary, outcomes)


def test_a_file_that_fits_is_copied_and_not_encoded(run: Run) -> None:
    result, source = run.output / "-good__h264.mp4", run.sources / "good.mp4"
    assert packets(result, "v") == packets(source, "v")
    assert packets(result, "a") == packets(source, "a")
    assert is_faststart(result)


@pytest.mark.parametrize(
    ("uid", "size", "seconds", "sound"),
    [
        ("-good__h264", (160, 120), 1.6, True),
        ("vp9_in_webm", (160, 120), 1.6, True),
        ("odd_sizes__", (160, 120), 1.6, True),
        ("silent_____", (160, 120), 1.6, False),
        ("mute_mpeg4_", (160, 120), 1.6, False),
        ("tall_______", (86, 144), 1.6, True),
        ("long_______", (160, 120), MAX_DURATION, True),
        ("dash_parts_", (160, 120), 1.6, True),
    ],
)
def test_every_source_becomes_the_designed_form(
    run: Run, uid: str, size: tuple[int, int], seconds: float, sound: bool
) -> None:
    assert run.outcomes[uid] == "done"
    streams = probe(run.output / f"{uid}.mp4")
    video = streams["video"]
    assert (video["codec_name"], video["pix_fmt"]) == ("h264", "yuv420p")
    assert (video["width"], video["height"]) == size
    assert float(video["duration"]) == pytest.approx(seconds, abs=FRAME)
    assert int(video["nb_read_packets"]) == pytest.approx(seconds * 25, abs=1)
    assert ("audio" in streams) == sound
    if sound:
        assert streams["audio"]["codec_name"] == "aac"
        assert float(streams["audio"]["duration"]) == pytest.approx(seconds, abs=2 * FRAME)
    assert is_faststart(run.output / f"{uid}.mp4")


def test_sound_that_fits_is_copied_though_the_picture_is_encoded(run: Run) -> None:
    assert packets(run.output / "tall_______.mp4", "a") == packets(run.sources / "tall.mp4", "a")


def test_a_picture_and_its_sound_in_two_streams_are_joined_without_encoding(run: Run) -> None:
    whole = run.sources / "manifest.mpd"
    for stream in "va":
        assert packets(run.output / "dash_parts_.mp4", stream) == packets(whole, stream)


@pytest.mark.parametrize(
    ("uid", "reason"),
    [
        ("not_there__", "404"),
        ("html_page__", "Unsupported URL"),
        ("html_as_mp4", "not a whole video"),
        ("empty_file_", ""),
        ("only_sound_", "it has no picture"),
        ("half_index_", "not a whole video (Invalid data"),
        ("half_frames", "it is cut off: it has 0."),
        ("conn_is_cut", ""),
        ("'../../passwd'", "is not a video id"),
        ("'--exec=true'", "is not a video id"),
        ("'too-short'", "is not a video id"),
    ],
)
def test_a_bad_video_fails_with_its_reason_and_leaves_no_file(
    run: Run, uid: str, reason: str
) -> None:
    assert reason in run.summary.failed[uid]
    assert run.summary.failed[uid].count("\n") == 0
    assert f"{uid}\t{run.summary.failed[uid]}\n" in (run.output / "failures.txt").read_text()
    assert not (run.output / f"{uid}.mp4").exists()


def test_nothing_but_the_videos_and_the_reasons_is_left(run: Run) -> None:
    assert len(run.summary.done) == 8
    names = {path.name for path in run.output.iterdir()} - {".lock"}
    assert names == {f"{uid}.mp4" for uid in run.summary.done} | {"failures.txt"}


def test_a_second_run_fetches_nothing_that_is_there(site: Site, run: Run) -> None:
    before = site.requests.copy()
    settings = DownloadSettings(output_dir=run.output, url_template=site.url_template)
    summary = download_videos(run.summary.done, settings)
    assert summary.there == run.summary.done
    assert not summary.done and not summary.failed
    assert site.requests == before


def test_max_videos_counts_what_is_on_disk_so_that_runs_make_progress(
    site: Site, run: Run, tmp_path: Path
) -> None:
    ids = [site.add(f"progress__{i}", site.videos["silent_____"]) for i in range(6)]
    ids.insert(1, "not_there__")

    def fetch(limit: int) -> DownloadSummary:
        return download_videos(
            ids,
            DownloadSettings(
                output_dir=tmp_path, jobs=4, max_videos=limit, url_template=site.url_template
            ),
        )

    first = fetch(3)
    assert len(list(tmp_path.glob("*.mp4"))) == 3  # neither fewer for the failure nor more
    assert list(first.failed) == ["not_there__"]
    assert first.not_tried == 3
    second = fetch(5)
    assert (len(second.there), len(second.done)) == (3, 2)
    assert len(fetch(5).done) == 0
    assert len(list(tmp_path.glob("*.mp4"))) == 5


def test_two_runs_cannot_work_in_one_folder(site: Site, tmp_path: Path) -> None:
    uid = site.add("stall_lock_", site.videos.get("silent_____", b"x" * 5000))
    site.stall.add(uid)
    settings = DownloadSettings(output_dir=tmp_path, url_template=site.url_template)
    stop = threading.Event()
    other = threading.Thread(target=download_videos, args=([uid], settings, None, stop))
    other.start()
    assert site.stalled[uid].wait(10)
    with pytest.raises(DownloadError, match="another run is downloading into"):
        download_videos([uid], settings)
    stop.set()
    other.join(10)
    assert not other.is_alive()


# -- the shell command ---------------------------------------------------------------------------


def shell(folder: Path, *arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


def environment(**variables: object) -> dict[str, str]:
    return {**os.environ, **{name: str(value) for name, value in variables.items()}}


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
    assert "404" in summary["failed"]["not_there__"]
    assert "-good__h264: done, video encoded" in result.stderr
    assert "\r" not in result.stderr  # a log gets lines, not a bar
    assert "1 of the listed videos in videos (1 new), 1 failed" in result.stderr
    (folder / "video_ids.txt").write_text("-good__h264\n")
    again = shell(folder, URL_TEMPLATE=site.url_template)
    assert again.returncode == 0
    assert not (folder / "videos" / "failures.txt").exists()


def test_help_names_every_variable(tmp_path: Path) -> None:
    result = shell(tmp_path, "--help")
    assert result.returncode == 0
    for name in (
        *("JOBS", "MAX_VIDEOS", "MAX_HEIGHT", "MAX_DURATION", "COOKIES", "COOKIES_FROM"),
        *("VIDEO_IDS", "OUTPUT_DIR", "URL_TEMPLATE"),
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
        ({"URL_TEMPLATE": "file:///{id}"}, "URL_TEMPLATE is 'file:///{id}'"),
        ({"URL_TEMPLATE": "http://host/watch"}, "URL_TEMPLATE is"),
        ({"VIDEO_IDS": "nowhere.txt"}, "cannot read the id list nowhere.txt"),
        ({"VIDEO_IDS": "empty.txt"}, "the id list empty.txt is empty"),
        ({"COOKIES": "nowhere.txt"}, "cannot read COOKIES file nowhere.txt"),
        ({"COOKIES": "cookies.txt"}, "line 2 of COOKIES file cookies.txt is not in Netscape"),
        ({"COOKIES_FROM": "lynx"}, "COOKIES_FROM is 'lynx'; the browser must be one of"),
        ({"OUTPUT_DIR": "ids.txt"}, "cannot write to the output folder"),
        ({"PATH": "without ffmpeg"}, "install it with: sudo apt-get install ffmpeg"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_status_2(
    tmp_path: Path, variables: dict[str, str], message: str
) -> None:
    (tmp_path / "ids.txt").write_text("-good__h264\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "cookies.txt").write_text("# Netscape HTTP Cookie File\nsid=secret-value\n")
    command = [SCRIPT]
    if "PATH" in variables:  # bash and dirname themselves are found, ffmpeg is not
        (tmp_path / "bin").mkdir()
        for program in ("bash", "dirname", "env"):
            (tmp_path / "bin" / program).symlink_to(
                next(p for f in ("/usr/bin", "/bin") if (p := Path(f, program)).exists())
            )
        variables = {"PATH": str(tmp_path / "bin")}
    result = subprocess.run(
        command,
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


def test_cookies_reach_the_site_but_neither_the_log_nor_the_file(
    site: Site, run: Run, tmp_path: Path
) -> None:
    text = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsid\tsecret-value\n"
    (tmp_path / "cookies.txt").write_text(text)
    (tmp_path / "video_ids.txt").write_text("silent_____\nhtml_page__\n")
    site.cookies.clear()
    result = shell(tmp_path, COOKIES="cookies.txt", URL_TEMPLATE=site.url_template)
    assert (tmp_path / "videos" / "silent_____.mp4").exists()
    assert set(site.cookies) == {"sid=secret-value"}
    assert "secret" not in result.stdout + result.stderr
    assert (tmp_path / "cookies.txt").read_text() == text


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_stopped_run_leaves_no_broken_file_and_the_next_one_goes_on(
    site: Site, run: Run, tmp_path: Path, number: int, status: int
) -> None:
    uid = site.add(f"stalls_{number:04}", site.videos["silent_____"])
    site.stall.add(uid)
    (tmp_path / "video_ids.txt").write_text(f"silent_____\n{uid}\n")
    variables = environment(URL_TEMPLATE=site.url_template, JOBS=1)
    with subprocess.Popen([SCRIPT], cwd=tmp_path, env=variables, stderr=subprocess.PIPE) as process:
        assert site.stalled[uid].wait(20)
        began = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=10)
        assert time.monotonic() - began < 5
    assert process.returncode == status
    output = tmp_path / "videos"
    assert [path.name for path in output.glob("*.mp4")] == ["silent_____.mp4"]
    if number != signal.SIGKILL:
        assert not (output / ".partial").exists()
    site.stall.discard(uid)
    result = shell(tmp_path, URL_TEMPLATE=site.url_template)
    assert result.returncode == 0
    assert {path.name for path in output.iterdir()} == {
        *("silent_____.mp4", f"{uid}.mp4", ".lock"),
    }


def test_stopping_ends_ffmpeg_too(site: Site, run: Run, tmp_path: Path) -> None:
    """A long encode is going on when the run is stopped."""
    uid = site.add(
        "slow_encode",
        clip(run.sources / "slow.mkv", "-c:v", "mpeg4", "-an", size="640x480", seconds=60),
    )
    settings = DownloadSettings(output_dir=tmp_path, url_template=site.url_template)
    stop = threading.Event()

    def stop_when_it_encodes() -> None:
        while not (tmp_path / ".partial" / uid / "finished.mp4").exists():
            time.sleep(0.01)
        stop.set()

    threading.Thread(target=stop_when_it_encodes, daemon=True).start()
    began = time.monotonic()
    summary = download_videos([uid], settings, stop=stop)
    assert summary.stopped and not summary.failed
    assert summary.not_tried == 1
    assert time.monotonic() - began < 5
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


def test_an_id_list_is_read_without_empty_lines_and_repetitions(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("b\n\n a \r\nb\n")
    assert read_id_list(tmp_path / "ids.txt") == ["b", "a"]
