"""Fetching one video with yt-dlp, and telling apart the ways in which that fails."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import StringIO
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from .log import VideoLog
from .settings import VIDEO_ID, DownloadSettings, js_runtimes

Failure = Literal["gone", "blocked", "failed"]

# Seconds of silence after which a connection counts as broken.
_SILENCE = 20

# A section is read by ffmpeg, in one connection, which YouTube slows down to about 32 KiB/s on
# videos longer than about 12 minutes; a whole file is read by yt-dlp in pieces, at full speed.
_SLOWED_FROM = 720.0
# Below this multiple of what is kept, the whole file is little more than the section.
_WORTH = 2.0
# Above it even a slowed section comes sooner than the whole file: 4 MiB/s is 128 times 32 KiB/s.
_HOPELESS = 128.0
# Seconds fetched beyond what is kept, so that the exact cut is made here.
_MARGIN = 3.0


class VideoError(Exception):
    """One video that cannot be had.

    Attributes:
        reason: one line
        outcome: "gone" (removed, private, ...), "blocked" (log in, rate limit) or "failed"
        again: whether it may work a little later
        wait: seconds that the site asked to wait, or None
    """

    def __init__(
        self,
        reason: str,
        outcome: Failure = "failed",
        again: bool = False,
        wait: float | None = None,
    ):
        super().__init__(reason)
        self.reason = reason
        self.outcome: Failure = outcome
        self.again = again
        self.wait = wait


class Stopped(Exception):
    """The run was stopped while a video was worked on."""


class Fetched(NamedTuple):
    """A downloaded video: one file, or a picture's and a sound's.

    ``seconds`` is how long it must be at least; None if only its files can tell.
    """

    files: list[Path]
    seconds: float | None


def wants_section(duration: float | None, kept: float) -> bool:
    """Whether to fetch only the beginning of a video, rather than the whole file.

    Args:
        duration: seconds of the whole video; None if nobody knows
        kept: seconds that are wanted of it
    """
    if duration is None or duration <= _WORTH * kept:
        return False
    return duration <= _SLOWED_FROM or duration > _HOPELESS * kept


def fetch(
    uid: str,
    folder: Path,
    settings: DownloadSettings,
    cookies: str | None,
    log: VideoLog,
    stop: threading.Event,
) -> Fetched:
    """Fetch a video into a folder, or its beginning.

    What an earlier call left unfinished in the folder is continued.

    Raises:
        VideoError: it cannot be had
        Stopped: ``stop`` was set
    """
    import yt_dlp

    refused: list[str] = []
    fetched: list[Path] = []

    def refuse_live(info: Mapping[str, Any], *, incomplete: bool) -> str | None:
        if info.get("is_live") or info.get("live_status") == "is_upcoming":
            refused.append("it is a live stream; it can be fetched after it has ended")
            return refused[-1]
        return None

    def on_progress(progress: Mapping[str, Any]) -> None:
        if stop.is_set():
            raise yt_dlp.utils.DownloadCancelled
        if progress["status"] == "finished":
            fetched.append(Path(progress["filename"]))

    protocols: set[str] = set()
    sections: list[float] = []

    def ranges(info: Mapping[str, Any], _: object) -> list[dict[str, float]]:
        # ffmpeg reads sections: it knows no rate limit and no SOCKS, and lists of fragments need
        # no sections.
        if (
            wants_section(info.get("duration"), settings.max_duration)
            and protocols <= {"http", "https"}
            and settings.rate_limit is None
            and not (settings.proxy or "").startswith("socks")
        ):
            sections.append(settings.max_duration)
            return [{"start_time": 0.0, "end_time": settings.max_duration + _MARGIN}]
        return [{}]

    options: dict[str, Any] = {
        "quiet": True,
        "noprogress": True,
        "color": "no_color",
        "logger": log,
        "paths": {"home": str(folder)},
        "outtmpl": {"default": "%(format_id)s.%(ext)s"},
        "format": lambda context: _choose_formats(context, protocols),
        # The tallest that fits, or the lowest there is; then what needs no encoding.
        "format_sort": [f"height:{settings.max_height}", "vcodec:h264", "proto", "acodec:aac"],
        "match_filter": refuse_live,
        "download_ranges": ranges,
        "external_downloader_args": {
            "ffmpeg_i": [
                *("-rw_timeout", str(_SILENCE * 1_000_000)),
                *("-protocol_whitelist", "http,https,httpproxy,tcp,tls,crypto"),
            ]
        },
        "progress_hooks": [on_progress],
        # A page that lists other videos must not bring those in this one's place.
        "noplaylist": True,
        "extract_flat": "in_playlist",
        "skip_unavailable_fragments": False,
        "fixup": "never",
        "socket_timeout": _SILENCE,
        # The caller tries again, and with a new look at the page, whose links may have run out.
        "retries": 0,
        "extractor_retries": 0,
        "fragment_retries": settings.retries,
    }
    if runtimes := js_runtimes(settings.js_runtime):
        options["js_runtimes"] = runtimes
    if settings.rate_limit is not None:
        options["ratelimit"] = settings.rate_limit / settings.jobs
    if settings.proxy is not None:
        options["proxy"] = settings.proxy
    if cookies is not None:
        options["cookiefile"] = StringIO(cookies)
    url = settings.url_template.replace("{id}", quote(uid, safe=""))
    try:
        with yt_dlp.YoutubeDL(options) as downloader:
            downloader.extract_info(url)
    except yt_dlp.utils.DownloadCancelled:
        raise Stopped from None
    except yt_dlp.utils.YoutubeDLError as error:
        if stop.is_set():
            raise Stopped from None
        raise _video_error(error) from None
    if not fetched:
        raise VideoError(refused[0] if refused else f"{url} is not one video")
    return Fetched(fetched, sections[0] if sections else None)


def _choose_formats(context: Mapping[str, Any], protocols: set[str]) -> Iterator[dict[str, Any]]:
    """The best format with a picture and, if it has no sound, the best with only sound.

    They are fetched as two files, since ffmpeg is to join and convert them in one go. Their
    protocols are added to ``protocols``.
    """
    from_best = context["formats"][::-1]
    video = next((f for f in from_best if f.get("vcodec") != "none"), None)
    if video is None:
        raise VideoError("it has no picture")
    chosen = [video]
    if video.get("acodec") == "none":
        sound = (f for f in from_best if f.get("vcodec") == "none" and f.get("acodec") != "none")
        chosen += [f for f in [next(sound, None)] if f]
    protocols.update(format["protocol"] for format in chosen)
    yield from chosen


# What sites say, and YouTube above all, in the order in which the kinds are looked for: a private
# video's message also asks to sign in, and one about a rate limit calls the video unavailable.
_SAYINGS: tuple[tuple[Failure, str], ...] = (
    ("gone", r"private video|video is private|members.only|join this channel|requires payment"),
    (
        "blocked",
        r"not a bot|confirm your age|rate.?limit|try again later|log ?in|sign ?in|captcha|cookies",
    ),
    (
        "gone",
        r"video unavailable|(no longer|not|isn't) available|been (removed|deleted)|removed by"
        r"|account .*(terminated|closed)|copyright|not made this video available|your country",
    ),
)
_STATUS: Mapping[int, Failure] = {
    **dict.fromkeys((404, 410, 451), "gone"),
    **dict.fromkeys((401, 402, 403, 407, 429), "blocked"),
}


def _video_error(error: Exception) -> VideoError:
    """What yt-dlp raised as one of our kinds."""
    from yt_dlp.networking.exceptions import HTTPError, TransportError
    from yt_dlp.utils import ContentTooShortError, GeoRestrictedError, UnsupportedError

    reason = plain_reason(str(error))
    for cause in _causes(error):
        if isinstance(cause, VideoError):
            return cause
        if isinstance(cause, HTTPError):
            outcome = _STATUS.get(cause.status, "failed")
            again = cause.status in (408, 425, 429) or cause.status >= 500
            if outcome == "gone" and re.search(r"video data|fragment", reason):
                outcome, again = "failed", True  # a link that ran out; the page is still there
            wait = _retry_after(cause.response.headers.get("Retry-After"))
            return VideoError(reason, outcome, again, wait)
        if isinstance(cause, UnsupportedError):
            return VideoError("the page has no video that yt-dlp can find (Unsupported URL)")
        if isinstance(cause, GeoRestrictedError):
            return VideoError(reason, "gone")
        if isinstance(cause, (TransportError, OSError, ContentTooShortError)):
            return VideoError(reason, again=True)
    if "requested format" not in reason.lower():
        for outcome, words in _SAYINGS:
            if re.search(words, reason, flags=re.IGNORECASE):
                return VideoError(reason, outcome)
    # Of a connection that broke, of ffmpeg, which fetches sections, and of an empty answer.
    passing = re.search(r"^Got error|exited with code|data blocks", reason)
    return VideoError(reason, again=passing is not None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, as yt-dlp keeps it in several places."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        found = waiting.pop(0)
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        info = getattr(found, "exc_info", None) or (None, None)
        waiting += [info[1], getattr(found, "cause", None), found.__cause__, found.__context__]


def _retry_after(value: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for: a number or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds()) if moment.tzinfo else None


def plain_reason(message: str) -> str:
    """yt-dlp's or ffmpeg's message in one line, without the id and the request for a bug report."""
    lines = message.removeprefix("ERROR:").strip().splitlines() or ["no message"]
    message = re.sub(rf"^\[[^]]*\] ({VIDEO_ID.pattern}: )?", "", lines[0])
    message = re.split(r"[;.]\s+please report this issue|\s*\(caused by", message, flags=re.I)[0]
    return message[:300]
