"""Checkpoints of models: found, and known to be whole, before any weight is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; a sentence that names it and what to do."""


def configuration(backend: str, model: str, revision: str | None) -> Any:
    """The checkpoint's configuration, read from its folder or from the hub.

    Args:
        backend: for messages: the one that a preset names
        model: a name on the hub, or a folder
        revision: on the hub; None is its newest

    Raises:
        CheckpointError: there is none, or a package is missing
    """
    try:
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        raise CheckpointError(
            f"the backend {backend} needs torch and transformers ({first_line(error)}); "
            "install them with `make models`"
        ) from error
    try:
        return transformers.AutoConfig.from_pretrained(
            model, revision=revision, trust_remote_code=False
        )
    except ImportError as error:
        raise CheckpointError(
            f"the model {model!r} needs a package that is missing ({first_line(error)}); "
            "install it with `make models`"
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"the model {model!r} is not to be had: it is no folder with a checkpoint here, "
            f"and the hub gave none ({first_line(error)}); check its name and the network"
        ) from error


def tensor_names(folder: Path) -> set[str] | None:
    """The names of all weights in a folder, without reading the weights.

    Returns:
        None for other formats than safetensors, which tell what they hold when they are loaded

    Raises:
        CheckpointError: there are none, a file is damaged, or one that the index names is missing
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files and [*folder.glob("*.bin")]:
        return None
    if not files:
        raise CheckpointError(f"the folder {folder} holds no weights; download the model again")
    stored: set[str] = set()
    for file in files:
        try:
            stored |= _names(file)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise CheckpointError(
                f"the weights of {folder} cannot be loaded ({file.name} is damaged or not "
                "complete); download the model again"
            ) from error
    index = folder / "model.safetensors.index.json"
    if index.exists():
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        require_all(folder, sorted(set(listed) - stored))
    return stored


def _names(file: Path) -> set[str]:
    """What a safetensors file holds, from its header; ValueError if it is not all there."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > file.stat().st_size:
            raise ValueError("no header")
        header = json.loads(opened.read(length))
    header.pop("__metadata__", None)
    if 8 + length + max(entry["data_offsets"][1] for entry in header.values()) != (
        file.stat().st_size
    ):
        raise ValueError("another size than the header tells")
    return set(header)


def require_all(name: object, lacking: Sequence[str]) -> None:
    """CheckpointError if a checkpoint lacks weights, which transformers would make up."""
    if lacking:
        raise CheckpointError(
            f"the checkpoint {name} lacks {len(lacking)} of the model's weights "
            f"({min(lacking)}, ...); download the model again"
        )


def fingerprint(folder: Path, *kinds: str) -> str:
    """A stamp of a checkpoint's configuration and weights.

    Of each file its size, its end and 64 KB in every 4 MB, which no training leaves as they are,
    and which take a second where all of it would take half a minute.

    Args:
        kinds: of other files that make the model what it is, as patterns
    """
    digest = hashlib.sha256()
    patterns = ("config.json", "*.safetensors", "*.bin", *kinds)
    for file in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        size = file.stat().st_size
        digest.update(f"{file.name} {size} ".encode())
        with file.open("rb") as opened:
            for offset in (*range(0, size, 4 << 20), max(0, size - (64 << 10))):
                opened.seek(offset)
                digest.update(opened.read(64 << 10))
    return digest.hexdigest()[:12]


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if there is none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
