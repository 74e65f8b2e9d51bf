"""Which of Action100M's videos: by length, words, number of distinct actions, transcript."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .tree import NOT_APPLICABLE

if TYPE_CHECKING:
    import pyarrow.parquet as pq

# Rows that are looked at together: bounds the memory of the columns that are read.
_ROWS = 512


@dataclass(frozen=True)
class Selection:
    """What a video has to be like; a video of which a needed fact is null does not fit.

    Attributes:
        min_duration, max_duration: seconds, of the metadata (which can be wrong by 10 %)
        query: words that all occur in the title or description, in whatever case
        min_actions: distinct brief actions of the whole tree, "N/A" not among them
        has_transcript: only videos that have one
    """

    min_duration: float | None = None
    max_duration: float | None = None
    query: str | None = None
    min_actions: int | None = None
    has_transcript: bool = False

    def uids(self, file: pq.ParquetFile) -> Iterator[str]:
        """The ids of the file's videos that fit, in its order.

        Reads the id column and those that the conditions need, and of the nodes at most the brief
        actions: a small part of a file, of which a reader over HTTP fetches no more either.
        """
        # In this thread alone: one of pyarrow's that still holds a Python object (a range of a file
        # elsewhere) when the program ends would abort it.
        for batch in file.iter_batches(_ROWS, columns=self._columns(file), use_threads=False):
            for row in batch.to_pylist():
                if row["video_uid"] and self._fits(row):
                    yield row["video_uid"]

    def _columns(self, file: pq.ParquetFile) -> list[str]:
        paths = [file.schema.column(i).path for i in range(len(file.schema))]
        wanted = ["video_uid"]
        if self.min_duration is not None or self.max_duration is not None:
            wanted.append("metadata.duration")
        if self.query is not None:
            wanted += ["metadata.title", "metadata.description"]
        if self.has_transcript:
            # One leaf tells whether there are lines; where it is one string, that is the leaf.
            wanted += [path for path in paths if path.startswith("metadata.transcript")][:1]
        if self.min_actions is not None:
            wanted += [path for path in paths if path.endswith(".gpt.action.brief")]
        return wanted

    def _fits(self, row: dict[str, Any]) -> bool:
        facts = row.get("metadata") or {}
        duration = facts.get("duration")
        if self.min_duration is not None and (duration is None or duration < self.min_duration):
            return False
        if self.max_duration is not None and (duration is None or duration > self.max_duration):
            return False
        if self.query is not None:
            text = f"{facts.get('title') or ''} {facts.get('description') or ''}".casefold()
            if not all(word in text for word in self.query.casefold().split()):
                return False
        if self.has_transcript and not facts.get("transcript"):
            return False
        return self.min_actions is None or _distinct_actions(row) >= self.min_actions


def _distinct_actions(row: dict[str, Any]) -> int:
    briefs = (
        ((node.get("gpt") or {}).get("action") or {}).get("brief")
        for node in row.get("nodes") or ()
        if node
    )
    return len({brief.casefold() for brief in briefs if brief and brief != NOT_APPLICABLE})
