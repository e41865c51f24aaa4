"""One planner at a time: waiting for the turn, and noticing that it was lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import StoreError

log = logging.getLogger(__name__)
ASK_EVERY_S = 0.25
LOOK_EVERY_S = 0.5
ANSWER_WITHIN_S = 2.5
"""A planner whose database does not answer for so long takes its turn for lost."""
SETTLE_S = 2 * LOOK_EVERY_S
"""How long a new planner waits before it acts: one that lost its turn without dying has noticed by then.

A connection that ends is noticed at the next look. One that falls silent is given up by the server after 3 s
(`store.postgres`), by the planner within 3 s, and the next acts 4 s after it fell silent at the earliest.
"""


Beside = Callable[[Callable[[], bool]], Awaitable[bool]]
"""Runs a call that may block beside the loop."""


class Turn(Protocol):
    """The right to plan (see `store.postgres.PlannerTurn`); calls may block."""

    def take(self) -> bool:
        """Try to take it; whether this process has it now."""
        ...

    def holds(self) -> bool:
        """Whether it is still ours."""
        ...

    def give_back(self) -> None:
        """Let another have it."""
        ...


async def await_turn(
    turn: Turn,
    clock: Clock,
    stopped: Callable[[], bool],
    say: Callable[[str], None],
    *,
    beside: Beside = asyncio.to_thread,
) -> bool:
    """Wait until this process may plan; false when it was told to stop meanwhile.

    A database that cannot be reached is asked again: whoever holds the turn has lost it then, too.
    """
    waited = False
    while not stopped():
        try:
            if await beside(turn.take):
                if waited:
                    await clock.sleep(SETTLE_S)
                return True
            say("another ghostdesk plans; this one stands by")
        except StoreError as error:
            say(f"standing by: {error.cause}")
        waited = True
        await clock.sleep(ASK_EVERY_S)
    return False


async def watch_turn(turn: Turn, clock: Clock, lost: Callable[[], None], *, beside: Beside = asyncio.to_thread) -> None:
    """Look twice a second whether the turn is still ours; call `lost` once when it is not, or nobody can say."""
    with contextlib.suppress(TimeoutError):
        while await _in_time(beside(turn.holds)):
            await clock.sleep(LOOK_EVERY_S)
    log.error("the turn to plan was lost: the database's connection broke; another ghostdesk may plan now")
    lost()


async def _in_time(answer: Awaitable[bool]) -> bool:
    async with asyncio.timeout(ANSWER_WITHIN_S):
        return await answer
