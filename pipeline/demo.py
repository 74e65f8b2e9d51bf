"""``make demo``: the main job, end to end, on videos that the project draws itself.

Each step is what a user would do by hand: the scripts run as commands, the operator runs through
FiftyOne. What is there already is kept, so a second run takes seconds.
"""

from __future__ import annotations

import functools
import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import dataset as datasets
from .samplekit import make_kit
from .store import StoreError

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "demo"
DATASET = "action100m-demo"
RUN_KEY = "embedded"


def run(headless: bool = False, port: int = 5151) -> int:
    """Make the dataset, annotate it and open the App; returns the exit status.

    Args:
        headless: check that the App answers, and end
        port: the App's; the next free one is taken where it is in use
    """
    _say("1/5 the sample kit: four small videos whose true trees are known")
    kit = make_kit(FOLDER / "kit", on_progress=_say)

    _say("2/5 fetching its videos with download_videos.sh from a web server on this machine")
    videos, listed = FOLDER / "videos", FOLDER / "video_ids.txt"
    _script("extract_video_ids.py", "--data", str(kit.folder), "--out", str(listed))
    with web_server(kit.folder / "videos") as address:
        _script(
            "download_videos.sh",
            VIDEO_IDS=str(listed),
            OUTPUT_DIR=str(videos),
            URL_TEMPLATE=address + "/{id}.mp4",
        )

    _say(f"3/5 the FiftyOne dataset {DATASET!r}: videos and ground truth")
    _script(
        "parse_to_fiftyone.py",
        *("--dataset-path", str(kit.folder), "--videos-dir", str(videos)),
        *("--dataset-name", DATASET),
    )
    dataset = datasets.load_dataset(DATASET)

    _say(f"4/5 the operator annotate_videos with the preset 'embedded', as run {RUN_KEY!r}")
    link = datasets.link_plugin(ROOT)
    _say(f"the plugin is linked in {link.parent}")
    datasets.execute_operator(
        dataset,
        "annotate_videos",
        preset="embedded",
        run_key=RUN_KEY,
        resume=RUN_KEY in datasets.run_keys(dataset),
    )
    dataset.reload()
    _say(f"{len(dataset.exists(f'{RUN_KEY}_tree'))} of {len(dataset)} videos are annotated")

    _say("5/5 FiftyOne's App")
    port = _free_port(port)
    session = datasets.launch_app(dataset.load_saved_view(datasets.LIGHT_VIEW), port)
    try:
        datasets.check_app(port)
        sample = dataset.first()
        _say(f"the App answers on http://127.0.0.1:{port}")
        if not headless:
            print(
                f"\nOpen http://127.0.0.1:{port}/datasets/{DATASET}?id={sample.id}\n"
                f"  ({sample['title']!r}; or open any sample of the grid)\n"
                "Click the tab Tree-of-Captions beside the video's: the ground truth above,\n"
                "the run below. Click a segment to go there; play the video to see both follow.\n"
                "Stop with Ctrl-C.",
                file=sys.stderr,
            )
            session.wait(-1)
    except KeyboardInterrupt:
        _say("stopped; the dataset stays")
    finally:
        session.close()
    return 0


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


def _script(name: str, *arguments: str, **variables: str) -> None:
    """Run one of ``download_scripts`` as a user would; StoreError if it fails."""
    path = ROOT / "download_scripts" / name
    runner = ["bash"] if path.suffix == ".sh" else [sys.executable]
    status = subprocess.run(
        [*runner, str(path), *arguments], cwd=ROOT, env={**os.environ, **variables}, check=False
    ).returncode
    if status:
        raise StoreError(f"{name} failed with exit status {status}; its reasons are above")


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine's own address for as long as the block runs."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exception(), ConnectionError):  # yt-dlp's first look ends early
                super().handle_error(request, client_address)

    handler = functools.partial(Quiet, directory=str(folder))
    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def _free_port(wanted: int) -> int:
    """The wanted port, or the next one that nothing listens on."""
    for port in range(wanted, wanted + 50):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port != wanted:
            _say(f"port {wanted} is in use; taking {port}")
        return port
    raise StoreError(f"no free port from {wanted} to {wanted + 49}; name another with PORT=...")
