"""The whole of captioning and refinement with a real model behind a server that misbehaves.

A server process serves a small random Qwen3-VL by OpenAI's protocol; a proxy in front of it spoils
a share of the answers. What the model says makes no sense; that it goes where it belongs does.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pipeline import captioning, presets, prompts, refinement, runner
from pipeline.parquet import read_trees
from pipeline.store import RunStore
from tests.openai_server import Served, serving
from tests.proxy import FAULTS, Proxy, spoiling
from tests.tiny import save_chat_checkpoint


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("models") / "tiny-qwen3-vl"
    with serving(save_chat_checkpoint(folder, "qwen3-vl")) as served:
        yield served


def annotate(kit: Any, run: RunStore, proxy: Proxy, model: str) -> runner.Summary:
    options = {
        "segment.min_duration": 3,
        "caption.backend": "openai",
        "caption.frames": 4,
        "caption.max_tokens": 12,
        "caption.size": 96,
        "refine.backend": "openai",
        "refine.max_tokens": 1500,
        "refine.rounds": 2,
    }
    for role in ("caption", "refine"):
        options |= {f"{role}.model": model, f"{role}.base_url": proxy.url, f"{role}.timeout": 2.5}
        options |= {f"{role}.key": "", f"{role}.concurrency": 4}
    preset = presets.load("embedded", [f"{k}={v}" for k, v in options.items()])
    videos = [runner.Video(spec.uid, path) for spec, path in kit.videos[:3]]
    return runner.annotate(videos, preset, run)


def test_a_fifth_of_the_answers_spoilt_and_every_node_is_filled_or_says_why(
    kit: Any, kit_run: Path, tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.chat.server._FIRST_WAIT", 0.05)
    shutil.copytree(kit_run, tmp_path / "run")
    run = RunStore(tmp_path / "run")
    with spoiling(served.url, share=0.2) as proxy:
        summary = annotate(kit, run, proxy, served.model)
    assert not summary.failed
    assert sum(proxy.seen.values()) > 100
    assert {*FAULTS, ""} == {*proxy.seen}  # each of them has come
    assert 0.1 < 1 - proxy.seen[""] / sum(proxy.seen.values()) < 0.3

    described = refined = 0
    for tree in (tree for part in summary.parts for tree in read_trees(Path(part))):
        if tree.video_uid not in summary.done:
            continue
        tree.validate()
        folder = run.video(tree.video_uid).path
        (captions,) = folder.glob("captions-*.jsonl")
        (annotations,) = folder.glob("annotations-*.jsonl")
        _, failed = captioning.filled(map(json.loads, captions.read_text().splitlines()))
        results = refinement.refined(list(map(json.loads, annotations.read_text().splitlines())))
        told = summary.unfilled.get(tree.video_uid, {})
        missing = {"caption": 0, "refine": 0}
        for s in tree.segments:
            for name in captioning.texts(tree, s):
                if getattr(s, name) is None:
                    missing["caption"] += 1
                    assert failed[s.node_id, name]
                else:
                    described += 1
            if not tree.is_refined(s):
                assert s.gpt is None
            elif s.gpt is None:
                missing["refine"] += 1
                assert results[s.node_id].why
            else:
                refined += 1
                jsonschema.validate(s.gpt, prompts.SCHEMA)
        assert missing == {stage: told[stage].texts if stage in told else 0 for stage in missing}
    assert described > 20 and refined >= 4

    # What is missing is asked for again, and nothing else; this time nothing is spoilt.
    before = sum(each.texts for stages in summary.unfilled.values() for each in stages.values())
    with spoiling(served.url, share=0.0) as proxy:
        again = annotate(kit, run, proxy, served.model)
    after = sum(each.texts for stages in again.unfilled.values() for each in stages.values())
    assert after <= before
    assert sum(proxy.seen.values()) <= 4 * before + 4
