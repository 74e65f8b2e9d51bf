"""V-JEPA 2: sampled frames become one vector each, through overlapping windows.

The encoder of the paper's first stage (section on segmentation), run with transformers. A window is
64 sampled frames, the next one starts 8 later. V-JEPA 2 joins two frames to a tubelet and cuts that
into patches; the mean of a tubelet's patches is its vector, frames take theirs from the tubelets
around them, and where windows overlap, a frame's vectors are averaged.

Nothing here grows with the video but the result: the device holds the prepared frames of one batch
of windows, and the sums of those rows that a later window may still change.
"""

from __future__ import annotations

import gc
import re
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from . import checkpoints, devices, video
from .ahead import read_ahead
from .checkpoints import CheckpointError, first_line
from .devices import Device, DeviceLost
from .presets import PresetError, options

if TYPE_CHECKING:
    import torch

#: The options of ``backend: vjepa2`` in a preset; of several choices the first is the default.
OPTIONS: Mapping[str, Any] = {
    # These make the embeddings what they are; another value makes a run embed its videos again.
    "model": "",  # a name on the Hugging Face hub, or a local folder
    "revision": "",  # of that model on the hub: a branch, tag or commit; "" is its newest
    "window": 64,  # sampled frames that the model sees at once
    "stride": 8,  # sampled frames from one window's start to the next
    "interpolation": ("linear", "repeat"),  # from tubelets to frames; or both frames the same
    # "auto" is bfloat16, on a GPU that lacks it float16, on a CPU float32.
    "dtype": ("auto", "bfloat16", "float16", "float32"),
    "decoder": video.DECODERS,  # of frames; the GPU's ("cuda") pixels can differ by rounding
    # These are about speed alone.
    "batch_size": 0,  # windows at once; 0 finds it from the device's free memory
    "device": "auto",  # all GPUs if there are any, else the CPU; cuda; cuda:N is that one alone
    "compile": ("auto", True, False),  # fuse the layers with torch.compile; auto: on long GPU runs
}

_SPEED_ONLY = ("batch_size", "device", "compile")
_INTERPOLATIONS = {"linear": "linear", "repeat": "nearest"}

# Frames that are decoded ahead at full size while the device computes.
_AHEAD = 16
# The matrices of one batch fill a data-centre GPU well before this many tokens; more windows at
# once would only hold more memory.
_BATCH_TOKENS = 131_072
# Compiling takes a minute or two and saves a share of the time from then on, which differs from GPU
# to GPU: what has run for so many seconds is likely to run long enough to get them back.
_COMPILE_AFTER = 1200

# ImageNet's, which all V-JEPA 2 checkpoints are trained with.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

Item = TypeVar("Item")


class VJepa2Encoder:
    """A V-JEPA 2 checkpoint as an encoder of sampled frames (see ``embedding.Encoder``).

    Making one checks the options and the checkpoint's configuration and files, but neither are its
    weights loaded nor is a GPU touched before the first use.

    Args:
        config: of the embed role, with :data:`OPTIONS`
        device: instead of the one that ``config`` names

    Attributes:
        name: of the model
        long_side: None, frames are taken at full size and resized as the model was trained
        decoder: that frames are decoded with
        batch_size: windows at once; 0 until the first window has shown what one takes; halved for
            good when the device's memory turns out too small

    Raises:
        PresetError: torch or transformers is missing, the model is not to be had, is none of
            V-JEPA 2, damaged or incomplete, or an option has a value that it can't have
    """

    long_side: int | None = None

    def __init__(self, config: Mapping[str, Any], device: Device | None = None):
        self._options = chosen = options("embed", config, **OPTIONS)
        self._model, self._revision = chosen["model"], chosen["revision"] or None
        self._window, self._stride = chosen["window"], chosen["stride"]
        self.batch_size: int = chosen["batch_size"]
        self.decoder: str = chosen["decoder"]
        self.name = f"{self._model}@{self._revision}" if self._revision else self._model
        self._seconds, self._fused = 0.0, False
        _require(bool(self._model), "model is missing, for example facebook/vjepa2-vitg-fpc64-384")
        _require(self.batch_size >= 0, "batch_size must be 0 (found) or more")
        _require(
            1 <= self._stride <= self._window,
            f"stride must be 1 to window ({self._window}), so that no frame is left out",
        )
        _require(
            re.fullmatch(r"auto|cpu|cuda(:\d+)?", chosen["device"]) is not None,
            f"device must be auto, cpu, cuda or cuda:N, not {chosen['device']!r}",
        )
        try:
            video.hardware(self.decoder)
        except video.VideoError as error:
            raise PresetError(f"embed: {error}") from error
        self.config = _configuration(self._model, self._revision)
        tubelet = self.config.tubelet_size
        _require(
            self._window % tubelet == 0,
            f"window must be a multiple of the model's tubelets ({tubelet} frames), "
            f"not {self._window}",
        )
        if device is not None:
            self.device = device
        elif chosen["device"].startswith("cuda"):
            import torch

            index = int(chosen["device"].partition(":")[2] or 0)
            _require(
                index < torch.cuda.device_count(),
                f"device {chosen['device']} is not there: torch sees {torch.cuda.device_count()} "
                "GPU(s); set device to auto, or repair the GPU's driver",
            )

    @property
    def identity(self) -> dict[str, Any]:
        """What the embeddings depend on, in plain JSON data: no option that is only about speed.

        A local folder counts by its content, wherever it is, a model of the hub by its commit.
        """
        chosen = {k: v for k, v in self._options.items() if k not in _SPEED_ONLY}
        if Path(self._model).is_dir():
            chosen["model"], chosen["revision"] = checkpoints.fingerprint(Path(self._model)), ""
        else:
            chosen["revision"] = getattr(self.config, "_commit_hash", None) or chosen["revision"]
        return {"backend": "vjepa2", **chosen}

    @property
    def places(self) -> tuple[str, ...]:
        """Where processes with this encoder work side by side, see ``workers``: a GPU each.

        On a CPU one, with all of its threads: a second one would only hold the weights again.
        """
        wanted = self._options["device"]
        return tuple(devices.gpus() if wanted in ("auto", "cuda") else ()) or ("",)

    @cached_property
    def device(self) -> Device:
        """Where the model runs; DeviceLost for a GPU that is not there any more."""
        return devices.choose(self._options["device"])

    @cached_property
    def dtype(self) -> torch.dtype:
        """What the model computes in; sums and means are float32 all the same."""
        import torch

        wanted = self._options["dtype"]
        return self.device.dtype if wanted == "auto" else getattr(torch, wanted)

    @cached_property
    def model(self) -> Any:
        """The model with its weights, loaded on first use.

        Raises:
            PresetError: the weights are not to be had, damaged or incomplete
            MemoryError: they do not fit onto the device
        """
        import torch
        import transformers

        transformers.logging.disable_progress_bar()
        try:
            model, loaded = transformers.AutoModel.from_pretrained(
                self._model,
                revision=self._revision,
                dtype=self.dtype,
                attn_implementation="sdpa",
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:  # of the file's format, the hub, the network, ...
            raise PresetError(
                f"embed: the weights of {self.name} cannot be loaded ({first_line(error)}); "
                "download the model again"
            ) from error
        lacking = [k for k in loaded["missing_keys"] if k.startswith("encoder.")]
        try:
            checkpoints.require_all(self.name, lacking)
            return model.to(self.device.where).eval().requires_grad_(False)
        except CheckpointError as error:
            raise PresetError(f"embed: {error}") from error
        except torch.OutOfMemoryError as error:
            raise self._too_little_memory("its weights") from error

    def check(self) -> None:
        """All has been checked when this was made."""

    def unload(self) -> None:
        """Give back the memory of the weights; the next use loads them again."""
        if vars(self).pop("model", None) is not None:
            self._fused = False
            gc.collect()  # compiled layers refer to themselves
            self.device.release()

    def encode(self, frames: Iterable[np.ndarray]) -> np.ndarray:
        """Embed one video; see :func:`windows` for how the windows lie.

        Args:
            frames: (H, W, 3) uint8 RGB, in order; read ahead in a thread of their own

        Returns:
            (T, D) float16

        Raises:
            PresetError, MemoryError: see :attr:`model`; MemoryError also if not even one window
                fits into the device's memory
            DeviceLost: the GPU does not answer any more
        """
        import torch

        started = time.monotonic()
        try:
            return self._encode(frames)
        except torch.OutOfMemoryError as error:  # of the frames; for a window's see _in_batches
            raise self._too_little_memory("a batch's frames") from error
        except RuntimeError as error:
            if isinstance(error, DeviceLost) or not self.device.lost():
                raise
            raise DeviceLost(
                f"{self.device.where} does not answer any more ({first_line(error)}); "
                "see the system's log for its driver"
            ) from error
        finally:
            self._seconds += time.monotonic() - started

    def _encode(self, frames: Iterable[np.ndarray]) -> np.ndarray:
        import torch

        model = self.model  # first, so that nothing is decoded for a model that can't be loaded
        asked = self._options["compile"]
        pays = asked == "auto" and self.device.compiles and self._seconds >= _COMPILE_AFTER
        if (asked is True or pays) and not self._fused:
            self._fused = True
            self.device.fuse(model.encoder.layer, must=asked is True)
        mean, rows = _OverlapMean(), []
        waiting: list[tuple[int, int, list[torch.Tensor]]] = []

        def embed_waiting() -> None:
            vectors = self._in_batches([window for _, _, window in waiting])
            for (start, covered, _), vector in zip(waiting, vectors, strict=True):
                mean.add(start, vector[:covered])
            rows.append(mean.take(waiting[-1][0]))
            waiting.clear()

        # Nothing in here waits for a GPU: while it computes a batch, the next one's frames are
        # decoded, uploaded and prepared.
        with torch.inference_mode(), closing(self._prepared(frames)) as prepared:
            for window in windows(prepared, self._window, self._stride):
                waiting.append(window)
                if len(waiting) >= self.batch_size:
                    embed_waiting()
            if waiting:
                embed_waiting()
            if not rows:
                return np.empty((0, model.config.hidden_size), np.float16)
            rows.append(mean.take())
            self.device.wait()  # the rows are on their way until now
        return torch.cat(rows).numpy()

    def _prepared(self, frames: Iterable[np.ndarray]) -> Generator[torch.Tensor, None, None]:
        """Each frame as (3, crop, crop) on the device, once, however many windows it is in."""
        import torch

        def page_locked(frame: np.ndarray) -> torch.Tensor:
            return self.device.page_locked(torch.from_numpy(np.ascontiguousarray(frame)))

        def prepare(frame: torch.Tensor) -> torch.Tensor:
            return preprocess(frame, self.config.crop_size).to(self.dtype)

        with closing(read_ahead(map(page_locked, frames), _AHEAD)) as ahead:
            for frame in ahead:
                yield self.device.prepared(frame, prepare)

    def _in_batches(self, clips: Sequence[Sequence[torch.Tensor]]) -> Iterator[torch.Tensor]:
        """(window, D) float32 for each clip of (3, crop, crop) frames; halves what is too much."""
        import torch

        done = 0
        while done < len(clips):
            batch = clips[done : done + max(1, self.batch_size)]
            try:
                vectors = self._embedded(batch) if self.batch_size else self._measured(batch)
            except torch.OutOfMemoryError as error:
                if len(batch) == 1:
                    raise self._too_little_memory(f"one window of {self._window} frames") from error
                self.batch_size = len(batch) // 2
            else:
                yield from vectors
                done += len(batch)
                continue
            # Only here is the error gone, and with it the tensors that its traceback holds.
            self.device.release()

    def _measured(self, batch: Sequence[Sequence[torch.Tensor]]) -> torch.Tensor:
        """Like :meth:`_embedded`, for the first window: tells from its memory how many fit."""
        vectors, taken = self.device.measured(lambda: self._embedded(batch))
        most = _BATCH_TOKENS // tokens(self.config, self._window)
        fitting = self.device.room() // taken if taken else 1
        self.batch_size = max(1, min(fitting, most))
        return vectors

    def _embedded(self, batch: Sequence[Sequence[torch.Tensor]]) -> torch.Tensor:
        """B clips of ``window`` frames (3, crop, crop) -> (B, window, D) float32."""
        import torch

        with self.device.computing():
            return self._frame_vectors(torch.stack([torch.stack([*clip]) for clip in batch]))

    def _frame_vectors(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, window, 3, crop, crop) -> (B, window, D) float32, a vector per frame.

        A tubelet's vector stands at its centre, that of tubelets of two between their frames; the
        frames before the first centre and after the last one take the nearest tubelet's.
        """
        import torch
        from torch.nn.functional import interpolate

        found = self.model.get_vision_features(clips)  # (B, tubelets * patches, D)
        tubelets = self._window // self.config.tubelet_size
        means = found.unflatten(1, (tubelets, -1)).mean(2, dtype=torch.float32)
        mode = _INTERPOLATIONS[self._options["interpolation"]]
        return interpolate(means.transpose(1, 2), self._window, mode=mode).transpose(1, 2)

    def _too_little_memory(self, what: str) -> MemoryError:
        return MemoryError(
            f"{self.name}: {what} does not fit into the memory that is free on "
            f"{self.device.where}; end other programs there, or choose a smaller model"
        )


def windows(
    frames: Iterable[Item], window: int, stride: int
) -> Iterator[tuple[int, int, list[Item]]]:
    """Lay windows over T frames, so that every frame is in at least one.

    They start at 0, stride, 2 * stride, ... as long as they end within the frames; where the last
    of them ends before frame T, one more ends exactly there. Fewer frames than a window are
    followed by repetitions of the last one.

    Args:
        frames: anything, in order
        window: frames of a window
        stride: from one start to the next, at most ``window``

    Yields:
        (start, how many frames of this window are no repetitions, the window's frames); each as
        soon as its last frame has come, in the order of the starts
    """
    recent: deque[Item] = deque(maxlen=window)
    seen = 0
    for seen, frame in enumerate(frames, start=1):
        recent.append(frame)
        if seen >= window and (seen - window) % stride == 0:
            yield seen - window, window, list(recent)
    if 0 < seen < window:
        yield 0, seen, [*recent, *[recent[-1]] * (window - seen)]
    elif seen > window and (seen - window) % stride:
        yield seen - window, window, list(recent)


def preprocess(frame: torch.Tensor, crop: int) -> torch.Tensor:
    """What the model's own video processor does to a frame, on the frame's device.

    The shorter side becomes ``crop * 256 / 224`` pixels (bilinear, antialiased, in whole levels of
    brightness), the middle ``crop`` x ``crop`` are cut out, ImageNet's mean and deviation are taken
    off. On a CPU equal to the last bit; a GPU resizes in float32 and rounds, as torchvision does
    there.

    Args:
        frame: (H, W, 3) uint8

    Returns:
        (3, crop, crop) float32
    """
    from torch.nn.functional import interpolate

    height, width = frame.shape[:2]
    short = int(crop * 256 / 224)
    long = int(short * max(height, width) / min(height, width))
    size = (short, long) if height <= width else (long, short)
    pixels = frame.permute(2, 0, 1)[None]
    if frame.device.type != "cpu":
        pixels = pixels.float()  # there is no antialiased resize of uint8 outside the CPU
    resized = interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
    top, left = (int((side - crop) / 2) for side in size)
    cut = resized[0, :, top : top + crop, left : left + crop].float().round()
    mean, std = _normalisation(frame.device)
    return (cut - mean) / std


@cache
def _normalisation(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """ImageNet's mean and deviation in levels of brightness, (3, 1, 1) float32.

    Kept on the device: to send them anew with each frame would mean to wait for the device.
    """
    import torch

    mean, std = (torch.tensor(c, device=device)[:, None, None] * 255 for c in (_MEAN, _STD))
    return mean, std


def tokens(config: Any, window: int) -> int:
    """Tokens of one window: tubelets * patches of each."""
    return (window // config.tubelet_size) * (config.crop_size // config.patch_size) ** 2


class _OverlapMean:
    """The mean of overlapping windows' vectors, in float32 on their device.

    Holds only the rows from ``first`` on, those that are not taken yet.
    """

    def __init__(self) -> None:
        self.first = 0
        self._sums: Any = None
        self._counts: Any = None

    def add(self, start: int, vectors: torch.Tensor) -> None:
        """Add a window's (n, D) float32; ``start`` is that of the window before, or later."""
        import torch

        if self._sums is None:
            self._sums, self._counts = vectors.new_empty(0, vectors.shape[1]), vectors.new_empty(0)
        begin, end = start - self.first, start - self.first + len(vectors)
        if (lacking := end - len(self._sums)) > 0:
            grown = vectors.new_zeros(lacking, vectors.shape[1])
            self._sums = torch.cat([self._sums, grown])
            self._counts = torch.cat([self._counts, vectors.new_zeros(lacking)])
        self._sums[begin:end] += vectors
        self._counts[begin:end] += 1

    def take(self, stop: int | None = None) -> Any:
        """The means of rows ``first`` to ``stop`` (or all that are left), (n, D) float16.

        On the host, or on their way to it: wait for the device before reading them.
        """
        count = len(self._sums) if stop is None else stop - self.first
        means = self._sums[:count] / self._counts[:count, None]
        self._sums, self._counts = self._sums[count:], self._counts[count:]
        self.first += count
        return means.half().to("cpu", non_blocking=True)


def _configuration(model: str, revision: str | None) -> Any:
    """The checkpoint's configuration, read from its folder or from the hub."""
    try:
        config = checkpoints.configuration("vjepa2", model, revision)
        if config.model_type != "vjepa2":
            raise CheckpointError(
                f"{model!r} is a checkpoint of {config.model_type!r} and not of V-JEPA 2; "
                "name one that is, for example facebook/vjepa2-vitg-fpc64-384"
            )
        if Path(model).is_dir():
            _check_weights(Path(model), config)
    except CheckpointError as error:
        raise PresetError(f"embed: {error}") from error
    return config


def _check_weights(folder: Path, config: Any) -> None:
    """Make sure that a local checkpoint is whole, without reading its weights."""
    import torch
    from transformers import VJEPA2Model

    stored = checkpoints.tensor_names(folder)
    if stored is None:
        return
    with torch.device("meta"):
        wanted = VJEPA2Model(config).state_dict()
    # A classifier's checkpoint has the same names after a prefix.
    stored = {name[max(0, name.find("encoder.")) :] for name in stored}
    lacking = [k for k in wanted if k.startswith("encoder.") and k not in stored]
    checkpoints.require_all(folder, lacking)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise PresetError(f"embed: {otherwise}")
