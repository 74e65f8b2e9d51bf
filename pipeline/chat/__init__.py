"""Asking chat models: many questions in, for each an answer or the reason why there is none.

Three backends answer by the same contract, :class:`Chat`:

- ``openai`` (``server.py``): any server that speaks OpenAI's ``/chat/completions``
- ``vllm`` (``vllm.py``): vLLM on this machine's GPUs, started for the stage and stopped after it
- ``transformers`` (``local.py``): in this process, for models that vLLM does not serve;
  ``processor.py`` makes a model's input, ``batches.py`` puts several together, ``constrained.py``
  holds answers to schemas
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..presets import PresetError

#: Names of the backends, as presets have them.
BACKENDS = ("openai", "vllm", "transformers")
#: Tokens of a prompt and its answer where neither the preset nor the model says how many it takes.
USUAL_CONTEXT = 32_768


class ChatError(RuntimeError):
    """A model or server that cannot be used at all; the message names it and what to do."""


@dataclass(frozen=True)
class Clip:
    """Frames of a segment, for models that see video; others get them one by one.

    Attributes:
        frames: JPEG
        numbers: of the frames in the video, ascending
        fps: raw frames of the video a second
        total: raw frames of the video
    """

    frames: Sequence[bytes]
    numbers: Sequence[int]
    fps: float
    total: int

    def timing(self) -> dict[str, Any]:
        """When the frames are shown, in the words of vLLM's ``media_io_kwargs``."""
        return {
            "num_frames": len(self.frames),
            "fps": self.fps,
            "frames_indices": list(self.numbers),
            "total_num_frames": self.total,
        }


@dataclass(frozen=True)
class Question:
    """One request of its own: no conversation, nothing remembered.

    Attributes:
        system: what holds for many questions, or ""; first, so that a server's prefix cache
            serves it
        parts: the user's turn in its order: texts, pictures as JPEG or PNG, and at most one clip
        max_tokens: of the answer
        schema: a JSON schema that the answer is to follow, or None for free text
    """

    system: str
    parts: Sequence[str | bytes | Clip]
    max_tokens: int = 1024
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Usage:
    """Tokens: of the prompt, how many of those came out of the server's cache, of the answer."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0


@dataclass(frozen=True)
class Answer:
    """What came of a question.

    Attributes:
        text: the answer; "" if there is none
        finish: why it ends, in the server's words ("stop", "length", "content_filter" ...), or
            "context" for a question that is longer than the model's context
        error: why there is no answer; "" if there is one
        usage: tokens, as the server counts them
        tries: requests that were made
        seconds: from the first request to the answer
    """

    text: str = ""
    finish: str = ""
    error: str = ""
    usage: Usage = field(default_factory=Usage)
    tries: int = 1
    seconds: float = 0.0


class Backend(Protocol):
    """What fills a role of a preset. Nothing is loaded or started before it is first used.

    Attributes:
        name: of the model, for people, files' metadata and FiftyOne runs
        identity: what its results depend on, in plain JSON data: no option about speed alone
        places: where processes with it work side by side, see ``workers``
        threads: videos that one process may work on at the same time
    """

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> Mapping[str, Any]: ...
    @property
    def places(self) -> tuple[str, ...]: ...
    @property
    def threads(self) -> int: ...

    def check(self) -> None:
        """Make sure that it can be had, without loading weights or starting a server.

        Raises:
            ChatError: it cannot
        """

    def unload(self) -> None:
        """Give memory and connections back; the next use takes them again.

        Questions that are being asked end with ChatError.
        """


class Chat(Backend, Protocol):
    """A chat model that can be asked."""

    def ask(
        self,
        questions: Iterable[Question],
        on_answer: Callable[[int, Answer], None] | None = None,
    ) -> list[Answer]:
        """Ask all; returns the answers in the order of the questions. May be called by threads.

        Args:
            questions: taken one by one as there is room, so that pictures need not all be in memory
            on_answer: called in this thread with a question's index and its answer as it arrives

        Raises:
            ChatError: none can be answered: a wrong key, no such model, a server that is gone
        """

    def count(self, text: str) -> int:
        """Tokens of a text."""

    @property
    def context(self) -> int:
        """Tokens that a prompt and its answer may have together."""


def load(
    role: str, config: Mapping[str, Any], folder: Path | None = None, pictures: int = 0
) -> Chat:
    """The chat model that a role's configuration names.

    Args:
        role: for messages: "caption" or "refine"
        config: with ``backend``, and the options of that backend's module
        folder: of the run, for logs; None for a temporary one
        pictures: that a question has at most

    Raises:
        PresetError: an unknown backend or option, or a missing package
    """
    backend = config["backend"]
    if backend == "openai":
        from .server import load_server

        return load_server(role, config)
    if backend == "vllm":
        from .vllm import VllmChat

        return VllmChat(role, config, folder, pictures)
    if backend == "transformers":
        from .local import LocalChat

        return LocalChat(role, config)
    raise PresetError(f"{role}: unknown backend {backend!r}; known are {', '.join(BACKENDS)}")
