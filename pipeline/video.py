"""Frames of videos: decoded in order, each once, and handed on as a stream.

:class:`SampledFrames` is every fourth frame of a whole video, for what embeds it;
:func:`segment_frames` is a few frames of each of many segments, for what captions them. Both show
frames as players do: upright, with square pixels, without what an edit list cuts off. Frames are
numbered from 0 in the order in which they are shown.
"""

from __future__ import annotations

import math
import os
import struct
from array import array
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from .tree import MIN_SEGMENT_DURATION

if TYPE_CHECKING:
    import av
    from av.video.frame import VideoFrame

#: One of every four raw frames is embedded (paper, section on segmentation).
SAMPLING_STRIDE = 4

EXTENSIONS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})

#: What decodes: FFmpeg's own decoders on all cores, or the decoder of an NVIDIA GPU. Pixels of the
#: two can differ by rounding. One that is asked for and not there is an error, never replaced.
DECODERS = ("software", "cuda")

# By how many seconds frames may be shown off the times that their numbers give them, or be missing
# at the end: the shortest thing that a tree tells apart.
_TOLERANCE = MIN_SEGMENT_DURATION

# Frames that are decoded for nothing rather than that the decoder is stopped and started anew.
_PASSED_OVER = 32
# Formats in which the time stamps of packets are those of the frames in them.
_TIMED_FORMATS = {"mov", "matroska", "mpegts"}

# Frames of unfinished segments that are kept in memory; what is beyond lies in a temporary file.
_HELD_BYTES = 256 * 2**20

# Of MP4 files, on their top level.
_BOXES = frozenset(
    b"ftyp moov mdat moof free skip wide sidx styp mfra uuid meta udta emsg prft pnot ssix".split()
)

_NO_TIME = -(2**63)

Key = TypeVar("Key", bound=Hashable)


class VideoError(ValueError):
    """A file that cannot be read as a video; the message names it and what to do."""


@dataclass(frozen=True)
class VideoInfo:
    """What a whole decode found.

    Attributes:
        fps: raw frames a second, as fits the frames' times
        frames: raw frames
        width, height: pixels of a frame as players show it: upright, with square pixels
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

    A video whose end is missing is an error and not a shorter video: its tree would end early and
    nobody would know. Only a file that does not say how long it is, such as a transport stream, is
    taken up to where it breaks off. Frames that are shown more than 0.5 s off ``number / fps`` are
    an error too, since that is how a tree's times are made.

    Args:
        path: the video's file
        long_side: frames are scaled so that their longer side has this many pixels; None leaves
            them as they are
        decoder: of :data:`DECODERS`

    Yields:
        (H, W, 3) uint8 RGB arrays; after the last one, ``info`` is set

    Raises:
        VideoError: while iterating: the file is missing, empty, no video, damaged, or ends early,
            its frames carry no times or uneven ones, or the decoder is not to be had
    """

    def __init__(
        self, path: str | os.PathLike[str], long_side: int | None, decoder: str = "software"
    ):
        self.path = Path(path)
        self.long_side = long_side
        self.decoder = decoder
        self.info: VideoInfo | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        with _Video(self.path, self.decoder) as video:
            picture = _Picture(video, self.long_side)
            times = array("q")
            for frame in video.every_frame():
                if len(times) % SAMPLING_STRIDE == 0:
                    yield picture.of(frame)
                times.append(_NO_TIME if frame.pts is None else frame.pts)
            fps = video.checked_rate(np.frombuffer(times, np.int64))
            self.info = VideoInfo(fps, len(times), *picture.shown)


def segment_frames(
    path: str | os.PathLike[str],
    requests: Mapping[Key, Sequence[int]],
    info: VideoInfo,
    long_side: int | None = 320,
    decoder: str = "software",
) -> Iterator[tuple[Key, list[np.ndarray]]]:
    """Chosen frames of many segments, in one pass that decodes no frame twice.

    Each frame is scaled once, however many segments want it. A segment is handed out when its last
    frame has been decoded, so that a tree's nodes come in the order of their ends. Until then its
    frames are kept: some 40 MB for the authors' trees at 320 pixels and 32 frames a node; what is
    more than 256 MiB goes to a temporary file.

    Stretches that no segment wants are passed over from key frame to key frame: they are read, but
    not decoded. Should a file's key frames turn out not to be what they say, or its times not to
    tell frames apart, all of it is decoded.

    Args:
        path: the video's file
        requests: by any name, the raw frames of a segment, ascending
        info: of the video, as :class:`SampledFrames` found it
        long_side, decoder: as for :class:`SampledFrames`

    Yields:
        (name, its frames in the order asked for), each (H, W, 3) uint8 RGB

    Raises:
        VideoError: while iterating, as for :class:`SampledFrames`; also if the file no longer has
            the frames that ``info`` tells of
        ValueError: a frame that the video does not have
    """
    waiting: dict[int, list[Key]] = defaultdict(list)  # segments, by their last frame
    last_use: dict[int, int] = {}  # by frame, the last frame of the segments that want it
    for key, numbers in requests.items():
        if not numbers or not 0 <= min(numbers) <= max(numbers) < info.frames:
            raise ValueError(f"{key}: frames {numbers} are not among the {info.frames} of {path}")
        waiting[max(numbers)].append(key)
        for number in numbers:
            last_use[number] = max(last_use.get(number, 0), max(numbers))
    used_up: dict[int, list[int]] = defaultdict(list)
    for number, last in last_use.items():
        used_up[last].append(number)

    held = _HeldFrames()
    missing = sorted(last_use, reverse=True)  # so that the next one can be popped
    for passing_over in (True, False):
        if not missing:
            return
        plan = _plan(Path(path), missing[::-1], info.frames) if passing_over else None
        with _Video(Path(path), decoder) as video:
            picture = _Picture(video, long_side)
            for number, frame in video.numbered_frames(plan):
                if number < missing[-1]:
                    continue
                if number > missing[-1]:
                    break  # a key frame was none
                held.put(missing.pop(), picture.of(frame))
                for key in waiting.pop(number, ()):
                    yield key, [held.get(n) for n in requests[key]]
                held.drop(used_up.pop(number, ()))
                if not missing:
                    return
    if missing:
        raise VideoError(
            f"{path} no longer has its {info.frames} frames: frame {missing[-1]} is not there; "
            "embed the video again"
        )


def hardware(decoder: str) -> Any:
    """What PyAV opens files with for one of :data:`DECODERS`: None, or the GPU, tried out.

    Raises:
        VideoError: an unknown decoder, or a GPU's where there is none
    """
    if decoder == "software":
        return None
    if decoder != "cuda":
        raise VideoError(f"decoder must be one of {', '.join(DECODERS)}, not {decoder!r}")
    import av
    from av.codec.hwaccel import HWAccel

    accel = HWAccel("cuda", allow_software_fallback=False)
    try:
        accel.create(av.Codec("h264", "r"))
    except (av.FFmpegError, NotImplementedError) as error:
        raise VideoError(
            "decoder cuda is asked for and FFmpeg finds no GPU that decodes "
            f"({getattr(error, 'strerror', error)}); set decoder to software, or repair the GPU's "
            "driver"
        ) from error
    return accel


def find_videos(path: str | os.PathLike[str]) -> list[Path]:
    """The path itself, or a folder's videos by name (its subfolders are not searched)."""
    path = Path(path)
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.iterdir() if p.suffix.lower() in EXTENSIONS and p.is_file())


class _Video:
    """An open video file. Whatever goes wrong with it is a VideoError that names it.

    Attributes:
        stream: PyAV's, of what players show: the first one marked as default, or the first one;
            a cover picture never is
    """

    def __init__(self, path: Path, decoder: str = "software"):
        import av

        if not path.exists():
            raise VideoError(f"{path}: no such file")
        size = path.stat().st_size
        if path.is_file() and size == 0:
            raise VideoError(f"{path} is empty (0 bytes); download it again")
        if path.is_file() and (declared := _declared_size(path)) > size:
            raise VideoError(
                f"{path} ends early: {size:,} of {declared:,} bytes are there; "
                "download or export it again"
            )
        self.path = path
        self._av: Any = av
        self._decoder = decoder
        self._decoded = 0
        self._ends: dict[int, int] = {}  # of the latest packet, by stream, in its time base
        self._packets = 0
        hwaccel = hardware(decoder)
        try:
            # An absolute path can be neither an option nor a protocol of FFmpeg.
            self.container = av.open(
                str(path.absolute()), metadata_errors="replace", hwaccel=hwaccel
            )
        except (av.FFmpegError, RuntimeError) as error:
            raise VideoError(self._why_not_open(error)) from error
        try:
            self.stream = self._shown_stream()
        except VideoError:
            self.container.close()
            raise
        self.stream.thread_type = "AUTO"

    def __enter__(self) -> _Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def packets(self, *streams: Any) -> Iterator[av.Packet]:
        """The packets of these streams, or of all, as they lie in the file; then empty ones."""
        try:
            yield from self.container.demux(*streams)
        except self._av.FFmpegError as error:
            raise self._damaged(error) from error

    def every_frame(self) -> Iterator[VideoFrame]:
        """All frames, in order."""
        for packet in self.packets():
            if packet.pts is not None:
                end = packet.pts + (packet.duration or 0)
                self._ends[packet.stream_index] = max(self._ends.get(packet.stream_index, end), end)
            if packet.stream.index == self.stream.index:
                self._packets += packet.size > 0
                yield from self._decode(packet)

    def numbered_frames(self, plan: _Plan | None) -> Iterator[tuple[int, VideoFrame]]:
        """Frames with their numbers, in order: all, or those of a plan's stretches."""
        if plan is None:
            yield from enumerate(self.every_frame())
            return
        stretches = iter(plan.stretches)
        first, last = next(stretches)
        for place, packet in enumerate(self.packets(self.stream)):
            if place < first:
                continue
            frames = self._decode(packet, strictly=False)
            if place == last:
                frames += self._decode(None, strictly=False)
                self.stream.codec_context.flush_buffers()
            for frame in frames:
                if (number := plan.number(frame.pts)) is not None:
                    yield number, frame
            if place == last:
                first, last = next(stretches, (-1, -1))
                if first < 0:
                    return

    def checked_rate(self, times: np.ndarray) -> Fraction:
        """Frames a second, and whether frames are where it says.

        Args:
            times: (frames,) int64 time stamps of all frames

        Raises:
            VideoError: there are no frames, some are missing at the end, or they carry no times or
                others than ``number / rate``, counted from where the file begins
        """
        if not len(times):
            by_gpu = " by the GPU; set decoder to software" if self._decoder == "cuda" else ""
            raise VideoError(
                f"{self.path} holds no frame that can be decoded{by_gpu or '; download it again'}"
            )
        timed = np.flatnonzero(times != _NO_TIME)
        rate = self._rate(times, timed)
        seconds = times[timed] * float(self.stream.time_base)
        self._check_end(seconds, _TOLERANCE + 2 / float(rate))
        if len(times) > 1:
            seconds -= (self.container.start_time or 0) / self._av.time_base
            off = np.abs(seconds - timed / float(rate))
            most = int(off.argmax())
            if off[most] > _TOLERANCE:
                raise VideoError(
                    f"{self.path}: frame {timed[most]} is shown at {seconds[most]:.2f} s, where an "
                    f"even frame rate has it at {timed[most] / float(rate):.2f} s; make it even "
                    f"with `ffmpeg -i {self.path.name} -fps_mode cfr NEW.mp4`"
                )
        return rate

    def _rate(self, times: np.ndarray, timed: np.ndarray) -> Fraction:
        """The rate that fits the time stamps best; the header's exact ratios before all others."""
        stream = self.stream
        header = [
            Fraction(rate)
            for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate)
            if rate
        ]
        if len(times) == 1 and header:
            return header[0]
        if len(timed) < 2 or times[timed[-1]] <= times[timed[0]]:
            raise VideoError(
                f"{self.path} carries no times of its frames, so that its frame rate is not known; "
                f"give it one with `ffmpeg -r 30 -i {self.path.name} NEW.mp4`"
            )
        tick = Fraction(stream.time_base)
        span, frames = times[timed] - times[timed[0]], timed - timed[0]

        def ticks_off(rate: Fraction) -> float:
            # Time stamps are rounded to ticks: what is less than one says nothing.
            return max(1.0, float(np.abs(span - frames / float(rate * tick)).mean()))

        return min([*header, int(frames[-1]) / (int(span[-1]) * tick)], key=ticks_off)

    def _check_end(self, seconds: np.ndarray, slack: float) -> None:
        """A file that was cut off is decoded without an error until it just ends."""
        header = self.stream.frames if self.container.format.name == "avi" else 0
        if self._packets < header - 2:
            raise VideoError(
                f"{self.path} ends early: {self._packets} of {header} frames are there; "
                "download or export it again"
            )
        streams = cast("Any", self.container.streams)
        ends = [float(end * streams[i].time_base) for i, end in self._ends.items()]
        declared = (self.container.duration or 0) / self._av.time_base
        if "matroska" not in self.container.format.name:  # where it is counted from 0
            declared += (self.container.start_time or 0) / self._av.time_base
        if ends and max(ends) < declared - slack:
            raise VideoError(
                f"{self.path} ends early, at {max(ends):.1f} s of {declared:.1f} s; "
                "download or export it again"
            )
        end = self._ends.get(self.stream.index)
        if end is not None and len(seconds):
            lost = float(end * self.stream.time_base) - seconds[-1]
            if lost > slack:
                raise VideoError(
                    f"{self.path} is damaged: its last {lost:.1f} s cannot be decoded; "
                    "download or export it again"
                )

    def _decode(self, packet: av.Packet | None, strictly: bool = True) -> list[VideoFrame]:
        try:
            frames = self.stream.codec_context.decode(packet)
        except self._av.FFmpegError as error:
            # A recording can begin before its first key frame: players drop what they can't decode.
            if strictly and (self._decoded or not isinstance(error, self._av.InvalidDataError)):
                raise self._damaged(error) from error
            return []
        self._decoded += len(frames)
        return frames

    def _damaged(self, error: Exception) -> VideoError:
        reason = getattr(error, "strerror", None) or error
        return VideoError(
            f"{self.path} is damaged after {self._decoded} frames ({reason}); "
            "download or export it again"
        )

    def _why_not_open(self, error: Exception) -> str:
        if self.path.is_file():
            with self.path.open("rb") as file:
                start = file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
            if start.startswith((b"<!doctype html", b"<html")):
                return f"{self.path} is a web page and no video; download the video itself"
        reason = getattr(error, "strerror", None) or error
        return (
            f"{self.path} is not a readable video ({reason}); check the file, or download it again"
        )

    def _shown_stream(self) -> Any:
        from av.stream import Disposition

        streams = [
            s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic
        ]
        form = self.container.format.name
        if not streams:
            raise VideoError(f"{self.path} holds no video stream; name a video")
        if form == "image2" or form.endswith("_pipe"):
            raise VideoError(f"{self.path} is a picture and no video; name a video")
        stream = next((s for s in streams if s.disposition & Disposition.default), streams[0])
        if stream.codec_context is None:
            raise VideoError(
                f"{self.path} holds video of a kind that FFmpeg cannot decode; export it as H.264"
            )
        if self._decoder == "cuda" and not stream.codec_context.is_hwaccel:
            raise VideoError(
                f"{self.path}: the GPU does not decode {stream.codec_context.name}; "
                "set decoder to software"
            )
        return stream


class _Picture:
    """Makes RGB arrays of a video's frames, all of one size, as players show them.

    Attributes:
        shown: width and height of the first frame at full size
    """

    def __init__(self, video: _Video, long_side: int | None):
        from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

        self._path = video.path
        self._long_side = long_side
        self._full_range, self._default = ColorRange.JPEG, Colorspace.DEFAULT
        self._reformatter = VideoReformatter()  # one for all frames: making one takes as long
        self.shown = (0, 0)
        aspect = float(video.stream.sample_aspect_ratio or 1)
        # Nearly square ones come from a size that was rounded, as 854x480 is. What is beyond all
        # reason is a mistake, and its frames might not fit into memory.
        self._aspect = aspect if 1 / 8 <= aspect <= 8 and abs(aspect - 1) > 0.01 else 1.0

    def of(self, frame: VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        if self.shown == (0, 0):
            self._look_at_first(frame)
        reserved = 3  # by ITU-T H.273 for later use: some encoders write it and mean nothing
        try:
            rgb = self._reformatter.reformat(
                frame,
                *self._size,
                "rgb24",
                src_colorspace=self._default if frame.colorspace == reserved else None,
                dst_color_range=self._full_range,
                threads=1,
            )
        except OSError as error:
            raise VideoError(
                f"{self._path} has colours of a kind that FFmpeg does not convert; "
                "export it in BT.709"
            ) from error
        return _upright(rgb.to_ndarray(), self._matrix)

    def _look_at_first(self, frame: VideoFrame) -> None:
        width, height = round(frame.width * self._aspect), frame.height
        self._matrix = _display_matrix(frame)
        turned = abs(self._matrix[1]) > abs(self._matrix[0])
        self.shown = (height, width) if turned else (width, height)
        if self._long_side is not None:
            scale = self._long_side / max(width, height)
            width, height = max(2, round(width * scale)), max(2, round(height * scale))
        self._size = width, height


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """(a, b, c, d): what is at (x, y) is shown at (a x + c y, b x + d y), but for a shift."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    return a, b, c, d


def _upright(rgb: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Turn and mirror a picture by quarters; other angles are left as they are."""
    a, b, c, d = matrix
    if abs(b) > abs(a):
        rgb, right, down = rgb.transpose(1, 0, 2), c, b
    else:
        right, down = a, d
    return np.ascontiguousarray(rgb[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])


@dataclass(frozen=True)
class _Plan:
    """Which packets to decode for some frames.

    Attributes:
        times: (frames,) time stamps of all frames, sorted
        stretches: (first, last) packets of each, as they lie in the file; not empty
    """

    times: np.ndarray
    stretches: list[tuple[int, int]]

    def number(self, time: int | None) -> int | None:
        """The number of the frame that is shown then; None if there is none."""
        if time is None:
            return None
        number = int(np.searchsorted(self.times, time))
        return number if number < len(self.times) and self.times[number] == time else None


def _plan(path: Path, wanted: Sequence[int], frames: int) -> _Plan | None:
    """How to decode little more than the wanted frames; None if the file does not tell.

    A frame is decoded from the last key frame on that is shown before it, which is right also where
    frames that follow a key frame in the file are shown before it.

    Args:
        wanted: numbers of frames, ascending, not empty
        frames: how many there are in all
    """
    times, keys, cut_off = array("q"), array("b"), array("b")
    with _Video(path) as video:
        if _TIMED_FORMATS.isdisjoint(video.container.format.name.split(",")):
            return None
        for packet in video.packets(video.stream):
            if packet.size:
                times.append(_NO_TIME if packet.pts is None else packet.pts)
                keys.append(packet.is_keyframe)
                cut_off.append(packet.is_discard)
    stamps = np.frombuffer(times, np.int64)
    places = np.flatnonzero(np.frombuffer(cut_off, np.int8) == 0)  # of what is shown
    places = places[np.argsort(stamps[places], kind="stable")]
    shown = stamps[places]
    if len(shown) != frames or shown[0] == _NO_TIME or (np.diff(shown) == 0).any():
        return None
    key_places = np.flatnonzero(np.frombuffer(keys, np.int8))
    key_places = key_places[np.argsort(stamps[key_places], kind="stable")]
    stretches: list[tuple[int, int]] = []
    for number in wanted:
        last = int(places[number])
        before = int(np.searchsorted(stamps[key_places], shown[number], side="right"))
        first = min(int(key_places[before - 1]) if before else 0, last)
        if stretches and first <= stretches[-1][1] + _PASSED_OVER:
            stretches[-1] = (stretches[-1][0], max(stretches[-1][1], last))
        else:
            stretches.append((first, last))
    return _Plan(shown, stretches)


class _HeldFrames:
    """Frames by number, in memory as far as :data:`_HELD_BYTES` go and in a file beyond."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_HELD_BYTES)  # noqa: SIM115 (closed with self)
        self._end = 0
        self._kept: dict[int, tuple[int, tuple[int, ...]]] = {}  # offset, shape
        self._unused: dict[int, list[int]] = defaultdict(list)  # offsets, by bytes

    def put(self, number: int, frame: np.ndarray) -> None:
        """Keep an array of bytes."""
        unused = self._unused[frame.nbytes]
        offset = unused.pop() if unused else self._end
        self._end = max(self._end, offset + frame.nbytes)
        self._file.seek(offset)
        self._file.write(frame.data)
        self._kept[number] = offset, frame.shape

    def get(self, number: int) -> np.ndarray:
        """A copy."""
        offset, shape = self._kept[number]
        frame = np.empty(shape, np.uint8)
        self._file.seek(offset)
        self._file.readinto(frame.data)
        return frame

    def drop(self, numbers: Iterable[int]) -> None:
        """Make room."""
        for number in numbers:
            offset, shape = self._kept.pop(number)
            self._unused[math.prod(shape)].append(offset)


def _declared_size(path: Path) -> int:
    """The bytes that an MP4 or MOV says it has (ISO/IEC 14496-12, 4.2); 0 for other files.

    Not more than it has where its last box is open-ended or something has been appended.
    """
    end, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while end < size:
            file.seek(end)
            header = file.read(16).ljust(16, b"\0")
            length, kind, long_length = struct.unpack(">I4sQ", header)
            length = long_length if length == 1 else length
            if length < 8 or kind not in _BOXES:
                break
            end += length
    return end
