"""Makes a FiftyOne dataset of Action100M's annotations and the videos that are on disk.

Run from the project's root::

    python download_scripts/parse_to_fiftyone.py

The annotations are read from parquet files on disk or, where there are none, straight from the
Hugging Face hub: of those of the videos on disk, so that little is downloaded. Each constant below
is also an option of the command; ``--help`` lists them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

if TYPE_CHECKING:
    from pipeline.parquet import Part

#: Folder of the annotations: ``part-*.parquet``, or a folder ``data`` of them; or one such file.
DATASET_PATH = "action100m-preview"
#: Where the annotations are read from if that folder has none: a dataset on the hub, and its
#: branch, tag or commit (None: its main branch).
REPO = "facebook/action100m-preview"
REVISION = None
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
    try:
        return _parse(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the command again to go on", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Make a FiftyOne dataset of Action100M's annotations and the videos on disk.",
        epilog="Environment: HF_ENDPOINT (another hub), HF_TOKEN (for private repositories). "
        "Exit status: 0 all done, 1 some videos or files failed (listed), 2 wrong call.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--dataset-path", type=Path, default=DATASET_PATH, help="parquet file, or folder of them"
    )
    parser.add_argument(
        "--repo", default=REPO, help="dataset on the hub to read where there are no such files"
    )
    parser.add_argument("--revision", default=REVISION, help="branch, tag or commit of --repo")
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
    from pipeline import dataset as datasets
    from pipeline.progress import show_progress
    from pipeline.video import find_videos

    if not options.videos_dir.is_dir():
        raise ValueError(
            f"there is no folder {options.videos_dir}; fetch videos first with "
            "download_scripts/download_videos.sh, or name their folder with --videos-dir"
        )
    videos = {path.stem: path for path in find_videos(options.videos_dir)}
    if not videos:
        raise ValueError(
            f"the folder {options.videos_dir} holds no videos; "
            "fetch some with download_scripts/download_videos.sh"
        )
    source, parts = _source(options)

    def on_error(reason: str) -> None:
        print(f"error: {reason}", file=sys.stderr)

    # The first row is there before anything is deleted.
    found = datasets.Annotations(parts, videos, source, str(options.videos_dir), on_error)
    _announce(options.dataset_name, options.overwrite)
    dataset = datasets.open_dataset(options.dataset_name, options.overwrite)
    with show_progress(len(videos), "videos") as advance:
        summary = found.load_into(dataset, options.clip_duration, options.labels, advance)
        advance(len(found.missing))
    missing, unread = found.missing, found.unread
    result = {
        "dataset": dataset.name,
        "source": source,
        "samples": len(dataset),
        "added": len(summary.added),
        "updated": len(summary.updated),
        "without_annotations": sorted(missing),
        "failed": summary.failed,
        "unread_files": unread,
    }
    print(
        f"dataset {dataset.name!r} from {source}: {len(summary.added)} videos added, "
        f"{len(summary.updated)} updated, {len(summary.failed)} failed, "
        f"{len(missing)} without annotations, {len(unread)} files not read; "
        f"{len(dataset)} samples",
        file=sys.stderr,
    )
    for uid, reason in summary.failed.items():
        print(f"failed: {uid}: {reason}", file=sys.stderr)
    if options.json:
        print(json.dumps(result, ensure_ascii=False, indent=1))
    return 1 if summary.failed or unread else 0


def _source(options: argparse.Namespace) -> tuple[str, list[Part]]:
    """Where the annotations are, in words, and their files: on disk, or else on the hub."""
    from pipeline import hub
    from pipeline.parquet import find_parquet, part_on_disk

    path = options.dataset_path
    if files := find_parquet(path):
        return str(path), [part_on_disk(file) for file in files]
    if path.suffix == ".parquet":
        raise ValueError(f"{path}: no such file; check the path")
    hub.check_name(options.repo)
    source = f"{options.repo} on the hub"
    print(
        f"{path} has no parquet files; reading the annotations of the videos in "
        f"{options.videos_dir} from {source}",
        file=sys.stderr,
    )
    try:
        return source, hub.parts(hub.list_files(options.repo, options.revision))
    except hub.HubError as error:
        raise ValueError(
            f"{path} has no annotations, and {error}; fetch them with "
            "`python download_scripts/extract_video_ids.py --download`, or name another folder"
        ) from error


def _announce(name: str, overwrite: bool) -> None:
    """Say what becomes of a dataset that is there, before anything does."""
    from pipeline.dataset import describe_dataset

    if (content := describe_dataset(name)) is None:
        return
    if overwrite:
        print(f"deleting the dataset {name!r} with its {content}", file=sys.stderr)
    else:
        print(
            f"adding to the dataset {name!r} of {content}: annotations of its videos are brought "
            "up to date, all else stays (--overwrite makes it anew)",
            file=sys.stderr,
        )


if __name__ == "__main__":
    sys.exit(main())
