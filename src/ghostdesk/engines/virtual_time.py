"""Virtual time in which many things happen at once: sleepers wait in a queue and are woken in order.

`kernel.clock.VirtualClock` moves on at each sleep, which is right for one thing after another. Here ten desktops that
each take two seconds to build are all ready after two seconds. Use it so:

    clock = QueueClock()
    task = asyncio.create_task(manager.run(clock))
    await clock.run_until(3600.0)          # an hour passes; nothing really waits
    outcome = await clock.run(engine.apply(command))   # as much time passes as the command takes

An ordinary event loop does not say when nobody has anything left to do, so the clock then gives everyone a fixed number
of turns before time moves on. `run_virtual` runs a loop that does say so: it is exact, and many times quicker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

from ghostdesk.engines.virtual_loop import VirtualLoop

_T = TypeVar("_T")


class Stuck(RuntimeError):
    """Something waits for what no sleeper will ever bring: in the real world this would hang."""


def run_virtual(main: Callable[[QueueClock], Coroutine[Any, Any, _T]], start_s: float = 0.0) -> _T:
    """Run `main(clock)` to its end on an event loop of its own, whose idleness moves the clock on.

    Args:
        main: makes the work; it lets time pass with `clock.run_until` and `clock.run`.
        start_s: the clock's first time, UTC seconds.
    """
    loop = VirtualLoop()  # type: ignore[abstract]  # what it lacks raises NotImplementedError
    try:
        result: _T = loop.run_until_complete(main(QueueClock(start_s, loop=loop)))
        return result
    finally:
        loop.close()


class QueueClock:
    """A `Clock` whose time moves only in `run_until` and `run`, from sleeper to sleeper.

    Args:
        start_s: the first time, in seconds since 1970-01-01 UTC.
        settle_rounds: turns of the event loop that woken tasks get to come to rest before time moves on. A task that
            hops through more than this many callbacks without sleeping is taken to be at rest too early; work in
            threads is not waited for at all.
        loop: the event loop that this clock is used in, if it is one that knows when it is idle.
    """

    def __init__(self, start_s: float = 0.0, settle_rounds: int = 30, loop: VirtualLoop | None = None) -> None:
        self._now_s = start_s
        self._settle_rounds = settle_rounds
        self._sleepers: list[tuple[float, int, asyncio.Future[None] | Callable[[], None]]] = []
        self._numbers = count()
        self._stirred = 0
        self._loop = loop
        self._goal: asyncio.Future[None] | None = None
        self._goal_s = float("inf")
        if loop is not None:
            loop.when_idle = self._when_idle

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
        return sum(callable(one) or not one.done() for _, _, one in self._sleepers)

    def call_at(self, time_s: float, work: Callable[[], None]) -> None:
        """Call `work` when it is `time_s`, in order with those who wake then."""
        heappush(self._sleepers, (max(time_s, self._now_s), next(self._numbers), work))

    async def run_until(self, end_s: float) -> None:
        """Wake everyone who is due up to and at `end_s`, in order; then it is `end_s`. Going back is an error."""
        if end_s < self._now_s:
            raise ValueError(f"a clock cannot go back from {self._now_s} s to {end_s} s")
        if self._loop is not None:
            await self._reach(end_s)
            return
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end_s:
            await self._wake_next()
        self._now_s = end_s

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Let as much time pass as `work` takes, and give its result; raises `Stuck` when nothing could wake it."""
        task = asyncio.ensure_future(work)
        try:
            if self._loop is not None:
                task.add_done_callback(self._goal_reached)
                await self._reach(float("inf"))
                return task.result()
            await self._settle()
            while not task.done():
                if not self._sleepers:
                    raise Stuck(f"at {self._now_s} s nobody is asleep, and yet the work is not done")
                await self._wake_next()
            return task.result()
        finally:
            task.cancel()

    async def _wake_next(self) -> None:
        if self._wake_first():
            await self._settle()

    def _wake_first(self) -> bool:
        """Move on to the first sleeper and wake it; false when it was cancelled."""
        due_s, _, one = heappop(self._sleepers)
        if callable(one):
            self._now_s = due_s
            one()
            return True
        if one.done():
            return False
        self._now_s = due_s
        one.set_result(None)
        return True

    async def _reach(self, goal_s: float) -> None:
        """Let the idle loop move time on, up to `goal_s`, or until `_goal_reached` is called."""
        self._goal, self._goal_s = asyncio.get_running_loop().create_future(), goal_s
        try:
            await self._goal
        finally:
            self._goal = None

    def _goal_reached(self, _task: object = None) -> None:
        if self._goal is not None and not self._goal.done():
            self._goal.set_result(None)

    def _when_idle(self) -> bool:
        """Nobody has anything left to do now: wake the next sleeper, or the one who lets time pass."""
        goal = self._goal
        if goal is None or goal.done():
            return False
        while self._sleepers and self._sleepers[0][0] <= self._goal_s:
            if self._wake_first():
                return True
        if self._goal_s == float("inf"):
            goal.set_exception(Stuck(f"at {self._now_s} s nobody is asleep, and yet the work is not done"))
        else:
            self._now_s = self._goal_s
            goal.set_result(None)
        return True

    async def _settle(self) -> None:
        """Give the others turns until nobody has gone to sleep for `settle_rounds` of them."""
        quiet, seen = 0, self._stirred
        while quiet < self._settle_rounds:
            await asyncio.sleep(0)
            quiet, seen = (quiet + 1, seen) if self._stirred == seen else (0, self._stirred)
