"""The chat client against a server on this machine that speaks the protocol and has its faults.

The server answers by rule, without a model: what is tested is what goes over the wire.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pipeline.chat import Answer, ChatError, Clip, Question, Usage
from pipeline.chat.answers import parse_json
from pipeline.chat.server import ChatServer, load_server
from pipeline.presets import PresetError
from tests.scripted import MODEL, Script, scripted


@pytest.fixture
def server() -> Iterator[Script]:
    with scripted() as script:
        yield script


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.chat.server._FIRST_WAIT", 0.05)  # of a second


def questions(count: int) -> list[Question]:
    return [Question("be kind", (f"number {i}",)) for i in range(count)]


def test_answers_come_in_the_order_of_the_questions(server: Script) -> None:
    seen: dict[int, Answer] = {}
    answers = ChatServer(server.url, MODEL).ask(questions(40), seen.__setitem__)
    assert [a.text for a in answers] == [f"you said number {i}" for i in range(40)]
    assert [seen[i] for i in range(40)] == answers
    assert answers[0].usage == Usage(prompt=7, cached=5, completion=3)
    assert (answers[0].finish, answers[0].tries, answers[0].error) == ("stop", 1, "")


def test_what_is_sent_is_what_was_asked(server: Script) -> None:
    schema = {"type": "object", "properties": {"brief": {"type": "string"}}}
    question = Question("be kind", ("look", b"\xff\xd8jpeg", "and say"), 77, schema)
    ChatServer(server.url, MODEL, "the-key").ask([question])
    (request,) = server.requests
    assert request["model"] == MODEL
    assert (request["max_tokens"], request["temperature"]) == (77, 0.0)
    system, user = request["messages"]
    assert system == {"role": "system", "content": "be kind"}
    assert [part["type"] for part in user["content"]] == ["text", "image_url", "text"]
    assert user["content"][1]["image_url"]["url"] == "data:image/jpeg;base64,/9hqcGVn"
    assert request["response_format"]["json_schema"]["schema"] == schema
    assert server.keys == {"Bearer the-key"}


@pytest.mark.parametrize("fault", [429, 500, 502, 503, 408, "cut", "page", (503, "0.3")])
def test_a_fault_that_passes_is_tried_again(server: Script, fault: Any) -> None:
    server.faults += [fault, fault]
    began = time.monotonic()
    (answer,) = ChatServer(server.url, MODEL).ask(questions(1))
    assert (answer.text, answer.tries) == ("you said number 0", 3)
    if isinstance(fault, tuple):
        assert time.monotonic() - began > 0.6


def test_a_stall_is_given_up_and_tried_again(server: Script) -> None:
    server.faults.append("stall")
    (answer,) = ChatServer(server.url, MODEL, timeout=0.5).ask(questions(1))
    assert (answer.text, answer.tries) == ("you said number 0", 2)


def test_one_question_that_fails_leaves_the_others_alone(server: Script) -> None:
    server.faults += [400]
    answers = ChatServer(server.url, MODEL, concurrency=1).ask(questions(3))
    assert [bool(a.error) for a in answers] == [True, False, False]
    assert "status 400" in answers[0].error and answers[0].tries == 1


def test_faults_without_end_end_with_a_reason(server: Script) -> None:
    server.faults += [500] * 99
    (answer,) = ChatServer(server.url, MODEL, retries=2).ask(questions(1))
    assert (answer.tries, answer.text) == (3, "")
    assert "status 500" in answer.error


def test_a_refusal_is_an_error_of_its_question(server: Script) -> None:
    server.faults.append({"role": "assistant", "content": None, "refusal": "I would rather not"})
    (answer,) = ChatServer(server.url, MODEL).ask(questions(1))
    assert answer.error == "the model refuses: I would rather not"


def test_questions_go_side_by_side_but_not_more_than_the_server_takes(server: Script) -> None:
    server.seconds, server.most = 0.1, 6
    began = time.monotonic()
    answers = ChatServer(server.url, MODEL, concurrency=32).ask(questions(60))
    assert all(answer.text for answer in answers)
    assert time.monotonic() - began < 60 * 0.1 / 2  # one after the other would take 6 s
    retried = sum(answer.tries - 1 for answer in answers)
    assert 0 < retried < 30  # it came to the limit, and stayed near it


def test_no_more_questions_are_made_than_can_be_sent(server: Script) -> None:
    server.seconds = 0.02
    made, answered = [], []

    def each() -> Iterator[Question]:
        for question in questions(40):
            made.append(question)
            assert len(made) - len(answered) <= 5
            yield question

    ChatServer(server.url, MODEL, concurrency=4).ask(each(), lambda i, a: answered.append(i))
    assert len(answered) == 40 and server.busiest <= 4


def test_unloading_ends_the_asking_and_keeps_what_was_answered(server: Script) -> None:
    server.seconds = 0.05
    answered: list[str] = []
    chat = ChatServer(server.url, MODEL, concurrency=2)

    def on_answer(index: int, answer: Answer) -> None:
        answered.append(answer.text)
        if len(answered) == 4:
            threading.Thread(target=chat.unload).start()

    with pytest.raises(ChatError, match="stopped"):
        chat.ask(questions(50), on_answer)
    assert 4 <= len(answered) <= 8
    assert len(server.requests) <= 10
    (again,) = chat.ask(questions(1))  # it can be asked again
    assert again.text == "you said number 0"


def test_threads_share_one_limit(server: Script) -> None:
    server.seconds = 0.05
    chat = ChatServer(server.url, MODEL, concurrency=3)
    with ThreadPoolExecutor(4) as pool:
        for answers in pool.map(chat.ask, [questions(8)] * 4):
            assert [a.text for a in answers] == [f"you said number {i}" for i in range(8)]
    assert server.busiest <= 3


def test_a_server_that_is_gone_ends_the_asking_with_what_to_do(server: Script) -> None:
    chat = ChatServer("http://127.0.0.1:9/v1", MODEL, retries=1)
    for _ in range(2):  # the second one at once
        with pytest.raises(ChatError, match=r"does not answer any more .* start the server again"):
            chat.ask(questions(5))


def test_what_makes_a_server_come_back_is_called_when_nothing_answers(server: Script) -> None:
    calls: list[str] = []
    chat = ChatServer("http://127.0.0.1:9/v1", MODEL, None, lambda: calls.append("revived"))
    chat._retries = 2
    with pytest.raises(ChatError):
        chat.ask(questions(1))
    assert len(calls) == 3


SCHEMA = {
    "type": "object",
    "properties": {"brief": {"type": "string", "maxLength": 9}},
    "required": ["brief"],
    "additionalProperties": False,
}


def test_what_a_server_does_not_understand_is_left_out_from_then_on(server: Script) -> None:
    server.refused = [
        ("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        ("temperature", "Unsupported value: 'temperature' does not support 0.0 with this model."),
        ("maxLength", "Invalid schema for response_format 'answer': 'maxLength' is not permitted."),
    ]
    chat = ChatServer(server.url, MODEL)
    for answer in chat.ask([Question("", ("a",), 5, SCHEMA)] * 12):
        assert answer.text == "you said a"
    before = len(server.requests)
    chat.ask([Question("", ("a",), 5, SCHEMA)])
    (last,) = server.requests[before:]
    assert last["max_completion_tokens"] == 5
    assert not {"max_tokens", "temperature"} & last.keys()
    sent = last["response_format"]["json_schema"]["schema"]
    assert sent["properties"] == {"brief": {"type": "string"}} and sent["required"] == ["brief"]
    server.refused.append(("response_format", "response_format is not supported by this server"))
    (answer,) = chat.ask([Question("", ("a",), 5, SCHEMA)])
    assert answer.text == "you said a" and "response_format" not in server.requests[-1]


def test_a_question_that_is_too_long_says_so(server: Script) -> None:
    server.refused = [("max_tokens", "This model's maximum context length is 10 tokens.")]
    (answer,) = ChatServer(server.url, MODEL).ask(questions(1))
    assert (answer.finish, answer.tries) == ("context", 1)
    assert "10 tokens" in answer.error


def test_a_clip_goes_frame_by_frame_or_as_one_video_with_its_times(server: Script) -> None:
    clip = Clip((b"\xff\xd8a", b"\xff\xd8b"), (0, 40), 25.0, 80)
    for clips in ("images", "video"):
        ChatServer(server.url, MODEL, clips=clips).ask([Question("", (clip, "say"))])
    single, video = server.requests
    kinds = [part["type"] for part in single["messages"][-1]["content"]]
    assert kinds == ["image_url", "image_url", "text"]
    part = video["messages"][-1]["content"][0]
    assert part["video_url"]["url"] == "data:video/jpeg;base64,/9hh,/9hi"
    timing = {"num_frames": 2, "fps": 25.0, "frames_indices": [0, 40], "total_num_frames": 80}
    assert video["media_io_kwargs"] == {"video": timing}


def test_pictures_for_a_server_on_this_machine_are_files_each_written_once(server: Script) -> None:
    contents = set()

    def read(body: dict[str, Any]) -> str:
        for part in body["messages"][-1]["content"]:
            contents.add(Path(urlsplit(part["image_url"]["url"]).path).read_bytes())
        return "seen"

    server.answer = read
    chat = ChatServer(server.url, MODEL, images="file")
    chat.ask([Question("", (b"\xff\xd8a", b"\x89PNGb")), Question("", (b"\xff\xd8a",))])
    urls = [p["image_url"]["url"] for r in server.requests for p in r["messages"][-1]["content"]]
    assert sorted(Path(urlsplit(url).path).suffix for url in urls) == [".jpeg", ".jpeg", ".png"]
    assert len(set(urls)) == 2 and all(url.startswith("file:///") for url in urls)
    assert contents == {b"\xff\xd8a", b"\x89PNGb"}
    assert not any(Path(urlsplit(url).path).exists() for url in urls)  # they are gone afterwards


def test_tokens_are_the_servers_or_a_guess_on_the_safe_side(server: Script) -> None:
    guess = ChatServer(server.url, MODEL)
    assert guess.count("twelve chars") == 4
    assert guess.context == 32_768
    server.counts = True
    told = ChatServer(server.url, MODEL)
    assert told.count("two words") == 2
    assert told.context == 4096
    assert ChatServer(server.url, MODEL, context=77).context == 77


def test_a_servers_words_never_show_the_key(server: Script) -> None:
    server.refused = [("max_tokens", "your key sk-secret is not entitled")]
    (answer,) = ChatServer(server.url, MODEL, "sk-secret").ask(questions(1))
    assert "sk-secret" not in answer.error and "***" in answer.error


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "refine: model is missing"),
        ({"model": "m", "base_url": "localhost:8000"}, "is no address; write http://"),
        ({"model": "m", "base_url": "http://me:pw@127.0.0.1/v1"}, "holds a user or password"),
        ({"model": "m", "concurrency": 0}, "concurrency must not be 0"),
        ({"model": "m", "key": ""}, "holds no key for https://api.openai.com/v1"),
        ({"model": "m", "nonsense": 1}, "unknown option"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], message: str
) -> None:
    for name in ("ACTION100M_BASE_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PresetError, match=re.escape(message)):
        load_server("refine", {"backend": "openai", **config})


def test_the_environment_names_the_server_and_holds_the_key(
    server: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTION100M_BASE_URL", server.url)
    monkeypatch.setenv("MY_KEY", "k")
    chat = load_server("refine", {"backend": "openai", "model": MODEL, "key": "MY_KEY"})
    chat.ask(questions(1))
    assert server.keys == {"Bearer k"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "another"}, r"refuses the key \(401\); check the key"),
        ({"models": ["x", "y"]}, "does not serve the model 'a-model'; it serves x, y"),
        ({"url": "http://127.0.0.1:9/v1"}, "nothing answers at http://127.0.0.1:9/v1; start"),
    ],
)
def test_a_server_that_cannot_be_used_is_one_sentence(
    server: Script, change: dict[str, Any], message: str
) -> None:
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(ChatError, match=message) as caught:
        ChatServer(server.url, MODEL, "secret-key").check()
    assert "secret-key" not in str(caught.value)


def test_a_wrong_key_ends_all_at_once(server: Script) -> None:
    server.key = "another"
    with pytest.raises(ChatError, match="refuses the key"):
        ChatServer(server.url, MODEL, "secret-key").ask(questions(20))


def test_a_server_that_is_there_passes_the_check(server: Script) -> None:
    ChatServer(server.url, MODEL).check()


SCHEMA = {
    "type": "object",
    "properties": {"brief": {"type": "string"}},
    "required": ["brief"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "text",
    [
        '{"brief": "cut"}',
        'Sure! Here it is:\n```json\n{"brief": "cut"}\n```\nAnything else?',
        '<think>{"brief": "draft"} or {x}?</think>{"brief": "cut"}',
        'It was {"brief": "draft"}, but {"brief": "cut"} is better. {"other": 1}',
    ],
)
def test_the_last_object_that_follows_the_schema_counts(text: str) -> None:
    assert parse_json(text, SCHEMA) == {"brief": "cut"}


def test_nested_objects_and_raw_line_breaks_are_read() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "object"}}}
    assert parse_json('x {"a": {"b": {"c": "1\n2"}}} y', schema) == {"a": {"b": {"c": "1\n2"}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no JSON object in it"),
        ("I cannot help with that.", "there is no JSON object in it"),
        ('{"brief": "cu', "it is no JSON"),
        ('{"brief": 3}', "it breaks the schema: 3 is not of type 'string'"),
        ('{"long": "cut"}', "it breaks the schema"),
    ],
)
def test_an_answer_without_such_an_object_says_why(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text, SCHEMA)
