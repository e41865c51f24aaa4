"""The last answer to a question that may take longer than whoever asks can wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """An answer, and when its question was begun (on a clock that only goes on): what happened since is not in it."""

    value: T
    begun_s: float


class Latest(Generic[T]):
    """Asks one question at a time, and keeps the last answer.

    Args:
        ask: the question; what it raises, whoever waits for the answer gets.
        within_s: how long `soon` waits for a new answer when there is an older one.
        oldest_s: how old an answer may be before `soon` waits for a new one all the same.
        clock: seconds, only going on.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[T]],
        *,
        within_s: float,
        oldest_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._within_s, self._oldest_s, self._clock = within_s, oldest_s, clock
        self._last: Answer[T] | None = None
        self._asking: asyncio.Task[Answer[T]] | None = None

    @property
    def last(self) -> Answer[T] | None:
        """The last answer."""
        return self._last

    async def new(self) -> Answer[T]:
        """An answer to a question that was begun after this call."""
        if self._asking is not None and not self._asking.done():
            await asyncio.wait({self._asking})
        return await asyncio.shield(self._begin())

    async def soon(self) -> Answer[T]:
        """A new answer if it comes in time, else the last one."""
        last, asking = self._last, self._begin()
        if last is None or self._clock() - last.begun_s > self._oldest_s:
            return await asyncio.shield(asking)
        done, _ = await asyncio.wait({asking}, timeout=self._within_s)
        return asking.result() if done else last

    async def stop(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
            self._asking = None

    def _begin(self) -> asyncio.Task[Answer[T]]:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._answer())
            self._asking.add_done_callback(_looked_at)
        return self._asking

    async def _answer(self) -> Answer[T]:
        begun_s = self._clock()
        self._last = Answer(await self._ask(), begun_s)
        return self._last


def _looked_at(task: asyncio.Task[Answer[T]]) -> None:
    """Nobody may be waiting for it any more; its failure is no news, as the next question meets it too."""
    if not task.cancelled():
        task.exception()
