"""How far long work is: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def show_progress(total: int, unit: str, seconds: float = 30.0) -> Iterator[Callable[[int], None]]:
    """Show the progress of the ``with`` block on standard error; yields what to call with each
    number of things done, from any thread.

    Args:
        total: how many there are to do
        unit: what they are, in the plural; "B" shows bytes in thousands, millions and so on
        seconds: between two lines where standard error is no terminal
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, unit=unit, unit_scale=unit == "B") as bar:
            yield lambda count: bar.update(count) and None
        return
    lock = threading.Lock()
    started = last = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, last
        with lock:
            done += count
            now = time.monotonic()
            if now - last < seconds or done >= total:
                return  # the end has a summary of its own
            last = now
            rate = done / (now - started)
            left = f"{(total - done) / rate:.0f} s left" if rate else "no end in sight"
            print(
                f"{_count(done, unit)} of {_count(total, unit)}, "
                f"{_count(rate, unit)} a second, {left}",
                file=sys.stderr,
                flush=True,
            )

    yield advance


def _count(number: float, unit: str) -> str:
    if unit == "B":
        for scale, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if number >= scale:
                return f"{number / scale:.1f} {prefix}B"
    return f"{number:.0f} {unit}" if number >= 10 else f"{number:.3g} {unit}"
