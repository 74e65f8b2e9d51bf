"""What every test gets: a FiftyOne of its own, and fixtures that several tests share.

FiftyOne reads its configuration from environment variables when it is first imported, so they are
set before any test module is. FiftyOne would join a database that any other FiftyOne process of the
same user runs, whatever folder it keeps its files in, and later processes would join ours: so the
tests start a mongod themselves and name it by its address.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port

if TYPE_CHECKING:
    from pipeline.samplekit import Kit
    from tests.hub import Hub

REPO = Path(__file__).resolve().parents[1]

_mongod: subprocess.Popen | None = None
_home = Path()


def pytest_configure() -> None:
    global _mongod, _home
    _home = Path(tempfile.mkdtemp(prefix="action100m-tests-"))
    # When Python ends, what was registered last runs first: FiftyOne, imported later, still finds
    # its database then. It would wait 30 s for one that is gone.
    atexit.register(_clean_up)
    (_home / "plugins").mkdir()
    (_home / "plugins" / "action100m-fiftyone").symlink_to(REPO, target_is_directory=True)
    if "FIFTYONE_DATABASE_URI" not in os.environ:
        _mongod, os.environ["FIFTYONE_DATABASE_URI"] = _start_mongod(_home)
    os.environ.update(
        FIFTYONE_DATABASE_NAME=f"action100m_tests_{os.getpid()}",
        FIFTYONE_DATABASE_VALIDATION="false",
        FIFTYONE_CONFIG_PATH=str(_home / "config.json"),
        FIFTYONE_APP_CONFIG_PATH=str(_home / "app_config.json"),
        FIFTYONE_DATABASE_DIR=str(_home / "database"),
        FIFTYONE_DEFAULT_DATASET_DIR=str(_home / "datasets"),
        FIFTYONE_PLUGINS_DIR=str(_home / "plugins"),
        FIFTYONE_DO_NOT_TRACK="true",
    )


def pytest_unconfigure() -> None:
    if _mongod is None and "pymongo" in sys.modules:  # a server that somebody lent us
        from pymongo import MongoClient

        with MongoClient(os.environ["FIFTYONE_DATABASE_URI"]) as client:
            client.drop_database(os.environ["FIFTYONE_DATABASE_NAME"])


def _clean_up() -> None:
    if _mongod is not None:
        _mongod.kill()  # its files go with it: nothing to shut down in order
        _mongod.wait()
    shutil.rmtree(_home, ignore_errors=True)


def _start_mongod(home: Path) -> tuple[subprocess.Popen, str]:
    """Start a mongod that ends with this process, even a killed one; return it and its address.

    It is not waited for: FiftyOne's client does that, and most tests never ask.
    """
    spec = importlib.util.find_spec("fiftyone")
    mongod = Path(spec.origin).parent / "db" / "bin" / "mongod" if spec and spec.origin else None
    if mongod is None or not mongod.exists():
        raise pytest.UsageError(
            "FiftyOne or its mongod is missing: run `make test`, which sets up both."
        )
    (home / "database").mkdir()
    port = free_port()
    command = ["setpriv", "--pdeathsig", "KILL", mongod, "--bind_ip", "127.0.0.1"]
    command += ["--port", str(port), "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
    command += ["--dbpath", home / "database", "--logpath", home / "mongod.log"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return process, f"mongodb://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def repo() -> Path:
    """The repository's root."""
    return REPO


@pytest.fixture(scope="session")
def real_trees() -> Path:
    """Five of Action100M's own trees, read in place; they are no part of the project."""
    from tests.real_trees import REAL_FILE

    if not REAL_FILE.exists():
        pytest.skip(f"the authors' trees are not at {REAL_FILE}")
    return REAL_FILE


@pytest.fixture(scope="session")
def fo() -> ModuleType:
    """FiftyOne, connected to the tests' database."""
    import fiftyone

    return fiftyone


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub on this machine with an empty repository."""
    from tests.hub import serve

    with serve() as hub:
        yield hub


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``cli("show", path)`` runs ``python -m pipeline show path`` in the test's temporary folder.

    The caller judges the exit status; keyword arguments go to :func:`subprocess.run`.
    """

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        settings: dict = {"cwd": tmp_path, "timeout": 600, "stdin": subprocess.DEVNULL} | options
        settings["env"] = {**os.environ, **(settings.get("env") or {}), "PYTHONPATH": str(REPO)}
        command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, **settings)

    return run


@pytest.fixture(scope="session")
def kit(repo: Path) -> Kit:
    """The sample kit, in the folder where ``make demo`` has it; made once and kept between runs."""
    from filelock import FileLock  # several workers may want it at once

    from pipeline.samplekit import make_kit

    folder = repo / "demo" / "kit"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        return make_kit(folder)


@pytest.fixture(scope="session")
def kit_run(kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run over the sample kit; read it, do not change it."""
    from pipeline import presets, runner
    from pipeline.parquet import read_metadata
    from pipeline.store import RunStore

    metadata = read_metadata(kit.parquet, [spec.uid for spec, _ in kit.videos])
    videos = [runner.Video(spec.uid, path, metadata[spec.uid]) for spec, path in kit.videos]
    folder = tmp_path_factory.mktemp("kit-run")
    runner.annotate(videos, presets.load("embedded"), RunStore(folder))
    return folder
