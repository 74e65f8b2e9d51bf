"""Where models run: the CPU, and what is different on a GPU.

All lines that speak to CUDA are here, few and obvious, so that the code around them runs, and is
tested, where there is no GPU.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")


class DeviceLost(RuntimeError):
    """A GPU that does not answer any more, or is not there; the process cannot use it again."""


def gpus() -> list[str]:
    """The GPUs that this process may use, each as ``CUDA_VISIBLE_DEVICES`` names it.

    Does not start to use them: a process that only hands out work takes none of their memory.
    """
    import torch

    return _names(torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def _names(count: int, visible: str | None) -> list[str]:
    """The first ``count`` of the user's own choice of GPUs (numbers or UUIDs), or of all."""
    chosen = [str(i) for i in range(count)] if visible is None else visible.split(",")
    return [name.strip() for name in chosen[:count]]


@dataclass(frozen=True)
class Found:
    """A GPU of this machine, with its memory in GiB."""

    name: str
    memory: float
    free: float


def found() -> list[Found]:
    """The GPUs of this machine that ``CUDA_VISIBLE_DEVICES`` leaves visible, as their driver says.

    Without torch, so that a form or a list can ask at once.
    """
    fields = "index,uuid,name,memory.total,memory.free"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return _found(told.stdout, os.environ.get("CUDA_VISIBLE_DEVICES"))


def _found(told: str, visible: str | None) -> list[Found]:
    """Out of what nvidia-smi prints: a line a GPU, memory in MiB."""
    chosen = None if visible is None else {name.strip() for name in visible.split(",")}
    result = []
    for line in told.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 5 or not (parts[3] + parts[4]).isdigit():
            continue
        index, uuid, name, total, free = parts
        if chosen is None or chosen & {index, uuid}:
            result.append(Found(name, int(total) / 1024, int(free) / 1024))
    return result


def choose(name: str) -> Device:
    """The device of a preset: "cpu", "cuda:N", "cuda" (the first GPU), or "auto".

    "auto" is the first GPU if there is one, else the CPU.

    Raises:
        DeviceLost: ``CUDA_VISIBLE_DEVICES`` names a GPU, and there is none. The CPU, a hundred
            times slower, is no replacement.
    """
    import torch

    if name == "cpu":
        return Device()
    if name != "auto" or torch.cuda.is_available():
        return Gpu(int(name.partition(":")[2] or 0))
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").strip()
    if named and not named.startswith("-"):
        raise DeviceLost(
            f"CUDA_VISIBLE_DEVICES names the GPU {named}, but torch finds none; "
            "repair its driver, or set device to cpu"
        )
    return Device()


class Device:
    """The CPU, and what every device can do.

    Attributes:
        where: as torch names it
        dtype: the fastest type that is exact enough here
        compiles: whether torch.compile may pay here
        compiler: what torch.compile is told
    """

    compiles = False
    compiler: Mapping[str, Any] = {}

    def __init__(self, where: str = "cpu"):
        import torch

        self.where = torch.device(where)
        self.dtype = torch.float32

    def page_locked(self, frame: torch.Tensor) -> torch.Tensor:
        """The same on the host, where the device can fetch it by itself."""
        return frame

    def prepared(
        self, frame: torch.Tensor, prepare: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """What ``prepare`` makes of the frame on the device, beside what else that computes."""
        return prepare(frame)

    def computing(self) -> AbstractContextManager[Any]:
        """For the model's own work; what was :meth:`prepared` before is there then."""
        return nullcontext()

    def room(self) -> int:
        """Bytes that a batch may fill; 0 where one window at a time is as fast."""
        return 0  # one window fills the cores, and a second one the caches

    def measured(self, work: Callable[[], Result]) -> tuple[Result, int]:
        """What the work returns, and the most bytes that it held at a time (0: not known)."""
        return work(), 0

    def fuse(self, layers: Iterable[torch.nn.Module], must: bool) -> None:
        """Have torch.compile make faster code of layers that are alike, on their next use.

        Args:
            must: whether it is an error if that fails, for want of a C compiler say; if not, torch
                says so in its log, and the layers stay as they are
        """
        import torch

        torch._dynamo.config.suppress_errors = not must
        for layer in layers:  # one by one they share their code: compiled once and not 40 times
            layer.compile(**self.compiler)

    def wait(self) -> None:
        """Until all that was asked for is done."""

    def release(self) -> None:
        """Give memory back that nothing uses."""

    def lost(self) -> bool:
        """Whether the device does not answer any more."""
        return False


class Gpu(Device):
    """An NVIDIA GPU through CUDA."""

    def __init__(self, index: int):
        import torch

        super().__init__(f"cuda:{index}")
        self._capability = torch.cuda.get_device_capability(self.where)
        # Before Ampere bfloat16 is there, but emulated and slow.
        self.dtype = torch.bfloat16 if self._capability >= (8, 0) else torch.float16
        self.compiles = find_spec("triton") is not None
        self._uploads = torch.cuda.Stream(self.where)

    def page_locked(self, frame: torch.Tensor) -> torch.Tensor:
        return frame.pin_memory()

    def prepared(
        self, frame: torch.Tensor, prepare: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        import torch

        with torch.cuda.stream(self._uploads):
            ready = prepare(frame.to(self.where, non_blocking=True))
        # Its memory is given to another frame only after what computes with it.
        ready.record_stream(torch.cuda.current_stream(self.where))
        return ready

    def computing(self) -> AbstractContextManager[Any]:
        import torch

        torch.cuda.current_stream(self.where).wait_stream(self._uploads)
        if self._capability < (9, 0):
            return nullcontext()
        # cuDNN's attention is the fastest on Hopper and later.
        from torch.nn.attention import SDPBackend, sdpa_kernel

        order = ("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH")
        return sdpa_kernel([getattr(SDPBackend, name) for name in order], set_priority=True)

    def room(self) -> int:
        import torch

        unused = torch.cuda.memory_reserved(self.where) - torch.cuda.memory_allocated(self.where)
        return int(0.8 * (torch.cuda.mem_get_info(self.where)[0] + unused))

    def measured(self, work: Callable[[], Result]) -> tuple[Result, int]:
        import torch

        torch.cuda.reset_peak_memory_stats(self.where)
        before = torch.cuda.memory_allocated(self.where)
        result = work()
        return result, torch.cuda.max_memory_allocated(self.where) - before

    def wait(self) -> None:
        import torch

        torch.cuda.synchronize(self.where)

    def release(self) -> None:
        import torch

        torch.cuda.empty_cache()

    def lost(self) -> bool:
        # An error that spoils the process's use of the GPU comes back with whatever is asked next.
        try:
            self.wait()
        except RuntimeError:
            return True
        return False
