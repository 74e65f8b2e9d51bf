"""Answers that are held to a JSON schema while they are made, by llguidance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoints import first_line

if TYPE_CHECKING:
    import torch

#: Whether the answer proper begins behind these tokens, for models that reason before it.
Begins = Callable[[Sequence[int]], bool]

# White space between the parts of a JSON answer. Models that may write any amount sometimes write
# nothing else.
_WHITE_SPACE: Any = {"whitespace_flexible": False, "whitespace_pattern": r"[ \n]{0,16}"}


class SchemaError(ValueError):
    """A schema that cannot be enforced; the message says why."""


class Grammars:
    """What a model's answers can be held to, in its tokens.

    Args:
        tokenizer: of the model
        ends: tokens that end an answer
    """

    def __init__(self, tokenizer: Any, ends: Sequence[int]):
        from llguidance.hf import from_tokenizer

        self._tokens = from_tokenizer(tokenizer, eos_token=[*ends])

    def grammar(self, schema: Mapping[str, Any]) -> str:
        """A schema as llguidance writes it; SchemaError if it cannot be enforced."""
        from llguidance import LLMatcher

        grammar: str = LLMatcher.grammar_from_json_schema(
            json.dumps(schema), overrides=_WHITE_SPACE
        )
        if problem := LLMatcher.validate_grammar(grammar, self._tokens):
            raise SchemaError(problem)
        return grammar

    def watch(self, grammar: str, begins: Begins | None, limit: int) -> Watch:
        """What holds one answer to a grammar, from its start (see :class:`Watch`)."""
        from llguidance import LLMatcher

        return Watch(LLMatcher(self._tokens, grammar, log_level=0), begins, limit)


class Watch:
    """Holds one answer to its schema, from where the answer proper begins.

    Args:
        matcher: llguidance's, of the schema
        begins: where the answer proper begins; None: at once
        limit: tokens of the answer; what others in the batch still make behind it is nothing
    """

    def __init__(self, matcher: Any, begins: Begins | None, limit: int):
        self._matcher, self._begins, self._limit = matcher, begins, limit
        self._seen = 0

    @property
    def error(self) -> str:
        """Why the schema cannot be enforced, in a line; "" as long as it can."""
        if not self._matcher.is_error():
            return ""
        return first_line(ValueError(self._matcher.get_error()))

    def take(self, made: Sequence[int]) -> bool:
        """Take note of the newest token; whether the next one is to follow the schema."""
        newest, self._seen = made[self._seen :], len(made)
        if len(made) >= self._limit or self._matcher.is_error():
            return False
        if self._begins is not None:
            if newest and self._begins(made):
                self._begins = None
            return self._begins is None
        if newest and not self._matcher.is_stopped():
            self._matcher.consume_tokens([*newest])
        return not self._matcher.is_error()

    def allowed(self, vocabulary: int) -> np.ndarray:
        """Which of so many tokens the schema allows next: (vocabulary,) bool."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        mask = np.unpackbits(bits, bitorder="little")[:vocabulary].astype(bool)
        # The model can have more tokens than its tokenizer.
        return np.pad(mask, (0, vocabulary - len(mask)))


def held(watches: Sequence[Watch | None], made: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """The scores (B, V) of the next tokens, -inf where a schema does not allow one.

    Args:
        watches: of the answers; None for one without a schema
        made: (B, n) tokens of the answers so far
    """
    import torch

    allowed = np.ones(scores.shape, bool)
    for row, (watch, tokens) in enumerate(zip(watches, made.tolist(), strict=True)):
        if watch is not None and watch.take(tokens):
            allowed[row] = watch.allowed(scores.shape[1])
    return scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), -torch.inf)
