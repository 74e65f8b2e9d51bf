"""The words in which a server is asked and answers: OpenAI's, as far as it knows them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import Answer, Clip, Question, Usage

# Of a schema: what OpenAI's strict mode refuses, and others need to keep an answer from running on.
_LENGTHS = ("minLength", "maxLength")


class Dialect:
    """What a server understands of a request; learnt from what it refuses.

    Args:
        model: as the server calls it
        temperature, reasoning_effort, clips: see ``server.OPTIONS``

    Attributes:
        version: raised with each change, so that a request of before is sent once more
    """

    def __init__(self, model: str, temperature: float, reasoning_effort: str, clips: str):
        self._model, self._clips = model, clips
        self.version = 0
        self._limit = "max_tokens"
        self._sampling: dict[str, Any] = {"temperature": temperature}
        if reasoning_effort:
            self._sampling["reasoning_effort"] = reasoning_effort
        self._forms = ["lengths", "no lengths", ""]  # of the schema; the first one is in use

    def request(self, question: Question, files: Path | None) -> dict[str, Any]:
        """What is sent for a question.

        Args:
            files: a folder for its pictures; None if they are to be in the request itself
        """
        content: list[dict[str, Any]] = []
        extra: dict[str, Any] = {}
        for part in question.parts:
            if isinstance(part, str):
                content.append({"type": "text", "text": part})
            elif isinstance(part, Clip) and self._clips == "video":
                content.append({"type": "video_url", "video_url": {"url": _video_url(part)}})
                extra = {"media_io_kwargs": {"video": part.timing()}}
            else:
                frames = part.frames if isinstance(part, Clip) else [part]
                content += [
                    {"type": "image_url", "image_url": {"url": _image_url(frame, files)}}
                    for frame in frames
                ]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if question.system:  # some templates take none beside pictures
            messages.insert(0, {"role": "system", "content": question.system})
        request: dict[str, Any] = {
            "model": self._model,
            "messages": messages,
            **self._parameters(question),
        }
        return {**request, "extra_body": extra} if extra else request

    def _parameters(self, question: Question) -> dict[str, Any]:
        """Of a request for this question."""
        result = {self._limit: question.max_tokens, **self._sampling}
        if question.schema is not None and self._forms[0]:
            schema = question.schema
            schema = schema if self._forms[0] == "lengths" else _without(schema, _LENGTHS)
            result["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": True},
            }
        return result

    def adapt(self, refusal: str, sent: int, with_schema: bool) -> bool:
        """Leave out what a request was refused for; False if that is nothing that can be.

        Args:
            refusal: the server's sentence
            sent: the version that the request was made with
            with_schema: whether it had one
        """
        if sent != self.version:
            return True
        said = refusal.lower()
        if self._limit == "max_tokens" and "max_completion_tokens" in said:
            self._limit = "max_completion_tokens"
        elif unknown := next((name for name in self._sampling if name in said), None):
            del self._sampling[unknown]
        elif with_schema and self._forms[0] and re.search("response_format|schema|grammar", said):
            del self._forms[0]
        else:
            return False
        self.version += 1
        return True


def is_too_long(reason: str) -> bool:
    """Whether a server refuses a question for its length, in the words of vLLM, OpenAI, others."""
    said = "context.?(length|window)|prompt is too long|too many tokens"
    return bool(re.search(said, reason, re.IGNORECASE))


def answer(completion: Any, tries: int, seconds: float) -> Answer:
    """An answer out of the server's; ValueError for one that says nothing.

    Some compatible servers send a page or an error with status 200.
    """
    choices = getattr(completion, "choices", None)
    if not choices:
        raise ValueError(f"the server's answer has no choices: {str(completion)[:200]}")
    message = choices[0].message
    refusal = getattr(message, "refusal", None)
    counts = completion.usage
    details = getattr(counts, "prompt_tokens_details", None)
    usage = Usage(
        getattr(counts, "prompt_tokens", None) or 0,
        getattr(details, "cached_tokens", None) or 0,
        getattr(counts, "completion_tokens", None) or 0,
    )
    return Answer(
        text=message.content or "",
        finish=choices[0].finish_reason or "",
        error=f"the model refuses: {refusal}" if refusal else "",
        usage=usage,
        tries=tries,
        seconds=round(seconds, 3),
    )


def _without(schema: Any, names: Iterable[str]) -> Any:
    if isinstance(schema, Mapping):
        return {k: _without(v, names) for k, v in schema.items() if k not in names}
    return [_without(v, names) for v in schema] if isinstance(schema, list) else schema


def _image_url(image: bytes, files: Path | None) -> str:
    """A picture in the address itself, or that of a file in this folder."""
    if files is None:
        return f"data:image/{_kind(image)};base64,{base64.b64encode(image).decode()}"
    path = files / f"{hashlib.sha256(image).hexdigest()[:32]}.{_kind(image)}"
    if not path.exists():  # the same frame is in many segments
        path.write_bytes(image)
    return path.as_uri()


def _kind(image: bytes) -> str:
    return "png" if image.startswith(b"\x89PNG") else "jpeg"


def _video_url(clip: Clip) -> str:
    """A clip's frames in vLLM's own form, in which none is encoded again."""
    frames = ",".join(base64.b64encode(frame).decode() for frame in clip.frames)
    return f"data:video/jpeg;base64,{frames}"
