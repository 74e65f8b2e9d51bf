"""Every fourth frame of a 60 s, 854x480, 30 fps H.264 video, scaled to 160 pixels; 1 = ffmpeg.

The peers' way decodes each overlapping window of 64 sampled frames anew, with decord; where that is
not installed (``requirements-bench.txt``), with PyAV. The rows at full size are what V-JEPA 2
takes, which scales on its own device. The last ones are what captioning takes: 32 frames of each
segment of a tree that halves the video down to a second, in one pass or segment by segment.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from pipeline.captioning import evenly_spaced
from pipeline.video import SAMPLING_STRIDE, SampledFrames, VideoInfo, segment_frames

from .timing import Row, side_by_side

_WINDOW, _STRIDE = 64, 8  # sampled frames of a window, and from one window to the next
_SECONDS, _FPS, _SIZE = 60, 30, (854, 480)
_SHOWN = 32  # frames of a segment


def run() -> list[Row]:
    """Compare with ffmpeg itself, with windows decoded anew, and with segments one by one."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        width, height = _SIZE
        source = f"testsrc2=duration={_SECONDS}:size={width}x{height}:rate={_FPS}"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p"]
        subprocess.run([*command, "-preset", "veryfast", str(video)], check=True)
        sampled = SampledFrames(video, 160)
        rows = side_by_side(
            {
                "ffmpeg, decode + select + scale": lambda: _ffmpeg(video, ",scale=160:-2"),
                "SampledFrames, one pass": lambda: _exhaust(sampled),
            },
            rounds=5,
        )
        name, per_window = _per_window()
        # Too slow for several rounds: once is enough to see the factor.
        (row,) = side_by_side({f"{name}, each window anew": partial(per_window, video)}, 1)
        rows.append(row._replace(ratio=row.seconds / rows[0].seconds))
        rows += side_by_side(
            {
                "full size: ffmpeg, decode + select": lambda: _ffmpeg(video, ""),
                "full size: SampledFrames": lambda: _exhaust(SampledFrames(video, None)),
            },
            rounds=5,
        )
        assert sampled.info is not None
        rows += _segment_rows(video, sampled.info)
        return rows


def _exhaust(frames: SampledFrames) -> None:
    for _ in frames:
        pass


def _ffmpeg(video: Path, scale: str) -> None:
    filters = f"select='not(mod(n,{SAMPLING_STRIDE}))'{scale}"
    command = ["ffmpeg", "-v", "error", "-i", str(video), "-vf", filters, "-fps_mode"]
    command += ["passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "/dev/null", "-y"]
    subprocess.run(command, check=True)


# -- the peers' way ----------------------------------------------------------------------------


def _windows() -> list[list[int]]:
    """The raw frames of each window."""
    samples = -(-_SECONDS * _FPS // SAMPLING_STRIDE)
    starts = range(0, samples - _WINDOW + 1, _STRIDE)
    return [[SAMPLING_STRIDE * (start + i) for i in range(_WINDOW)] for start in starts]


def _per_window() -> tuple[str, Callable[[Path], None]]:
    return ("decord", _decord) if find_spec("decord") else ("PyAV", _pyav)


def _decord(video: Path) -> None:
    import decord

    reader = decord.VideoReader(str(video), width=160, height=90)
    for numbers in _windows():
        reader.get_batch(numbers).asnumpy()


def _pyav(video: Path) -> None:
    for numbers in _windows():
        _seek_and_decode(video, numbers, (160, 90))


def _seek_and_decode(video: Path, numbers: Sequence[int], size: tuple[int, int]) -> None:
    """Some frames, ascending, from the key frame before the first one on."""
    import av

    wanted, (width, height) = set(numbers), size
    with closing(av.open(str(video))) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        per_frame = float(1 / (_FPS * stream.time_base))
        container.seek(round(numbers[0] * per_frame), stream=stream)
        for frame in container.decode(stream):
            index = round(frame.pts / per_frame)
            if index in wanted:
                frame.to_ndarray(format="rgb24", width=width, height=height)
            if index >= numbers[-1]:
                return


# -- frames of segments ------------------------------------------------------------------------


def _segment_rows(video: Path, info: VideoInfo) -> list[Row]:
    wanted, level = {}, [range(info.frames)]
    while level:
        for frames in level:
            wanted[frames.start, frames.stop] = evenly_spaced(frames, _SHOWN)
        halves = [(f[: len(f) // 2], f[len(f) // 2 :]) for f in level if len(f) >= 2 * _FPS]
        level = [half for both in halves for half in both]

    def one_pass() -> None:
        for _ in segment_frames(video, wanted, info):
            pass

    def one_by_one() -> None:
        for numbers in wanted.values():
            _seek_and_decode(video, numbers, (320, 180))

    rows = side_by_side({f"{len(wanted)} segments: segment_frames, one pass": one_pass})
    (row,) = side_by_side({f"{len(wanted)} segments: each for itself": one_by_one}, 1)
    return [*rows, row._replace(ratio=row.seconds / rows[0].seconds)]
