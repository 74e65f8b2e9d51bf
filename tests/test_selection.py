"""Which videos: the conditions on files of known content and on real ones, and what they read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.parquet import open_parquet, read_trees, write_trees
from pipeline.selection import Selection
from pipeline.tree import Tree


def _node(brief: str | None) -> dict:
    gpt = None if brief is None else {"summary": None, "action": {"brief": brief}}
    return {"node_id": "n", "level": 0, "start": 0.0, "end": 9.0, "gpt": gpt}


def _video(uid: str, *briefs: str | None, **metadata: object) -> Tree:
    return Tree.from_dict(
        {"video_uid": uid, "metadata": metadata or None, "nodes": [_node(b) for b in briefs]}
    )


VIDEOS = (
    _video("bare"),
    _video("short", "Cut", title="Cut an ONION", description="fast", duration=20),
    _video("long", "Cut", "cut", "N/A", None, "Fry", title="Fry it", duration=400),
    _video(
        "talk",
        title=None,
        description="How to fry an onion",
        duration=90,
        transcript=[{"time": "1.0", "text": "hello"}],
    ),
    _video("mute", transcript=[], duration=None),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_trees(tmp_path / "part.parquet", VIDEOS)
    return tmp_path / "part.parquet"


def _uids(path: Path, **conditions: object) -> list[str]:
    with open_parquet(path) as file:
        return list(Selection(**conditions).uids(file))


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, ["bare", "short", "long", "talk", "mute"]),
        ({"min_duration": 90}, ["long", "talk"]),
        ({"max_duration": 90}, ["short", "talk"]),
        ({"min_duration": 21, "max_duration": 399.5}, ["talk"]),
        ({"query": "onion"}, ["short", "talk"]),
        ({"query": "Onion FRY"}, ["talk"]),
        ({"query": "leek"}, []),
        ({"has_transcript": True}, ["talk"]),
        ({"min_actions": 1}, ["short", "long"]),
        ({"min_actions": 2}, ["long"]),
        ({"min_actions": 3}, []),
        ({"min_actions": 1, "query": "fry"}, ["long"]),
    ],
)
def test_videos_that_fit_are_found_in_the_order_of_the_file(file, conditions, expected):
    assert _uids(file, **conditions) == expected


def test_conditions_on_real_videos_agree_with_their_trees(real_trees):
    trees = list(read_trees(real_trees))
    for limit in (180, 200, 250):
        expected = [t.video_uid for t in trees if t.metadata["duration"] >= limit]
        assert _uids(real_trees, min_duration=limit) == expected
    counts = {
        tree.video_uid: len(
            {s.text("action", "brief").casefold() for s in tree.segments if s.gpt} - {"n/a"}
        )
        for tree in trees
    }
    for limit in sorted(set(counts.values())):
        assert _uids(real_trees, min_actions=limit) == [u for u, n in counts.items() if n >= limit]
    assert _uids(real_trees, has_transcript=True) == [
        tree.video_uid for tree in trees if tree.metadata["transcript"]
    ]


def test_the_command_takes_conditions_and_shuffles_the_same_way_for_a_seed(repo, file, tmp_path):
    def extract(*arguments: object) -> tuple[int, list[str], str]:
        script = repo / "download_scripts" / "extract_video_ids.py"
        call = [sys.executable, script, "--data", file, "--out", "ids.txt", *arguments]
        done = subprocess.run(list(map(str, call)), cwd=tmp_path, capture_output=True, text=True)
        out = tmp_path / "ids.txt"
        return done.returncode, out.read_text().split() if out.exists() else [], done.stderr

    uids = [f"video_{i:05}" for i in range(50)]
    write_trees(file, [_video(u, title="x", duration=i) for i, u in enumerate(uids)])
    assert extract("--min-duration", 40, "--query", "X")[1] == uids[40:]
    shuffled = extract("--shuffle", 7, "--limit", 20)[1]
    assert extract("--shuffle", 7, "--limit", 20)[1] == shuffled
    assert shuffled != sorted(shuffled) and set(shuffled) < set(uids)
    assert extract("--shuffle", 8, "--limit", 20)[1] != shuffled
    status, kept, said = extract("--query", "leek")
    assert (status, len(kept)) == (1, 20)  # the earlier list stays
    assert "there are no video ids that fit" in said
    status, _, said = extract("--min-duration", "soon")
    assert status == 2
    assert "invalid number of seconds (0 or more) value: 'soon'" in said
    assert "Traceback" not in said
