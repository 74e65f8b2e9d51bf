"""Work done in threads ahead of who needs its results, and never too far ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")


def look_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int
) -> Generator[tuple[Item, Result], None, None]:
    """Yield (item, ``function(item)``) in the order of the items.

    Unlike ``Executor.map`` it takes an item only when there is room for it, so that memory is
    bounded by ``ahead`` and not by how many items there are. What has not begun when the generator
    is closed never begins, and what has begun is not waited for. An exception of ``function`` is
    raised in its item's turn.

    Args:
        threads: that run the function
        ahead: items that are begun before their results are asked for
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > ahead:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def read_ahead(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    """The same items, up to ``depth`` of them made ahead in a thread of their own.

    What making one raises is raised here, in its place.
    """
    iterator, end = iter(items), cast("Any", object())
    reader = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    try:
        coming = deque(reader.submit(next, iterator, end) for _ in range(depth))
        while (item := coming.popleft().result()) is not end:
            coming.append(reader.submit(next, iterator, end))
            yield item
    finally:
        reader.shutdown(wait=True, cancel_futures=True)
