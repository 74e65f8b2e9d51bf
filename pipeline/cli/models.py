"""The commands about models: ``presets`` and ``serve``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping
from typing import Any

from ..presets import STAGES
from .arguments import UsageError, add_json, add_preset, command, positive_int, print_json


def add(commands: Any) -> None:
    """Add the commands to the others."""
    listed = command(
        commands,
        "presets",
        _presets,
        "List the presets, and what this machine can run now and why not.",
    )
    listed.add_argument("names", nargs="*", metavar="NAME", help="default: all; or a YAML file")
    add_json(listed)

    serve = command(
        commands,
        "serve",
        _serve,
        "Start vLLM's own server with the flags that a role of a preset needs, and say how to "
        "point to it; a key in VLLM_API_KEY is asked of clients.",
    )
    add_preset(serve)
    serve.add_argument("--role", required=True, choices=("caption", "refine"))
    serve.add_argument(
        "--host", default="127.0.0.1", help="default: %(default)s, this machine only"
    )
    serve.add_argument("--port", type=positive_int, default=8000, help="default: %(default)s")


def _presets(options: argparse.Namespace) -> int:
    from .. import presets, runner

    # Its retries are no news: what cannot be had is listed.
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    listed = []
    for name in options.names or presets.names():
        preset = presets.load(name)
        reasons = (runner.obstacle(preset, what) for what in ("gpu", *STAGES))
        obstacles = [reason for reason in reasons if reason]
        listed.append(preset.to_dict() | {"runs_here": not obstacles, "obstacles": obstacles})
        if options.json:
            continue
        print(f"{preset.name}: {preset.description}")
        for role in STAGES:
            if "backend" in (config := getattr(preset, role)):
                print(f"  {role:8} {_filler(config)}")
        if preset.gpu_memory:
            print(f"  {'needs':8} a GPU with {preset.gpu_memory:g} GiB")
        if preset.tried:
            print(f"  {'tried':8} {preset.tried}")
        print(f"  {'here':8} {'runs' if not obstacles else 'does not run now:'}")
        for obstacle in obstacles:
            print(f"           - {obstacle}")
        print()
    if options.json:
        print_json({"presets": listed})
    return 0


def _filler(config: Mapping[str, Any]) -> str:
    """What fills a role, in a few words."""
    words = f"{config['model']} ({config['backend']})" if "model" in config else config["backend"]
    return f"{words}; leaves: {_filler(leaf)}" if (leaf := config.get("leaf")) else words


def _serve(options: argparse.Namespace) -> int:
    from .. import captioning, presets, refinement
    from ..chat import vllm

    preset = presets.load(options.preset, options.set)
    config = getattr(preset, options.role)
    if config["backend"] != "vllm":
        raise UsageError(
            f"{options.role} of the preset {preset.name} is filled by the backend "
            f"{config['backend']}; serve starts vLLM, for example with --preset single-gpu"
        )
    stage = captioning if options.role == "caption" else refinement
    asked = {k: v for k, v in config.items() if k not in stage.OPTIONS}
    # Loading it checks the options of the stage too.
    stage.load(config)
    pictures = config.get("frames", captioning.OPTIONS["frames"])
    pictures = pictures if options.role == "caption" else 0
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    status = vllm.serve(options.role, asked, options.host, options.port, pictures, say)
    if status:
        raise UsageError(f"vLLM ended with status {status}; its last words are above")
    return 0
