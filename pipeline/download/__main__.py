"""The command behind ``download_scripts/download_videos.sh``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .history import open_history
from .run import LOG_FOLDER, DownloadEvent, DownloadSummary, download_videos
from .settings import (
    YOUTUBE,
    DownloadError,
    DownloadSettings,
    js_runtimes,
    read_id_list,
    variables,
)

# So many reasons are shown in the summary; the rest are in the history.
_SHOWN = 5

_ADVICE = (
    "advice: log in to the site with a browser and give its cookies (COOKIES=cookies.txt, or "
    "COOKIES_FROM=firefox), use fewer JOBS, wait an hour; what was blocked is tried again by the "
    "next run"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
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
        if options.status:
            return _status(settings, options.json)
        ids = read_id_list(os.environ.get("VIDEO_IDS") or "video_ids.txt")
        if settings.url_template == YOUTUBE and not js_runtimes(settings.js_runtime):
            _say(
                "warning: no JavaScript runtime found, so YouTube will refuse many videos; "
                "install Deno or Node 20 or newer"
            )
        with _progress(len(ids), settings) as report:
            summary = download_videos(ids, settings, report, stop)
    except DownloadError as error:
        _say(f"error: {error}")
        return 2
    _tell(summary, settings)
    if options.json:
        print(json.dumps(_plain(summary, settings)))
    if signals:
        # Not sys.exit: it would wait for what hangs in the network.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(128 + signals[0])
    bad = summary.gone or summary.blocked or summary.failed or summary.ended
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    table = variables()
    width = max(len(name) for name, _, _ in table)
    parser = argparse.ArgumentParser(
        prog="download_scripts/download_videos.sh",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Download the listed videos and bring them to one form. "
        "What is on disk stays;\nrun it again to go on.",
        epilog="environment variables (default in brackets):\n"
        + "\n".join(f"  {n:{width}}  {text} [{default}]" for n, default, text in table)
        + "\n\nexit status: 0 done, 1 some videos could not be had, 2 wrong call, "
        "130 or 143 stopped",
    )
    parser.add_argument(
        "--status",
        action="store_true",
        help="download nothing; list what earlier runs could not get (id, outcome, tries, reason)",
    )
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")
    return parser


def _status(settings: DownloadSettings, as_json: bool) -> int:
    """Print what the history holds of videos that are not there."""
    folder = settings.output_dir
    if not folder.is_dir():
        raise DownloadError(f"there is no folder {folder}; name the videos' folder in OUTPUT_DIR")
    with open_history(folder) as history:
        missing = [
            record
            for record in history.records().values()
            if record.outcome != "done" and not (folder / f"{record.video_uid}.mp4").is_file()
        ]
    missing.sort(key=lambda record: (record.outcome, record.reason, record.video_uid))
    on_disk = len(list(folder.glob("*.mp4")))
    if as_json:
        rows = [record._asdict() for record in missing]
        print(json.dumps({"on_disk": on_disk, "missing": rows}))
    else:
        for record in missing:
            print(record.video_uid, record.outcome, record.tries, record.reason, sep="\t")
    counts = Counter(record.outcome for record in missing)
    found = ", ".join(f"{counts[name]} {name}" for name in ("gone", "blocked", "failed"))
    _say(f"{on_disk} videos in {folder}; {found}")
    return 0


@contextmanager
def _progress(total: int, settings: DownloadSettings) -> Iterator[Callable[[DownloadEvent], None]]:
    """A bar on a terminal; in a log, a line per video with the rate and the time left.

    With MAX_VIDEOS the videos on disk are counted, else the ones that are settled.
    """
    from tqdm import tqdm

    total = min(total, settings.max_videos or total)
    counts: Counter[str] = Counter()
    on_terminal = sys.stderr.isatty()
    began = time.monotonic()
    with tqdm(total=total, unit="video", disable=not on_terminal) as bar:

        def report(event: DownloadEvent) -> None:
            if event.outcome is None:
                tqdm.write(event.reason, file=sys.stderr)
                return
            counts[event.outcome] += 1
            fetched = event.outcome == "done"
            step = settings.max_videos is None or event.outcome in ("there", "done")
            if event.outcome in ("there", "skipped"):
                if on_terminal:
                    bar.initial += step  # keeps what took no time out of the rate
            elif not on_terminal:
                done = counts["there"] + counts["done"]
                settled = counts.total() if settings.max_videos is None else done
                new = counts.total() - counts["there"] - counts["skipped"]
                if settings.max_videos is not None:
                    new = counts["done"]
                left = (time.monotonic() - began) / new * (total - settled) if new else None
                line = _line(event)
                _say(f"[{settled}/{total}{f', {_duration(left)} left' if left else ''}] {line}")
            elif not fetched:
                tqdm.write(_line(event), file=sys.stderr)
            if on_terminal:
                bar.set_postfix(
                    {n: counts[n] for n in ("done", "gone", "blocked", "failed")}, refresh=False
                )
                bar.update(step)

        yield report


def _line(event: DownloadEvent) -> str:
    tries = f" after {event.tries} tries" if event.tries > 1 else ""
    return f"{event.video_uid}: {event.outcome}{tries}, {event.reason} ({event.seconds:.1f} s)"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def _tell(summary: DownloadSummary, settings: DownloadSettings) -> None:
    """Print the summary, the commonest reasons, and what a person can do about them."""
    on_disk = len(summary.there) + len(summary.done)
    rate = f", {60 * len(summary.done) / summary.seconds:.1f} a minute" if summary.done else ""
    ended = f"ended, {summary.ended}: " if summary.ended else ""
    _say(
        f"{'stopped: ' if summary.stopped else ended}{on_disk} of the listed videos in "
        f"{settings.output_dir} ({len(summary.done)} new), "
        f"{len(summary.gone)} gone, {len(summary.blocked)} blocked, {len(summary.failed)} failed, "
        f"{summary.not_tried} not tried, {_duration(summary.seconds)}{rate}"
    )
    reasons = Counter(
        f"{name}: {reason}"
        for name in ("gone", "blocked", "failed")
        for reason in getattr(summary, name).values()
    )
    for reason, count in reasons.most_common(_SHOWN):
        _say(f"  {count} x {reason}")
    if len(reasons) > _SHOWN:
        _say("  ... and others")
    if reasons:
        _say(
            f"all of them: download_videos.sh --status; what happened: "
            f"{settings.output_dir / LOG_FOLDER}/<id>.log"
        )
    if summary.skipped:
        _say(
            f"{len(summary.skipped)} that earlier runs found gone or gave up were skipped; "
            "RETRY_FAILED=1 tries them again"
        )
    if summary.other_form:
        _say(
            f"{summary.other_form} on disk were made with another MAX_HEIGHT or MAX_DURATION and "
            "stay so; delete them to fetch them anew"
        )
    if summary.blocked:
        _say(_ADVICE)


def _plain(summary: DownloadSummary, settings: DownloadSettings) -> dict[str, Any]:
    return {
        "output_dir": str(settings.output_dir),
        "on_disk": len(summary.there) + len(summary.done),
        "there": len(summary.there),
        "done": summary.done,
        "gone": summary.gone,
        "blocked": summary.blocked,
        "failed": summary.failed,
        "skipped": summary.skipped,
        "other_form": summary.other_form,
        "not_tried": summary.not_tried,
        "ended": summary.ended,
        "stopped": summary.stopped,
        "seconds": summary.seconds,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
