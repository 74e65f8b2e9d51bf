"""A run's files on disk: ``<run>/<video_uid>/<stage>-<stamp>.<ext>``.

The stamp is a hash of everything that made the file: the stage's configuration and the stamps of
what it read. A file that is there under the right name is therefore finished and up to date; a
killed run goes on where it was, and a changed setting redoes just what depends on it. Files appear
complete or not at all, or grow by whole lines (``.jsonl``).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


class StoreError(RuntimeError):
    """A run folder that cannot be used; the message names it and what to do."""


@contextmanager
def temporary_sibling(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new name beside ``path``; what was written there becomes ``path`` on success.

    The two are on one disk, so the renaming is atomic: readers see the old file or the new one.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as JSON, atomically."""
    with temporary_sibling(path) as temporary:
        temporary.write_bytes(_encoded(json.dumps(value, ensure_ascii=False, indent=1)))


def _encoded(text: str) -> bytes:
    """UTF-8. Half a character, as a model's cut-off answer can end in, becomes a question mark."""
    return text.encode(errors="replace")


def stamp(*parts: Any) -> str:
    """Twelve hexadecimal digits that change when any of the parts (plain JSON data) does."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def fingerprint(path: str | os.PathLike[str]) -> str:
    """A stamp of a file's content: its size and its first and last 64 KB.

    Unlike the modification time it survives copying and moving; unlike a hash of everything it
    costs nothing on long videos.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest.update(str(size).encode())
        for offset in (0, max(0, size - 65536)):
            file.seek(offset)
            digest.update(file.read(65536))
    return digest.hexdigest()[:12]


def folder_name(video_uid: str) -> str:
    """The uid itself, after making sure that it names one folder and nothing else.

    Raises:
        ValueError: for a uid that is empty, "." or "..", too long, not UTF-8, or holds a separator
    """
    if (
        video_uid in ("", ".", "..")
        or any(c in video_uid for c in "/\\\0")
        or any("\ud800" <= c <= "\udfff" for c in video_uid)  # of a name that is not UTF-8
        or len(video_uid.encode()) > 200
    ):
        raise ValueError(f"{video_uid!r} cannot be used as a video's uid: it must name one folder")
    return video_uid


class VideoFolder:
    """The files of one video in one run."""

    _EXTENSIONS: Mapping[str, str] = {
        "video": "json",
        "embeddings": "npy",
        "merges": "npy",
        "tree": "json",
        "captions": "jsonl",
        "annotations": "jsonl",
    }

    def __init__(self, path: Path):
        self.path = path

    def file(self, stage: str, stamp: str) -> Path:
        """Where the stage's result with this stamp is, or will be."""
        return self.path / f"{stage}-{stamp}.{self._EXTENSIONS[stage]}"

    def has(self, stage: str, stamp: str) -> bool:
        """Whether the stage's result with this stamp exists (a ``.jsonl`` may still grow)."""
        return self.file(stage, stamp).exists()

    def save(self, stage: str, stamp: str, value: Any) -> None:
        """Write an array (``.npy``) or plain data (``.json``) atomically; drop outdated results."""
        self.path.mkdir(parents=True, exist_ok=True)
        target = self.file(stage, stamp)
        if target.suffix == ".npy":
            with temporary_sibling(target) as temporary, temporary.open("wb") as file:
                np.save(file, value)
        else:
            write_json(target, value)
        self.drop_outdated(stage, stamp)

    def load(self, stage: str, stamp: str) -> Any:
        """What :meth:`save` wrote; FileNotFoundError if there is nothing with this stamp."""
        source = self.file(stage, stamp)
        if source.suffix == ".npy":
            return np.load(source, allow_pickle=False)
        return json.loads(source.read_text(encoding="utf-8"))

    def append(self, stage: str, stamp: str, line: Mapping[str, Any]) -> None:
        """Append one JSON line to a growing result.

        One write call, so that a kill can leave at most one incomplete line, the last.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        data = _encoded(json.dumps(line, ensure_ascii=False) + "\n")
        with self.file(stage, stamp).open("ab") as file:
            file.write(data)

    def lines(self, stage: str, stamp: str) -> list[dict[str, Any]]:
        """The finished lines of a growing result; cuts off a line that a kill left incomplete."""
        source = self.file(stage, stamp)
        if not source.exists():
            return []
        data = source.read_bytes()
        complete = data.rfind(b"\n") + 1
        if complete < len(data):
            os.truncate(source, complete)
        return [json.loads(line) for line in data[:complete].splitlines()]

    def drop_outdated(self, stage: str, stamp: str) -> None:
        """Remove this stage's results with other stamps, once the new one is finished."""
        keep = self.file(stage, stamp)
        for path in self.path.glob(f"{stage}-*.{self._EXTENSIONS[stage]}"):
            if path != keep:
                path.unlink(missing_ok=True)


class RunStore:
    """The folder of one run: ``run.json``, a folder per video, and the finished ``part-*.parquet``.

    Raises:
        StoreError: the folder cannot be made or written to, or holds something else than a run
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder).absolute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise StoreError(
                f"cannot write to the output folder {folder}: {error.strerror or error}; "
                "name a folder that you may write to"
            ) from error
        if not self._config_file.exists() and any(self.folder.glob("part-*.parquet")):
            raise StoreError(
                f"{folder} holds part-*.parquet that no run made; name a new folder, "
                "so that nothing is overwritten"
            )

    @property
    def _config_file(self) -> Path:
        return self.folder / "run.json"

    def read_config(self) -> dict[str, Any] | None:
        """What the run was last told to do, or None for a new run."""
        try:
            return json.loads(self._config_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Remember what the run is told to do."""
        write_json(self._config_file, config)

    def video(self, video_uid: str) -> VideoFolder:
        """The folder of one video; ValueError for a uid that cannot name a folder."""
        return VideoFolder(self.folder / folder_name(video_uid))

    def parts(self) -> list[Path]:
        """The finished parquet files in order."""
        return sorted(self.folder.glob("part-*.parquet"))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out of the run; the lock ends with the process, however it ends.

        Raises:
            StoreError: another process works on this run
        """
        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(
                    f"another process is working on the run in {self.folder}; "
                    "wait until it ends, or name another folder"
                ) from None
            yield
