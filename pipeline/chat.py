"""Asking a chat model behind any OpenAI-compatible server: many questions, each with an answer.

The server may be vLLM on this machine, OpenAI, or anything else that speaks ``/chat/completions``.
Questions are sent side by side; how many is found out: more as long as the server answers, half as
many when it says that it is too much.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# What a server answers when it is busy, restarting or between two proxies: it may pass.
_PASSING = (408, 409, 425, 429)
# Seconds before the first of the retries; doubled for each further one, up to the longest.
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
# Questions sent side by side at the beginning.
_FIRST_LIMIT = 8


class ChatError(RuntimeError):
    """A server that cannot be used at all; the message names it and what to do."""


@dataclass(frozen=True)
class Question:
    """One request of its own: no conversation, nothing remembered.

    Attributes:
        system: what holds for many questions; first, so that a server's prefix cache serves it
        parts: the user's turn in its order: texts, and pictures as JPEG
        max_tokens: of the answer
        schema: a JSON schema that the answer is to follow, or None for free text
    """

    system: str
    parts: Sequence[str | bytes]
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
        finish: why it ends, in the server's words: "stop", "length", "content_filter" ...
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


class ChatServer:
    """A model on an OpenAI-compatible server.

    Args:
        base_url: for example http://127.0.0.1:8000/v1
        model: as the server calls it
        api_key: sent with each request; never written anywhere
        concurrency: questions sent side by side at most
        timeout: seconds until a request without an answer is given up
        retries: requests made after the first one that failed for a reason that may pass
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        concurrency: int = 64,
        timeout: float = 600.0,
        retries: int = 6,
    ):
        self.base_url = base_url
        self.model = model
        self._key = api_key or "none"  # the client insists on one; servers without keys ignore it
        self._concurrency = concurrency
        self._timeout = timeout
        self._retries = retries

    def check(self) -> None:
        """Make sure that the server is there, accepts the key and has the model.

        Raises:
            ChatError: it does not
        """
        import openai

        try:
            with openai.OpenAI(
                base_url=self.base_url, api_key=self._key, max_retries=1, timeout=30
            ) as client:
                served = [model.id for model in client.models.list()]
        except openai.NotFoundError:
            return  # not every server lists its models
        except openai.OpenAIError as error:
            raise ChatError(_refusal(self.base_url, error)) from None
        if served and self.model not in served:
            shown = ", ".join(served[:5]) + (" ..." if len(served) > 5 else "")
            raise ChatError(
                f"{self.base_url} does not serve the model {self.model!r}; it serves {shown}"
            )

    def ask(
        self,
        questions: Iterable[Question],
        on_answer: Callable[[int, Answer], None] | None = None,
        stop: threading.Event | None = None,
    ) -> list[Answer]:
        """Ask all; returns the answers in the order of the questions.

        Args:
            questions: taken one by one as there is room, so that pictures need not all be in memory
            on_answer: called in this thread with a question's index and its answer as it arrives
            stop: when set, no question is sent any more; those that were not answered get an error

        Raises:
            ChatError: the server refuses every request (a wrong key, no such model)
        """
        return asyncio.run(self._ask(iter(questions), on_answer, stop or threading.Event()))

    async def _ask(
        self,
        questions: Any,
        on_answer: Callable[[int, Answer], None] | None,
        stop: threading.Event,
    ) -> list[Answer]:
        import openai

        answers: dict[int, Answer] = {}
        pace = _Pace(self._concurrency)
        running: dict[asyncio.Task[Answer], int] = {}
        client = openai.AsyncOpenAI(
            base_url=self.base_url, api_key=self._key, max_retries=0, timeout=self._timeout
        )

        def settle(done: Iterable[asyncio.Task[Answer]]) -> None:
            for task in done:
                index = running.pop(task)
                answers[index] = task.result()
                if on_answer is not None:
                    on_answer(index, answers[index])

        async with client:
            try:
                count = 0
                for question in questions:
                    if stop.is_set():
                        answers[count] = Answer(error="stopped", tries=0)
                        count += 1
                        continue
                    task = asyncio.create_task(self._one(client, question, pace, stop))
                    running[task] = count
                    count += 1
                    # The waiting ones hold their pictures: no more of them than can be sent.
                    while len(running) >= self._concurrency:
                        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                        settle(done)
                    await asyncio.sleep(0)
                while running:
                    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    settle(done)
            finally:
                for task in running:
                    task.cancel()
        return [answers[index] for index in range(count)]

    async def _one(
        self, client: Any, question: Question, pace: _Pace, stop: threading.Event
    ) -> Answer:
        """Ask until there is an answer or a reason why there is none."""
        import openai

        began = time.monotonic()
        tries = 0
        while True:
            tries += 1
            async with pace.turn() as turn:
                if stop.is_set():
                    return Answer(error="stopped", tries=tries - 1)
                try:
                    completion = await client.chat.completions.create(**self._request(question))
                    return _answer(completion, tries, time.monotonic() - began)
                except openai.APIStatusError as error:
                    status = error.status_code
                    if status in (401, 403, 404):
                        raise ChatError(_refusal(self.base_url, error)) from None
                    reason, wait = _reason(error), _retry_after(error)
                    passing = status in _PASSING or status >= 500
                    too_much = status in (429, 503, 529)
                except openai.APIConnectionError as error:  # time-outs are some of these
                    reason, wait, passing = _reason(error), None, True
                    too_much = isinstance(error, openai.APITimeoutError)
                except (openai.APIError, ValueError) as error:  # an answer that is none
                    reason, wait, passing, too_much = _reason(error), None, True, False
                if too_much:
                    turn.was_too_much()
            if not passing or tries > self._retries:
                seconds = round(time.monotonic() - began, 3)
                return Answer(error=reason, tries=tries, seconds=seconds)
            usual = min(_FIRST_WAIT * 2 ** (tries - 1), _LONGEST_WAIT) * random.uniform(0.5, 1.0)
            await _sleep(max(wait or 0.0, usual), stop)

    def _request(self, question: Question) -> dict[str, Any]:
        content = [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "image_url", "image_url": {"url": _data_url(part)}}
            for part in question.parts
        ]
        request: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": "system", "content": question.system},
                {"role": "user", "content": content},
            ],
            "max_tokens": question.max_tokens,
            "temperature": 0.0,
        }
        if question.schema is not None:
            request["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": question.schema, "strict": True},
            }
        return request


class _Pace:
    """How many requests may be under way: grows slowly, is halved when it was too much.

    As TCP does it (additive increase, multiplicative decrease), so that many clients share a
    server without knowing of each other.
    """

    def __init__(self, most: int):
        self._most = most
        self._limit = float(min(_FIRST_LIMIT, most))
        self._running = 0
        self._halved = 0.0
        self._changed = asyncio.Condition()

    def turn(self) -> _Turn:
        return _Turn(self)

    async def enter(self) -> float:
        async with self._changed:
            await self._changed.wait_for(lambda: self._running < int(self._limit))
            self._running += 1
        return time.monotonic()

    async def leave(self, began: float, too_much: bool) -> None:
        async with self._changed:
            self._running -= 1
            if not too_much:
                self._limit = min(float(self._most), self._limit + 1 / self._limit)
            elif began > self._halved:  # those sent before the last time say nothing new
                self._limit = max(1.0, self._limit / 2)
                self._halved = time.monotonic()
            self._changed.notify_all()


class _Turn:
    """One request's place among those under way."""

    def __init__(self, pace: _Pace):
        self._pace = pace
        self._too_much = False

    def was_too_much(self) -> None:
        """Say that the server could not take it."""
        self._too_much = True

    async def __aenter__(self) -> _Turn:
        self._began = await self._pace.enter()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pace.leave(self._began, self._too_much)


async def _sleep(seconds: float, stop: threading.Event) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stop.is_set():
        await asyncio.sleep(min(left, 0.2))


def _answer(completion: Any, tries: int, seconds: float) -> Answer:
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


def _data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _reason(error: Exception) -> str:
    """One line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _retry_after(error: Any) -> float | None:
    """Seconds that the server asks to wait; a longer wait than the longest is cut to it."""
    value = error.response.headers.get("retry-after", "")
    try:
        return min(max(float(value), 0.0), _LONGEST_WAIT)
    except ValueError:
        return None


def _refusal(base_url: str, error: Any) -> str:
    """One sentence on why a server cannot be used."""
    import openai

    status = getattr(error, "status_code", None)
    if status in (401, 403):
        return f"{base_url} refuses the key ({status}); check the key and what it may use"
    if status == 404:
        return f"{base_url} answers 404: {_reason(error)}; check the address and the model's name"
    if isinstance(error, openai.APIConnectionError):
        return f"nothing answers at {base_url}; start the server, or check the address"
    return f"{base_url} cannot be used: {_reason(error)}"


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
