#!/usr/bin/env python3
"""Writes the ids of Action100M's videos to a file, one a line; run from the repository's root.

Reads the ``video_uid`` column and those that conditions on the videos need: of the parquet files on
disk or, where there are none, of those on the Hugging Face hub through HTTP ranges, so that no
annotations are downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline import hub
from pipeline.ahead import look_ahead
from pipeline.download import VIDEO_ID
from pipeline.parquet import ParquetError, Part, find_parquet, open_parquet, part_on_disk
from pipeline.progress import show_progress
from pipeline.selection import Selection
from pipeline.store import temporary_sibling

DATA = "action100m-preview"
OUT = "video_ids.txt"


class ExtractError(Exception):
    """There is nothing to write; the message says why and what to do."""


@dataclass
class Found:
    """The ids of all files that could be read.

    Attributes:
        files: how many parquet files were read
        uids: distinct ids as they are in the files
        failed: file -> reason
    """

    files: int = 0
    uids: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)


def find_ids(parts: Sequence[Part], selection: Selection) -> Found:
    """The ids of the videos that fit; files that cannot be read are noted."""

    def read(part: Part) -> list[str] | ParquetError:
        try:
            with open_parquet(part) as file:
                return list(selection.uids(file))
        except ParquetError as error:
            return error

    found = Found()
    threads = hub.CONNECTIONS if any(part.far for part in parts) else 1
    with show_progress(len(parts), "files") as advance:
        for part, result in look_ahead(read, parts, threads, threads):
            if isinstance(result, ParquetError):
                found.failed[part.name] = str(result)
            else:
                found.files += 1
                found.uids.update(result)
            advance(1)
    return found


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
        "--download",
        action="store_true",
        help="fetch the whole parquet files into --data first; what is there and complete stays",
    )
    parser.add_argument(
        "--repo", default=hub.REPOSITORY, help=f"dataset on the hub [{hub.REPOSITORY}]"
    )
    parser.add_argument("--revision", help="branch, tag or commit of --repo [its main branch]")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")
    options = parser.parse_args(arguments)
    try:
        hub.check_name(options.repo)
    except ValueError as error:
        parser.error(str(error))
    if not options.out.absolute().parent.is_dir():
        parser.error(f"--out is {options.out}; its folder does not exist")
    selection = Selection(
        options.min_duration,
        options.max_duration,
        options.query,
        options.min_actions,
        options.has_transcript,
    )

    fetched = None
    try:
        if options.download:
            fetched = hub.download(hub.list_files(options.repo, options.revision), options.data)
            _report(fetched, options)
        if files := find_parquet(options.data):
            source, parts = str(options.data), [part_on_disk(path) for path in files]
        else:
            source = f"{options.repo} on the hub"
            print(
                f"{options.data} has no parquet files; reading the ids from {source}",
                file=sys.stderr,
            )
            parts = hub.parts(hub.list_files(options.repo, options.revision))
        found = find_ids(parts, selection)
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
            raise ExtractError(f"there are no video ids {what}in {source}; nothing was written")
        write_ids(options.out, uids)
    except (ExtractError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the command again to go on", file=sys.stderr)
        return 130

    print(
        f"{len(uids)} ids in {options.out}, from {found.files} files of {source}; "
        f"{len(malformed)} malformed ids left out, {len(found.failed)} files failed",
        file=sys.stderr,
    )
    if options.json:
        summary = {
            "out": str(options.out),
            "ids": len(uids),
            "source": source,
            "files": found.files,
            "malformed": len(malformed),
            "failed": found.failed,
            "download": None if fetched is None else asdict(fetched),
        }
        print(json.dumps(summary))
    return 1 if found.failed or (fetched and fetched.failed) else 0


def _report(fetched: hub.Fetched, options: argparse.Namespace) -> None:
    for reason in fetched.failed.values():
        print(f"error: {reason}", file=sys.stderr)
    print(
        f"{len(fetched.fetched)} files fetched into {options.data} "
        f"({fetched.received / 1e6:.1f} MB), {len(fetched.complete)} were complete, "
        f"{len(fetched.failed)} failed",
        file=sys.stderr,
    )


if __name__ == "__main__":
    status = main()
    with suppress(BrokenPipeError):  # `... --json | head` has seen enough
        sys.stdout.flush()
    # Without taking Python down in order: a thread of pyarrow that is just letting go of a file of
    # the hub, which is a Python object, would end the process by SIGABRT then.
    os._exit(status)
