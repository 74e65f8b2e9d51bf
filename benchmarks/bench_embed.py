"""V-JEPA 2, seconds a window of 64 frames; 1 = the project's encoder as presets have it.

On a GPU ViT-g-384 at full size in bfloat16, on a CPU a small model of the same architecture, both
with random weights, which take as long as trained ones. Frames are synthetic (854x480) and come
from memory, so that neither a video nor a decoder is needed; where PyAV is installed, there are
rows that start from an H.264 file too.

The peers' way is what scripts around the dataset do: window after window, one at a time, all of its
frames preprocessed anew on the CPU (and decoded anew, in the rows with a file), the answer awaited.

Operations of one window, a multiplication and an addition counting as two, with N tokens, width D,
MLP width M, L layers and V values in a tubelet's patch (3 * 2 * 16 * 16)::

    2 N D V  +  L (8 N D^2  +  4 N D M  +  4 N^2 D)
    patches        q, k, v, out   MLP       attention

Their rate is compared with that of an 8192 x 8192 x 8192 matrix product in the same type (2048 on a
CPU), measured in the same run.
"""

from __future__ import annotations

import gc
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import vjepa

from .timing import Row, side_by_side

_WINDOW, _STRIDE = 64, 8  # sampled frames of a window, and from one window to the next
_HEIGHT, _WIDTH, _FPS = 480, 854, 30

VIT_G_384 = {
    "crop_size": 384,
    "patch_size": 16,
    "frames_per_clip": 64,
    "tubelet_size": 2,
    "hidden_size": 1408,
    "num_hidden_layers": 40,
    "num_attention_heads": 22,
    "mlp_ratio": 48 / 11,
}
SMALL = VIT_G_384 | {
    "crop_size": 64,
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "mlp_ratio": 4.0,
}


def run() -> list[Row]:
    """Compare the encoder, plain and compiled, with the peers' way."""
    import torch

    gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        _save_random(VIT_G_384 if gpu else SMALL, folder, "cuda" if gpu else "cpu")
        preset = {"backend": "vjepa2", "model": folder, "window": _WINDOW, "stride": _STRIDE}
        encoder = vjepa.VJepa2Encoder(preset)
        rate = _matmul_rate(encoder.device.where, encoder.dtype, 8192 if gpu else 2048)
        measure = partial(_row, encoder=encoder, rate=rate)
        encoder.encode(_frames(1))  # the first window tells how many fit
        batch = encoder.batch_size
        # Whole batches, three of them on a GPU; as many windows for the peers as show the factor.
        many, few = (3 * batch, 4) if gpu else (6, 3)
        rows = [
            measure(f"encoder, batch {batch}", many, lambda: encoder.encode(_frames(many))),
            measure("the model alone, batch 1", few, lambda: _model_alone(encoder, few, 1)),
        ]
        if gpu:
            what = f"the model alone, batch {batch}"
            rows.append(measure(what, batch, lambda: _model_alone(encoder, batch, batch)))
        peers = measure("peers: batch 1, CPU", few, lambda: _peers(encoder, few, _window))
        rows.append(peers._replace(more={**(peers.more or {}), "difference": _difference(encoder)}))
        if find_spec("av"):
            video = Path(folder) / "video.mp4"
            _write_video(video, many)
            rows += [
                measure("encoder, from a file", many, lambda: _from_file(encoder, video)),
                measure(
                    "peers, from a file",
                    few,
                    lambda: _peers(encoder, few, partial(_decoded_window, video)),
                ),
            ]
        if gpu:
            rows += _attention_rows(encoder, rate)
            del encoder, measure
            gc.collect()
            torch.cuda.empty_cache()
            fused = vjepa.VJepa2Encoder({**preset, "compile": True, "batch_size": batch})
            what = f"encoder, batch {batch}, compiled"
            encode = lambda: fused.encode(_frames(many))  # noqa: E731
            rows.append(_row(what, many, encode, encoder=fused, rate=rate))
    return [row._replace(ratio=row.seconds / rows[0].seconds) for row in rows]


def operations(config: Any, window: int) -> int:
    """Of one window, by the formula at the top of this module."""
    count, width = vjepa.tokens(config, window), config.hidden_size
    patch = config.in_chans * config.tubelet_size * config.patch_size**2
    mlp = int(width * config.mlp_ratio)
    layer = 8 * count * width**2 + 4 * count * width * mlp + 4 * count**2 * width
    return 2 * count * width * patch + config.num_hidden_layers * layer


def _row(
    what: str, count: int, way: Callable[[], object], encoder: vjepa.VJepa2Encoder, rate: float
) -> Row:
    """Time ``way``, which embeds ``count`` windows, after a first time that is not counted."""
    import torch

    way()
    gpu = encoder.device.where.type == "cuda"
    if gpu:
        torch.cuda.reset_peak_memory_stats(encoder.device.where)
    ((_, seconds, _, _),) = side_by_side({what: way}, rounds=2)
    achieved = operations(encoder.config, _WINDOW) * count / seconds
    more = {
        "windows/s": count / seconds,
        "TFLOP/s": achieved / 1e12,
        "share of matmul": achieved / rate,
    }
    if gpu:
        more["peak GB"] = torch.cuda.max_memory_allocated(encoder.device.where) / 1e9
    # As it comes, so that a run that is cut short leaves what it has measured.
    print(f"  {what}: {seconds / count:.4f} s a window", file=sys.stderr, flush=True)
    return Row(what, seconds / count, 1.0, more)


def _save_random(config: Mapping[str, Any], folder: str, device: str) -> None:
    """A checkpoint with random weights, so that all of the way from the disk is the real one."""
    import torch
    from transformers import VJEPA2Config, VJEPA2Model, logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    with torch.device(device):
        model = VJEPA2Model(VJEPA2Config(**config))
    model.to(torch.bfloat16 if device == "cuda" else torch.float32).save_pretrained(folder)


def _frames(windows: int, start: int = 0) -> Iterator[np.ndarray]:
    """The frames of so many windows; a dozen that differ, over and over."""
    count = _WINDOW + (windows - 1) * _STRIDE
    return itertools.islice(itertools.cycle(_noise()), start, start + count)


@cache
def _noise() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8) for _ in range(12)]


def _matmul_rate(device: Any, dtype: Any, size: int) -> float:
    """Operations a second of a square matrix product of random numbers."""
    import torch

    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = _device_seconds(lambda: a @ b, 10)
    return 2 * size**3 / seconds


def _device_seconds(way: Callable[[], object], repeats: int) -> float:
    """The mean time of one of many calls that are not waited for in between."""
    import torch

    def wait() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    for _ in range(3):
        way()
    wait()
    started = time.perf_counter()
    for _ in range(repeats):
        way()
    wait()
    return (time.perf_counter() - started) / repeats


def _model_alone(encoder: vjepa.VJepa2Encoder, windows: int, batch: int) -> None:
    """What the model takes for windows that lie on the device, ready."""
    import torch

    crop = encoder.config.crop_size
    shape = (batch, _WINDOW, 3, crop, crop)
    clips = torch.randn(shape, device=encoder.device.where, dtype=encoder.dtype)
    with torch.inference_mode(), encoder.device.computing():
        for _ in range(windows // batch):
            vectors = encoder._frame_vectors(clips)
        vectors.cpu()


def _attention_rows(encoder: vjepa.VJepa2Encoder, rate: float) -> list[Row]:
    """The attention of all layers over one window, by each kernel that the GPU has."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    config, count = encoder.config, vjepa.tokens(encoder.config, _WINDOW)
    heads = config.num_attention_heads
    shape = (1, heads, count, config.hidden_size // heads)
    q, k, v = (
        torch.randn(shape, device=encoder.device.where, dtype=encoder.dtype) for _ in range(3)
    )
    flops = 4 * count**2 * config.hidden_size
    rows = []
    for name in ("CUDNN_ATTENTION", "FLASH_ATTENTION"):
        with torch.inference_mode(), sdpa_kernel(getattr(SDPBackend, name)):
            seconds = _device_seconds(lambda: scaled_dot_product_attention(q, k, v), 10)
        more = {"TFLOP/s": flops / seconds / 1e12, "share of matmul": flops / seconds / rate}
        what = f"attention of one window, {name.partition('_')[0].lower()}"
        rows.append(Row(what, seconds * config.num_hidden_layers, 1.0, more))
    return rows


# -- the peers' way ----------------------------------------------------------------------------


def _peers(
    encoder: vjepa.VJepa2Encoder, windows: int, window: Callable[[int], Iterable[np.ndarray]]
) -> np.ndarray:
    """One window after the other, everything anew, and averaged on the host."""
    import torch

    sums = np.zeros((_WINDOW + (windows - 1) * _STRIDE, encoder.config.hidden_size))
    counts = np.zeros((len(sums), 1))
    process = _processor(encoder.config.crop_size)
    for start in range(0, windows * _STRIDE, _STRIDE):
        clip = process(list(window(start)))[None].to(encoder.device.where, encoder.dtype)
        with torch.no_grad():
            tokens = encoder.model.get_vision_features(clip)[0].float().cpu()
        tubelets = tokens.unflatten(0, (_WINDOW // encoder.config.tubelet_size, -1)).mean(1)
        vectors = tubelets.repeat_interleave(encoder.config.tubelet_size, 0).numpy()
        sums[start : start + _WINDOW] += vectors
        counts[start : start + _WINDOW] += 1
    return sums / counts


def _difference(encoder: vjepa.VJepa2Encoder) -> float:
    """Between the encoder's vectors and the peers', as a share of their length: rounding only."""
    repeating = copy(encoder)  # the peers give both frames of a tubelet the same
    repeating._options = {**encoder._options, "interpolation": "repeat"}
    one, other = repeating.encode(_frames(3)), _peers(encoder, 3, _window)
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def _processor(crop: int) -> Callable[[list[np.ndarray]], Any]:
    """The model's own video processor; where torchvision is missing, the same steps on the CPU."""
    import torch

    if find_spec("torchvision"):
        from transformers import VJEPA2VideoProcessor

        processor = VJEPA2VideoProcessor(crop_size=crop)
        return lambda frames: processor(frames, return_tensors="pt", do_sample_frames=False)[
            "pixel_values_videos"
        ][0]
    return lambda frames: torch.stack(
        [vjepa.preprocess(torch.from_numpy(frame), crop) for frame in frames]
    )


def _window(start: int) -> Iterator[np.ndarray]:
    """A window's frames from memory."""
    return _frames(1, start)


# -- from a file -------------------------------------------------------------------------------


def _write_video(path: Path, windows: int) -> None:
    """A video of so many windows: coloured waves that move under noise."""
    import av

    from pipeline.video import SAMPLING_STRIDE

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 24, (8, _HEIGHT, _WIDTH, 3), np.uint8)
    across = np.linspace(0, 12, _WIDTH)[:, None] + np.arange(3)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        for i in range(SAMPLING_STRIDE * (_WINDOW + (windows - 1) * _STRIDE)):
            wave = (100 + 100 * np.sin(across + i / 15)).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(noise[i % 8] + wave[None], format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _from_file(encoder: vjepa.VJepa2Encoder, video: Path) -> np.ndarray:
    from pipeline.video import SampledFrames

    return encoder.encode(SampledFrames(video, encoder.long_side))


def _decoded_window(video: Path, start: int) -> Iterator[np.ndarray]:
    """A window's frames, from the key frame before it on."""
    import av

    from pipeline.video import SAMPLING_STRIDE

    first = start * SAMPLING_STRIDE
    last = first + (_WINDOW - 1) * SAMPLING_STRIDE
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        per_frame = float(1 / (_FPS * stream.time_base))
        container.seek(round(first * per_frame), stream=stream)
        for frame in container.decode(stream):
            index = round(frame.pts / per_frame)
            if index >= first and (index - first) % SAMPLING_STRIDE == 0:
                yield frame.to_ndarray(format="rgb24")
            if index >= last:
                return
