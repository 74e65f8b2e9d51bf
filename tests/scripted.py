"""A server on this machine that speaks OpenAI's protocol, answers by rule, and has its faults."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.local_http import JsonHandler, serving

MODEL = "a-model"


@dataclass
class Script:
    """What the server does: the faults of the next requests, how long it takes, what it can take.

    Attributes:
        faults: a status, (status, Retry-After), "cut", "stall", "page" or a message to answer with
        seconds: each answer takes
        most: more requests at a time than this are answered 429
        requests, keys: the bodies that came, and the Authorization headers
        busiest: requests that were under way at the same time, at most
        refused: (what a body must not hold, the sentence that it is refused with)
        answer: what is said to a body, or the whole message; None repeats its texts
        dead: it closes connections without a word
        counts: it tells how long its context is, and counts tokens at /tokenize: words
    """

    url: str = ""
    faults: deque[Any] = field(default_factory=deque)
    seconds: float = 0.0
    most: int = 1000
    models: list[str] = field(default_factory=lambda: [MODEL])
    key: str | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    busiest: int = 0
    running: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    counts: bool = False
    dead: bool = False
    answer: Callable[[dict[str, Any]], Any] | None = None


@contextmanager
def scripted() -> Iterator[Script]:
    """Run a server until the end of the block."""
    script, lock, ended = Script(), threading.Lock(), threading.Event()

    class Handler(JsonHandler):
        def do_GET(self) -> None:
            if self._is_refused():
                return
            more = {"max_model_len": 4096} if script.counts else {}
            models = [{"id": name, "object": "model", **more} for name in script.models]
            self._send(200, {"object": "list", "data": models})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self._is_refused():
                return
            if self.path == "/tokenize":
                count = len(body["prompt"].split())
                self._send(200 if script.counts else 404, {"count": count})
                return
            for name, sentence in script.refused:
                if f'"{name}"' in json.dumps(body):
                    self._send(400, {"error": {"message": sentence}})
                    return
            with lock:
                script.requests.append(body)
                script.running += 1
                script.busiest = max(script.busiest, script.running)
                fault = script.faults.popleft() if script.faults else None
                if fault is None and script.running > script.most:
                    fault = 429
            try:
                with suppress(OSError):
                    self._answer(body, fault)
            finally:
                with lock:
                    script.running -= 1

        def _answer(self, body: dict[str, Any], fault: Any) -> None:
            status, wait = fault if isinstance(fault, tuple) else (fault, None)
            if isinstance(status, int):
                headers = {} if wait is None else {"Retry-After": wait}
                self._send(status, {"error": {"message": f"status {status}"}}, headers)
                return
            if fault == "cut":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"id": ')
                self.close_connection = True
                return
            if fault == "stall":
                ended.wait(5)
                self.close_connection = True
                return
            if fault == "page":
                self._send(200, {"html": "busy"})
                return
            time.sleep(script.seconds)
            parts = body["messages"][-1]["content"]
            said = " ".join(p["text"] for p in parts if p["type"] == "text")
            content = script.answer(body) if script.answer else f"you said {said}"
            said_so = {"role": "assistant", "content": content}
            message = fault or (content if isinstance(content, dict) else said_so)
            usage = {
                "prompt_tokens": 7,
                "completion_tokens": 3,
                "total_tokens": 10,
                "prompt_tokens_details": {"cached_tokens": 5},
            }
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            self._send(
                200,
                {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": MODEL,
                    "choices": [choice],
                    "usage": usage,
                },
            )

        def _is_refused(self) -> bool:
            if script.dead:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return True
            script.keys.add(self.headers.get("Authorization", ""))
            refused = script.key is not None and self.headers["Authorization"] != (
                f"Bearer {script.key}"
            )
            if refused:
                self._send(401, {"error": {"message": "wrong key"}})
            return refused

        def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            self.send_json(status, json.dumps(body).encode(), headers)

    with serving(Handler) as address:
        script.url = f"{address}/v1"
        try:
            yield script
        finally:
            ended.set()
