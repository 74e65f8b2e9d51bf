"""A proxy in front of a chat server that spoils a share of the answers in one of many ways."""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from tests.local_http import JsonHandler, serving

#: What can happen to a request for a chat completion.
FAULTS = (
    *("429", "500", "stall", "cut", "wrong JSON", "prose around the JSON"),
    *("schema ignored", "refusal", "empty"),
)


@dataclass
class Proxy:
    """What it does, and what it did.

    Attributes:
        share: of the requests that are spoilt, 0 to 1
        stall: seconds without a word before the connection is closed
        seen: requests by fault; "" for those that were passed on as they are
    """

    url: str = ""
    share: float = 0.2
    stall: float = 3.0
    seen: Counter[str] = field(default_factory=Counter)


@contextmanager
def spoiling(url: str, share: float = 0.2, seed: int = 0) -> Iterator[Proxy]:
    """Run a proxy in front of the server at ``url`` (which ends in /v1) until the block ends."""
    proxy, chance, lock = Proxy(share=share), random.Random(seed), threading.Lock()
    faults = cycle(FAULTS)

    class Handler(JsonHandler):
        def do_GET(self) -> None:
            self.send_json(*_fetch(url.removesuffix("/v1") + self.path, None))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fault = ""
            if self.path.endswith("/chat/completions"):
                with lock:
                    fault = next(faults) if chance.random() < proxy.share else ""
                    proxy.seen[fault] += 1
            with suppress(OSError):
                self._answer(fault, body)

        def _answer(self, fault: str, body: dict[str, Any]) -> None:
            if fault in ("429", "500"):
                headers = {"Retry-After": "0.2"} if fault == "429" else {}
                self.send_json(int(fault), b'{"error": {"message": "spoilt"}}', headers)
                return
            if fault == "stall":
                time.sleep(proxy.stall)
                self.close_connection = True
                return
            if fault == "schema ignored":
                body.pop("response_format", None)
            status, data = _fetch(url.removesuffix("/v1") + self.path, body)
            if fault == "cut":
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
                return
            if status == 200 and fault:
                answer = json.loads(data)
                message = answer["choices"][0]["message"]
                text = message["content"] or ""
                if fault == "wrong JSON":
                    message["content"] = text[: len(text) // 2] + '"}]'
                elif fault == "prose around the JSON":
                    message["content"] = f"Sure {{gladly}}!\n```json\n{text}\n```\nAnything else?"
                elif fault == "refusal":
                    message |= {"content": None, "refusal": "I would rather not"}
                elif fault == "empty":
                    message["content"] = ""
                data = json.dumps(answer).encode()
            self.send_json(status, data)

    with serving(Handler) as address:
        proxy.url = f"{address}/v1"
        yield proxy


def _fetch(url: str, body: Any) -> tuple[int, bytes]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
