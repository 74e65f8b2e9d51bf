"""The sample kit: four small instructional-looking videos whose true tree is known.

Needs no download: the frames are drawn, the music is computed, ffmpeg encodes both. The demo, the
tests and the benchmarks use it. The annotations are in exactly Action100M's parquet schema.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..parquet import ParquetError, read_models, read_trees, write_trees
from ..store import stamp
from ..tree import Tree
from .bean import BEAN
from .birdhouse import BIRDHOUSE
from .film import SampleKitError, frames, write_video
from .spec import KitVideo, Motion, Scene, Span, Step
from .sunset import SUNSET
from .tea import TEA
from .truth import true_tree

__all__ = [
    "KIT_VIDEOS",
    "Kit",
    "KitFile",
    "KitVideo",
    "Motion",
    "SampleKitError",
    "Scene",
    "Span",
    "Step",
    "frames",
    "make_kit",
    "true_tree",
    "write_video",
]

#: The videos of the kit, shortest first.
KIT_VIDEOS: tuple[KitVideo, ...] = (TEA, BEAN, SUNSET, BIRDHOUSE)


class KitFile(NamedTuple):
    """A video of the kit and where it is."""

    spec: KitVideo
    path: Path


@dataclass(frozen=True)
class Kit:
    """A kit on disk: ``videos/<uid>.mp4`` and ``data/part-00000.parquet`` in ``folder``."""

    folder: Path

    @property
    def videos(self) -> tuple[KitFile, ...]:
        """Each video with its file."""
        return tuple(KitFile(v, self.folder / "videos" / f"{v.uid}.mp4") for v in KIT_VIDEOS)

    @property
    def parquet(self) -> Path:
        """The file of the annotations: the true trees."""
        return self.folder / "data" / "part-00000.parquet"

    def trees(self) -> dict[str, Tree]:
        """The true trees by uid, read from the parquet file."""
        return {tree.video_uid: tree for tree in read_trees(self.parquet)}


def make_kit(
    folder: str | os.PathLike[str], on_progress: Callable[[str], None] | None = None
) -> Kit:
    """Make what is missing of the kit in a folder; returns at once where it is complete.

    Each file carries a stamp of the generator, so that a changed generator makes them anew, and
    appears complete or not at all.

    Args:
        on_progress: gets a sentence before each file is made

    Raises:
        SampleKitError: ffmpeg is missing or failed
        OSError: the folder cannot be written to
    """
    kit = Kit(Path(folder))
    current = _generator()
    for path in (kit.videos[0].path, kit.parquet):
        path.parent.mkdir(parents=True, exist_ok=True)
    say = on_progress or (lambda sentence: None)
    for i, (video, path) in enumerate(kit.videos, 1):
        if not (path.exists() and current.encode() in path.read_bytes()):
            say(f"drawing video {i} of {len(kit.videos)}: {video.title}")
            write_video(video, path, current)
    try:
        complete = read_models(kit.parquet).get("generator") == current
    except ParquetError:
        complete = False
    if not complete:
        say("writing the annotations")
        write_trees(kit.parquet, map(true_tree, KIT_VIDEOS), {"generator": current})
    return kit


@cache
def _generator() -> str:
    """Names this generator; changes whenever a line of it does."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return f"samplekit-{stamp([source.read_text(encoding='utf-8') for source in sources])}"
