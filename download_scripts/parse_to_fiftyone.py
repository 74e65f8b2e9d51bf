"""Makes a FiftyOne dataset of Action100M's annotations and the videos that are on disk.

Run from the project's root::

    python download_scripts/parse_to_fiftyone.py

Each constant below is also an option of the command; ``--help`` lists them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

#: Folder of the annotations: ``part-*.parquet``, or a folder ``data`` of them; or one such file.
DATASET_PATH = "action100m-preview"
#: Folder of the videos, ``<video_uid>.mp4``.
VIDEOS_DIR = "videos"
#: Name of the FiftyOne dataset.
DATASET_NAME = "action100m"
#: Seconds that were downloaded of each video: labels end there. "auto" = each file's own length.
CLIP_DURATION = 90.0
#: Label fields: "gpt" of the refined texts, "all" of the raw captions too, "none".
LABELS = "gpt"
#: Whether to delete a dataset of that name first. Otherwise it is added to and updated.
OVERWRITE = False


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0 (all done), 1 (some videos failed) or 2 (wrong call)."""
    options = _parser().parse_args(arguments)
    from pipeline.parquet import ParquetError

    try:
        return _parse(options)
    except (ParquetError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Make a FiftyOne dataset of Action100M's annotations and the videos on disk.",
        epilog="Exit status: 0 all done, 1 some videos failed (listed), 2 wrong call.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--dataset-path", type=Path, default=DATASET_PATH, help="parquet file, or folder of them"
    )
    parser.add_argument("--videos-dir", type=Path, default=VIDEOS_DIR, help="folder of the videos")
    parser.add_argument("--dataset-name", default=DATASET_NAME, help="of the FiftyOne dataset")
    parser.add_argument(
        "--clip-duration",
        type=_clip_duration,
        default=CLIP_DURATION,
        metavar="S|auto",
        help="seconds of each video on disk; auto = each file's own length",
    )
    parser.add_argument(
        "--labels",
        choices=("gpt", "all", "none"),
        default=LABELS,
        help="label fields: of the refined texts, of the raw captions too, or none",
    )
    parser.add_argument(
        "--overwrite",
        action=argparse.BooleanOptionalAction,
        default=OVERWRITE,
        help="delete a dataset of that name first, with its runs",
    )
    parser.add_argument("--json", action="store_true", help="print one summary for machines")
    return parser


def _clip_duration(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number above 0 (seconds) nor auto")
    return seconds


def _parse(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from pipeline import dataset as datasets
    from pipeline.parquet import find_parquet, read_trees, read_uids
    from pipeline.video import find_videos

    if not options.videos_dir.is_dir():
        raise ValueError(
            f"there is no folder {options.videos_dir}; fetch videos first with "
            "download_scripts/download_videos.sh, or name their folder with --videos-dir"
        )
    files = find_parquet(options.dataset_path)
    if not files:
        path = options.dataset_path
        raise ValueError(
            f"{path} {'holds no parquet files' if path.is_dir() else 'does not exist'}; fetch the "
            "annotations with `python download_scripts/extract_video_ids.py --download`, "
            "or name another folder"
        )
    on_disk = {path.stem: path for path in find_videos(options.videos_dir)}
    if not on_disk:
        raise ValueError(
            f"the folder {options.videos_dir} holds no videos; "
            "fetch some with download_scripts/download_videos.sh"
        )
    annotated = {uid for file in files for uid in read_uids(file)}
    videos = {uid: path for uid, path in on_disk.items() if uid in annotated}
    failed: dict[str, str] = {}
    if options.overwrite:
        print(f"deleting the dataset {options.dataset_name!r}, if there is one", file=sys.stderr)
    dataset = datasets.open_dataset(options.dataset_name, options.overwrite)
    trees = (
        tree
        for file in files
        for tree in read_trees(file, videos, lambda uid, why: failed.update({uid: f"{uid}: {why}"}))
    )
    progress = tqdm(trees, total=len(videos), unit="video", disable=not sys.stderr.isatty())
    summary = datasets.add_ground_truth(
        dataset, progress, videos, options.clip_duration, options.labels
    )
    failed.update(summary.failed)
    result = {
        "dataset": dataset.name,
        "samples": len(dataset),
        "added": len(summary.added),
        "updated": len(summary.updated),
        "without_annotations": sorted(set(on_disk) - annotated),
        "failed": failed,
    }
    print(
        f"dataset {dataset.name!r}: {len(summary.added)} videos added, "
        f"{len(summary.updated)} updated, {len(failed)} failed, "
        f"{len(result['without_annotations'])} without annotations; {len(dataset)} samples",
        file=sys.stderr,
    )
    for reason in failed.values():
        print(f"failed: {reason}", file=sys.stderr)
    if options.json:
        print(json.dumps(result, ensure_ascii=False, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
