"""Frames of videos: one sequential, threaded decode, handed on as a stream."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

#: One of every four raw frames is embedded (paper, section on segmentation).
SAMPLING_STRIDE = 4

EXTENSIONS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})


class VideoError(ValueError):
    """A file that cannot be read as a video; the message names it and what to do."""


@dataclass(frozen=True)
class VideoInfo:
    """What a whole decode found.

    Attributes:
        fps: raw frames a second
        frames: raw frames
        width, height: pixels
    """

    fps: Fraction
    frames: int
    width: int
    height: int

    @property
    def samples(self) -> int:
        """T, the number of sampled frames: raw frames 0, 4, 8, ..."""
        return -(-self.frames // SAMPLING_STRIDE)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data; the frame rate stays exact."""
        return {
            "fps": str(self.fps),
            "frames": self.frames,
            "width": self.width,
            "height": self.height,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> VideoInfo:
        """The inverse of :meth:`to_dict`."""
        return cls(Fraction(data["fps"]), data["frames"], data["width"], data["height"])


class SampledFrames:
    """Iterates over a video's sampled frames, decoding each raw frame once and keeping none.

    Args:
        path: the video's file
        long_side: frames are scaled so that their longer side has this many pixels; None leaves
            them as they are

    Yields:
        (H, W, 3) uint8 RGB arrays; after the last one, ``info`` is set

    Raises:
        VideoError: while iterating: the file is missing, empty, no video, damaged, or ends early
    """

    def __init__(self, path: str | os.PathLike[str], long_side: int | None):
        self.path = Path(path)
        self.long_side = long_side
        self.info: VideoInfo | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        import av

        decoded = 0
        try:
            with self._open(av) as container:
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                size = self._scaled(stream.codec_context.width, stream.codec_context.height)
                first = last = None
                for frame in container.decode(stream):
                    if decoded % SAMPLING_STRIDE == 0:
                        yield frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
                    decoded += 1
                    if frame.pts is not None:
                        first = frame.pts if first is None else first
                        last = frame.pts
                self._check_complete(container, stream, decoded)
                self.info = VideoInfo(
                    fps=self._fps(stream, decoded, first, last),
                    frames=decoded,
                    width=stream.codec_context.width,
                    height=stream.codec_context.height,
                )
        except av.FFmpegError as error:
            if decoded:
                raise VideoError(
                    f"{self.path} is damaged after {decoded} frames ({error.strerror}); "
                    "download or export it again"
                ) from error
            raise VideoError(
                f"{self.path} is not a readable video ({error.strerror}); "
                "check the file, or download it again"
            ) from error

    def _open(self, av: Any) -> Any:
        if not self.path.exists():
            raise VideoError(f"{self.path}: no such file")
        if self.path.is_file() and self.path.stat().st_size == 0:
            raise VideoError(f"{self.path} is empty (0 bytes); download it again")
        # An absolute path can be neither an option nor a protocol of FFmpeg.
        container = av.open(str(self.path.absolute()), metadata_errors="replace")
        if not container.streams.video:
            container.close()
            raise VideoError(f"{self.path} holds no video stream; name a video")
        return container

    def _scaled(self, width: int, height: int) -> tuple[int, int]:
        if self.long_side is None:
            return width, height
        scale = self.long_side / max(width, height, 1)
        return max(2, round(width * scale)), max(2, round(height * scale))

    def _check_complete(self, container: Any, stream: Any, decoded: int) -> None:
        """A file that was cut off decodes without an error until it just ends."""
        if not decoded:
            raise VideoError(f"{self.path} holds no frame that can be decoded; download it again")
        expected = stream.frames
        if not expected and container.duration and stream.average_rate:
            expected = int(container.duration / 1_000_000 * stream.average_rate * 0.98)
        if decoded < expected - 2:
            raise VideoError(
                f"{self.path} ends early: {decoded} of {expected} frames are there; "
                "download or export it again"
            )

    def _fps(self, stream: Any, decoded: int, first: int | None, last: int | None) -> Fraction:
        """Frames a second as the timestamps have it; the header's exact ratio where they agree."""
        header = stream.average_rate or stream.base_rate or stream.guessed_rate
        if first is None or last is None or last <= first:
            if not header:
                raise VideoError(f"{self.path} tells no frame rate; export it again as MP4")
            return Fraction(header)
        measured = (decoded - 1) / ((last - first) * stream.time_base)
        if header and abs(measured - header) < header / 1000:
            return Fraction(header)
        return Fraction(measured).limit_denominator(1001)


def find_videos(path: str | os.PathLike[str]) -> list[Path]:
    """The path itself, or a folder's videos by name (its subfolders are not searched)."""
    path = Path(path)
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.iterdir() if p.suffix.lower() in EXTENSIONS and p.is_file())
