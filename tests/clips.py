"""Small videos made with ffmpeg, and what ffprobe says of a file."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac")


def ffmpeg(*arguments: object) -> bytes:
    """Run ffmpeg; returns its standard output."""
    return subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)],
        check=True,
        capture_output=True,
    ).stdout


@cache
def has_encoder(name: str) -> bool:
    """Whether this machine's ffmpeg can make it."""
    return f" {name} " in ffmpeg("-hide_banner", "-encoders").decode()


def clip(
    path: Path, *encoding: object, size: str = "160x120", seconds: float = 1.6, fps: int = 25
) -> bytes:
    """A test picture with a tone, encoded as told; "-an" makes it silent."""
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=size={size}:rate={fps}:duration={seconds}"),
        *("-f", "lavfi", "-i", f"sine=frequency=330:duration={seconds}"),
        *encoding,
        path,
    )
    return path.read_bytes()


def probe(path: Path) -> dict[str, dict]:
    """The file's streams by kind, with the number of packets."""
    output = subprocess.run(
        ["ffprobe", "-v", "error", "-count_packets", "-show_streams", "-of", "json", path],
        check=True,
        capture_output=True,
    ).stdout
    streams = json.loads(output)["streams"]
    assert len({s["codec_type"] for s in streams}) == len(streams)
    return {s["codec_type"]: s for s in streams}


def packets(path: Path, stream: str) -> list[str]:
    """A hash of each of one stream's packets, in the order of decoding."""
    lines = ffmpeg("-i", path, "-map", f"0:{stream}", "-c", "copy", "-f", "framemd5", "pipe:")
    return [row.rsplit(",", 1)[1] for row in lines.decode().splitlines() if row[0] != "#"]


def shown(path: Path) -> list[str]:
    """A hash of each picture, decoded, in the order of showing."""
    lines = ffmpeg(
        *("-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "pipe:")
    )
    return [row.rsplit(",", 1)[1] for row in lines.decode().splitlines() if row[0] != "#"]
