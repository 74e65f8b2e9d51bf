"""The benchmarks' own numbers, and that they run where much is missing."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import pytest

from benchmarks import bench_chat, bench_embed, bench_parse
from benchmarks.timing import side_by_side
from pipeline.chat import Question


def test_operations_of_a_window_are_those_of_the_matrix_products():
    config = SimpleNamespace(**bench_embed.VIT_G_384, in_chans=3)
    attention = 40 * 4 * 18432**2 * 1408
    assert attention == pytest.approx(76.5e12, rel=0.01)
    assert bench_embed.operations(config, 64) - attention == pytest.approx(37.3e12, rel=0.01)


def test_ways_are_compared_with_the_first():
    rows = side_by_side({"short": lambda: sum(range(1000)), "long": lambda: sum(range(10**6))}, 2)
    assert rows[0].ratio == 1
    assert rows[1].ratio == rows[1].seconds / rows[0].seconds > 1


@pytest.mark.slow
def test_embedding_is_measured_with_torch_transformers_and_numpy_alone(repo):
    program = (
        "import runpy, sys\n"
        "for name in 'av cv2 fiftyone pyarrow sklearn scipy pandas'.split():\n"
        "    sys.modules[name] = None\n"
        "sys.argv = ['benchmarks', 'embed', '--json']\n"
        "runpy.run_module('benchmarks', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repo,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # several would wait for other work's
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout, done.stderr
    rows = json.loads(done.stdout)["embed"]
    assert rows[0]["ratio"] == 1
    peers = next(row for row in rows if row["what"].startswith("peers"))
    assert peers["more"]["difference"] < 1e-2
    assert not [row for row in rows if "file" in row["what"]]


@pytest.mark.fiftyone
@pytest.mark.slow
def test_parsing_is_measured_and_leaves_nothing_behind(fo, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = fo.list_datasets()
    rows = bench_parse.run(sizes=(30, 60), wanted=3)
    ways = list(bench_parse.WAYS) if importlib.util.find_spec("datasets") else ["parse_to"]
    assert len(rows) == 2 * len(ways)
    for row in rows[:: len(ways)]:
        assert row.ratio == 1 and "parse_to_fiftyone.py" in row.what
    assert all(row.seconds > 0 and row.more["peak MB"] > 100 for row in rows)
    assert fo.list_datasets() == before
    assert list(tmp_path.iterdir()) == []


def test_without_vllm_the_chat_benchmark_says_so_and_is_empty(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("VLLM_PYTHON", str(tmp_path / "no-python"))
    assert bench_chat.run() == []
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "has no vLLM" in sentence and "`make vllm`" in sentence


def test_the_order_that_is_compared_with_asks_for_the_same():
    question = Question("the rules", ("of the video\n\n<segment>of the node",), 7, {"a": 1})
    turned = bench_chat._own_first(question)
    (text,) = turned.parts
    assert text.index("of the node") < text.index("of the video") < text.index("the rules")
    assert (turned.system, turned.max_tokens, turned.schema) == ("", 7, {"a": 1})
