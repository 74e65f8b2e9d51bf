"""Stage 1, embed: a video becomes one vector per sampled frame.

A (T, D) float16 array, T = ceil(frames / 4), one row for each of the raw frames 0, 4, 8, ...
(paper, section on segmentation). A preset says which model makes it::

    embed: {backend: vjepa2, model: facebook/vjepa2-vitg-fpc64-384}  # ``vjepa.OPTIONS`` has more
    embed: {backend: measured}
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from . import measured, vjepa
from .presets import PresetError, options
from .video import SampledFrames, VideoInfo

#: Part of the stamps: raise it when the same input and configuration give another result.
VERSION = 2

_BACKENDS = "measured, vjepa2"


class Encoder(Protocol):
    """A model that embeds sampled frames.

    Attributes:
        name: for people, files' metadata and FiftyOne runs
        long_side: pixels of the frames that it takes; None for frames at full size
        identity: what its embeddings depend on, in plain JSON data
        places: where processes with it work side by side, see ``workers``
        decoder: that frames are decoded with, of ``video.DECODERS``
    """

    @property
    def name(self) -> str: ...
    @property
    def long_side(self) -> int | None: ...
    @property
    def identity(self) -> Mapping[str, Any]: ...
    @property
    def places(self) -> tuple[str, ...]: ...
    @property
    def decoder(self) -> str: ...

    def encode(self, frames: Iterable[np.ndarray]) -> np.ndarray:
        """(H, W, 3) uint8 RGB frames, in order -> (T, D) float16."""

    def check(self) -> None:
        """Make sure that it can be had: done when it is made, see :func:`load`."""

    def unload(self) -> None:
        """Give the memory of the weights back; the next use loads them again."""


class MeasuredEncoder:
    """The ``embedded`` preset: measured descriptors of colour layout, gradients and motion."""

    name = "measured descriptors (no model)"
    long_side: int | None = measured.LONG_SIDE
    identity: Mapping[str, Any] = {"backend": "measured"}
    places: tuple[str, ...] = ("",) * (os.cpu_count() or 1)
    decoder = "software"

    def encode(self, frames: Iterable[np.ndarray]) -> np.ndarray:
        """See :class:`Encoder`."""
        return measured.descriptors(frames)

    def check(self) -> None:
        """There is nothing to be had."""

    def unload(self) -> None:
        """There are no weights."""


def load(config: Mapping[str, Any]) -> Encoder:
    """The encoder that a preset names, its weights not loaded yet.

    Raises:
        PresetError: an unknown backend or option, or a model that is not to be had
    """
    if config["backend"] == "vjepa2":
        return vjepa.VJepa2Encoder(config)
    if config["backend"] != "measured":
        raise PresetError(f"embed: unknown backend {config['backend']!r}; known are {_BACKENDS}")
    options("embed", config)
    return MeasuredEncoder()


def embed(path: str | os.PathLike[str], encoder: Encoder) -> tuple[np.ndarray, VideoInfo]:
    """Decode a video once and embed its sampled frames.

    Returns:
        the (T, D) float16 embeddings, and what the decode found

    Raises:
        VideoError: the file cannot be read to its end
    """
    frames = SampledFrames(path, encoder.long_side, encoder.decoder)
    embeddings = encoder.encode(frames)
    if frames.info is None or len(embeddings) != frames.info.samples:
        raise RuntimeError(f"{encoder.name} did not embed every sampled frame of {path}")
    return embeddings, frames.info
