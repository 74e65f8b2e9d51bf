"""The pace at which a server is asked: as many questions side by side as it takes."""

from __future__ import annotations

import asyncio
import time

# Questions sent side by side at the beginning.
_FIRST_LIMIT = 8


class Pace:
    """How many requests may be under way: more with each answer, half when it was too much.

    As TCP does it (slow start, then additive increase, multiplicative decrease), so that many
    clients share a server without knowing of each other: up to the first time that it was too much
    the number doubles with each round of answers, and from then on grows by one.
    """

    def __init__(self, most: int):
        self._most = most
        self._limit = float(min(_FIRST_LIMIT, most))
        self._running = 0
        self._halved = 0.0
        self._changed = asyncio.Condition()

    def turn(self) -> Turn:
        """A place for a request, taken and left by ``async with``."""
        return Turn(self)

    async def enter(self) -> float:
        """Wait for a place, and take it; returns when that was."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._running < int(self._limit))
            self._running += 1
        return time.monotonic()

    async def leave(self, began: float, too_much: bool) -> None:
        """Leave a place, and say whether the server could not take the request."""
        async with self._changed:
            self._running -= 1
            if not too_much:
                more = 1 / self._limit if self._halved else 1.0
                self._limit = min(float(self._most), self._limit + more)
            elif began > self._halved:  # those sent before the last time say nothing new
                self._limit = max(1.0, self._limit / 2)
                self._halved = time.monotonic()
            self._changed.notify_all()


class Turn:
    """One request's place among those under way."""

    def __init__(self, pace: Pace):
        self._pace = pace
        self._too_much = False

    def was_too_much(self) -> None:
        """Say that the server could not take it."""
        self._too_much = True

    async def __aenter__(self) -> Turn:
        self._began = await self._pace.enter()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pace.leave(self._began, self._too_much)
