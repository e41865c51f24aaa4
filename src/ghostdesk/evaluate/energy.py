"""What a fleet of desktops would have drawn, had it slept: kilowatt-hours against always on, with the misses. Modelled.

Two worlds, each with its baselines: desktops hosted on servers that sleep and wake (`energy_world`), and physical
desktops that do (`energy_seats`). Every figure that was assumed is in `EnergyAssumptions` and goes with the report.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ghostdesk.allocator.energy_hosts import FleetRules
from ghostdesk.allocator.energy_model import DESKTOP_PC, JOULES_A_KWH, SERVER, HostPowerModel
from ghostdesk.allocator.policies.choosing import chosen_setting
from ghostdesk.allocator.policies.seam import Decision, Moment, Observed, Policy
from ghostdesk.evaluate.energy_log import DesktopTimes, clipped_s, count_at, forgotten, merged, overlap
from ghostdesk.evaluate.energy_seats import SeatWorld, sleeping_after
from ghostdesk.evaluate.energy_world import (
    FleetCost,
    FleetNeeds,
    FleetWorld,
    fleet_energy_j,
    live_through,
    uses_in_order,
)
from ghostdesk.evaluate.pool_world import STEP_S, PoolRules, Uses, judge, target_of
from ghostdesk.evaluate.processes import worker_processes
from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.profiles.arrivals.seam import Floats, Ints

_DAY_S = 86_400.0
_TIMERS_MIN = (20, 60)
_IDLE_SHARES = (0.3, 0.4, 0.5, 0.6, 0.7)
_SUSPENDED_W = (2.0, 12.0, 30.0)
_WAKE_TIMES_S = (5.0, 60.0, 300.0)

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
        pool_policy, room_policy: which says how many ghosts to hold, and for how many starts awake servers have room.
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
    pool_policy: str = "adaptive-count:q 0.998"
    room_policy: str = "adaptive-count:q 0.999"
    rules: FleetRules = field(default_factory=FleetRules)
    move_energy_j: float = 4_000.0
    parked_a_server: int = 100
    parked_a_slot: int = 8
    consolidate_after_s: float = 300.0
    forgotten_after_s: float = 43_200.0


@dataclass(frozen=True, slots=True)
class EnergyLine:
    """One way of keeping the fleet.

    Args:
        name: what it is.
        energy_kwh: modelled.
        saved: against always on, 0 to 1.
        miss_share: starts that did not find a ready desktop within the expectation.
        beyond_patience: starts that waited for longer than `EnergyAssumptions.patience_s`.
        hosts_awake: mean number of servers, or seats, awake.
        wakes, moves: how often.
    """

    name: str
    energy_kwh: float
    saved: float
    miss_share: float
    beyond_patience: float
    hosts_awake: float
    wakes: int = 0
    moves: int = 0


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What other assumptions give: the share saved by the policy, without moves (None: not tried) and with them, and
    the misses with them."""

    what: str
    saved: float | None
    saved_moving: float
    miss_share: float


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """Both worlds on one log.

    Args:
        modelled: always true: nobody measured a watt.
        desktops, servers: how many there are.
        starts: that were judged.
        on_hours, use_hours: desktop-hours on (not offline) and in use in the judged part.
        days: length of the judged part; `trained_days` lie before it.
        hosted, seats: the lines of both worlds, always on first.
        sensitivity: of the hosted world.
        assumptions: all of them.
        notes: about the log.
    """

    modelled: bool
    desktops: int
    servers: int
    starts: int
    on_hours: float
    use_hours: float
    days: float
    trained_days: float
    hosted: tuple[EnergyLine, ...]
    seats: tuple[EnergyLine, ...]
    sensitivity: tuple[Sensitivity, ...]
    assumptions: EnergyAssumptions
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Window:
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
class _Run:
    """One life of the hosted world: what is done differently from the assumptions."""

    moves: bool = False
    forget: bool = False
    wake_time_s: float | None = None
    slots: int | None = None


_MAIN, _MOVING, _FORGETTING = _Run(), _Run(moves=True), _Run(moves=True, forget=True)


def evaluate_energy(
    times: Sequence[DesktopTimes],
    assumed: EnergyAssumptions,
    *,
    train_until_s: float | None = None,
    until_s: float | None = None,
    train_days: float = 180.0,
    sensitivity: bool = True,
    jobs: int = 1,
    notes: Sequence[str] = (),
    progress: Progress = lambda _share: None,
) -> EnergyReport:
    """Both worlds.

    Args:
        times: of every desktop.
        assumed: see there.
        train_until_s: what lies before is learnt from; None is the first four fifths.
        until_s: the end of the judged part; None is the end of the log.
        train_days: how much policies learn from, at most.
        sensitivity: whether other assumptions are tried as well.
        jobs: processes.
        notes: go with the report.
        progress: see there.

    Raises:
        ImportFileError: nobody ever came in the judged part.
    """
    window = _window(times, train_until_s, until_s, train_days)
    judged = sum(int(((one.start_s >= window.score_s) & (one.start_s < window.until_s)).sum()) for one in window.times)
    if not judged:
        raise ImportFileError("No start is left to judge after the training time.", "Give an earlier --train-until.")
    runs = [_MAIN, _MOVING, _FORGETTING]
    if sensitivity:
        others = [wake_s for wake_s in _WAKE_TIMES_S if wake_s != assumed.server.wake_time_s]
        runs += [_Run(moves, wake_time_s=wake_s) for wake_s in others for moves in (False, True)]
        runs += [
            _Run(moves, slots=slots) for slots in (assumed.slots // 2, assumed.slots * 2) for moves in (False, True)
        ]
    costs = _lived(window, assumed, runs, jobs, progress)
    on = np.concatenate([one.on_s for one in window.times])
    use = _uses(window.times)
    return EnergyReport(
        True, len(window.times), _servers(window, assumed.slots), judged,
        clipped_s(on, window.score_s, window.until_s) / 3_600.0,
        clipped_s(use, window.score_s, window.until_s) / 3_600.0,
        window.hours / 24.0, (window.score_s - window.from_s) / _DAY_S,
        _hosted(window, assumed, costs), _seats(window, assumed),
        _sensitivity(window, assumed, costs) if sensitivity else (), assumed, tuple(notes),
    )  # fmt: skip


def _window(
    times: Sequence[DesktopTimes], train_until_s: float | None, until_s: float | None, train_days: float
) -> _Window:
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
    return _Window(near, from_s, split_s, end_s)


def _uses(times: Sequence[DesktopTimes]) -> Floats:
    return np.concatenate([np.zeros((0, 2)), *(np.stack((one.start_s, one.end_s), axis=1) for one in times)])


def _on_at(window: _Window) -> Ints:
    """Desktops that were on at each judged minute."""
    return count_at(np.concatenate([one.on_s for one in window.times]), window.minutes_s)


def _servers(window: _Window, slots: int) -> int:
    """As many as the most desktops that were ever on at a time need."""
    return max(1, math.ceil(int(_on_at(window).max()) / slots))


def _world(window: _Window, assumed: EnergyAssumptions, run: _Run) -> FleetWorld:
    model = assumed.server if run.wake_time_s is None else replace(assumed.server, wake_time_s=run.wake_time_s)
    slots = run.slots or assumed.slots
    return FleetWorld(
        window.score_s, window.until_s, _servers(window, slots), slots, assumed.lead_s, model,
        assumed.active_use, assumed.idle_use, assumed.move_energy_j, replace(assumed.rules, moves=run.moves),
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


def _targets(window: _Window, policy: str, lead_s: float) -> Ints:
    """What a policy holds at each judged minute, where a ghost takes so long; it has learnt from what was before."""
    uses, _ = _all_uses(window.times)
    recorded = _Recorded(chosen_setting(policy)[1].make(), window.score_s)
    judge([recorded], uses, PoolRules(window.from_s, window.score_s, window.until_s, lead_s))
    return np.array(recorded.targets, dtype=np.int64)


def _life(window: _Window, assumed: EnergyAssumptions, run: _Run, ghosts: Ints, room: Ints) -> FleetCost:
    times: Sequence[DesktopTimes] = window.times
    reserved: Ints = np.zeros(len(ghosts), dtype=np.int64)
    if run.forget:
        times, parked = forgotten(times, assumed.forgotten_after_s)
        reserved = -(-count_at(parked, window.minutes_s) // assumed.parked_a_slot)
    world = _world(window, assumed, run)
    return live_through(world, *_all_uses(times), FleetNeeds(ghosts, room, reserved, -(-_on_at(window) // world.slots)))


def _all_uses(times: Sequence[DesktopTimes]) -> tuple[Uses, Ints]:
    use = _uses(times)
    row = np.repeat(np.arange(len(times)), [len(one.start_s) for one in times])
    return uses_in_order(use[:, 0], use[:, 1], row, len(times))


def _lived(
    window: _Window, assumed: EnergyAssumptions, runs: Sequence[_Run], jobs: int, progress: Progress
) -> dict[_Run, FleetCost]:
    """Every life; first the policies' targets, as lives share them."""
    lead_s = assumed.lead_s
    wakes_s = list(dict.fromkeys(_world(window, assumed, run).model.wake_time_s for run in runs))
    asked = [(assumed.pool_policy, lead_s), *((assumed.room_policy, lead_s + wake_s) for wake_s in wakes_s)]
    whole, done = len(asked) + 2 * len(runs), 0

    def show(work: int) -> None:
        nonlocal done
        done += work
        progress(done / whole)

    def lived(run: _Run, targets: Sequence[Ints]) -> tuple[_Run, Ints, Ints]:
        return run, targets[0], targets[1 + wakes_s.index(_world(window, assumed, run).model.wake_time_s)]

    if jobs <= 1:
        targets, found = [], {}
        for policy, lead in asked:
            targets.append(_targets(window, policy, lead))
            show(1)
        for run in runs:
            found[run] = _life(window, assumed, *lived(run, targets))
            show(2)
        return found
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
    return found


_shared: dict[str, tuple[_Window, EnergyAssumptions]] = {}
"""What every worker process was given at its start."""


def _begin(window: _Window, assumed: EnergyAssumptions) -> None:
    _shared["given"] = (window, assumed)


def _foresee(policy: str, lead_s: float) -> Ints:
    return _targets(_shared["given"][0], policy, lead_s)


def _live(run: _Run, ghosts: Ints, room: Ints) -> FleetCost:
    return _life(*_shared["given"], run, ghosts, room)


def _always_on_j(window: _Window, assumed: EnergyAssumptions, model: HostPowerModel, slots: int) -> tuple[float, float]:
    """Energy and mean servers: at each minute as many as the desktops that are on need, and no more."""
    at_s = window.minutes_s
    on = _on_at(window)
    use = count_at(_uses(window.times), at_s)
    servers = -(-on // slots)
    busy = (use * assumed.active_use + np.maximum(on - use, 0) * assumed.idle_use) / slots
    energy_j = float((model.idle_w * servers + model.slope_w * busy).mean()) * window.hours * 3_600.0
    return energy_j, float(servers.mean())


def _hosted(window: _Window, assumed: EnergyAssumptions, costs: dict[_Run, FleetCost]) -> tuple[EnergyLine, ...]:
    base_j, servers = _always_on_j(window, assumed, assumed.server, assumed.slots)
    lines = [EnergyLine("always on", base_j / JOULES_A_KWH, 0.0, 0.0, 0.0, servers)]
    lines += [_hosted_timer(window, assumed, minutes, base_j) for minutes in _TIMERS_MIN]
    for name, run in (
        ("ghostdesk: desktops stay on their server", _MAIN),
        ("ghostdesk: desktops are moved", _MOVING),
        (f"the same, uses over {assumed.forgotten_after_s / 3600:g} h count as left open and are parked", _FORGETTING),
    ):
        cost = costs[run]
        awake = cost.awake_s / 3_600.0 / window.hours
        lines.append(
            EnergyLine(
                name, cost.energy_j / JOULES_A_KWH, 1.0 - cost.energy_j / base_j, cost.miss_share, cost.miss_share,
                awake, cost.wakes, cost.moves,
            )
        )  # fmt: skip
    return (*lines, _hosted_bound(window, assumed, base_j))


def _hosted_timer(window: _Window, assumed: EnergyAssumptions, minutes: int, base_j: float) -> EnergyLine:
    """Every desktop lives on its own server, which sleeps when none of its desktops was used for so long."""
    model, slots, after_s = assumed.server, assumed.slots, 60.0 * minutes
    awake_s = use_s = idle_s = asleep_s = 0.0
    wakes = late = 0
    for first in range(0, len(window.times), slots):
        own = window.times[first : first + slots]
        use, on = _uses(own), merged(np.concatenate([one.on_s for one in own]))
        held = overlap(merged(use + np.array([0.0, after_s])), on)
        held = np.clip(held, window.score_s, window.until_s)
        held = held[held[:, 1] > held[:, 0]]
        length_s = float((held[:, 1] - held[:, 0]).sum())
        awake_s += length_s
        asleep_s += clipped_s(on, window.score_s, window.until_s) - length_s
        wakes += len(held)
        late += int(np.isin(held[:, 0], use[:, 0]).sum())
        use_s += clipped_s(use, window.score_s, window.until_s)
        idle_s += sum(_seconds(overlap(one.on_s, held)) for one in own)
    starts = sum(int(((one.start_s >= window.score_s) & (one.start_s < window.until_s)).sum()) for one in window.times)
    cycle_j = model.cycle_energy_j - model.suspended_w * (model.suspend_time_s + model.wake_time_s)
    busy_s = (use_s * assumed.active_use + max(idle_s - use_s, 0.0) * assumed.idle_use) / slots
    energy_j = model.idle_w * awake_s + model.slope_w * busy_s + model.suspended_w * asleep_s + cycle_j * wakes
    name = f"timer: a server sleeps after {minutes} min without use"
    missed = late / starts
    return EnergyLine(
        name, energy_j / JOULES_A_KWH, 1.0 - energy_j / base_j, missed, missed, awake_s / 3_600.0 / window.hours, wakes
    )


def _seconds(times_s: Floats) -> float:
    return float((times_s[:, 1] - times_s[:, 0]).sum())


def _hosted_bound(window: _Window, assumed: EnergyAssumptions, base_j: float) -> EnergyLine:
    """Somebody who knows the future packs desktops in use perfectly at every minute, at no cost, without a ghost."""
    at_s, model = window.minutes_s, assumed.server
    use = count_at(_uses(window.times), at_s)
    servers, needed = -(-use // assumed.slots), -(-_on_at(window) // assumed.slots)
    busy = use * assumed.active_use / assumed.slots
    power_w = model.idle_w * servers + model.slope_w * busy + model.suspended_w * np.maximum(needed - servers, 0)
    energy_j = float(power_w.mean()) * window.hours * 3_600.0
    return EnergyLine(
        "clairvoyant bound: packed perfectly at every minute, uses as told", energy_j / JOULES_A_KWH,
        1.0 - energy_j / base_j, 0.0, 0.0, float(servers.mean()),
    )  # fmt: skip


def _seats(window: _Window, assumed: EnergyAssumptions) -> tuple[EnergyLine, ...]:
    world = SeatWorld(
        window.score_s, window.until_s, assumed.seat, assumed.server, assumed.seat_active_use, assumed.seat_idle_use,
        assumed.parked_a_server,
    )  # fmt: skip
    after_s = assumed.consolidate_after_s
    costs = [("always on", sleeping_after(window.times, world, math.inf))]
    costs += [
        (f"timer: a seat sleeps after {minutes} min", sleeping_after(window.times, world, 60.0 * minutes))
        for minutes in _TIMERS_MIN
    ]
    name = f"consolidation: after {after_s / 60:g} min the seat sleeps, its desktop goes on parked on a server"
    costs.append((name, sleeping_after(window.times, world, after_s, consolidated=True)))
    cut, _ = forgotten(window.times, assumed.forgotten_after_s)
    name = f"the same, uses over {assumed.forgotten_after_s / 3600:g} h count as left open"
    costs.append((name, sleeping_after(cut, world, after_s, consolidated=True)))
    name = "clairvoyant bound: asleep whenever that pays, awake just in time, uses as told"
    costs.append((name, sleeping_after(window.times, world, 0.0, foreseen=True)))
    base_j = costs[0][1].energy_j
    late = assumed.seat.wake_time_s > assumed.expectation_s
    later = assumed.seat.wake_time_s > assumed.patience_s
    return tuple(
        EnergyLine(
            name, cost.energy_j / JOULES_A_KWH, 1.0 - cost.energy_j / base_j, cost.late_share if late else 0.0,
            cost.late_share if later else 0.0, cost.awake_s / 3_600.0 / window.hours, cost.wakes,
        )
        for name, cost in costs
    )  # fmt: skip


def _sensitivity(window: _Window, assumed: EnergyAssumptions, costs: dict[_Run, FleetCost]) -> tuple[Sensitivity, ...]:
    """Watts are worked out anew from the same lives; another wake time or server size was lived through."""
    found = []

    def add(what: str, model: HostPowerModel, moving: _Run, still: _Run | None = None) -> None:
        base_j, _ = _always_on_j(window, assumed, model, moving.slots or assumed.slots)

        def saved(run: _Run) -> float:
            return 1.0 - fleet_energy_j(replace(_world(window, assumed, run), model=model), costs[run]) / base_j

        found.append(Sensitivity(what, saved(still) if still else None, saved(moving), costs[moving].miss_share))

    model = assumed.server
    for share in _IDLE_SHARES:
        idle_w = share * model.busy_w
        changed = replace(model, idle_w=idle_w, suspended_w=min(model.suspended_w, idle_w))
        add(f"idle at {share:.0%} of the peak", changed, _MOVING, _MAIN)
    for suspended_w in _SUSPENDED_W:
        changed = replace(model, suspended_w=min(suspended_w, model.idle_w))
        add(f"{suspended_w:g} W asleep", changed, _MOVING, _MAIN)
    for wake_s in _WAKE_TIMES_S:
        run = _MOVING if wake_s == model.wake_time_s else _Run(True, wake_time_s=wake_s)
        add(f"{wake_s:g} s to wake", replace(model, wake_time_s=wake_s), run)
    for slots in (assumed.slots // 2, assumed.slots * 2):
        add(f"{slots} desktops a server", model, _Run(True, slots=slots))
    return tuple(found)
