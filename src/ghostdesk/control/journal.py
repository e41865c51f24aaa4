"""Writes to the store from the event loop: in order, on one thread, so that no slow disk and no lock stops the loop.

Usage events are collected and written in batches; claims are written before their commands run (write-ahead), so that a
crash finds at least as much on disk as was promised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ghostdesk.kernel.errors import StoreError
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.protocol import Claim, LaunchRecord, Store
from ghostdesk.telemetry.events import SOURCE_OF, EventKind, TelemetrySource, UsageEvent

T = TypeVar("T")
_MOST_WAITING = 200_000


class Journal:
    """The control plane's pen. `problem` says why writing fails at present; events are kept in memory meanwhile."""

    def __init__(self, store: Store, *, inline: bool = False) -> None:
        self.store = store
        self.problem = ""
        self._inline = inline
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._waiting: list[UsageEvent] = []

    async def run(self, work: Callable[[], T]) -> T:
        """Have `work` done after everything that was asked for before it."""
        if self._inline:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def event(self, event: UsageEvent) -> None:
        """Write this event with the next batch; the oldest are dropped when the store was away for very long."""
        self._waiting.append(event)
        if len(self._waiting) > _MOST_WAITING:
            del self._waiting[: _MOST_WAITING // 10]

    def forget(self, user: UserId, source: TelemetrySource | None, until_s: float = float("inf")) -> int:
        """Drop waiting events of a user from one source, or all (None), up to `until_s`; returns how many."""
        before = len(self._waiting)
        self._waiting = [
            event
            for event in self._waiting
            if event.user != user
            or event.time_s > until_s
            or (source is not None and SOURCE_OF.get(event.kind) is not source)
        ]
        return before - len(self._waiting)

    def forget_detail(self, user: UserId, kind: EventKind, detail: str) -> None:
        """Drop waiting events of a user that name this."""
        named = (user, kind, detail)
        self._waiting = [event for event in self._waiting if (event.user, event.kind, event.detail) != named]

    async def flush(self) -> None:
        """Write what waits; on failure it goes on waiting and `problem` says why."""
        if not self._waiting:
            return
        batch, self._waiting = self._waiting, []
        try:
            await self.run(lambda: self.store.add_events(batch))
            self.problem = ""
        except StoreError as error:
            self.problem = str(error)
            self._waiting = batch + self._waiting

    async def claim(self, claim: Claim) -> None:
        """Write a claim; raises `Conflict` when somebody was first, and lets the user in when the store is away.

        A sign-in is worth more than its record: with the store away, the claim is fenced in memory alone.
        """
        try:
            await self.run(lambda: self.store.put_claim(claim))
        except StoreError as error:
            self.problem = str(error)

    async def launch(self, record: LaunchRecord) -> None:
        """Remember how somebody was served."""
        await self.quietly(lambda: self.store.add_launch(record))

    async def quietly(self, work: Callable[[], object]) -> None:
        """Do what may be lost without harm; a failure is shown, not raised."""
        try:
            await self.run(work)
        except StoreError as error:
            self.problem = str(error)

    async def close(self) -> None:
        """Write what waits and end the thread."""
        await self.flush()
        self._thread.shutdown(wait=True)
