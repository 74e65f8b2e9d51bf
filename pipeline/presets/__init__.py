"""Presets: which model fills which role, each in a small YAML file to copy and edit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
#: The stages in their order; a preset says for each what fills its role.
STAGES = ("embed", "segment", "caption", "refine")
_ABOUT = ("description", "gpu_memory", "tried")


class PresetError(ValueError):
    """A preset that cannot be used; the message names it and what to do."""


@dataclass(frozen=True)
class Preset:
    """A configuration for each stage; ``name`` is a file's stem, the rest is its content.

    Attributes:
        gpu_memory: GiB that one GPU has to have; 0 = it needs none
        tried: on what it has run, in a sentence
    """

    name: str
    description: str
    embed: Mapping[str, Any]
    segment: Mapping[str, Any]
    caption: Mapping[str, Any]
    refine: Mapping[str, Any]
    gpu_memory: float = 0.0
    tried: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        return asdict(self)


def names() -> list[str]:
    """The presets that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str | os.PathLike[str], changes: Sequence[str] = ()) -> Preset:
    """The preset of that name, or from that YAML file.

    Args:
        changes: of options, each "role.option=value" with a YAML value; "role.backend=..." forgets
            the role's other options, which are another backend's

    Raises:
        PresetError: there is none, the file is not a preset, or a change is none
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if str(name) not in names():
            raise PresetError(
                f"unknown preset {str(name)!r}; choose one of {', '.join(names())}, "
                "or name a YAML file of your own"
            )
        path = FOLDER / f"{name}.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PresetError(f"preset {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise PresetError(f"preset {path} is not readable as YAML: {reason}") from error
    for change in changes:
        content = _changed(content, change)
    return _checked(path, content)


def _changed(content: Any, change: str) -> Any:
    place, equals, text = change.partition("=")
    role, *names = place.split(".")
    if not (equals and names and all(names) and role in STAGES):
        raise PresetError(f"{change!r} is no change; write for example refine.model=NAME")
    try:
        value = yaml.safe_load(text) if text else ""
    except yaml.YAMLError as error:
        raise PresetError(f"{change!r}: the value is no YAML") from error
    if not isinstance(content, dict):
        return content
    content = deepcopy(content)
    if names == ["backend"]:
        content[role] = {}
    options = content.setdefault(role, {})
    for name in names[:-1]:
        options = options.setdefault(name, {})
        if not isinstance(options, dict):
            raise PresetError(f"{change!r}: {name} is a value and has no options")
    options[names[-1]] = value
    return content


def _checked(path: Path, content: Any) -> Preset:
    if not isinstance(content, dict):
        raise PresetError(f"preset {path} is no mapping; start from a copy of embedded.yaml")
    unknown = sorted(map(str, set(content) - {*STAGES, *_ABOUT}))
    if unknown:
        raise PresetError(
            f"preset {path} has unknown key(s) {', '.join(unknown)}; "
            f"known are {', '.join((*_ABOUT, *STAGES))}"
        )
    memory = content.get("gpu_memory") or 0
    if isinstance(memory, bool) or not isinstance(memory, int | float) or memory < 0:
        raise PresetError(f"preset {path}: gpu_memory must be a number of GiB, not {memory!r}")
    for role in STAGES:
        if not isinstance(content.get(role), dict):
            raise PresetError(f"preset {path} lacks a mapping {role!r}")
        if role != "segment" and not content[role].get("backend"):
            raise PresetError(f"preset {path} names no backend for {role!r}")
    return Preset(
        name=path.stem,
        description=str(content.get("description") or ""),
        gpu_memory=float(memory),
        tried=str(content.get("tried") or ""),
        **{role: content[role] for role in STAGES},
    )


def options(role: str, config: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    """A role's options with their defaults; PresetError for one that the backend does not have.

    Args:
        defaults: a value, whose type is wanted, or a tuple of choices, of which the first one is
            the default
    """
    given = {key: value for key, value in config.items() if key != "backend"}
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        known = ", ".join(defaults) or "none"
        raise PresetError(f"{role}: unknown option(s) {', '.join(unknown)}; known are {known}")
    for key, value in given.items():
        default = defaults[key]
        if isinstance(default, tuple):
            # By type too: 1 equals True.
            if (type(value), value) not in [(type(choice), choice) for choice in default]:
                choices = ", ".join(map(_as_in_yaml, default))
                raise PresetError(f"{role}: {key} must be one of {choices}, not {value!r}")
        elif type(value) is not type(default) and not (
            isinstance(default, float) and type(value) is int
        ):
            wanted = type(default).__name__
            raise PresetError(f"{role}: {key} must be of type {wanted}, not {value!r}")
    first = {key: d[0] if isinstance(d, tuple) else d for key, d in defaults.items()}
    return {**first, **given}


def _as_in_yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
