"""Work in threads ahead of its consumer, and how far long work is."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from pipeline.ahead import look_ahead
from pipeline.progress import show_progress


def test_results_come_in_order_and_items_are_taken_as_there_is_room():
    taken = []

    def items():
        for i in range(50):
            taken.append(i)
            yield i

    def work(i):
        time.sleep(0.002 if i % 3 else 0.01)
        return i * i

    for done, (item, result) in enumerate(look_ahead(work, items(), threads=4, ahead=6)):
        assert (item, result) == (done, done * done)
        assert len(taken) <= done + 7
    assert len(taken) == 50


def test_work_is_done_at_the_same_time():
    together = threading.Barrier(3, timeout=10)
    results = look_ahead(lambda _: together.wait(), range(3), threads=3, ahead=3)
    assert sorted(arrived for _, arrived in results) == [0, 1, 2]


def test_an_exception_comes_in_its_turn_and_what_has_not_begun_never_begins():
    begun = []

    def work(i):
        begun.append(i)
        if i == 1:
            raise ValueError("the second")
        return i

    results = look_ahead(work, iter(range(1000)), threads=1, ahead=2)
    assert next(results) == (0, 0)
    with pytest.raises(ValueError, match="the second"):
        next(results)
    assert len(begun) <= 5


def test_a_log_gets_plain_lines_now_and_then(capsys):
    with show_progress(10, "videos", seconds=0.05) as advance:
        for _ in range(10):
            advance(1)
            time.sleep(0.02)
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 4
    done, rest = lines[0].split(" videos of ")
    assert 1 <= int(done) < 10
    assert rest.startswith("10 videos, ") and rest.endswith(" s left")
    with show_progress(10, "videos") as advance:
        advance(5)
    assert capsys.readouterr().err == ""


def test_bytes_are_shown_in_thousands_and_millions(capsys):
    with show_progress(3_000_000_000, "B", seconds=0) as advance:
        advance(2_500_000)
    assert capsys.readouterr().err.startswith("2.5 MB of 3.0 GB, ")


def test_a_terminal_gets_a_bar_with_rate_and_time_left(repo: Path):
    program = (
        "import time\n"
        "from pipeline.progress import show_progress\n"
        "with show_progress(4, 'videos') as advance:\n"
        "    for _ in range(4):\n"
        "        time.sleep(0.2)\n"
        "        advance(1)\n"
    )
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with subprocess.Popen([sys.executable, "-c", program], cwd=repo, stderr=theirs) as process:
        process.wait(timeout=60)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "4/4" in shown and "videos/s" in shown and "\r" in shown
