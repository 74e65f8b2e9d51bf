"""The committed bundle is what the panel's TypeScript builds to, and that TypeScript is sound."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

PANELS = Path(__file__).resolve().parents[1] / "panels"


@pytest.fixture(scope="module")
def node():
    """Run a command in panels/ with its pinned Node packages."""
    if not shutil.which("node") or not (PANELS / "node_modules" / "esbuild").is_dir():
        pytest.fail("Node 20 or the packages of panels/ are missing: run `./setup.sh panels`")

    def run(*command: object) -> None:
        path = f"{PANELS / 'node_modules' / '.bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [str(part) for part in command],
            cwd=PANELS,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def test_the_committed_bundle_is_built_from_the_source(node, tmp_path):
    node("node", "build.mjs", tmp_path / "index.umd.js")
    committed = (PANELS.parent / "dist" / "index.umd.js").read_bytes()
    assert (tmp_path / "index.umd.js").read_bytes() == committed, (
        "dist/index.umd.js is out of date: run `make panel` and commit it"
    )


def test_the_types_check(node):
    node("tsc", "--noEmit")


@pytest.mark.slow
def test_the_unit_tests_of_the_typescript_pass(node):
    node("vitest", "run")


def test_captions_can_never_become_markup():
    """The rule is kept by using nothing that turns a string into HTML."""
    for source in (PANELS / "src").rglob("*.ts*"):
        text = source.read_text()
        for unsafe in ("dangerouslySetInnerHTML", "innerHTML", "insertAdjacentHTML", "eval("):
            assert unsafe not in text, f"{source.name} uses {unsafe}"


def test_the_lock_file_pins_every_package_and_names_no_server_for_it():
    lock = json.loads((PANELS / "package-lock.json").read_text())
    packages = {name: p for name, p in lock["packages"].items() if name}
    assert packages
    for name, package in packages.items():
        assert package["integrity"], name
        assert "resolved" not in package, name
    wanted = json.loads((PANELS / "package.json").read_text())["devDependencies"]
    assert all(version[0].isdigit() for version in wanted.values()), wanted
