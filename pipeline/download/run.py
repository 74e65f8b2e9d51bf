"""Works through a list of videos: several at a time, each with retries, remembered in a history."""

from __future__ import annotations

import fcntl
import queue
import random
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .history import Record, open_history
from .log import VideoLog, hider
from .settings import (
    VIDEO_ID,
    DownloadError,
    DownloadSettings,
    cookies_text,
    js_runtimes,
    require_tools,
)
from .source import Stopped, VideoError, fetch
from .transcode import Transcoder

PARTIAL_FOLDER = ".partial"
LOG_FOLDER = "logs"

# How long (seconds) a stopped run waits for downloads that hang in the network.
_GRACE = 3.0
# A site that asks to wait longer (seconds) than this ends the run.
_LONGEST_WAIT = 300.0
# So many blocked videos without another outcome between them mean that the site blocks this run.
_WAVE = 5
# The run rests after the first waves, for these multiples of BLOCKED_PAUSE; the next one ends it.
_PAUSES = (1.0, 5.0)
# A video that failed this many times is left alone, until RETRY_FAILED.
_GIVEN_UP = 20
# Less free space (bytes) than this means that a failure was the disk's.
_DISK_FULL = 50_000_000

Outcome = Literal["there", "skipped", "done", "gone", "blocked", "failed"]


@dataclass(frozen=True)
class DownloadEvent:
    """One video is settled, or (``outcome`` None) the run has something to say.

    Attributes:
        video_uid: its id; "" for the run
        outcome: "there" = was on disk before; "skipped" = an earlier run found it gone or gave it
            up; "done" = is on disk now; "gone" = cannot be had by anybody; "blocked" = not without
            logging in, or not now; "failed" = anything else
        reason: why not; or how its streams were made ("copied", "video encoded" ...)
        seconds: spent on it
        tries: in this run
    """

    video_uid: str
    outcome: Outcome | None
    reason: str = ""
    seconds: float = 0.0
    tries: int = 0


@dataclass
class DownloadSummary:
    """What a run did.

    Attributes:
        there: ids that were on disk before
        done: ids that were fetched
        gone, blocked, failed: id -> reason, of this run
        skipped: ids that an earlier run found gone or gave up
        other_form: of ``there``, how many were made with another MAX_HEIGHT or MAX_DURATION
        not_tried: listed ids that the run did not come to (MAX_VIDEOS reached, stopped, blocked)
        ended: why the run ended before its list did: "" = it did not, else a sentence
        stopped: whether it was stopped from outside
        seconds: the run's length
    """

    there: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    gone: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    other_form: int = 0
    not_tried: int = 0
    ended: str = ""
    stopped: bool = False
    seconds: float = 0.0

    def add(self, event: DownloadEvent) -> None:
        """Count a settled video."""
        if event.outcome in ("there", "done", "skipped"):
            getattr(self, event.outcome).append(event.video_uid)
        elif event.outcome is not None:
            getattr(self, event.outcome)[event.video_uid] = event.reason


def download_videos(
    ids: Iterable[str],
    settings: DownloadSettings,
    on_event: Callable[[DownloadEvent], None] | None = None,
    stop: threading.Event | None = None,
) -> DownloadSummary:
    """Fetch the videos that are not on disk yet, several at a time.

    First those that were never tried, in the list's order, then those that failed before, the least
    tried first. A bad video is reported and the others go on.

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
    require_tools()
    js_runtimes(settings.js_runtime)  # an unknown one ends the run before it begins
    output = settings.output_dir.absolute()
    with _locked(output), open_history(output) as history:
        known = history.records()
        form = (settings.max_height, settings.max_duration)

        def settle(event: DownloadEvent) -> None:
            summary.add(event)
            report(event)

        untried: list[str] = []
        again: list[str] = []
        for uid in dict.fromkeys(ids):
            record = known.get(uid)
            if not VIDEO_ID.fullmatch(uid):
                reason = "is not a video id (11 of A-Z, a-z, 0-9, _ and -)"
                settle(DownloadEvent(ascii(uid[:40]), "failed", reason))
            elif _is_there(output / f"{uid}.mp4"):
                settle(DownloadEvent(uid, "there"))
                if record is not None and record.outcome == "done":
                    summary.other_form += (record.max_height, record.max_duration) != form
            elif record is None or record.outcome == "done":
                untried.append(uid)
            elif not settings.retry_failed and (
                record.outcome == "gone"
                or (record.outcome == "failed" and record.tries >= _GIVEN_UP)
            ):
                settle(DownloadEvent(uid, "skipped", record.reason))
            else:
                again.append(uid)
        again.sort(key=lambda uid: known[uid].tries)

        crew = _Crew(settings, output, [*untried, *again], len(summary.there))
        for event in crew.run(stop or threading.Event()):
            if event.outcome is None:
                report(event)
                continue
            before = known[event.video_uid].tries if event.video_uid in known else 0
            tries = before + event.tries
            history.save(Record(event.video_uid, event.outcome, event.reason, tries, *form))
            settle(event)
        summary.not_tried = crew.not_tried
        summary.ended = crew.ended
        summary.stopped = stop is not None and stop.is_set()
    summary.seconds = round(time.monotonic() - began, 2)
    return summary


class _Crew:
    """The threads that work through the list.

    Attributes:
        ended: why the run ended before its list did, or ""
        not_tried: how many ids are not settled
    """

    def __init__(self, settings: DownloadSettings, output: Path, uids: list[str], on_disk: int):
        self.ended = ""
        self.not_tried = len(uids)
        self._settings = settings
        self._output = output
        self._cookies = cookies_text(settings)
        self._hide = hider(self._cookies, settings.proxy)
        self._pending = deque(uids)
        self._on_disk = on_disk
        self._running = 0
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._not_before = 0.0  # of the monotonic clock: nobody asks the site for anything earlier
        self._blocked_in_a_row = 0
        self._wave_ended = 0.0  # of the same clock
        self._pauses = list(_PAUSES)
        self._events: queue.SimpleQueue[DownloadEvent] = queue.SimpleQueue()
        # Daemons: a thread that hangs in the network must not keep a stopped program alive.
        self._threads = [
            threading.Thread(target=self._work, daemon=True)
            for _ in range(min(settings.jobs, len(uids)))
        ]

    def run(self, stop: threading.Event) -> Iterator[DownloadEvent]:
        """Yield an event per settled video until all are, or until shortly after ``stop``."""
        partial = self._output / PARTIAL_FOLDER
        shutil.rmtree(partial, ignore_errors=True)  # what a killed run left
        for thread in self._threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in self._threads) and not stop.is_set():
                with suppress(queue.Empty):
                    yield self._settled(self._events.get(timeout=0.2))
        finally:
            self._stop.set()
            deadline = time.monotonic() + _GRACE
            while any(t.is_alive() for t in self._threads) and time.monotonic() < deadline:
                self._end_sections()
                time.sleep(0.1)
            shutil.rmtree(partial, ignore_errors=True)
        while not self._events.empty():
            yield self._settled(self._events.get())

    def _settled(self, event: DownloadEvent) -> DownloadEvent:
        self.not_tried -= event.outcome is not None
        return event

    def _end_sections(self) -> None:
        """End the ffmpeg processes that yt-dlp started for sections; it offers no way to."""
        import psutil

        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if any(str(self._output / PARTIAL_FOLDER) in word for word in child.cmdline()):
                    child.kill()

    # -- what each thread does -----------------------------------------------------------------

    def _work(self) -> None:
        while (uid := self._take()) is not None:
            began = time.monotonic()
            try:
                event = self._fetch(uid, began)
            except Stopped:
                return
            except Exception as error:  # one bad video never ends a run
                reason = self._hide(f"{type(error).__name__}: {error}".splitlines()[0][:300])
                event = DownloadEvent(uid, "failed", reason, round(time.monotonic() - began, 2), 1)
            with self._changed:
                self._running -= 1
                self._on_disk += event.outcome == "done"
                if event.outcome != "done" and self._disk_is_full():
                    return
                self._events.put(event)
                self._watch_for_waves(event, began)
                self._changed.notify_all()

    def _take(self) -> str | None:
        """The next id, or None when there is nothing more to do.

        Near the limit a thread waits to see whether the others succeed, so that the run ends with
        the limit's number of videos on disk: never more, and fewer only when the list ran out.
        """
        limit = self._settings.max_videos
        with self._changed:
            while self._pending and not self._stop.is_set() and not self.ended:
                if limit is None or self._on_disk + self._running < limit:
                    if time.monotonic() >= self._not_before:
                        self._running += 1
                        return self._pending.popleft()
                elif self._on_disk >= limit:
                    break
                self._changed.wait(0.2)
            return None

    def _fetch(self, uid: str, began: float) -> DownloadEvent:
        """Try a video until it is there, or until trying again makes no sense."""
        log = VideoLog(self._output / LOG_FOLDER / f"{uid}.log", self._hide)
        tries = 0
        while True:
            tries += 1
            try:
                outcome: Outcome = "done"
                reason = self._make(uid, log)
                break
            except VideoError as error:
                outcome, reason = error.outcome, self._hide(error.reason)
                wait = self._wait(error, tries)
                if wait is None:
                    break
            log.debug(f"try {tries}: {reason}; again in {wait:.0f} s")
            if self._stop.wait(wait):
                raise Stopped
        log.debug(f"{outcome}: {reason}")
        seconds = round(time.monotonic() - began, 2)
        return DownloadEvent(uid, outcome, reason, seconds, tries)

    def _wait(self, error: VideoError, tries: int) -> float | None:
        """Seconds until the next try, or None if there is to be none."""
        with self._changed:
            if error.wait is not None:  # the site means all of us
                self._rest(error.wait, f"the site asks to wait {error.wait:.0f} s")
            if not error.again or tries > self._settings.retries or self.ended:
                return None
            # Not all threads that failed together are to come back together.
            usual = self._settings.retry_wait * 2 ** (tries - 1) * random.uniform(0.8, 1.2)
            return max(usual, self._not_before - time.monotonic())

    def _make(self, uid: str, log: VideoLog) -> str:
        """Make ``<uid>.mp4``; returns how.

        Raises:
            VideoError: it cannot be had
            Stopped: the run was stopped
        """
        settings = self._settings
        folder = self._output / PARTIAL_FOLDER / uid
        folder.mkdir(parents=True, exist_ok=True)
        fetched = fetch(uid, folder, settings, self._cookies, log, self._stop)
        try:
            finished = folder / "finished.mp4"
            transcoder = Transcoder(settings.max_height, settings.max_duration, log, self._stop)
            how = transcoder.convert(fetched.files, finished, fetched.seconds)
            if self._stop.is_set():
                raise Stopped
            finished.replace(self._output / f"{uid}.mp4")
        finally:
            # What could not be converted is fetched anew; what was not fetched wholly is continued.
            shutil.rmtree(folder, ignore_errors=True)
        return how

    def _watch_for_waves(self, event: DownloadEvent, began: float) -> None:
        """Rest when the site blocks one video after the other; after some rests, end the run."""
        if event.outcome in ("done", "gone"):
            self._blocked_in_a_row = 0
        if event.outcome != "blocked" or began < self._wave_ended:
            return  # or it was under way when the last wave was seen
        self._blocked_in_a_row += 1
        if self._blocked_in_a_row < _WAVE:
            return
        self._blocked_in_a_row = 0
        if self._pauses:
            seconds = self._settings.blocked_pause * self._pauses.pop(0)
            self._wave_ended = time.monotonic() + seconds
            self._rest(seconds, f"the site blocked {_WAVE} videos in a row")
        else:
            self.ended = "the site blocks one video after the other"

    def _rest(self, seconds: float, reason: str) -> None:
        """Start no video for a while, or, if that is long, end the run."""
        if seconds > max(_LONGEST_WAIT, _PAUSES[-1] * self._settings.blocked_pause):
            self.ended = self.ended or reason
        elif time.monotonic() + seconds > self._not_before:
            self._not_before = time.monotonic() + seconds
            self._events.put(DownloadEvent("", None, f"{reason}; resting for {seconds:.0f} s"))

    def _disk_is_full(self) -> bool:
        """Whether it is no video's fault that it failed; then the run ends."""
        free = shutil.disk_usage(self._output).free
        if free < _DISK_FULL:
            folder = self._settings.output_dir
            self.ended = f"the disk of {folder} is full ({free / 1e6:.0f} MB left)"
        return free < _DISK_FULL


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
