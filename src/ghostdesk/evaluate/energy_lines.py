"""The lines of the tables: always on, timers, ghostdesk, and who knows the future, in both worlds. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ghostdesk.allocator.energy_model import JOULES_A_KWH, HostPowerModel
from ghostdesk.evaluate.energy_lives import (
    LEFT_OPEN,
    MOVE,
    STAY,
    TIMERS,
    EnergyAssumptions,
    Run,
    Window,
    all_uses_s,
    on_at,
    servers_of,
    world_of,
)
from ghostdesk.evaluate.energy_log import count_at, forgotten
from ghostdesk.evaluate.energy_seats import SeatWorld, pooled, sleeping_after
from ghostdesk.evaluate.energy_world import FleetCost, fleet_energy_j
from ghostdesk.evaluate.pool_world import PoolCost

TIMERS_MIN = (20, 60)
IDLE_SHARES = (0.3, 0.4, 0.5, 0.6, 0.7)
SUSPENDED_W = (2.0, 12.0, 30.0)
SEAT_SUSPENDED_W = (1.0, 2.0, 5.0)
WAKE_TIMES_S = (5.0, 60.0, 300.0)


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
        saved_of_all: against all servers awake all the time; those that are not awake then draw what sleep draws.
    """

    name: str
    energy_kwh: float
    saved: float
    miss_share: float
    beyond_patience: float
    hosts_awake: float
    wakes: int = 0
    moves: int = 0
    saved_of_all: float | None = None


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What other assumptions give: the share saved by the policy, without moves (None: not tried) and with them, and
    the misses with them."""

    what: str
    saved: float | None
    saved_moving: float
    miss_share: float


@dataclass(frozen=True, slots=True)
class SeatSensitivity:
    """What other watts of a seat give: the share saved where people take a seat that is awake, with uses as told, and
    with long ones as left open."""

    what: str
    saved: float
    saved_left_open: float


def _always_on_j(window: Window, assumed: EnergyAssumptions, model: HostPowerModel, slots: int) -> tuple[float, float]:
    """Energy and mean servers: at each minute as many as the desktops that are on need, and no more."""
    at_s = window.minutes_s
    on = on_at(window)
    use = count_at(all_uses_s(window.times), at_s)
    servers = -(-on // slots)
    busy = (use * assumed.active_use + np.maximum(on - use, 0) * assumed.idle_use) / slots
    energy_j = float((model.idle_w * servers + model.slope_w * busy).mean()) * window.hours * 3_600.0
    return energy_j, float(servers.mean())


def hosted_lines(window: Window, assumed: EnergyAssumptions, costs: Mapping[Run, FleetCost]) -> tuple[EnergyLine, ...]:
    base_j, servers = _always_on_j(window, assumed, assumed.server, assumed.slots)
    lines = [EnergyLine("always on", base_j / JOULES_A_KWH, 0.0, 0.0, 0.0, servers)]
    all_j = _all_awake_j(window, assumed)
    servers = servers_of(window, assumed.slots)
    name = "all servers always awake, as many as ever needed"
    lines.append(EnergyLine(name, all_j / JOULES_A_KWH, 1.0 - all_j / base_j, 0.0, 0.0, servers))
    for name, run in (
        *((_timer_name(assumed, run), run) for run in TIMERS),
        ("ghostdesk: desktops stay on their server", STAY),
        ("ghostdesk: desktops are moved", MOVE),
        (f"the same, uses over {assumed.forgotten_after_s / 3600:g} h count as left open and are parked", LEFT_OPEN),
    ):
        cost = costs[run]
        awake = cost.awake_s / 3_600.0 / window.hours
        lines.append(
            EnergyLine(
                name, cost.energy_j / JOULES_A_KWH, 1.0 - cost.energy_j / base_j, cost.miss_share, cost.miss_share,
                awake, cost.wakes, cost.moves, 1.0 - (cost.energy_j + _others_j(window, assumed, cost)) / all_j,
            )
        )  # fmt: skip
    return (*lines, _hosted_bound(window, assumed, base_j))


def _others_j(window: Window, assumed: EnergyAssumptions, cost: FleetCost) -> float:
    """What servers beyond those that all desktops would need draw asleep."""
    whole_s = servers_of(window, assumed.slots) * window.hours * 3_600.0
    return assumed.server.suspended_w * max(0.0, whole_s - cost.awake_s - cost.asleep_s)


def _timer_name(assumed: EnergyAssumptions, run: Run) -> str:
    minutes = (run.timer_s or 0.0) / 60.0
    return (
        f"timer: {assumed.static_ghosts} ghosts always, a server sleeps after {minutes:g} min of room to spare; moved"
    )


def _all_awake_j(window: Window, assumed: EnergyAssumptions) -> float:
    """Every desktop on as in the log, and no server ever off."""
    base_j, needed = _always_on_j(window, assumed, assumed.server, assumed.slots)
    more = servers_of(window, assumed.slots) - needed
    return base_j + assumed.server.idle_w * more * window.hours * 3_600.0


def _hosted_bound(window: Window, assumed: EnergyAssumptions, base_j: float) -> EnergyLine:
    """Somebody who knows the future packs desktops in use perfectly at every minute, at no cost, without a ghost."""
    at_s, model = window.minutes_s, assumed.server
    use = count_at(all_uses_s(window.times), at_s)
    servers, needed = -(-use // assumed.slots), -(-on_at(window) // assumed.slots)
    busy = use * assumed.active_use / assumed.slots
    power_w = model.idle_w * servers + model.slope_w * busy + model.suspended_w * np.maximum(needed - servers, 0)
    energy_j = float(power_w.mean()) * window.hours * 3_600.0
    return EnergyLine(
        "clairvoyant bound: packed perfectly at every minute, uses as told", energy_j / JOULES_A_KWH,
        1.0 - energy_j / base_j, 0.0, 0.0, float(servers.mean()),
    )  # fmt: skip


def _seat_world(window: Window, assumed: EnergyAssumptions) -> SeatWorld:
    return SeatWorld(
        window.score_s, window.until_s, assumed.seat, assumed.server, assumed.seat_active_use, assumed.seat_idle_use,
        assumed.parked_a_server,
    )  # fmt: skip


def seat_lines(window: Window, assumed: EnergyAssumptions, pool: PoolCost) -> tuple[EnergyLine, ...]:
    world = _seat_world(window, assumed)
    after_s = assumed.consolidate_after_s
    costs = [("always on", sleeping_after(window.times, world, math.inf))]
    costs += [
        (f"timer: a seat sleeps after {minutes} min", sleeping_after(window.times, world, 60.0 * minutes))
        for minutes in TIMERS_MIN
    ]
    name = f"consolidation: after {after_s / 60:g} min the seat sleeps, its desktop goes on parked on a server"
    costs.append((name, sleeping_after(window.times, world, after_s, consolidated=True)))
    cut, parked_s = forgotten(window.times, assumed.forgotten_after_s)
    left_open = f"the same, uses over {assumed.forgotten_after_s / 3600:g} h count as left open, parked on a server"
    costs.append((left_open, sleeping_after(cut, world, after_s, consolidated=True)))
    costs.append(("ghostdesk: people take a seat that is awake", pooled(window.times, world, pool, np.zeros((0, 2)))))
    costs.append((left_open, pooled(cut, world, pool, parked_s)))
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


def seat_sensitivity(window: Window, assumed: EnergyAssumptions, pool: PoolCost) -> tuple[SeatSensitivity, ...]:
    """Seats that the pool keeps awake, with other watts; another wake time changes misses more than watts."""
    base, seat = _seat_world(window, assumed), assumed.seat
    cut, parked_s = forgotten(window.times, assumed.forgotten_after_s)
    others = [(f"idle at {share:.0%} of the peak", share * seat.busy_w, seat.suspended_w) for share in IDLE_SHARES] + [
        (f"{asleep_w:g} W asleep", seat.idle_w, asleep_w) for asleep_w in SEAT_SUSPENDED_W
    ]
    found = []
    for what, idle_w, asleep_w in others:
        model = replace(seat, idle_w=idle_w, suspended_w=min(asleep_w, idle_w))
        world = replace(base, seat=model)
        always_j = sleeping_after(window.times, world, math.inf).energy_j
        saved = (
            1.0 - pooled(times, world, pool, parked).energy_j / always_j
            for times, parked in ((window.times, np.zeros((0, 2))), (cut, parked_s))
        )
        found.append(SeatSensitivity(what, *saved))
    return tuple(found)


def sensitivity_lines(
    window: Window, assumed: EnergyAssumptions, costs: Mapping[Run, FleetCost]
) -> tuple[Sensitivity, ...]:
    """Watts are worked out anew from the same lives; another wake time or server size was lived through."""
    found = []

    def add(what: str, model: HostPowerModel, moving: Run, still: Run | None = None) -> None:
        base_j, _ = _always_on_j(window, assumed, model, moving.slots or assumed.slots)

        def saved(run: Run) -> float:
            return 1.0 - fleet_energy_j(replace(world_of(window, assumed, run), model=model), costs[run]) / base_j

        found.append(Sensitivity(what, saved(still) if still else None, saved(moving), costs[moving].miss_share))

    model = assumed.server
    for share in IDLE_SHARES:
        idle_w = share * model.busy_w
        changed = replace(model, idle_w=idle_w, suspended_w=min(model.suspended_w, idle_w))
        add(f"idle at {share:.0%} of the peak", changed, MOVE, STAY)
    for suspended_w in SUSPENDED_W:
        changed = replace(model, suspended_w=min(suspended_w, model.idle_w))
        add(f"{suspended_w:g} W asleep", changed, MOVE, STAY)
    for wake_s in WAKE_TIMES_S:
        run = MOVE if wake_s == model.wake_time_s else Run(True, wake_time_s=wake_s)
        add(f"{wake_s:g} s to wake", replace(model, wake_time_s=wake_s), run)
    for slots in (assumed.slots // 2, assumed.slots * 2):
        add(f"{slots} desktops a server", model, Run(True, slots=slots))
    return tuple(found)
