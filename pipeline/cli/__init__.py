"""The command line: ``python -m pipeline COMMAND``.

Progress goes to standard error; with ``--json`` standard output is one summary for machines. Exit
status: 0 = all done, 1 = some videos failed or lack texts (listed), 2 = wrong call, 130 = stopped
by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from . import models, runs, trees
from .arguments import UsageError, command

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(
        _with_joined_ids(sys.argv[1:] if arguments is None else arguments)
    )
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("stopped; the same command goes on where this one was", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not isinstance(error, _wrong_calls()):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2


def _with_joined_ids(arguments: Sequence[str]) -> list[str]:
    """``--video -abc`` as ``--video=-abc``: an id may begin with "-" and is no option then."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("--video", "--video-uid"):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _wrong_calls() -> tuple[type[Exception], ...]:
    from ..chat import ChatError
    from ..parquet import ParquetError
    from ..presets import PresetError
    from ..store import StoreError
    from ..tree import InvalidTree

    return UsageError, ChatError, ParquetError, PresetError, StoreError, InvalidTree, OSError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        description="Trees-of-Captions as in Action100M: make, compare and show them.",
        epilog="Exit status: 0 all done, 1 some videos failed or lack texts (listed), "
        "2 wrong call.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (runs, models, trees):
        module.add(commands)
    demo = command(
        commands,
        "demo",
        _demo,
        "Make the sample kit, a dataset of it and a run, and open FiftyOne's App on them.",
    )
    demo.add_argument("--headless", action="store_true", help="check that the App answers, and end")
    demo.add_argument("--port", type=int, default=5151, help="the App's (default: %(default)s)")
    return parser


def _demo(options: argparse.Namespace) -> int:
    from ..demo import run

    return run(headless=options.headless, port=options.port)
