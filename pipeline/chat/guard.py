"""Runs a program that must not outlive the process that wants it: ``guard.py PROGRAM ARGUMENT...``.

Standard input is a pipe from that process. When it ends, because it was closed or because the
process is gone, however that came, the program is asked to end, and soon made to. When the program
ends, so does all that it has started: a vLLM server that is killed leaves its engine behind, and
that keeps the GPU's memory. The guard itself ends last, with the program's exit status, or 128 + N
for the signal N.

It is run as a file, by an interpreter that knows nothing of this project.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

# Seconds that the program has to end by itself.
_GRACE = 10
# Of Linux's prctl.
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36


def main() -> int:
    """Run the program; returns the exit status."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_SET_CHILD_SUBREAPER, 1)  # what the program leaves behind becomes ours to wait for
    program = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        # Should the guard be killed, this much of its work is the system's.
        preexec_fn=lambda: prctl(_SET_PDEATHSIG, signal.SIGKILL),
    )
    threading.Thread(target=_end_with_input, args=(program.pid,), daemon=True).start()
    # Not fetched yet: until then no other process can have its number.
    os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
    os.killpg(program.pid, signal.SIGKILL)
    status = program.wait()
    with suppress(ChildProcessError):  # there are no more
        while True:
            os.waitpid(-program.pid, 0)
    return status if status >= 0 else 128 - status


def _end_with_input(program: int) -> None:
    while os.read(0, 4096):
        pass
    with suppress(ProcessLookupError):
        os.kill(program, signal.SIGTERM)
        time.sleep(_GRACE)
        os.killpg(program, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
