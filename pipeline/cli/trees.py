"""The commands about trees: ``segment``, ``compare`` and ``show``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from .arguments import UsageError, add_json, command, print_json


def add(commands: Any) -> None:
    """Add the commands to the others."""
    segment = command(
        commands,
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
    add_json(segment)

    compare = command(
        commands,
        "compare",
        _compare,
        "Compare predicted trees with reference trees, video by video.",
    )
    compare.add_argument("reference", type=Path, metavar="REFERENCE.parquet")
    compare.add_argument("prediction", type=Path, metavar="PREDICTION.parquet")
    compare.add_argument("--video", metavar="UID", help="this video only")
    add_json(compare)

    show = command(commands, "show", _show, "Show a tree as text, picture or page.")
    show.add_argument("file", type=Path, metavar="FILE.parquet")
    show.add_argument("--video", metavar="UID", help="default: the file's first video")
    show.add_argument(
        "--format", choices=("md", "png", "html"), help="default: --out's ending, else md"
    )
    show.add_argument(
        "--out", type=Path, metavar="FILE", help="default: standard output (md, html)"
    )


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


def _segment(options: argparse.Namespace) -> int:
    import numpy as np

    from ..parquet import write_trees
    from ..segmentation import cut, ward_dendrogram

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
        print_json(summaries[0] if len(trees) == 1 else {"cuts": summaries})
    return 0


def _compare(options: argparse.Namespace) -> int:
    from ..parquet import read_uids

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
    results = comparisons(options.reference, options.prediction, shared, quiet=options.json)
    if options.json:
        print_json({"videos": results})
    return 0


def comparisons(
    reference: Path, prediction: Path, uids: Sequence[str], quiet: bool
) -> dict[str, Any]:
    """Compare the trees of these videos that both files have; prints the tables unless quiet."""
    from .. import metrics, report
    from ..parquet import read_trees

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
    from .. import report
    from ..parquet import read_trees, read_uids
    from ..store import temporary_sibling

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
