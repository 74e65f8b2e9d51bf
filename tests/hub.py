"""A hub on this machine: the routes that the real huggingface_hub client asks for."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.local_http import serving

REPOSITORY = "facebook/action100m-preview"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_only_for_this_test"


@dataclass
class Hub:
    """A dataset repository, and what was asked of it.

    Attributes:
        files: content by path
        lfs: whether parquet files are in LFS, as on the real hub, or in git as all others are
        private: whether only TOKEN gives access
        lies: content that is sent in place of a file's own
        stall_after: bytes of each answer after which it stays open and nothing more comes
        sent: bytes of all answers' bodies, also those that list files
        ranges: (path, first byte) of each answer with a file's content
    """

    endpoint: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    lfs: bool = True
    private: bool = False
    lies: dict[str, bytes] = field(default_factory=dict)
    stall_after: int | None = None
    sent: int = 0
    requests: list[str] = field(default_factory=list)
    ranges: list[tuple[str, int]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))

    def add_folder(self, folder: Path) -> None:
        """Put a folder's files into ``data``."""
        for path in sorted(folder.iterdir()):
            self.files[f"data/{path.name}"] = path.read_bytes()

    def entry(self, path: str) -> dict[str, object]:
        content = self.files[path]
        entry: dict[str, object] = {"type": "file", "path": path, "size": len(content)}
        if not (self.lfs and path.endswith(".parquet")):
            return entry | {"oid": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}
        lfs = {"oid": _sha256(content), "size": len(content), "pointerSize": 134}
        return entry | {"oid": hashlib.sha1(path.encode()).hexdigest(), "lfs": lfs}

    def variables(self, folder: Path) -> dict[str, str]:
        """The environment in which a client uses this hub; its cache is in the folder."""
        return {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(folder / "hf"), "HF_TOKEN": TOKEN}


@cache
def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub with an empty repository, until the end of the ``with`` block."""
    hub = Hub()
    lock = threading.Lock()
    api, resolve = f"/api/datasets/{REPOSITORY}", f"/datasets/{REPOSITORY}/resolve/"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            if hub.private and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.answer(401, b"", {"X-Error-Message": "no access"})
            elif path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
                siblings = [{"rfilename": name} for name in hub.files]
                self.json({"id": REPOSITORY, "sha": COMMIT, "siblings": siblings})
            elif match := re.fullmatch(rf"{api}/tree/(main|{COMMIT})/?(.*)", path):
                self.tree(match[2])
            elif path.startswith(resolve) and path.split("/", 6)[6] in hub.files:
                self.file(path.split("/", 6)[6])
            else:
                code = "RepoNotFound" if REPOSITORY not in path else "EntryNotFound"
                self.answer(404, b"", {"X-Error-Code": code})

        do_HEAD = do_GET

        def do_POST(self) -> None:
            hub.requests.append(f"POST {self.path}")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            wanted = json.loads(body)["paths"]
            self.json([hub.entry(path) for path in wanted if path in hub.files])

        def tree(self, folder: str) -> None:
            inside = [path for path in hub.files if path.startswith(f"{folder}/" if folder else "")]
            if not inside:
                self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            elif folder or "recursive=true" in self.path.lower():
                self.json([hub.entry(path) for path in inside])
            else:
                folders = {path.split("/")[0] for path in inside if "/" in path}
                entries = [{"type": "directory", "path": f, "oid": "0" * 40} for f in folders]
                self.json(entries + [hub.entry(path) for path in inside if "/" not in path])

        def file(self, path: str) -> None:
            content = hub.lies.get(path, hub.files[path])
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_sha256(content)}"'}
            headers["Accept-Ranges"] = "bytes"
            first, last, status = 0, len(content) - 1, 200
            if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                first, last, status = int(match[1]), int(match[2] or last), 206
                headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            if self.command == "GET":
                hub.ranges.append((path, first))
            self.answer(status, content[first : last + 1], headers, hub.stall_after)

        def json(self, value: object) -> None:
            self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def answer(
            self, status: int, body: bytes, headers: dict[str, str], stall_after: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(body[:stall_after])
            with lock:
                hub.sent += len(body[:stall_after])
            if stall_after is not None and stall_after < len(body):
                hub.closing.wait()
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as hub.endpoint:
        try:
            yield hub
        finally:
            hub.closing.set()
