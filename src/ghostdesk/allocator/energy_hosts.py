"""Which hosts of a fleet are awake: as few as what is claimed and what is foreseen need. Pure.

Three rules keep it calm. A host is woken for starts foreseen within its wake time and a build, so that nobody waits for
it (the wake time is part of the pool's lead time). A host is emptied only when the others have had room to spare for
`settle_s`, at least as long as a sleep must last to save anything: waiting for the break-even time before one sleeps
never costs more than twice what somebody who knows the future would pay (ski rental; Karlin et al., "Competitive
randomized algorithms for non-uniform problems", SODA 1990). And a host stays awake for `min_on_s` once it was woken.
No host that holds a claimed desktop is ever suspended.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ghostdesk.allocator.energy_model import SERVER, HostPowerModel
from ghostdesk.allocator.lead_time import LeadTime
from ghostdesk.allocator.plan import Infeasible, Reason
from ghostdesk.kernel.ids import HostId


class HostState(StrEnum):
    """What a host is doing."""

    ON = "on"
    WAKING = "waking"
    SUSPENDING = "suspending"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class FleetHost:
    """One host as the control plane knows it.

    Args:
        host: its id.
        state, since_s: what it is doing, and since when (UTC seconds).
        slots: desktops that it can hold, claimed ones and ghosts together.
        claimed: desktops of people, connected or not; those of people who left them open count, too.
        idle: ghosts of nobody there, those being made included.
        draining: nothing new is placed there, as it is to be suspended.
        usable_from_s: a host that did not wake is not tried again before.
        model: what it draws.
    """

    host: HostId
    state: HostState
    since_s: float
    slots: int
    claimed: int = 0
    idle: int = 0
    draining: bool = False
    usable_from_s: float = -math.inf
    model: HostPowerModel = SERVER

    @property
    def room(self) -> int:
        """Desktops that people could still claim there: free slots, and those of ghosts."""
        return max(0, self.slots - self.claimed)


@dataclass(frozen=True, slots=True)
class FleetRules:
    """How calm, and how careful.

    Args:
        min_awake: hosts that are awake whatever is foreseen.
        settle_s: for how long there has to be room to spare before a host is emptied; never less than the break-even
            time of its sleep.
        min_on_s: for how long a host stays awake once it was woken.
        spare_slots: room beyond the need that has to be left when a host is emptied (hysteresis).
        moves: whether claimed desktops can be moved while they run (live migration); without, hosts empty as people
            leave.
    """

    min_awake: int = 1
    settle_s: float = 600.0
    min_on_s: float = 1_800.0
    spare_slots: int = 2
    moves: bool = False


@dataclass(frozen=True, slots=True)
class FleetNeed:
    """What is foreseen.

    Args:
        ghosts: how many the pool holds.
        room: desktops that may be claimed, at the service target, until a host that is woken now could hold one.
    """

    ghosts: int
    room: int

    @property
    def slots(self) -> int:
        """Room that hosts have to have: starts take ghosts, so the larger of the two is enough."""
        return max(self.ghosts, self.room, 0)


def with_wake(lead: LeadTime, wake_time_s: float) -> LeadTime:
    """The lead time of a desktop on a host that sleeps: the wake, which is taken as certain, and then the build.

    Ask the pool's policy with it for `FleetNeed.room`. The sum is log-normal again, with the build's variance (moments
    matched, after Fenton 1960).
    """
    mean_s = lead.mean_s + max(wake_time_s, 0.0)
    variance = lead.mean_s**2 * math.expm1(lead.spread**2)
    return LeadTime(mean_s, math.sqrt(math.log1p(variance / mean_s**2)))


class HostDeed(StrEnum):
    """What to do with a host."""

    WAKE = "wake"
    SUSPEND = "suspend"
    DRAIN = "drain"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class HostAction:
    """One thing to do.

    Args:
        deed: DRAIN empties a host (ghosts are made anew elsewhere, claimed desktops moved where they can be), KEEP
            takes that back.
        host: which.
        reason: why, with watts.
        watts: what it draws more (positive) or less from then on.
    """

    deed: HostDeed
    host: HostId
    reason: Reason
    watts: float


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What to do now.

    Args:
        actions: in order.
        spare_since_s: since when a host could be done without; give it back at the next decision.
        infeasible: what could not be had.
        checked_s: when asking again may give another answer though nothing changed; infinite if only changes may.
    """

    actions: tuple[HostAction, ...] = ()
    spare_since_s: float | None = None
    infeasible: tuple[Infeasible, ...] = ()
    checked_s: float = field(default=math.inf)


def plan_hosts(
    hosts: Sequence[FleetHost],
    need: FleetNeed,
    now_s: float,
    rules: FleetRules,
    spare_since_s: float | None = None,
) -> FleetPlan:
    """Which hosts to wake, empty and suspend.

    Args:
        hosts: the fleet.
        need: what is foreseen.
        now_s: UTC seconds.
        rules: see there.
        spare_since_s: what the last plan said.
    """
    serving = [one for one in hosts if one.state in (HostState.ON, HostState.WAKING) and not one.draining]
    room = sum(one.room for one in serving)
    sleeping = _emptied(hosts, now_s, rules)
    if room < need.slots or len(serving) < rules.min_awake:
        actions, infeasible = _more(hosts, need, now_s, room, len(serving), rules)
        kept = {one.host for one in actions}
        return FleetPlan((*actions, *(one for one in sleeping if one.host not in kept)), None, infeasible)
    candidate = _spare(serving, need, now_s, room, rules)
    wait_s = min((_on_until_s(one, rules) for one in hosts if _waits(one, now_s, rules)), default=math.inf)
    if candidate is None:
        return FleetPlan(tuple(sleeping), None, (), wait_s)
    since_s = now_s if spare_since_s is None else min(spare_since_s, now_s)
    settle_s = max(rules.settle_s, candidate.model.break_even_s)
    if now_s - since_s < settle_s:
        return FleetPlan(tuple(sleeping), since_s, (), min(wait_s, since_s + settle_s))
    return FleetPlan((*sleeping, _drain(candidate, need, room, rules)), None, (), now_s)


def _spare(
    serving: Sequence[FleetHost], need: FleetNeed, now_s: float, room: int, rules: FleetRules
) -> FleetHost | None:
    """The host that is emptied soonest, if the others have room enough without it."""
    if len(serving) <= rules.min_awake or any(one.state is HostState.WAKING for one in serving):
        return None
    for one in sorted(serving, key=lambda h: (h.claimed, h.idle, -h.model.idle_w, h.host)):
        moved = one.claimed if rules.moves else 0
        if room - one.room - moved >= need.slots + rules.spare_slots:
            return one if now_s >= _on_until_s(one, rules) else None
        if not rules.moves:
            return None
    return None


def _on_until_s(one: FleetHost, rules: FleetRules) -> float:
    return one.since_s + rules.min_on_s


def _waits(one: FleetHost, now_s: float, rules: FleetRules) -> bool:
    """Whether it is awake for its minimum time only."""
    return one.state is HostState.ON and _on_until_s(one, rules) > now_s


def _drain(one: FleetHost, need: FleetNeed, room: int, rules: FleetRules) -> HostAction:
    saved_w = one.model.idle_w - one.model.suspended_w
    rest = room - one.room
    how = "its desktops are moved to the others" if rules.moves else "nothing new is placed there until it is empty"
    text = (
        f"the other hosts have room for {rest} desktops where {need.slots} are foreseen: {how} "
        f"({one.claimed} claimed, {one.idle} ghosts), and suspending it saves {saved_w:.0f} W"
    )
    return HostAction(HostDeed.DRAIN, one.host, Reason("consolidate", text), -saved_w)


def _emptied(hosts: Sequence[FleetHost], now_s: float, rules: FleetRules) -> list[HostAction]:
    """Hosts that were to be emptied, and are."""
    actions = []
    awake = sum(1 for one in hosts if one.state in (HostState.ON, HostState.WAKING))
    for one in hosts:
        if one.state is not HostState.ON or not one.draining or one.claimed or one.idle:
            continue
        if awake <= rules.min_awake or _waits(one, now_s, rules):
            continue
        awake -= 1
        saved_w = one.model.idle_w - one.model.suspended_w
        text = (
            f"it is empty: asleep it draws {one.model.suspended_w:.0f} W instead of {one.model.idle_w:.0f} W, which "
            f"pays a suspend and a wake ({one.model.cycle_energy_j / 1000.0:.0f} kJ) in {one.model.break_even_s:.0f} s"
        )
        actions.append(HostAction(HostDeed.SUSPEND, one.host, Reason("empty", text), -saved_w))
    return actions


def _more(
    hosts: Sequence[FleetHost], need: FleetNeed, now_s: float, room: int, serving: int, rules: FleetRules
) -> tuple[list[HostAction], tuple[Infeasible, ...]]:
    """Hosts that are emptied are kept first, as they are awake; then those that sleep, the cheapest a desktop first."""
    actions: list[HostAction] = []
    for one in sorted(hosts, key=_cheapest_first):
        if room >= need.slots and serving >= rules.min_awake:
            return actions, ()
        if one.state is HostState.ON and one.draining:
            text = f"room for {room} desktops, {need.slots} are foreseen: it is awake and takes desktops again"
            actions.append(HostAction(HostDeed.KEEP, one.host, Reason("keep", text), 0.0))
        elif one.state is HostState.SUSPENDED and one.usable_from_s <= now_s:
            more_w = one.model.idle_w - one.model.suspended_w
            text = (
                f"room for {room} desktops, {need.slots} are foreseen until it could hold one "
                f"({one.model.wake_time_s:.0f} s to wake, and a build): {more_w:.0f} W more"
            )
            actions.append(HostAction(HostDeed.WAKE, one.host, Reason("foreseen", text), more_w))
        else:
            continue
        room += one.room
        serving += 1
    if room >= need.slots and serving >= rules.min_awake:
        return actions, ()
    coming = sum(1 for one in hosts if one.state is HostState.SUSPENDING)
    failed = sum(1 for one in hosts if one.state is HostState.SUSPENDED and one.usable_from_s > now_s)
    text = f"room for {room} desktops on all {len(hosts)} hosts, {need.slots} are foreseen"
    if coming:
        text += f"; {coming} is just being suspended"
    if failed:
        text += f"; {failed} did not wake and is tried again later"
    return actions, (Infeasible(f"{need.slots - room} more desktops", Reason("hosts", text)),)


def _cheapest_first(one: FleetHost) -> tuple[bool, int, float, str]:
    return (not one.draining, -one.claimed, one.model.idle_w / max(one.slots, 1), one.host)
