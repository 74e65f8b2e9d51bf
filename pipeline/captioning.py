"""Stage 2, caption: every node of a tree gets a caption and a short action.

Leaves are described from their middle frame, every node from up to 32 evenly spaced frames of its
own segment (paper, section on the Tree-of-Captions). A video is decoded once for all of its nodes,
and each answer is saved as soon as it is there.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import chat, measured, prompts
from .ahead import read_ahead
from .chat import Answer, Backend, Chat, Clip, Question
from .chat.answers import cost, without_thoughts
from .presets import PresetError, options
from .tree import Segment, Tree
from .video import SAMPLING_STRIDE, SampledFrames, VideoInfo, segment_frames

#: Part of the stamps: raise it when the same input and configuration give another result.
VERSION = 3

#: What a node can be given: of its frames, of the same frames, of a leaf's middle frame.
TEXTS = ("plm_caption", "plm_action", "llama3_caption")

#: The options of captioning by chat models; a preset has them beside those of its backend.
OPTIONS: Mapping[str, Any] = {
    "frames": 32,  # evenly spaced ones of each segment, at most
    "size": 320,  # pixels of a frame's longer side
    "image_format": ("jpeg", "png"),
    "max_tokens": 1024,  # of an answer
    "image_prompt": "",  # instead of ``prompts.IMAGE``
    "clip_prompt": "",  # instead of ``prompts.CLIP``
    "action_prompt": "",  # instead of ``prompts.ACTION``
    "leaf": {},  # another model, with its backend, for the leaves' middle frames
}

#: What came of one or more requests: ``node_id``, some of :data:`TEXTS` (None where there is no
#: answer, with ``error``), ``cost``.
Line = dict[str, Any]

_JPEG_QUALITY = 90
# Questions whose frames are decoded while a model in this process computes.
_AHEAD = 32


class Captioner(Backend, Protocol):
    """Something that captions segments."""

    def caption(
        self,
        path: str | os.PathLike[str],
        info: VideoInfo,
        tree: Tree,
        earlier: Sequence[Line],
        save: Callable[[Line], None],
    ) -> None:
        """Caption what has no caption yet.

        Args:
            path, info: the video
            tree: its segments
            earlier: lines that were saved before
            save: called in this thread with each line as it comes

        Raises:
            VideoError: the file cannot be read to its end
            ChatError: nothing can be asked any more
        """


def texts(tree: Tree, segment: Segment) -> tuple[str, ...]:
    """Which of :data:`TEXTS` a node is to have: only leaves are described from one frame."""
    return TEXTS if tree.is_leaf(segment) else TEXTS[:2]


def filled(lines: Iterable[Line]) -> tuple[dict[str, dict[str, Any]], dict[tuple[str, str], str]]:
    """What the lines of a video come to.

    Returns:
        by node id its texts, and by (node id, text) why there is none
    """
    found: dict[str, dict[str, Any]] = {}
    failed: dict[tuple[str, str], str] = {}
    for line in lines:
        for name in TEXTS:
            if line.get(name) is not None:
                found.setdefault(line["node_id"], {})[name] = line[name]
                failed.pop((line["node_id"], name), None)
            elif line.get("error") and name in line:
                failed[line["node_id"], name] = line["error"]
    return found, failed


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
    tree: Tree, info: VideoInfo, count: int, done: Collection[tuple[str, str]] = ()
) -> dict[tuple[str, str], list[int]]:
    """The raw frames that show a tree's segments, as :func:`video.segment_frames` takes them.

    Args:
        tree, info: of one video
        count: frames of a segment at most
        done: (node_id, text) that are not wanted any more, see :data:`TEXTS`

    Returns:
        by (node_id, "plm_caption") up to ``count`` evenly spaced frames, if that or the action is
        wanted, and for leaves by (node_id, "llama3_caption") the middle one; no frame twice in a
        list
    """
    wanted = {}
    for segment in tree.segments:
        samples = sample_range(segment, info)
        missing = {name for name in texts(tree, segment) if (segment.node_id, name) not in done}
        chosen = {}
        if missing & {"plm_caption", "plm_action"}:
            chosen["plm_caption"] = evenly_spaced(samples, count)
        if "llama3_caption" in missing:
            chosen["llama3_caption"] = [samples[len(samples) // 2]]
        for name, numbers in chosen.items():
            wanted[segment.node_id, name] = [SAMPLING_STRIDE * n for n in numbers]
    return wanted


class ChatCaptioner:
    """One or two chat models that see pictures.

    Args:
        segments: is asked about segments' frames
        leaves: is asked about leaves' middle frames; may be the same
        settings: see :data:`OPTIONS`
    """

    def __init__(self, segments: Chat, leaves: Chat, settings: Mapping[str, Any]):
        self._segments, self._leaves = segments, leaves
        self._models = [segments] if leaves is segments else [segments, leaves]
        self._frames, self._size = settings["frames"], settings["size"]
        self._format, self._max_tokens = settings["image_format"], settings["max_tokens"]
        self._prompts = {
            "llama3_caption": settings["image_prompt"] or prompts.IMAGE,
            "plm_caption": settings["clip_prompt"] or prompts.CLIP,
            "plm_action": settings["action_prompt"] or prompts.ACTION,
        }
        self.name = " and ".join(model.name for model in self._models)
        self.places = max((model.places for model in self._models), key=len)
        self.threads = min(model.threads for model in self._models)
        self.identity: Mapping[str, Any] = {
            "segments": dict(segments.identity),
            "leaves": dict(leaves.identity),
            "prompts": self._prompts,
            **{k: settings[k] for k in ("frames", "size", "image_format", "max_tokens")},
        }

    def check(self) -> None:
        """Make sure that the models can be had; ChatError if not."""
        for model in self._models:
            model.check()

    def unload(self) -> None:
        """See ``Backend``."""
        for model in self._models:
            model.unload()

    def caption(
        self,
        path: str | os.PathLike[str],
        info: VideoInfo,
        tree: Tree,
        earlier: Sequence[Line],
        save: Callable[[Line], None],
    ) -> None:
        """See :class:`Captioner`."""
        found, _ = filled(earlier)
        done = {(node_id, name) for node_id, said in found.items() for name in said}
        wanted = wanted_frames(tree, info, self._frames, done)
        # A model at a time: on a GPU two at once would take the memory of both.
        for model in self._models:
            names = [n for n in TEXTS if model is self._model_for(n)]
            frames = {k: numbers for k, numbers in wanted.items() if k[1] in names}
            if frames:
                self._ask(model, path, info, frames, done, save)

    def _model_for(self, name: str) -> Chat:
        return self._leaves if name == "llama3_caption" else self._segments

    def _ask(
        self,
        model: Chat,
        path: str | os.PathLike[str],
        info: VideoInfo,
        frames: Mapping[tuple[str, str], list[int]],
        done: Collection[tuple[str, str]],
        save: Callable[[Line], None],
    ) -> None:
        order: list[tuple[str, str]] = []

        def questions() -> Iterator[Question]:
            for (node_id, kind), pictures in self._pictures(path, info, frames):
                for name in ("plm_caption", "plm_action") if kind == "plm_caption" else (kind,):
                    if (node_id, name) not in done:
                        order.append((node_id, name))
                        yield Question("", (*pictures, self._prompts[name]), self._max_tokens)

        def answered(index: int, answer: Answer) -> None:
            node_id, name = order[index]
            text = without_thoughts(answer.text)
            error = answer.error or ("" if text else "the model said nothing")
            line: Line = {"node_id": node_id, name: None if error else text}
            save({**line, **({"error": error} if error else {}), "cost": cost(answer)})

        with closing(read_ahead(questions(), _AHEAD)) as ahead:
            model.ask(ahead, answered)

    def _pictures(
        self,
        path: str | os.PathLike[str],
        info: VideoInfo,
        frames: Mapping[tuple[str, str], list[int]],
    ) -> Iterator[tuple[tuple[str, str], Sequence[bytes | Clip]]]:
        """What is shown for each of the wanted texts; a frame is encoded once, for all of them."""
        uses = Counter(number for numbers in frames.values() for number in numbers)
        encoded: dict[int, bytes] = {}
        for key, shown in segment_frames(path, frames, info, self._size):
            for number, frame in zip(frames[key], shown, strict=True):
                if number not in encoded:
                    encoded[number] = _encoded(frame, self._format)
            pictures = [encoded[number] for number in frames[key]]
            for number in frames[key]:
                uses[number] -= 1
                if not uses[number]:
                    del encoded[number]
            if key[1] == "llama3_caption":
                yield key, pictures
            else:
                yield key, [Clip(pictures, frames[key], float(info.fps), info.frames)]


def _encoded(frame: np.ndarray, image_format: str) -> bytes:
    import cv2

    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if image_format == "jpeg" else []
    done, data = cv2.imencode(f".{image_format}", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)
    if not done:
        raise RuntimeError(f"OpenCV could not write a {image_format}")
    return data.tobytes()


class MeasuredCaptioner:
    """The ``embedded`` preset: sentences that state what was measured in the frames."""

    name = "measured sentences (no model)"
    places: tuple[str, ...] = ("",) * (os.cpu_count() or 1)
    threads = 1

    def __init__(self, frames: int):
        self.frames = frames
        self.identity = {"backend": "measured", "frames": frames}

    def check(self) -> None:
        """There is nothing to be had."""

    def unload(self) -> None:
        """There are no weights."""

    def caption(
        self,
        path: str | os.PathLike[str],
        info: VideoInfo,
        tree: Tree,
        earlier: Sequence[Line],
        save: Callable[[Line], None],
    ) -> None:
        """See :class:`Captioner`."""
        found, _ = filled(earlier)
        waiting = [s for s in tree.segments if s.node_id not in found]
        if not waiting:
            return
        # All sampled frames and not only those of the segments: motion is between neighbours.
        frames = SampledFrames(path, measured.LONG_SIDE)
        looks = list(measured.looks(frames, SAMPLING_STRIDE / float(info.fps)))
        wanted = wanted_frames(tree, info, self.frames)
        shown = {key: [looks[n // SAMPLING_STRIDE] for n in wanted[key]] for key in wanted}
        for segment in waiting:
            images = shown.get((segment.node_id, "llama3_caption"))
            clip = shown[segment.node_id, "plm_caption"]
            line: Line = {
                "node_id": segment.node_id,
                "plm_caption": measured.video_caption(clip),
                "plm_action": measured.action_phrase(clip),
            }
            if images:
                line["llama3_caption"] = measured.image_caption(images[0])
            save(line)


def load(config: Mapping[str, Any], folder: Path | None = None) -> Captioner:
    """The captioner that a preset names; PresetError for an unknown backend or option.

    Args:
        folder: of the run, for logs
    """
    if config["backend"] == "measured":
        chosen = options("caption", config, frames=OPTIONS["frames"])
        _require(chosen["frames"] >= 1, f"frames must be at least 1, not {chosen['frames']}")
        return MeasuredCaptioner(chosen["frames"])
    _require_backend(config["backend"])
    own = {"backend": ""} | {k: v for k, v in config.items() if k in OPTIONS}
    chosen = options("caption", own, **OPTIONS)
    for name, least in (("frames", 1), ("size", 16), ("max_tokens", 1)):
        _require(chosen[name] >= least, f"{name} must be at least {least}, not {chosen[name]}")
    rest = {k: v for k, v in config.items() if k not in OPTIONS}
    segments = chat.load("caption", rest, folder, chosen["frames"])
    if not (leaf := chosen["leaf"]):
        return ChatCaptioner(segments, segments, chosen)
    _require("backend" in leaf, "leaf names no backend")
    _require_backend(leaf["backend"])
    _require(
        {rest["backend"], leaf["backend"]} != {"vllm"},
        "leaf needs a second vLLM server, for which the GPUs have no room; serve one of the models "
        "yourself (backend openai), or run one in process (backend transformers)",
    )
    return ChatCaptioner(segments, chat.load("caption", leaf, folder, 1), chosen)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise PresetError(f"caption: {otherwise}")


def _require_backend(backend: str) -> None:
    known = (*chat.BACKENDS, "measured")
    _require(backend in known[:-1], f"unknown backend {backend!r}; known are {', '.join(known)}")
