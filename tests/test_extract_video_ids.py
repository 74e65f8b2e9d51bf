"""The id list from parquet files on disk and from a hub on this machine (the real client)."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from pipeline.parquet import write_trees
from pipeline.tree import Tree

SCRIPT = Path(__file__).parent.parent / "download_scripts" / "extract_video_ids.py"
REPOSITORY = "facebook/action100m-preview"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_only_for_this_test"


def extract(folder: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def write_part(path: Path, *uids: str, text_bytes: int = 0) -> None:
    """A file of videos with descriptions that do not compress."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = random.Random(0)
    write_trees(
        path,
        [Tree(uid, metadata={"description": noise.randbytes(text_bytes).hex()}) for uid in uids],
    )


# -- files on disk -------------------------------------------------------------------------------


def test_ids_of_all_files_are_written_sorted_and_once(tmp_path: Path) -> None:
    write_part(tmp_path / "action100m-preview/data/part-0.parquet", "zzzzzzzzzzz", "---UfNyophA")
    write_part(tmp_path / "action100m-preview/data/part-1.parquet", "aaaaaaaaaaa", "zzzzzzzzzzz")
    result = extract(tmp_path)
    assert result.returncode == 0
    assert result.stdout == ""
    assert "3 ids in video_ids.txt, from 2 files of action100m-preview" in result.stderr
    assert (tmp_path / "video_ids.txt").read_text() == "---UfNyophA\naaaaaaaaaaa\nzzzzzzzzzzz\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("action100m-preview", "video_ids.txt"),
    ]


def test_files_in_the_folder_itself_are_read_too_and_limit_takes_the_first(tmp_path: Path) -> None:
    write_part(tmp_path / "mine/part.parquet", *(f"video_{i:05d}" for i in range(9, -1, -1)))
    result = extract(tmp_path, "--data", "mine", "--out", "few.txt", "--limit", 2, "--json")
    assert json.loads(result.stdout) == {
        "out": "few.txt",
        "ids": 2,
        "source": "mine",
        "files": 1,
        "malformed": 0,
        "failed": {},
    }
    assert (tmp_path / "few.txt").read_text() == "video_00000\nvideo_00001\n"


def test_a_malformed_id_is_left_out_with_a_warning(tmp_path: Path) -> None:
    write_part(tmp_path / "d/part.parquet", "good_id____", "../../../etc", "bad\nbad\nbad", "")
    result = extract(tmp_path, "--data", "d", "--json")
    assert result.returncode == 0
    assert (tmp_path / "video_ids.txt").read_text() == "good_id____\n"
    assert "warning: '../../../etc' is not a video id; left out\n" in result.stderr
    assert "warning: 'bad\\nbad\\nbad' is not a video id; left out\n" in result.stderr
    assert json.loads(result.stdout)["malformed"] == 2


def test_one_unreadable_file_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    write_part(tmp_path / "d/data/part-0.parquet", "good_id____")
    (tmp_path / "d/data/part-1.parquet").write_text("<html>")
    result = extract(tmp_path, "--data", "d", "--json")
    assert result.returncode == 1
    assert (tmp_path / "video_ids.txt").read_text() == "good_id____\n"
    assert "error: d/data/part-1.parquet is not a readable parquet file" in result.stderr
    assert list(json.loads(result.stdout)["failed"]) == ["d/data/part-1.parquet"]


def test_an_earlier_list_stays_when_there_is_nothing_to_write(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/part.parquet").write_bytes(b"")
    (tmp_path / "video_ids.txt").write_text("good_id____\n")
    result = extract(tmp_path, "--data", "d")
    assert result.returncode == 1
    assert "there are no video ids in d; nothing was written" in result.stderr
    assert (tmp_path / "video_ids.txt").read_text() == "good_id____\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "0"], "argument --limit: invalid count (1 or more) value: '0'"),
        (["--repo", "action100m"], "--repo is 'action100m'; it must be OWNER/NAME"),
        (["--out", "no/ids.txt"], "--out is no/ids.txt; its folder does not exist"),
    ],
)
def test_a_wrong_call_is_status_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = extract(tmp_path, *arguments)
    assert result.returncode == 2
    assert message in result.stderr.splitlines()[-1]


# -- the hub -------------------------------------------------------------------------------------


@dataclass
class Hub:
    """A dataset repository behind the hub's routes, and what was asked of it."""

    endpoint: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    sent: int = 0  # bytes of files
    requests: list[str] = field(default_factory=list)

    def entry(self, path: str) -> dict[str, object]:
        content = self.files[path]
        oid = hashlib.sha1(content).hexdigest()
        return {"type": "file", "path": path, "size": len(content), "oid": oid}

    def variables(self, folder: Path) -> dict[str, str]:
        return {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(folder / "hf"), "HF_TOKEN": TOKEN}


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    api, resolve = f"/api/datasets/{REPOSITORY}", f"/datasets/{REPOSITORY}/resolve/"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

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
                self.file(hub.files[path.split("/", 6)[6]])
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

        def file(self, content: bytes) -> None:
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
            headers["Accept-Ranges"] = "bytes"
            if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                first, last = int(match[1]), int(match[2] or len(content) - 1)
                headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
                part = content[first : last + 1]
                self.answer(206, part, headers)
            else:
                part = content
                self.answer(200, part, headers)
            if self.command == "GET":
                hub.sent += len(part)

        def json(self, value: object) -> None:
            self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def filled_hub(hub: Hub, tmp_path: Path) -> Hub:
    """Two parquet files, most of whose bytes are texts."""
    for part in range(2):
        path = tmp_path / "source" / f"part-{part:05d}.parquet"
        uids = [f"-video_{part}_{i:02d}" for i in range(40)]
        write_part(path, *uids, text_bytes=40_000)
        hub.files[f"data/{path.name}"] = path.read_bytes()
    hub.files["README.md"] = b"# Action100M"
    return hub


def test_without_files_on_disk_only_the_id_column_is_read_from_the_hub(
    filled_hub: Hub, tmp_path: Path
) -> None:
    result = extract(tmp_path, "--json", **filled_hub.variables(tmp_path))
    assert result.returncode == 0, result.stderr
    ids = (tmp_path / "video_ids.txt").read_text().split()
    assert ids == [f"-video_{part}_{i:02d}" for part in range(2) for i in range(40)]
    assert json.loads(result.stdout)["source"] == f"{REPOSITORY} on the hub"
    assert filled_hub.sent < sum(map(len, filled_hub.files.values())) / 20
    assert not (tmp_path / "action100m-preview").exists()


def test_conditions_read_only_the_columns_that_they_need_from_the_hub(
    filled_hub: Hub, tmp_path: Path
) -> None:
    total = sum(map(len, filled_hub.files.values()))
    call = ("--min-duration", 1, "--min-actions", 1, "--has-transcript")
    result = extract(tmp_path, *call, **filled_hub.variables(tmp_path))
    assert "there are no video ids that fit" in result.stderr
    assert filled_hub.sent < total / 10


def test_a_private_repository_is_read_with_the_token_at_a_revision(
    filled_hub: Hub, tmp_path: Path
) -> None:
    filled_hub.private = True
    variables = filled_hub.variables(tmp_path)
    result = extract(tmp_path, "--revision", COMMIT, **variables)
    assert result.returncode == 0, result.stderr
    assert len((tmp_path / "video_ids.txt").read_text().split()) == 80
    assert any(f"/resolve/{COMMIT}/data/" in request for request in filled_hub.requests)
    refused = extract(tmp_path, **{**variables, "HF_TOKEN": "hf_other"})
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith(f"error: cannot list {REPOSITORY} on the hub")
    assert "Traceback" not in refused.stderr and "hf_other" not in refused.stderr


def test_download_fetches_whole_files_once(filled_hub: Hub, tmp_path: Path) -> None:
    variables = filled_hub.variables(tmp_path)
    result = extract(tmp_path, "--download", **variables)
    assert result.returncode == 0, result.stderr
    for name, content in filled_hub.files.items():
        if name.endswith(".parquet"):
            assert (tmp_path / "action100m-preview" / name).read_bytes() == content
    assert "80 ids in video_ids.txt, from 2 files of action100m-preview" in result.stderr
    sent = filled_hub.sent
    assert extract(tmp_path, "--download", **variables).returncode == 0
    assert filled_hub.sent == sent


def test_a_broken_file_on_the_hub_is_named_and_the_others_are_read(
    filled_hub: Hub, tmp_path: Path
) -> None:
    filled_hub.files["data/part-00001.parquet"] = b"no parquet at all"
    result = extract(tmp_path, "--json", **filled_hub.variables(tmp_path))
    assert result.returncode == 1
    assert len((tmp_path / "video_ids.txt").read_text().split()) == 40
    (failed,) = json.loads(result.stdout)["failed"].items()
    assert failed[0].endswith("data/part-00001.parquet") and "\n" not in failed[1]


def test_an_unknown_repository_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    for option in ("--json", "--download"):
        result = extract(tmp_path, "--repo", "some/thing", option, **hub.variables(tmp_path))
        assert result.returncode == 1
        assert result.stderr.splitlines()[-1].startswith("error: cannot ")
        assert "some/thing" in result.stderr.splitlines()[-1]
        assert "Traceback" not in result.stderr
