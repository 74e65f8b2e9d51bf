"""Stage 2, caption: every node of a tree gets a caption and a short action.

Leaves are described from their middle frame, every node from up to 32 evenly spaced frames of its
own segment (paper, section on the Tree-of-Captions).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

from . import measured
from .presets import PresetError, options
from .tree import Segment, Tree
from .video import SAMPLING_STRIDE, SampledFrames, VideoInfo

#: Part of the stamps: raise it when the same input and configuration give another result.
VERSION = 2

Caption = dict[str, str | None]


class Captioner(Protocol):
    """Something that captions segments. ``name`` is for people."""

    name: str

    def caption(
        self, path: str | os.PathLike[str], info: VideoInfo, tree: Tree, skip: Collection[str]
    ) -> Iterator[tuple[str, Caption]]:
        """Yield (node_id, {plm_action, plm_caption, llama3_caption}) of each node as it is done.

        Args:
            path, info: the video
            tree: its segments
            skip: nodes that have their captions already
        """


def sample_range(segment: Segment, info: VideoInfo) -> range:
    """The sampled frames of a segment: a cut between samples i and i + 1 is at raw 4 i + 2."""
    scale = float(info.fps) / SAMPLING_STRIDE
    first = 0 if segment.start <= 0 else round(segment.start * scale + 0.5)
    stop = min(info.samples, round(segment.end * scale + 0.5))
    return range(min(first, info.samples - 1), max(stop, first + 1))


def evenly_spaced(samples: range, count: int) -> list[int]:
    """``count`` of the samples, evenly spaced, or all of them where there are fewer."""
    if len(samples) <= count:
        return list(samples)
    return [samples[int((k + 0.5) * len(samples) / count)] for k in range(count)]


def wanted_frames(
    tree: Tree, info: VideoInfo, count: int, skip: Collection[str] = ()
) -> dict[tuple[str, str], list[int]]:
    """The raw frames that show a tree's segments, as :func:`video.segment_frames` takes them.

    Args:
        tree, info: of one video
        count: frames of a segment at most
        skip: nodes to leave out

    Returns:
        by (node_id, "plm_caption") up to ``count`` evenly spaced frames, and for leaves by
        (node_id, "llama3_caption") the middle one; no frame twice in a list
    """
    wanted = {}
    for segment in tree.segments:
        if segment.node_id in skip:
            continue
        samples = sample_range(segment, info)
        chosen = {"plm_caption": evenly_spaced(samples, count)}
        if tree.is_leaf(segment):
            chosen["llama3_caption"] = [samples[len(samples) // 2]]
        for name, numbers in chosen.items():
            wanted[segment.node_id, name] = [SAMPLING_STRIDE * n for n in numbers]
    return wanted


class MeasuredCaptioner:
    """The ``embedded`` preset: sentences that state what was measured in the frames."""

    name = "measured sentences (no model)"

    def __init__(self, frames: int):
        self.frames = frames

    def caption(
        self, path: str | os.PathLike[str], info: VideoInfo, tree: Tree, skip: Collection[str]
    ) -> Iterator[tuple[str, Caption]]:
        """See :class:`Captioner`."""
        if len(skip) >= len(tree):
            return
        # All sampled frames and not only those of the segments: motion is between neighbours.
        frames = SampledFrames(path, measured.LONG_SIDE)
        looks = list(measured.looks(frames, SAMPLING_STRIDE / float(info.fps)))
        wanted = wanted_frames(tree, info, self.frames, skip)
        shown = {key: [looks[n // SAMPLING_STRIDE] for n in wanted[key]] for key in wanted}
        for segment in tree.segments:
            if segment.node_id in skip:
                continue
            images = shown.get((segment.node_id, "llama3_caption"))
            clip = shown[segment.node_id, "plm_caption"]
            yield (
                segment.node_id,
                {
                    "plm_action": measured.action_phrase(clip),
                    "plm_caption": measured.video_caption(clip),
                    "llama3_caption": measured.image_caption(images[0]) if images else None,
                },
            )


def load(config: Mapping[str, Any]) -> Captioner:
    """The captioner that a preset names; PresetError for an unknown backend or option."""
    if config["backend"] != "measured":
        raise PresetError(f"caption: unknown backend {config['backend']!r}; known is measured")
    chosen = options("caption", config, frames=32)
    if chosen["frames"] < 1:
        raise PresetError(f"caption: frames must be at least 1, not {chosen['frames']}")
    return MeasuredCaptioner(chosen["frames"])
