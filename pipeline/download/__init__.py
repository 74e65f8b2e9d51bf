"""Fetches videos with yt-dlp and brings them to one form with ffmpeg; ``download_videos.sh``.

A video becomes ``<output_dir>/<id>.mp4``: the first ``max_duration`` seconds, H.264 (yuv420p, even
sizes, at most ``max_height`` high) and AAC, or no audio if there is none. A stream that already is
like that is copied; any other is encoded once. Work happens in ``<output_dir>/.partial``; a file
gets its name only after its first and last seconds were decoded, so what has the name is finished.

``settings`` says what to make, ``source`` fetches (yt-dlp), ``transcode`` brings to form (ffmpeg),
``history`` remembers (SQLite), ``run`` works through a list, ``__main__`` is the command.
"""

from .run import DownloadEvent, DownloadSummary, download_videos
from .settings import VIDEO_ID, DownloadError, DownloadSettings, js_runtimes, read_id_list

__all__ = [
    "VIDEO_ID",
    "DownloadError",
    "DownloadEvent",
    "DownloadSettings",
    "DownloadSummary",
    "download_videos",
    "js_runtimes",
    "read_id_list",
]
