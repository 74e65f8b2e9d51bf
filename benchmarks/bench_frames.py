"""Every fourth frame of a 60 s, 854x480, 30 fps H.264 video, scaled to 160 pixels; 1 = ffmpeg."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from pipeline.video import SAMPLING_STRIDE, SampledFrames

from .timing import Row, side_by_side

_WINDOW, _STRIDE = 64, 8  # sampled frames of a window, and from one window to the next


def run() -> list[Row]:
    """Compare with ffmpeg itself, and with decoding each overlapping window anew."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        source = "testsrc2=duration=60:size=854x480:rate=30"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p"]
        subprocess.run([*command, "-preset", "veryfast", str(video)], check=True)
        ways = {
            "ffmpeg, decode + select + scale": lambda: _ffmpeg(video),
            "SampledFrames, one pass": lambda: _ours(video),
        }
        rows = side_by_side(ways)
        # Too slow for several rounds: once is enough to see the factor.
        (window,) = side_by_side(
            {"each overlapping window decoded anew": lambda: _per_window(video)}, 1
        )
        return [*rows, Row(window.what, window.seconds, window.seconds / rows[0].seconds)]


def _ffmpeg(video: Path) -> None:
    filters = f"select='not(mod(n,{SAMPLING_STRIDE}))',scale=160:-2"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(video),
        "-vf",
        filters,
        "-fps_mode",
        "passthrough",
    ]
    subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "/dev/null", "-y"], check=True)


def _ours(video: Path) -> None:
    for _ in SampledFrames(video, 160):
        pass


def _per_window(video: Path) -> None:
    import av

    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        samples = -(-stream.frames // SAMPLING_STRIDE)
        per_frame = float(1 / (stream.average_rate * stream.time_base))
        for start in range(0, max(1, samples - _WINDOW + _STRIDE), _STRIDE):
            first = start * SAMPLING_STRIDE
            last = min(stream.frames, first + _WINDOW * SAMPLING_STRIDE) - 1
            container.seek(round(first * per_frame), stream=stream)
            for frame in container.decode(stream):
                index = round(frame.pts / per_frame)
                if index >= first and (index - first) % SAMPLING_STRIDE == 0:
                    frame.to_ndarray(format="rgb24", width=160, height=90)
                if index >= last:
                    break
