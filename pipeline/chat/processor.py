"""Between questions and a model in this process: tokenizer, chat template, what prepares pictures.

All that a checkpoint holds beside its weights. It makes the model's input of a question, and a text
of the tokens that the model answers with.
"""

from __future__ import annotations

import copy
import io
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checkpoints
from ..checkpoints import CheckpointError, first_line
from . import ChatError, Clip, Question
from .constrained import Begins

if TYPE_CHECKING:
    import torch


class Processor:
    """A chat model without its weights. What it needs is loaded on first use.

    Args:
        role: for messages; "caption" needs a model that sees pictures
        model: a name on the hub, or a folder
        revision: on the hub; None is its newest
        clips: how clips are shown: "images", "video" or "auto"

    Attributes:
        name: of the model, for people
    """

    def __init__(self, role: str, model: str, revision: str | None, clips: str):
        self._role, self._model, self._revision, self._clips = role, model, revision, clips
        self.name = f"{model}@{revision}" if revision else model
        self._counting = threading.Lock()

    def check(self) -> None:
        """Make sure that it is there and that the model can do what its role needs.

        Raises:
            ChatError: it is not, or a package is missing
        """
        if not getattr(self._loaded, "chat_template", None):
            raise self._unfit("has no chat template, so it cannot be asked", "an -Instruct model")
        if self._role == "caption" and not self._sees:
            raise self._unfit("sees no pictures", "one that does, as Qwen/Qwen3-VL-4B-Instruct")
        if self._clips == "video" and not self._sees_videos:
            raise self._unfit("sees no videos", "another, or set clips to images")

    def _unfit(self, why: str, instead: str) -> ChatError:
        return ChatError(f"{self._role}: the model {self.name} {why}; name {instead}")

    # -- what there is of it -------------------------------------------------------------------

    @cached_property
    def config(self) -> Any:
        """The model's configuration; ChatError if it is not to be had."""
        try:
            return checkpoints.configuration("transformers", self._model, self._revision)
        except CheckpointError as error:
            raise ChatError(f"{self._role}: {error}") from error

    @cached_property
    def kind(self) -> Any:
        """The class that loads the weights; ChatError if the model is none to chat with."""
        from transformers import (
            MODEL_FOR_CAUSAL_LM_MAPPING,
            MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
            AutoModelForCausalLM,
            AutoModelForImageTextToText,
        )

        if type(self.config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            return AutoModelForImageTextToText
        if type(self.config) in MODEL_FOR_CAUSAL_LM_MAPPING:
            return AutoModelForCausalLM
        raise self._unfit(
            f"is a {self.config.model_type!r}, which is no chat model", "an -Instruct model"
        )

    @cached_property
    def ends(self) -> list[int]:
        """Tokens that end an answer."""
        from transformers import GenerationConfig

        try:
            found = GenerationConfig.from_pretrained(
                self._model, revision=self._revision
            ).eos_token_id
        except OSError:  # not every model has one
            found = None
        if found is None:
            found = self.config.get_text_config().eos_token_id
        if found is None:
            found = self._tokenizer.eos_token_id
        return [*found] if isinstance(found, list | tuple) else [found]

    @property
    def padding(self) -> int:
        """The token that fills up the shorter prompts of a batch."""
        padding = self._tokenizer.pad_token_id
        return self.ends[0] if padding is None else padding

    @cached_property
    def words(self) -> Any:
        """The tokenizer once more: one is not to be used by two threads."""
        return copy.deepcopy(self._tokenizer)

    @cached_property
    def _loaded(self) -> Any:
        """What makes a model's input of texts and pictures; without eyes, its tokenizer."""
        from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

        loader = AutoProcessor if self.kind is AutoModelForImageTextToText else AutoTokenizer
        try:
            processor = loader.from_pretrained(
                self._model, revision=self._revision, trust_remote_code=False
            )
        except ImportError as error:
            lines = " ".join(str(error).split())
            raise ChatError(
                f"{self._role}: what prepares the input of {self.name} needs a package that is "
                f"missing ({lines[:200]}); install it with `make models`"
            ) from error
        except Exception as error:  # of the files' formats, the hub, the network, ...
            raise ChatError(
                f"{self._role}: the tokenizer or processor of {self.name} cannot be loaded "
                f"({first_line(error)}); download the model again"
            ) from error
        # What is too long is said by us, of each question, and not once on standard error.
        getattr(processor, "tokenizer", processor).model_max_length = 1 << 60
        seer: Any = getattr(processor, "video_processor", None)
        if hasattr(seer, "cap_pixels_per_frame"):
            seer.cap_pixels_per_frame = True  # Qwen3-VL's own way, and transformers' from 5.22 on
        return processor

    @property
    def _tokenizer(self) -> Any:
        return getattr(self._loaded, "tokenizer", self._loaded)

    @property
    def _sees(self) -> bool:
        return hasattr(self._loaded, "image_processor")

    @property
    def _sees_videos(self) -> bool:
        return getattr(self._loaded, "video_processor", None) is not None

    # -- between texts and tokens --------------------------------------------------------------

    def count(self, text: str) -> int:
        """Tokens of a text."""
        with self._counting:
            return len(self.words(text, add_special_tokens=False)["input_ids"])

    def decoded(self, tokens: Sequence[int]) -> str:
        """What tokens say, without those that are no words."""
        with self._counting:
            text: str = self.words.decode(tokens, skip_special_tokens=True)
        return text

    def begins(self, prompt: str) -> Begins | None:
        """Where the answer proper begins, for models that reason first and mark the end of it.

        None if all is the answer: reasoning that a model begins by itself is left in.
        """
        number = self._tokenizer.convert_tokens_to_ids
        if prompt.rstrip().endswith("<think>"):
            end = number("</think>")
            return lambda made: made[-1] == end
        message = number("<|message|>")
        if number("<|channel|>") in (None, self._tokenizer.unk_token_id):
            return None

        def final(made: Sequence[int]) -> bool:  # gpt-oss
            if made[-1] != message:
                return False
            with self._counting:
                header = self.words.decode(made[-12:-1])
            return header.rpartition("<|channel|>")[2].split("<", 1)[0].strip() == "final"

        return final

    # -- from a question to a model's input ----------------------------------------------------

    def inputs(self, question: Question, dtype: torch.dtype) -> tuple[str, dict[str, torch.Tensor]]:
        """The prompt as text, and all that the model takes, as a batch of one.

        Args:
            dtype: what the model computes in
        """
        content: list[dict[str, str]] = []
        images: list[Any] = []
        videos: list[Any] = []
        timings: list[dict[str, Any]] = []
        as_video = self._clips != "images" and self._sees_videos
        for part in question.parts:
            if isinstance(part, str):
                content.append({"type": "text", "text": part})
            # No model has a video of one frame.
            elif isinstance(part, Clip) and as_video and len(part.frames) > 1:
                content.append({"type": "video"})
                videos.append(np.stack([np.asarray(_picture(frame)) for frame in part.frames]))
                timings.append(_timing(part))
            else:
                frames = part.frames if isinstance(part, Clip) else [part]
                content += [{"type": "image"} for _ in frames]
                images += [_picture(frame) for frame in frames]
        prompt = self._rendered(question.system, content)
        if not self._sees:
            if images:
                raise ValueError("it sees no pictures")
            return prompt, self._tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        seen: dict[str, Any] = {}
        if images:
            seen["images"] = images
        if videos:
            seen.update(videos=videos, video_metadata=timings, do_sample_frames=False)
        begin = self._tokenizer.bos_token
        if begin and prompt.startswith(begin):
            seen["add_special_tokens"] = False
        inputs = self._loaded(text=[prompt], return_tensors="pt", **seen)
        return prompt, {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in inputs.items()
        }

    def _rendered(self, system: str, content: list[dict[str, str]]) -> str:
        """The prompt as text; for a template without a system message it begins the question.

        Some refuse one beside pictures (Llama 3.2 Vision), or would leave it out.
        """
        from jinja2 import TemplateError

        if system:
            try:
                prompt = self._templated([_message("system", [_text(system)], self._sees)], content)
                if system.strip() in prompt:
                    return prompt
            except TemplateError:
                pass
            content = [_text(f"{system}\n\n"), *content]
        return self._templated([], content)

    def _templated(self, before: list[dict[str, Any]], content: list[dict[str, str]]) -> str:
        messages = [*before, _message("user", content, self._sees)]
        prompt: str = self._loaded.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return prompt


def _message(role: str, content: list[dict[str, str]], sees: bool) -> dict[str, Any]:
    """As templates want it: of models without eyes plain text."""
    return {
        "role": role,
        "content": content if sees else "".join(part.get("text", "") for part in content),
    }


def _timing(clip: Clip) -> dict[str, Any]:
    """When a clip's frames are shown, in the words of transformers."""
    return {
        "fps": clip.fps,
        "frames_indices": list(clip.numbers),
        "total_num_frames": clip.total,
    }


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _picture(data: bytes) -> Any:
    """JPEG or PNG as PIL has it, in RGB."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")
