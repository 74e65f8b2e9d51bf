"""What several commands share: arguments, what they mean, and the summary for machines."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class UsageError(Exception):
    """A call that cannot be carried out; the message says what to change."""


def command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    """Add a command to the others; ``run`` carries it out and returns the exit status."""
    added: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    added.set_defaults(run=run)
    return added


def add_run(parser: argparse.ArgumentParser) -> None:
    """What every command that makes a run takes."""
    add_preset(parser)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="the run's folder; made if missing"
    )
    parser.add_argument(
        "--progress",
        choices=("auto", "bar", "lines", "json", "none"),
        default="auto",
        help="on standard error: a bar on a terminal, else lines (auto); json is for programs",
    )


def add_preset(parser: argparse.ArgumentParser) -> None:
    """Which preset, and what to change of it."""
    parser.add_argument(
        "--preset",
        required=True,
        metavar="NAME",
        help="which models: a preset's name, or a YAML file of your own",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="ROLE.OPTION=VALUE",
        help="change the preset, for example refine.model=NAME or caption.frames=16; "
        "may be repeated; ROLE.backend=... starts a role anew",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Whether :func:`print_json` is wanted."""
    parser.add_argument("--json", action="store_true", help="print one summary for machines")


def positive_int(text: str) -> int:
    """A whole number above 0, as ``type`` of an argument."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def print_json(value: Mapping[str, Any]) -> None:
    """Print the one summary for machines."""
    print(json.dumps(value, ensure_ascii=False, indent=1))
