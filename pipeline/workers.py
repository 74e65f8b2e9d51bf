"""Work spread over processes, one for each place that a machine has for it, past those that die.

A place is a GPU, by the name that ``CUDA_VISIBLE_DEVICES`` has for it, or "" for the CPU. A process
sees no other GPU than its own, so that whatever runs in it takes that one without being told.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from .devices import DeviceLost

Item = TypeVar("Item")

_TWICE = "its worker process died, and so did a second one (killed, or out of memory)"


_steps: Any = None


def steps() -> Any:
    """A count of small steps of work, shared with all processes that :func:`spread` starts.

    A ``multiprocessing`` value: ``steps().value``; :func:`step` adds one.
    """
    global _steps
    if _steps is None:
        _steps = get_context("spawn").Value("Q", 0)
    return _steps


def step() -> None:
    """Count a step."""
    with steps().get_lock():
        steps().value += 1


class LostWorker(RuntimeError):
    """A worker process died over an item, and a second one too."""


def spread(
    function: Callable[[Any], Any], items: Sequence[Item], places: Sequence[str]
) -> Iterator[tuple[Item, Any]]:
    """Call ``function`` with each item, in a process for each place, an item at a time in each.

    A process that dies, or loses its GPU, costs the others nothing and is replaced. Its item is
    tried once more when all others are done: in a fresh process, on another GPU if there is one,
    and with nothing beside it, so that what ran out of memory in company has all of it.

    Args:
        function: picklable, as are the items
        places: at least one; a place that is named twice has two processes

    Yields:
        (item, what the function returned or the exception that it raised) as they come; the
        exception is :class:`LostWorker` or ``DeviceLost`` for an item that was lost twice
    """
    lost = yield from _side_by_side(function, items, places)
    doubtful = {place for _, place, _ in lost}
    for item, place, _ in lost:
        others = sorted({*places} - {place}, key=lambda other: (other in doubtful, other))
        for _, _, error in (yield from _side_by_side(function, [item], [*others, place])):
            yield item, error if isinstance(error, DeviceLost) else LostWorker(_TWICE)


def _side_by_side(
    function: Callable[[Any], Any], items: Sequence[Item], places: Sequence[str]
) -> Generator[tuple[Item, Any], None, list[tuple[Item, str, BaseException]]]:
    """Like :func:`spread`; returns the items that were lost, with the place and the reason."""
    places = places[: len(items)]
    threads = max(1, (os.cpu_count() or 1) // max(1, len(places)))
    workers = [_Worker(place, threads) for place in places]
    idle, waiting = deque(workers), deque(items)
    busy: dict[Future[Any], tuple[_Worker, Item]] = {}
    lost: list[tuple[Item, str, BaseException]] = []
    try:
        while waiting or busy:
            while waiting and idle:
                worker, item = idle.popleft(), waiting.popleft()
                busy[worker.submit(function, item)] = worker, item
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                worker, item = busy.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool | DeviceLost):
                    lost.append((item, worker.place, error))
                    worker.stop()
                    worker.losses += 1
                else:
                    worker.losses = 0
                    yield item, future.result() if error is None else error
                # A GPU that is gone would lose item after item, faster than others do them.
                if worker.losses < 2 or not worker.place or not (idle or busy):
                    idle.append(worker)
    except BaseException:
        # Ctrl-C, or nobody listens any more: what is under way is worth less than stopping now.
        for worker in workers:
            worker.stop()
        raise
    finally:
        for worker in workers:
            worker.finish()
    return lost


class _Worker:
    """A process at a place, started with its first item.

    Attributes:
        losses: how often it was lost since it last did an item
    """

    def __init__(self, place: str, threads: int):
        self.place, self._threads, self.losses = place, threads, 0
        self._pool = self._new_pool()

    def submit(self, function: Callable[[Any], Any], item: Any) -> Future[Any]:
        """Do an item, in a new process if the one before was stopped or has died idle."""
        try:
            return self._pool.submit(function, item)
        except RuntimeError:  # BrokenProcessPool is one
            self._pool = self._new_pool()
            return self._pool.submit(function, item)

    def stop(self) -> None:
        """End the process whatever it does."""
        for process in list((self._pool._processes or {}).values()):
            process.terminate()
        self.finish()

    def finish(self) -> None:
        """End the process when it has done what it was given."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            1,
            mp_context=get_context("spawn"),
            initializer=_start_worker,
            initargs=(os.getpid(), self.place, self._threads, steps()),
        )


def _start_worker(parent: int, place: str, threads: int, counted: Any) -> None:
    """Take the place and some threads; leave Ctrl-C to the parent process, and end with it.

    Workers that each take all the cores spend most of their time waiting for one another.
    """
    global _steps
    _steps = counted
    if place:
        os.environ["CUDA_VISIBLE_DEVICES"] = place  # nothing has asked for a GPU yet
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)
