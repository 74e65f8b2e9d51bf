"""50 videos into FiftyOne, out of 2,000 and of 20,000 annotated ones; 1 = parse_to_fiftyone.py.

Beside it what a user would write: ``datasets.load_dataset("parquet")``, ``filter``, one
``add_samples`` of the same fields and labels; and the same with a filter that is told to look at
the id alone. Each way runs in a process of its own, whose peak of resident memory is what is shown;
importing the packages is not timed. The rows are as large as real ones (see ``synthetic.py``), with
ids in no order. How the authors cut their files is not known: assumed are row groups as the
``datasets`` library makes them, 100 MB uncompressed or 280 rows, in files of 1,400 rows.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .synthetic import write_parts
from .timing import Row

_ROWS_PER_GROUP = 280
_ROWS_PER_FILE = 1400
_CLIP_SECONDS = 90
_REPOSITORY = Path(__file__).parent.parent


def run(sizes: Sequence[int] = (2_000, 20_000), wanted: int = 50) -> list[Row]:
    """Measure each way on each size.

    Args:
        sizes: annotated videos
        wanted: of them, videos on disk
    """
    os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "true")
    ways = list(WAYS)
    if importlib.util.find_spec("datasets") is None:
        print("the package datasets is missing (`make bench` installs it)", file=sys.stderr)
        ways = ways[:1]
    import fiftyone as fo

    fo.list_datasets()  # starts the database, which the children then join
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-parse-") as folder:
        clip = _make_clip(Path(folder) / "clip.mp4")
        for size in sizes:
            files, videos = Path(folder) / f"{size}", Path(folder) / f"{size}-videos"
            uids = write_parts(files, size, _ROWS_PER_FILE, _ROWS_PER_GROUP)
            videos.mkdir()
            for uid in np.random.default_rng(0).choice(uids, wanted, replace=False):
                (videos / f"{uid}.mp4").symlink_to(clip)
            first = None
            for way in ways:
                result = _measure(way, files, videos, wanted)
                first = first or result["seconds"]
                more = {"peak MB": result["peak"]}
                rows.append(
                    Row(f"{size} rows: {way}", result["seconds"], result["seconds"] / first, more)
                )
                print(rows[-1], file=sys.stderr)
            for path in files.iterdir():
                path.unlink()  # 3.4 GB
    return rows


def _make_clip(path: Path) -> Path:
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=s=160x120:r=30"]
    subprocess.run([*command, "-t", str(_CLIP_SECONDS), "-pix_fmt", "yuv420p", path], check=True)
    return path


def _measure(way: str, files: Path, videos: Path, wanted: int) -> dict[str, float]:
    """Run a way in a child process; returns its seconds and its peak in MB."""
    import fiftyone as fo

    name = f"bench-parse-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="bench-parse-cache-") as cache:
        command = [sys.executable, "-m", __name__, way, str(files), str(videos), name, cache]
        variables = {"HF_HOME": cache, "HF_DATASETS_CACHE": cache, "HF_HUB_OFFLINE": "1"}
        try:
            done = subprocess.run(
                command,
                cwd=_REPOSITORY,
                env={**os.environ, **variables},
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise RuntimeError(f"{way} failed:\n{done.stderr[-2000:]}")
            made = fo.load_dataset(name)
            assert len(made) == wanted, f"{way} made {len(made)} samples"
            assert len(made.exists("gpt_action_brief")) == wanted
        finally:
            if fo.dataset_exists(name):
                fo.delete_dataset(name)
    return json.loads(done.stdout.splitlines()[-1])


# -- the ways, in the child ----------------------------------------------------------------------


def _script(files: Path, videos: Path, name: str, cache: str) -> None:
    from download_scripts import parse_to_fiftyone

    status = parse_to_fiftyone.main(
        [
            *("--dataset-path", str(files), "--videos-dir", str(videos)),
            *("--dataset-name", name, "--clip-duration", str(_CLIP_SECONDS)),
        ]
    )
    assert status == 0


def _straightforward(files: Path, videos: Path, name: str, cache: str) -> None:
    _load_and_filter(files, videos, name, cache, lambda row, ids: row["video_uid"] in ids, None)


def _on_one_column(files: Path, videos: Path, name: str, cache: str) -> None:
    _load_and_filter(files, videos, name, cache, lambda uid, ids: uid in ids, ["video_uid"])


def _load_and_filter(
    files: Path, videos: Path, name: str, cache: str, keep: Any, columns: list[str] | None
) -> None:
    import datasets
    import fiftyone as fo

    from pipeline import dataset as ours
    from pipeline.tree import Tree

    ids = {path.stem for path in videos.iterdir()}
    table = datasets.load_dataset(
        "parquet", data_files=str(files / "*.parquet"), split="train", cache_dir=cache
    )
    found = table.filter(keep, input_columns=columns, fn_kwargs={"ids": ids})
    samples = []
    for row in found:
        path = videos / f"{row['video_uid']}.mp4"
        sample = fo.Sample(filepath=str(path), video_uid=row["video_uid"])
        sample.compute_metadata()
        tree = Tree.from_dict(row)
        for fact in ("title", "description", "view_count", "like_count"):
            sample[fact] = row["metadata"][fact]
        sample["upload_date"] = row["metadata"]["upload_date"]
        sample["full_video_duration"] = tree.duration
        lines = row["metadata"]["transcript"] or ()
        sample["transcript"] = " ".join(line["text"] for line in lines)
        sample["tree_depth"] = tree.depth
        sample["ground_truth_tree"] = {"nodes": row["nodes"]}
        metadata = sample.metadata
        clip = ours.Clip(metadata.frame_rate, metadata.total_frame_count, _CLIP_SECONDS)
        for kind in ("summary_brief", "summary_detailed", "action_brief", "action_detailed"):
            sample[f"gpt_{kind}"] = ours.labels(tree, clip, kind)
        sample["gpt_action_actor"] = ours.labels(tree, clip, "action_actor")
        sample["transcript_segments"] = ours.transcript_labels(tree, clip)
        samples.append(sample)
    fo.Dataset(name, persistent=True).add_samples(samples, dynamic=True, progress=False)


WAYS = {
    "parse_to_fiftyone.py": _script,
    "load_dataset, filter, add_samples": _straightforward,
    "the same, filter on the id alone": _on_one_column,
}


def _child(way: str, files: str, videos: str, name: str, cache: str) -> None:
    import fiftyone as fo

    fo.list_datasets()  # connects to the database
    if WAYS[way] is not _script:
        import datasets  # noqa: F401
    started = time.perf_counter()
    WAYS[way](Path(files), Path(videos), name, cache)
    seconds = time.perf_counter() - started
    # Not ru_maxrss, in which the parent counts too: a child begins as a copy of it.
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    print(json.dumps({"seconds": seconds, "peak": peak / 1000}))


if __name__ == "__main__":
    _child(*sys.argv[1:])
