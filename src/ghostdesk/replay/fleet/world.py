"""The real control loop over a simulated cluster: people come and go, things go wrong, then all must come to rest."""

from __future__ import annotations

import gc
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

from ghostdesk.allocator.capacity import CapacityRules
from ghostdesk.allocator.plan import PoolPolicy
from ghostdesk.allocator.planner import ResourceAllocator
from ghostdesk.control.execute import Executor
from ghostdesk.control.loop import ControlLoop
from ghostdesk.control.observe import STRAY_AFTER_S, HostObserver
from ghostdesk.control.recover import recover
from ghostdesk.control.supply import MOST_AT_ONCE, Supply
from ghostdesk.engines.protocol import ObservedGhost
from ghostdesk.engines.simulated import SIMULATED_TEMPLATE
from ghostdesk.engines.simulated_cluster import (
    UNREACHABLE_S,
    SimulatedCluster,
    SimulatedClusterAgents,
    SimulatedClusterEngine,
)
from ghostdesk.engines.simulated_faults import FaultRates, FaultyEngine, HostFaults
from ghostdesk.engines.virtual_time import QueueClock, run_virtual
from ghostdesk.ghosts.commands import Outcome
from ghostdesk.ghosts.events import Failed, GhostEvent, Lost
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.ghosts.lifecycle import Step
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.replay.fleet.invariants import InvariantWatch, Patience, Violation
from ghostdesk.replay.fleet.people import HabitForecast, SyntheticPeople
from ghostdesk.replay.fleet.rest import Moment, what_is_odd
from ghostdesk.replay.fleet.run import FleetRun, FleetSetup, TickRecord
from ghostdesk.replay.stand_ins import MemoryJournal
from ghostdesk.store.protocol import Claim
from ghostdesk.transition.handover import SeamlessTransition

START_S = 1_736_150_400.0
"""A Monday, 08:00 UTC; any other moment would do."""
_BACK_AGAIN_S, _TRY_AGAIN_S = 2.0, 5.0
_MOST_TOLD = 50
_MOST_GARBAGE = 200_000
Progress = Callable[[float, str], None]
"""Told which share of the virtual time is over, and how things stand."""


def simulate_fleet(setup: FleetSetup, progress: Progress = lambda _share, _text: None) -> FleetRun:
    """Run it to its end: faults, people, and then rest."""
    thresholds = gc.get_threshold()
    gc.set_threshold(_MOST_GARBAGE, 50, 50)  # as in replays: many small objects, few of them in cycles
    try:
        return run_virtual(lambda clock: FleetWorld(setup, clock, progress).run(), START_S)
    finally:
        gc.set_threshold(*thresholds)


class FleetJournal(MemoryJournal):
    """Claims in memory, which a control plane finds again after a restart."""

    def claims(self) -> Sequence[Claim]:
        """All of them."""
        return list(self._claims.values())


class _MeteredCluster(SimulatedClusterEngine):
    """Notes the processor time of the cluster's list: what it takes is the simulation's, not the loop's."""

    observe_s = 0.0

    async def observe(self) -> Sequence[ObservedGhost]:
        began_s = time.process_time()
        found = await super().observe()
        self.observe_s = time.process_time() - began_s
        return found


class _MeteredFaults(FaultyEngine):
    """Notes when the list was there: waiting for it is no work."""

    listed_s = 0.0

    async def observe(self) -> Sequence[ObservedGhost]:
        found = await super().observe()
        self.listed_s = time.process_time()
        return found


class FleetWorld:
    """One control plane, its cluster and its people."""

    def __init__(self, setup: FleetSetup, clock: QueueClock, progress: Progress) -> None:
        self.setup, self.clock, self._progress = setup, clock, progress
        self.people = SyntheticPeople(setup.users, setup.habits, START_S, setup.seed)
        self.cluster = SimulatedCluster(
            clock, setup.hosts, desktops_a_host=setup.desktops_a_host, host_memory_bytes=setup.host_memory_bytes,
            seed=setup.seed,
        )  # fmt: skip
        self.meter = _MeteredCluster(self.cluster)
        self.engine = _MeteredFaults(self.meter, FaultRates(), clock, setup.seed, self.cluster.kill)
        self.host_faults = HostFaults(self.cluster, self.engine, setup.seed)
        self.agents = SimulatedClusterAgents(self.cluster)
        self.manager, self.journal = GhostDesktopManager(), FleetJournal()
        self.executor = Executor(self.manager, self.engine, self.agents, self.journal, clock)
        numbers = count(1)
        self._make_id: Callable[[], GhostId] = lambda: GhostId(f"g{next(numbers)}")
        self.policy = PoolPolicy(
            SIMULATED_TEMPLATE, floor=setup.floor, ceiling=setup.hosts * setup.desktops_a_host,
        )  # fmt: skip
        supply = Supply(
            self.manager, self.executor, clock, make_id=self._make_id, most_at_once=MOST_AT_ONCE * setup.hosts
        )
        observer = HostObserver(self.engine, memory_share=0.8, watched=frozenset)
        rules = CapacityRules()
        self.loop = ControlLoop(
            self.manager, HabitForecast(self.people), ResourceAllocator(), SeamlessTransition(), self.executor,
            self.agents, observer, supply, self.policy, clock, rules=lambda: rules,
        )  # fmt: skip
        self.executor.listeners.append(self._on_change)
        faults = setup.faults
        slow_s = 6.0 * faults.slow_s if faults.slow else 0.0
        wait_s = 2.0 * (UNREACHABLE_S + setup.tick_s + faults.timeout_s + slow_s)
        self.watch = InvariantWatch(
            setup.desktops_a_host, Patience(STRAY_AFTER_S + faults.burst_s + 4.0 * wait_s, wait_s, 2.0 * wait_s)
        )
        self.wanting: set[UserId] = set()
        """People who want a desktop and have none yet."""
        self.counts: Counter[str] = Counter()
        self.records: list[TickRecord] = []
        self.violations: list[Violation] = []
        self.violated: Counter[str] = Counter()
        self._open = True
        self._worked_s, self._check_s = time.process_time(), 0.0

    async def run(self) -> FleetRun:
        """Take over what runs, let everything happen, then wait until all is well."""
        began_s = time.monotonic()
        recovered_s = await self._take_over()
        self.engine.rates = self.setup.faults
        self._invite()
        end_s = START_S + 60.0 * self.setup.minutes
        while self.clock.now_s() < end_s:
            self.host_faults.pass_time(self.setup.tick_s)
            await self._tick_and_pass(end_s)
        self._open = False
        self.engine.end()
        self.host_faults.end()
        converged_s, odd = await self._come_to_rest(end_s)
        self.executor.cancel()
        await self.engine.stop(keep_ghosts=True)
        return FleetRun(
            self.setup, tuple(self.records), self.engine.injected, tuple(self.violations), self.violated, converged_s,
            odd, self.counts, recovered_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            time.monotonic() - began_s, self._check_s,
        )  # fmt: skip

    async def _take_over(self) -> float:
        """Those who are at work already got their desktops from a control plane before: recover them."""
        desktops = [(self._make_id(), self.people.names[row]) for row in self.people.there.nonzero()[0].tolist()]
        room = self.setup.hosts * self.setup.desktops_a_host
        for _, user in desktops[room:]:
            self.people.left(user)
        desktops = desktops[:room]
        self.cluster.populate(desktops)
        for ghost, user in desktops:
            await self.journal.claim(Claim(ghost, user, 1, GhostState.ACTIVE.value, START_S))
        self.counts["at work at the start"] = len(desktops)
        began_s = time.process_time()
        await recover(self.manager, self.engine, self.agents, self.executor, self.journal, self.clock)
        for _, user in desktops:
            self._stay(user)
        await self.clock.run_until(self.clock.now_s() + 1.0)
        return time.process_time() - began_s

    def _invite(self) -> None:
        """Let everybody come at their time."""
        end_s = START_S + 60.0 * self.setup.minutes
        for row in (self.people.next_s < end_s).nonzero()[0].tolist():
            self.clock.call_at(float(self.people.next_s[row]), partial(self._come, self.people.names[row]))

    def _come(self, user: UserId) -> None:
        if self._open and user not in self.wanting:
            self.wanting.add(user)
            self.executor.spawn(self._sign_in(user))

    async def _sign_in(self, user: UserId) -> None:
        """Somebody opens their desktop, and tries again until they have one."""
        while True:
            try:
                served = await self.loop.sign_in(user)
            except GhostdeskError:
                self.counts["refused, and tried again"] += 1
                await self.clock.sleep(_TRY_AGAIN_S)
                continue
            break
        self.wanting.discard(user)
        self.counts["served"] += 1
        self.counts[f"served: {served.path}"] += 1
        self.people.arrived(user)
        self._stay(user)

    def _stay(self, user: UserId) -> None:
        leave_s = self.clock.now_s() + self.people.stay_s()
        if leave_s < START_S + 60.0 * self.setup.minutes:
            ghost = self.manager.of_user(user)
            self.clock.call_at(leave_s, partial(self._leave, user, ghost.ghost if ghost is not None else None))

    def _leave(self, user: UserId, ghost: GhostId | None) -> None:
        now = self.manager.of_user(user)
        if self._open and now is not None and now.ghost == ghost and user not in self.wanting:
            back_s = self.clock.now_s() + self.people.left(user)
            self.counts["left"] += 1
            self.executor.spawn(self.loop.end_session(user, "the session ended"))
            if back_s < START_S + 60.0 * self.setup.minutes:
                self.clock.call_at(back_s, partial(self._come, user))

    def _on_change(self, step: Step, event: GhostEvent, _outcomes: Sequence[Outcome]) -> None:
        """Whoever loses their desktop opens another, as the page does for them."""
        ghost = step.ghost
        again = isinstance(event, Failed) and event.what == "destroy"
        if isinstance(event, Lost | Failed) and not again and ghost.state is GhostState.DRAINING and ghost.owner:
            user = ghost.owner
            if self.people.there[self.people.row[user]] and user not in self.wanting:
                self.counts["lost their desktop"] += 1
                self.wanting.add(user)
                self.clock.call_at(self.clock.now_s() + _BACK_AGAIN_S, lambda: self._again(user))

    def _again(self, user: UserId) -> None:
        self.executor.spawn(self._sign_in(user))

    async def _tick_and_pass(self, end_s: float) -> None:
        next_s = min(end_s, self.clock.now_s() + self.setup.tick_s)
        await self._tick()
        if next_s > self.clock.now_s():
            await self.clock.run_until(next_s)

    async def _tick(self) -> None:
        """One tick of the real loop, and a look at what must hold."""
        failed, tick_s, self.meter.observe_s = False, 0.0, 0.0
        try:
            tick_s = await self.clock.run(self._metered_tick())
        except GhostdeskError:
            failed = True  # it is tried again at the next tick, as in `ControlLoop.run`
        now_s = time.process_time()
        self._check(tick_s, now_s - self._worked_s, failed)
        self._worked_s = time.process_time()
        self._check_s += self._worked_s - now_s

    async def _metered_tick(self) -> float:
        """Tick; the processor time of the engine's list, and of all that the loop did once it was there."""
        await self.loop.tick()
        return time.process_time() - self.engine.listed_s + self.meter.observe_s

    def _check(self, tick_s: float, work_s: float, failed: bool) -> None:
        now_s = self.clock.now_s()
        found = self.watch.check(now_s, self.manager, self.cluster.instances())
        self.violations += found[: max(0, _MOST_TOLD - len(self.violations))]
        self.violated.update(violation.code for violation in found)
        states = Counter(self._kind(ghost) for ghost in self.manager)
        passed_s = now_s - START_S
        self.records.append(
            TickRecord(
                passed_s, tick_s, self.meter.observe_s, work_s, states["active"], states["personal"], states["ready"],
                states["coming"], states["draining"], len(self.wanting), len(self.cluster.away),
                len(self.loop.plan.actions), self.watch.lingering, failed,
            )
        )  # fmt: skip
        share = min(1.0, passed_s / (60.0 * self.setup.minutes))
        self._progress(share, f"{len(self.manager):,} desktops, {len(self.wanting):,} wait, a tick {tick_s:.2f} s")

    @staticmethod
    def _kind(ghost: Ghost) -> str:
        if ghost.state is GhostState.ACTIVE or ghost.state is GhostState.DRAINING:
            return ghost.state.value
        if ghost.owner is not None:
            return "personal"
        return "ready" if ghost.state in (GhostState.READY, GhostState.PARKED) else "coming"

    async def _come_to_rest(self, end_s: float) -> tuple[float | None, str]:
        """Tick until all is well, for `calm_s` at most: how long that took, or what is still odd."""
        odd = ""
        while self.clock.now_s() < end_s + self.setup.calm_s:
            await self._tick()
            odd = self._odd()
            if not odd:
                return self.clock.now_s() - end_s, ""
            await self.clock.run_until(self.clock.now_s() + self.setup.tick_s)
        return None, odd

    def _odd(self) -> str:
        people = self.people
        at_work = {people.names[row] for row in people.there.nonzero()[0].tolist()}
        return what_is_odd(
            Moment(
                tuple(self.manager), self.cluster.instances(), self.loop.plan, self.engine.late(), len(self.wanting),
                at_work,
            )
        )  # fmt: skip
