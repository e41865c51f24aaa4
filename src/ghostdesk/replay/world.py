"""The control loop itself on recorded history: simulated desktops, virtual time, real decisions.

People come and leave when the history says. Everything between (claiming, building, waiting, backing off, planning)
is done by `control.loop.ControlLoop` and its parts, as in a running ghostdesk. The loop ticks when its policy wants
something else, and when the pool is not as it should be: a tick in between would change nothing.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import partial
from itertools import count

import numpy as np

from ghostdesk.allocator.plan import PoolPolicy
from ghostdesk.allocator.planner import ResourceAllocator
from ghostdesk.allocator.policies.seam import Policy
from ghostdesk.control.execute import Executor
from ghostdesk.control.loop import ControlLoop
from ghostdesk.control.observe import HostObserver
from ghostdesk.control.policy_feed import DECIDE_EVERY_S, PolicyFeed
from ghostdesk.control.supply import Supply
from ghostdesk.engines.simulated import (
    SIMULATED_TEMPLATE,
    Duration,
    SimulatedAgents,
    SimulatedEngine,
    SimulatedFigures,
    SimulatedHost,
)
from ghostdesk.engines.simulated_host import ANY_AMOUNT_BYTES
from ghostdesk.engines.virtual_time import QueueClock, run_virtual
from ghostdesk.ghosts.commands import Outcome
from ghostdesk.ghosts.events import Done, GhostEvent
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.ghosts.lifecycle import Step
from ghostdesk.ghosts.pool import GhostDesktopManager
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.kernel.resources import GIB, Resources
from ghostdesk.replay.history import Sessions, Window
from ghostdesk.replay.learning import teach
from ghostdesk.replay.recorder import NEVER, Recorder, Recording
from ghostdesk.replay.stand_ins import MemoryJournal, NoForecast
from ghostdesk.transition.handover import SeamlessTransition

WARM_UP_S = 7_200.0
"""The loop runs for so long before it is judged, so that it does not begin with an empty pool."""
_OBSERVE_EVERY_S = 3_600.0
"""No simulated desktop dies by itself: the host is looked at now and then only."""
_PROGRESS_EVERY = 512
_COMING = ("build", "wake")
_NO_LIMIT = 1_000_000
_MOST_GARBAGE = 200_000


@dataclass(frozen=True, slots=True)
class ReplayFigures:
    """How long things take and how much there may be: assumed, unless the operator gives what was measured.

    Args:
        lead_s: mean time until a new ghost is ready.
        lead_spread: standard deviation of the logarithm of that time.
        hand_over_s: time in which a ready ghost becomes its user's.
        destroy_s: time in which a used desktop is destroyed.
        ceiling: most desktops of all kinds; 0 for no limit.
        builds_at_once: most builds under way at the same time; 0 for no limit.
        ghost_memory_gib: what a ghost that waits holds.
        host_memory_gib: what all desktops may hold together; 0 for no limit.
        decide_every_s: how often the policy is asked.
        seed: equal seeds give equal durations.
    """

    lead_s: float = 120.0
    lead_spread: float = 0.0
    hand_over_s: float = 0.28
    destroy_s: float = 5.0
    ceiling: int = 0
    builds_at_once: int = 0
    ghost_memory_gib: float = 0.25
    host_memory_gib: float = 0.0
    decide_every_s: float = DECIDE_EVERY_S
    seed: int = 0


def replay(
    sessions: Sessions,
    window: Window,
    policy: Policy,
    figures: ReplayFigures,
    zone: tzinfo,
    progress: Callable[[float], None] = lambda _share: None,
) -> Recording:
    """What this policy would have done: let it learn from what was before the window, then run the loop.

    Args:
        progress: told now and then which share of the window is over, 0 to 1.
    """
    start_s = window.judge_s - WARM_UP_S
    thresholds = gc.get_threshold()
    gc.set_threshold(_MOST_GARBAGE, 50, 50)  # thousands of small objects a second, few of them in cycles
    try:
        return run_virtual(
            lambda clock: _World(sessions, window, policy, figures, zone, clock, progress).run(), start_s
        )
    finally:
        gc.set_threshold(*thresholds)


class _World:
    """One control plane, its simulated host, and the people of the history."""

    def __init__(
        self,
        sessions: Sessions,
        window: Window,
        policy: Policy,
        figures: ReplayFigures,
        zone: tzinfo,
        clock: QueueClock,
        progress: Callable[[float], None],
    ) -> None:
        self._sessions, self._window, self._clock, self._progress = sessions, window, clock, progress
        self._users = [UserId(name) for name in sessions.names]
        self._row_names: dict[UserId, str] = {}
        self.recorder = Recorder(clock)
        host = SimulatedHost(clock, seed=figures.seed, figures=_simulated(figures), capacity=_capacity(figures))
        engine, agents = SimulatedEngine(host), SimulatedAgents(host)
        manager = GhostDesktopManager()
        self._executor = Executor(manager, engine, agents, MemoryJournal(), clock)
        numbers = count(1)
        supply = Supply(
            manager, self._executor, clock,
            make_id=lambda: GhostId(f"g{next(numbers)}"),
            most_at_once=figures.builds_at_once or _NO_LIMIT,
            first_guess_s=figures.lead_s,
        )  # fmt: skip
        pool = PoolPolicy(
            SIMULATED_TEMPLATE, floor=0, ceiling=figures.ceiling or _NO_LIMIT,
            ghost_memory_bytes=figures.ghost_memory_gib * GIB,
        )  # fmt: skip
        self._feed = PolicyFeed(
            policy, clock, zone=zone, every_s=figures.decide_every_s, shared=not sessions.named,
            row_name=str if sessions.named else self._row_names.__getitem__,
        )  # fmt: skip
        observer = HostObserver(engine, memory_share=1.0, watched=frozenset, every_s=_OBSERVE_EVERY_S)
        self.loop = ControlLoop(
            manager, NoForecast(), ResourceAllocator(), SeamlessTransition(), self._executor, agents, observer, supply,
            pool, clock, feed=self._feed,
        )  # fmt: skip
        self._executor.listeners += [self.recorder.on_change, self._on_change]
        self._decide_every_s = figures.decide_every_s
        self._planning = False

    async def run(self) -> Recording:
        """Learn, then let people come and leave until the window is over."""
        begin_s = self._clock.now_s()
        starts = self._sessions.start_s
        first, last = np.searchsorted(starts, [begin_s, self._window.until_s]).tolist()
        self._learn(first, begin_s)
        await self._drive(first, last, begin_s)
        self._executor.cancel()
        await self._executor.settle()
        return self.recorder.recording()

    def _learn(self, first: int, begin_s: float) -> None:
        """Teach the policy what was before; of the first so many sessions, those that go on are in use when the loop
        begins."""
        past = self._sessions
        teach(self._feed, past, begin_s, self.loop.supply.lead_time)
        for index in np.flatnonzero(past.end_s[:first] > begin_s).tolist():
            user = self._user(index)
            self._feed.resumed(user)
            self._executor.spawn(self._leave(user, float(past.end_s[index])))

    async def _drive(self, first: int, last: int, begin_s: float) -> None:
        """Let people come one after the other, and the policy be asked when it is due, until the window is over."""
        clock, until_s, every_s = self._clock, self._window.until_s, self._decide_every_s
        starts_s = self._sessions.start_s[first:last].tolist()
        spawn, visit, call_soon = self._executor.spawn, self._visit, asyncio.get_running_loop().call_soon
        asked = 0

        def come(number: int) -> None:
            spawn(visit(first + number))
            call_soon(self._plan_if_unsettled)  # once they have looked for a ghost
            if number + 1 < len(starts_s):
                clock.call_at(starts_s[number + 1], partial(come, number + 1))

        def ask() -> None:
            nonlocal asked
            asked += 1
            now_s = clock.now_s()
            if self.loop.ask_policy(now_s):
                self._plan()
            if asked % _PROGRESS_EVERY == 0:
                self._progress((now_s - begin_s) / (until_s - begin_s))
            if now_s + every_s < until_s:
                clock.call_at(now_s + every_s, ask)

        clock.call_at(begin_s, ask)
        if starts_s:
            clock.call_at(starts_s[0], partial(come, 0))
        await clock.run_until(until_s)

    async def _visit(self, index: int) -> None:
        """One session: come, work, leave."""
        user, start_s, end_s = self._user(index), self._clock.now_s(), float(self._sessions.end_s[index])
        try:
            served = await self.loop.sign_in(user)
        except GhostdeskError:
            self.recorder.served(start_s, NEVER, NEVER, found=False)
            return
        now_s = self._clock.now_s()
        self.recorder.served(start_s, served.ghost.since_s, now_s, found=served.path != "built")
        if end_s > now_s:
            await self._clock.sleep(end_s - now_s)
        await self.loop.end_session(user, "the session ended")
        self._row_names.pop(user, None)

    async def _leave(self, user: UserId, end_s: float) -> None:
        """A session that went on when the loop began: its desktop was never ours."""
        await self._clock.sleep(end_s - self._clock.now_s())
        self._feed.ended(user, end_s)

    def _user(self, index: int) -> UserId:
        """Whose session it is. At a shared desktop everyone is somebody else, known by the desktop alone."""
        row = int(self._sessions.row[index])
        if self._sessions.named:
            return self._users[row]
        user = UserId(f"{self._users[row]}#{index}")
        self._row_names[user] = self._sessions.names[row]
        return user

    def _on_change(self, _step: Step, event: GhostEvent, _outcomes: Sequence[Outcome]) -> None:
        """The end of a piece of work calls for a plan where the pool is not as it should be."""
        if isinstance(event, Done) and event.what in ("build", "bind", "destroy"):
            self._plan_if_unsettled()

    def _plan_if_unsettled(self) -> None:
        if not self._planning and self._unsettled():
            self._plan()

    def _plan(self) -> None:
        """Plan in this moment, when everybody has done what they are about to do."""
        if not self._planning:
            self._planning = True
            self._executor.spawn(self._tick())

    async def _tick(self) -> None:
        self._planning = False
        await self.loop.tick()

    def _unsettled(self) -> bool:
        """Whether a plan made now would do anything."""
        if self._feed.answer.users or self.loop.plan.infeasible:
            return True
        held = 0
        for ghost in self.loop.manager.of_nobody():
            if ghost.pending is None:
                held += ghost.state is GhostState.READY or ghost.state is GhostState.ABSENT
            else:
                held += ghost.pending in _COMING
        return held - self.loop.supply.waiting != min(self._feed.answer.target, self.loop.policy.ceiling)


def _simulated(figures: ReplayFigures) -> SimulatedFigures:
    # The mean of a lognormal is its median times exp(spread^2 / 2).
    median_s = figures.lead_s * float(np.exp(-(figures.lead_spread**2) / 2.0))
    return SimulatedFigures(
        durations={
            "Build": Duration(median_s, figures.lead_spread),
            "AttachHome": Duration(figures.hand_over_s),
            "Destroy": Duration(figures.destroy_s),
        },
        ready_bytes=int(figures.ghost_memory_gib * GIB),
    )


def _capacity(figures: ReplayFigures) -> Resources:
    return Resources(cpu_cores=float(_NO_LIMIT), memory_bytes=(figures.host_memory_gib * GIB) or ANY_AMOUNT_BYTES)
