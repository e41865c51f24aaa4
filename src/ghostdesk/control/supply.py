"""New ghosts: making them, waiting for one, and backing off when they cannot be built."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Sequence

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

_REMEMBERED_BUILDS = 20
_FIRST_GUESS_S = 5.0
MOST_AT_ONCE = 2
"""Builds under way at the same time: more would only slow each other down."""


def new_ghost_id() -> GhostId:
    """An id that is never used twice: 8 random hexadecimal digits behind a letter."""
    return GhostId("g" + secrets.token_hex(4))


class Supply:
    """Where ghosts come from."""

    def __init__(
        self,
        manager: GhostDesktopManager,
        executor: Executor,
        clock: Clock,
        *,
        make_id: Callable[[], GhostId] = new_ghost_id,
    ) -> None:
        self._manager = manager
        self._executor = executor
        self._clock = clock
        self._make_id = make_id
        self._changed = asyncio.Event()
        self._build_times_s: deque[float] = deque(maxlen=_REMEMBERED_BUILDS)
        self._last_failure: EngineError | None = None
        self.backoff = BuildBackoff()
        executor.listeners.append(self._on_change)

    @property
    def lead_time(self) -> LeadTime:
        """How long a build takes here, and how much that varies: from the last 20, a guess before the first."""
        return LeadTime.measured(self._build_times_s, _FIRST_GUESS_S)

    def building(self) -> int:
        """How many builds are under way."""
        return sum(1 for g in self._manager if g.pending == "build")

    def make(self, event: GhostEvent) -> None:
        """Start a build (or the caching of a template) for a new ghost, unless too many are under way."""
        assert isinstance(event, BuildRequested | CacheRequested)
        if isinstance(event, BuildRequested) and self.building() >= MOST_AT_ONCE:
            return
        ghost = self._manager.add(self._make_id(), event.template.template)
        self._executor.spawn(self._executor.carry_out(ghost.ghost, event))

    async def await_ghost(self, user: UserId, policy: PoolPolicy) -> None:
        """Wait until something has changed that may have brought a ghost; start a build if none is under way.

        Raises:
            EngineError: the build failed, or there is no room for one more desktop.
        """
        self._changed.clear()
        coming = any(g.owner in (None, user) and g.pending in ("build", "wake") for g in self._manager)
        if not coming:
            self._make_room(policy)
            self._last_failure = None
            ghost = self._manager.add(self._make_id(), policy.template.template)
            event = BuildRequested(policy.template, policy.ghost_limits, f"{user} is waiting for it")
            self._executor.spawn(self._executor.carry_out(ghost.ghost, event))
        await self._changed.wait()
        if self._last_failure is not None and not self.building():
            raise self._last_failure

    def _make_room(self, policy: PoolPolicy) -> None:
        """People before ghosts: at the ceiling, the least useful idle ghost of somebody else makes way."""
        alive = [g for g in self._manager if g.state is not GhostState.DRAINING]
        if len(alive) < policy.ceiling:
            return
        idle = [g for g in alive if g.state is not GhostState.ACTIVE and g.pending is None]
        idle = [g for g in idle if not self._executor.watched(g.ghost)]
        if not idle:
            raise InsufficientCapacity(
                f"All {policy.ceiling} desktops are in use.", "Ask your operator to raise pool.ceiling, or try later."
            )
        victim = min(idle, key=lambda g: (g.state is GhostState.WARM, g.since_s))
        event = ReleaseRequested("it made way for somebody who is waiting")
        self._executor.spawn(self._executor.carry_out(victim.ghost, event))

    def _on_change(self, step: Step, event: GhostEvent, outcomes: Sequence[Outcome]) -> None:
        if isinstance(event, Done) and event.what == "build":
            self.backoff = self.backoff.succeeded()
            self._build_times_s.extend(o.duration_s for o in outcomes if isinstance(o.command, Build))
        if isinstance(event, Failed) and event.what == "build":
            error = next((o.error for o in outcomes if isinstance(o.error, EngineError)), None)
            self._last_failure = error or BuildFailed(event.reason)
            self.backoff = self.backoff.failed(event.reason, self._clock.now_s(), self._last_failure.retry_after_s)
        if _may_serve(step.ghost) or isinstance(event, Failed):
            self._changed.set()


def _may_serve(ghost: Ghost) -> bool:
    return ghost.state in (GhostState.READY, GhostState.WARM, GhostState.ACTIVE) or ghost.state is GhostState.DRAINING
