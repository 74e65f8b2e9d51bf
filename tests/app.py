"""Start the real FiftyOne App, with this repository as a plugin, for tests that drive a browser.

FiftyOne reads its configuration from environment variables when it is first imported, so all of it
happens in a child process.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pymongo import MongoClient

from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[1]
# What setup.sh looks for, in its order.
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True)
class App:
    """A running App: where it is, and what the function that built its dataset returned."""

    url: str
    dataset: str
    info: dict[str, Any]

    def sample_url(self, sample_id: str) -> str:
        """The address that opens the dataset with this sample in the modal."""
        return f"{self.url}/datasets/{self.dataset}?id={sample_id}"


@contextlib.contextmanager
def running_app(folder: Path, build: str, timeout: float = 120) -> Iterator[App]:
    """Launch the App on a dataset and end all of its processes afterwards.

    Args:
        folder: a temporary folder for the plugins directory and ``build``
        build: ``"module:function"``; called in the child as ``function(folder)``, it returns a
            FiftyOne dataset and a dict (for :attr:`App.info`) that JSON can hold
        timeout: seconds until the App must answer
    """
    (folder / "plugins").mkdir(parents=True)
    (folder / "plugins" / "action100m").symlink_to(REPOSITORY, target_is_directory=True)
    port = free_port()
    log = folder / "app.log"
    environment = os.environ | {
        # A database of its own in the mongod that the tests' conftest.py starts.
        "FIFTYONE_DATABASE_NAME": f"{os.environ['FIFTYONE_DATABASE_NAME']}_{port}",
        "FIFTYONE_DEFAULT_DATASET_DIR": str(folder / "datasets"),
        "FIFTYONE_PLUGINS_DIR": str(folder / "plugins"),
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.app", build, str(folder), str(port)],
            cwd=REPOSITORY,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        ready = folder / "ready.json"
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + timeout
        while not (ready.exists() and _answers(url)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the App did not start:\n{log.read_text()[-4000:]}")
            time.sleep(0.2)
        described = json.loads(ready.read_text())
        yield App(url, described["dataset"], described["info"])
    finally:
        _end(process)
        with MongoClient(environment["FIFTYONE_DATABASE_URI"]) as client:
            client.drop_database(environment["FIFTYONE_DATABASE_NAME"])


PANEL = "[data-testid=tree-of-captions]"


def open_panel(page: Any, app: App, sample_id: str) -> Any:
    """Open a sample in a Playwright page, and the panel beside its video.

    Not by the sample's address: on a busy machine the App can close it again while it loads.
    """
    page.goto(f"{app.url}/datasets/{app.dataset}")
    page.wait_for_selector("[data-cy=looker]", timeout=60_000)
    page.evaluate(f"() => __foo__.executeOperator('open_sample', {{id: '{sample_id}'}})")
    page.wait_for_url(f"**id={sample_id}*")
    page.wait_for_selector("[data-cy=modal-looker-container]", timeout=60_000)
    show_panel(page)
    return page


def show_panel(page: Any) -> None:
    """Open the panel in the modal that is open."""
    page.click("[data-cy=panel-tab-tree_of_captions]")
    page.wait_for_selector(PANEL)
    # It docks beside the video, which mounts it a second time.
    page.wait_for_selector("[data-cy=modal-looker-container]")
    page.wait_for_selector(f"{PANEL} :is([role=tree], .message:not(:has(.spinner)))")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _end(process: subprocess.Popen) -> None:
    """End the launcher and its children: the App's server is in a process group of its own."""
    try:
        family = [
            psutil.Process(process.pid),
            *psutil.Process(process.pid).children(recursive=True),
        ]
    except psutil.NoSuchProcess:
        return
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    for member in psutil.wait_procs(family, timeout=10)[1]:
        member.kill()
    process.wait()


def _serve(build: str, folder: Path, port: int) -> None:
    import fiftyone as fo

    module, function = build.split(":")
    dataset, info = getattr(importlib.import_module(module), function)(folder)
    fo.launch_app(dataset, remote=True, address="127.0.0.1", port=port)
    partial = folder / "ready.partial"
    partial.write_text(json.dumps({"dataset": dataset.name, "info": info}))
    partial.rename(folder / "ready.json")
    signal.pause()


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
