"""Questions put together: the inputs of several as one batch of a model in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import Question
from .constrained import Begins

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Prepared:
    """A question as the model takes it.

    Attributes:
        index: of the question
        inputs: a batch of one
        grammar: of its schema, as llguidance writes it; None without a schema
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


def collated(batch: Sequence[Prepared], padding: int) -> dict[str, torch.Tensor]:
    """The inputs of several questions of one form as one batch, padded on the left."""
    import torch
    from torch.nn.functional import pad

    longest = max(each.prompt for each in batch)
    result = {}
    for name, first in batch[0].inputs.items():
        tensors = [each.inputs[name] for each in batch]
        if _per_token(first, batch[0].prompt):
            value = padding if name == "input_ids" else 0
            tensors = [
                pad(tensor, (*(0, 0) * (tensor.dim() - 2), longest - each.prompt, 0), value=value)
                for tensor, each in zip(tensors, batch, strict=True)
            ]
        result[name] = torch.cat(tensors)
    return result


def _form(tensor: torch.Tensor, prompt: int) -> tuple[Any, ...]:
    """What two questions' tensors must have in common to be put together."""
    return ("tokens", *tensor.shape[2:]) if _per_token(tensor, prompt) else tensor.shape[1:]


def _per_token(tensor: torch.Tensor, prompt: int) -> bool:
    """Whether it has an entry for each of the prompt's tokens: (1, tokens, ...)."""
    return tensor.dim() > 1 and tuple(tensor.shape[:2]) == (1, prompt)
