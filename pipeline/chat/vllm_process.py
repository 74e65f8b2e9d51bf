"""vLLM's process: started behind a guard, watched, started again if it dies, and ended.

Its log is read for the reason why it ended.
"""

from __future__ import annotations

import http.client
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from . import ChatError

# Once at the beginning, and twice after it died: the third time the reason is none that passes.
_STARTS = 3
# Seconds from the end of its guard's input until nothing of it is left; the guard has less.
_END = 30
_GUARD = Path(__file__).with_name("guard.py")
# What of vLLM's log tells why it ended, after which process says so and where: an exception, what
# pydantic or argparse have against an option. The other one only says that the reason is above it.
_TELLING = re.compile(
    r"(?:\(\w+ pid=\d+\) )?(?:ERROR \S+ \S+ \[\S+\] )?"
    r"(?:(?:\w+\.)*(?P<exception>\w+(?:Error|Exception)(?:: .+)?)"
    r"|\s*Value error, (?P<option>.+)|\w+\.py: error: (?P<flag>.+))"
)
_POINTING_UP = "root cause above"
_LONGEST_REASON = 400
_STOPPED = "vLLM was stopped"


class VllmProcess:
    """vLLM's process, watched by a thread, which starts it again if it dies, until :meth:`stop`.

    Args:
        role, model: for messages and the log's name
        words, variables: what starts it, and its environment
        port: where it answers then
        folder: of the log; None for a temporary file, which stays only if vLLM ends by itself
        start_timeout: seconds until it has to answer
    """

    def __init__(
        self,
        role: str,
        model: str,
        words: Sequence[str],
        variables: Mapping[str, str],
        port: int,
        folder: Path | None,
        start_timeout: float,
    ):
        self._role, self._model = role, model
        self._words, self._variables = words, variables
        self._port, self._start_timeout = port, start_timeout
        self._temporary = folder is None
        if folder is None:
            opened, name = tempfile.mkstemp(prefix=f"action100m-vllm-{role}-", suffix=".log")
            os.close(opened)
            self._log = Path(name)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self._log = folder / f"vllm-{role}.log"
        self._changed = threading.Condition()
        self._ready, self._over = False, ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"vllm-{role}", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when it answers; ChatError if it never will."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._over)
            if self._over:
                raise ChatError(self._over)

    def revive(self) -> None:
        """Like :meth:`wait`, for who got no answer from it."""
        if not is_well(self._port):
            self._tell(ready=False)  # until the thread has looked too
        self.wait()

    def stop(self) -> None:
        """End it, and wait for that."""
        self._stopping.set()
        self._thread.join()
        if self._temporary and self._over == _STOPPED:
            self._log.unlink(missing_ok=True)

    def _keep(self) -> None:
        over = _STOPPED
        try:
            over = self._served()
        except OSError as error:
            over = f"{self._role}: vLLM cannot be started ({error}); its log is {self._log}"
        finally:
            self._tell(over=over)

    def _served(self) -> str:
        """Serve until it is stopped, or ends for good; returns why that was."""
        with self._log.open("wb") as log:
            for _ in range(_STARTS):
                begin = log.seek(0, os.SEEK_END)
                log.write(f"$ {shlex.join(self._words)}\n".encode())
                log.flush()
                process = guarded(self._words, self._variables, log)
                try:
                    was_ready = self._watched(process)
                finally:
                    end(process)
                if self._stopping.is_set():
                    return _STOPPED
                if was_ready is None:
                    return (
                        f"{self._role}: vLLM did not answer for {self._start_timeout:.0f} s; raise "
                        f"start_timeout if it only needs longer; its log is {self._log}"
                    )
                self._tell(ready=False)
                reason = _reason(self._log, begin, process.returncode)
                if not was_ready:  # what kept it from starting will again
                    return (
                        f"{self._role}: vLLM cannot serve {self._model}: {reason}; "
                        f"its log is {self._log}"
                    )
        return (
            f"{self._role}: vLLM died {_STARTS} times, the last time with: {reason}; "
            f"its log is {self._log}"
        )

    def _watched(self, process: subprocess.Popen[bytes]) -> bool | None:
        """Until the process ends: whether it ever was ready; None if it did not answer in time."""
        was_ready, since = False, time.monotonic()
        while process.poll() is None and not self._stopping.wait(0.2):
            if self._ready:
                since = time.monotonic()
            elif is_well(self._port):
                was_ready = True
                self._tell(ready=True)
            elif time.monotonic() - since > self._start_timeout:
                return None
        return was_ready

    def _tell(self, ready: bool = False, over: str = "") -> None:
        with self._changed:
            self._ready, self._over = ready, over or self._over
            self._changed.notify_all()


def guarded(
    words: Sequence[str], variables: Mapping[str, str], output: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program with a guard (``guard.py``), so that none of it outlives this process.

    Args:
        output: for what it prints; None is where this process prints
    """
    return subprocess.Popen(
        [sys.executable, "-I", str(_GUARD), *words],
        env=dict(variables),
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output and subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for this process, which then ends all of it
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End what a guard runs, and wait until nothing of it is left."""
    if process.stdin is not None:
        process.stdin.close()
    with suppress(subprocess.TimeoutExpired):  # a process that a GPU's driver holds
        process.wait(_END)


def free_port() -> int:
    """A port of this machine at which nothing listens yet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def is_well(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server says that it is well; asked directly, whatever proxy there is."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _reason(log: Path, begin: int, status: int | None) -> str:
    """Why vLLM ended.

    Args:
        log: what it has printed, this time from the byte ``begin`` on
        status: its exit status
    """
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").splitlines()[1:]
    found = [match for line in lines if (match := _TELLING.fullmatch(line.rstrip()))]
    told = [next(filter(None, match.groups())) for match in found]
    told = [line for line in told if _POINTING_UP not in line]
    if told:
        return told[-1][:_LONGEST_REASON]
    if status == 128 + 9:
        return "it was killed, perhaps because the machine ran out of memory"
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return last[:_LONGEST_REASON]
