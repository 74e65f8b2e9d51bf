"""download_videos.sh: 4 videos of 100 s from a server on this machine; 1 = ffmpeg alone."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.demo import ROOT, web_server

from .timing import Row

_VIDEOS = 4
_JOBS = (1, 2, 4)
_KEPT = 90  # seconds, of 100
# As YouTube's own: what must be encoded, and what fits but for its length.
_SOURCES = {
    "VP9, encoded": ("webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus"),
    "H.264, copied": ("mp4", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a aac"),
}
# What ffmpeg does alone: for both what scripts do, who encode whatever comes; for the second also
# a bare copy, which neither fetches nor checks, and cuts where a packet ends.
_ENCODE = "-vf scale=-2:min(ih\\,480) -c:v libx264 -preset veryfast -crf 23 -pix_fmt yuv420p"
_ENCODE += " -c:a aac -b:a 128k"


def run() -> list[Row]:
    """Compare with ffmpeg on the files on disk, with as many at a time."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what, (suffix, encoding) in _SOURCES.items():
            files = _make(folder / suffix, suffix, encoding)
            for jobs in _JOBS:
                alone = _seconds(lambda f=files, j=jobs: _ffmpeg(f, _ENCODE, j))
                rows.append(_row(f"{what}: ffmpeg alone, encoding, {jobs} at a time", alone, alone))
                with web_server(files[0].parent) as address:
                    url = f"{address}/{{id}}.{suffix}"
                    ours = _seconds(lambda u=url, j=jobs: _download(u, j))
                rows.append(_row(f"{what}: JOBS={jobs}", ours, alone))
        copied = _seconds(lambda: _ffmpeg(files, "-c copy", 1))
        rows.append(_row(f"{what}: ffmpeg alone, copying, 1 at a time", copied, alone))
    return rows


def _row(what: str, seconds: float, alone: float) -> Row:
    return Row(what, seconds, seconds / alone, {"videos/min": 60 * _VIDEOS / seconds})


def _seconds(way: Callable[[], object]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


def _make(folder: Path, suffix: str, encoding: str) -> list[Path]:
    folder.mkdir()
    first, *others = [folder / f"bench{i:06}.{suffix}" for i in range(_VIDEOS)]
    source = "testsrc2=duration=100:size=640x480:rate=25,noise=alls=8:allf=t"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source]
    command += ["-f", "lavfi", "-i", "sine=duration=100", *encoding.split()]
    subprocess.run([*command, str(first)], check=True)
    for other in others:
        os.link(first, other)
    return [first, *others]


def _ffmpeg(files: Sequence[Path], encoding: str, jobs: int) -> None:
    def convert(file: Path) -> None:
        command = ["ffmpeg", "-v", "error", "-y", "-i", str(file), *encoding.split()]
        command += ["-t", str(_KEPT), "-movflags", "+faststart"]
        subprocess.run([*command, str(file.with_suffix(".out.mp4"))], check=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(convert, files))


def _download(url: str, jobs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = folder / "ids.txt"
        ids.write_text("".join(f"bench{i:06}\n" for i in range(_VIDEOS)))
        variables = {
            "VIDEO_IDS": str(ids),
            "OUTPUT_DIR": str(folder / "videos"),
            "URL_TEMPLATE": url,
            "JOBS": str(jobs),
            "MAX_DURATION": str(_KEPT),
        }
        subprocess.run(
            ["bash", str(ROOT / "download_scripts" / "download_videos.sh")],
            env={**os.environ, **variables},
            stderr=subprocess.PIPE,
            check=True,
        )
