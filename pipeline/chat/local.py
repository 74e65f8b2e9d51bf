"""A chat model in this process, run with transformers: the backend ``transformers``.

For machines without vLLM, and for models that it does not serve, as the paper's two captioners
(Llama 3.2 Vision, Perception-LM). Any model does whose architecture and chat template transformers
knows: with eyes or without.

Answers are greedy. Questions of about the same length are answered together; what is in the batch
beside a question changes nothing about its answer but rounding.
"""

from __future__ import annotations

import copy
import gc
import io
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checkpoints, devices
from ..ahead import look_ahead
from ..checkpoints import CheckpointError, first_line
from ..devices import Device, DeviceLost
from ..presets import PresetError, options
from . import USUAL_CONTEXT, Answer, ChatError, Clip, Question, Usage

if TYPE_CHECKING:
    import torch

#: The options of ``backend: transformers`` in a preset; of several choices the first is the
#: default.
OPTIONS: Mapping[str, Any] = {
    "model": "",  # a name on the Hugging Face hub, or a local folder
    "revision": "",  # of that model on the hub: a branch, tag or commit; "" is its newest
    # "auto" is bfloat16, on a GPU that lacks it float16, on a CPU float32.
    "dtype": ("auto", "bfloat16", "float16", "float32"),
    # Frames as a video with their times, or one by one; auto: as a video if the model sees videos.
    "clips": ("auto", "images", "video"),
    "context": 0,  # tokens of prompt and answer together; 0 is what the model was made for
    # These are about speed alone.
    "batch_size": 0,  # questions at once; 0 finds it from the device's free memory
    "device": "auto",  # all GPUs if there are any, else the CPU; cuda; cuda:N is that one alone
}

# What answers depend on, beside the model itself.
_MAKES = ("dtype", "clips")
# Files that belong to a chat model beside its configuration and weights.
_BESIDE = ("*.json", "*.jinja", "*.model")
# Questions at once where nothing else limits them: more fill no GPU any better, and one on a CPU.
_MOST, _MOST_ON_CPU = 64, 4
# Bytes of the mask that hides a batch's padding: questions x tokens x tokens. What is alone needs
# none, and is soon faster on a CPU.
_MASK, _MASK_ON_CPU = 2 << 30, 16 << 20
# What is looked through for questions of the same length: batches, and bytes of prepared pictures.
_BATCHES_AHEAD, _BYTES_AHEAD = 4, 1 << 30
# Questions whose pictures are prepared in a thread while the model computes.
_PREPARED_AHEAD = 32
# White space between the parts of a JSON answer. Models that may write any amount sometimes write
# nothing else.
_WHITE_SPACE: Any = {"whitespace_flexible": False, "whitespace_pattern": r"[ \n]{0,16}"}

_STOPPED = "the asking was stopped"

#: Whether the answer proper begins behind these tokens, for models that reason before it.
Begins = Callable[[Sequence[int]], bool]


class LocalChat:
    """A chat model that transformers runs in this process (see ``Chat``).

    Making one checks the options alone; :meth:`check` also the checkpoint and the packages. The
    weights are loaded with the first question.

    Args:
        role: for messages, as in ``load``; "caption" needs a model that sees pictures
        config: with :data:`OPTIONS`
        device: instead of the one that ``config`` names

    Attributes:
        name: of the model
        batch_size: questions at once; 0 until the first one has shown what they take; halved for
            good when the device's memory turns out too small

    Raises:
        PresetError: an option has a value that it can't have, or a package is missing
    """

    threads = 1  # its questions are answered together: more threads would wait for one another

    def __init__(self, role: str, config: Mapping[str, Any], device: Device | None = None):
        self._role = role
        self._options = chosen = options(role, config, **OPTIONS)
        self._model, self._revision = chosen["model"], chosen["revision"] or None
        self.name = f"{self._model}@{self._revision}" if self._revision else self._model
        self.batch_size: int = chosen["batch_size"]
        if not self._model:
            raise PresetError(
                f"{role}: model is missing, for example Qwen/Qwen3-VL-4B-Instruct or a folder"
            )
        for name in ("batch_size", "context"):
            if chosen[name] < 0:
                raise PresetError(f"{role}: {name} must not be {chosen[name]}")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", chosen["device"]):
            raise PresetError(
                f"{role}: device must be auto, cpu, cuda or cuda:N, not {chosen['device']!r}"
            )
        if missing := [n for n in ("torch", "transformers", "llguidance") if not find_spec(n)]:
            raise PresetError(
                f"{role}: the backend transformers needs {', '.join(missing)}; "
                "install what it needs with `make models`"
            )
        if device is not None:
            self.device = device
        self._tokens_at_once = 0  # that fit into the device's memory; 0: not known
        self._lock = threading.RLock()
        self._counting = threading.Lock()
        self._stops = 0  # how often what was being asked was to end

    # -- before the first question -------------------------------------------------------------

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """What answers depend on, in plain JSON data.

        A local folder counts by its content, wherever it is, a model of the hub by its commit.

        Raises:
            ChatError: the model is not to be had
        """
        made: dict[str, Any] = {name: self._options[name] for name in _MAKES}
        if Path(self._model).is_dir():
            return {"model": checkpoints.fingerprint(Path(self._model), *_BESIDE), **made}
        commit = getattr(self._config, "_commit_hash", None) or self._revision
        return {"model": self._model, "revision": commit, **made}

    @property
    def places(self) -> tuple[str, ...]:
        """Each GPU; on a CPU one process with all of its threads."""
        wanted = self._options["device"]
        return tuple(devices.gpus() if wanted in ("auto", "cuda") else ()) or ("",)

    def check(self) -> None:
        """Make sure that the model is there, whole, and can do what its role needs.

        Loads its tokenizer and what prepares its pictures, but no weights, and touches no GPU.

        Raises:
            ChatError: it is not, or a package is missing
        """
        try:
            if Path(self._model).is_dir():
                checkpoints.tensor_names(Path(self._model))
        except CheckpointError as error:
            raise ChatError(f"{self._role}: {error}") from error
        if not self._template:
            raise self._unfit("has no chat template, so it cannot be asked", "an -Instruct model")
        if self._role == "caption" and not self._sees:
            raise self._unfit("sees no pictures", "one that does, as Qwen/Qwen3-VL-4B-Instruct")
        if self._options["clips"] == "video" and not self._sees_videos:
            raise self._unfit("sees no videos", "another, or set clips to images")
        _ = self._words, self._grammars
        if self._options["device"].startswith("cuda"):
            import torch

            index = int(self._options["device"].partition(":")[2] or 0)
            if index >= (count := torch.cuda.device_count()):
                raise ChatError(
                    f"{self._role}: device {self._options['device']} is not there: torch sees "
                    f"{count} GPU(s); set device to auto, or repair the GPU's driver"
                )

    def _unfit(self, why: str, instead: str) -> ChatError:
        return ChatError(f"{self._role}: the model {self.name} {why}; name {instead}")

    @cached_property
    def _config(self) -> Any:
        try:
            return checkpoints.configuration("transformers", self._model, self._revision)
        except CheckpointError as error:
            raise ChatError(f"{self._role}: {error}") from error

    @cached_property
    def _kind(self) -> Any:
        """The class that loads the weights."""
        from transformers import (
            MODEL_FOR_CAUSAL_LM_MAPPING,
            MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
            AutoModelForCausalLM,
            AutoModelForImageTextToText,
        )

        if type(self._config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            return AutoModelForImageTextToText
        if type(self._config) in MODEL_FOR_CAUSAL_LM_MAPPING:
            return AutoModelForCausalLM
        raise self._unfit(
            f"is a {self._config.model_type!r}, which is no chat model", "an -Instruct model"
        )

    @property
    def _sees(self) -> bool:
        return hasattr(self._processor, "image_processor")

    @property
    def _sees_videos(self) -> bool:
        return getattr(self._processor, "video_processor", None) is not None

    @cached_property
    def _processor(self) -> Any:
        """What makes a model's input of texts and pictures; without eyes, its tokenizer."""
        from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

        loader = AutoProcessor if self._kind is AutoModelForImageTextToText else AutoTokenizer
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
        return getattr(self._processor, "tokenizer", self._processor)

    @property
    def _template(self) -> Any:
        return getattr(self._processor, "chat_template", None)

    @cached_property
    def _words(self) -> Any:
        """The tokenizer once more: one is not to be used by two threads."""
        return copy.deepcopy(self._tokenizer)

    @cached_property
    def _ends(self) -> list[int]:
        """Tokens that end an answer."""
        from transformers import GenerationConfig

        try:
            found = GenerationConfig.from_pretrained(
                self._model, revision=self._revision
            ).eos_token_id
        except OSError:  # not every model has one
            found = None
        if found is None:
            found = self._config.get_text_config().eos_token_id
        if found is None:
            found = self._tokenizer.eos_token_id
        return [*found] if isinstance(found, list | tuple) else [found]

    @cached_property
    def _grammars(self) -> Any:
        """The tokenizer, as what holds answers to their schemas wants it."""
        from llguidance.hf import from_tokenizer

        try:
            return from_tokenizer(self._words, eos_token=self._ends)
        except Exception as error:  # the library raises several kinds
            raise ChatError(
                f"{self._role}: answers of {self.name} cannot be held to a schema, its tokenizer "
                f"is of a kind that llguidance does not know ({first_line(error)}); name another "
                "model"
            ) from error

    # -- how long a prompt may be --------------------------------------------------------------

    @cached_property
    def context(self) -> int:
        """Tokens that a prompt and its answer may have together."""
        made_for = getattr(self._config.get_text_config(), "max_position_embeddings", None)
        return self._options["context"] or made_for or USUAL_CONTEXT

    def count(self, text: str) -> int:
        """Tokens of a text."""
        with self._counting:
            return len(self._words(text, add_special_tokens=False)["input_ids"])

    # -- the weights ---------------------------------------------------------------------------

    @cached_property
    def device(self) -> Device:
        """Where the model runs; DeviceLost for a GPU that is not there any more."""
        return devices.choose(self._options["device"])

    @cached_property
    def dtype(self) -> torch.dtype:
        """What the model computes in."""
        import torch

        wanted = self._options["dtype"]
        return self.device.dtype if wanted == "auto" else getattr(torch, wanted)

    @cached_property
    def model(self) -> Any:
        """The model with its weights, loaded on first use.

        Raises:
            ChatError: they are not to be had, damaged or incomplete, or do not fit onto the device
        """
        import torch
        import transformers

        transformers.logging.disable_progress_bar()
        try:
            model, loaded = self._kind.from_pretrained(
                self._model,
                revision=self._revision,
                dtype=self.dtype,
                trust_remote_code=False,
                output_loading_info=True,
            )
            # transformers fills what a checkpoint lacks with random numbers.
            checkpoints.require_all(self.name, sorted(loaded["missing_keys"]))
            model = model.to(self.device.where).eval().requires_grad_(False)
        except CheckpointError as error:
            raise ChatError(f"{self._role}: {error}") from error
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise ChatError(
                f"{self._role}: the weights of {self.name} do not fit into the memory that is free "
                f"on {self.device.where}; end other programs there, or choose a smaller model"
            ) from error
        except Exception as error:  # of the file's format, the hub, the network, ...
            raise ChatError(
                f"{self._role}: the weights of {self.name} cannot be loaded "
                f"({first_line(error)}); download the model again"
            ) from error
        padding = self._tokenizer.pad_token_id
        model.generation_config.update(
            do_sample=False,
            **dict.fromkeys(("temperature", "top_p", "top_k", "max_length")),
            eos_token_id=self._ends,
            pad_token_id=self._ends[0] if padding is None else padding,
        )
        return model

    def unload(self) -> None:
        """Give back the memory of the weights; the next question loads them again.

        Questions that are being asked end with ChatError.
        """
        self._stops += 1
        with self._lock:
            if vars(self).pop("model", None) is not None:
                gc.collect()
                self.device.release()

    # -- asking --------------------------------------------------------------------------------

    def ask(
        self,
        questions: Iterable[Question],
        on_answer: Callable[[int, Answer], None] | None = None,
    ) -> list[Answer]:
        """Ask all; returns the answers in the order of the questions. One thread at a time does.

        Args:
            questions: taken one by one as there is room, so that pictures need not all be in memory
            on_answer: called in this thread with a question's index and its answer as it comes

        Raises:
            ChatError: see :attr:`model`; or :meth:`unload` was called
            DeviceLost: the GPU does not answer any more
        """
        stops = self._stops
        answers: dict[int, Answer] = {}
        with self._lock, closing(self._answered(questions, stops)) as answered:
            for index, answer in answered:
                answers[index] = answer
                if on_answer is not None:
                    on_answer(index, answer)
                self._go_on(stops)
        return [answers[index] for index in sorted(answers)]

    def _go_on(self, stops: int) -> None:
        """ChatError if :meth:`unload` was called since ``stops`` was read."""
        if self._stops != stops:
            raise ChatError(f"{self._role}: {_STOPPED}")

    def _answered(
        self, questions: Iterable[Question], stops: int
    ) -> Generator[tuple[int, Answer], None, None]:
        """(index, answer) as they come."""
        _ = self.device, self._words  # before another thread asks for them as well
        waiting: list[_Prepared] = []
        numbered = enumerate(questions)
        with closing(look_ahead(self._prepared, numbered, 1, _PREPARED_AHEAD)) as ahead:
            for (index, _), prepared in ahead:
                self._go_on(stops)
                if isinstance(prepared, Answer):
                    yield index, prepared
                    continue
                waiting.append(prepared)
                enough = len(waiting) >= _BATCHES_AHEAD * self._most
                if enough or sum(each.bytes for each in waiting) >= _BYTES_AHEAD:
                    yield from self._in_batches(waiting, stops)
                    waiting = []
            yield from self._in_batches(waiting, stops)

    @property
    def _most(self) -> int:
        """Questions at once at most."""
        if self.batch_size:
            return self.batch_size
        return _MOST if self.device.room() else _MOST_ON_CPU

    def _in_batches(self, waiting: Sequence[_Prepared], stops: int) -> Iterator[tuple[int, Answer]]:
        """Answer all, those of a length together; halves a batch that is too much."""
        import torch

        # The longest first: what is too much shows at once.
        todo = deque(sorted(waiting, key=lambda each: (each.form, each.length), reverse=True))
        while todo:
            batch = self._batch(todo)
            try:
                answers = self._measured(batch, stops)
            except torch.OutOfMemoryError:
                answers = []
                if len(batch) == 1:
                    reason = (
                        f"a question of {batch[0].prompt} tokens does not fit into the memory "
                        f"that is free on {self.device.where} beside the model; end other "
                        "programs there, choose a smaller model, or set fewer or smaller frames"
                    )
                    answers = [Answer(error=reason)]
                else:
                    self.batch_size = len(batch) // 2
            except RuntimeError as error:
                if isinstance(error, ChatError | DeviceLost) or not self.device.lost():
                    raise
                raise DeviceLost(
                    f"{self.device.where} does not answer any more ({first_line(error)}); "
                    "see the system's log for its driver"
                ) from error
            if not answers:
                # Only here is the error gone, and with it the tensors that its traceback holds.
                self.device.release()
                continue
            for prepared, answer in zip(batch, answers, strict=True):
                todo.popleft()
                yield prepared.index, answer

    def _batch(self, todo: Sequence[_Prepared]) -> list[_Prepared]:
        """The first of them that can be answered together."""
        longest, most, mask = todo[0].length, self._most, _MASK_ON_CPU
        if self.device.room():
            mask = _MASK
            if not self.batch_size:  # of the first question it is measured what a token takes
                most = min(most, self._tokens_at_once // longest)
        most = max(1, min(most, mask // longest**2))
        batch: list[_Prepared] = []
        for each in todo:
            if len(batch) == most or each.form != todo[0].form:
                break
            batch.append(each)
        return batch

    def _measured(self, batch: Sequence[_Prepared], stops: int) -> list[Answer]:
        """Like :meth:`_generated`; the first time it tells from the memory how many fit."""
        model = self.model  # not part of what a question takes
        answers, taken = self.device.measured(lambda: self._generated(model, batch, stops))
        if taken and not self._tokens_at_once:
            tokens = max(each.prompt for each in batch) + max(a.usage.completion for a in answers)
            self._tokens_at_once = self.device.room() * tokens * len(batch) // taken
        return answers

    def _generated(self, model: Any, batch: Sequence[_Prepared], stops: int) -> list[Answer]:
        import torch

        began = time.monotonic()
        inputs = _collated([each.inputs for each in batch], model.generation_config.pad_token_id)
        inputs = {name: tensor.to(self.device.where) for name, tensor in inputs.items()}
        prompt = inputs["input_ids"].shape[1]
        limits = [each.question.max_tokens for each in batch]
        watches = [self._watch(each) for each in batch]
        limits_there = torch.tensor(limits, device=self.device.where)

        def enforce(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return _held(watches, ids[:, prompt:], scores)

        def stop(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            self._go_on(stops)
            return limits_there <= ids.shape[1] - prompt

        with torch.inference_mode():
            made = model.generate(
                **inputs,
                max_new_tokens=max(limits),
                logits_processor=[enforce] if any(watches) else [],
                stopping_criteria=[stop],
            )
        rows = made[:, prompt:].tolist()
        seconds = round(time.monotonic() - began, 3)
        return [
            self._answer(each, row[:limit], watch, seconds)
            for each, row, limit, watch in zip(batch, rows, limits, watches, strict=True)
        ]

    def _watch(self, prepared: _Prepared) -> _Watch | None:
        """What holds a question's answer to its schema, from the start; None without a schema."""
        from llguidance import LLMatcher

        if prepared.grammar is None:
            return None
        matcher = LLMatcher(self._grammars, prepared.grammar, log_level=0)
        return _Watch(matcher, prepared.begins, prepared.question.max_tokens)

    def _answer(
        self, prepared: _Prepared, made: list[int], watch: _Watch | None, seconds: float
    ) -> Answer:
        """The answer in the tokens that a model made, up to the one that ends it."""
        end = next((i for i, token in enumerate(made) if token in self._ends), None)
        finish = "length" if end is None else "stop"
        said = made[:end]
        usage = Usage(prepared.prompt, 0, len(said) + (end is not None))
        if watch is not None and watch.matcher.is_error():
            reason = first_line(ValueError(watch.matcher.get_error()))
            return Answer(error=f"its schema cannot be enforced: {reason}", usage=usage)
        if (begins := prepared.begins) is not None:
            starts = [i + 1 for i in range(len(said)) if begins(said[: i + 1])]
            said = said[starts[-1] :] if starts else []
        with self._counting:
            text = self._words.decode(said, skip_special_tokens=True)
        return Answer(text=text, finish=finish, usage=usage, seconds=seconds)

    # -- from a question to a model's input ----------------------------------------------------

    def _prepared(self, numbered: tuple[int, Question]) -> _Prepared | Answer:
        """A question as the model takes it, or why it cannot be asked. Runs in a thread."""
        from llguidance import LLMatcher

        index, question = numbered
        grammar = None
        try:
            prompt, inputs = self._inputs(question)
            if question.schema is not None:
                grammar = LLMatcher.grammar_from_json_schema(
                    json.dumps(question.schema), overrides=_WHITE_SPACE
                )
                if problem := LLMatcher.validate_grammar(grammar, self._grammars):
                    return Answer(error=f"its schema cannot be enforced: {problem}"[:300])
        except ChatError:
            raise
        except Exception as error:  # of a damaged picture, a template, a processor
            return Answer(error=f"{self.name} cannot be asked this: {first_line(error)}"[:300])
        prepared = _Prepared(index, question, inputs, grammar, self._begins(prompt))
        if prepared.length > self.context:
            reason = (
                f"a prompt of {prepared.prompt} tokens and an answer of up to "
                f"{question.max_tokens} are longer than the context of {self.context}"
            )
            return Answer(finish="context", error=reason)
        return prepared

    def _inputs(self, question: Question) -> tuple[str, dict[str, torch.Tensor]]:
        """The prompt as text, and all that the model takes, as a batch of one."""
        content: list[dict[str, str]] = []
        images: list[Any] = []
        videos: list[Any] = []
        timings: list[dict[str, Any]] = []
        as_video = self._options["clips"] != "images" and self._sees_videos
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
        inputs = self._processor(text=[prompt], return_tensors="pt", **seen)
        return prompt, {
            name: tensor.to(self.dtype) if tensor.is_floating_point() else tensor
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
        prompt: str = self._processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return prompt

    def _begins(self, prompt: str) -> Begins | None:
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
                header = self._words.decode(made[-12:-1])
            return header.rpartition("<|channel|>")[2].split("<", 1)[0].strip() == "final"

        return final


@dataclass(frozen=True)
class _Prepared:
    """A question as the model takes it.

    Attributes:
        index: of the question
        inputs: a batch of one
        grammar: of its schema, as llguidance writes it
        begins: where the answer proper begins; None: at once
    """

    index: int
    question: Question
    inputs: Mapping[str, torch.Tensor]
    grammar: str | None
    begins: Begins | None

    @property
    def prompt(self) -> int:
        """Tokens."""
        return int(self.inputs["input_ids"].shape[1])

    @property
    def length(self) -> int:
        """Tokens of the prompt and of the longest answer."""
        return self.prompt + self.question.max_tokens

    @property
    def form(self) -> str:
        """The same for questions whose inputs can be put together."""
        return repr([(k, *_form(v, self.prompt)) for k, v in sorted(self.inputs.items())])

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.inputs.values())


class _Watch:
    """Holds one answer to its schema, from where the answer proper begins.

    Args:
        limit: tokens of the answer; what others in the batch still make behind it is nothing
    """

    def __init__(self, matcher: Any, begins: Begins | None, limit: int):
        self.matcher, self._begins, self._limit = matcher, begins, limit
        self._seen = 0

    def take(self, made: Sequence[int]) -> bool:
        """Take note of the newest token; whether the next one is to follow the schema."""
        newest, self._seen = made[self._seen :], len(made)
        if len(made) >= self._limit or self.matcher.is_error():
            return False
        if self._begins is not None:
            if newest and self._begins(made):
                self._begins = None
            return self._begins is None
        if newest and not self.matcher.is_stopped():
            self.matcher.consume_tokens([*newest])
        return not self.matcher.is_error()


def _held(
    watches: Sequence[_Watch | None], made: torch.Tensor, scores: torch.Tensor
) -> torch.Tensor:
    """The scores (B, V) of the next tokens, -inf where a schema does not allow one.

    Args:
        made: (B, n) tokens of the answers so far
    """
    import torch

    vocabulary = scores.shape[1]
    allowed = np.ones(scores.shape, bool)
    for row, (watch, tokens) in enumerate(zip(watches, made.tolist(), strict=True)):
        if watch is not None and watch.take(tokens):
            bits = np.frombuffer(watch.matcher.compute_bitmask(), np.uint8)
            mask = np.unpackbits(bits, bitorder="little")[:vocabulary].astype(bool)
            allowed[row] = False  # the model can have more tokens than its tokenizer
            allowed[row, : len(mask)] = mask
    return scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), -torch.inf)


def _form(tensor: torch.Tensor, prompt: int) -> tuple[Any, ...]:
    """What two questions' tensors must have in common to be put together."""
    return ("tokens", *tensor.shape[2:]) if _per_token(tensor, prompt) else tensor.shape[1:]


def _per_token(tensor: torch.Tensor, prompt: int) -> bool:
    """Whether it has an entry for each of the prompt's tokens: (1, tokens, ...)."""
    return tensor.dim() > 1 and tuple(tensor.shape[:2]) == (1, prompt)


def _collated(inputs: Sequence[Mapping[str, torch.Tensor]], padding: int) -> dict[str, Any]:
    """The inputs of several questions of one form as one batch, padded on the left."""
    import torch
    from torch.nn.functional import pad

    prompts = [int(each["input_ids"].shape[1]) for each in inputs]
    longest = max(prompts)
    result = {}
    for name in inputs[0]:
        tensors = [each[name] for each in inputs]
        if _per_token(tensors[0], prompts[0]):
            value = padding if name == "input_ids" else 0
            tensors = [
                pad(each, (*(0, 0) * (each.dim() - 2), longest - prompt, 0), value=value)
                for each, prompt in zip(tensors, prompts, strict=True)
            ]
        result[name] = torch.cat(tensors)
    return result


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
