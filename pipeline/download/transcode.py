"""Bringing a downloaded video to the designed form with ffmpeg; making sure that it is whole."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .log import VideoLog
from .source import Stopped, VideoError, plain_reason

# What a downloaded file may be. Playlists are left out, because ffmpeg would open what they name.
_CONTAINERS = "mov,matroska,mpegts,mpeg,avi,flv,ogg,asf,aac,mp3"
# A stream that ends this much (seconds) before the length that its file claims was cut off.
_MISSING_END = 0.5
# Seconds between the keyframes of what is encoded here: how far a player decodes to show a frame.
_KEYFRAMES = 2
# Seconds of packets looked at beyond a cut: more than any reordering of frames spans.
_LOOKAHEAD = 2.0


class _Cut(NamedTuple):
    """Where a stream can be cut without decoding.

    ``packets`` is how many are kept, None = all; ``seconds`` is how long the result may be.
    """

    packets: int | None
    seconds: float


class Transcoder:
    """Writes the designed form of one video.

    Args:
        max_height: pixels
        max_duration: seconds
        log: of the video
        stop: when set, ffmpeg is ended
    """

    def __init__(self, max_height: int, max_duration: float, log: VideoLog, stop: threading.Event):
        self._height = max_height
        self._duration = max_duration
        self._log = log
        self._stop = stop

    def convert(self, sources: Sequence[Path], target: Path, seconds: float | None) -> str:
        """Write the sources' first picture and sound to ``target``, each encoded at most once.

        Args:
            seconds: that the picture must last; None = as long as its file says, up to the limit

        Returns:
            which streams were encoded, in words

        Raises:
            VideoError: they cannot be read, or the result is not whole
            Stopped: the run was stopped
        """
        import ffmpeg

        streams = [(path, stream) for path in sources for stream in _streams(path)]
        video = next(((p, s) for p, s in streams if _is_picture(s)), None)
        audio = next(((p, s) for p, s in streams if s["codec_type"] == "audio"), None)
        if video is None:
            raise VideoError("what was downloaded has no video stream")

        options: dict[str, Any] = {"movflags": "+faststart", "map_metadata": -1, "map_chapters": -1}
        encoded = []
        picture = _input(*video)
        cut = self._cut(*video) if _fits(video[1], self._height) else None
        if cut is None:
            encoded.append("video")
            picture = picture.filter("scale", w=-2, h=f"trunc(min(ih,{self._height})/2)*2")
            options |= {"c:v": "libx264", "preset": "veryfast", "crf": 23, "pix_fmt": "yuv420p"}
            options["force_key_frames"] = f"expr:gte(t,n_forced*{_KEYFRAMES})"
        else:
            if cut.packets is not None:
                # In a step of its own: ffmpeg ends a whole file when one stream has its frames.
                path = target.with_name("picture.mp4")
                only = ffmpeg.output(picture, str(path), **{"c:v": "copy", "frames:v": cut.packets})
                self._run(only, "cannot be cut")
                picture = ffmpeg.input(str(path))["0"]
            options["c:v"] = "copy"
        options["t"] = f"{self._duration if cut is None else cut.seconds:.6f}"
        outputs = [picture]
        if audio is not None:
            outputs.append(_input(*audio))
            if audio[1].get("codec_name") == "aac":
                options["c:a"] = "copy"
            else:
                encoded.append("audio")
                options |= {"c:a": "aac", "b:a": "128k", "ac": 2}
        self._run(ffmpeg.output(*outputs, str(target), **options), "cannot be converted")

        expected = min(seconds or video[1]["seconds"] or 0.0, self._duration)
        self._verify(target, expected, with_audio=audio is not None)
        return f"{' and '.join(encoded)} encoded" if encoded else "copied"

    def _cut(self, path: Path, stream: Mapping[str, Any]) -> _Cut | None:
        """Where to cut an H.264 stream to get the designed length within a frame, or None.

        Frames are stored in the order in which they are decoded. A cut loses nothing where all
        frames before it are also shown before all those after it: with B-frames, that is between
        two groups of them, mostly within a frame of where it should be.
        """
        output = self._capture(
            [
                *("ffprobe", "-v", "error", "-format_whitelist", _CONTAINERS),
                *("-select_streams", str(stream["index"])),
                *("-read_intervals", f"%+{self._duration + _LOOKAHEAD:.3f}"),
                *("-show_entries", "packet=pts_time,flags", "-of", "csv=p=0"),
                str(path),
            ],
            "its packets cannot be read",
        )
        rows = [line.split(",") for line in output.decode().split()]
        try:
            shown = [float(row[0]) for row in rows]
        except ValueError:
            return None  # packets without times cannot be put into order
        # A player leaves out what is marked D, and cannot begin before a keyframe.
        if not rows or "K" not in rows[0][1] or any("D" in row[1] for row in rows):
            return None
        first = min(shown)
        frame = (max(shown) - first) / max(len(shown) - 1, 1)
        latest = [first] * len(shown)  # of the frames up to each
        for i, moment in enumerate(shown):
            latest[i] = max(latest[i - 1] if i else moment, moment)
        end = latest[-1] + frame
        if end - first < self._duration + frame:
            return _Cut(None, self._duration + frame)
        earliest_after = [end] * (len(shown) + 1)
        for i in range(len(shown) - 1, -1, -1):
            earliest_after[i] = min(earliest_after[i + 1], shown[i])
        aim = sum(moment - first < self._duration for moment in shown)
        for packets in (aim, aim - 1, aim + 1):
            if not 0 < packets <= len(shown) or latest[packets - 1] >= earliest_after[packets]:
                continue
            seconds = earliest_after[packets] - first
            if abs(seconds - self._duration) <= 1.001 * frame:  # times are rounded
                return _Cut(packets, seconds)
        return None

    def _verify(self, path: Path, expected: float, with_audio: bool) -> None:
        """Make sure that the file is whole.

        Args:
            expected: seconds that the video stream must have; 0 if nobody knows
        """
        import ffmpeg

        streams = _streams(path)
        kinds = [stream["codec_type"] for stream in streams]
        if kinds != (["video", "audio"] if with_audio else ["video"]):
            raise VideoError(f"the result has the streams {kinds}")
        seconds = streams[0]["seconds"]
        if not seconds:
            raise VideoError("the result has no duration")
        if seconds < expected - _MISSING_END:
            reason = f"it is cut off: it has {seconds:.1f} s of {expected:.1f} s"
            raise VideoError(reason, again=True)
        # The end is decoded from its keyframe on, because a still picture can have begun long ago.
        ends: tuple[dict[str, Any], ...] = (
            {"t": 1},
            {"ss": f"{max(0.0, seconds - 1):.3f}", "noaccurate_seek": None},
        )
        for part, options in zip(("first", "last"), ends, strict=True):
            hashes = self._run(
                ffmpeg.input(str(path), xerror=None, **options).output("pipe:", format="framemd5"),
                f"its {part} second cannot be decoded",
            )
            if not re.search(rb"^0,", hashes, flags=re.MULTILINE):
                raise VideoError(f"its {part} second has no picture")

    def _run(self, job: Any, failure: str) -> bytes:
        """Run an ffmpeg job and return its standard output."""
        import ffmpeg

        job = job.global_args("-hide_banner", "-nostdin", "-loglevel", "error")
        return self._capture(ffmpeg.compile(job, overwrite_output=True), failure)

    def _capture(self, command: Sequence[str], failure: str) -> bytes:
        """Run a program and return its standard output; ends it when the run is stopped."""
        self._log.debug(f"$ {' '.join(command)}")
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for this program, which then ends ffmpeg itself
        ) as process:
            while True:
                try:
                    output, errors = process.communicate(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    if self._stop.is_set():
                        process.kill()
        if self._stop.is_set():
            raise Stopped
        lines = errors.decode(errors="replace").strip().splitlines()
        for line in lines:
            self._log.debug(line)
        if process.returncode:
            raise VideoError(f"{failure}: {plain_reason(lines[-1] if lines else '')}")
        return output


def _streams(path: Path) -> list[dict[str, Any]]:
    """The file's streams as ffprobe tells them, with ``seconds`` (float or None) added."""
    import ffmpeg

    try:
        probed = ffmpeg.probe(str(path), format_whitelist=_CONTAINERS)
    except ffmpeg.Error as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        reason = lines[-1].removeprefix(f"{path}: ")
        raise VideoError(f"what was downloaded is not a whole video ({reason})") from None
    for stream in probed["streams"]:
        seconds = stream.get("duration") or probed["format"].get("duration")
        stream["seconds"] = float(seconds) if seconds else None
    return probed["streams"]


def _input(path: Path, stream: Mapping[str, Any]) -> Any:
    """A stream of a file as an input of ffmpeg."""
    import ffmpeg

    return ffmpeg.input(str(path), format_whitelist=_CONTAINERS)[str(stream["index"])]


def _is_picture(stream: Mapping[str, Any]) -> bool:
    """Whether it is a moving picture (and no cover)."""
    return stream["codec_type"] == "video" and not stream["disposition"].get("attached_pic")


def _fits(stream: Mapping[str, Any], max_height: int) -> bool:
    """Whether a video stream can be copied as it is, but for its length."""
    return (
        stream.get("codec_name") == "h264"
        and stream.get("pix_fmt") == "yuv420p"
        and stream["height"] <= max_height
        and stream["width"] % 2 == stream["height"] % 2 == 0
        # Many readers ignore that a picture is to be turned, so it is turned for them.
        and not any("rotation" in data for data in stream.get("side_data_list", ()))
    )
