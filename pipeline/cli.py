"""The command line: ``python -m pipeline COMMAND``.

Progress goes to standard error; with ``--json`` standard output is one summary for machines. Exit
status: 0 = all done, 1 = some videos failed or lack texts (listed), 2 = wrong call, 130 = stopped
by Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .presets import STAGES

if TYPE_CHECKING:
    from .runner import Progress, Summary, Video

INTERRUPTED = 130
# While a video's texts come: seconds from one line of progress to the next.
_SECONDS_A_LINE = 30


class UsageError(Exception):
    """A call that cannot be carried out; the message says what to change."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(
        _with_joined_ids(sys.argv[1:] if arguments is None else arguments)
    )
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("stopped; the same command goes on where this one was", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not isinstance(error, _wrong_calls()):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2


def _with_joined_ids(arguments: Sequence[str]) -> list[str]:
    """``--video -abc`` as ``--video=-abc``: an id may begin with "-" and is no option then."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("--video", "--video-uid"):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _wrong_calls() -> tuple[type[Exception], ...]:
    from .chat import ChatError
    from .parquet import ParquetError
    from .presets import PresetError
    from .store import StoreError
    from .tree import InvalidTree

    return UsageError, ChatError, ParquetError, PresetError, StoreError, InvalidTree, OSError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        description="Trees-of-Captions as in Action100M: make, compare and show them.",
        epilog="Exit status: 0 all done, 1 some videos failed or lack texts (listed), "
        "2 wrong call.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], summary: str) -> Any:
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(run=run)
        return added

    annotate = command(
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
    _add_run(annotate)
    annotate.add_argument(
        "--stages",
        default=",".join(STAGES),
        metavar="S,...",
        help="run only these (default: %(default)s); earlier results in DIR are taken as they are",
    )
    annotate.add_argument(
        "--workers",
        type=_positive_int,
        metavar="N",
        help="videos worked on side by side (default: as suits each stage: one for each GPU, one "
        "for a model that fills the CPU's cores by itself, else one for each core)",
    )
    annotate.add_argument("--with-parent", action="store_true", help=argparse.SUPPRESS)
    _add_json(annotate)

    refine = command(
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
    _add_run(refine)
    refine.add_argument(
        "--workers",
        type=_positive_int,
        metavar="N",
        help="videos worked on side by side (default: as suits the model)",
    )
    _add_json(refine)

    listed = command(
        "presets", _presets, "List the presets, and what this machine can run now and why not."
    )
    listed.add_argument("names", nargs="*", metavar="NAME", help="default: all; or a YAML file")
    _add_json(listed)

    serve = command(
        "serve",
        _serve,
        "Start vLLM's own server with the flags that a role of a preset needs, and say how to "
        "point to it; a key in VLLM_API_KEY is asked of clients.",
    )
    _add_preset(serve)
    serve.add_argument("--role", required=True, choices=("caption", "refine"))
    serve.add_argument(
        "--host", default="127.0.0.1", help="default: %(default)s, this machine only"
    )
    serve.add_argument("--port", type=_positive_int, default=8000, help="default: %(default)s")

    segment = command(
        "segment",
        _segment,
        "Cut given embeddings, one row per sampled frame (raw frames 0, 4, 8, ...), into a tree.",
    )
    segment.add_argument("embeddings", type=Path, metavar="FILE.npy", help="(T, D) floats")
    segment.add_argument(
        "--fps", required=True, type=_fps, metavar="F", help="raw frames a second: 25 or 30000/1001"
    )
    segment.add_argument(
        "--video-uid", metavar="U", help="default: the file's stem; ids of nodes are made of it"
    )
    segment.add_argument(
        "--min-duration",
        type=_seconds,
        default="0.5",
        metavar="S,...",
        help="seconds that both children of a split have to last (default: %(default)s); "
        "with several, each cut goes into a file of its own: FILE-0.5.parquet, FILE-2.parquet, ...",
    )
    segment.add_argument("--out", required=True, type=Path, metavar="FILE.parquet")
    _add_json(segment)

    compare = command(
        "compare", _compare, "Compare predicted trees with reference trees, video by video."
    )
    compare.add_argument("reference", type=Path, metavar="REFERENCE.parquet")
    compare.add_argument("prediction", type=Path, metavar="PREDICTION.parquet")
    compare.add_argument("--video", metavar="UID", help="this video only")
    _add_json(compare)

    show = command("show", _show, "Show a tree as text, picture or page.")
    show.add_argument("file", type=Path, metavar="FILE.parquet")
    show.add_argument("--video", metavar="UID", help="default: the file's first video")
    show.add_argument(
        "--format", choices=("md", "png", "html"), help="default: --out's ending, else md"
    )
    show.add_argument(
        "--out", type=Path, metavar="FILE", help="default: standard output (md, html)"
    )

    demo = command(
        "demo",
        _demo,
        "Make the sample kit, a dataset of it and a run, and open FiftyOne's App on them.",
    )
    demo.add_argument("--headless", action="store_true", help="check that the App answers, and end")
    demo.add_argument("--port", type=int, default=5151, help="the App's (default: %(default)s)")
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    """What every command that makes a run takes."""
    _add_preset(parser)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="the run's folder; made if missing"
    )
    parser.add_argument(
        "--progress",
        choices=("auto", "bar", "lines", "json", "none"),
        default="auto",
        help="on standard error: a bar on a terminal, else lines (auto); json is for programs",
    )


def _add_preset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset",
        required=True,
        metavar="NAME",
        help="which models: a preset's name, or a YAML file of your own",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="ROLE.OPTION=VALUE",
        help="change the preset, for example refine.model=NAME or caption.frames=16; "
        "may be repeated; ROLE.backend=... starts a role anew",
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one summary for machines")


def _positive_int(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def _fps(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no frame rate; write 25, 29.97 or 30000/1001"
        )
    return rate


def _seconds(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not in seconds; write 0.5 or 0.5,2"
        ) from None


def _print_json(value: Mapping[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1))


# -- annotate ----------------------------------------------------------------------------------


def _annotate(options: argparse.Namespace) -> int:
    from . import presets, runner
    from .store import RunStore

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
    with _Reporter(options.progress) as report:
        summary = runner.annotate(videos, preset, store, stages, options.workers, report)
    _print_annotated(summary)
    if options.json:
        _print_json(summary.to_dict())
    return _exit_status(summary)


def _stop_with_parent() -> None:
    """Stop when standard input ends: its other end is the process that wants the result."""
    # Not through sys.stdin: a thread that holds its lock makes Python abort at the end.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _videos(paths: Sequence[Path], listed: Path | None, metadata: Path | None) -> list[Video]:
    """The videos of a call, each with its uid and metadata; UsageError for what cannot be meant."""
    from .parquet import read_metadata
    from .runner import Video
    from .store import folder_name
    from .video import find_videos

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


class _Reporter:
    """Shows a run's progress on standard error."""

    def __init__(self, style: str):
        if style == "auto":
            style = "bar" if sys.stderr.isatty() else "lines"
        self.style = style
        self._bar: Any = None
        self._stage = ""
        self._last, self._printed = ("", 0), 0.0

    def __enter__(self) -> _Reporter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: Progress) -> None:
        if self.style == "json":
            print(json.dumps(vars(progress)), file=sys.stderr, flush=True)
        elif self.style == "lines":
            self._print_line(progress)
        elif self.style == "bar":
            self._update_bar(progress)

    def _print_line(self, progress: Progress) -> None:
        key = progress.stage, progress.done
        if key == self._last and progress.elapsed - self._printed < _SECONDS_A_LINE:
            return
        self._last, self._printed = key, progress.elapsed
        rate = progress.done / progress.elapsed if progress.elapsed else 0
        left = "" if progress.remaining is None else f", {progress.remaining:.0f} s left"
        video = f" ({progress.video})" if progress.video else ""
        print(
            f"{progress.stage}: {progress.done} of {progress.total} videos, "
            f"{progress.failed} failed, {rate:.2g} a second{_texts(progress)}{left}{video}",
            file=sys.stderr,
            flush=True,
        )

    def _update_bar(self, progress: Progress) -> None:
        from tqdm import tqdm

        if progress.stage != self._stage:
            if self._bar is not None:
                self._bar.close()
            self._stage = progress.stage
            self._bar = tqdm(
                total=progress.total, desc=f"{progress.stage:8}", unit="video", file=sys.stderr
            )
        failed = f"{progress.failed} failed" if progress.failed else ""
        self._bar.set_postfix_str(failed + _texts(progress), refresh=False)
        self._bar.update(progress.done - self._bar.n)
        self._bar.refresh()


def _texts(progress: Progress) -> str:
    if not progress.texts:
        return ""
    return f", {progress.texts} texts ({progress.texts / max(progress.elapsed, 0.1):.2g} a second)"


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


def _refine(options: argparse.Namespace) -> int:
    from . import presets, runner
    from .parquet import read_uids
    from .store import RunStore

    preset = presets.load(options.preset, options.set)
    there = read_uids(options.file)
    uids = options.video or there
    if unknown := sorted(set(uids) - set(there)):
        raise UsageError(f"{options.file} has no video {', '.join(unknown)}")
    if not uids:
        raise UsageError(f"{options.file} holds no videos")
    store = RunStore(options.out)
    with _Reporter(options.progress) as report:
        summary = runner.refine(options.file, preset, store, uids, options.workers, report)
    results: dict[str, Any] = {}
    for part in summary.parts:
        results |= _comparisons(options.file, Path(part), summary.done, quiet=options.json)
    _print_annotated(summary)
    if options.json:
        _print_json({**summary.to_dict(), "videos": results})
    return _exit_status(summary)


def _serve(options: argparse.Namespace) -> int:
    from . import captioning, presets, refinement
    from .chat import vllm

    preset = presets.load(options.preset, options.set)
    config = getattr(preset, options.role)
    if config["backend"] != "vllm":
        raise UsageError(
            f"{options.role} of the preset {preset.name} is filled by the backend "
            f"{config['backend']}; serve starts vLLM, for example with --preset single-gpu"
        )
    stage = captioning if options.role == "caption" else refinement
    asked = {k: v for k, v in config.items() if k not in stage.OPTIONS}
    # Loading it checks the options of the stage too.
    stage.load(config)
    pictures = config.get("frames", captioning.OPTIONS["frames"])
    pictures = pictures if options.role == "caption" else 0
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    status = vllm.serve(options.role, asked, options.host, options.port, pictures, say)
    if status:
        raise UsageError(f"vLLM ended with status {status}; its last words are above")
    return 0


def _presets(options: argparse.Namespace) -> int:
    from . import presets, runner

    # Its retries are no news: what cannot be had is listed.
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    listed = []
    for name in options.names or presets.names():
        preset = presets.load(name)
        reasons = (runner.obstacle(preset, what) for what in ("gpu", *STAGES))
        obstacles = [reason for reason in reasons if reason]
        listed.append(preset.to_dict() | {"runs_here": not obstacles, "obstacles": obstacles})
        if options.json:
            continue
        print(f"{preset.name}: {preset.description}")
        for role in STAGES:
            if "backend" in (config := getattr(preset, role)):
                print(f"  {role:8} {_filler(config)}")
        if preset.gpu_memory:
            print(f"  {'needs':8} a GPU with {preset.gpu_memory:g} GiB")
        if preset.tried:
            print(f"  {'tried':8} {preset.tried}")
        print(f"  {'here':8} {'runs' if not obstacles else 'does not run now:'}")
        for obstacle in obstacles:
            print(f"           - {obstacle}")
        print()
    if options.json:
        _print_json({"presets": listed})
    return 0


def _filler(config: Mapping[str, Any]) -> str:
    """What fills a role, in a few words."""
    words = f"{config['model']} ({config['backend']})" if "model" in config else config["backend"]
    return f"{words}; leaves: {_filler(leaf)}" if (leaf := config.get("leaf")) else words


# -- segment, compare, show --------------------------------------------------------------------


def _segment(options: argparse.Namespace) -> int:
    import numpy as np

    from .parquet import write_trees
    from .segmentation import cut, ward_dendrogram

    uid = options.video_uid or options.embeddings.stem
    try:
        embeddings = np.load(options.embeddings, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UsageError(
            f"{options.embeddings} is not a readable .npy file; "
            "save the (T, D) embeddings with numpy.save"
        ) from error
    if not isinstance(embeddings, np.ndarray):
        raise UsageError(f"{options.embeddings} holds several arrays; save one with numpy.save")
    try:
        merges = ward_dendrogram(embeddings)
        trees = [
            cut(merges, options.fps, uid, min_duration=seconds) for seconds in options.min_duration
        ]
    except ValueError as error:
        raise UsageError(f"{options.embeddings}: {error}") from error
    summaries = []
    for seconds, tree in zip(options.min_duration, trees, strict=True):
        several = len(trees) > 1
        out = options.out.with_stem(f"{options.out.stem}-{seconds:g}") if several else options.out
        write_trees(out, [tree])
        print(
            f"{out}: {len(tree)} segments, {len(tree.leaves())} leaves, depth {tree.depth}, "
            f"{tree.duration} s",
            file=sys.stderr,
        )
        summaries.append(
            {
                "video_uid": uid,
                "out": str(out),
                "min_duration": seconds,
                "nodes": len(tree),
                "leaves": len(tree.leaves()),
                "depth": tree.depth,
                "duration": tree.duration,
            }
        )
    if options.json:
        _print_json(summaries[0] if len(trees) == 1 else {"cuts": summaries})
    return 0


def _compare(options: argparse.Namespace) -> int:
    from .parquet import read_uids

    wanted = None if options.video is None else [options.video]
    reference_uids = set(read_uids(options.reference))
    shared = [
        uid
        for uid in read_uids(options.prediction)
        if uid in reference_uids and wanted in (None, [uid])
    ]
    if not shared:
        raise UsageError(
            f"{options.reference} and {options.prediction} have no video "
            f"{options.video or ''} in common".replace("  ", " ")
        )
    results = _comparisons(options.reference, options.prediction, shared, quiet=options.json)
    if options.json:
        _print_json({"videos": results})
    return 0


def _comparisons(
    reference: Path, prediction: Path, uids: Sequence[str], quiet: bool
) -> dict[str, Any]:
    """Compare the trees of these videos that both files have; prints the tables unless quiet."""
    from . import metrics, report
    from .parquet import read_trees

    results = {}
    # Only the predictions are held: references stream past them.
    predictions = {tree.video_uid: tree for tree in read_trees(prediction, uids)}
    for tree in read_trees(reference, list(predictions)):
        comparison = metrics.compare(tree, predictions[tree.video_uid])
        results[tree.video_uid] = comparison.to_dict()
        if not quiet:
            print(report.comparison_text(comparison))
            print()
    return results


def _show(options: argparse.Namespace) -> int:
    from . import report
    from .parquet import read_trees, read_uids
    from .store import temporary_sibling

    uids = read_uids(options.file)
    if not uids:
        raise UsageError(f"{options.file} holds no videos")
    uid = options.video or uids[0]
    if uid not in uids:
        some = ", ".join(uids[:5]) + (", ..." if len(uids) > 5 else "")
        raise UsageError(f"{options.file} has no video {uid!r}; it has {some}")
    tree = next(read_trees(options.file, [uid]))
    form = options.format or (options.out.suffix.removeprefix(".") if options.out else "md")
    if form == "png":
        if options.out is None:
            raise UsageError("a picture needs a file: add --out FILE.png")
        report.tree_png(tree, options.out)
    elif form in ("md", "html"):
        text = report.tree_markdown(tree) if form == "md" else report.tree_html(tree)
        if options.out is None:
            print(text)
        else:
            with temporary_sibling(options.out) as temporary:
                temporary.write_text(text, encoding="utf-8")
    else:
        raise UsageError(f"unknown format {form!r} of {options.out}; use md, png or html")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from .demo import run

    return run(headless=options.headless, port=options.port)
