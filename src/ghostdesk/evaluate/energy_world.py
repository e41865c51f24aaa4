"""Desktops on hosts that sleep and wake, minute by minute and start by start. Exact for its stated model. Pure.

A start takes a ready ghost from the fullest host that has one; without one it is a miss, and a desktop is made on the
spot. Ghosts are made one lead time long, on the fullest host with a free slot. Every minute the pool's policy says how
many ghosts to hold, and, asked for the wake and the build together, how many starts the awake hosts need room for; then
`plan_hosts` wakes, empties and suspends. A desktop stays on its host until its use ends, unless desktops are moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush

import numpy as np

from ghostdesk.allocator.energy_hosts import (
    FleetHost,
    FleetNeed,
    FleetRules,
    HostDeed,
    HostState,
    plan_hosts,
)
from ghostdesk.allocator.energy_model import HostPowerModel
from ghostdesk.allocator.policies.seam import Floats, Ints
from ghostdesk.evaluate.pool_world import STEP_S, Uses
from ghostdesk.kernel.ids import HostId

_WAKEFUL = {HostState.ON: 0, HostState.WAKING: 1, HostState.SUSPENDED: 2, HostState.SUSPENDING: 3}


@dataclass(frozen=True, slots=True)
class FleetWorld:
    """What the world is like.

    Args:
        from_s, until_s: UTC seconds.
        hosts, slots: how many hosts, and desktops on each.
        lead_s: until a new ghost is ready on a host that is awake.
        model: of every host.
        active_use, idle_use: share of a host's cores in use by as many active, or idle, desktops as it has slots.
        move_energy_j: of moving one desktop.
        rules: how hosts are kept.
    """

    from_s: float
    until_s: float
    hosts: int
    slots: int
    lead_s: float
    model: HostPowerModel
    active_use: float
    idle_use: float
    move_energy_j: float
    rules: FleetRules


@dataclass(frozen=True, slots=True)
class FleetCost:
    """What came of it. Host-seconds are of all hosts together.

    Args:
        starts, misses: of all starts, those that found no ready desktop.
        awake_s: host-seconds awake, waking and falling asleep included; `transition_s` of them in transitions.
        asleep_s: host-seconds of those that sleep and would be needed were all desktops on; the others are off.
        active_s, ghost_s: desktop-seconds in use, and of ghosts that waited or were being made.
        wakes, moves: how often.
        crowded: starts for which no host had a free slot; they were squeezed in.
        energy_j: by the model.
    """

    starts: int
    misses: int
    awake_s: float
    asleep_s: float
    transition_s: float
    active_s: float
    ghost_s: float
    wakes: int
    moves: int
    crowded: int
    energy_j: float

    @property
    def miss_share(self) -> float:
        """0 to 1."""
        return self.misses / self.starts if self.starts else 0.0


def fleet_energy_j(world: FleetWorld, cost: FleetCost) -> float:
    """What the model says of a cost: also under another model than the one that was lived through."""
    model = world.model
    use_s = (cost.active_s * world.active_use + cost.ghost_s * world.idle_use) / world.slots
    return (
        model.idle_w * (cost.awake_s - cost.transition_s)
        + model.transition_w * cost.transition_s
        + model.suspended_w * cost.asleep_s
        + model.slope_w * use_s
        + world.move_energy_j * cost.moves
    )


@dataclass(slots=True)
class _Host:
    place: int
    state: HostState
    since_s: float
    claimed: int = 0
    ready: int = 0
    coming: int = 0
    draining: bool = False
    until_s: float = 0.0  # of a transition
    told: FleetHost | None = None  # as the plan sees it, until something changes

    @property
    def ghosts(self) -> int:
        return self.ready + self.coming


@dataclass(slots=True)
class _Sums:
    """What has been counted, and the numbers of this moment that it is counted by."""

    misses: int = 0
    awake_s: float = 0.0
    asleep_s: float = 0.0
    transition_s: float = 0.0
    active_s: float = 0.0
    ghost_s: float = 0.0
    wakes: int = 0
    moves: int = 0
    crowded: int = 0
    at_s: float = 0.0
    awake: int = 0
    changing: int = 0
    active: int = 0
    ghosts: int = 0


@dataclass(slots=True)
class _Fleet:
    """Hosts with what is on them."""

    world: FleetWorld
    hosts: list[_Host]
    coming: list[tuple[float, int]] = field(default_factory=list)
    where: dict[int, int] = field(default_factory=dict)
    on_host: list[set[int]] = field(default_factory=list)
    target: int = 0
    spare_since_s: float | None = None
    checked_s: float = -np.inf
    planned_for: int = -1
    changed: bool = True
    turns_s: float = np.inf
    sums: _Sums = field(default_factory=_Sums)

    def count(self, now_s: float) -> None:
        """Called before anything changes."""
        sums = self.sums
        passed_s = now_s - sums.at_s
        if passed_s > 0.0:
            sums.at_s = now_s
            sums.awake_s += passed_s * sums.awake
            sums.transition_s += passed_s * sums.changing
            sums.active_s += passed_s * sums.active
            sums.ghost_s += passed_s * sums.ghosts

    def advance(self, now_s: float) -> None:
        """Ghosts get ready."""
        while self.coming and self.coming[0][0] <= now_s:
            _, place = heappop(self.coming)
            self.hosts[place].coming -= 1
            self.hosts[place].ready += 1

    def turn(self, now_s: float) -> None:
        """Hosts end their transitions."""
        if now_s < self.turns_s:
            return
        self.count(now_s)
        for one in self.hosts:
            if one.state is HostState.WAKING and one.until_s <= now_s:
                self._become(one, HostState.ON, now_s)
            elif one.state is HostState.SUSPENDING and one.until_s <= now_s:
                self._become(one, HostState.SUSPENDED, now_s)
        turning = (h.until_s for h in self.hosts if h.state in (HostState.WAKING, HostState.SUSPENDING))
        self.turns_s = min(turning, default=np.inf)

    def start(self, use: int, now_s: float) -> None:
        """Somebody comes: they take a ready ghost, or miss and are served all the same."""
        self.advance(now_s)
        self.count(now_s)
        best: _Host | None = None
        for one in self.hosts:
            if one.ready and (best is None or _fuller(one, best)):
                best = one
        if best is not None:
            best.ready -= 1
            self.sums.ghosts -= 1
        else:
            self.sums.misses += 1
            best = self._free() or self._least_full()
            if best.state is HostState.SUSPENDED:
                self._wake(best, now_s)
        self._put(use, best)
        if self.held() < self.target:
            self._make(now_s)

    def end(self, use: int, now_s: float) -> None:
        """Somebody leaves: their desktop is destroyed, never handed on."""
        place = self.where.pop(use, None)
        if place is None:
            return
        self.count(now_s)
        self.on_host[place].discard(use)
        self.hosts[place].claimed -= 1
        self.sums.active -= 1
        self._change(self.hosts[place])

    def held(self) -> int:
        """Ghosts of hosts that are not emptied."""
        return sum(one.ready + one.coming for one in self.hosts if not one.draining)

    def hold(self, target: int, now_s: float) -> None:
        """From now on, so many ghosts; those on hosts that are emptied go once the others have enough ready ones."""
        self.target = target
        if self.sums.ghosts == target and not any(one.draining for one in self.hosts):
            return
        self.count(now_s)
        held = self.held()
        while held < target and self._make(now_s):
            held += 1
        for one in sorted(self.hosts, key=lambda h: h.claimed):
            surplus = min(one.ready, held - target)
            if surplus > 0 and not one.draining:
                self._drop(one, surplus)
                held -= surplus
        others = sum(one.ready for one in self.hosts if not one.draining)
        for one in self.hosts:
            if one.draining and one.ghosts and others >= min(target, held):
                self.coming = [(when, place) for when, place in self.coming if place != one.place]
                heapify(self.coming)
                self.sums.ghosts -= one.coming
                one.coming = 0
                self._drop(one, one.ready)

    def keep(self, need: FleetNeed, now_s: float) -> None:
        """Ask for a plan where it may be another one, and carry it out."""
        if not self.changed and need.slots == self.planned_for and now_s < self.checked_s:
            return
        self.changed, self.planned_for = False, need.slots
        plan = plan_hosts([self._told(one) for one in self.hosts], need, now_s, self.world.rules, self.spare_since_s)
        self.spare_since_s, self.checked_s = plan.spare_since_s, plan.checked_s
        if plan.actions:
            self.count(now_s)
        for action in plan.actions:
            host = self.hosts[int(action.host)]
            if action.deed is HostDeed.WAKE:
                self._wake(host, now_s)
            elif action.deed is HostDeed.SUSPEND:
                host.until_s = now_s + self.world.model.suspend_time_s
                self._become(host, HostState.SUSPENDING, now_s)
            else:
                host.draining = action.deed is HostDeed.DRAIN
                self._change(host)
                if host.draining and self.world.rules.moves:
                    self._move_all(host)

    def _told(self, one: _Host) -> FleetHost:
        if one.told is None:
            one.told = FleetHost(
                HostId(str(one.place)), one.state, one.since_s, self.world.slots, one.claimed, one.ghosts, one.draining,
                model=self.world.model,
            )  # fmt: skip
        return one.told

    def _change(self, host: _Host) -> None:
        host.told = None
        self.changed = True

    def _wake(self, host: _Host, now_s: float) -> None:
        host.until_s = now_s + self.world.model.wake_time_s
        self._become(host, HostState.WAKING, now_s)
        self.sums.wakes += 1

    def _become(self, host: _Host, state: HostState, now_s: float) -> None:
        host.state, host.since_s, host.draining = state, now_s, False
        self.sums.awake = sum(one.state is not HostState.SUSPENDED for one in self.hosts)
        turning = [one.until_s for one in self.hosts if one.state in (HostState.WAKING, HostState.SUSPENDING)]
        self.sums.changing, self.turns_s = len(turning), min(turning, default=np.inf)
        self._change(host)

    def _move_all(self, host: _Host) -> None:
        for use in sorted(self.on_host[host.place]):
            to = self._free()
            if to is None:
                return
            self.on_host[host.place].discard(use)
            host.claimed -= 1
            self.sums.active -= 1
            self._put(use, to)
            self.sums.moves += 1

    def _put(self, use: int, host: _Host) -> None:
        self.where[use] = host.place
        self.on_host[host.place].add(use)
        host.claimed += 1
        self.sums.active += 1
        self._change(host)

    def _make(self, now_s: float) -> bool:
        host = self._free()
        if host is None:
            return False
        host.coming += 1
        self.sums.ghosts += 1
        heappush(self.coming, (now_s + self.world.lead_s, host.place))
        self._change(host)
        return True

    def _drop(self, host: _Host, ready: int) -> None:
        host.ready -= ready
        self.sums.ghosts -= ready
        self._change(host)

    def _free(self) -> _Host | None:
        """The fullest host that is awake, is not emptied, and has a free slot."""
        best: _Host | None = None
        for one in self.hosts:
            if (
                one.state is not HostState.ON
                or one.draining
                or one.claimed + one.ready + one.coming >= self.world.slots
            ):
                continue
            if best is None or _fuller(one, best):
                best = one
        return best

    def _least_full(self) -> _Host:
        """Where nobody should be placed, for those who come all the same: sign-ins are never refused."""
        best = min(
            self.hosts,
            key=lambda h: (h.claimed + h.ghosts >= self.world.slots, _WAKEFUL[h.state], h.draining, h.claimed),
        )
        self.sums.crowded += best.claimed + best.ghosts >= self.world.slots
        return best


def _fuller(one: _Host, other: _Host) -> bool:
    return (not one.draining, one.claimed, -one.place) > (not other.draining, other.claimed, -other.place)


Progress = Callable[[int], None]
_SHOW_STEPS = 10_080


@dataclass(frozen=True)
class FleetNeeds:
    """What is foreseen and given at each scored minute, all of shape (minutes,).

    Args:
        ghosts: how many the pool's policy holds.
        room: for how many starts it wants room, asked with the wake in the lead time.
        reserved: room that is taken besides.
        always_on: servers that would be awake were all desktops on: those beyond them are off, and draw nothing.
    """

    ghosts: Ints
    room: Ints
    reserved: Ints
    always_on: Ints


def live_through(
    world: FleetWorld, uses: Uses, use_of_end: Ints, needs: FleetNeeds, progress: Progress = lambda _minutes: None
) -> FleetCost:
    """Let hosts live through it.

    Args:
        world: see there.
        uses: everybody's uses.
        use_of_end: which use, in the order of starts, each end belongs to, shape (uses,).
        needs: what policies said.
        progress: told the minutes done.
    """
    steps = int(np.ceil((world.until_s - world.from_s) / STEP_S))
    at_s = np.minimum(world.from_s + STEP_S * np.arange(steps + 1), world.until_s)
    first_start, first_end = (np.searchsorted(of_s, at_s).tolist() for of_s in (uses.start_s, uses.end_s))
    fleet = _begun(world, use_of_end, first_start[0], first_end[0])
    starts_s, ends_s, whose = uses.start_s.tolist(), uses.end_s.tolist(), use_of_end.tolist()
    ghosts, room, always_on = needs.ghosts.tolist(), (needs.room + needs.reserved).tolist(), needs.always_on.tolist()
    for step in range(steps):
        now_s = world.from_s + STEP_S * step
        fleet.turn(now_s)
        fleet.advance(now_s)
        fleet.hold(ghosts[step], now_s)
        fleet.keep(FleetNeed(ghosts[step], room[step]), now_s)
        fleet.sums.asleep_s += STEP_S * max(0, always_on[step] - fleet.sums.awake)
        starts = (starts_s, first_start[step], first_start[step + 1])
        _happen(fleet, starts, (ends_s, whose, first_end[step], first_end[step + 1]))
        if step % _SHOW_STEPS == 0:
            progress(step)
    fleet.count(world.until_s)
    return _cost(world, fleet.sums, first_start[-1] - first_start[0])


def _begun(world: FleetWorld, use_of_end: Ints, first: int, ended: int) -> _Fleet:
    """All hosts awake, with the desktops that are in use when it begins."""
    hosts = [_Host(place, HostState.ON, world.from_s) for place in range(world.hosts)]
    fleet = _Fleet(world, hosts, on_host=[set() for _ in hosts])
    fleet.sums.at_s, fleet.sums.awake = world.from_s, world.hosts
    over = set(use_of_end[:ended].tolist())
    for use in range(first):
        if use not in over:
            fleet._put(use, fleet._free() or fleet._least_full())
    fleet.sums.crowded = 0
    return fleet


def _happen(fleet: _Fleet, starts: tuple[list[float], int, int], ends: tuple[list[float], list[int], int, int]) -> None:
    """Starts and ends of one minute, in the order of time."""
    starts_s, a, b = starts
    ends_s, whose, c, d = ends
    while a < b or c < d:
        if c < d and (a >= b or ends_s[c] <= starts_s[a]):
            fleet.end(whose[c], ends_s[c])
            c += 1
        else:
            fleet.start(a, starts_s[a])
            a += 1


def _cost(world: FleetWorld, sums: _Sums, starts: int) -> FleetCost:
    cost = FleetCost(
        starts, sums.misses, sums.awake_s, sums.asleep_s, sums.transition_s, sums.active_s, sums.ghost_s, sums.wakes,
        sums.moves, sums.crowded, 0.0,
    )  # fmt: skip
    return replace(cost, energy_j=fleet_energy_j(world, cost))


def uses_in_order(start_s: Floats, end_s: Floats, row: Ints, rows: int) -> tuple[Uses, Ints]:
    """Uses in the order of time, and which use (in the order of starts) each end belongs to."""
    by_start = np.argsort(start_s, kind="stable")
    start_s, end_s, row = start_s[by_start], end_s[by_start], row[by_start]
    by_end = np.argsort(end_s, kind="stable")
    return Uses(rows, start_s, row, end_s[by_end], row[by_end]), by_end
