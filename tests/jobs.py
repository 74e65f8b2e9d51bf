"""What test_workers.py has done in processes of their own, which import it by this name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from pipeline.devices import DeviceLost


def where(item: object) -> tuple[int, str, str]:
    """Its process, the GPUs that it sees, and how many threads it may take."""
    time.sleep(0.2)  # long enough for the others to take one too
    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES", ""), os.environ["OMP_NUM_THREADS"]


def fail(item: int) -> int:
    """Item 1 raises."""
    if item == 1:
        raise ValueError("item 1 is bad")
    return item


def die_once(item: tuple[str, Path]) -> str:
    """The deadly item kills its process, once; returns the GPUs that it sees."""
    name, mark = item
    if name == "deadly" and not mark.exists():
        mark.write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return os.environ.get("CUDA_VISIBLE_DEVICES", "")


def die(item: str) -> str:
    """The deadly item kills every process."""
    if item == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def lose_the_device(item: int) -> str:
    """Every item is lost where the GPU is broken; returns the GPU."""
    if os.environ["CUDA_VISIBLE_DEVICES"] == "broken":
        raise DeviceLost("it does not answer any more")
    time.sleep(0.05)
    return os.environ["CUDA_VISIBLE_DEVICES"]
