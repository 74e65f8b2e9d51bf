"""A real vLLM, its build for CPUs, with a tiny model: ``make test-servers`` runs these.

A server takes half a minute to start, so the tests share one, in the order in which they stand.
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image
from tokenizers import Tokenizer

from pipeline import presets, prompts, runner
from pipeline.chat import Answer, ChatError, Clip, Question
from pipeline.chat.answers import parse_json
from pipeline.chat.server import ChatServer
from pipeline.chat.vllm import VllmChat
from pipeline.parquet import read_trees
from pipeline.store import RunStore
from tests.tiny import save_chat_checkpoint

pytestmark = pytest.mark.servers

CONTEXT = 16_384
FLAGS = ["--max-num-seqs", "16", "--distributed-executor-backend", "uni"]
SCHEMA = {
    "type": "object",
    "properties": {
        "caption": {"type": "string", "minLength": 1, "maxLength": 60},
        "sure": {"enum": ["yes", "no"]},
    },
    "required": ["caption", "sure"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_chat_checkpoint(tmp_path_factory.mktemp("model"), "qwen3-vl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Of the run, where the log is."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def chat(model, folder) -> Iterator[VllmChat]:
    """The server that the tests share."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    config = {"model": str(model), "context": CONTEXT, "clips": "video"}
    chat = VllmChat("caption", {**config, "flags": FLAGS}, folder, pictures=32)
    chat.check()
    yield chat
    chat.unload()


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """32 JPEGs, no two alike."""
    made = []
    for seed in range(32):
        pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG")
        made.append(file.getvalue())
    return made


def client(chat: VllmChat, **options: Any) -> ChatServer:
    """Another client of the same server."""
    own = chat._started()
    return ChatServer(own.base_url, own.model, own._key, **options)


def processes(model: Path) -> dict[str, psutil.Process]:
    """What runs for this model, by its part: guard, server, and what the server has started."""
    found: dict[str, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if str(model) not in words or "serve" in words:
                continue
            if any(word.endswith("guard.py") for word in words):
                found["guard"] = process
                for each in process.children(recursive=True):
                    name = each.name() if each.name().startswith("VLLM") else each.cmdline()[-1]
                    is_server = str(model) in each.cmdline()
                    found["server" if is_server else name] = each
    return found


def engine(found: dict[str, psutil.Process]) -> psutil.Process:
    return next(process for name, process in found.items() if name.startswith("VLLM::EngineCor"))


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """What the condition gives as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
    return value


def assert_gone(found: dict[str, psutil.Process], seconds: float = 30) -> None:
    _, left = psutil.wait_procs(list(found.values()), timeout=seconds)
    assert left == []


# -- asking ------------------------------------------------------------------------------------


def test_what_it_takes_is_asked_of_the_server(chat, model):
    assert chat.context == CONTEXT
    text = "The person in the kitchen stirs the soup, adds 3 onions and tastes it: très bon."
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    assert chat.count(text) == len(tokenizer.encode(text, add_special_tokens=False).ids)


def test_text_and_32_pictures_are_seen_and_the_answer_follows_its_schema(chat, pictures):
    many, one, none = chat.ask(
        Question("Be brief.", (*pictures[:count], "What is to be seen?"), 256, SCHEMA)
        for count in (32, 1, 0)
    )
    for answer in (many, one, none):
        assert answer.error == "" and answer.finish == "stop"
        assert parse_json(answer.text, SCHEMA)["sure"] in ("yes", "no")
    each = one.usage.prompt - none.usage.prompt
    assert each > 4
    assert many.usage.prompt == none.usage.prompt + 32 * each


def test_a_video_is_seen_with_its_times(chat, pictures):
    # A later time has more digits, and each is a token of the prompt.
    clips = [Clip(pictures, [step * i for i in range(32)], 30.0, 32 * step) for step in (1, 900)]
    early, late = chat.ask(Question("", (clip, "What happens?"), 8) for clip in clips)
    assert early.error == late.error == ""
    assert late.usage.prompt > early.usage.prompt + 16


def test_pictures_as_files_and_in_the_request_are_the_same_to_it(chat, pictures):
    question = Question("", (*pictures[:3], "What is to be seen?"), 16)
    (from_files,) = chat.ask([question])
    data = client(chat, images="data")
    (from_data,) = data.ask([question])
    data.unload()
    assert from_data.text == from_files.text != ""
    assert from_data.usage.prompt == from_files.usage.prompt


def test_a_prefix_that_was_there_before_comes_out_of_the_cache(chat):
    questions = [Question(prompts.GUIDELINES, (f"Question {i}.",), 4) for i in range(2)]
    (first,), (second,) = (chat.ask([question]) for question in questions)
    assert first.usage.cached < 0.2 * first.usage.prompt
    assert second.usage.cached > 0.8 * second.usage.prompt


def test_many_questions_of_several_threads_are_answered_in_their_order(chat):
    def ask(thread: int) -> list[Answer]:
        # Answers of different lengths come in another order.
        return chat.ask(Question("", (f"{thread} {i}",), 1 + (i * 7) % 16) for i in range(24))

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(ask, range(4)))
    for answers in results:
        for i, answer in enumerate(answers):
            assert answer.error == ""
            assert 1 <= answer.usage.completion <= 1 + (i * 7) % 16


def test_a_question_that_is_too_long_is_told_as_such(chat):
    (answer,) = chat.ask([Question("", ("word " * CONTEXT,), 16)])
    assert answer.finish == "context" and answer.error


def test_the_whole_pipeline_runs_on_it(chat, kit, tmp_path, monkeypatch):
    """Captions and refinement of a real video; the answers are a random model's."""
    ours = chat._started()
    monkeypatch.setenv("TEST_VLLM_KEY", ours._key)
    server = {
        "backend": "openai",
        "model": ours.model,
        "base_url": ours.base_url,
        "key": "TEST_VLLM_KEY",
    }
    changes = [f"{role}.{k}={v}" for role in ("caption", "refine") for k, v in server.items()]
    changes += ["segment.min_duration=3", "caption.max_tokens=16"]
    changes += ["refine.max_tokens=4000", "refine.rounds=2"]
    video = runner.Video(kit.videos[0][0].uid, kit.videos[0][1])
    preset = presets.load("embedded", changes)
    summary = runner.annotate([video], preset, RunStore(tmp_path / "run"))
    assert not summary.failed
    (tree,) = read_trees(Path(summary.parts[0]))
    tree.validate()
    refined = [segment for segment in tree.segments if tree.is_refined(segment)]
    assert len(refined) >= 3
    missing = sum(segment.gpt is None for segment in refined)
    told = summary.unfilled.get(video.uid, {})
    assert missing == (told["refine"].texts if "refine" in told else 0)
    cost = summary.costs["refine"][video.uid]
    assert cost["cached_tokens"] > 0.5 * cost["prompt_tokens"]


def test_it_listens_on_this_machine_alone(chat, model):
    port = int(re.search(r":(\d+)/", chat._started().base_url)[1])
    bound = {
        connection.laddr.ip
        for process in processes(model).values()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    assert bound == {"127.0.0.1"}


def test_its_key_is_asked_for_and_stands_nowhere(chat, model, folder):
    key = chat._started()._key
    stranger = ChatServer(chat._started().base_url, str(model), "a-guess")
    with pytest.raises(ChatError, match="refuses the key"):
        stranger.check()
    client(chat).check()
    assert key not in (folder / "vllm-caption.log").read_text()
    for process in processes(model).values():
        assert key not in Path(f"/proc/{process.pid}/cmdline").read_text()


# -- dying -------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["server", "engine"])
def test_one_that_is_killed_is_started_again_and_all_is_answered(chat, model, part):
    chat.ask([Question("", ("Are you there?",), 4)])
    before = processes(model)
    killed = []

    def kill(*_: Any) -> None:
        if not killed:
            killed.append(before["server"] if part == "server" else engine(before))
            killed[0].send_signal(signal.SIGKILL)

    answers = chat.ask((Question("", (f"Count to {i}.",), 64) for i in range(120)), kill)
    assert [answer.error for answer in answers] == [""] * 120
    assert max(answer.tries for answer in answers) > 1
    assert_gone(before)
    assert processes(model)["server"].pid != before["server"].pid


def test_unload_stops_it_and_what_is_asked_then_ends(chat, model):
    found = processes(model)
    assert {"guard", "server"} < set(found) and engine(found)
    ended: list[BaseException] = []

    def ask() -> None:
        try:
            chat.ask(Question("", (f"Count to {i}.",), 512) for i in range(200))
        except ChatError as error:
            ended.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(1)
    chat.unload()
    asking.join(30)
    assert "stopped" in str(ended[0])
    assert_gone(found, seconds=5)


PROGRAM = """
import sys
from pathlib import Path
from pipeline.chat import Question
from pipeline.chat.vllm import VllmChat
VllmChat("refine", {"model": sys.argv[1]}, Path(sys.argv[2])).ask([Question("", ("Who?",), 4)])
"""


def test_nothing_is_left_when_the_process_that_started_it_is_killed(repo, model, tmp_path):
    variables = {**os.environ, "PYTHONPATH": str(repo)}
    words = [sys.executable, "-c", PROGRAM, str(model), str(tmp_path)]
    process = subprocess.Popen(words, env=variables)

    def with_engine() -> dict[str, psutil.Process]:
        found = processes(model)
        return found if any(name.startswith("VLLM::") for name in found) else {}

    # While it starts it does not listen to requests to end.
    found = wait_for(with_engine)
    process.kill()
    process.wait()
    assert_gone(found)


# -- what does not work ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"flags": ["--no-such-flag"]}, "unrecognized arguments: --no-such-flag"),
        ({"context": 99_999}, "max_model_len (99999) is greater than"),
    ],
)
def test_why_it_does_not_start_is_told_in_one_sentence(model, tmp_path, options, reason):
    chat = VllmChat("refine", {"model": str(model), **options}, tmp_path)
    with pytest.raises(ChatError) as told:
        chat.ask([Question("", ("Who?",), 4)])
    chat.unload()
    (sentence,) = str(told.value).splitlines()
    assert sentence.startswith("refine: vLLM cannot serve")
    assert reason in sentence
    assert sentence.endswith(f"its log is {tmp_path / 'vllm-refine.log'}")


# -- serve -------------------------------------------------------------------------------------


def test_serve_says_how_to_point_to_it_and_ends_with_ctrl_c(repo, model, tmp_path):
    preset = tmp_path / "mine.yaml"
    filled = {"backend": "vllm", "model": str(model), "frames": 4, "context": CONTEXT}
    roles = {"embed": {"backend": "measured"}, "segment": {}, "refine": {"backend": "extractive"}}
    preset.write_text(yaml.safe_dump({**roles, "caption": filled}))
    words = ["serve", "--preset", preset, "--role", "caption", "--port", "8437"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *words],
        env={**os.environ, "PYTHONPATH": str(repo), "VLLM_API_KEY": "a-key-of-mine"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell's background jobs ignore Ctrl-C, and what they start inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "clips:" in line:
            break
    found = processes(model)
    command, told = re.search(r"^vllm.*?: (.*)$", said, re.MULTILINE), said.split("ready.")[1]
    assert command and "--limit-mm-per-prompt" in command[1] and str(model) in command[1]
    assert "ACTION100M_BASE_URL=http://127.0.0.1:8437/v1" in told
    role = yaml.safe_load(told.split("in a preset:")[1])["caption"]
    assert (role["backend"], role["model"]) == ("openai", str(model))
    server = ChatServer(role["base_url"], role["model"], "a-key-of-mine", clips=role["clips"])
    assert server.context == CONTEXT
    (answer,) = server.ask([Question("", ("Who?",), 4)])
    server.unload()
    assert answer.error == ""
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    rest = process.stdout.read()
    assert process.wait(60) == 130, rest
    assert found
    assert_gone(found, seconds=5)
