"""``make demo HEADLESS=1``: everything, as a new user runs it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from pipeline import dataset as datasets
from tests.ports import free_port

# The kit is made by its fixture, since other tests may be making it in the same folder.
pytestmark = [pytest.mark.fiftyone, pytest.mark.slow, pytest.mark.usefixtures("kit")]


def _demo(repo, port, **variables) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "demo", "HEADLESS=1", f"PORT={port}"],
        cwd=repo,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_demo_makes_everything_and_ends_and_a_second_one_reuses_it(fo, repo):
    port = free_port()
    first = _demo(repo, port)
    assert first.returncode == 0, first.stderr
    assert f"the App answers on http://127.0.0.1:{port}" in first.stderr
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5)

    dataset = fo.load_dataset("action100m-demo")
    assert len(dataset) == 4
    for sample in dataset:
        names = [tree["name"] for tree in datasets.sample_trees(sample)]
        assert names == ["ground_truth", "embedded"]
        assert sample.filepath.startswith(str(repo / "demo" / "videos"))
    folder = datasets.run_folder(dataset, "embedded")
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*")}

    second = _demo(repo, port)
    assert second.returncode == 0, second.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/*")} == before
    reused = json.loads((folder / "summary.json").read_text())["reused"]
    assert len(reused) == 4
    fo.delete_dataset("action100m-demo")


def test_the_demo_takes_another_port_where_one_is_in_use(fo, repo):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        done = _demo(repo, port)
    assert done.returncode == 0, done.stderr
    assert f"port {port} is in use; taking" in done.stderr
    fo.delete_dataset("action100m-demo")
