"""Fetches videos with yt-dlp and brings them to one form with ffmpeg; ``download_videos.sh``.

A video becomes ``<output_dir>/<id>.mp4``: the first ``max_duration`` seconds, H.264 (yuv420p, even
sizes, at most ``max_height`` high) and AAC, or no audio if there is none. A stream that already is
like that is copied; any other is encoded once. Work happens in ``<output_dir>/.partial``; a file
gets its name only after its first and last second were decoded, so what has the name is finished.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from .store import temporary_sibling

VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")
YOUTUBE = "https://www.youtube.com/watch?v={id}"
PARTIAL_FOLDER = ".partial"
FAILURES_FILE = "failures.txt"

# What a downloaded file may be. Playlists are left out, because ffmpeg would open what they name.
_CONTAINERS = "mov,matroska,mpegts,mpeg,avi,flv,ogg,asf,aac,mp3"
# A stream that ends this much (seconds) before the length that its file claims was cut off.
_MISSING_END = 0.5
# How long (seconds) a stopped run waits for downloads that hang in the network.
_GRACE = 3.0

_VARIABLES = (
    ("VIDEO_IDS", "video_ids.txt", "file with one video id a line"),
    ("OUTPUT_DIR", "videos", "folder of the finished <id>.mp4"),
    ("JOBS", "4", "videos fetched at the same time"),
    ("MAX_VIDEOS", "all", "stop when this many of the listed videos are on disk"),
    ("MAX_HEIGHT", "480", "height in pixels; taller videos are scaled down"),
    ("MAX_DURATION", "90", "seconds kept, from the start of the video"),
    ("COOKIES", "none", "cookies file in Netscape format; never changed, never printed"),
    ("COOKIES_FROM", "none", "browser to take cookies from: NAME or NAME:PROFILE"),
    ("URL_TEMPLATE", YOUTUBE, "where a video is; {id} becomes its id"),
)


class DownloadError(ValueError):
    """A download that cannot start; the message says what to change."""


class _VideoError(Exception):
    """One video that cannot be had; the message is the reason."""


class _Stopped(Exception):
    """The run was stopped while this video was worked on."""


@dataclass(frozen=True)
class DownloadSettings:
    """What :func:`download_videos` makes and where from.

    Attributes:
        output_dir: folder of the finished files; made if missing
        jobs: videos worked on at the same time
        max_videos: stop when this many of the listed videos are on disk; None = all
        max_height: pixels
        max_duration: seconds
        cookies: a cookies file in Netscape format
        cookies_from: a browser's name, or ``name:profile``
        url_template: http or https, with ``{id}`` where the video's id goes

    Raises:
        DownloadError: for a value that makes no sense, named as its environment variable
    """

    output_dir: Path = Path("videos")
    jobs: int = 4
    max_videos: int | None = None
    max_height: int = 480
    max_duration: float = 90.0
    cookies: Path | None = None
    cookies_from: str | None = None
    url_template: str = YOUTUBE

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise DownloadError(f"JOBS is {self.jobs}; it must be 1 or more")
        if self.max_videos is not None and self.max_videos < 1:
            raise DownloadError(f"MAX_VIDEOS is {self.max_videos}; it must be 1 or more, or unset")
        if self.max_height < 16:
            raise DownloadError(f"MAX_HEIGHT is {self.max_height}; it must be 16 pixels or more")
        if not 0 < self.max_duration < float("inf"):
            raise DownloadError(f"MAX_DURATION is {self.max_duration:g}; it must be above 0 s")
        url = urlsplit(self.url_template)
        if url.scheme not in ("http", "https") or not url.netloc or "{id}" not in url.geturl():
            raise DownloadError(
                f"URL_TEMPLATE is {self.url_template!r}; it must begin with http:// or https:// "
                "and hold {id} where the video's id goes"
            )
        if self.cookies is not None and self.cookies_from is not None:
            raise DownloadError("COOKIES and COOKIES_FROM are both set; set one of them")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> DownloadSettings:
        """The settings in the environment variables; an empty variable is an unset one."""
        values: dict[str, Any] = {}
        for name, kind in (
            ("OUTPUT_DIR", Path),
            ("JOBS", int),
            ("MAX_VIDEOS", int),
            ("MAX_HEIGHT", int),
            ("MAX_DURATION", float),
            ("COOKIES", Path),
            ("COOKIES_FROM", str),
            ("URL_TEMPLATE", str),
        ):
            if text := environment.get(name):
                try:
                    values[name.lower()] = kind(text)
                except ValueError:
                    what = "a whole number" if kind is int else "a number"
                    raise DownloadError(f"{name} is {text!r}; it must be {what}") from None
        return cls(**values)


@dataclass(frozen=True)
class DownloadEvent:
    """One video is settled.

    Attributes:
        video_uid: its id
        outcome: "there" = was on disk before; "done" = is now; "failed"
        reason: why it failed; else how its streams were made ("copied", "video encoded" ...)
        seconds: spent on it
    """

    video_uid: str
    outcome: Literal["there", "done", "failed"]
    reason: str = ""
    seconds: float = 0.0


@dataclass
class DownloadSummary:
    """What a run did.

    Attributes:
        there: ids that were on disk before
        done: ids that were fetched
        failed: id -> reason
        not_tried: listed ids that the run did not come to (MAX_VIDEOS reached, or stopped)
        stopped: whether the run was stopped before its end
        seconds: the run's length
    """

    there: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    not_tried: int = 0
    stopped: bool = False
    seconds: float = 0.0


def read_id_list(path: str | os.PathLike[str]) -> list[str]:
    """The lines of an id file, stripped, without empty ones and repetitions.

    Raises:
        DownloadError: no such file, or it lists nothing
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DownloadError(
            f"cannot read the id list {path} ({error.strerror}); make it with "
            "python download_scripts/extract_video_ids.py, or name another file in VIDEO_IDS"
        ) from None
    ids = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not ids:
        raise DownloadError(f"the id list {path} is empty; it must hold one video id a line")
    return ids


def download_videos(
    ids: Iterable[str],
    settings: DownloadSettings,
    on_event: Callable[[DownloadEvent], None] | None = None,
    stop: threading.Event | None = None,
) -> DownloadSummary:
    """Fetch the videos that are not on disk yet, several at a time, in the list's order.

    A bad video is reported and the others go on. The reasons are also written to
    ``<output_dir>/failures.txt`` (id, tab, reason), which always tells of the latest run.

    Args:
        ids: video ids; one that is malformed fails
        settings: what to make
        on_event: called in this thread for each video that is settled
        stop: when set, the run ends within seconds; started videos are dropped

    Raises:
        DownloadError: a program or package is missing, cookies cannot be read, the output folder
            cannot be written to, or another run works in it
    """
    began = time.monotonic()
    summary = DownloadSummary()
    report = on_event or (lambda event: None)
    _require_tools()
    output = settings.output_dir.absolute()
    with _locked(output):
        fetcher = _Fetcher(settings, output, _cookies(settings))
        partial = output / PARTIAL_FOLDER
        shutil.rmtree(partial, ignore_errors=True)  # what a killed run left
        pending: deque[str] = deque()
        for uid in dict.fromkeys(ids):
            if not VIDEO_ID.fullmatch(uid):
                shown = ascii(uid[:40])
                summary.failed[shown] = "is not a video id (11 of A-Z, a-z, 0-9, _ and -)"
                report(DownloadEvent(shown, "failed", summary.failed[shown]))
            elif _is_there(output / f"{uid}.mp4"):
                summary.there.append(uid)
                report(DownloadEvent(uid, "there"))
            else:
                pending.append(uid)
        try:
            crew = _Crew(fetcher, pending, settings, len(summary.there))
            for event in crew.run(stop or threading.Event()):
                if event.outcome == "done":
                    summary.done.append(event.video_uid)
                else:
                    summary.failed[event.video_uid] = event.reason
                report(event)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            _write_failures(output / FAILURES_FILE, summary.failed)
        summary.not_tried = crew.total - len(summary.done) - crew.failed
        summary.stopped = stop is not None and stop.is_set()
    summary.seconds = round(time.monotonic() - began, 2)
    return summary


class _Crew:
    """The threads that work through the list."""

    def __init__(
        self, fetcher: _Fetcher, pending: deque[str], settings: DownloadSettings, on_disk: int
    ):
        self.total = len(pending)
        self.failed = 0
        self._fetcher = fetcher
        self._pending = pending
        self._limit = settings.max_videos
        self._on_disk = on_disk
        self._running = 0
        self._changed = threading.Condition()
        self._events: queue.SimpleQueue[DownloadEvent] = queue.SimpleQueue()
        # Daemons: a thread that hangs in the network must not keep a stopped program alive.
        self._threads = [
            threading.Thread(target=self._work, daemon=True)
            for _ in range(min(settings.jobs, self.total))
        ]

    def run(self, stop: threading.Event) -> Iterator[DownloadEvent]:
        """Yield an event per settled video until all are, or until shortly after ``stop``."""
        for thread in self._threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in self._threads):
                if stop.is_set():
                    break
                with suppress(queue.Empty):
                    yield self._events.get(timeout=0.2)
        finally:
            self._fetcher.stop.set()
            deadline = time.monotonic() + _GRACE
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        while not self._events.empty():
            yield self._events.get()

    def _work(self) -> None:
        while (uid := self._take()) is not None:
            began = time.monotonic()
            outcome: Literal["done", "failed"] = "failed"
            try:
                reason = self._fetcher.fetch(uid)
                outcome = "done"
            except _Stopped:
                return
            except _VideoError as error:
                reason = str(error)
            except Exception as error:  # one bad video never ends a run
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
            with self._changed:
                self._running -= 1
                self._on_disk += outcome == "done"
                self.failed += outcome == "failed"
                self._changed.notify_all()
            seconds = round(time.monotonic() - began, 2)
            self._events.put(DownloadEvent(uid, outcome, reason, seconds))

    def _take(self) -> str | None:
        """The next id, or None when there is nothing more to do.

        Near the limit a thread waits to see whether the others succeed, so that the run ends with
        the limit's number of videos on disk: never more, and fewer only when the list ran out.
        """
        with self._changed:
            while self._pending and not self._fetcher.stop.is_set():
                if self._limit is None or self._on_disk + self._running < self._limit:
                    self._running += 1
                    return self._pending.popleft()
                if self._on_disk >= self._limit:
                    break
                self._changed.wait(0.2)
            return None


class _Fetcher:
    """Brings one video to disk; used by several threads at a time."""

    def __init__(self, settings: DownloadSettings, output: Path, cookies: str | None):
        self.stop = threading.Event()
        self._settings = settings
        self._output = output
        self._cookies = cookies

    def fetch(self, uid: str) -> str:
        """Make ``<uid>.mp4``; returns how.

        Raises:
            _VideoError: with the reason
            _Stopped: ``stop`` was set
        """
        folder = self._output / PARTIAL_FOLDER / uid
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            sources = self._download(uid, folder)
            finished = folder / "finished.mp4"
            how = self._convert(sources, finished)
            self._check_stop()
            finished.replace(self._output / f"{uid}.mp4")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return how

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise _Stopped

    # -- fetching ------------------------------------------------------------------------------

    def _download(self, uid: str, folder: Path) -> list[Path]:
        """The downloaded files: one, or a video's and an audio's."""
        import yt_dlp

        refusals: list[str] = []

        def refuse_live(info: Mapping[str, Any], *, incomplete: bool) -> str | None:
            if info.get("is_live") or info.get("live_status") == "is_upcoming":
                refusals.append("it is a live stream; it can be fetched after it has ended")
                return refusals[-1]
            return None

        def check_stop(_: Mapping[str, Any]) -> None:
            if self.stop.is_set():
                raise yt_dlp.utils.DownloadCancelled

        options: dict[str, Any] = {
            "quiet": True,
            "noprogress": True,
            "color": "no_color",
            "logger": _Silent(),
            "paths": {"home": str(folder)},
            "outtmpl": {"default": "%(format_id)s.%(ext)s"},
            "format": _choose_formats,
            # The tallest that fits, or the lowest there is; then what needs no encoding.
            "format_sort": [
                f"height:{self._settings.max_height}",
                "vcodec:h264",
                "proto",
                "acodec:aac",
            ],
            "match_filter": refuse_live,
            "progress_hooks": [check_stop],
            # A page that lists other videos must not bring those in this one's place.
            "noplaylist": True,
            "extract_flat": "in_playlist",
            "skip_unavailable_fragments": False,
            "fixup": "never",
            "socket_timeout": 20,
            "retries": 3,
            "fragment_retries": 3,
        }
        if runtimes := js_runtimes():
            options["js_runtimes"] = runtimes
        if self._cookies is not None:
            options["cookiefile"] = StringIO(self._cookies)
        url = self._settings.url_template.replace("{id}", quote(uid, safe=""))
        try:
            with yt_dlp.YoutubeDL(options) as downloader:
                downloader.extract_info(url)
        except yt_dlp.utils.DownloadCancelled:
            raise _Stopped from None
        except yt_dlp.utils.YoutubeDLError as error:
            self._check_stop()
            raise _VideoError(_plain_reason(str(error))) from None
        files = sorted(path for path in folder.iterdir() if path.suffix != ".part")
        if not files:
            raise _VideoError(refusals[0] if refusals else f"{url} is not one video")
        return files

    # -- bringing to form ----------------------------------------------------------------------

    def _convert(self, sources: Sequence[Path], target: Path) -> str:
        """Write the sources' first video and audio stream to ``target`` in the designed form."""
        import ffmpeg

        height, duration = self._settings.max_height, self._settings.max_duration
        streams = [(path, stream) for path in sources for stream in _streams(path)]
        video = next(((p, s) for p, s in streams if _is_video(s)), None)
        audio = next(((p, s) for p, s in streams if s["codec_type"] == "audio"), None)
        if video is None:
            raise _VideoError("what was downloaded has no video stream")

        inputs = {
            path: ffmpeg.input(str(path), format_whitelist=_CONTAINERS)
            for path in dict.fromkeys(item[0] for item in (video, audio) if item)
        }
        options: dict[str, Any] = {
            "t": f"{duration:.6f}",
            "movflags": "+faststart",
            "map_metadata": -1,
            "map_chapters": -1,
        }
        encoded = []
        picture = inputs[video[0]][str(video[1]["index"])]
        if _video_fits(video[1], height, duration):
            options["c:v"] = "copy"
        else:
            encoded.append("video")
            picture = picture.filter("scale", w=-2, h=f"trunc(min(ih,{height})/2)*2")
            options |= {"c:v": "libx264", "preset": "veryfast", "crf": 23, "pix_fmt": "yuv420p"}
        outputs = [picture]
        if audio is not None:
            outputs.append(inputs[audio[0]][str(audio[1]["index"])])
            if audio[1].get("codec_name") == "aac":
                options["c:a"] = "copy"
            else:
                encoded.append("audio")
                options |= {"c:a": "aac", "b:a": "128k", "ac": 2}
        self._run(ffmpeg.output(*outputs, str(target), **options), "cannot be converted")

        expected = min(video[1]["seconds"] or 0.0, duration)
        self._verify(target, expected, with_audio=audio is not None)
        return f"{' and '.join(encoded)} encoded" if encoded else "copied"

    def _verify(self, path: Path, expected: float, with_audio: bool) -> None:
        """Make sure that the file is whole.

        Args:
            expected: seconds that the video stream must have; 0 if nobody knows
        """
        import ffmpeg

        streams = _streams(path)
        kinds = [stream["codec_type"] for stream in streams]
        if kinds != (["video", "audio"] if with_audio else ["video"]):
            raise _VideoError(f"the result has the streams {kinds}")
        seconds = streams[0]["seconds"]
        if not seconds:
            raise _VideoError("the result has no duration")
        if seconds < expected - _MISSING_END:
            raise _VideoError(f"it is cut off: it has {seconds:.1f} s of {expected:.1f} s")
        # The end is decoded from its keyframe on, because a still picture can have begun long ago.
        ends: tuple[dict[str, Any], ...] = (
            {"t": 1},
            {"ss": f"{max(0.0, seconds - 1):.3f}", "noaccurate_seek": None},
        )
        for part, options in zip(("first", "last"), ends, strict=True):
            hashes = self._run(
                ffmpeg.input(str(path), xerror=None, **options).output("pipe:", format="framemd5"),
                f"its {part} second cannot be decoded",
            )
            if not re.search(rb"^0,", hashes, flags=re.MULTILINE):
                raise _VideoError(f"its {part} second has no picture")

    def _run(self, job: Any, failure: str) -> bytes:
        """Run an ffmpeg job and return its standard output; ends it when the run is stopped."""
        import ffmpeg

        job = job.global_args("-hide_banner", "-nostdin", "-loglevel", "error")
        with subprocess.Popen(
            ffmpeg.compile(job, overwrite_output=True),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for this program, which then ends ffmpeg itself
        ) as process:
            while True:
                try:
                    output, errors = process.communicate(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    if self.stop.is_set():
                        process.kill()
        self._check_stop()
        if process.returncode:
            lines = errors.decode(errors="replace").strip().splitlines() or ["no message"]
            raise _VideoError(f"{failure}: {_plain_reason(lines[-1])}")
        return output


class _Silent:
    """Drops yt-dlp's messages: what matters is raised, and a log must hold no secrets."""

    def debug(self, message: str) -> None:
        """Nothing."""

    warning = error = debug


def _choose_formats(context: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The best format with a picture and, if it has no sound, the best with only sound.

    They are fetched as two files, since ffmpeg is to join and convert them in one go.
    """
    from_best = context["formats"][::-1]
    video = next((f for f in from_best if f.get("vcodec") != "none"), None)
    if video is None:
        raise _VideoError("it has no picture")
    yield video
    if video.get("acodec") == "none":
        sound = (f for f in from_best if f.get("vcodec") == "none" and f.get("acodec") != "none")
        yield from (f for f in [next(sound, None)] if f)


def js_runtimes() -> dict[str, dict[str, str]]:
    """The JavaScript runtimes on the PATH in yt-dlp's form; YouTube needs one."""
    found = {name: shutil.which(name) for name in ("deno", "node")}
    return {name: {"path": path} for name, path in found.items() if path}


def _plain_reason(message: str) -> str:
    """yt-dlp's or ffmpeg's message in one line, without the id and the request for a bug report."""
    message = (message.strip().splitlines() or ["no message"])[0].removeprefix("ERROR: ")
    message = re.sub(rf"^\[[^]]*\] ({VIDEO_ID.pattern}: )?", "", message)
    message = re.split(r"[;.]\s+please report this issue|\s*\(caused by", message, flags=re.I)[0]
    return message[:300]


def _streams(path: Path) -> list[dict[str, Any]]:
    """The file's streams as ffprobe tells them, with ``seconds`` (float or None) added."""
    import ffmpeg

    try:
        probed = ffmpeg.probe(str(path), format_whitelist=_CONTAINERS)
    except ffmpeg.Error as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        reason = lines[-1].removeprefix(f"{path}: ")
        raise _VideoError(f"what was downloaded is not a whole video ({reason})") from None
    for stream in probed["streams"]:
        seconds = stream.get("duration") or probed["format"].get("duration")
        stream["seconds"] = float(seconds) if seconds else None
    return probed["streams"]


def _is_video(stream: Mapping[str, Any]) -> bool:
    """Whether it is a moving picture (and no cover)."""
    return stream["codec_type"] == "video" and not stream["disposition"].get("attached_pic")


def _video_fits(stream: Mapping[str, Any], max_height: int, max_duration: float) -> bool:
    """Whether a video stream can be copied; a duration over by less than a frame is none."""
    frames, _, seconds = stream.get("avg_frame_rate", "0/1").partition("/")
    frame = int(seconds or 1) / int(frames) if int(frames) else 0.0
    return (
        stream.get("codec_name") == "h264"
        and stream.get("pix_fmt") == "yuv420p"
        and stream["height"] <= max_height
        and stream["width"] % 2 == stream["height"] % 2 == 0
        # Many readers ignore that a picture is to be turned, so it is turned for them.
        and not any("rotation" in data for data in stream.get("side_data_list", ()))
        and stream["seconds"] is not None
        and stream["seconds"] < max_duration + frame
    )


def _is_there(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Make the output folder and keep other runs out of it."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        file = (output / ".lock").open("w")
    except OSError as error:
        raise DownloadError(
            f"cannot write to the output folder {output} ({error.strerror}); "
            "name another one in OUTPUT_DIR"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DownloadError(
                f"another run is downloading into {output}; wait until it ends"
            ) from None
        yield


def _write_failures(path: Path, failed: Mapping[str, str]) -> None:
    if not failed:
        path.unlink(missing_ok=True)
        return
    with temporary_sibling(path) as temporary:
        temporary.write_text(
            "".join(f"{uid}\t{reason}\n" for uid, reason in failed.items()), encoding="utf-8"
        )


def _require_tools() -> None:
    for program in ("ffmpeg", "ffprobe"):
        if shutil.which(program) is None:
            raise DownloadError(
                f"{program} is missing; install it with: sudo apt-get install ffmpeg"
            )
    for module, package in (("yt_dlp", "yt-dlp[default]"), ("ffmpeg", "ffmpeg-python")):
        try:
            importlib.import_module(module)
        except ImportError:
            raise DownloadError(
                f"the Python package {package} is missing; install it with: "
                f"{sys.executable} -m pip install '{package}'"
            ) from None


def _cookies(settings: DownloadSettings) -> str | None:
    """The cookies in Netscape format.

    yt-dlp gets a copy of its own for every video: given a file, it would write it back, from
    several threads at a time; and it would print lines that it cannot read.
    """
    header = "# Netscape HTTP Cookie File\n"
    if settings.cookies is not None:
        try:
            lines = settings.cookies.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise DownloadError(f"cannot read COOKIES file {settings.cookies}: {reason}") from None
        for number, line in enumerate(lines, 1):
            line = line.removeprefix("#HttpOnly_")
            if line.strip() and not line.startswith("#"):
                fields = line.split("\t")
                if len(fields) != 7 or not re.fullmatch(r"(\d+(\.\d+)?)?", fields[4]):
                    raise DownloadError(
                        f"line {number} of COOKIES file {settings.cookies} is not in Netscape "
                        "format (7 fields, separated by tabs); export the cookies in that format"
                    )
        return header + "\n".join(lines) + "\n"
    if settings.cookies_from is not None:
        from yt_dlp import cookies

        browser, _, profile = settings.cookies_from.partition(":")
        if browser not in cookies.SUPPORTED_BROWSERS:
            raise DownloadError(
                f"COOKIES_FROM is {settings.cookies_from!r}; the browser must be one of "
                f"{', '.join(sorted(cookies.SUPPORTED_BROWSERS))}"
            )
        text = StringIO()
        try:
            jar = cookies.extract_cookies_from_browser(browser, profile or None, _BrowserLog())
            jar.save(text)
        except Exception as error:
            raise DownloadError(
                f"cannot read the cookies of {browser}: {_plain_reason(str(error))}; "
                "export them to a file and name it in COOKIES"
            ) from None
        return text.getvalue()
    return None


class _BrowserLog(_Silent):
    """The same for yt-dlp's reading of a browser's cookies."""

    info = _Silent.debug

    def warning(self, message: str, only_once: bool = False) -> None:
        """Nothing."""

    error = warning

    def progress_bar(self) -> None:
        """No bar."""


# -- the command -------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    width = max(len(name) for name, _, _ in _VARIABLES)
    parser = argparse.ArgumentParser(
        prog="download_scripts/download_videos.sh",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Download the listed videos and bring them to one form. "
        "What is on disk stays;\nrun it again to go on.",
        epilog="environment variables (default in brackets):\n"
        + "\n".join(f"  {n:{width}}  {text} [{default}]" for n, default, text in _VARIABLES)
        + "\n\nexit status: 0 done, 1 some videos failed, 2 wrong call, 130 or 143 stopped",
    )
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    signals: list[int] = []

    def on_signal(number: int, frame: Any) -> None:
        if signals:  # the second time at once
            os._exit(128 + number)
        signals.append(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        settings = DownloadSettings.from_environment(os.environ)
        ids = read_id_list(os.environ.get("VIDEO_IDS") or "video_ids.txt")
        if settings.url_template == YOUTUBE and not js_runtimes():
            print(
                "warning: no JavaScript runtime found, so YouTube will refuse many videos; "
                "install Deno or Node 20 or newer",
                file=sys.stderr,
            )
        with _progress(min(len(ids), settings.max_videos or len(ids))) as report:
            summary = download_videos(ids, settings, report, stop)
    except DownloadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(_summary_text(summary, settings), file=sys.stderr)
    if options.json:
        print(
            json.dumps(
                {
                    "output_dir": str(settings.output_dir),
                    "on_disk": len(summary.there) + len(summary.done),
                    "there": len(summary.there),
                    "done": summary.done,
                    "failed": summary.failed,
                    "not_tried": summary.not_tried,
                    "stopped": summary.stopped,
                    "seconds": summary.seconds,
                }
            )
        )
    if signals:
        # Not sys.exit: it would wait for what hangs in the network.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(128 + signals[0])
    return 1 if summary.failed else 0


@contextmanager
def _progress(total: int) -> Iterator[Callable[[DownloadEvent], None]]:
    """A bar of the videos on disk on a terminal; a line per fetched video in a log."""
    from tqdm import tqdm

    failed = 0
    is_terminal = sys.stderr.isatty()
    with tqdm(total=total, unit="video", disable=not is_terminal) as bar:

        def report(event: DownloadEvent) -> None:
            nonlocal failed
            failed += event.outcome == "failed"
            if event.outcome != "there":
                line = f"{event.video_uid}: {event.outcome}, {event.reason} ({event.seconds} s)"
                if not is_terminal:
                    print(line, file=sys.stderr, flush=True)
                elif event.outcome == "failed":
                    tqdm.write(line, file=sys.stderr)
            if not is_terminal:
                return
            if event.outcome == "there":
                bar.initial += 1  # keeps what was there out of the rate
            if event.outcome != "failed":
                bar.update()
            bar.set_postfix(failed=failed)

        yield report


def _summary_text(summary: DownloadSummary, settings: DownloadSettings) -> str:
    on_disk = len(summary.there) + len(summary.done)
    text = (
        f"{'stopped: ' if summary.stopped else ''}{on_disk} of the listed videos in "
        f"{settings.output_dir} ({len(summary.done)} new), {len(summary.failed)} failed, "
        f"{summary.not_tried} not tried, {summary.seconds:.0f} s"
    )
    if summary.failed:
        text += f"; the reasons are in {settings.output_dir / FAILURES_FILE}"
    return text


if __name__ == "__main__":
    sys.exit(main())
