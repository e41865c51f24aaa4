"""The plan's wishes for the page cache, carried out by the engine one at a time; and what became of what was loaded."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ghostdesk.control.service import PrefetchView
from ghostdesk.engines.prefetcher import Prefetched, Prefetcher, Prefetches
from ghostdesk.engines.protocol import Engine
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.ids import AppId
from ghostdesk.prefetch.launch_set import LaunchSet
from ghostdesk.prefetch.plan import LoadLimits, PrefetchWish, chances_of, plan_prefetch

log = logging.getLogger(__name__)
COUNTS_FOR_S = 3600.0
"""What was loaded and not used by a launch within this was loaded in vain."""
NOT_AGAIN_S = 60.0
"""The same application is not loaded again sooner, whatever became of it."""
_CANDIDATES = 12
"""Applications whose residency is looked at in one round."""


@dataclass
class Tally:
    """What came of it since the start.

    Args:
        loads: how many prefetches were begun.
        files, read_bytes: what they read from the disk.
        used_bytes: of these, what belonged to an application that was then launched within the hour.
        wasted_bytes: what was not; what is younger than an hour is in neither.
        launches, hits: launches, and those of an application that had been loaded within the hour.
        seconds: spent loading.
        skipped: entries left out, by reason.
        stopped: prefetches that ended early, by reason.
    """

    loads: int = 0
    files: int = 0
    read_bytes: int = 0
    used_bytes: int = 0
    wasted_bytes: int = 0
    launches: int = 0
    hits: int = 0
    seconds: float = 0.0
    skipped: dict[str, int] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)


class PrefetchFeed:
    """Has the engine load what the plan wishes for.

    Args:
        prefetcher: the engine's part; asked each time, as it may come with the engine's start. None where it has none.
        clock: tells the time.
        budget_bytes: most new page cache at a time.
        limits: how much loading may take of the host.
        within_s: how far ahead the plan looks.
    """

    def __init__(
        self,
        prefetcher: Callable[[], Prefetcher | None],
        clock: Clock,
        *,
        budget_bytes: float,
        limits: LoadLimits,
        within_s: float,
    ) -> None:
        self._prefetcher, self._clock = prefetcher, clock
        self._budget_bytes, self._limits, self._within_s = budget_bytes, limits, within_s
        self._running: asyncio.Task[None] | None = None
        self._loading: PrefetchWish | None = None
        self._tried_s: dict[AppId, float] = {}
        self._pending: deque[tuple[float, AppId, int]] = deque()
        """What was loaded within the last hour and not used yet: when, for which application, bytes."""
        self._loaded_s: dict[AppId, float] = {}
        self._last = ""
        self.tally = Tally()

    def follow(self, wishes: Sequence[PrefetchWish], paused: bool) -> None:
        """What the plan wishes now; returns at once. A pause ends what is under way, except for wishes that hold in
        spite of it (the plan has left out all others)."""
        self._forget_old(self._clock.now_s())
        if paused and self._running is not None and not self._still_wished(wishes):
            self._running.cancel()
        if self._running is not None or not wishes or self._prefetcher() is None:
            return
        self._running = asyncio.create_task(self._round(tuple(wishes)))

    def launched(self, app: AppId) -> None:
        """An application was started somewhere: what was loaded for it was of use."""
        now_s = self._clock.now_s()
        self._forget_old(now_s)
        self.tally.launches += 1
        self.tally.hits += app in self._loaded_s
        self.tally.used_bytes += sum(loaded for _, each, loaded in self._pending if each == app)
        self._pending = deque(entry for entry in self._pending if entry[1] != app)

    def view(self) -> PrefetchView:
        """For the status view."""
        prefetcher, tally = self._prefetcher(), self.tally
        return PrefetchView(
            sets=len(prefetcher.launch_sets()) if prefetcher is not None else 0,
            loading=self._loading.reason if self._loading is not None else "",
            last=self._last,
            loads=tally.loads,
            files=tally.files,
            read_bytes=tally.read_bytes,
            used_bytes=tally.used_bytes,
            wasted_bytes=tally.wasted_bytes,
            launches=tally.launches,
            hits=tally.hits,
            seconds=tally.seconds,
            skipped=dict(tally.skipped),
            stopped=dict(tally.stopped),
        )

    async def stop(self) -> None:
        """Stop loading, and wait until nothing of it runs."""
        running = self._running
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def _still_wished(self, wishes: Sequence[PrefetchWish]) -> bool:
        return self._loading is not None and any(app in wish.apps for wish in wishes for app in self._loading.apps)

    async def _round(self, wishes: Sequence[PrefetchWish]) -> None:
        """Load the most useful one; the next tick looks again."""
        try:
            prefetcher = self._prefetcher()
            chosen = None if prefetcher is None else await self._choose(prefetcher, wishes)
            if prefetcher is None or chosen is None:
                return
            self._loading = chosen
            self._tried_s |= dict.fromkeys(chosen.apps, self._clock.now_s())
            self.tally.loads += 1
            try:
                self._note(await prefetcher.load(chosen, self._limits))
            except asyncio.CancelledError:
                _count(self.tally.stopped, "told")
                raise
        except Exception:  # beside the loop: whatever a file or a loader holds, the loop goes on
            log.exception("prefetching failed")
        finally:
            self._running = self._loading = None

    async def _choose(self, prefetcher: Prefetcher, wishes: Sequence[PrefetchWish]) -> PrefetchWish | None:
        now_s = self._clock.now_s()
        sets: Mapping[AppId, LaunchSet] = prefetcher.launch_sets()
        chances = [
            chance
            for chance in chances_of(wishes)
            if chance.app in sets and now_s - self._tried_s.get(chance.app, float("-inf")) >= NOT_AGAIN_S
        ][:_CANDIDATES]
        resident = {chance.app: await prefetcher.resident_share(chance.app) for chance in chances}
        plan = plan_prefetch(chances, sets, resident, self._budget_bytes, self._limits, self._within_s)
        return plan[0] if plan else None

    def _note(self, done: Prefetched) -> None:
        now_s, tally = self._clock.now_s(), self.tally
        tally.files += done.files
        tally.read_bytes += done.read_bytes
        tally.seconds += done.duration_s
        for app, loaded in done.bytes_by_app.items():
            self._pending.append((now_s, app, loaded))
            self._loaded_s[app] = now_s
        for reason, count in done.skipped.items():
            _count(tally.skipped, reason, count)
        if done.stopped:
            _count(tally.stopped, done.stopped)
        ended = f"; it ended early: {done.stopped}" if done.stopped else ""
        self._last = f"{done.wish.reason}; {done.read_bytes / 2**20:.0f} MiB read in {done.duration_s:.1f} s{ended}"
        log.info("prefetch: %s", self._last)

    def _forget_old(self, now_s: float) -> None:
        while self._pending and not now_s - COUNTS_FOR_S <= self._pending[0][0] <= now_s:
            self.tally.wasted_bytes += self._pending.popleft()[2]
        self._loaded_s = {app: at_s for app, at_s in self._loaded_s.items() if now_s - COUNTS_FOR_S <= at_s <= now_s}


def prefetcher_of(engine: Engine, *, wanted: bool) -> Callable[[], Prefetcher | None]:
    """The engine's part: there once it has started, if it has one and it is wanted."""
    if not wanted or not isinstance(engine, Prefetches):
        return lambda: None
    return lambda: engine.prefetcher


def _count(where: dict[str, int], reason: str, count: int = 1) -> None:
    where[reason] = where.get(reason, 0) + count
