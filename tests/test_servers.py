"""The backend ``vllm`` with a real vLLM: its build for CPUs, serving a small random Qwen3-VL.

``make test-servers`` runs these. Few servers are started, since each start takes half a minute.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import psutil
import pytest
from PIL import Image
from transformers import AutoTokenizer

from pipeline import presets, prompts, runner
from pipeline.chat import ChatError, Clip, Question, vllm
from pipeline.chat.vllm import VllmChat
from pipeline.parquet import read_trees
from pipeline.store import RunStore
from tests.tiny import save_chat_checkpoint

pytestmark = pytest.mark.servers

CONTEXT = 16_384
OPTIONS = {"backend": "vllm", "context": CONTEXT, "flags": ["--max-num-seqs", "16"]}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-qwen3-vl"
    return save_chat_checkpoint(folder, "qwen3-vl")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def chat(checkpoint: Path, logs: Path) -> Iterator[VllmChat]:
    chat = VllmChat("caption", {**OPTIONS, "model": str(checkpoint)}, logs, 32)
    chat.check()
    yield chat
    chat.unload()


def client(chat: VllmChat, **options: Any) -> Any:
    """Another client of the same server."""
    from pipeline.chat.server import ChatServer

    ours = chat._started()
    return ChatServer(ours.base_url, ours.model, ours._key, **options)


def picture(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def processes() -> list[psutil.Process]:
    """vLLM's, started by this process."""
    return [p for p in psutil.Process().children(recursive=True) if "VLLM" in p.name()]


# -- what is asked and answered ----------------------------------------------------------------


def test_pictures_and_clips_are_seen(chat: VllmChat) -> None:
    frames = [picture(i) for i in range(32)]
    clip = Clip(frames, range(0, 128, 4), 25.0, 128)
    other = Clip(frames[::-1], range(0, 128, 4), 25.0, 128)
    questions = [Question("", (each, prompts.CLIP), 12) for each in (clip, other, *frames[:2])]
    by_files = chat.ask(questions)
    assert not any(answer.error for answer in by_files)
    assert len({answer.text for answer in by_files}) > 1  # what is seen counts
    by_data = client(chat, images="data").ask(questions)
    assert [a.text for a in by_data] == [a.text for a in by_files]
    assert by_data[0].usage.prompt > by_data[2].usage.prompt  # 32 pictures, and one


def test_a_clip_as_a_video_has_its_times(checkpoint: Path, chat: VllmChat, logs: Path) -> None:
    chosen = vllm.settings("caption", {**OPTIONS, "model": str(checkpoint), "clips": "video"})
    words = vllm.command(chosen, vllm.installed(), "127.0.0.1", 1, 32)
    assert "--trust-request-mm-kwargs" in words


def test_an_answer_follows_its_schema(chat: VllmChat) -> None:
    answers = chat.ask([Question("be kind", (f"{i}",), 4000, prompts.SCHEMA) for i in range(4)])
    for answer in answers:
        assert answer.finish == "stop" and not answer.error
        jsonschema.validate(json.loads(answer.text, strict=False), prompts.SCHEMA)


def test_a_prompt_that_begins_alike_comes_out_of_the_cache(chat: VllmChat) -> None:
    chat.ask([Question(prompts.GUIDELINES, ("first",), 4)])
    (second,) = chat.ask([Question(prompts.GUIDELINES, ("second",), 4)])
    assert second.usage.cached > 0.9 * second.usage.prompt


def test_tokens_and_the_context_are_the_models_own(chat: VllmChat, checkpoint: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    for text in ("a cook cuts an onion", prompts.GUIDELINES, "ü 漢字"):
        assert chat.count(text) == len(tokenizer.encode(text, add_special_tokens=False))
    assert chat.context == CONTEXT
    (answer,) = chat.ask([Question("", ("word " * CONTEXT,), 4)])
    assert answer.finish == "context" and str(CONTEXT) in answer.error


def test_the_whole_pipeline_runs_on_it(chat: VllmChat, kit: Any, tmp_path: Path) -> None:
    """Captions and refinement of a real video; the answers are a random model's."""
    ours = chat._started()
    changes = [
        "segment.min_duration=2.5",
        *(
            f"{role}.{key}={value}"
            for role in ("caption", "refine")
            for key, value in (
                ("backend", "openai"),
                ("model", ours.model),
                ("base_url", ours.base_url),
                ("key", "TEST_VLLM_KEY"),
            )
        ),
        *("caption.max_tokens=16", "refine.max_tokens=4000", "refine.rounds=2"),
    ]
    os.environ["TEST_VLLM_KEY"] = ours._key
    try:
        video = runner.Video(kit.videos[0].spec.uid, kit.videos[0].path)
        preset = presets.load("embedded", changes)
        summary = runner.annotate([video], preset, RunStore(tmp_path / "run"))
    finally:
        del os.environ["TEST_VLLM_KEY"]
    assert not summary.failed
    (tree,) = read_trees(Path(summary.parts[0]))
    tree.validate()
    refined = [s for s in tree.segments if tree.is_refined(s)]
    assert len(refined) >= 3
    missing = sum(s.gpt is None for s in refined)
    told = summary.unfilled.get(video.uid, {})
    assert missing == (told["refine"].texts if "refine" in told else 0)
    cost = summary.costs["refine"][video.uid]
    assert cost["cached_tokens"] > 0.5 * cost["prompt_tokens"]


# -- its life ----------------------------------------------------------------------------------


def test_it_listens_here_alone_and_its_key_is_nowhere_to_be_read(
    chat: VllmChat, logs: Path
) -> None:
    key = chat._started()._key
    tree = psutil.Process().children(recursive=True)
    listening = [
        connection.laddr.ip
        for process in tree
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert "127.0.0.1" in listening
    port = int(chat._started().base_url.rsplit(":", 1)[1].split("/")[0])
    assert _bound(tree, port) == {"127.0.0.1"}
    assert not any(key in " ".join(process.cmdline()) for process in tree)
    assert key not in (logs / "vllm-caption.log").read_text(errors="replace")
    with pytest.raises(ChatError, match="refuses the key"):
        client_without_key(chat).check()


def _bound(tree: list[psutil.Process], port: int) -> set[str]:
    return {
        connection.laddr.ip
        for process in tree
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }


def client_without_key(chat: VllmChat) -> Any:
    from pipeline.chat.server import ChatServer

    return ChatServer(chat._started().base_url, chat.name)


def test_one_that_dies_is_started_again_and_all_is_answered(chat: VllmChat) -> None:
    (engine,) = [p for p in processes() if "EngineCore" in p.name()]
    killer = threading.Timer(0.3, engine.kill)
    killer.start()
    answers = chat.ask([Question("", (f"say {i}",), 100) for i in range(48)])
    killer.join()
    assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE
    assert all(answer.text and not answer.error for answer in answers)
    assert max(answer.tries for answer in answers) > 1


def test_unloading_leaves_nothing_behind(chat: VllmChat) -> None:
    """The last one with this server."""
    chat._started()
    left = psutil.Process().children(recursive=True)
    assert [p for p in left if "VLLM" in p.name()]
    chat.unload()
    assert not processes()


def test_a_kill_of_ours_leaves_nothing_behind(checkpoint: Path, tmp_path: Path, repo: Path) -> None:
    script = f"""
import os, psutil, signal
from pathlib import Path
from pipeline.chat import Question
from pipeline.chat.vllm import VllmChat
chat = VllmChat("refine", {{**{OPTIONS!r}, "model": {str(checkpoint)!r}}}, Path({str(tmp_path)!r}))
chat.ask([Question("", ("hello",), 4)])
print(*(p.pid for p in psutil.Process().children(recursive=True)), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": str(repo)}
    command = [sys.executable, "-c", script]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    pids = [int(word) for word in killed.stdout.split()]
    assert len(pids) >= 2
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_serve_says_how_to_point_to_it_and_ends_with_ctrl_c(checkpoint: Path, repo: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "serve", "--preset", "single-gpu"]
    command += ["--role", "refine", "--port", "18765", "--set", f"refine.model={checkpoint}"]
    command += ["--set", f"refine.context={CONTEXT}"]
    process = subprocess.Popen(command, cwd=repo, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        if "clips:" in line:
            break
    assert "vllm.entrypoints.openai.api_server" in told
    assert "ACTION100M_BASE_URL=http://127.0.0.1:18765/v1" in told
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not [p for p in children if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_one_that_cannot_start_says_why_and_where_its_log_is(
    checkpoint: Path, tmp_path: Path
) -> None:
    options = {**OPTIONS, "model": str(checkpoint), "flags": ["--max-num-seqs", "0"]}
    chat = VllmChat("refine", options, tmp_path)
    with pytest.raises(ChatError, match=r"vLLM ended: .*vllm-refine\.log") as error:
        chat.ask([Question("", ("hello",), 4)])
    assert "max_num_seqs" in str(error.value)
    assert not processes()
