"""Work spread over processes, with real processes that die."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline import devices
from pipeline.devices import DeviceLost
from pipeline.workers import LostWorker, spread
from tests.jobs import die, die_once, fail, lose_the_device, where


def test_each_place_has_a_process_that_sees_nothing_else() -> None:
    results = dict(spread(where, range(6), ["3", "GPU-abc"]))
    assert sorted(results) == list(range(6))
    processes = {pid: place for pid, place, _ in results.values()}
    assert sorted(processes.values()) == ["3", "GPU-abc"]
    threads = {int(count) for _, _, count in results.values()}
    assert threads == {max(1, (os.cpu_count() or 1) // 2)}


def test_there_are_no_more_processes_than_items() -> None:
    results = dict(spread(where, ["only"], [""] * 8))
    assert results["only"][2] == str(os.cpu_count())


def test_what_an_item_raises_is_its_own() -> None:
    results = dict(spread(fail, range(3), ["", ""]))
    assert (results[0], results[2]) == (0, 2)
    assert isinstance(results[1], ValueError)


@pytest.mark.parametrize("places", [["0", "1"], ["", ""]])
def test_the_item_of_a_process_that_died_is_done_elsewhere(
    tmp_path: Path, places: list[str]
) -> None:
    mark = tmp_path / "died"
    items = [(name, mark) for name in ("a", "deadly", "b", "c", "d")]
    results = {name: result for (name, _), result in spread(die_once, items, places)}
    assert len(results) == 5
    assert all(isinstance(result, str) for result in results.values())
    if places[0]:
        assert results["deadly"] != mark.read_text()  # another GPU


def test_an_item_that_kills_two_processes_is_lost_and_no_other() -> None:
    results = dict(spread(die, ["a", "deadly", "b", "c"], ["", ""]))
    assert isinstance(results.pop("deadly"), LostWorker)
    assert results == {name: name for name in "abc"}


def test_a_gpu_that_is_gone_costs_no_item() -> None:
    results = dict(spread(lose_the_device, range(12), ["broken", "whole"]))
    assert set(results.values()) == {"whole"} and len(results) == 12


def test_without_any_gpu_left_each_item_says_so() -> None:
    results = dict(spread(lose_the_device, range(3), ["broken"]))
    assert [type(result) for result in results.values()] == [DeviceLost] * 3


def test_a_listener_that_goes_away_ends_the_processes() -> None:
    listener = spread(where, range(50), ["", ""])
    _, (pid, _, _) = next(listener)
    listener.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("count", "visible", "expected"),
    [(2, None, ["0", "1"]), (2, "5, 3", ["5", "3"]), (1, "GPU-a,GPU-b", ["GPU-a"]), (0, "", [])],
)
def test_gpus_are_called_as_the_user_called_them(
    count: int, visible: str | None, expected: list[str]
) -> None:
    assert devices._names(count, visible) == expected


def test_a_gpu_that_was_asked_for_and_is_not_there_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(DeviceLost, match="names the GPU 0, but torch finds none"):
        devices.choose("auto")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert str(devices.choose("auto").where) == "cpu"
