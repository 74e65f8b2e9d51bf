"""Annotations and the videos on disk, brought together: what the script and the operator do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..parquet import Part, Row, read_videos
from .ground_truth import LoadSummary, add_ground_truth

if TYPE_CHECKING:
    import fiftyone as fo


class Annotations:
    """The annotations of the videos on disk; the first of them is read when it is made.

    Attributes:
        missing: videos without annotations, as far as is known: all until they are loaded
        unread: why not, by the name of a file that cannot be read

    Args:
        parts: the files of the annotations
        videos: the file of each ``video_uid``
        source, where: what messages call the annotations and the place of the videos
        on_error: called with the reason for each file that cannot be read

    Raises:
        ValueError: no file can be read, or none of the videos is annotated
    """

    def __init__(
        self,
        parts: Sequence[Part],
        videos: Mapping[str, Path],
        source: str,
        where: str,
        on_error: Callable[[str], None] | None = None,
    ):
        self.videos = videos
        self.missing = set(videos)
        self.unread: dict[str, str] = {}

        def unreadable(part: Part, reason: str) -> None:
            self.unread[part.name] = reason
            if on_error is not None:
                on_error(reason)

        self._rows = read_videos(parts, videos, unreadable)
        first = next(self._rows, None)
        if first is None:
            if len(self.unread) == len(parts):
                raise ValueError(f"none of the parquet files of {source} can be read")
            raise ValueError(
                f"none of the {len(videos)} videos in {where} is annotated in {source}; "
                "the dataset was left as it was"
            )
        self._first = first

    def load_into(
        self,
        dataset: fo.Dataset,
        clip_duration: float | None,
        label_kinds: Literal["gpt", "all", "none"],
        on_videos: Callable[[int], None],
    ) -> LoadSummary:
        """Add a sample for each annotated video; see :func:`add_ground_truth`.

        Args:
            on_videos: called with each number of videos whose annotations were read
        """

        def counted() -> Iterator[Row]:
            for row in chain([self._first], self._rows):
                self.missing.discard(row.tree.video_uid)
                yield row
                on_videos(1)

        return add_ground_truth(dataset, counted(), self.videos, clip_duration, label_kinds)
