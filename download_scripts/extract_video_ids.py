#!/usr/bin/env python3
"""Writes the ids of Action100M's videos to a file, one a line; run from the repository's root.

Reads the ``video_uid`` column and those that conditions on the videos need: of the parquet files on
disk or, where there are none, of those on the Hugging Face hub through HTTP ranges, so that no
annotations are downloaded.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.download import VIDEO_ID
from pipeline.parquet import ParquetError, find_parquet, open_parquet
from pipeline.selection import Selection
from pipeline.store import temporary_sibling

REPOSITORY = "facebook/action100m-preview"
DATA = "action100m-preview"
OUT = "video_ids.txt"

# Files read at the same time from the hub: each costs a few small requests, mostly waiting.
_CONNECTIONS = 8


class ExtractError(Exception):
    """Nothing can be read; the message says why and what to do."""


@dataclass
class Found:
    """The ids of all files that could be read.

    Attributes:
        source: the folder or the repository on the hub
        files: how many parquet files were read
        uids: distinct ids as they are in the files
        failed: file -> reason
    """

    source: str
    files: int = 0
    uids: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)

    def read(self, names: Sequence[str], read: Callable[[str], list[str]], threads: int) -> None:
        """Add the ids of each of the files; one that cannot be read is noted in ``failed``."""
        from tqdm import tqdm

        def outcome(name: str) -> list[str] | ParquetError:
            try:
                return read(name)
            except ParquetError as error:
                return error

        with ThreadPoolExecutor(threads) as pool:
            progress = tqdm(pool.map(outcome, names), total=len(names), unit="file", disable=None)
            for name, result in zip(names, progress, strict=True):
                if isinstance(result, ParquetError):
                    self.failed[name] = str(result)
                else:
                    self.files += 1
                    self.uids.update(result)


def from_file(name: str, selection: Selection) -> list[str]:
    """The ids of the videos that fit in a parquet file on disk."""
    with open_parquet(name) as file:
        return list(selection.uids(file))


def from_hub(repository: str, revision: str | None, selection: Selection) -> Found:
    """The ids of the videos that fit in a repository on the hub; HF_ENDPOINT and HF_TOKEN apply.

    Raises:
        ExtractError: the repository cannot be listed or holds no parquet files
    """
    import pyarrow.parquet as pq
    from huggingface_hub import HfFileSystem

    hub = HfFileSystem()
    root = f"datasets/{repository}" + (f"@{quote(revision, safe='')}" if revision else "")
    with _hub_errors(f"cannot list {repository} on the hub"):
        names = sorted(hub.glob(f"{root}/data/*.parquet")) or sorted(hub.glob(f"{root}/*.parquet"))
    if not names:
        raise ExtractError(f"{repository} on the hub holds no parquet files")

    def read(name: str) -> list[str]:
        with (
            _hub_errors(f"cannot read {name} on the hub", ParquetError),
            # No cache: parquet's reader knows which ranges it needs; reading ahead moves megabytes.
            hub.open(name, "rb", cache_type="none") as file,
        ):
            return list(selection.uids(pq.ParquetFile(file, pre_buffer=True)))

    found = Found(f"{repository} on the hub")
    found.read(names, read, _CONNECTIONS)
    return found


def download(repository: str, revision: str | None, folder: Path) -> None:
    """Fetch the repository's parquet files into the folder; files that are complete stay.

    Raises:
        ExtractError: the repository or one of its files cannot be fetched
    """
    from huggingface_hub import snapshot_download

    with _hub_errors(f"cannot download {repository} from the hub"):
        snapshot_download(
            repository,
            repo_type="dataset",
            revision=revision,
            local_dir=folder,
            allow_patterns="*.parquet",
        )


@contextmanager
def _hub_errors(failure: str, kind: type[Exception] = ExtractError) -> Iterator[None]:
    """Turn whatever huggingface_hub, its HTTP client or pyarrow raises into one sentence."""
    try:
        yield
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines[:2]) or type(error).__name__
        raise kind(f"{failure}: {reason}") from error


def write_ids(path: Path, uids: Sequence[str]) -> None:
    """Write one id a line; the file appears complete or not at all."""
    with temporary_sibling(path) as temporary:
        temporary.write_text("".join(f"{uid}\n" for uid in uids), encoding="ascii")


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


_count.__name__ = "count (1 or more)"  # as argparse names it in its message


def _add_conditions(parser: argparse.ArgumentParser) -> None:
    conditions = parser.add_argument_group("conditions", "only videos that meet all of these")
    conditions.add_argument("--min-duration", type=_seconds, metavar="S", help="at least so long")
    conditions.add_argument("--max-duration", type=_seconds, metavar="S", help="at most so long")
    conditions.add_argument(
        "--query", metavar="TEXT", help="with all of these words in the title or description"
    )
    conditions.add_argument(
        "--min-actions", type=_count, metavar="N", help="with so many distinct brief actions"
    )
    conditions.add_argument("--has-transcript", action="store_true", help="with a transcript")


def _seconds(text: str) -> float:
    if not 0 <= (seconds := float(text)) < float("inf"):
        raise ValueError
    return seconds


_seconds.__name__ = "number of seconds (0 or more)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 some files failed, 2 wrong call."""
    parser = argparse.ArgumentParser(
        description="Write the ids of Action100M's videos to a file, one a line, sorted. They are "
        "read from the parquet files in a folder or, if it has none, from the hub.",
        epilog="environment: HF_ENDPOINT (another hub), HF_TOKEN (for private repositories); "
        "exit status: 0 done, 1 some files failed, 2 wrong call",
    )
    parser.add_argument(
        "--data", type=Path, default=Path(DATA), help=f"folder of the parquet files [{DATA}]"
    )
    parser.add_argument("--out", type=Path, default=Path(OUT), help=f"file to write [{OUT}]")
    parser.add_argument("--limit", type=_count, help="write only the first so many ids")
    parser.add_argument(
        "--shuffle", type=int, metavar="SEED", help="in random order, the same for the same seed"
    )
    _add_conditions(parser)
    parser.add_argument(
        "--download", action="store_true", help="fetch the whole parquet files into --data first"
    )
    parser.add_argument("--repo", default=REPOSITORY, help=f"dataset on the hub [{REPOSITORY}]")
    parser.add_argument("--revision", help="branch, tag or commit of --repo [its main branch]")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", options.repo):
        parser.error(f"--repo is {options.repo!r}; it must be OWNER/NAME")
    if not options.out.absolute().parent.is_dir():
        parser.error(f"--out is {options.out}; its folder does not exist")
    selection = Selection(
        options.min_duration,
        options.max_duration,
        options.query,
        options.min_actions,
        options.has_transcript,
    )

    try:
        if options.download:
            download(options.repo, options.revision, options.data)
        if files := [str(path) for path in find_parquet(options.data)]:
            found = Found(str(options.data))
            found.read(files, lambda name: from_file(name, selection), threads=1)
        else:
            print(
                f"{options.data} has no parquet files; reading the ids from {options.repo} "
                "on the hub",
                file=sys.stderr,
            )
            found = from_hub(options.repo, options.revision, selection)
        for reason in found.failed.values():
            print(f"error: {reason}", file=sys.stderr)
        malformed = sorted(uid for uid in found.uids if not VIDEO_ID.fullmatch(uid))
        for uid in malformed[:5]:
            print(f"warning: {uid[:40]!a} is not a video id; left out", file=sys.stderr)
        uids = sorted(found.uids.difference(malformed))
        if options.shuffle is not None:
            random.Random(options.shuffle).shuffle(uids)
        uids = uids[: options.limit]
        if not uids:
            what = "that fit " if selection != Selection() else ""
            raise ExtractError(
                f"there are no video ids {what}in {found.source}; nothing was written"
            )
        write_ids(options.out, uids)
    except (ExtractError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1

    print(
        f"{len(uids)} ids in {options.out}, from {found.files} files of {found.source}; "
        f"{len(malformed)} malformed ids left out, {len(found.failed)} files failed",
        file=sys.stderr,
    )
    if options.json:
        summary = {
            "out": str(options.out),
            "ids": len(uids),
            "source": found.source,
            "files": found.files,
            "malformed": len(malformed),
            "failed": found.failed,
        }
        print(json.dumps(summary))
    return 1 if found.failed else 0


if __name__ == "__main__":
    sys.exit(main())
