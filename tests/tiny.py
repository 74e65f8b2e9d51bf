"""A tiny V-JEPA 2 of the real architecture, and a device whose memory has an end."""

from __future__ import annotations

import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import VJEPA2Config, VJEPA2Model

from pipeline.devices import Device

CROP, WINDOW = 32, 16
WIDTH = 32


def save_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Write a folder as the hub would give it, with random weights; returns it."""
    torch.manual_seed(seed)
    config = VJEPA2Config(
        crop_size=CROP,
        patch_size=16,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        frames_per_clip=WINDOW,
        initializer_range=0.2,
        pred_hidden_size=16,
        pred_num_hidden_layers=1,
        pred_num_attention_heads=2,
    )
    VJEPA2Model(config).save_pretrained(folder)
    return folder


class SmallDevice(Device):
    """The CPU with so many bytes for what the model computes; beyond them it raises as CUDA does.

    Attributes:
        peak: the most bytes that were held at a time
        refusals: how often there were too few
    """

    def __init__(self, limit: int):
        super().__init__()
        self.limit, self.held, self.peak, self.refusals = limit, 0, 0, 0

    def computing(self) -> Any:
        return _Counted(self)

    def room(self) -> int:
        return int(0.8 * (self.limit - self.held))

    def measured(self, work: Any) -> tuple[Any, int]:
        self.peak = before = self.held
        result = work()
        return result, self.peak - before


class _Counted(TorchDispatchMode):
    """Counts the storages of all tensors that come to be, each as long as a tensor uses it."""

    def __init__(self, device: SmallDevice):
        super().__init__()
        self.device, self.users = device, Counter[int]()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        device = self.device
        for tensor in tree_leaves(result):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            address, size = storage.data_ptr(), storage.nbytes()
            self.users[address] += 1
            if self.users[address] == 1:
                device.held += size
            weakref.finalize(tensor, self._dropped, address, size)
        device.peak = max(device.peak, device.held)
        if device.held > device.limit:
            device.refusals += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return result

    def _dropped(self, address: int, size: int) -> None:
        self.users[address] -= 1
        if not self.users[address]:
            self.device.held -= size
