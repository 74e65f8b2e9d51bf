"""V-JEPA 2: sampled frames become one vector each, through overlapping windows.

The encoder of the paper's first stage (section on segmentation), run with transformers. A window is
64 sampled frames, the next one starts 8 later. V-JEPA 2 joins two frames to a tubelet and cuts that
into patches; the mean of a tubelet's patches is its vector, frames take theirs from the tubelets
around them, and where windows overlap, a frame's vectors are averaged.

Nothing here grows with the video but the result: the device holds the prepared frames of one batch
of windows, and the sums of those rows that a later window may still change.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from . import video
from .presets import PresetError, options

if TYPE_CHECKING:
    import torch

#: The options of ``backend: vjepa2`` in a preset.
OPTIONS: Mapping[str, Any] = {
    "model": "",  # a name on the Hugging Face hub, or a local folder
    "revision": "",  # of that model on the hub: a branch, tag or commit; "" is its newest
    "window": 64,  # sampled frames that the model sees at once
    "stride": 8,  # sampled frames from one window's start to the next
    "interpolation": "linear",  # from tubelets to frames; "repeat" gives both frames the same
    "batch_size": 0,  # windows at once; 0 finds it from the device's free memory
    "dtype": "auto",  # bfloat16, on a GPU that lacks it float16, on a CPU float32
    "device": "auto",  # the first GPU if there is one, else the CPU
    "decoder": "software",  # of frames; or "cuda", the GPU, whose pixels can differ by rounding
    "compile": False,  # fuse the layers with torch.compile: a minute more at the start
}

_INTERPOLATIONS = {"linear": "linear", "repeat": "nearest"}
_DTYPES = ("auto", "bfloat16", "float16", "float32")

# Frames that are decoded ahead at full size while the device computes.
_AHEAD = 16
# The matrices of one batch fill a data-centre GPU well before this many tokens; more windows at
# once would only hold more memory.
_BATCH_TOKENS = 131_072

# ImageNet's, which all V-JEPA 2 checkpoints are trained with.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

Item = TypeVar("Item")


class VJepa2Encoder:
    """A V-JEPA 2 checkpoint as an encoder of sampled frames (see ``embedding.Encoder``).

    Making one checks the options and reads the checkpoint's configuration, but neither its weights
    nor, with ``device: auto``, a GPU is touched before the first use.

    Args:
        config: of the embed role, with :data:`OPTIONS`

    Attributes:
        name: of the model
        long_side: None, frames are taken at full size and resized as the model was trained
        decoder: that frames are decoded with
        batch_size: windows at once; halved for good when the device's memory turns out too small

    Raises:
        PresetError: torch or transformers is missing, the model is not to be had or is none of
            V-JEPA 2, or an option has a value that it can't have
    """

    long_side: int | None = None

    def __init__(self, config: Mapping[str, Any]):
        chosen = options("embed", config, **OPTIONS)
        self._model, self._revision = chosen["model"], chosen["revision"] or None
        self._window, self._stride = chosen["window"], chosen["stride"]
        self._interpolation, self._compile = chosen["interpolation"], chosen["compile"]
        self._dtype, self._device = chosen["dtype"], chosen["device"]
        self.decoder = chosen["decoder"]
        self.name = f"{self._model}@{self._revision}" if self._revision else self._model
        _require(bool(self._model), "model is missing, for example facebook/vjepa2-vitg-fpc64-384")
        _require(
            self._interpolation in _INTERPOLATIONS,
            f"interpolation must be one of {', '.join(_INTERPOLATIONS)}, "
            f"not {self._interpolation!r}",
        )
        _require(
            self._dtype in _DTYPES,
            f"dtype must be one of {', '.join(_DTYPES)}, not {self._dtype!r}",
        )
        _require(chosen["batch_size"] >= 0, "batch_size must be 0 (found) or more")
        _require(
            1 <= self._stride <= self._window,
            f"stride must be 1 to window ({self._window}), so that no frame is left out",
        )
        _require(
            re.fullmatch(r"auto|cpu|cuda(:\d+)?", self._device) is not None,
            f"device must be auto, cpu, cuda or cuda:N, not {self._device!r}",
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
        if self._device.startswith("cuda"):
            import torch

            index = int(self._device.partition(":")[2] or 0)
            _require(
                index < torch.cuda.device_count(),
                f"device {self._device} is not there: torch sees {torch.cuda.device_count()} "
                "GPU(s); set device to auto, or repair the GPU's driver",
            )
        if chosen["batch_size"]:
            self.batch_size = chosen["batch_size"]

    @cached_property
    def device(self) -> torch.device:
        """Where the model runs."""
        import torch

        if self._device == "cpu" or (self._device == "auto" and not torch.cuda.is_available()):
            return torch.device("cpu")
        return torch.device("cuda", int(self._device.partition(":")[2] or 0))

    @cached_property
    def dtype(self) -> torch.dtype:
        """What the model computes in; sums and means are float32 all the same."""
        import torch

        if self._dtype != "auto":
            return getattr(torch, self._dtype)
        if self.device.type == "cpu":
            return torch.float32
        # Before Ampere bfloat16 is there, but emulated and slow.
        ampere = torch.cuda.get_device_capability(self.device) >= (8, 0)
        return torch.bfloat16 if ampere else torch.float16

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
                f"embed: the weights of {self.name} cannot be loaded ({_first_line(error)}); "
                "download the model again"
            ) from error
        # transformers fills what a checkpoint lacks with random numbers.
        lacking = [key for key in loaded["missing_keys"] if key.startswith("encoder.")]
        if lacking:
            raise PresetError(
                f"embed: the checkpoint {self.name} lacks {len(lacking)} of the encoder's weights "
                f"({min(lacking)}, ...); download the model again"
            )
        try:
            model = model.to(self.device).eval().requires_grad_(False)
        except torch.OutOfMemoryError as error:
            raise self._too_little_memory("its weights") from error
        if self._compile:
            # Layer by layer: they share their code, so that it is compiled once and not 40 times.
            for layer in model.encoder.layer:
                layer.compile()
        return model

    @cached_property
    def batch_size(self) -> int:
        """Windows at once: as many as fit into 80 % of the GPU's free memory; on a CPU one."""
        import torch

        if self.device.type == "cpu":
            return 1  # one window fills the cores, and a second one the caches
        unused = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        free = torch.cuda.mem_get_info(self.device)[0] + unused
        fitting = int(0.8 * free) // window_bytes(self.config, self._window, self.dtype.itemsize)
        return max(1, min(fitting, _BATCH_TOKENS // tokens(self.config, self._window)))

    def encode(self, frames: Iterable[np.ndarray]) -> np.ndarray:
        """Embed one video; see :func:`windows` for how the windows lie.

        Args:
            frames: (H, W, 3) uint8 RGB, in order; read ahead in a thread of their own

        Returns:
            (T, D) float16

        Raises:
            PresetError, MemoryError: see :attr:`model`; MemoryError also if not even one window
                fits into the device's memory
        """
        import torch

        model = self.model  # first, so that nothing is decoded for a model that can't be loaded
        mean, rows = _OverlapMean(), []
        waiting: list[tuple[int, int, list[torch.Tensor]]] = []

        def embed_waiting() -> None:
            vectors = self._in_batches([window for _, _, window in waiting])
            for (start, covered, _), vector in zip(waiting, vectors, strict=True):
                mean.add(start, vector[:covered])
            rows.append(mean.take(waiting[-1][0]))
            waiting.clear()

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
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)  # the rows are on their way until now
        return torch.cat(rows).numpy()

    def _prepared(self, frames: Iterable[np.ndarray]) -> Generator[torch.Tensor, None, None]:
        """Each frame as (3, crop, crop) on the device, once, however many windows it is in."""
        import torch

        def page_locked(frame: np.ndarray) -> torch.Tensor:
            tensor = torch.from_numpy(np.ascontiguousarray(frame))
            return tensor.pin_memory() if self.device.type == "cuda" else tensor

        with closing(read_ahead(map(page_locked, frames), _AHEAD)) as ahead:
            for frame in ahead:
                on_device = frame.to(self.device, non_blocking=True)
                yield preprocess(on_device, self.config.crop_size).to(self.dtype)

    def _in_batches(self, clips: Sequence[Sequence[torch.Tensor]]) -> Iterator[torch.Tensor]:
        """(window, D) float32 for each clip of (3, crop, crop) frames; halves what is too much."""
        import torch

        done = 0
        while done < len(clips):
            batch = clips[done : done + self.batch_size]
            try:
                vectors = self._frame_vectors(torch.stack([torch.stack([*c]) for c in batch]))
            except torch.OutOfMemoryError as error:
                if len(batch) == 1:
                    raise self._too_little_memory(f"one window of {self._window} frames") from error
                self.batch_size = len(batch) // 2
            else:
                yield from vectors
                done += len(batch)
                continue
            # Only here is the error gone, and with it the tensors that its traceback holds.
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _frame_vectors(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, window, 3, crop, crop) -> (B, window, D) float32, a vector per frame.

        A tubelet's vector stands at its centre, that of tubelets of two between their frames; the
        frames before the first centre and after the last one take the nearest tubelet's.
        """
        import torch
        from torch.nn.functional import interpolate

        with self._attention():
            found = self.model.get_vision_features(clips)  # (B, tubelets * patches, D)
        tubelets = self._window // self.config.tubelet_size
        means = found.unflatten(1, (tubelets, -1)).mean(2, dtype=torch.float32)
        mode = _INTERPOLATIONS[self._interpolation]
        return interpolate(means.transpose(1, 2), self._window, mode=mode).transpose(1, 2)

    def _attention(self) -> AbstractContextManager[Any]:
        """cuDNN's attention first where it is the fastest, on Hopper and later GPUs."""
        import torch

        if self.device.type != "cuda" or torch.cuda.get_device_capability(self.device) < (9, 0):
            return nullcontext()
        from torch.nn.attention import SDPBackend, sdpa_kernel

        order = ("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH")
        return sdpa_kernel([getattr(SDPBackend, name) for name in order], set_priority=True)

    def _too_little_memory(self, what: str) -> MemoryError:
        return MemoryError(
            f"{self.name}: {what} does not fit into the memory that is free on {self.device}; "
            "end other programs there, or choose a smaller model"
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


def read_ahead(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    """The same items, up to ``depth`` of them made ahead in a thread of their own.

    What making one raises is raised here, in its place.
    """
    iterator, end = iter(items), cast("Any", object())
    reader = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    try:
        coming = deque(reader.submit(next, iterator, end) for _ in range(depth))
        while (item := coming.popleft().result()) is not end:
            coming.append(reader.submit(next, iterator, end))
            yield item
    finally:
        reader.shutdown(wait=True, cancel_futures=True)


def tokens(config: Any, window: int) -> int:
    """Tokens of one window: tubelets * patches of each."""
    return (window // config.tubelet_size) * (config.crop_size // config.patch_size) ** 2


def window_bytes(config: Any, window: int, itemsize: int) -> int:
    """Memory that one more window of a batch takes, on the safe side.

    The most is alive inside a layer's MLP (input, normed input, output, and two of its hidden
    width) or while positions are turned into queries and keys; half as much again for what
    libraries take to work with. The pixels are there as frames, as a clip and as the first
    convolution's input.
    """
    width = 6 * config.hidden_size + 2 * int(config.hidden_size * config.mlp_ratio)
    pixels = 3 * window * 3 * config.crop_size**2
    return int(1.5 * itemsize * (tokens(config, window) * width + pixels))


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
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        raise PresetError(
            f"embed: the backend vjepa2 needs torch and transformers ({_first_line(error)}); "
            "install them with `make models`"
        ) from error
    try:
        config = transformers.AutoConfig.from_pretrained(
            model, revision=revision, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise PresetError(
            f"embed: the model {model!r} is not to be had: it is no folder with a checkpoint here, "
            f"and the hub gave none ({_first_line(error)}); check its name and the network"
        ) from error
    if config.model_type != "vjepa2":
        raise PresetError(
            f"embed: {model!r} is a checkpoint of {config.model_type!r} and not of V-JEPA 2; "
            "name one that is, for example facebook/vjepa2-vitg-fpc64-384"
        )
    folder = Path(model)
    if folder.is_dir() and not [*folder.glob("*.safetensors"), *folder.glob("*.bin")]:
        raise PresetError(f"embed: the folder {model} holds no weights; download the model again")
    return config


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise PresetError(f"embed: {otherwise}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
