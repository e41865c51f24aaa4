"""What every engine does around a command: one after another for each ghost, and an outcome whatever comes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from ghostdesk.ghosts.commands import Destroy, EngineCommand, Outcome
from ghostdesk.kernel.errors import EngineError, GhostdeskError
from ghostdesk.kernel.ids import GhostId

Facts = dict[str, float | str]


class Turns:
    """Commands take turns.

    Args:
        also: faults of the work, beside `GhostdeskError`, that are the command's outcome; any other is raised.
    """

    def __init__(self, also: tuple[type[Exception], ...] = (OSError, ValueError)) -> None:
        self._also = also
        self._locks: dict[GhostId, asyncio.Lock] = {}

    def busy(self, ghost: GhostId) -> bool:
        """Whether a command for the ghost is being carried out."""
        lock = self._locks.get(ghost)
        return lock is not None and lock.locked()

    async def take(self, command: EngineCommand, work: Callable[[], Awaitable[Facts]]) -> Outcome:
        """Do the work once it is the command's turn; the outcome's time counts from the asking."""
        started_s = time.perf_counter()
        lock = self._locks.setdefault(command.ghost, asyncio.Lock())
        try:
            async with lock:
                facts = await work()
            return Outcome(command, None, time.perf_counter() - started_s, facts)
        except GhostdeskError as error:
            return Outcome(command, error, time.perf_counter() - started_s)
        except self._also as error:
            failed = EngineError(f"{type(command).__name__} of ghost {command.ghost} failed: {error}.")
            return Outcome(command, failed, time.perf_counter() - started_s)
        finally:
            if isinstance(command, Destroy) and not lock.locked():
                self._locks.pop(command.ghost, None)


async def destroy_all(apply: Callable[[EngineCommand], Awaitable[Outcome]], ghosts: Iterable[GhostId]) -> None:
    """Destroy these ghosts side by side; raises the first error once all have been tried."""
    outcomes = await asyncio.gather(*(apply(Destroy(ghost)) for ghost in ghosts))
    if failed := [outcome.error for outcome in outcomes if outcome.error is not None]:
        raise failed[0]
