"""What is in a model's answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import Answer


def cost(answer: Answer) -> dict[str, int]:
    """What an answer has cost, in plain data: requests, and tokens as the server counts them."""
    return {
        "requests": answer.tries,
        "prompt_tokens": answer.usage.prompt,
        "cached_tokens": answer.usage.cached,
        "completion_tokens": answer.usage.completion,
    }


def without_thoughts(text: str) -> str:
    """An answer in free text without the reasoning that some models put before it."""
    _, closed, after = text.rpartition("</think>")
    if not closed and after.lstrip().startswith("<think>"):
        return ""  # it was cut off while thinking
    return after.strip()


def parse_json(text: str, schema: Mapping[str, Any]) -> Any:
    """The JSON object in an answer, checked against a schema.

    What models put around it (a code fence, reasoning, a polite sentence) is passed over; of
    several objects the last one that follows the schema counts, since drafts come first.

    Raises:
        ValueError: there is none; the message says what is wrong with the nearest thing to one
    """
    import jsonschema

    decoder = json.JSONDecoder(strict=False)  # raw line breaks within strings are harmless
    validator = jsonschema.Draft202012Validator(schema)
    problem = "there is no JSON object in it"
    found, position = None, 0
    while (begin := text.find("{", position)) >= 0:
        try:
            value, position = decoder.raw_decode(text, begin)
        except ValueError as error:
            problem, position = f"it is no JSON: {error}", begin + 1
            continue
        errors = [each.message for each in validator.iter_errors(value)]
        if errors:
            problem, position = f"it breaks the schema: {errors[0]}"[:300], begin + 1
        else:
            found = value
    if found is None:
        raise ValueError(problem)
    return found
