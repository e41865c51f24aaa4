"""New ghosts: making them, waiting for one, and backing off when they cannot be built."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ghostdesk.allocator.bookings import NOTHING_KEPT, Kept
from ghostdesk.allocator.lead_time import LeadTime
from ghostdesk.allocator.plan import PoolPolicy
from ghostdesk.control.backoff import BuildBackoff
from ghostdesk.control.execute import Executor
from ghostdesk.ghosts.commands import Build, Outcome
from ghostdesk.ghosts.events import BuildRequested, CacheRequested, Done, Failed, GhostEvent, ReleaseRequested
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.ghosts.lifecycle import Step
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import BuildFailed, EngineError, InsufficientCapacity
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.kernel.resources import Priority

_REMEMBERED_BUILDS = 20
_FIRST_GUESS_S = 5.0
_MADE_WAY = ReleaseRequested("it made way for somebody who is waiting")
_MAKE_WAY = frozenset(GhostState) - {GhostState.ACTIVE, GhostState.DRAINING}
_OWN_TRIES = 3
"""Builds for one person that may fail before they are told, whatever is being built for others meanwhile."""
MOST_AT_ONCE = 2
"""Builds under way at the same time on one machine: more would only slow each other down."""


@dataclass
class Wait:
    """One person's waiting: what was built for them."""

    built: list[GhostId] = field(default_factory=list)


def new_ghost_id() -> GhostId:
    """An id that is never used twice: 8 random hexadecimal digits behind a letter."""
    return GhostId("g" + secrets.token_hex(4))


class Supply:
    """Where ghosts come from.

    Args:
        make_id: names new ghosts.
        most_at_once: builds under way at the same time.
        first_guess_s: how long a build is taken to last before the first was measured.
    """

    def __init__(
        self,
        manager: GhostDesktopManager,
        executor: Executor,
        clock: Clock,
        *,
        make_id: Callable[[], GhostId] = new_ghost_id,
        most_at_once: int = MOST_AT_ONCE,
        first_guess_s: float = _FIRST_GUESS_S,
    ) -> None:
        self._manager = manager
        self._executor = executor
        self._clock = clock
        self._make_id = make_id
        self._most_at_once = most_at_once
        self._first_guess_s = first_guess_s
        self._changed = asyncio.Event()
        self._build_times_s: deque[float] = deque(maxlen=_REMEMBERED_BUILDS)
        self._lead: LeadTime | None = None
        self._last_failure: EngineError | None = None
        self.waiting = 0
        """People who wait for a ghost now."""
        self.backoff = BuildBackoff()
        executor.listeners.append(self._on_change)

    @property
    def lead_time(self) -> LeadTime:
        """How long a build takes here, and how much that varies: from the last 20, a guess before the first."""
        if self._lead is None:
            self._lead = LeadTime.measured(self._build_times_s, self._first_guess_s)
        return self._lead

    def building(self) -> int:
        """How many builds are under way; what is being built belongs to nobody yet."""
        return self._manager.building()

    def make(self, event: GhostEvent) -> None:
        """Start a build (or the caching of a template) for a new ghost, unless too many are under way."""
        assert isinstance(event, BuildRequested | CacheRequested)
        if isinstance(event, BuildRequested) and self.building() >= self._most_at_once:
            return
        ghost = self._manager.add(self._make_id(), event.template.template)
        self._executor.spawn(self._executor.carry_out(ghost.ghost, event))

    async def await_ghost(
        self, user: UserId, policy: PoolPolicy, kept: Kept = NOTHING_KEPT, wait: Wait | None = None
    ) -> None:
        """Wait until something has changed that may have brought a ghost; what is `kept` is not for this person.

        Whoever waits has a build of their own under way, as far as so many may run at once; who waits longest takes
        the first that is ready. `wait` is kept from call to call while the same person waits.

        Raises:
            EngineError: the build failed, or there is no room for one more desktop.
        """
        wait = wait or Wait()
        self._changed.clear()
        self.waiting += 1
        try:
            coming = sum(1 for g in self._manager.of_nobody() if g.coming)
            if coming == 0 or (coming < self.waiting and coming < self._most_at_once):
                self._build_for(user, policy, coming, kept, wait)
            await self._changed.wait()
        finally:
            self.waiting -= 1
        failure = self._last_failure
        # While builds of others are under way they may serve; where all fail, each would wait for the next for ever.
        if failure is not None and (not self.building() or self._failed(wait) >= _OWN_TRIES):
            if isinstance(failure, InsufficientCapacity) and (victim := self._least_useful(kept)) is not None:
                wait.built.clear()
                await self._executor.carry_out(victim.ghost, _MADE_WAY)  # people before ghosts; then another try
                return
            raise failure

    def _failed(self, wait: Wait) -> int:
        """How many builds for one person came to nothing."""
        return sum(1 for g in wait.built if g not in self._manager or self._manager.get(g).state is GhostState.DRAINING)

    def _build_for(self, user: UserId, policy: PoolPolicy, coming: int, kept: Kept, wait: Wait) -> None:
        try:
            if not self._make_room(policy, kept):
                return  # a ghost that is busy now will do, or make way
        except InsufficientCapacity:
            if coming:
                return  # what comes for others may do
            raise
        if coming == 0:
            self._last_failure = None
        ghost = self._manager.add(self._make_id(), policy.template.template)
        wait.built.append(ghost.ghost)
        # Somebody waits: it does not yield, and has what a claim will give it. If nobody takes it, the plan resizes it.
        reason = f"{user} is waiting for it"
        event = BuildRequested(policy.template, policy.active_limits, reason, Priority.PERSON)
        self._executor.spawn(self._executor.carry_out(ghost.ghost, event))

    def _make_room(self, policy: PoolPolicy, kept: Kept) -> bool:
        """People before ghosts: at the ceiling, the least useful idle ghost of somebody else makes way. False where all
        ghosts that could are busy just now.

        Raises:
            InsufficientCapacity: people have all desktops, or those that are left are booked.
        """
        if len(self._manager) - self._manager.draining() < policy.ceiling:
            return True
        alive = [g for g in self._manager if g.state is not GhostState.DRAINING]
        victim = self._least_useful(kept)
        if victim is not None:
            self._executor.spawn(self._executor.carry_out(victim.ghost, _MADE_WAY))
            return True
        others = [g for g in alive if g.state is not GhostState.ACTIVE and not self._executor.watched(g.ghost)]
        if len([g for g in others if g.owner not in kept.owners]) > kept.of_nobody:
            return False
        if others:
            raise InsufficientCapacity(
                f"The last {len(others)} of {policy.ceiling} desktops are booked for a class.",
                "Try later, or ask your operator to raise pool.ceiling.",
            )
        raise InsufficientCapacity(
            f"All {policy.ceiling} desktops are in use.", "Ask your operator to raise pool.ceiling, or try later."
        )

    def _least_useful(self, kept: Kept) -> Ghost | None:
        """The ghost that makes way for somebody who waits: none that is busy, watched or kept for a class."""
        idle = [g for g in self._manager if g.state in _MAKE_WAY and g.pending is None]
        idle = [g for g in idle if g.owner not in kept.owners and not self._executor.watched(g.ghost)]
        if sum(1 for g in idle if g.owner is None) <= kept.of_nobody:
            idle = [g for g in idle if g.owner is not None]
        return min(idle, key=lambda g: (g.state is GhostState.WARM, g.since_s), default=None)

    def _on_change(self, step: Step, event: GhostEvent, outcomes: Sequence[Outcome]) -> None:
        if isinstance(event, Done) and event.what == "build":
            self.backoff = self.backoff.succeeded()
            self._lead = None
            self._build_times_s.extend(o.duration_s for o in outcomes if isinstance(o.command, Build))
        if isinstance(event, Failed) and event.what == "build":
            error = next((o.error for o in outcomes if isinstance(o.error, EngineError)), None)
            self._last_failure = error or BuildFailed(event.reason)
            self.backoff = self.backoff.failed(event.reason, self._clock.now_s(), self._last_failure.retry_after_s)
        if self.waiting and (_may_serve(step.ghost) or isinstance(event, Failed)):
            self._changed.set()


def _may_serve(ghost: Ghost) -> bool:
    return ghost.state in (GhostState.READY, GhostState.WARM, GhostState.ACTIVE, GhostState.PARKED, GhostState.DRAINING)
