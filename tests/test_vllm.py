"""The life of a vLLM of our own: started, watched, started again, stopped, never left behind.

vLLM itself is a stand-in here, which starts at once; ``test_servers.py`` has the real one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from pipeline import devices
from pipeline.chat import ChatError, Question, vllm, vllm_process
from pipeline.chat.vllm import VllmChat
from pipeline.presets import PresetError
from tests.fake_vllm import install, save_model

WHO = Question("", ("Who is there?",), 4)


@pytest.fixture(autouse=True)
def fast(monkeypatch, tmp_path):
    monkeypatch.setenv("VLLM_PYTHON", str(install(tmp_path)))
    monkeypatch.setattr("pipeline.chat.server._FIRST_WAIT", 0.05)


def running(model: Path) -> list[psutil.Process]:
    """All that was started for this model."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if str(model) in (process.info["cmdline"] or ()):
            found.append(process)
    return found


def chat(model: Path, folder: Path | None, **options: object) -> VllmChat:
    return VllmChat("refine", {"model": str(model), **options}, folder)


def test_the_first_question_starts_it_and_unload_leaves_nothing(tmp_path):
    model = save_model(tmp_path / "model")
    ours = chat(model, tmp_path / "run")
    ours.check()
    assert running(model) == []
    (answer,) = ours.ask([WHO])
    assert answer.text == "Who is there?"
    assert ours.count("three words here") == 3 and ours.context == 4096
    left = running(model)
    assert len(left) == 3  # a guard, a server, an engine that does not end when it is asked to
    ours.unload()
    assert psutil.wait_procs(left, timeout=0.1)[1] == []
    (answer,) = ours.ask([WHO])  # starts another one
    assert answer.text
    ours.unload()
    assert running(model) == []


def test_a_proxy_of_the_environment_is_not_asked_for_it(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    ours = chat(save_model(tmp_path / "model"), tmp_path)
    (answer,) = ours.ask([WHO])
    ours.unload()
    assert answer.text == "Who is there?"


def test_one_that_dies_twice_is_started_again_and_all_is_answered(tmp_path):
    model = save_model(tmp_path / "model", dies_after=5, deaths=2)
    ours = chat(model, tmp_path)
    answers = ours.ask(Question("", (f"Number {i}",), 4) for i in range(40))
    ours.unload()
    assert [answer.text for answer in answers] == [f"Number {i}" for i in range(40)]
    assert (model / "deaths").read_text() == "xx"


def test_one_that_dies_again_and_again_is_given_up_with_its_last_words(tmp_path):
    words = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    model = save_model(tmp_path / "model", dies_after=5, dying=words)
    ours = chat(model, tmp_path)
    with pytest.raises(ChatError) as told:
        ours.ask(Question("", (f"Number {i}",), 4) for i in range(40))
    assert (model / "deaths").read_text() == "xxx"
    assert "died 3 times" in str(told.value) and "OutOfMemoryError: CUDA out of" in str(told.value)
    assert str(tmp_path / "vllm-refine.log") in str(told.value)
    with pytest.raises(ChatError, match="died 3 times"):
        ours.ask([WHO])
    assert running(model) == []
    ours.unload()


def test_one_that_does_not_answer_in_time_is_ended(tmp_path):
    model = save_model(tmp_path / "model", stalls=True)
    ours = chat(model, tmp_path, start_timeout=2)
    with pytest.raises(ChatError, match="did not answer for 2 s; raise start_timeout"):
        ours.ask([WHO])
    assert running(model) == []


def test_unload_ends_a_start_that_another_thread_waits_for(tmp_path):
    model = save_model(tmp_path / "model", stalls=True)
    ours = chat(model, tmp_path)
    told: list[ChatError] = []

    def ask() -> None:
        with pytest.raises(ChatError) as error:
            ours.ask([WHO])
        told.append(error.value)

    asking = threading.Thread(target=ask)
    asking.start()
    while not running(model):
        time.sleep(0.05)
    ours.unload()
    asking.join(10)
    assert "stopped" in str(told[0])
    assert running(model) == []


@pytest.mark.parametrize("stalls", [False, True])
def test_nothing_is_left_when_the_process_that_started_it_is_killed(repo, tmp_path, stalls):
    model = save_model(tmp_path / "model", stalls=stalls)
    program = (
        "import sys; from pathlib import Path; from pipeline.chat import Question\n"
        "from pipeline.chat.vllm import VllmChat\n"
        "chat = VllmChat('refine', {'model': sys.argv[1]}, Path(sys.argv[2]))\n"
        "chat.ask([Question('', ('Who?',), 4)])\n"
        "print('asked', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(model), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(repo)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    if stalls:
        while len(running(model)) < 4:
            time.sleep(0.05)
    else:
        assert process.stdout is not None and process.stdout.readline() == b"asked\n"
    left = [each for each in running(model) if each.pid != process.pid]
    assert len(left) == 3
    process.kill()
    process.communicate()
    assert psutil.wait_procs(left, timeout=5)[1] == []


def test_the_log_is_kept_when_it_tells_of_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    logs = lambda: [*tmp_path.glob("action100m-vllm-refine-*.log")]  # noqa: E731
    well = chat(save_model(tmp_path / "well"), None)
    well.ask([WHO])
    assert len(logs()) == 1
    well.unload()
    assert logs() == []
    ill = chat(save_model(tmp_path / "ill", says="ValueError: no such thing"), None)
    with pytest.raises(ChatError) as told:
        ill.ask([WHO])
    ill.unload()
    (log,) = logs()
    assert str(told.value) == (
        f"refine: vLLM cannot serve {tmp_path / 'ill'}: ValueError: no such thing; its log is {log}"
    )


PYDANTIC = """\
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, User-specified max_model_len (99999) is greater than the derived max_model_len
    For further information visit https://errors.pydantic.dev/2.14/v/value_error"""
ENGINE = """\
(APIServer pid=7) WARNING 11-21 11:08:41 [system.py:255] This can cause OSError: [Errno 24] too many
(EngineCore pid=8) ERROR 11-21 11:08:53 [core.py:1100] Traceback (most recent call last):
(EngineCore pid=8) ERROR 11-21 11:08:53 [core.py:1100]   File "core.py", line 1091, in run
(EngineCore pid=8) ERROR 11-21 11:08:53 [core.py:1100] ValueError: No available memory for the cache
(EngineCore pid=8) Process EngineCore:
(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above. {}"""


@pytest.mark.parametrize(
    ("log", "status", "reason"),
    [
        (PYDANTIC, 1, "User-specified max_model_len (99999) is greater than"),
        (ENGINE, 1, "ValueError: No available memory for the cache"),
        ("api_server.py: error: unrecognized arguments: --no", 2, "unrecognized arguments: --no"),
        ("a.b.RepositoryNotFoundError: 404 Client Error.", 1, "RepositoryNotFoundError: 404"),
        (ENGINE.splitlines()[0], 137, "it was killed, perhaps because"),
        ("Loading ...\nSegmentation fault\n\n", 139, "Segmentation fault"),
        ("", 1, "it said nothing"),
    ],
)
def test_the_reason_is_the_line_that_tells_it(tmp_path, log, status, reason):
    path = tmp_path / "log"
    path.write_text(f"ValueError: of the time before\n$ vllm serve\n{log}")
    begin = path.read_text().index("$")
    assert vllm_process._reason(path, begin, status).startswith(reason)


# -- what is found without starting it ---------------------------------------------------------


def test_without_vllm_the_check_says_how_to_get_it(tmp_path, monkeypatch):
    model = save_model(tmp_path / "model")
    monkeypatch.setenv("VLLM_PYTHON", str(tmp_path / "no-python"))
    with pytest.raises(ChatError, match=r"no vLLM; .*`make vllm`.* VLLM_PYTHON"):
        chat(model, None).check()


def test_without_a_gpu_only_the_build_for_cpus_will_do(tmp_path, monkeypatch):
    model = save_model(tmp_path / "model")
    monkeypatch.setattr(devices, "found", list)
    chat(model, None).check()
    (tmp_path / "gpu").mkdir()
    monkeypatch.setenv("VLLM_PYTHON", str(install(tmp_path / "gpu", "vllm 0.33.0")))
    with pytest.raises(ChatError, match=r"needs 1 GPU\(s\).*backend openai"):
        chat(model, None).check()


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path):
    model = save_model(tmp_path / "model")
    (model / "pytorch_model.bin").unlink()
    with pytest.raises(ChatError, match=f"the folder {model} holds no weights"):
        chat(model, None).check()
    (model / "config.json").unlink()
    with pytest.raises(ChatError, match=f"the folder {model} holds no checkpoint"):
        chat(model, None).check()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": ""}, "model is missing"),
        ({"gpu_memory": 1.5}, "gpu_memory is a share"),
        ({"tensor_parallel": 0}, "tensor_parallel must be at least 1"),
        ({"flags": [1]}, "flags must be a list of texts"),
        ({"temprature": 0.5}, "unknown option"),
    ],
)
def test_an_option_that_cannot_be_is_named(options, said):
    with pytest.raises(PresetError, match=f"refine: .*{said}"):
        VllmChat("refine", {"model": "a/b", **options})


def test_answers_depend_on_the_models_content_and_not_on_speed(tmp_path):
    model = save_model(tmp_path / "model")
    identity = chat(model, None).identity
    model.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    for same in ({"gpu_memory": 0.5}, {"tensor_parallel": 2}, {"images": "data"}):
        assert chat(moved, None, **same).identity == identity
    for other in ({"clips": "video"}, {"dtype": "float16"}, {"flags": ["--seed", "1"]}):
        assert chat(moved, None, **other).identity != identity
    (moved / "pytorch_model.bin").write_text("other weights")
    assert chat(moved, None).identity != identity


def test_the_command_has_what_a_role_needs(monkeypatch):
    monkeypatch.setattr(devices, "found", lambda: [object()] * 8)
    gpu = vllm.Vllm(Path("/v/python"), "vllm 1", cpu=False)
    chosen = vllm.settings("caption", {"model": "a/b", "clips": "video", "tensor_parallel": 2})
    words = " ".join(vllm.command(chosen, gpu, "127.0.0.1", 8000, 32))
    assert '--limit-mm-per-prompt {"image": 32, "video": 1}' in words
    assert "--trust-request-mm-kwargs" in words and "--allowed-local-media-path" in words
    assert "--tensor-parallel-size 2 --data-parallel-size 4" in words
    text = vllm.settings("refine", {"model": "a/b", "flags": ["--seed", "7"]})
    words = " ".join(vllm.command(text, gpu, "127.0.0.1", 8000, 0))
    assert "-mm-" not in words and "media" not in words and words.endswith("--seed 7")
    cpu = " ".join(vllm.command(text, vllm.Vllm(Path("p"), "1", cpu=True), "127.0.0.1", 80, 0))
    assert "--dtype float32 --enforce-eager" in cpu and "gpu" not in cpu
