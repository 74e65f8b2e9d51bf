"""A small OpenAI-compatible server with a real model, for tests of what talks to one.

    python -m tests.openai_server --model DIR [--port 0]

It prints its address and ends with its standard input. It shares no code with ``pipeline.chat``, so
that a mistake there cannot be made here as well: transformers answers, one request after another,
and llguidance holds an answer to its JSON schema.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Served:
    """A server that runs: its address, which ends in /v1, and the model as it calls it."""

    url: str
    model: str


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """A server with the checkpoint in a folder, in a process of its own, until the block ends."""
    command = [sys.executable, "-m", "tests.openai_server", "--model", folder, "--port", "0"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, cwd=REPO, env=one_thread, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        try:
            url = process.stdout.readline().strip()
            assert url, "the server ended before it was ready; its reason is on standard error"
            yield Served(url, folder.name)
        finally:
            process.stdin.close()


class Refusal(Exception):
    """A request that is not answered: (status, the sentence that says why)."""


class Model:
    """A checkpoint that answers requests."""

    def __init__(self, folder: Path):
        import transformers
        from llguidance.hf import from_tokenizer

        transformers.logging.disable_progress_bar()
        config = transformers.AutoConfig.from_pretrained(folder)
        sees = hasattr(config, "vision_config")
        loader = transformers.AutoProcessor if sees else transformers.AutoTokenizer
        kind = (
            transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
        )
        self.name, self.sees = folder.name, sees
        self.processor = loader.from_pretrained(folder)
        self.tokenizer = getattr(self.processor, "tokenizer", self.processor)
        self.tokenizer.model_max_length = 1 << 60  # it would warn of what is refused anyway
        self.model = kind.from_pretrained(folder).eval()
        self.context = config.get_text_config().max_position_embeddings
        ends = self.model.generation_config.eos_token_id
        self.ends = ends if isinstance(ends, list) else [ends]
        self.grammars = from_tokenizer(self.tokenizer, eos_token=self.ends)
        self.lock = threading.Lock()

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request to /chat/completions."""
        import torch

        if request.get("model") != self.name:
            raise Refusal(404, f"The model `{request.get('model')}` does not exist.")
        images: list[Any] = []
        messages = [self._message(message, images) for message in request["messages"]]
        prompt = self.processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        if images:
            inputs = self.processor(text=[prompt], images=images, return_tensors="pt")
        else:
            inputs = self.tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        count = inputs["input_ids"].shape[1]
        most = request.get("max_completion_tokens") or request.get("max_tokens")
        most = most or self.context - count
        if most < 1 or count + most > self.context:
            raise Refusal(
                400,
                f"This model's maximum context length is {self.context} tokens; the request asks "
                f"for {count} in the messages and {most} in the completion.",
            )
        held = self._held(request.get("response_format"), count)
        with torch.inference_mode():
            made = self.model.generate(
                **inputs, max_new_tokens=most, do_sample=False, logits_processor=held
            )[0, count:].tolist()
        text = self.tokenizer.decode(made, skip_special_tokens=True)
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.name,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop" if made[-1] in self.ends else "length",
                }
            ],
            "usage": {
                "prompt_tokens": count,
                "completion_tokens": len(made),
                "total_tokens": count + len(made),
                "prompt_tokens_details": {"cached_tokens": 0},
            },
        }

    def _message(self, message: dict[str, Any], images: list[Any]) -> dict[str, Any]:
        """In the template's words; the pictures are added to ``images``."""
        from PIL import Image

        content: list[dict[str, str]] = []
        given = message["content"]
        for part in [{"type": "text", "text": given}] if isinstance(given, str) else given:
            if part["type"] == "text":
                content.append(part)
            elif part["type"] == "image_url" and self.sees:
                data = part["image_url"]["url"].partition(";base64,")[2]
                images.append(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
                content.append({"type": "image"})
            else:
                raise Refusal(400, f"{self.name} takes no part of type {part['type']}.")
        if not self.sees:
            return {**message, "content": "".join(part["text"] for part in content)}
        return {**message, "content": content}

    def _held(self, wanted: dict[str, Any] | None, prompt: int) -> list[Any]:
        """What holds an answer to the schema of ``response_format``, for ``generate``."""
        import numpy as np
        import torch
        from llguidance import LLMatcher

        if (wanted or {}).get("type", "text") != "json_schema":
            return []
        schema = json.dumps(wanted["json_schema"]["schema"])
        tight = {"whitespace_flexible": False}
        grammar = LLMatcher.grammar_from_json_schema(schema, overrides=tight)
        matcher = LLMatcher(self.grammars, grammar)
        if matcher.is_error():
            raise Refusal(400, f"Invalid response_format: {matcher.get_error()}")

        def hold(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            if ids.shape[1] > prompt:
                matcher.consume_token(int(ids[0, -1]))
            bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
            mask = torch.from_numpy(np.unpackbits(bits, bitorder="little")).bool()
            allowed = torch.zeros(scores.shape[1], dtype=torch.bool)
            allowed[: len(mask)] = mask[: scores.shape[1]]
            return scores.masked_fill(~allowed, -torch.inf)

        return [hold]


class Handler(BaseHTTPRequestHandler):
    """The paths of the protocol that clients use."""

    protocol_version = "HTTP/1.1"  # connections are used again
    wbufsize = -1  # an answer goes out in one piece
    model: Model

    def do_GET(self) -> None:
        card = {"object": "model", "owned_by": "tests", "max_model_len": self.model.context}
        known = self.path == "/v1/models"
        self._send(
            200 if known else 404,
            {"object": "list", "data": [{"id": self.model.name, **card}]} if known else {},
        )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            if self.path == "/v1/chat/completions":
                with self.model.lock:
                    answer = self.model.complete(body)
            elif self.path == "/tokenize":
                special = body.get("add_special_tokens", True)
                with self.model.lock:
                    ids = self.model.tokenizer.encode(body["prompt"], add_special_tokens=special)
                answer = {"count": len(ids), "tokens": ids, "max_model_len": self.model.context}
            else:
                raise Refusal(404, "Not Found")
            self._send(200, answer)
        except Refusal as refusal:
            status, message = refusal.args
            self._send(status, {"error": {"message": message, "type": "Refusal", "code": status}})

    def _send(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a test reads answers, not a log."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    Handler.model = Model(arguments.model)
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    sys.stdin.read()  # until whoever started it closes it, or is gone
    os._exit(0)  # torch takes a second to end in order


if __name__ == "__main__":
    main()
