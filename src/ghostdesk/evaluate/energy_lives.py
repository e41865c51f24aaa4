"""Lives of a hosted fleet, side by side: what is assumed, what is judged, and what policies foresee in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ghostdesk.allocator.energy_hosts import FleetRules
from ghostdesk.allocator.energy_model import DESKTOP_PC, SERVER, HostPowerModel
from ghostdesk.allocator.policies.choosing import chosen_setting
from ghostdesk.allocator.policies.seam import Decision, Moment, Observed, Policy
from ghostdesk.evaluate.energy_log import DesktopTimes, count_at, forgotten
from ghostdesk.evaluate.energy_world import FleetCost, FleetNeeds, FleetWorld, live_through, uses_in_order
from ghostdesk.evaluate.pool_world import STEP_S, PoolCost, PoolRules, Uses, judge, target_of
from ghostdesk.evaluate.processes import worker_processes
from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.profiles.arrivals.seam import Floats, Ints

_DAY_S = 86_400.0

Progress = Callable[[float], None]
"""Told which share of the work is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class EnergyAssumptions:
    """Everything that is assumed, in one place. None of it was measured.

    Args:
        server, seat: what hosts draw.
        slots: desktops that a server holds.
        active_use, idle_use: share of a server's cores in use when it is full of desktops in use, or of idle ones.
        seat_active_use, seat_idle_use: the same of a physical desktop.
        lead_s: until a new ghost is ready on a server that is awake: that of `ghostdesk evaluate pool`.
        expectation_s: a start is a miss if its desktop is not ready within this: a ready ghost's sign-in, as the page
            promises it.
        patience_s: for physical desktops, starts beyond this are told, too.
        static_ghosts: of the timers, that have no forecast.
        pool_policy, room_policy: which says how many ghosts to hold, and for how many starts awake servers have room.
        seat_policy: which says how many physical seats are awake for whoever comes.
        rules: how servers are kept; `moves` is set in the scenarios.
        move_energy_j: of moving one running desktop: 4 GiB at 1 Gbit/s, and 60 W more meanwhile on both servers.
        parked_a_server, parked_a_slot: parked desktops that a server, and the room of one desktop, hold.
        consolidate_after_s: a physical desktop that nobody uses for so long goes to sleep, its desktop to a server.
        forgotten_after_s: in the scenario that says so, a use that lasts longer was left open: from then on its
            desktop is parked, and kept.
    """

    server: HostPowerModel = SERVER
    seat: HostPowerModel = DESKTOP_PC
    slots: int = 16
    active_use: float = 0.3
    idle_use: float = 0.02
    seat_active_use: float = 0.1
    seat_idle_use: float = 0.01
    lead_s: float = 120.0
    expectation_s: float = 0.5
    patience_s: float = 10.0
    static_ghosts: int = 10
    pool_policy: str = "adaptive-count:q 0.998"
    room_policy: str = "adaptive-count:q 0.999"
    seat_policy: str = "adaptive-count:q 0.99"
    rules: FleetRules = field(default_factory=FleetRules)
    move_energy_j: float = 4_000.0
    parked_a_server: int = 100
    parked_a_slot: int = 8
    consolidate_after_s: float = 300.0
    forgotten_after_s: float = 43_200.0


@dataclass(frozen=True)
class Window:
    times: Sequence[DesktopTimes]
    from_s: float
    score_s: float
    until_s: float

    @property
    def hours(self) -> float:
        return (self.until_s - self.score_s) / 3_600.0

    @property
    def minutes_s(self) -> Floats:
        return np.arange(self.score_s, self.until_s, STEP_S)


@dataclass(frozen=True, slots=True)
class Run:
    """One life of the hosted world: what is done differently from the assumptions.

    Args:
        moves: whether desktops in use are moved.
        forget: whether uses that last long were left open.
        wake_time_s, slots: of servers.
        timer_s: no forecast: a static pool, and a server is emptied after so long with room to spare.
    """

    moves: bool = False
    forget: bool = False
    wake_time_s: float | None = None
    slots: int | None = None
    timer_s: float | None = None


STAY, MOVE, LEFT_OPEN = Run(), Run(moves=True), Run(moves=True, forget=True)
TIMERS = tuple(Run(moves=True, timer_s=60.0 * minutes) for minutes in (20, 60))


def window_of(
    times: Sequence[DesktopTimes], train_until_s: float | None, until_s: float | None, train_days: float
) -> Window:
    used = [one for one in times if len(one.start_s)]
    if not used:
        raise ImportFileError("No desktop was ever in use.", "The log has to have changes to in-use.")
    first_s = min(float(one.start_s[0]) for one in used)
    last_s = max(float(max(one.on_s[-1, 1], one.end_s[-1])) for one in used)
    end_s = min(last_s, until_s) if until_s is not None else last_s
    split_s = first_s + 0.8 * (end_s - first_s) if train_until_s is None else max(train_until_s, first_s)
    split_s = float(np.floor(split_s / STEP_S) * STEP_S)
    learn_s = float(np.ceil(train_days * _DAY_S / STEP_S) * STEP_S)
    from_s = max(split_s - learn_s, float(np.floor(first_s / STEP_S) * STEP_S))
    near = [one for one in times if len(one.on_s) and one.on_s[-1, 1] > from_s and one.on_s[0, 0] < end_s]
    return Window(near, from_s, split_s, end_s)


def all_uses_s(times: Sequence[DesktopTimes]) -> Floats:
    return np.concatenate([np.zeros((0, 2)), *(np.stack((one.start_s, one.end_s), axis=1) for one in times)])


def on_at(window: Window) -> Ints:
    """Desktops that were on at each judged minute."""
    return count_at(np.concatenate([one.on_s for one in window.times]), window.minutes_s)


def servers_of(window: Window, slots: int) -> int:
    """As many as the most desktops that were ever on at a time need."""
    return max(1, math.ceil(int(on_at(window).max()) / slots))


def world_of(window: Window, assumed: EnergyAssumptions, run: Run) -> FleetWorld:
    model = assumed.server if run.wake_time_s is None else replace(assumed.server, wake_time_s=run.wake_time_s)
    slots = run.slots or assumed.slots
    rules = replace(assumed.rules, moves=run.moves)
    if run.timer_s is not None:
        rules = replace(rules, settle_s=run.timer_s)
    return FleetWorld(
        window.score_s, window.until_s, servers_of(window, slots), slots, assumed.lead_s, model,
        assumed.active_use, assumed.idle_use, assumed.move_energy_j, rules,
    )  # fmt: skip


class _Recorded:
    """A policy whose targets are written down.

    Args:
        policy: decides.
        from_s: targets from then on are kept.
    """

    def __init__(self, policy: Policy, from_s: float) -> None:
        self._policy, self._from_s = policy, from_s
        self.targets: list[int] = []

    def grow(self, rows: int) -> None:
        """See `Policy`."""
        self._policy.grow(rows)

    def observe(self, observed: Observed) -> None:
        """See `Policy`."""
        self._policy.observe(observed)

    def decide(self, moment: Moment) -> Decision:
        """See `Policy`."""
        decision = self._policy.decide(moment)
        if moment.now_s >= self._from_s:
            self.targets.append(target_of(decision))
        return decision


def _pool(window: Window, policy: str, lead_s: float) -> tuple[Ints, PoolCost]:
    """What a policy holds at each judged minute, where a ghost takes so long, and what such a pool costs; it has learnt
    from what was before."""
    uses, _ = _in_order(window.times)
    recorded = _Recorded(chosen_setting(policy)[1].make(), window.score_s)
    cost = judge([recorded], uses, PoolRules(window.from_s, window.score_s, window.until_s, lead_s))[0]
    return np.array(recorded.targets, dtype=np.int64), cost


def _life(window: Window, assumed: EnergyAssumptions, run: Run, ghosts: Ints, room: Ints) -> FleetCost:
    times: Sequence[DesktopTimes] = window.times
    reserved: Ints = np.zeros(len(ghosts), dtype=np.int64)
    if run.timer_s is not None:
        ghosts = room = np.full(len(ghosts), assumed.static_ghosts, dtype=np.int64)
    if run.forget:
        times, parked = forgotten(times, assumed.forgotten_after_s)
        reserved = -(-count_at(parked, window.minutes_s) // assumed.parked_a_slot)
    world = world_of(window, assumed, run)
    return live_through(world, *_in_order(times), FleetNeeds(ghosts, room, reserved, -(-on_at(window) // world.slots)))


def _in_order(times: Sequence[DesktopTimes]) -> tuple[Uses, Ints]:
    use = all_uses_s(times)
    row = np.repeat(np.arange(len(times)), [len(one.start_s) for one in times])
    return uses_in_order(use[:, 0], use[:, 1], row, len(times))


def lives_of(
    window: Window, assumed: EnergyAssumptions, runs: Sequence[Run], jobs: int, progress: Progress
) -> tuple[dict[Run, FleetCost], PoolCost]:
    """Every life, and a pool of seats that wake; first the policies' targets, as lives share them."""
    lead_s = assumed.lead_s
    wakes_s = list(dict.fromkeys(world_of(window, assumed, run).model.wake_time_s for run in runs))
    asked = [(assumed.pool_policy, lead_s), *((assumed.room_policy, lead_s + wake_s) for wake_s in wakes_s)]
    asked.append((assumed.seat_policy, max(assumed.seat.wake_time_s, 1.0)))
    whole, done = len(asked) + 2 * len(runs), 0

    def show(work: int) -> None:
        nonlocal done
        done += work
        progress(done / whole)

    def lived(run: Run, told: Sequence[tuple[Ints, PoolCost]]) -> tuple[Run, Ints, Ints]:
        return run, told[0][0], told[1 + wakes_s.index(world_of(window, assumed, run).model.wake_time_s)][0]

    if jobs <= 1:
        targets, found = [], {}
        for policy, lead in asked:
            targets.append(_pool(window, policy, lead))
            show(1)
        for run in runs:
            found[run] = _life(window, assumed, *lived(run, targets))
            show(2)
        return found, targets[-1][1]
    with worker_processes(min(jobs, len(runs)), "judging", "Try --jobs 1.", _begin, (window, assumed)) as executor:
        foreseen = [executor.submit(_foresee, policy, lead) for policy, lead in asked]
        targets = []
        for one in foreseen:
            targets.append(one.result())
            show(1)
        futures = {run: executor.submit(_live, *lived(run, targets)) for run in runs}
        found = {}
        for run, future in futures.items():
            found[run] = future.result()
            show(2)
    return found, targets[-1][1]


_shared: dict[str, tuple[Window, EnergyAssumptions]] = {}
"""What every worker process was given at its start."""


def _begin(window: Window, assumed: EnergyAssumptions) -> None:
    _shared["given"] = (window, assumed)


def _foresee(policy: str, lead_s: float) -> tuple[Ints, PoolCost]:
    return _pool(_shared["given"][0], policy, lead_s)


def _live(run: Run, ghosts: Ints, room: Ints) -> FleetCost:
    return _life(*_shared["given"], run, ghosts, room)
