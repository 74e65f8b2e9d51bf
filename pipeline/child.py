"""Runs the pipeline in a process of its own, for servers that have to stay free to answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import parquet
from .presets import STAGES
from .runner import Progress, Video
from .store import RunStore, temporary_sibling
from .tree import Tree


class RunFailed(RuntimeError):
    """A run that ended as a whole; the message says why."""


def annotate_in_child(
    videos: Sequence[Video],
    preset: str,
    folder: Path,
    stages: Sequence[str] = STAGES,
    changes: Sequence[str] = (),
    secrets: Mapping[str, str] | None = None,
) -> Generator[Progress, None, dict[str, Any]]:
    """Like :func:`runner.annotate`, with a preset's name, in a child process.

    The child ends when the generator is closed and when this process ends, however it ends.

    Args:
        preset: a name or a YAML file
        folder: of the run
        stages: as for :func:`runner.annotate`
        changes: of the preset, see :func:`presets.load`
        secrets: environment variables of the child, such as keys: its command line has none

    Returns:
        (of the generator) the summary in plain data

    Raises:
        RunFailed: with the child's last words
    """
    store = RunStore(folder)
    listed, metadata = store.folder / "videos.jsonl", store.folder / "metadata.parquet"
    with temporary_sibling(listed) as temporary:
        lines = (json.dumps({"uid": v.uid, "path": str(v.path.absolute())}) for v in videos)
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    parquet.write_trees(metadata, (Tree(v.uid, metadata=v.metadata) for v in videos))
    command = [sys.executable, "-m", __package__.rpartition(".")[2], "annotate"]
    command += ["--list", str(listed), "--metadata", str(metadata), "--out", str(store.folder)]
    command += [f"--preset={preset}", "--json", "--progress", "json", "--with-parent"]
    command += ["--stages", ",".join(stages), *(f"--set={change}" for change in changes)]
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(
            command,
            cwd=Path(__file__).parent.parent,
            env={**os.environ, **(secrets or {})},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
        ) as child,
    ):
        try:
            last = ""
            for line in child.stderr or ():
                if line.startswith("{"):
                    yield Progress(**json.loads(line))
                elif line.strip():
                    last = line.strip()
        finally:
            if child.stdin:
                child.stdin.close()  # tells it to stop; it has ended already where all went well
            child.wait()
        if child.returncode < 0:
            raise RunFailed(
                f"the run's process was killed by signal {-child.returncode}, perhaps for want of "
                "memory; what is finished is kept, run it again to go on"
            )
        if child.returncode not in (0, 1):
            raise RunFailed(last.removeprefix("error: ") or f"exit status {child.returncode}")
        output.seek(0)
        return json.load(output)
