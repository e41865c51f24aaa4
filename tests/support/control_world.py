"""A whole control plane in virtual time on the simulated engine, with a forecast that the test writes itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ghostdesk.allocator.capacity import UNRULED
from ghostdesk.allocator.plan import PoolPolicy
from ghostdesk.allocator.planner import ResourceAllocator
from ghostdesk.allocator.policies.seam import Policy
from ghostdesk.control.execute import Executor
from ghostdesk.control.journal import Journal
from ghostdesk.control.loop import ControlLoop
from ghostdesk.control.observe import HostObserver
from ghostdesk.control.plane import ControlPlane
from ghostdesk.control.policy_feed import PolicyFeed
from ghostdesk.control.recover import recover
from ghostdesk.control.supply import Supply
from ghostdesk.engines.simulated import SIMULATED_TEMPLATE, SimulatedAgents, SimulatedEngine, SimulatedHost
from ghostdesk.engines.virtual_time import QueueClock
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.profiles.baselines.hour_of_week import Outlook
from ghostdesk.profiles.forecast import ArrivalCurve, LaunchProbability, UsageCurve
from ghostdesk.store.protocol import Store
from ghostdesk.store.sqlite import open_store
from ghostdesk.telemetry.events import UsageEvent
from ghostdesk.telemetry.history import History
from ghostdesk.transition.handover import SeamlessTransition

START_S = 1_760_000_000.0


@dataclass
class ScriptedForecast:
    """A forecast written by the test: who comes with which probability, and how many come in an hour."""

    arrival: dict[UserId, float] = field(default_factory=dict)
    apps: dict[UserId, tuple[str, ...]] = field(default_factory=dict)
    per_hour: float = 0.0
    seen: list[UsageEvent] = field(default_factory=list)
    forgotten: list[UserId] = field(default_factory=list)
    broken: bool = False

    def fit(self, history: History, now_s: float) -> None:
        self.seen.extend(history)

    def observe(self, event: UsageEvent) -> None:
        self.seen.append(event)

    def forget(self, user: UserId) -> None:
        self.forgotten.append(user)
        self.seen = [event for event in self.seen if event.user != user]

    def users(self) -> Sequence[UserId]:
        return tuple(self.arrival)

    def predict_resource_needs(self, user: UserId, now_s: float) -> UsageCurve:
        if self.broken:
            raise ZeroDivisionError("a predictor's fault")
        apps = tuple(LaunchProbability(AppId(a), 0.4) for a in self.apps.get(user, ()))
        return UsageCurve(user, now_s, 600.0, (self.arrival[user],), (self.arrival[user],), apps, reasons=("a habit",))

    def usage_curve(self, user: UserId, now_s: float, horizon_s: float, slot_s: float) -> UsageCurve:
        return self.predict_resource_needs(user, now_s)

    def outlook(self, now_s: float) -> Outlook:
        if self.broken:
            raise ZeroDivisionError("a predictor's fault")
        arrival = np.zeros((len(self.arrival) + 1, 12))  # a newcomer's row, and ten minutes of two hours
        arrival[: len(self.arrival), 0] = list(self.arrival.values())
        return Outlook(arrival, arrival)

    def predict_arrivals(self, now_s: float, horizon_s: float) -> ArrivalCurve:
        return ArrivalCurve(now_s, horizon_s, (self.per_hour * horizon_s / 3600,))


class NoApps:
    """The simulated agents know no catalogue."""

    async def catalogue(self, ghost: GhostId) -> Sequence[dict[str, Any]]:
        return []

    async def listing(self, ghost: GhostId) -> Sequence[dict[str, Any]]:
        return []


class World:
    """Build it, script the forecast, inject faults through `host`, let time pass with `pass_time`."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 1,
        host: SimulatedHost | None = None,
        chosen: Policy | None = None,
        **policy: Any,
    ) -> None:
        self.chosen = chosen
        self.eligible: frozenset[UserId] | None = None
        self.rules = UNRULED
        self.clock = QueueClock(START_S) if host is None else host.clock
        assert isinstance(self.clock, QueueClock)
        self.host = host or SimulatedHost(self.clock, seed=seed)
        self.folder = folder
        self.forecast = ScriptedForecast()
        self.policy = PoolPolicy(
            SIMULATED_TEMPLATE,
            ghost_limits=Resources(memory_bytes=1e9),
            active_limits=Resources(memory_bytes=4e9),
            **policy,
        )
        self._numbers = count(len(self.host.desktops) + 1)
        self.store: Store = open_store(folder / "world.db", now_s=START_S, repair=False)
        self._assemble()

    def _assemble(self) -> None:
        self.manager = GhostDesktopManager()
        self.engine = SimulatedEngine(self.host)
        self.agents = SimulatedAgents(self.host)
        self.journal = Journal(self.store, inline=True)
        self.executor = Executor(self.manager, self.engine, self.agents, self.journal, self.clock)
        self.supply = Supply(self.manager, self.executor, self.clock, make_id=self._next_id)
        self.observer = HostObserver(self.engine, memory_share=0.8, watched=lambda: self.plane.watched())  # noqa: PLW0108 - the plane comes later
        self.loop = ControlLoop(
            self.manager, self.forecast, ResourceAllocator(), SeamlessTransition(), self.executor, self.agents,
            self.observer, self.supply, self.policy, self.clock,
            eligible=lambda: self.eligible, rules=lambda: self.rules,
            feed=PolicyFeed(self.chosen, self.clock, zone=UTC) if self.chosen is not None else None,
        )  # fmt: skip
        self.plane = ControlPlane(
            self.loop, self.executor, self.engine, self.agents, NoApps(), self.journal, self.clock
        )

    def _next_id(self) -> GhostId:
        return GhostId(f"g{next(self._numbers)}")

    async def pass_time(self, duration_s: float, tick_s: float = 5.0) -> None:
        """Let time pass, with a tick of the real loop every `tick_s`."""
        end_s = self.clock.now_s() + duration_s
        while self.clock.now_s() < end_s:
            await self.clock.run(self.loop.tick())
            await self.clock.run_until(min(end_s, self.clock.now_s() + tick_s))

    async def crash_and_restart(self) -> None:
        """The control plane dies where it stands (its tasks with it), and a new one takes over."""
        self.executor.cancel()
        await self.clock.run_until(self.clock.now_s() + 0.001)
        self._assemble()
        await self.clock.run(recover(self.manager, self.engine, self.agents, self.executor, self.journal, self.clock))
        await self.clock.run_until(self.clock.now_s() + 1.0)

    def states(self) -> dict[str, str]:
        """Every ghost's state."""
        return {g.ghost: g.state.value for g in self.manager}

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()
