"""What to fetch and how: the settings, each of them an environment variable of the command."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")
YOUTUBE = "https://www.youtube.com/watch?v={id}"


class DownloadError(ValueError):
    """A download that cannot start or go on; the message says what to change."""


def _flag(text: str) -> bool:
    values = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    return values[text.lower()]


def _bytes(text: str) -> int:
    from yt_dlp.utils import parse_bytes

    if (number := parse_bytes(text)) is None:
        raise ValueError
    return number


# How each kind of value is read, and what it is called where it cannot be.
_KINDS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "path": (Path, "a path"),
    "text": (str, "text"),
    "flag": (_flag, "1 or 0"),
    "bytes": (_bytes, "a number of bytes like 500K or 4M"),
}


def _how(kind: str, help: str, shown: str | None = None) -> dict[str, Any]:
    """A setting's kind, its line in the help, and its default there if it is not the field's."""
    return {"kind": kind, "help": help, "shown": shown}


@dataclass(frozen=True)
class DownloadSettings:
    """What :func:`download_videos` makes and where from.

    Each attribute is read from the environment variable of its name in capitals; the texts in the
    fields' metadata are the command's help.

    Raises:
        DownloadError: for a value that makes no sense, named as its environment variable
    """

    output_dir: Path = field(
        default=Path("videos"), metadata=_how("path", "folder of the finished <id>.mp4")
    )
    jobs: int = field(default=4, metadata=_how("int", "videos worked on at the same time"))
    max_videos: int | None = field(
        default=None,
        metadata=_how("int", "stop when this many of the listed videos are on disk", "all"),
    )
    max_height: int = field(
        default=480, metadata=_how("int", "height in pixels; taller videos are scaled down")
    )
    max_duration: float = field(
        default=90.0, metadata=_how("float", "seconds kept, from the start of the video", "90")
    )
    retries: int = field(
        default=3, metadata=_how("int", "times a video is tried again after a fault that may pass")
    )
    retry_wait: float = field(
        default=2.0,
        metadata=_how(
            "float", "seconds before the first of them; doubled for each further one", "2"
        ),
    )
    retry_failed: bool = field(
        default=False,
        metadata=_how("flag", "1 = also try what is gone or was given up in earlier runs", "0"),
    )
    blocked_pause: float = field(
        default=60.0,
        metadata=_how(
            "float", "seconds of rest when the site blocks one video after the other", "60"
        ),
    )
    rate_limit: int | None = field(
        default=None,
        metadata=_how("bytes", "bytes per second of all jobs together, e.g. 4M", "none"),
    )
    proxy: str | None = field(
        default=None,
        metadata=_how("text", "http, https or socks5 proxy; never printed, never written", "none"),
    )
    cookies: Path | None = field(
        default=None,
        metadata=_how(
            "path", "cookies file in Netscape format; never changed, never printed", "none"
        ),
    )
    cookies_from: str | None = field(
        default=None,
        metadata=_how("text", "browser to take cookies from: NAME or NAME:PROFILE", "none"),
    )
    js_runtime: str | None = field(
        default=None,
        metadata=_how("text", "JavaScript runtime for YouTube: NAME or NAME:PATH", "deno or node"),
    )
    url_template: str = field(
        default=YOUTUBE, metadata=_how("text", "where a video is; {id} becomes its id")
    )

    def __post_init__(self) -> None:
        for name, least in (("jobs", 1), ("max_videos", 1), ("retries", 0), ("rate_limit", 1024)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise DownloadError(f"{name.upper()} is {value}; it must be {least} or more")
        if self.max_height < 16:
            raise DownloadError(f"MAX_HEIGHT is {self.max_height}; it must be 16 pixels or more")
        if not 0 < self.max_duration < float("inf"):
            raise DownloadError(f"MAX_DURATION is {self.max_duration:g}; it must be above 0 s")
        for name in ("retry_wait", "blocked_pause"):
            if not 0 <= (value := getattr(self, name)) < float("inf"):
                raise DownloadError(f"{name.upper()} is {value:g}; it must be 0 s or more")
        url = urlsplit(self.url_template)
        if url.scheme not in ("http", "https") or not url.netloc or "{id}" not in url.geturl():
            raise DownloadError(
                f"URL_TEMPLATE is {self.url_template!r}; it must begin with http:// or https:// "
                "and hold {id} where the video's id goes"
            )
        if self.cookies is not None and self.cookies_from is not None:
            raise DownloadError("COOKIES and COOKIES_FROM are both set; set one of them")
        if self.proxy is not None and not _is_proxy(self.proxy):
            raise DownloadError(
                "PROXY is not a proxy's address; it must look like http://host:port, "
                "https://host:port or socks5://host:port"
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> DownloadSettings:
        """The settings in the environment variables; an empty variable is an unset one."""
        values: dict[str, Any] = {}
        for item in dataclasses.fields(cls):
            if text := environment.get(name := item.name.upper()):
                read, what = _KINDS[item.metadata["kind"]]
                try:
                    values[item.name] = read(text)
                except (ValueError, KeyError):
                    raise DownloadError(f"{name} is {text!r}; it must be {what}") from None
        return cls(**values)


def _is_proxy(text: str) -> bool:
    try:
        url = urlsplit(text)
        known = url.scheme in ("http", "https", "socks4", "socks5", "socks5h")
        return known and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is no number
        return False


def variables() -> list[tuple[str, str, str]]:
    """(name, default, help) of each environment variable, in the order of the help."""
    found = [
        (item.name.upper(), item.metadata["shown"] or str(item.default), item.metadata["help"])
        for item in dataclasses.fields(DownloadSettings)
    ]
    return [("VIDEO_IDS", "video_ids.txt", "file with one video id a line"), *found]


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


def js_runtimes(chosen: str | None = None) -> dict[str, dict[str, str]]:
    """The JavaScript runtimes to use, in yt-dlp's form; YouTube needs one.

    Args:
        chosen: ``name`` or ``name:path``; None = those of Deno and Node that are on the PATH

    Raises:
        DownloadError: the chosen one is not known, or not there
    """
    if chosen is None:
        found = {name: shutil.which(name) for name in ("deno", "node")}
        return {name: {"path": path} for name, path in found.items() if path}
    name, _, path = chosen.partition(":")
    known = ("deno", "node", "bun", "quickjs")
    if name not in known:
        raise DownloadError(f"JS_RUNTIME is {chosen!r}; it must be one of {', '.join(known)}")
    program = shutil.which(path or {"quickjs": "qjs"}.get(name, name))
    if program is None:
        raise DownloadError(
            f"JS_RUNTIME is {chosen!r}, but there is no such program; install it, "
            f"or say where it is: JS_RUNTIME={name}:PATH"
        )
    return {name: {"path": program}}


def cookies_text(settings: DownloadSettings) -> str | None:
    """The cookies in Netscape format, or None.

    yt-dlp gets a copy of its own for every video: given a file, it would write it back, from
    several threads at a time; and it would print lines that it cannot read.

    Raises:
        DownloadError: they cannot be read
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
        return _browser_cookies(settings.cookies_from)
    return None


def _browser_cookies(where: str) -> str:
    from yt_dlp import cookies

    browser, _, profile = where.partition(":")
    if browser not in cookies.SUPPORTED_BROWSERS:
        raise DownloadError(
            f"COOKIES_FROM is {where!r}; the browser must be one of "
            f"{', '.join(sorted(cookies.SUPPORTED_BROWSERS))}"
        )
    text = StringIO()
    try:
        cookies.extract_cookies_from_browser(browser, profile or None, _Silent()).save(text)
    except Exception as error:  # each browser fails in ways of its own
        reason = (str(error).splitlines() or [type(error).__name__])[0].removeprefix("ERROR: ")
        raise DownloadError(
            f"cannot read the cookies of {browser}: {reason[:200]}; "
            "export them to a file and name it in COOKIES"
        ) from None
    return text.getvalue()


class _Silent:
    """Drops what yt-dlp says while it reads a browser's cookies."""

    def debug(self, message: str, only_once: bool = False) -> None:
        """Nothing."""

    info = warning = error = debug

    def progress_bar(self) -> None:
        """No bar."""


def require_tools() -> None:
    """Make sure that ffmpeg, ffprobe and the Python packages are there.

    Raises:
        DownloadError: with the command that installs what is missing
    """
    import importlib

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
