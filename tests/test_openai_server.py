"""The client and a real server with a real model: what goes over the wire is understood."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.chat import ChatError, Question
from pipeline.chat.answers import parse_json
from pipeline.chat.local import LocalChat
from pipeline.chat.server import ChatServer
from tests.openai_server import Served, serving
from tests.tiny import CHAT_CONTEXT, save_chat_checkpoint

SCHEMA = {
    "type": "object",
    "properties": {
        "summary": {
            "type": "object",
            "properties": {k: {"type": "string", "maxLength": 9} for k in ("brief", "detailed")},
            "required": ["brief", "detailed"],
            "additionalProperties": False,
        },
        "actor": {"type": "string", "maxLength": 9},
    },
    "required": ["summary", "actor"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_chat_checkpoint(tmp_path_factory.mktemp("models") / "tiny-qwen3-vl", "qwen3-vl")


@pytest.fixture(scope="module")
def served(folder) -> Iterator[Served]:
    with serving(folder) as running:
        yield running


@pytest.fixture
def client(served) -> Iterator[ChatServer]:
    asking = ChatServer(served.url, served.model, retries=0)
    yield asking
    asking.unload()


def _pictures(count: int) -> list[bytes]:
    found = []
    for seed in range(count):
        blocks = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
        data = io.BytesIO()
        Image.fromarray(blocks).resize((64, 48), Image.Resampling.NEAREST).save(data, "JPEG")
        found.append(data.getvalue())
    return found


def test_the_server_says_what_it_is(client, folder):
    client.check()
    local = LocalChat("refine", {"model": str(folder), "device": "cpu"})
    assert client.context == local.context == CHAT_CONTEXT
    for text in ("a", "A person cuts an onion — twice."):
        assert client.count(text) == local.count(text)
    with pytest.raises(ChatError, match=r"does not serve the model 'other'; it serves tiny-qwen3"):
        ChatServer(client.base_url, "other").check()


def test_every_answer_with_a_schema_follows_it(client):
    questions = [Question("You refine.", [f"Node {i}. " * i], 200, SCHEMA) for i in range(6)]
    for answer in client.ask(questions):
        assert (answer.finish, answer.error) == ("stop", "")
        assert parse_json(answer.text, SCHEMA) == json.loads(answer.text)
        assert answer.usage.prompt > 0 and answer.usage.completion > 5


def test_it_answers_as_the_model_in_this_process_does(client, folder):
    pictures = _pictures(40)
    questions = [
        Question("You watch.", ["What is it?"], 12),
        Question("You watch.", ["What is it? " * 30], 3),
        Question("You watch.", [pictures[0], "What is it?"], 12),
        Question("You watch.", ["Before", *pictures[:2], "between", pictures[2], "after"], 12),
        Question("You watch.", [*pictures[8:], "What happens?"], 12),
    ]
    local = LocalChat("caption", {"model": str(folder), "device": "cpu"})
    for ours, theirs in zip(local.ask(questions), client.ask(questions), strict=True):
        assert (theirs.text, theirs.finish) == (ours.text, ours.finish)
        assert theirs.usage == ours.usage


def test_every_one_of_32_pictures_is_seen(client):
    pictures, (other,) = _pictures(32), _pictures(33)[32:]
    first = Question("", [*pictures, "What happens?"], 24)
    changed = [
        Question("", [*pictures[:k], other, *pictures[k + 1 :], "What happens?"], 24)
        for k in (0, 15, 31)
    ]
    answers = client.ask([first, *changed])
    assert len({answer.text for answer in answers}) == 4
    assert len({answer.usage.prompt for answer in answers}) == 1


def test_what_is_too_long_is_said_as_such(client):
    short, long = client.ask([Question("", ["a"], 2), Question("", ["word " * 20_000], 2)])
    assert (short.error, long.finish) == ("", "context")
