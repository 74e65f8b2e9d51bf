"""The operators that run stages: one by one, changed, refused, stopped and killed.

The server is on this machine, speaks the protocol and answers by rule; videos are real.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from pipeline import dataset as datasets
from tests.operating import PLUGIN, kit_dataset, messages, refusal, steps, work_off
from tests.scripted import MODEL, Script, scripted
from tests.test_chat_stages import KEY, changes, reply

pytestmark = pytest.mark.fiftyone

STAGES = ("embed_videos", "segment_videos", "caption_segments", "refine_captions")


@pytest.fixture(scope="module")
def foo(fo):
    import fiftyone.operators as foo

    return foo


@pytest.fixture
def dataset(fo, kit, request):
    with kit_dataset(kit, f"st-{request.node.name}") as made:
        yield made
        shutil.rmtree(datasets.run_folder(made, "x").parent.parent, ignore_errors=True)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with scripted() as script:
        script.answer, script.key = reply, KEY
        yield script


def operator(foo, name):
    return foo.get_operator(f"{PLUGIN}/{name}")


def test_the_stages_one_by_one_come_to_what_the_whole_does(foo, dataset):
    view = dataset.limit(1)
    operator(foo, "annotate_videos")(view, "whole", "embedded")
    operator(foo, "embed_videos")(view, "steps", "embedded")
    for name in STAGES[1:]:
        operator(foo, name)(view, "steps")
    dataset.reload()
    sample = dataset.first()
    assert sample.steps_tree == sample.whole_tree
    assert sample.steps_action_actor.detections
    assert dataset.get_run_info("steps").config.preset == "embedded"
    results = dataset.load_run_results("steps")
    assert set(results.seconds) == {"refine"} and results.done == [sample.video_uid]


def test_a_stage_says_what_it_reused_and_what_it_lacks(foo, dataset):
    operator(foo, "embed_videos")(dataset.limit(1), "mine", "embedded")
    told = messages(
        foo, "embed_videos", dataset, {"run_key": "mine", "resume": True, "preset": "embedded"}
    )
    notified = [each["params"]["message"] for each in told if "message" in each.get("params", {})]
    assert "2 videos done (1 of them before)" in notified[-1]
    assert steps(told)[-1]["label"].startswith("embed: video 2 of 2")
    told = messages(foo, "refine_captions", dataset, {"run_key": "mine", "resume": True})
    assert "is not segmented yet: run the stages embed, segment too" in told[-1]["failed"][0]


def test_a_run_keeps_its_changes_and_takes_new_ones(foo, dataset, server):
    view = dataset.limit(1)
    operator(foo, "annotate_videos")(view, "mine", "embedded", changes=changes(server))
    asked = len(server.requests)
    operator(foo, "caption_segments")(view, "mine")
    assert len(server.requests) == asked  # with the same changes there is nothing to do
    more = [*changes(server), "caption.frames=3"]
    operator(foo, "caption_segments")(view, "mine", changes=more)
    assert len(server.requests) > asked
    dataset.reload()
    config = dataset.get_run_info("mine").config
    assert config.configuration["caption"]["frames"] == 3
    assert config.models["caption"] == MODEL
    assert KEY not in json.dumps(dataset.get_run_info("mine").serialize(), default=str)
    sample = dataset.first()
    assert sample.mine_tree["nodes"][0]["plm_caption"] == "3 frames"


def _form(foo, dataset, params, name="annotate_videos"):
    from fiftyone.operators.executor import ExecutionContext

    context = ExecutionContext(request_params={"dataset_name": dataset.name, "params": params})
    context.request_params["view"] = None
    form = operator(foo, name).resolve_input(context).to_json()
    return form["type"]["properties"]


def _wrong(properties):
    return {n: p["error_message"] for n, p in properties.items() if p.get("invalid")}


def _notes(properties):
    return " ".join(
        p["view"].get("label") or "" for p in properties.values() if p.get("view", {}).get("label")
    )


def test_the_form_offers_what_a_preset_leaves_open_and_estimates_the_work(foo, dataset, server):
    params = {"run_key": "x", "preset": "embedded", "change": True}
    form = _form(foo, dataset, params)
    assert {"min_duration", "caption_backend", "caption_frames", "refine_backend"} <= set(form)
    assert "caption_model" not in form and not _wrong(form)
    assert form["min_duration"]["default"] == 0.5
    dataset.compute_metadata()
    params |= {
        "caption_backend": "openai",
        "caption_model": MODEL,
        "caption_base_url": server.url,
        "caption_test": True,
    }
    form = _form(foo, dataset, params)
    assert not _wrong(form)
    assert f"It answers. Its models: {MODEL}" in _notes(form)
    assert "minutes of video" in _notes(form) and "requests to models" in _notes(form)
    only = _form(foo, dataset, params, "segment_videos")
    assert "min_duration" in only and "caption_backend" not in only


def test_the_form_says_how_far_a_run_is(foo, dataset):
    operator(foo, "embed_videos")(dataset.limit(1), "mine", "embedded")
    dataset.reload()
    form = _form(foo, dataset, {"run_key": "mine", "resume": True})
    assert "Run mine, made with embedded: 1 video done; last it ran embed." in _notes(form)
    assert form["preset"]["default"] == "embedded" and not form["preset"]["required"]


@pytest.mark.parametrize(
    ("more", "field", "reason"),
    [
        ({"caption_model": "nope"}, "caption_base_url", "does not serve the model 'nope'"),
        ({"caption_base_url": "http://127.0.0.1:9/v1"}, "caption_base_url", "nothing answers at"),
        ({"caption_base_url": "127.0.0.1"}, "preset", "is no address"),
        ({"refine_backend": "vllm", "refine_model": "m"}, "refine_model", "has no vLLM; make an"),
        ({"embed_model": "", "preset": "api"}, "preset", "is not to be had"),
        ({"min_duration": 0.01}, "preset", "min_duration must be at least"),
        ({"refine_backend": "magic"}, "preset", "unknown backend 'magic'"),
    ],
)
def test_what_cannot_work_is_refused_at_its_field(
    foo, dataset, server, monkeypatch, more, field, reason
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("VLLM_PYTHON", "/nowhere/python")
    params = {
        "run_key": "x",
        "preset": "embedded",
        "change": True,
        "caption_backend": "openai",
        "caption_model": MODEL,
        "caption_base_url": server.url,
        **more,
    }
    told = refusal(foo, "annotate_videos", {"dataset": dataset}, params)
    assert f"Path: {field}. Reason: " in told and reason in told, told


def test_a_missing_key_and_a_missing_gpu_are_refused(foo, dataset, server, tmp_path, monkeypatch):
    server.key = "another"
    params = {"run_key": "x", "preset": "embedded", "changes": changes(server)}
    told = refusal(foo, "annotate_videos", {"dataset": dataset}, params)
    assert "Path: preset" in told and "refuses the key (401)" in told
    monkeypatch.delenv("OPENAI_API_KEY")
    plain = [change for change in changes(server) if "base_url" not in change]
    told = refusal(foo, "annotate_videos", {"dataset": dataset}, params | {"changes": plain})
    assert "the environment variable OPENAI_API_KEY holds no key" in told
    if shutil.which("nvidia-smi") is None:
        big = tmp_path / "big.yaml"
        big.write_text(f"gpu_memory: 24\n{_embedded()}")
        told = refusal(
            foo, "annotate_videos", {"dataset": dataset}, {"run_key": "x", "preset": str(big)}
        )
        assert "needs a GPU with 24 GiB, and there is none" in told


def _embedded() -> str:
    from pipeline import presets

    return (presets.FOLDER / "embedded.yaml").read_text()


def test_a_key_from_fiftyones_secrets_is_used_and_written_nowhere(
    foo, fo, dataset, server, monkeypatch
):
    folder = datasets.run_folder(dataset, "mine")
    operator(foo, "annotate_videos")(dataset.limit(1), "mine", "embedded", changes=changes(server))
    assert server.keys == {f"Bearer {KEY}"}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    dataset.reload()
    stored = json.dumps(dataset.load_run_results("mine").serialize(), default=str)
    assert KEY not in stored and KEY not in json.dumps(dataset.first().to_dict(), default=str)


def test_a_run_is_stopped_and_goes_on(foo, dataset, server):
    server.seconds = 0.3
    slow = [*changes(server), "caption.concurrency=2"]
    params = {"run_key": "mine", "preset": "embedded", "changes": slow}
    stopper = threading.Thread(target=_stop_when_asked, args=(foo, dataset, server, 4))
    stopper.start()
    told = messages(foo, "annotate_videos", dataset, params)
    stopper.join()
    notified = [each["params"]["message"] for each in told if "message" in each.get("params", {})]
    assert "stopped; run it again" in notified[-1]
    assert not _pipelines()
    before, server.seconds = len(server.requests), 0.0
    operator(foo, "annotate_videos")(dataset, "mine")
    dataset.reload()
    assert len(dataset.exists("mine_tree")) == 2
    nodes = [len(sample.mine_tree["nodes"]) for sample in dataset]
    assert before >= 4
    # Captions of inner nodes and leaves, three rounds; what was answered is not asked again.
    assert len(server.requests) < before + sum(nodes) * 6


def _stop_when_asked(foo, dataset, server, count):
    deadline = time.monotonic() + 60
    while len(server.requests) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    operator(foo, "manage_runs")(dataset, "stop", "mine")


def _pipelines() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "annotate" in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.parametrize("stage", ["embed", "segment", "caption", "refine"])
def test_a_run_that_was_killed_in_a_stage_goes_on(foo, dataset, server, stage):
    """The child is killed, as the system does when memory runs out."""
    server.seconds = 0.05
    changed = [*changes(server), "caption.concurrency=2", "refine.concurrency=2"]
    killer = threading.Thread(target=_kill_in, args=(dataset, stage))
    killer.start()
    with pytest.raises(Exception, match="killed by signal 9"):
        messages(
            foo,
            "annotate_videos",
            dataset,
            {"run_key": "mine", "preset": "embedded", "changes": changed},
        )
    killer.join()
    server.seconds = 0.0
    operator(foo, "annotate_videos")(dataset, "mine")
    dataset.reload()
    assert len(dataset.exists("mine_tree")) == 2
    assert not dataset.match_tags("mine_failed")


_FIRST_SIGN = {
    "embed": "run.json",
    "segment": "*/merges-*",
    "caption": "*/captions-*",
    "refine": "*/annotations-*",
}


def _kill_in(dataset, stage):
    folder = datasets.run_folder(dataset, "mine")
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        running = _pipelines()
        if running and list(folder.glob(_FIRST_SIGN[stage])):
            os.kill(running[0].pid, signal.SIGKILL)
            return
        time.sleep(0.02)


def test_two_runs_live_side_by_side_and_a_delegated_stage_goes_on(foo, dataset, server):
    view = dataset.limit(1)
    operator(foo, "annotate_videos")(view, "one", "embedded")
    operator(foo, "embed_videos")(view, "two", "embedded", changes=changes(server))
    operator(foo, "segment_videos")(view, "two")
    queued = foo.execute_operator(
        f"{PLUGIN}/caption_segments",
        {"view": view, "request_delegation": True},
        params={"run_key": "two", "resume": True},
    )
    done = work_off(queued)
    assert done.result.result["summary"].startswith("1 video done")
    dataset.reload()
    sample = dataset.first()
    assert sample.one_tree["nodes"] and sample.two_tree["nodes"][0]["plm_action"] == "do it"
    operator(foo, "manage_runs")(dataset, "delete", "two")
    dataset.reload()
    assert datasets.run_keys(dataset) == ["one"]
    assert not [name for name in dataset.get_field_schema() if name.startswith("two_")]
