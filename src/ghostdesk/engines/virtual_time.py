"""Virtual time in which many things happen at once: sleepers wait in a queue and are woken in order.

`kernel.clock.VirtualClock` moves on at each sleep, which is right for one thing after another. Here ten desktops that
each take two seconds to build are all ready after two seconds. Use it so:

    clock = QueueClock()
    task = asyncio.create_task(manager.run(clock))
    await clock.run_until(3600.0)          # an hour passes; nothing really waits
    outcome = await clock.run(engine.apply(command))   # as much time passes as the command takes
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

_T = TypeVar("_T")


class Stuck(RuntimeError):
    """Something waits for what no sleeper will ever bring: in the real world this would hang."""


class QueueClock:
    """A `Clock` whose time moves only in `run_until` and `run`, from sleeper to sleeper.

    Args:
        start_s: the first time, in seconds since 1970-01-01 UTC.
        settle_rounds: turns of the event loop that woken tasks get to come to rest before time moves on. A task that
            hops through more than this many callbacks without sleeping is taken to be at rest too early; work in
            threads is not waited for at all.
    """

    def __init__(self, start_s: float = 0.0, settle_rounds: int = 30) -> None:
        self._now_s = start_s
        self._settle_rounds = settle_rounds
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._stirred = 0

    def now_s(self) -> float:
        """The time of the sleeper that was woken last, or the end of the last `run_until`."""
        return self._now_s

    async def sleep(self, duration_s: float) -> None:
        """Wait until time has been moved on by `duration_s`; zero or less gives the others a turn."""
        self._stirred += 1
        if duration_s <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # The number keeps sleepers of the same moment in the order in which they went to sleep.
        heappush(self._sleepers, (self._now_s + duration_s, next(self._numbers), woken))
        await woken

    def sleeping(self) -> int:
        """How many are asleep."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def run_until(self, end_s: float) -> None:
        """Wake everyone who is due up to and at `end_s`, in order; then it is `end_s`. Going back is an error."""
        if end_s < self._now_s:
            raise ValueError(f"a clock cannot go back from {self._now_s} s to {end_s} s")
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end_s:
            await self._wake_next()
        self._now_s = end_s

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Let as much time pass as `work` takes, and give its result; raises `Stuck` when nothing could wake it."""
        task = asyncio.ensure_future(work)
        try:
            await self._settle()
            while not task.done():
                if not self._sleepers:
                    raise Stuck(f"at {self._now_s} s nobody is asleep, and yet the work is not done")
                await self._wake_next()
            return task.result()
        finally:
            task.cancel()

    async def _wake_next(self) -> None:
        due_s, _, woken = heappop(self._sleepers)
        if woken.done():  # the sleeper was cancelled
            return
        self._now_s = due_s
        woken.set_result(None)
        await self._settle()

    async def _settle(self) -> None:
        """Give the others turns until nobody has gone to sleep for `settle_rounds` of them."""
        quiet, seen = 0, self._stirred
        while quiet < self._settle_rounds:
            await asyncio.sleep(0)
            quiet, seen = (quiet + 1, seen) if self._stirred == seen else (0, self._stirred)
