"""A chat model in this process, run with transformers: the backend ``transformers``.

For machines without vLLM, and for models that it does not serve, as the paper's two captioners
(Llama 3.2 Vision, Perception-LM). Any model does whose architecture and chat template transformers
knows: with eyes or without.

Answers are greedy. Questions of about the same length are answered together; what is in the batch
beside a question changes nothing about its answer but rounding.
"""

from __future__ import annotations

import gc
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import checkpoints, devices
from ..ahead import look_ahead
from ..checkpoints import CheckpointError, first_line
from ..devices import Device, DeviceLost
from ..presets import PresetError, options
from . import USUAL_CONTEXT, Answer, ChatError, Question, Usage
from .batches import Prepared, collated
from .constrained import Grammars, SchemaError, Watch, held
from .processor import Processor

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

_STOPPED = "the asking was stopped"


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
        processor: what its checkpoint holds beside its weights
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
        self.processor = Processor(role, self._model, self._revision, chosen["clips"])
        self.name = self.processor.name
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
        commit = getattr(self.processor.config, "_commit_hash", None) or self._revision
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
        self.processor.check()
        _ = self._grammars
        if self._options["device"].startswith("cuda"):
            import torch

            index = int(self._options["device"].partition(":")[2] or 0)
            if index >= (count := torch.cuda.device_count()):
                raise ChatError(
                    f"{self._role}: device {self._options['device']} is not there: torch sees "
                    f"{count} GPU(s); set device to auto, or repair the GPU's driver"
                )

    @cached_property
    def _grammars(self) -> Grammars:
        try:
            return Grammars(self.processor.words, self.processor.ends)
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
        made_for = getattr(self.processor.config.get_text_config(), "max_position_embeddings", None)
        return self._options["context"] or made_for or USUAL_CONTEXT

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return self.processor.count(text)

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
            model, loaded = self.processor.kind.from_pretrained(
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
        model.generation_config.update(
            do_sample=False,
            **dict.fromkeys(("temperature", "top_p", "top_k", "max_length")),
            eos_token_id=self.processor.ends,
            pad_token_id=self.processor.padding,
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
        _ = self.device, self.processor.words  # before another thread asks for them as well
        waiting: list[Prepared] = []
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

    def _prepared(self, numbered: tuple[int, Question]) -> Prepared | Answer:
        """A question as the model takes it, or why it cannot be asked. Runs in a thread."""
        index, question = numbered
        grammar = None
        try:
            prompt, inputs = self.processor.inputs(question, self.dtype)
            if question.schema is not None:
                grammar = self._grammars.grammar(question.schema)
        except ChatError:
            raise
        except SchemaError as error:
            return Answer(error=f"its schema cannot be enforced: {error}"[:300])
        except Exception as error:  # of a damaged picture, a template, a processor
            return Answer(error=f"{self.name} cannot be asked this: {first_line(error)}"[:300])
        prepared = Prepared(index, question, inputs, grammar, self.processor.begins(prompt))
        if prepared.length > self.context:
            reason = (
                f"a prompt of {prepared.prompt} tokens and an answer of up to "
                f"{question.max_tokens} are longer than the context of {self.context}"
            )
            return Answer(finish="context", error=reason)
        return prepared

    @property
    def _most(self) -> int:
        """Questions at once at most."""
        if self.batch_size:
            return self.batch_size
        return _MOST if self.device.room() else _MOST_ON_CPU

    def _in_batches(self, waiting: Sequence[Prepared], stops: int) -> Iterator[tuple[int, Answer]]:
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

    def _batch(self, todo: Sequence[Prepared]) -> list[Prepared]:
        """The first of them that can be answered together."""
        longest, most, mask = todo[0].length, self._most, _MASK_ON_CPU
        if self.device.room():
            mask = _MASK
            if not self.batch_size:  # of the first question it is measured what a token takes
                most = min(most, self._tokens_at_once // longest)
        most = max(1, min(most, mask // longest**2))
        batch: list[Prepared] = []
        for each in todo:
            if len(batch) == most or each.form != todo[0].form:
                break
            batch.append(each)
        return batch

    def _measured(self, batch: Sequence[Prepared], stops: int) -> list[Answer]:
        """Like :meth:`_generated`; the first time it tells from the memory how many fit."""
        model = self.model  # not part of what a question takes
        answers, taken = self.device.measured(lambda: self._generated(model, batch, stops))
        if taken and not self._tokens_at_once:
            tokens = max(each.prompt for each in batch) + max(a.usage.completion for a in answers)
            self._tokens_at_once = self.device.room() * tokens * len(batch) // taken
        return answers

    def _generated(self, model: Any, batch: Sequence[Prepared], stops: int) -> list[Answer]:
        import torch

        began = time.monotonic()
        inputs = collated(batch, model.generation_config.pad_token_id)
        inputs = {name: tensor.to(self.device.where) for name, tensor in inputs.items()}
        prompt = inputs["input_ids"].shape[1]
        limits = [each.question.max_tokens for each in batch]
        watches = [self._watch(each) for each in batch]
        limits_there = torch.tensor(limits, device=self.device.where)

        def enforce(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return held(watches, ids[:, prompt:], scores)

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

    def _watch(self, prepared: Prepared) -> Watch | None:
        """What holds a question's answer to its schema, from the start; None without a schema."""
        if prepared.grammar is None:
            return None
        return self._grammars.watch(prepared.grammar, prepared.begins, prepared.question.max_tokens)

    def _answer(
        self, prepared: Prepared, made: list[int], watch: Watch | None, seconds: float
    ) -> Answer:
        """The answer in the tokens that a model made, up to the one that ends it."""
        end = next((i for i, token in enumerate(made) if token in self.processor.ends), None)
        finish = "length" if end is None else "stop"
        said = made[:end]
        usage = Usage(prepared.prompt, 0, len(said) + (end is not None))
        if watch is not None and watch.error:
            return Answer(error=f"its schema cannot be enforced: {watch.error}", usage=usage)
        if (begins := prepared.begins) is not None:
            starts = [i + 1 for i in range(len(said)) if begins(said[: i + 1])]
            said = said[starts[-1] :] if starts else []
        text = self.processor.decoded(said)
        return Answer(text=text, finish=finish, usage=usage, seconds=seconds)
