"""Asking a chat model behind any OpenAI-compatible server: the backend ``openai``.

The server may be vLLM on this machine, OpenAI, or anything else that speaks ``/chat/completions``.
Questions are sent side by side; how many is found out (``pace.py``): more as long as the server
answers, half as many when it says that it is too much. What a server does not understand of a
request (a parameter of another age, a schema) is left out from then on (``dialect.py``), in the
order that costs least.
"""

from __future__ import annotations

import asyncio
import os
import queue
import random
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from ..presets import PresetError, options
from . import USUAL_CONTEXT, Answer, ChatError, Question
from .dialect import Dialect, answer, is_too_long
from .pace import Pace

if TYPE_CHECKING:
    import openai

#: The options of ``backend: openai`` in a preset; of several choices the first is the default.
OPTIONS: Mapping[str, Any] = {
    "model": "",  # as the server calls it
    # "" is what ACTION100M_BASE_URL or OPENAI_BASE_URL say, or else OpenAI's own.
    "base_url": "",
    "key": "OPENAI_API_KEY",  # the NAME of the environment variable that holds the key
    "temperature": 0.0,
    "reasoning_effort": ("", "minimal", "low", "medium", "high"),  # of models that reason
    "clips": ("images", "video"),  # frames one by one, or as a video (vLLM, for models that see it)
    "context": 0,  # tokens of prompt and answer together; 0 is what the server says, else 32,768
    # A name on the Hugging Face hub, or a folder, with the model's tokenizer; "" is the server's
    # own where it has /tokenize (vLLM), else a token is taken to be 3 characters.
    "tokenizer": "",
    # These are about speed alone.
    "images": ("data", "file"),  # in the request, or as files: for a server on this machine
    "concurrency": 64,  # requests under way at most
    "timeout": 600.0,  # seconds until a request without an answer is given up
    "retries": 6,  # of a request that failed for a reason that may pass
}

_OPENAI = "https://api.openai.com/v1"
# What a server answers when it is busy, restarting or between two proxies: it may pass.
_PASSING = (408, 409, 425, 429)
# Seconds before the first of the retries; doubled for each further one, up to the longest.
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
# Where no tokenizer is to be had. English has 4 to 5 characters a token: this leaves some room.
_CHARACTERS_A_TOKEN = 3
# Videos that one process asks about at the same time, so that one's last answers are no pause.
_THREADS = 4

# Of folders with pictures for servers on this machine, each for as long as a video is asked about.
_FILES = "action100m-frames-"
_STOPPED = "the asking was stopped"

Result = TypeVar("Result")


def load_server(role: str, config: Mapping[str, Any]) -> ChatServer:
    """The server that a preset names; PresetError for an option that it can't have."""
    chosen = options(role, config, **OPTIONS)
    if not chosen["model"]:
        raise PresetError(f"{role}: model is missing; give the name by which the server knows it")
    for name in ("concurrency", "timeout", "retries", "context"):
        if chosen[name] < (0 if name in ("retries", "context") else 1):
            raise PresetError(f"{role}: {name} must not be {chosen[name]}")
    base_url, key = _address(role, chosen["base_url"], chosen["key"])
    settings = {k: v for k, v in chosen.items() if k not in ("base_url", "key", "model")}
    return ChatServer(base_url, chosen["model"], key, **settings)


def served_models(base_url: str, key: str) -> list[str]:
    """The models that a server lists; none if it does not list them.

    Args:
        base_url, key: see :data:`OPTIONS`

    Raises:
        PresetError: the address is none, or there is no key for it
        ChatError: the server does not answer, or refuses the key
    """
    address, secret = _address("server", base_url, key)
    return [model.id for model in ChatServer(address, "", secret).listed]


def _address(role: str, base_url: str, key_name: str) -> tuple[str, str | None]:
    """Where a server is, and the key for it; PresetError for an address or key that is none."""
    base_url = (
        base_url
        or os.environ.get("ACTION100M_BASE_URL")
        or os.environ.get("OPENAI_BASE_URL")
        or _OPENAI
    )
    address = urlsplit(base_url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise PresetError(
            f"{role}: base_url {base_url!r} is no address; write http://127.0.0.1:8000/v1"
        )
    if address.username or address.password:
        raise PresetError(
            f"{role}: base_url holds a user or password, which would be written into the run; "
            "put the key into an environment variable and its name into `key`"
        )
    key = os.environ.get(key_name) if key_name else None
    if not key and address.hostname == urlsplit(_OPENAI).hostname:
        raise PresetError(
            f"{role}: the environment variable {key_name or 'OPENAI_API_KEY'} holds no key for "
            f"{base_url}; set it, or name another server with base_url or ACTION100M_BASE_URL"
        )
    return base_url, key


class ChatServer:
    """A model on an OpenAI-compatible server (see ``Chat``).

    Args:
        base_url: for example http://127.0.0.1:8000/v1
        model: as the server calls it
        api_key: sent with each request; never written anywhere
        revive: called in a thread when nothing answers; returns when the server does again, or
            raises ChatError if it never will. None: retries have to do
        temperature, ...: see :data:`OPTIONS`
    """

    places: tuple[str, ...] = ("",)
    threads = _THREADS

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        revive: Callable[[], None] | None = None,
        *,
        temperature: float = 0.0,
        reasoning_effort: str = "",
        clips: str = "images",
        context: int = 0,
        tokenizer: str = "",
        images: str = "data",
        concurrency: int = 64,
        timeout: float = 600.0,
        retries: int = 6,
    ):
        self.base_url = base_url
        self.model = self.name = model
        self.identity: Mapping[str, Any] = {
            "model": model,
            "temperature": temperature,
            "reasoning_effort": reasoning_effort,
            "clips": clips,
        }
        self._key = api_key or "none"  # the client insists on one; servers without keys ignore it
        self._revive = revive
        self._dialect = Dialect(model, temperature, reasoning_effort, clips)
        self._in_files = images == "file"
        self._context, self._tokenizer = context, tokenizer
        self._concurrency, self._timeout, self._retries = concurrency, timeout, retries
        self._lock = threading.Lock()
        self._loop: _Loop | None = None
        self._answered = time.monotonic()  # when the server last said anything
        self._gone = ""  # why no request will be answered any more

    # -- before and after ----------------------------------------------------------------------

    def check(self) -> None:
        """Make sure that the server is there, accepts the key and has the model.

        Raises:
            ChatError: it does not
        """
        served = [model.id for model in self.listed]
        if served and self.model not in served:
            shown = ", ".join(served[:5]) + (" ..." if len(served) > 5 else "")
            raise ChatError(
                f"{self.base_url} does not serve the model {self.model!r}; it serves {shown}"
            )

    @cached_property
    def listed(self) -> list[Any]:
        """The server's own list of its models, each with ``id``; ChatError without a server."""
        import openai

        try:
            with self._client(self.base_url, retries=1, timeout=30) as client:
                return list(client.models.list())
        except openai.NotFoundError:
            return []  # not every server lists its models
        except openai.OpenAIError as error:
            raise ChatError(self._refusal(error)) from None

    def unload(self) -> None:
        """End what is being asked, with ChatError, and let go of the connections."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()

    def _client(self, address: str, retries: int, timeout: float) -> openai.OpenAI:
        """A client for what the server is asked beside the questions."""
        import openai

        return openai.OpenAI(
            base_url=address,
            api_key=self._key,
            max_retries=retries,
            timeout=timeout,
            http_client=openai.DefaultHttpxClient(trust_env=_is_elsewhere(address)),
        )

    # -- how long a prompt may be --------------------------------------------------------------

    @cached_property
    def context(self) -> int:
        """Tokens that a prompt and its answer may have together."""
        if self._context:
            return self._context
        for model in self.listed:
            if model.id == self.model and (length := getattr(model, "max_model_len", None)):
                return int(length)
        return USUAL_CONTEXT

    def count(self, text: str) -> int:
        """Tokens of a text, by the model's tokenizer where it can be had (see :data:`OPTIONS`)."""
        return self._counter(text)

    @cached_property
    def _counter(self) -> Callable[[str], int]:
        if self._tokenizer:
            return _tokenizer(self._tokenizer)
        if self._tokenized("a") is None:
            return lambda text: -(-len(text) // _CHARACTERS_A_TOKEN)
        # A moment without the server is no reason to fail: the guess is on the safe side.
        return lambda text: self._tokenized(text) or -(-len(text) // _CHARACTERS_A_TOKEN)

    def _tokenized(self, text: str) -> int | None:
        """What vLLM's /tokenize counts, which is beside /v1; None if there is no such thing."""
        import openai

        root = urlsplit(self.base_url)
        path = root.path.rstrip("/").removesuffix("/v1") + "/"
        body = {"model": self.model, "prompt": text, "add_special_tokens": False}
        try:
            with self._client(
                urlunsplit(root._replace(path=path)), retries=2, timeout=60
            ) as client:
                counted = client.post("/tokenize", body=body, cast_to=dict[str, Any])
                return int(counted["count"])
        except (openai.OpenAIError, LookupError, TypeError, ValueError):
            return None

    # -- asking --------------------------------------------------------------------------------

    def ask(
        self,
        questions: Iterable[Question],
        on_answer: Callable[[int, Answer], None] | None = None,
    ) -> list[Answer]:
        """Ask all; returns the answers in the order of the questions. May be called by threads.

        All calls together have at most ``concurrency`` requests under way.

        Args:
            questions: taken one by one as there is room, so that pictures need not all be in memory
            on_answer: called in this thread with a question's index and its answer as it arrives

        Raises:
            ChatError: the server refuses every request (a wrong key, no such model), or is gone
        """
        answers: dict[int, Answer] = {}
        running: dict[Future[Answer], int] = {}
        finished: queue.SimpleQueue[Future[Answer]] = queue.SimpleQueue()

        def settle() -> None:
            future = finished.get()
            index = running.pop(future)
            try:
                answers[index] = future.result()
            except CancelledError:
                raise ChatError(_STOPPED) from None
            if on_answer is not None:
                on_answer(index, answers[index])

        loop = self._running_loop()
        files = tempfile.TemporaryDirectory(prefix=_FILES) if self._in_files else None
        try:
            for index, question in enumerate(questions):
                future = loop.submit(self._one, loop, question, files and Path(files.name))
                running[future] = index
                future.add_done_callback(finished.put)
                # The waiting ones hold their pictures: no more of them than can be sent.
                while len(running) >= self._concurrency or not finished.empty():
                    settle()
            while running:
                settle()
        finally:
            for future in list(running):
                future.cancel()
            if files is not None:
                files.cleanup()
        return [answers[index] for index in sorted(answers)]

    def _running_loop(self) -> _Loop:
        with self._lock:
            if self._loop is None:
                self._loop = _Loop(self.base_url, self._key, self._timeout, self._concurrency)
            return self._loop

    async def _one(self, loop: _Loop, question: Question, files: Path | None) -> Answer:
        """Ask until there is an answer or a reason why there is none."""
        import openai

        began = time.monotonic()
        tries = failures = 0
        while True:
            unreachable = False
            async with loop.pace.turn() as turn:
                if self._gone:
                    raise ChatError(self._gone)
                tries += 1
                sent = self._dialect.version
                try:
                    completion = await loop.client.chat.completions.create(
                        **self._dialect.request(question, files)
                    )
                    self._answered = time.monotonic()
                    return answer(completion, tries, self._answered - began)
                except openai.APIStatusError as error:
                    self._answered = time.monotonic()
                    status = error.status_code
                    if status in (401, 403, 404):
                        raise ChatError(self._refusal(error)) from None
                    reason, wait = self._reason(error), _retry_after(error)
                    passing = status in _PASSING or status >= 500
                    too_much = status in (429, 503, 529)
                    if status in (400, 413, 422):
                        if is_too_long(reason):
                            return Answer(finish="context", error=reason, tries=tries)
                        if self._dialect.adapt(reason, sent, question.schema is not None):
                            continue
                except openai.APIConnectionError as error:  # time-outs are some of these
                    reason, wait, passing = self._reason(error), None, True
                    too_much = isinstance(error, openai.APITimeoutError)
                    unreachable = not too_much
                except (openai.APIError, ValueError) as error:  # an answer that is none
                    reason, wait, passing, too_much = self._reason(error), None, True, False
                if too_much:
                    turn.was_too_much()
            failures += 1
            if unreachable and self._revive is not None:
                await asyncio.to_thread(self._revive)
            if not passing or failures > self._retries:
                if unreachable and self._answered < began:
                    self._gone = (
                        f"{self.base_url} does not answer any more ({reason}); start the server "
                        "again, and this command again: what is finished is kept"
                    )
                    raise ChatError(self._gone)
                seconds = round(time.monotonic() - began, 3)
                return Answer(error=reason, tries=tries, seconds=seconds)
            usual = min(_FIRST_WAIT * 2 ** (failures - 1), _LONGEST_WAIT) * random.uniform(0.5, 1.0)
            await asyncio.sleep(max(wait or 0.0, usual))

    def _reason(self, error: Exception) -> str:
        """One line, without the key, which some servers repeat."""
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return line.replace(self._key, "***")[:300] if self._key != "none" else line[:300]

    def _refusal(self, error: Any) -> str:
        """One sentence on why a server cannot be used."""
        import openai

        status = getattr(error, "status_code", None)
        if status in (401, 403):
            return f"{self.base_url} refuses the key ({status}); check the key and what it may use"
        if status == 404:
            return (
                f"{self.base_url} answers 404: {self._reason(error)}; "
                "check the address and the model's name"
            )
        if isinstance(error, openai.APIConnectionError):
            return f"nothing answers at {self.base_url}; start the server, or check the address"
        return f"{self.base_url} cannot be used: {self._reason(error)}"


class _Loop:
    """An event loop in a thread of its own, with the connections and the pace of all questions."""

    def __init__(self, base_url: str, key: str, timeout: float, concurrency: int):
        import openai

        self._loop = asyncio.new_event_loop()
        self.client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=key,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=_is_elsewhere(base_url)),
        )
        self.pace = Pace(concurrency)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._lock, self._closed = threading.Lock(), False

    def submit(
        self, function: Callable[..., Coroutine[Any, Any, Result]], *args: Any
    ) -> Future[Result]:
        """Run a coroutine function; ChatError after :meth:`close`."""
        with self._lock:
            if self._closed:
                raise ChatError(_STOPPED)
            return asyncio.run_coroutine_threadsafe(function(*args), self._loop)

    def close(self) -> None:
        """Cancel what runs, and wait until it has ended."""

        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self.client.close()

        with self._lock:  # what was submitted before is among the others
            self._closed = True
            ended = asyncio.run_coroutine_threadsafe(end(), self._loop)
        ended.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _tokenizer(name: str) -> Callable[[str], int]:
    from tokenizers import Tokenizer

    path = Path(name) / "tokenizer.json"
    try:
        tokenizer = (
            Tokenizer.from_file(str(path)) if path.exists() else Tokenizer.from_pretrained(name)
        )
    except Exception as error:  # the library raises bare exceptions
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ChatError(
            f"the tokenizer {name!r} is not to be had ({reason}); check its name and the network"
        ) from error
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _is_elsewhere(base_url: str) -> bool:
    """Whether a server is on another machine; a proxy's idea of "this machine" is its own."""
    return urlsplit(base_url).hostname not in ("localhost", "127.0.0.1", "::1")


def _retry_after(error: Any) -> float | None:
    """Seconds that the server asks to wait; a longer wait than the longest is cut to it."""
    value = error.response.headers.get("retry-after", "")
    try:
        return min(max(float(value), 0.0), _LONGEST_WAIT)
    except ValueError:
        return None
