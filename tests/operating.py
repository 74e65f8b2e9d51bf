"""What the tests of the operators share: a dataset with a ground truth and a run, and calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline import dataset as datasets
from pipeline.samplekit import Kit
from pipeline.tree import Segment, Tree

PLUGIN = "@action100m/action100m-fiftyone"


@contextmanager
def kit_dataset(kit: Kit, name: str, run: str | None = None) -> Iterator[Any]:
    """Two videos of the kit with their ground truth, and a run that has three levels of it.

    Args:
        run: the run's key; None = no run
    """
    made = datasets.open_dataset(name[:60], overwrite=True)
    trees = [kit.trees()[spec.uid] for spec, _ in kit.videos[:2]]
    datasets.add_ground_truth(made, trees, {spec.uid: path for spec, path in kit.videos})
    if run is not None:
        add_run(made, run, [shallow(tree) for tree in trees])
    try:
        yield made
    finally:
        made.delete()


def add_run(dataset: Any, key: str, trees: list[Tree], failed: dict[str, str] | None = None):
    """Store a run as annotate_videos does, with files in its folder."""
    folder = datasets.run_folder(dataset, key)
    config = {"preset": "embedded", "models": {"embed": "a model"}, "folder": str(folder)}
    datasets.start_run(dataset, key, config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text("{}")
    ids = dict(zip(*dataset.values(["video_uid", "id"]), strict=True))
    results = {
        "models": config["models"],
        "done": [tree.video_uid for tree in trees],
        "failed": {uid: {"reason": reason} for uid, reason in (failed or {}).items()},
        "seconds": {"embed": 1.5, "segment": 0.5},
    }
    datasets.save_run(dataset, key, trees, failed or {}, ids, results)
    dataset.reload()


def shallow(tree: Tree, depth: int = 2) -> Tree:
    """The tree down to a level, with the texts of its nodes."""
    kept = tuple(s for s in tree.segments if s.level <= depth)
    return replace(tree, segments=kept)


def changed(tree: Tree, number: int, **values: Any) -> Tree:
    """The tree with other values in its segment of that number."""
    segments: list[Segment] = list(tree.segments)
    segments[number] = replace(segments[number], **values)
    return replace(tree, segments=tuple(segments))


def refusal(foo: ModuleType, name: str, context: dict[str, Any], params: dict[str, Any]) -> str:
    """What FiftyOne says when it refuses a call; an AssertionError if it does not."""
    from fiftyone.operators.executor import ExecutionError

    try:
        foo.execute_operator(f"{PLUGIN}/{name}", context, params=params)
    except ExecutionError as error:
        return str(error)
    raise AssertionError(f"{name} accepted {params}")


def messages(foo: ModuleType, name: str, dataset: Any, params: dict[str, Any]) -> list[Any]:
    """What the operator sends to the App: the bodies of its messages, in order."""
    from fiftyone.operators.executor import ExecutionContext, Executor

    request = {"dataset_name": dataset.name if dataset is not None else None, "params": params}
    context = ExecutionContext(request_params=request, executor=Executor())
    operator = foo.get_operator(f"{PLUGIN}/{name}")
    return [message.to_json()["body"] for message in operator.execute(context)]


def steps(told: list[Any]) -> list[dict[str, Any]]:
    """Of these messages those about progress."""
    return [
        each["params"] for each in told if each.get("operator_uri", "").endswith("set_progress")
    ]


def work_off(queued: Any, seconds: float = 120) -> Any:
    """Have FiftyOne's worker do what was queued; returns the finished operation."""
    from fiftyone.operators.delegated import DelegatedOperationService

    worker = subprocess.Popen(
        [Path(sys.executable).with_name("fiftyone"), "delegated", "launch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    service = DelegatedOperationService()
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            operation = service.get(queued.result["id"])
            if operation.run_state in ("completed", "failed"):
                break
            time.sleep(0.3)
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        log, _ = worker.communicate()
    assert operation.run_state == "completed", f"{operation.result}\n{log}"
    return operation


def output_form(
    foo: ModuleType, name: str, params: dict[str, Any], results: dict[str, Any]
) -> set[str]:
    """The fields of the form that shows an operator's results, which must have a place in it."""
    from fiftyone.operators.executor import ExecutionContext, ExecutionResult

    context = ExecutionContext(request_params={"params": params, "results": results})
    assert ExecutionResult(result=results).to_json()
    form = foo.get_operator(f"{PLUGIN}/{name}").resolve_output(context).to_json()
    return set(form["type"]["properties"])
