"""Action100M's parquet files on the Hugging Face hub: listed, read in parts, fetched whole.

HF_ENDPOINT (another hub) and HF_TOKEN (for private repositories) apply.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .ahead import look_ahead
from .parquet import Part
from .progress import show_progress

REPOSITORY = "facebook/action100m-preview"

# What the hub calls a file becomes a path on this disk: nothing but this.
_PARQUET = re.compile(r"(data/)?[\w.-]+\.parquet")

#: Files that are fetched or read at the same time: each costs requests, which are mostly waiting.
CONNECTIONS = 8


class HubError(OSError):
    """The hub, a repository or one of its files cannot be had; the message says why."""


@dataclass(frozen=True)
class HubFile:
    """A file as the hub lists it.

    Attributes:
        repository: OWNER/NAME of a dataset
        commit: the repository's state that the file belongs to
        path: in the repository
        size: bytes
        sha256: of the content; None where git itself holds the file
        blob: git's name for the file: the SHA-1 of its size and content
    """

    repository: str
    commit: str
    path: str
    size: int
    sha256: str | None
    blob: str

    def is_at(self, path: Path) -> bool:
        """Whether the file on disk has this size and this hash."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        if self.sha256 is None:
            digest = hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
            return _digest(path, digest) == self.blob
        return _digest(path, hashlib.sha256()) == self.sha256


def _digest(path: Path, digest: Any) -> str:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def check_name(repository: str) -> None:
    """Make sure that it is OWNER/NAME; ValueError if not."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"--repo is {repository!r}; it must be OWNER/NAME")


def list_files(repository: str, revision: str | None = None) -> list[HubFile]:
    """The parquet files of a dataset: those in its ``data``, or else those beside its README.

    Args:
        revision: a branch, tag or commit; None = the main branch. All files are those of the one
            commit that it stands for now.

    Raises:
        HubError: the repository cannot be listed or has no parquet files
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    with _hub_errors(f"cannot list {repository} on the hub"):
        api = HfApi()
        info = api.dataset_info(repository, revision=revision)
        names = [each.rfilename for each in info.siblings or ()]
        folder = "data" if any(_PARQUET.fullmatch(n) and "/" in n for n in names) else None
        entries = api.list_repo_tree(
            repository, folder, revision=info.sha, repo_type="dataset", recursive=False
        )
        files = [
            HubFile(
                repository,
                str(info.sha),
                entry.path,
                entry.size,
                entry.lfs.sha256 if entry.lfs else None,
                entry.blob_id,
            )
            for entry in entries
            if isinstance(entry, RepoFile) and _PARQUET.fullmatch(entry.path)
        ]
    if not files:
        raise HubError(f"{repository} on the hub holds no parquet files")
    return sorted(files, key=lambda file: file.path)


def parts(files: list[HubFile]) -> list[Part]:
    """The files as parts to read: only what is asked of them is fetched, in HTTP ranges."""
    from huggingface_hub import HfFileSystem

    hub = HfFileSystem()
    return [
        Part(f"{file.path} of {file.repository} on the hub", partial(_open, hub, file), far=True)
        for file in files
    ]


def _open(hub: Any, file: HubFile) -> io.RawIOBase:
    name = f"datasets/{file.repository}@{quote(file.commit, safe='')}/{file.path}"
    # No cache: parquet's reader knows which ranges it needs; reading ahead moves megabytes. With
    # the size known the hub is not asked about the file once more.
    return _Ranges(hub.open(name, "rb", cache_type="none", size=file.size), file)


class _Ranges(io.RawIOBase):
    """A file on the hub whose every failure, of whatever kind, is an OSError of one sentence."""

    def __init__(self, content: Any, file: HubFile):
        self._content = content
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        return self._content.tell()

    def read(self, size: int = -1) -> bytes:
        with _hub_errors("it cannot be fetched"):
            return self._content.read(size)


@dataclass
class Fetched:
    """What :func:`download` did.

    Attributes:
        fetched: files that were fetched, wholly or the rest of them
        complete: files that were there already, with the hub's size and hash
        received: bytes that came over the network
        failed: file -> reason
    """

    fetched: list[str] = field(default_factory=list)
    complete: list[str] = field(default_factory=list)
    received: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def download(files: list[HubFile], folder: Path) -> Fetched:
    """Fetch files into a folder, under their paths in the repository.

    A file that is there stays if its size and hash are those that the hub lists; any other is
    fetched. What has arrived of a file is kept beside it, so that the next call goes on there, even
    after a kill: huggingface_hub itself gives each download a name of its own and begins again. A
    file gets its name when it is complete and its hash is right.

    Args:
        files: as :func:`list_files` has them
        folder: made if it does not exist
    """
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars("huggingface_hub.http_get")  # there is one bar for all files
    summary = Fetched()
    stop = threading.Event()
    with show_progress(sum(file.size for file in files), "B") as advance:

        def fetch(file: HubFile) -> int | HubError:
            """Bytes received, -1 if the file is there already, or why it cannot be had."""
            try:
                return _Download(file, folder / file.path, advance, stop).run()
            except HubError as error:
                return error

        try:
            for file, outcome in look_ahead(fetch, files, CONNECTIONS // 2, CONNECTIONS):
                if isinstance(outcome, HubError):
                    summary.failed[file.path] = str(outcome)
                elif outcome < 0:
                    summary.complete.append(file.path)
                else:
                    summary.fetched.append(file.path)
                    summary.received += outcome
        finally:
            stop.set()  # where Ctrl-C came: threads end with their next bytes
    return summary


class _Download:
    """One file on its way to ``target``."""

    def __init__(self, file: HubFile, target: Path, advance: Any, stop: threading.Event):
        self.file = file
        self.target = target
        self.advance = advance
        self.stop = stop
        self.received = 0
        # With the hash in its name, what arrived of another version is not taken for this one.
        mark = (file.sha256 or file.blob)[:16]
        self.partial = target.with_name(f".{target.name}.{mark}.incomplete")

    def run(self) -> int:
        """Bytes received, or -1 if the file is there already."""
        if self.file.is_at(self.target):
            self.advance(self.file.size)
            return -1
        self.target.parent.mkdir(parents=True, exist_ok=True)
        with self.partial.open("ab") as output:
            try:
                fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HubError(f"{self.target} is being downloaded by another process") from None
            there = output.tell()
            self._receive(output, there)
            right = self.file.is_at(self.partial)
            if there and not right:
                # What was there was damaged: once more from the start.
                output.truncate(0)
                self.advance(-self.file.size)
                self._receive(output, 0)
                right = self.file.is_at(self.partial)
            if not right:
                self.partial.unlink()
                raise HubError(f"{self.file.path} arrived with another hash than the hub lists")
            self.partial.replace(self.target)
        for other in self.target.parent.glob(f".{self.target.name}.*.incomplete"):
            other.unlink()  # of versions that are no longer wanted
        return self.received

    def _receive(self, output: Any, there: int) -> None:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        file = self.file
        if there > file.size:
            output.truncate(0)
            there = 0
        self.advance(there)
        url = hf_hub_url(file.repository, file.path, repo_type="dataset", revision=file.commit)
        with _hub_errors(f"cannot fetch {file.path} from the hub"):
            http_get(
                url,
                _Counted(output, self),  # type: ignore[arg-type]
                resume_size=there,
                headers=build_hf_headers(),
                expected_size=file.size,
            )
        output.flush()


class _Counted:
    """The file that a download writes to; counts the bytes and ends when it is told to."""

    def __init__(self, output: Any, download: _Download):
        self._download = download
        self.seek, self.tell, self.truncate = output.seek, output.tell, output.truncate
        self._write = output.write

    def write(self, data: bytes) -> int:
        if self._download.stop.is_set():
            raise HubError("it was stopped")
        self._download.received += len(data)
        self._download.advance(len(data))
        return self._write(data)


@contextmanager
def _hub_errors(failure: str) -> Iterator[None]:
    """Turn whatever huggingface_hub or its HTTP client raises into one sentence."""
    try:
        yield
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines[:2]) or type(error).__name__
        raise HubError(f"{failure}: {reason}") from error
