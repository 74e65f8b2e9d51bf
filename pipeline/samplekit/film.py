"""Makes a kit video's file: draws its frames, composes its sound, has ffmpeg encode both."""

from __future__ import annotations

import os
import shutil
import tempfile
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..store import temporary_sibling
from .shapes import box, disc, paint, write
from .spec import KitVideo, Scene, Step

_RATE = 44100
_STRIP = 30  # height of the caption strip in pixels


class SampleKitError(RuntimeError):
    """The kit cannot be made; the message says what to do."""


def frames(video: KitVideo) -> Iterator[np.ndarray]:
    """Draw the frames in order: (H, W, 3) uint8, blue green red."""
    step, still = None, np.empty(0)
    for span in video.spans:
        motion = span.motion
        if span.step is not step:
            step = span.step
            still = _still(video, span.scene, step)
            strip = still[-_STRIP:].copy()
        count = span.end - span.first
        for i in range(count):
            frame = still.copy()
            paint(frame, motion.drawn(i / (count - 1)))
            if step.does:
                frame[-_STRIP:] = strip
            yield frame
        paint(still, motion.remains)


def _still(video: KitVideo, scene: Scene, step: Step) -> np.ndarray:
    """What does not move during a step: background, title, props and caption."""
    width, height = video.size
    still = np.zeros((height, width, 3), np.uint8)
    paint(still, scene.drawing + step.drawing)
    size = min(44, 0.128 * width)
    for i, text in enumerate(scene.title):
        write(still, text, (width / 2, 0.2 * height + i * 1.25 * size), size, scene.ink, 0.6, "mm")
    if step.does:
        middle = height - _STRIP / 2
        paint(still, box("#2b2d38", 0, height - _STRIP, width, height))
        paint(still, disc(video.accent, 18, middle, 10))
        number = [s for c in video.scenes for s in c.steps if s.does].index(step) + 1
        write(still, str(number), (18, middle), 13, "#ffffff", 0.4, "mm")
        write(still, caption(video, step), (36, middle), 14, "#ffffff", 0.2)
    return still


def caption(video: KitVideo, step: Step) -> str:
    """The text in the strip below the picture; "" on title cards."""
    number = [s for c in video.scenes for s in c.steps if s.does].index(step) + 1
    return f"Step {number}: {step.does}"


def sound(video: KitVideo) -> np.ndarray:
    """The music, (samples,) int16 at 44.1 kHz: a soft chord per step, a pluck per motion."""
    total = int(video.frames / video.fps * _RATE)
    mix = np.zeros(total)
    step, chord = None, 0
    for i, span in enumerate(video.spans):
        start = int(span.first / video.fps * _RATE)
        if span.step is not step:
            step, chord = span.step, chord + 1
            for interval in (-12, 0, 7):
                _add(mix, start, video.notes[chord % 3] + interval, 3.5, 0.10)
        beats = max(1, round((span.end - span.first) / video.fps / 0.5))
        for beat in range(beats):
            note = video.notes[(i + 2 * beat) % len(video.notes)]
            _add(mix, start + int(beat * 0.5 * _RATE), note + 12, 0.9, 0.16 if beat else 0.26)
    return (np.clip(mix, -1, 1) * 32000).astype(np.int16)


def _add(mix: np.ndarray, start: int, semitones: int, seconds: float, volume: float) -> None:
    """Add a plucked note, ``semitones`` above A3, to the mix."""
    length = min(int(seconds * _RATE), len(mix) - start)
    t = np.arange(length) / _RATE
    phase = 2 * np.pi * 220 * 2 ** (semitones / 12) * t
    tone = np.sin(phase) + 0.35 * np.sin(2 * phase) + 0.12 * np.sin(3 * phase)
    attack = np.minimum(1, t / 0.01)
    mix[start : start + length] += volume * attack * np.exp(-4 * t / seconds) * tone


def write_video(video: KitVideo, path: Path, stamp: str) -> None:
    """Write the video's file; it appears complete or not at all.

    H.264, yuv420p, and AAC where it has sound; the same bytes each time on one machine.

    Args:
        stamp: kept as the file's comment

    Raises:
        SampleKitError: ffmpeg is missing, or it failed; the message has its last words
    """
    import ffmpeg

    if not shutil.which("ffmpeg"):
        raise SampleKitError(
            "ffmpeg is not installed, and the sample kit needs it to encode its videos; "
            "install it, for example with: sudo apt-get install ffmpeg"
        )
    width, height = video.size
    options = {
        "vcodec": "libx264",
        "preset": "veryfast",
        "tune": "animation",
        "crf": 17,
        "pix_fmt": "yuv420p",
        "threads": 1,
        "fflags": "+bitexact",
        "flags:v": "+bitexact",
        "movflags": "+faststart",
        "metadata": f"comment={stamp}",
        "f": "mp4",
    }
    with (
        temporary_sibling(path.absolute()) as target,
        tempfile.TemporaryDirectory() as folder,
    ):
        streams = [
            ffmpeg.input(
                "pipe:",
                f="rawvideo",
                pix_fmt="bgr24",
                s=f"{width}x{height}",
                r=f"{video.fps.numerator}/{video.fps.denominator}",
            )
        ]
        if video.has_audio:
            music = Path(folder) / "music.wav"
            _write_wave(music, sound(video))
            streams.append(ffmpeg.input(str(music)))
            options |= {"acodec": "aac", "audio_bitrate": "64k", "flags:a": "+bitexact"}
        command = ffmpeg.output(*streams, str(target), **options).global_args(
            "-loglevel", "error", "-nostats"
        )
        process = command.run_async(pipe_stdin=True, pipe_stderr=True)
        try:
            for frame in frames(video):
                process.stdin.write(frame.tobytes())
        except BrokenPipeError:
            pass  # ffmpeg ended early; it says why below
        except BaseException:
            process.kill()
            raise
        finally:
            _, said = process.communicate()
        if process.returncode:
            reason = said.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
            raise SampleKitError(f"ffmpeg could not encode {path}: {reason[0]}")


def _write_wave(path: Path, samples: np.ndarray) -> None:
    with wave.open(os.fspath(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(samples.tobytes())
