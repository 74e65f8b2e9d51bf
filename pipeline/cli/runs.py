"""The commands that make a run: ``annotate`` and ``refine``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..presets import STAGES
from .arguments import UsageError, add_json, add_run, command, positive_int, print_json
from .reporter import Reporter
from .trees import comparisons

if TYPE_CHECKING:
    from ..runner import Summary, Video


def add(commands: Any) -> None:
    """Add the commands to the others."""
    annotate = command(
        commands,
        "annotate",
        _annotate,
        "Embed, segment, caption and refine videos; write DIR/part-*.parquet. "
        "A run that was stopped goes on where it was.",
    )
    annotate.add_argument(
        "videos",
        nargs="*",
        metavar="VIDEO",
        type=Path,
        help="a video's file, or a folder of videos; the file's stem becomes the video's uid",
    )
    annotate.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help='more videos, one JSON line each: {"path": ..., "uid": ...}; uid may be left out',
    )
    annotate.add_argument(
        "--metadata",
        type=Path,
        metavar="FILE",
        help="Action100M parquet whose title, description and transcript help to refine",
    )
    add_run(annotate)
    annotate.add_argument(
        "--stages",
        default=",".join(STAGES),
        metavar="S,...",
        help="run only these (default: %(default)s); earlier results in DIR are taken as they are",
    )
    annotate.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="videos worked on side by side (default: as suits each stage: one for each GPU, one "
        "for a model that fills the CPU's cores by itself, else one for each core)",
    )
    annotate.add_argument("--with-parent", action="store_true", help=argparse.SUPPRESS)
    add_json(annotate)

    refine = command(
        commands,
        "refine",
        _refine,
        "Refine the captions that trees have already with another model, write the trees to "
        "DIR/part-*.parquet and compare their annotations with those of FILE: how good a model and "
        "its prompts are.",
    )
    refine.add_argument("file", type=Path, metavar="FILE.parquet")
    refine.add_argument(
        "--video", action="append", metavar="UID", help="this video; may be repeated (default: all)"
    )
    add_run(refine)
    refine.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="videos worked on side by side (default: as suits the model)",
    )
    add_json(refine)


def _annotate(options: argparse.Namespace) -> int:
    from .. import presets, runner
    from ..store import RunStore

    if options.with_parent:
        threading.Thread(target=_stop_with_parent, daemon=True).start()
    stages = tuple(filter(None, options.stages.split(",")))
    unknown = sorted(set(stages) - set(STAGES))
    if unknown or not stages:
        raise UsageError(
            f"unknown stage(s) {', '.join(unknown) or 'none given'}; known are {', '.join(STAGES)}"
        )
    preset = presets.load(options.preset, options.set)
    videos = _videos(options.videos, options.list, options.metadata)
    store = RunStore(options.out)
    with Reporter(options.progress) as report:
        summary = runner.annotate(videos, preset, store, stages, options.workers, report)
    _print_annotated(summary)
    if options.json:
        print_json(summary.to_dict())
    return _exit_status(summary)


def _stop_with_parent() -> None:
    """Stop when standard input ends: its other end is the process that wants the result."""
    # Not through sys.stdin: a thread that holds its lock makes Python abort at the end.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _videos(paths: Sequence[Path], listed: Path | None, metadata: Path | None) -> list[Video]:
    """The videos of a call, each with its uid and metadata; UsageError for what cannot be meant."""
    from ..parquet import read_metadata
    from ..runner import Video
    from ..store import folder_name
    from ..video import find_videos

    by_uid: dict[str, Path] = {}

    def add(uid: str, path: Path) -> None:
        if by_uid.setdefault(uid, path) != path:
            raise UsageError(
                f"{by_uid[uid]} and {path} are both video {uid!r}; "
                "rename one, or give it another uid with --list"
            )
        try:
            folder_name(uid)
        except ValueError as error:
            raise UsageError(f"{path}: {error}") from error

    for path in paths:
        found = find_videos(path)
        if not found:
            raise UsageError(f"the folder {path} holds no videos; name another folder or files")
        for video in found:
            add(video.stem, video.absolute())
    for uid, path in _listed(listed):
        add(uid, path)
    if not by_uid:
        raise UsageError("no videos; name files or folders, or a --list")
    known = read_metadata(metadata, by_uid) if metadata else {}
    return [Video(uid, path, known.get(uid)) for uid, path in by_uid.items()]


def _listed(path: Path | None) -> list[tuple[str, Path]]:
    if path is None:
        return []
    videos = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            video = (path.absolute().parent / entry["path"]).absolute()
            videos.append((str(entry.get("uid") or video.stem), video))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise UsageError(
                f'{path}, line {number}: expected {{"path": ..., "uid": ...}}'
            ) from None
    return videos


def _refine(options: argparse.Namespace) -> int:
    from .. import presets, runner
    from ..parquet import read_uids
    from ..store import RunStore

    preset = presets.load(options.preset, options.set)
    there = read_uids(options.file)
    uids = options.video or there
    if unknown := sorted(set(uids) - set(there)):
        raise UsageError(f"{options.file} has no video {', '.join(unknown)}")
    if not uids:
        raise UsageError(f"{options.file} holds no videos")
    store = RunStore(options.out)
    with Reporter(options.progress) as report:
        summary = runner.refine(options.file, preset, store, uids, options.workers, report)
    results: dict[str, Any] = {}
    for part in summary.parts:
        results |= comparisons(options.file, Path(part), summary.done, quiet=options.json)
    _print_annotated(summary)
    if options.json:
        print_json({**summary.to_dict(), "videos": results})
    return _exit_status(summary)


def _print_annotated(summary: Summary) -> None:
    """The last lines of a run: what was done, what failed and why, where it is."""
    say = lambda text: print(text, file=sys.stderr)  # noqa: E731
    spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in summary.seconds.items())
    say(
        f"{len(summary.done)} videos done ({len(summary.reused)} of them before), "
        f"{len(summary.failed)} failed, {summary.nodes} segments; {spent}"
    )
    for stage, videos in summary.costs.items():
        cost = sum((Counter(each) for each in videos.values()), Counter[str]())
        cached = cost["cached_tokens"] / max(1, cost["prompt_tokens"])
        tokens = cost["prompt_tokens"] + cost["completion_tokens"]
        say(
            f"{stage} has cost {cost['requests']} requests, {cost['prompt_tokens']} prompt tokens "
            f"({cached:.0%} of them cached) and {cost['completion_tokens']} tokens of answers: "
            f"{cost['requests'] / len(videos):.1f} requests, {tokens / len(videos):.0f} tokens a "
            "video"
        )
    doubts = sum((Counter(each) for each in summary.doubts.values()), Counter[str]())
    if doubts:
        say(
            f"{doubts['rules']} annotations break a rule that can be checked, "
            f"{doubts['rounds']} are of an earlier round since a later one failed"
        )
    for uid, stages in summary.unfilled.items():
        for stage, unfilled in stages.items():
            say(f"{uid}: {unfilled.texts} texts of {stage} are missing: {unfilled.reason}")
    for (stage, reason), uids in _by_reason(summary.failed).items():
        more = f" ({len(uids)} videos: {', '.join(uids[:5])}{', ...' * (len(uids) > 5)})"
        say(f"failed in {stage}: {reason}{more * (len(uids) > 1)}")
    for part in summary.parts:
        say(part)


def _by_reason(failed: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, str], list[str]]:
    """Uids by (stage, reason): a server that is gone fails all videos with one sentence."""
    result: dict[tuple[str, str], list[str]] = {}
    for uid, failure in failed.items():
        result.setdefault((failure["stage"], failure["reason"]), []).append(uid)
    return result


def _exit_status(summary: Summary) -> int:
    return 1 if summary.failed or summary.unfilled else 0
