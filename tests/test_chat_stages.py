"""Captions and refinement by servers, through the command line: requests, costs, kills, keys.

The server is on this machine, speaks the protocol and answers by rule; videos and frames are real.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline import captioning, child, presets, runner
from pipeline.parquet import read_models, read_trees
from pipeline.prompts import ACTION, CLIP, IMAGE
from pipeline.store import RunStore
from pipeline.tree import Tree
from tests.scripted import MODEL, Script, scripted
from tests.test_refinement import GOOD

KEY = "sk-a-key-that-no-file-may-hold"


def reply(body: dict[str, Any]) -> Any:
    """A caption that names the request, or the annotation."""
    parts = body["messages"][-1]["content"]
    pictures = sum(part["type"] == "image_url" for part in parts)
    if not pictures:
        return json.dumps(GOOD)
    return {IMAGE: "a picture", CLIP: f"{pictures} frames", ACTION: "do it"}[parts[-1]["text"]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    monkeypatch.setattr("pipeline.chat.server._FIRST_WAIT", 0.02)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with scripted() as script:
        script.answer = reply
        script.key = KEY
        yield script


def changes(server: Script, **more: Any) -> list[str]:
    """What makes the preset ``embedded`` one that asks the server, of a few nodes a video."""
    options = {
        "segment.min_duration": 2.0,
        "caption.backend": "openai",
        "caption.model": MODEL,
        "caption.base_url": server.url,
        "caption.frames": 5,
        "refine.backend": "openai",
        "refine.model": MODEL,
        "refine.base_url": server.url,
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    return [f"{key}={value}" for key, value in options.items()]


def as_options(changed: list[str]) -> list[str]:
    return [word for change in changed for word in ("--set", change)]


@pytest.fixture
def run(kit_run: Path, tmp_path: Path) -> RunStore:
    """A run whose videos are embedded."""
    shutil.copytree(kit_run, tmp_path / "run")
    return RunStore(tmp_path / "run")


def annotate(kit: Any, run: RunStore, changed: list[str], **options: Any) -> runner.Summary:
    videos = [runner.Video(spec.uid, path) for spec, path in kit.videos]
    return runner.annotate(videos, presets.load("embedded", changed), run, **options)


def written(run: RunStore, summary: runner.Summary) -> list[Tree]:
    return [tree for part in summary.parts for tree in read_trees(Path(part))]


def requests_wanted(trees: list[Tree]) -> tuple[int, int]:
    """How many questions trees take: of captions, of refinement in three rounds."""
    captions = sum(len(captioning.texts(tree, s)) for tree in trees for s in tree.segments)
    return captions, 3 * sum(tree.is_refined(s) for tree in trees for s in tree.segments)


def pictures(body: dict[str, Any]) -> list[Image.Image]:
    urls = [p["image_url"]["url"] for p in body["messages"][-1]["content"] if "image_url" in p]
    data = (base64.b64decode(url.removeprefix("data:image/jpeg;base64,")) for url in urls)
    return [Image.open(io.BytesIO(each)) for each in data]


def test_every_node_gets_its_texts_and_the_run_says_what_they_cost(kit, run, server):
    summary = annotate(kit, run, changes(server))
    assert not summary.failed and not summary.unfilled
    trees = written(run, summary)
    captions, refinements = requests_wanted(trees)
    for tree in trees:
        tree.validate()
        for s in tree.segments:
            assert s.plm_action == "do it" and s.plm_caption.endswith(" frames")
            assert (s.llama3_caption == "a picture") == tree.is_leaf(s)
            assert s.gpt == (GOOD if tree.is_refined(s) else None)
    assert len(server.requests) == captions + refinements
    assert read_models(Path(summary.parts[0]))["caption"] == MODEL
    for stage, count in (("caption", captions), ("refine", refinements)):
        total = sum((Counter(cost) for cost in summary.costs[stage].values()), Counter())
        assert total == {
            "requests": count,
            "prompt_tokens": 7 * count,
            "cached_tokens": 5 * count,
            "completion_tokens": 3 * count,
        }
    assert json.loads((run.folder / "summary.json").read_text())["costs"] == summary.costs
    server.requests.clear()
    again = annotate(kit, run, changes(server))
    assert again.reused == again.done and not server.requests
    assert again.costs == summary.costs


def test_pictures_are_of_the_nodes_own_segment_small_and_few(kit, run, server):
    annotate(kit, run, changes(server), stages=["segment", "caption"])
    sizes = {max(picture.size) for body in server.requests for picture in pictures(body)}
    assert sizes == {320}
    counts = Counter(len(pictures(body)) for body in server.requests)
    assert set(counts) == {1, 5}
    # What the root is shown is spread over the whole video, what a leaf is shown is not.
    assert len({json.dumps(body["messages"]) for body in server.requests}) > len(counts) * 10


def test_a_change_of_speed_asks_nothing_again_and_a_change_of_model_all(kit, run, server):
    annotate(kit, run, changes(server))
    server.requests.clear()
    annotate(kit, run, changes(server, caption__concurrency=3, refine__timeout=9.0))
    assert not server.requests
    server.models.append("another")
    summary = annotate(kit, run, changes(server, refine__model="another"))
    assert len(server.requests) == requests_wanted(written(run, summary))[1]


def test_texts_that_failed_are_told_and_asked_for_by_the_next_run(kit, run, server):
    refused = {"role": "assistant", "content": None, "refusal": "no"}

    def moody(body: dict[str, Any]) -> Any:
        return (
            refused if zlib.crc32(json.dumps(body["messages"]).encode()) % 5 == 0 else reply(body)
        )

    server.answer = moody
    summary = annotate(kit, run, changes(server))
    assert not summary.failed and summary.unfilled
    missing = sum(
        getattr(s, name) is None
        for tree in written(run, summary)
        for s in tree.segments
        for name in captioning.texts(tree, s)
    )
    told = [stages["caption"] for stages in summary.unfilled.values() if "caption" in stages]
    assert missing == sum(each.texts for each in told) > 0
    assert {each.reason for each in told} == {"the model refuses: no"}
    server.answer = reply
    again = annotate(kit, run, changes(server))
    assert not again.unfilled
    assert all(s.plm_caption for tree in written(run, again) for s in tree.segments)


def test_annotations_that_are_in_doubt_are_counted(kit, run, server):
    bad = json.loads(json.dumps(GOOD))
    bad["action"]["brief"] = "cutting the onion"

    def answer(body: dict[str, Any]) -> Any:
        if pictures(body):
            return reply(body)
        return (
            "no"
            if "This is a draft" in body["messages"][-1]["content"][0]["text"]
            else (json.dumps(bad))
        )

    server.answer = answer
    summary = annotate(kit, run, changes(server))
    refined = {
        tree.video_uid: sum(tree.is_refined(s) for s in tree.segments)
        for tree in written(run, summary)
    }
    assert summary.doubts == {uid: {"rules": n, "rounds": n} for uid, n in refined.items()}


def test_a_server_that_is_gone_fails_each_video_once_and_nothing_is_lost(kit, run, server):
    answered = 0

    def dies(body: dict[str, Any]) -> Any:
        nonlocal answered
        answered += 1
        if answered == 40:
            server.dead = True
        return reply(body)

    server.answer = dies
    changed = changes(server, caption__retries=2, caption__concurrency=4)
    summary = annotate(kit, run, changed, stages=["segment", "caption"])
    reasons = {failure["reason"] for failure in summary.failed.values()}
    assert len(summary.failed) >= 3 and len(reasons) == 1
    assert "does not answer any more" in reasons.pop()
    server.dead, server.answer = False, reply
    before = len(server.requests)
    again = annotate(kit, run, changed)
    assert not again.failed
    captions, refinements = requests_wanted(written(run, again))
    assert before >= 40
    assert len(server.requests) - before <= captions + refinements - 40


@pytest.mark.parametrize("stage", ["caption", "refine"])
def test_a_killed_run_asks_nothing_twice_but_what_was_under_way(
    kit, run, server, repo, stage, tmp_path
):
    under_way = 4
    server.seconds = 0.03
    changed = changes(server, caption__concurrency=under_way, refine__concurrency=under_way)
    paths = [str(path) for _, path in kit.videos]
    command = [sys.executable, "-m", "pipeline", "annotate", *paths, "--preset", "embedded"]
    command += ["--out", str(run.folder), "--json", *as_options(changed)]
    killed = subprocess.Popen(command, cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    has_pictures = stage == "caption"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and killed.poll() is None:
        if sum(bool(pictures(body)) == has_pictures for body in list(server.requests)) >= 30:
            break
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    time.sleep(0.2)  # what was under way ends at the server
    before = len(server.requests)
    again = subprocess.run(command, cwd=repo, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    summary = json.loads(again.stdout)
    trees = [tree for part in summary["parts"] for tree in read_trees(Path(part))]
    wanted = sum(requests_wanted(trees))
    assert before < wanted
    assert wanted <= len(server.requests) <= wanted + under_way
    for tree in trees:
        assert all(s.plm_caption and (s.gpt or not tree.is_refined(s)) for s in tree.segments)


def test_ctrl_c_ends_a_run_that_waits_for_a_server_at_once(kit, run, server, repo):
    server.seconds = 90
    paths = [str(path) for _, path in kit.videos]  # of which some have not begun
    command = [sys.executable, "-m", "pipeline", "annotate", *paths, "--workers", "2"]
    command += ["--preset", "embedded", "--out", str(run.folder), *as_options(changes(server))]
    process = subprocess.Popen(
        command,
        cwd=repo,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and what they start inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not server.requests and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "goes on where this one was" in errors and "Traceback" not in errors


def test_the_key_is_in_no_file_and_no_word_of_a_run(kit, run, server, cli):
    server.refused = [("json_schema", f"the key {KEY} may not refine")]  # errors that repeat it
    paths = [path for _, path in kit.videos]
    changed = as_options(changes(server))
    result = cli("annotate", *paths, "--preset", "embedded", "--out", run.folder, *changed)
    assert result.returncode == 1
    assert "the key *** may not refine" in result.stderr
    assert KEY not in result.stdout + result.stderr
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path
    assert f"Bearer {KEY}" in server.keys


def test_a_run_in_a_child_takes_changes_stages_and_keys(kit, run, server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    videos = [runner.Video(spec.uid, path) for spec, path in kit.videos[:1]]
    stages = ["segment", "caption"]
    steps = child.annotate_in_child(
        videos, "embedded", run.folder, stages, changes(server), {"OPENAI_API_KEY": KEY}
    )
    assert {progress.stage for progress in steps} == set(stages)
    assert server.keys == {f"Bearer {KEY}"}


def test_a_wrong_server_or_model_is_an_error_before_any_work(kit, server, cli, tmp_path):
    def told(**more: Any) -> str:
        changed = as_options(changes(server, **more))
        path = kit.videos[0].path
        result = cli("annotate", path, "--preset", "embedded", "--out", tmp_path / "new", *changed)
        assert result.returncode == 2 and not list((tmp_path / "new").glob("*/*"))
        return result.stderr

    assert "does not serve the model 'nope'; it serves a-model" in told(refine__model="nope")
    nobody = "http://127.0.0.1:9/v1"
    assert f"nothing answers at {nobody}" in told(caption__base_url=nobody)
    server.key = "another"
    assert "refuses the key (401)" in told()


def test_a_run_of_embeddings_alone_asks_no_server(kit, run, server):
    server.key = "another"
    assert not annotate(kit, run, changes(server), stages=["embed", "segment"]).failed


# -- refine: the captions that trees have already ------------------------------------------------


def test_given_captions_are_refined_and_compared_in_one_command(kit_run, server, cli, tmp_path):
    (given,) = kit_run.glob("part-*.parquet")
    options = ["--preset", "embedded", *as_options(changes(server)[-3:])]
    result = cli("refine", given, "--out", tmp_path / "refined", *options)
    assert result.returncode == 0, result.stderr
    assert "Reference  Prediction" in result.stdout and "cut the onion" in result.stdout
    assert "refine has cost" in result.stderr and "of them cached" in result.stderr
    (part,) = (tmp_path / "refined").glob("part-*.parquet")
    before, after = list(read_trees(given)), list(read_trees(part))
    assert [tree.video_uid for tree in after] == [tree.video_uid for tree in before]
    for old, new in zip(before, after, strict=True):
        for a, b in zip(old.segments, new.segments, strict=True):
            assert (a.node_id, a.plm_caption) == (b.node_id, b.plm_caption)
            assert b.gpt == (GOOD if old.is_refined(a) else None)
    asked = len(server.requests)
    one = before[1].video_uid
    result = cli("refine", given, "--out", tmp_path / "refined", *options, "--json", "--video", one)
    summary = json.loads(result.stdout)
    assert summary["reused"] == [one] and len(server.requests) == asked
    assert list(summary["videos"]) == [one]


def test_refine_names_a_video_that_is_not_there(kit_run, server, cli, tmp_path):
    (given,) = kit_run.glob("part-*.parquet")
    options = ["--preset", "embedded", *as_options(changes(server)[-3:]), "--video", "-nope"]
    result = cli("refine", given, "--out", tmp_path / "refined", *options)
    assert result.returncode == 2 and "has no video -nope" in result.stderr


# -- presets -----------------------------------------------------------------------------------


def test_presets_say_what_runs_here_and_why_not(cli, server):
    env = {"HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": ""}
    result = cli("presets", "--json", env=env)
    listed = {p["name"]: p for p in json.loads(result.stdout)["presets"]}
    assert list(listed) == ["api", "embedded", "paper", "single-gpu"]
    assert listed["embedded"]["runs_here"]
    told = " ".join(listed["api"]["obstacles"])
    assert not listed["api"]["runs_here"]
    assert "OPENAI_API_KEY holds no key" in told and "facebook/vjepa2-vitl-fpc64-256" in told
    if shutil.which("nvidia-smi") is None:
        assert "needs a GPU with 79 GiB, and there is none" in " ".join(
            listed["paper"]["obstacles"]
        )
    text = cli("presets", "embedded", env=env).stdout
    assert "here     runs" in text and "measured" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("refine", "is no change; write for example refine.model=NAME"),
        ("mood.model=x", "is no change"),
        ("refine.=x", "is no change"),
        ("refine.model=[", "the value is no YAML"),
        ("refine.backend.x=1", "is a value and has no options"),
    ],
)
def test_a_change_that_is_none_is_named(change, message):
    with pytest.raises(presets.PresetError, match=message):
        presets.load("embedded", [change])


def test_a_preset_that_needs_a_gpu_is_refused_where_there_is_none(tmp_path, kit, run):
    if shutil.which("nvidia-smi"):
        pytest.skip("there may be a GPU")
    path = tmp_path / "big.yaml"
    path.write_text((presets.FOLDER / "embedded.yaml").read_text() + "gpu_memory: 24\n")
    with pytest.raises(presets.PresetError, match=r"needs a GPU with 24 GiB, and there is none"):
        runner.annotate([], presets.load(path), run)
