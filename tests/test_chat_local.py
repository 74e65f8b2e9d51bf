"""Chat models in this process: tiny ones of the real architectures, loaded from disk."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from pipeline import chat
from pipeline.chat import Answer, ChatError, Clip, Question
from pipeline.chat.answers import parse_json
from pipeline.chat.local import LocalChat
from pipeline.devices import Device, DeviceLost
from pipeline.presets import PresetError
from tests.tiny import (
    CHAT_CONTEXT,
    CHAT_KINDS,
    SmallDevice,
    save_chat_checkpoint,
    save_checkpoint,
)

SEEING = [kind for kind in CHAT_KINDS if kind != "qwen3"]
# With Mllama's pictures go no videos.
FILMING = [kind for kind in SEEING if kind != "mllama"]


def _schema(**lengths: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {k: {"type": "string", "maxLength": n} for k, n in lengths.items()},
        "required": [*lengths],
        "additionalProperties": False,
    }


CAPTION, SUMMARY = _schema(caption=16, action=8), _schema(brief=12)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """On matrices this small several threads mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """A folder of each kind as the hub would give it."""
    folder = tmp_path_factory.mktemp("models")
    return {kind: save_chat_checkpoint(folder / kind, kind) for kind in CHAT_KINDS}


@pytest.fixture(scope="module")
def loaded(checkpoints) -> dict[str, LocalChat]:
    """Chats for tests that leave them as they are."""
    return {kind: _chat(folder) for kind, folder in checkpoints.items()}


@pytest.fixture
def text(loaded) -> LocalChat:
    return loaded["qwen3"]


@pytest.fixture
def copy(checkpoints, tmp_path) -> Path:
    """The text model's checkpoint, to be changed."""
    return shutil.copytree(checkpoints["qwen3"], tmp_path / "model")


def _chat(folder: Path, role: str = "refine", **more) -> LocalChat:
    config = {"backend": "transformers", "model": str(folder), "device": "cpu", **more}
    made = chat.load(role, config)
    assert isinstance(made, LocalChat)
    return made


def _on(device: Device, folder: Path, **more) -> LocalChat:
    return LocalChat("refine", {"model": str(folder), **more}, device)


def _picture(seed: int, size: tuple[int, int] = (64, 48), kind: str = "JPEG") -> bytes:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (6, 8, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(data, kind)
    return data.getvalue()


def _clip(seed: int, count: int, fps: float = 30.0, step: int = 8) -> Clip:
    frames = [_picture(100 * seed + k) for k in range(count)]
    return Clip(frames, [step * k for k in range(count)], fps, step * count)


def _said(answers: Sequence[Answer]) -> list[tuple[Any, ...]]:
    """What must not hang on the company."""
    return [(a.text, a.finish, a.error, a.usage) for a in answers]


# -- answers -----------------------------------------------------------------------------------


def _texts() -> list[Question]:
    schemas = [None, CAPTION, SUMMARY]
    return [
        Question("You watch videos. " * system, ["What is it? " * asked], 12 + 9 * (i % 3), schema)
        for system in (1, 4)
        for asked in (1, 7, 20)
        for i, schema in enumerate(schemas)
    ]


def _images() -> list[Question]:
    return [
        Question(
            "You look.",
            [
                "First ",
                _picture(i, kind=("JPEG", "PNG")[i % 2]),
                "What is it? " * (1 + 5 * (i % 3)),
            ],
            24,
            CAPTION if i % 2 else None,
        )
        for i in range(5)
    ]


def _clips() -> list[Question]:
    return [
        Question(
            "You look.", [_clip(i, n), "What happens? " * (i + 1)], 16, CAPTION if i % 2 else None
        )
        for i, n in enumerate((6, 6, 4, 5, 1))
    ]


@pytest.mark.parametrize(
    ("kind", "asked"),
    [(kind, _texts) for kind in CHAT_KINDS]
    + [(kind, asked) for kind in SEEING for asked in (_images, _clips)],
)
def test_company_changes_no_answer(checkpoints, loaded, kind, asked):
    questions = asked()
    alone = [answer for q in questions for answer in loaded[kind].ask([q])]
    assert not any(answer.error for answer in alone)
    assert len({answer.text for answer in alone}) > 0.8 * len(questions)  # they differ
    for size in (2, 64):
        together = _chat(checkpoints[kind], batch_size=size).ask(questions)
        assert _said(together) == _said(alone), size


@pytest.mark.parametrize("kind", SEEING)
def test_an_answer_hangs_on_the_picture_and_on_what_is_said_before(loaded, kind):
    one, other = (_picture(seed) for seed in (1, 2))
    base = Question("Be brief.", [one, "What is it?"], 16)
    changed = [
        Question("Be brief.", [other, "What is it?"], 16),
        Question("Be long.", [one, "What is it?"], 16),  # Mllama's template takes no system message
        Question("Be brief.", [one, "What was it?"], 16),
        Question("Be brief.", [one, other, "What is it?"], 16),
    ]
    first, *others = loaded[kind].ask([base, *changed])
    assert first.text and all(answer.text != first.text for answer in others)


def test_answers_follow_their_own_schemas(text):
    schemas = [CAPTION, SUMMARY, None, _schema(brief=4, detailed=16, actor=8)]
    questions = [Question("", [f"What is number {i}?"], 200, schemas[i % 4]) for i in range(8)]
    for question, answer in zip(questions, text.ask(questions), strict=True):
        if question.schema is None:
            with pytest.raises(ValueError, match="JSON"):
                parse_json(answer.text, CAPTION)
        else:
            assert answer.finish == "stop"
            found = parse_json(answer.text, question.schema)
            assert json.loads(answer.text) == found  # it is nothing else


def test_a_schema_that_cannot_be_enforced_is_that_questions_error(text):
    wrong = {"type": "object", "properties": {"a": {"type": "no such type"}}}
    one, two = text.ask([Question("", ["a"], 8, wrong), Question("", ["b"], 8)])
    assert one.error.startswith("its schema cannot be enforced:")
    assert not two.error


def test_every_answer_is_as_long_as_its_own_question_allows(text):
    questions = [Question("", ["Say something."], limit) for limit in (1, 30, 3, 7)]
    answers = text.ask(questions)
    assert [answer.usage.completion for answer in answers] == [1, 30, 3, 7]
    assert {answer.finish for answer in answers} == {"length"}
    assert all(answers[1].text.startswith(each.text[:-1]) for each in answers)


def test_what_ends_an_answer_is_not_part_of_it(text):
    answer = text.ask([Question("", ["What is it?"], 99, SUMMARY)])[0]
    assert answer.finish == "stop"
    assert answer.text.endswith("}")
    # The token that ended it is counted, as servers count it.
    assert answer.usage.completion > text.count(answer.text) / 2
    assert "<|im_end|>" not in answer.text and "<|endoftext|>" not in answer.text


def test_usage_counts_the_prompts_tokens(text):
    short, long = text.ask([Question("", ["a" * n], 1) for n in (10, 110)])
    assert long.usage.prompt - short.usage.prompt == text.count("a" * 110) - text.count("a" * 10)
    assert short.usage.cached == 0


def test_answers_come_in_the_order_of_the_questions_and_are_told_as_they_come(text):
    told: list[tuple[int, Answer]] = []
    taken = 0

    def questions() -> Iterator[Question]:
        nonlocal taken
        for i in range(60):
            taken += 1
            yield Question("", [f"{i} " * (1 + i % 5)], 2)

    most = []

    def on_answer(index: int, answer: Answer) -> None:
        told.append((index, answer))
        most.append(taken - len(told))

    answers = text.ask(questions(), on_answer)
    assert len(answers) == 60
    assert sorted(told, key=lambda pair: pair[0]) == list(enumerate(answers))
    assert [index for index, _ in told] != list(range(60))  # by length and not by number
    assert max(most) < 55  # not all of the questions are taken before the first answer
    assert text.ask([]) == []


# -- clips -------------------------------------------------------------------------------------


def _tokens(chat: LocalChat, question: Question) -> str:
    inputs = chat.processor.inputs(question, chat.dtype)[1]
    return chat.processor.words.decode(inputs["input_ids"][0])


def test_a_clips_frames_have_their_times(loaded):
    clip = Clip([_picture(k) for k in range(6)], [10, 20, 50, 70, 101, 141], 10.0, 500)
    said = _tokens(loaded["qwen3-vl"], Question("", [clip, "What?"]))
    # A pair of frames has the time between them.
    assert re.findall(r"<([\d.]+) seconds>", said) == ["1.5", "6.0", "12.1"]


@pytest.mark.parametrize("kind", FILMING)
def test_every_frame_of_a_clip_is_seen_once(loaded, kind):
    clip = _clip(3, 32)
    question = Question("", [clip, "What?"])
    model = loaded[kind]
    inputs = model.processor.inputs(question, model.dtype)[1]
    (name,) = [name for name in inputs if name.startswith("pixel_values")]
    frames = inputs[name].reshape(32 // (2 if kind == "qwen3-vl" else 1), -1)
    assert len(frames.unique(dim=0)) == len(frames)
    for k in (0, 1, 17, 31):
        other = Clip(
            [*clip.frames[:k], _picture(9999), *clip.frames[k + 1 :]], clip.numbers, 30.0, 256
        )
        changed = model.processor.inputs(Question("", [other, "What?"]), model.dtype)[1][name]
        differing = (changed.reshape(frames.shape) != frames).any(dim=1).nonzero().flatten()
        assert differing.tolist() == [k // 2 if kind == "qwen3-vl" else k]


@pytest.mark.parametrize("kind", SEEING)
def test_clips_can_be_given_frame_by_frame(checkpoints, kind):
    clip = _clip(1, 3)
    frames = Question("", [*clip.frames, "What happens?"], 8)
    asked = Question("", [clip, "What happens?"], 8)
    chosen = _chat(checkpoints[kind], clips="images")
    assert _said(chosen.ask([asked])) == _said(chosen.ask([frames]))
    if kind in FILMING:
        assert _said(_chat(checkpoints[kind]).ask([asked])) != _said(chosen.ask([asked]))


# -- what cannot be asked ----------------------------------------------------------------------


def test_one_bad_question_costs_the_others_nothing(loaded):
    model = loaded["qwen3-vl"]
    good = [Question("", [_picture(i), "What is it?"], 6) for i in range(3)]
    bad = [
        Question("", [b"no picture", "What is it?"], 6),
        Question("", [_picture(1)[:200], "What is it?"], 6),
        Question("", [_picture(1), "A picture <|image_pad|> that is none"], 6),
        Question("", ["word " * 20_000], 6),
    ]
    answers = model.ask([good[0], bad[0], bad[1], good[1], bad[2], bad[3], good[2]])
    assert _said([answers[i] for i in (0, 3, 6)]) == _said([model.ask([q])[0] for q in good])
    for index in (1, 2, 4):
        assert "cannot be asked this" in answers[index].error
        assert "\n" not in answers[index].error
    assert answers[5].finish == "context"


def test_a_question_longer_than_the_context_is_not_asked(text, checkpoints):
    assert text.context == CHAT_CONTEXT
    small = _chat(checkpoints["qwen3"], context=100)
    assert small.context == 100
    free = 100 - small.ask([Question("", ["word"], 1)])[0].usage.prompt
    fits, longer = small.ask([Question("", ["word"], free), Question("", ["word"], free + 1)])
    assert (fits.error, longer.finish) == ("", "context")
    assert longer.error.endswith(
        f"an answer of up to {free + 1} are longer than the context of 100"
    )


def test_pictures_for_a_model_without_eyes_are_an_error(text):
    answer = text.ask([Question("", [_picture(1)], 4)])[0]
    assert answer.error.endswith("cannot be asked this: it sees no pictures")


# -- reasoning ---------------------------------------------------------------------------------


def _changed(folder: Path, template: str, *tokens: str) -> Any:
    """Give a text model's checkpoint another template and more special tokens."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([*tokens], special_tokens=True)
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant\n", template)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _always(folder: Path, token: int) -> None:
    """Have a checkpoint's model say this token whenever it may."""
    file = folder / "generation_config.json"
    content = {**json.loads(file.read_text()), "sequence_bias": [[[token], 1e4]]}
    file.write_text(json.dumps(content))


def test_what_is_thought_is_no_part_of_the_answer_and_the_schema_holds_after_it(copy):
    tokenizer = _changed(copy, "assistant\n<think>\n", "<think>", "</think>")
    thinking = _chat(copy)
    cut = thinking.ask([Question("", ["What?"], 9, SUMMARY)])[0]
    assert (cut.text, cut.finish, cut.usage.completion) == ("", "length", 9)
    _always(copy, tokenizer.convert_tokens_to_ids("</think>"))
    answer = _chat(copy).ask([Question("", ["What?"], 99, SUMMARY)])[0]
    assert parse_json(answer.text, SUMMARY) == json.loads(answer.text)
    assert answer.usage.completion > 5


def test_only_the_final_channel_is_the_answer(copy):
    names = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|constrain|>")
    tokenizer = _changed(copy, "assistant\n", *names)
    model = _chat(copy)
    begins = model.processor.begins("any prompt")
    assert begins is not None

    def final(said: str) -> list[int]:
        made = tokenizer.encode(said)
        return [i + 1 for i in range(len(made)) if begins(made[: i + 1])], made

    thought = "<|channel|>analysis<|message|>I think<|end|><|start|>assistant"
    starts, made = final(thought + "<|channel|>final<|message|>{}")
    assert len(starts) == 1 and tokenizer.decode(made[starts[0] :]) == "{}"
    starts, made = final("<|channel|>final <|constrain|>json<|message|>{}")
    assert len(starts) == 1 and tokenizer.decode(made[starts[0] :]) == "{}"
    assert final(thought)[0] == []
    assert final("<|channel|>commentary<|message|>final")[0] == []
    # A model that never comes to its answer has none.
    assert model.ask([Question("", ["What?"], 9)])[0].text == ""


def test_an_answer_without_marks_is_left_as_it_is(text):
    assert text.processor.begins("<|im_start|>assistant\n") is None


# -- memory ------------------------------------------------------------------------------------


def _small(checkpoint: Path, limit: int, **more) -> tuple[LocalChat, SmallDevice]:
    """A chat on a device with so much memory beside the weights."""
    device = SmallDevice(1 << 60)
    small = _on(device, checkpoint, **more)
    small.ask([Question("", ["Loads the weights."], 1)])
    small._tokens_at_once = 0
    device.limit = limit
    return small, device


def _asked(small: LocalChat, device: SmallDevice, questions: list[Question]) -> list[Answer]:
    with device.computing():
        return small.ask(questions)


def _taken(checkpoint: Path, count: int) -> int:
    """Bytes that a batch of so many questions takes."""
    small, device = _small(checkpoint, 1 << 60, batch_size=count)
    _asked(small, device, _same(count))
    return device.peak


def _same(count: int) -> list[Question]:
    return [Question("", [f"What is {i % 10}?"], 4) for i in range(count)]


def test_the_batch_is_what_fits_after_the_first_question_was_measured(checkpoints, text):
    folder = checkpoints["qwen3"]
    one, eight = _taken(folder, 1), _taken(folder, 8)
    assert eight > 3 * one  # the count tells batches apart
    small, device = _small(folder, 6 * one)
    answers = _asked(small, device, _same(12))
    assert device.refusals == 0
    assert device.peak > 2 * one
    assert _said(answers) == _said(text.ask(_same(12)))


def test_a_batch_that_is_too_much_is_halved_for_good(checkpoints, text):
    folder = checkpoints["qwen3"]
    small, device = _small(folder, int(1.2 * _taken(folder, 3)), batch_size=12)
    assert _said(_asked(small, device, _same(12))) == _said(text.ask(_same(12)))
    assert device.refusals >= 1
    assert small.batch_size == 3
    before = device.refusals
    _asked(small, device, _same(12))
    assert device.refusals == before


def test_long_prompts_are_answered_one_by_one_on_a_cpu(text):
    """There the mask that hides a batch's padding costs more than the batch saves."""
    for words, size in ((10, 4), (6000, 1)):
        asked = [text._prepared((i, Question("", ["word " * words], 4))) for i in range(6)]
        assert len(text._batch(asked)) == size


def test_a_question_that_does_not_fit_alone_is_its_own_error(checkpoints):
    folder = checkpoints["qwen3"]
    small, device = _small(folder, 3 * _taken(folder, 1))
    long = Question("", ["word " * 900], 4)
    answers = _asked(small, device, [*_same(2), long])
    assert [bool(answer.error) for answer in answers] == [False, False, True]
    assert re.search(r"a question of \d+ tokens does not fit into the memory", answers[2].error)
    assert small.batch_size == 0  # it says nothing about the others


def test_weights_that_do_not_fit_are_said_in_a_sentence(checkpoints):
    device = SmallDevice(1000)
    model = _on(device, checkpoints["qwen3"])
    with pytest.raises(ChatError, match=r"the weights of .* do not fit into the memory"):
        _asked(model, device, _same(1))


def test_unloading_gives_the_weights_back_and_the_next_question_loads_them_again(checkpoints):
    model = _chat(checkpoints["qwen3"])
    before = model.ask(_same(3))
    weights = weakref.ref(model.model)
    model.unload()
    assert weights() is None
    assert _said(model.ask(_same(3))) == _said(before)


def test_unloading_ends_what_is_being_asked(checkpoints):
    model = _chat(checkpoints["qwen3"], batch_size=1)
    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(
            model.ask,
            [Question("", [f"{i}"], 400) for i in range(40)],
            lambda *_: begun.set(),
        )
        assert begun.wait(60)
        model.unload()
        with pytest.raises(ChatError, match="refine: the asking was stopped"):
            asking.result(60)
    assert "model" not in vars(model)


def test_threads_get_their_own_answers(text):
    questions = [[Question("", [f"{i} of thread {k}"], 6) for i in range(5)] for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(text.ask, questions))
    for asked, answers in zip(questions, found, strict=True):
        assert _said(answers) == _said(text.ask(asked))


def test_a_gpu_that_is_gone_is_told_from_an_error_of_the_model(checkpoints):
    class Gone(Device):
        gone = True

        def measured(self, work: Any) -> Any:
            raise RuntimeError("CUDA error: unspecified launch failure")

        def lost(self) -> bool:
            return self.gone

    device = Gone()
    model = _on(device, checkpoints["qwen3"])
    with pytest.raises(DeviceLost, match=r"cpu does not answer any more \(CUDA error: unspec"):
        model.ask(_same(1))
    device.gone = False
    with pytest.raises(RuntimeError, match="unspecified launch failure") as error:
        model.ask(_same(1))
    assert not isinstance(error.value, DeviceLost)


# -- what it is --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CHAT_KINDS)
def test_checking_loads_no_weights(checkpoints, kind):
    model = _chat(checkpoints[kind], "refine" if kind == "qwen3" else "caption")
    model.check()
    assert model.count("a person cuts an onion") > 4
    assert model.context == CHAT_CONTEXT
    assert "model" not in vars(model)


def test_answers_hang_on_the_checkpoints_content_and_not_on_where_it_is(copy, checkpoints):
    def identity(**more) -> Any:
        return _chat(copy, **more).identity

    first = identity()
    assert json.loads(json.dumps(first)) == first == _chat(checkpoints["qwen3"]).identity
    assert identity(batch_size=3, device="auto") == first
    assert identity(dtype="bfloat16") != first
    assert identity(clips="images") != first
    template = copy / "chat_template.jinja"
    before = template.read_text()
    template.write_text(before + " ")
    assert identity() != first
    template.write_text(before)
    assert identity() == first
    save_chat_checkpoint(copy, "qwen3", seed=1)
    assert identity() != first


def test_on_a_cpu_one_process_has_the_model(text):
    assert (text.places, text.threads) == (("",), 1)


def test_another_precision_is_used(checkpoints):
    model = _chat(checkpoints["qwen3-vl"], dtype="bfloat16")
    answer = model.ask([Question("", [_picture(1), "What?"], 4)])[0]
    assert answer.text and model.model.dtype == torch.bfloat16


# -- what cannot be ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"model": ""}, "refine: model is missing, for example Qwen/"),
        ({"dtype": "int8"}, "dtype must be one of auto, bfloat16, float16, float32, not 'int8'"),
        ({"clips": "gif"}, "clips must be one of auto, images, video, not 'gif'"),
        ({"batch_size": -1}, "batch_size must not be -1"),
        ({"context": -1}, "context must not be -1"),
        ({"device": "tpu"}, "device must be auto, cpu, cuda or cuda:N, not 'tpu'"),
        ({"temperature": 1.0}, "unknown option(s) temperature; known are model,"),
    ],
)
def test_an_option_that_cannot_be_is_a_sentence(checkpoints, chosen, reason):
    with pytest.raises(PresetError, match=re.escape(reason)) as error:
        _chat(checkpoints["qwen3"], **chosen)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("missing", ["torch", "transformers", "llguidance"])
def test_without_a_package_the_command_that_installs_it_is_named(checkpoints, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(PresetError, match=f"refine: .* needs {missing}; .*`make models`"):
        _chat(checkpoints["qwen3"])


def _refusal(model: LocalChat) -> str:
    """The sentence that a check ends with."""
    with pytest.raises(ChatError) as error:
        model.check()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_without_torchvision_the_command_that_installs_it_is_named(checkpoints, repo):
    program = f"""
import sys
sys.modules["torchvision"] = None
from pipeline.chat.local import LocalChat
LocalChat("caption", {{"model": {str(checkpoints["qwen3-vl"])!r}, "device": "cpu"}}).check()
"""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=repo, capture_output=True, text=True, timeout=120
    )
    *_, sentence = result.stderr.splitlines()
    assert sentence.startswith("pipeline.chat.ChatError: caption: what prepares the input of ")
    assert "orchvision" in sentence and sentence.endswith("install it with `make models`")


def test_a_text_model_is_no_captioner(checkpoints):
    sentence = _refusal(_chat(checkpoints["qwen3"], "caption"))
    assert re.search(r"^caption: the model .* sees no pictures; name one that does", sentence)


def test_a_model_without_videos_is_not_given_any(checkpoints):
    sentence = _refusal(_chat(checkpoints["mllama"], "caption", clips="video"))
    assert "sees no videos; name another, or set clips to images" in sentence


def test_a_gpu_that_is_not_there_is_named(checkpoints):
    assert "device cuda:99 is not there: torch sees" in _refusal(
        _chat(checkpoints["qwen3"], device="cuda:99")
    )


def test_a_model_that_is_no_chat_model_is_refused(tmp_path, copy):
    other = save_checkpoint(tmp_path / "vjepa2")
    assert "is a 'vjepa2', which is no chat model" in _refusal(_chat(other))
    (copy / "chat_template.jinja").unlink()
    assert "has no chat template" in _refusal(_chat(copy))


def test_a_model_that_cannot_be_fetched_is_a_sentence(monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    sentence = _refusal(_chat(Path("nobody/no-such-model")))
    assert sentence.startswith("refine: the model 'nobody/no-such-model' is not to be had")


def test_a_folder_without_weights_is_refused_before_any_work(copy):
    (copy / "model.safetensors").unlink()
    assert "holds no weights; download the model again" in _refusal(_chat(copy))


def test_damaged_weights_are_refused_before_any_work(copy):
    data = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(data[: len(data) // 2])
    sentence = _refusal(_chat(copy))
    assert "model.safetensors is damaged or not complete); download the model" in sentence
    with pytest.raises(ChatError, match=r"the weights of .* cannot be loaded \("):
        _chat(copy).ask(_same(1))


def test_a_part_that_the_index_names_and_is_not_there_is_refused_before_any_work(copy):
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    parts = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(weights)}
    for part in set(parts.values()):
        held = {name: weights[name] for name in weights if parts[name] == part}
        save_file(held, copy / part, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 0}, "weight_map": parts}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    _chat(copy).check()
    (copy / "model-00002-of-00002.safetensors").unlink()
    assert re.search(r"lacks \d+ of the model's weights \(", _refusal(_chat(copy)))


def test_weights_that_lack_some_are_not_filled_with_random_ones(copy):
    weights = load_file(copy / "model.safetensors")
    lacking = {k: v for k, v in weights.items() if "layers.1." not in k}
    save_file(lacking, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ChatError, match=r"refine: the checkpoint .* lacks \d+ of the model's weig"):
        _chat(copy).ask(_same(1))


def test_a_damaged_tokenizer_is_a_sentence(copy):
    (copy / "tokenizer.json").write_text("{")
    assert "the tokenizer or processor of" in _refusal(_chat(copy))
