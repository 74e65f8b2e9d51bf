"""A web site on this machine that has videos, and every fault that sites have."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.local_http import serving

SCRIPT = Path(__file__).parent.parent / "download_scripts" / "download_videos.sh"

#: A fault of one request: an HTTP status, with a ``Retry-After`` or without; the connection cut
#: half-way ("cut"); silence half-way for as long as ``Site.silence`` ("stall"); or "none": yt-dlp's
#: first request for a video only looks at what it is, and what it fetches comes with the second.
Fault = int | tuple[int, str] | str


@dataclass
class Site:
    """What is under ``/watch/<name>``, the faults of the next requests for it, and what was asked.

    Attributes:
        url_template: of the videos
        silence: seconds that a stall lasts
        faults: those of the next requests for a name, in order; then all is well
        requests, sent: requests and bytes of content for each name
        cookies: the header of each request
        stalled: set when a stall has begun
    """

    url_template: str = ""
    silence: float = 30.0
    videos: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    requests: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    cookies: list[str] = field(default_factory=list)
    stalled: dict[str, threading.Event] = field(
        default_factory=lambda: defaultdict(threading.Event)
    )

    def add(self, name: str, content: bytes, content_type: str = "video/mp4") -> str:
        """Put something on the site; returns its name."""
        self.videos[name], self.types[name] = content, content_type
        return name

    def page(self, name: str, video: str, seconds: float) -> str:
        """Put a page on the site that says where its video is and how long it lasts."""
        url = self.url_template.replace("{id}", video)
        facts = (
            '{"@context": "https://schema.org", "@type": "VideoObject", "name": "a video", '
            f'"contentUrl": "{url}", "duration": "PT{seconds:.0f}S"}}'
        )
        html = f'<html><script type="application/ld+json">{facts}</script></html>'
        return self.add(name, html.encode(), "text/html")


@contextmanager
def serve() -> Iterator[Site]:
    """Serve a new site on 127.0.0.1, with range requests."""
    site = Site()
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/watch/")
            site.requests[name] += 1
            site.cookies.append(self.headers.get("Cookie", ""))
            fault = site.faults[name].popleft() if site.faults[name] else None
            status, retry_after = fault if isinstance(fault, tuple) else (fault, None)
            if name not in site.videos:
                status = 404
            if isinstance(status, int):
                self.send_response(status)
                if retry_after is not None:
                    self.send_header("Retry-After", retry_after)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            with suppress(OSError):  # the client went away
                self._send(name, str(fault))

        def _send(self, name: str, fault: str) -> None:
            content = site.videos[name]
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first, last = 0, len(content) - 1
            if asked:
                first, last = int(asked[1]), min(int(asked[2] or last), last)
                if first >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            else:
                self.send_response(200)
            body = content[first : last + 1]
            self.send_header("Content-Type", site.types[name])
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            half = len(body) // 2
            self._count(name, body[:half])
            if fault == "cut":
                return
            if fault == "stall":
                self.wfile.flush()
                site.stalled[name].set()
                ended.wait(site.silence)
            self._count(name, body[half:])

        def _count(self, name: str, data: bytes) -> None:
            for i in range(0, len(data), 65536):
                self.wfile.write(data[i : i + 65536])
                site.sent[name] += len(data[i : i + 65536])

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        site.url_template = f"{address}/watch/{{id}}"
        try:
            yield site
        finally:
            ended.set()


def shell(folder: Path, *arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run download_videos.sh in a folder."""
    return subprocess.run(
        [SCRIPT, *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=120,
    )


def environment(**variables: object) -> dict[str, str]:
    """The environment with more variables."""
    return {**os.environ, **{name: str(value) for name, value in variables.items()}}
