"""What earlier runs found out about each video: an SQLite file beside the videos.

What is on disk counts whatever the history says, so that deleting it loses nothing else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from .settings import DownloadError

FILE = "downloads.sqlite"
_VERSION = 1


class Record(NamedTuple):
    """One video's last outcome.

    Attributes:
        video_uid: its id
        outcome: "done", "gone", "blocked" or "failed"
        reason: why, or how its streams were made
        tries: times that it was tried, in all runs
        max_height, max_duration: pixels and seconds that were asked for
        updated: when, UTC, ISO 8601
    """

    video_uid: str
    outcome: str
    reason: str
    tries: int
    max_height: int
    max_duration: float
    updated: str = ""


class History:
    """The open file; to be used by one thread."""

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection

    def records(self) -> dict[str, Record]:
        """The record of each video that was ever tried."""
        rows = self._connection.execute(f"SELECT {', '.join(Record._fields)} FROM videos")
        return {row[0]: Record(*row) for row in rows}

    def save(self, record: Record) -> None:
        """Write a record, with the time of now, in place of the video's former one."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        marks = ", ".join("?" * len(record))
        self._connection.execute(
            f"INSERT OR REPLACE INTO videos ({', '.join(record._fields)}) VALUES ({marks})",
            record._replace(updated=now),
        )


@contextmanager
def open_history(folder: Path) -> Iterator[History]:
    """The history of a folder of videos, made if there is none; each change is saved at once.

    Raises:
        DownloadError: the file is damaged or of another version
    """
    path = folder / FILE
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"it is of version {version}")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS videos (video_uid TEXT PRIMARY KEY, outcome TEXT NOT NULL, "
            "reason TEXT NOT NULL, tries INTEGER NOT NULL, max_height INTEGER NOT NULL, "
            "max_duration REAL NOT NULL, updated TEXT NOT NULL)"
        )
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        yield History(connection)
    except sqlite3.DatabaseError as error:
        raise DownloadError(
            f"cannot use the history {path} ({error}); delete it: the videos on disk still count"
        ) from error
    finally:
        connection.close()
