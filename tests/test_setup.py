"""A new checkout: what is missing is said in one sentence, and what is installed is pinned.

``setup.sh`` runs for real on a copy, with a PATH that holds links to chosen programs and no others.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# What the script itself uses; apt-get and sudo stay out, so that it can install nothing.
TOOLS = ["bash", "env", "dirname", "id", "mkdir", "rm", "touch"]
REQUIREMENTS = [
    *("requirements.txt", "requirements-models.txt"),
    *("requirements-dev.txt", "requirements-bench.txt"),
    *("requirements-vllm.txt", "requirements-vllm-cpu.txt"),
]
FILES = ["setup.sh", *REQUIREMENTS]


class Machine:
    """A checkout on a machine that has the named programs only."""

    def __init__(self, folder: Path, repo: Path) -> None:
        self.checkout = folder / "checkout"
        self.programs = folder / "bin"
        self.scripts = folder / "scripts"
        for made in (self.checkout, self.programs, self.scripts):
            made.mkdir()
        for name in FILES:
            shutil.copy(repo / name, self.checkout)
        self.has(*TOOLS)

    def has(self, *names: str) -> None:
        for name in names:
            found = shutil.which(name)
            assert found is not None, f"this test needs {name}"
            (self.programs / name).symlink_to(found)

    def has_script(self, name: str, *lines: str) -> Path:
        # In a folder without links, and never over a file: a write that followed a link would
        # change the machine's own program.
        script = self.scripts / name
        with script.open("x") as file:
            file.write("\n".join(["#!/usr/bin/env bash", *lines, ""]))
        script.chmod(0o755)
        return script

    def set_up(self, part: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.checkout / "setup.sh", part],
            env={"PATH": f"{self.scripts}:{self.programs}", **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def machine(tmp_path: Path, repo: Path) -> Machine:
    return Machine(tmp_path, repo)


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """The sentence that a failed run ends with: the only line it may have written."""
    assert result.returncode != 0
    lines = (result.stdout + result.stderr).splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("missing", ["ffmpeg", "ffprobe"])
def test_without_ffmpeg_the_runtime_names_it_and_the_command(
    machine: Machine, missing: str
) -> None:
    machine.has(*{"ffmpeg", "ffprobe"} - {missing})
    sentence = refusal(machine.set_up("runtime"))
    assert "ffmpeg is missing" in sentence
    assert "sudo apt-get install ffmpeg" in sentence


def test_without_python_the_runtime_names_it_and_the_command(machine: Machine) -> None:
    machine.has("ffmpeg", "ffprobe")
    sentence = refusal(machine.set_up("runtime"))
    assert "Python 3.11 or newer is missing" in sentence
    assert "sudo apt-get install python3 python3-venv" in sentence


def test_a_python_that_is_too_old_is_refused(machine: Machine) -> None:
    machine.has("ffmpeg", "ffprobe")
    # The real interpreter, which takes itself for 3.9 when it is asked.
    old = machine.has_script(
        "python-old", f"""exec {sys.executable} -c "import sys; sys.version_info = (3, 9); $2" """
    )
    sentence = refusal(machine.set_up("runtime", PYTHON=str(old)))
    assert "Python 3.11 or newer is missing" in sentence
    assert "PYTHON=" in sentence


def test_a_python_without_its_venv_module_is_refused(machine: Machine) -> None:
    machine.has("ffmpeg", "ffprobe")
    # The real interpreter, as Debian ships it without python3-venv.
    bare = machine.has_script(
        "python-bare",
        f"""exec {sys.executable} -c "import sys; sys.modules['ensurepip'] = None; $2" """,
    )
    sentence = refusal(machine.set_up("runtime", PYTHON=str(bare)))
    assert "venv module is missing" in sentence
    assert f"sudo apt-get install python3.{sys.version_info[1]}-venv" in sentence


def test_without_a_gpu_vllm_says_what_to_do_instead(machine: Machine) -> None:
    sentence = refusal(machine.set_up("vllm"))
    assert "needs an NVIDIA GPU" in sentence and "backend openai" in sentence


def test_without_node_the_panels_part_names_it_and_the_command(machine: Machine) -> None:
    sentence = refusal(machine.set_up("panels"))
    assert "Node 20 or newer is missing" in sentence
    assert "sudo apt-get install nodejs" in sentence


def test_a_node_that_is_too_old_is_refused(machine: Machine) -> None:
    # The real Node, which takes itself for 18 when it is asked.
    older = "Object.defineProperty(process, 'versions', {value: {node: '18.19.0'}});"
    machine.has_script("node", f"""exec {shutil.which("node")} -e "{older} $2" """)
    assert "Node 20 or newer is missing" in refusal(machine.set_up("panels"))


def test_without_npm_the_panels_part_names_it_and_the_command(machine: Machine) -> None:
    machine.has("node")
    sentence = refusal(machine.set_up("panels"))
    assert "npm is missing" in sentence
    assert "sudo apt-get install npm" in sentence


@pytest.mark.parametrize(
    ("working", "named", "package"),
    [("pip", "libatomic", "libatomic1"), ("pip playwright", "Chromium", "chromium")],
)
def test_without_what_a_browser_needs_the_test_part_names_it_and_the_command(
    machine: Machine, working: str, named: str, package: str
) -> None:
    # An environment in which only these modules run; nothing is installed.
    virtual = machine.checkout / ".venv" / "bin"
    virtual.mkdir(parents=True)
    python = machine.has_script("python", f'[[ " {working} " = *" $2 "* ]]')
    (virtual / "python").symlink_to(python)
    machine.has_script("id", "echo 1000")  # only root may install a browser without asking
    result = machine.set_up("test")
    assert result.returncode != 0
    assert len(result.stderr.splitlines()) == 1
    assert named in result.stderr
    assert f"sudo apt-get install {package}`" in result.stderr


def test_torch_is_installed_before_the_packages_that_need_it(machine: Machine) -> None:
    machine.has("ffmpeg", "ffprobe", "sed")
    virtual = machine.checkout / ".venv" / "bin"
    virtual.mkdir(parents=True)
    python = machine.has_script("python", f'echo "$@" >>{machine.checkout}/calls')
    (virtual / "python").symlink_to(python)
    result = machine.set_up("models")
    assert result.returncode == 0, result.stderr
    calls = (machine.checkout / "calls").read_text().splitlines()
    first, second = (call.split()[-2:] for call in calls if "pip install" in call)
    assert re.fullmatch(r"torch==[\d.]+", first[1])
    assert second == ["-r", "requirements-models.txt"]


def test_a_torchvision_that_does_not_work_is_named(machine: Machine) -> None:
    machine.has("sed")
    virtual = machine.checkout / ".venv" / "bin"
    virtual.mkdir(parents=True)
    python = machine.has_script("python", '[[ "$*" != *"import torchvision"* ]]')
    (virtual / "python").symlink_to(python)
    result = machine.set_up("models")
    assert result.returncode != 0
    assert len(result.stderr.splitlines()) == 1
    assert "torchvision does not work beside this torch" in result.stderr


def test_operators_that_torchvision_lacks_are_declared_once(repo: Path, tmp_path: Path) -> None:
    declare = re.search(
        r"<<'DECLARE'.*?\n(.*?)^DECLARE$", (repo / "setup.sh").read_text(), re.S | re.M
    )
    assert declare is not None
    package = tmp_path / "torchvision"
    package.mkdir()
    # As it begins, with an extension that could not be loaded.
    (package / "extension.py").write_text("def _has_ops():\n    return False\n")
    (package / "__init__.py").write_text(
        "import torch\n\nfrom . import extension  # usort:skip\n"
        "torch.library.register_fake('torchvision::nms')(lambda *_: None)\n"
    )
    run = functools.partial(subprocess.run, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    attempt = [sys.executable, "-c", "import torchvision"]
    assert b"operator torchvision::nms does not exist" in run(attempt, capture_output=True).stderr
    for _ in range(2):
        run([sys.executable, "-c", declare[1]], check=True)
    run(attempt, check=True)
    assert (package / "__init__.py").read_text().count("_has_ops") == 1


@pytest.mark.parametrize("arguments", [[], ["everything"]])
def test_an_unknown_part_is_answered_with_the_usage(repo: Path, arguments: list[str]) -> None:
    result = subprocess.run([repo / "setup.sh", *arguments], capture_output=True, text=True)
    assert "usage: ./setup.sh" in refusal(result)


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_every_requirement_is_pinned_exactly(repo: Path, name: str) -> None:
    lines = (repo / name).read_text().splitlines()
    requirements = [line for line in lines if line and not line.startswith("#")]
    assert requirements
    for requirement in requirements:
        assert re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+", requirement), requirement


@pytest.mark.parametrize("name", ["setup.sh", ".ci/run"])
def test_a_script_is_executable_and_bash_can_read_it(repo: Path, name: str) -> None:
    assert (repo / name).stat().st_mode & 0o111 == 0o111
    subprocess.run(["bash", "-n", repo / name], check=True)


def test_continuous_integration_runs_both_suites_from_the_root(repo: Path, tmp_path: Path) -> None:
    # A checkout whose targets say where they run.
    (tmp_path / ".ci").mkdir()
    shutil.copy(repo / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text("test test-servers:\n\t@echo $@ in `pwd`\n")
    # The suite itself runs under make, which tells its children to say where they are.
    plain = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    run = subprocess.run(
        [tmp_path / ".ci" / "run"], cwd="/", env=plain, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == [f"test in {tmp_path}", f"test-servers in {tmp_path}"]


def test_make_alone_lists_every_target_with_a_sentence(repo: Path) -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (repo / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    listed = subprocess.run(["make"], cwd=repo, capture_output=True, text=True, check=True).stdout
    for target in targets[1].split():
        assert re.search(rf"^{target} +[A-Z].*\.$", listed, re.MULTILINE), target
