"""What of the host is promised, used, reserved and free, under the rules that say how often it may be promised. Pure.

A *promise* is what a desktop may count on, a *limit* is what it may use when others leave it: Kubernetes calls the two
requests and limits. What can be shared out again in a millisecond (CPU, network, storage: by weight) may be promised
several times over, as people rarely all want it at once. Memory cannot be taken back without harm, so it is promised
once, plus what parking has freed; a GPU's share is promised once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ghostdesk.allocator.bookings import RESOURCE_WORDS, Booking, BookingLead, BookingRoom
from ghostdesk.allocator.quotas import Quotas
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.kernel.resources import NOTHING, Resources

FACTORS = Resources(cpu_cores=4.0, memory_bytes=1.0, gpu_share=1.0, network_bytes_per_s=8.0, storage_bytes_per_s=4.0)
DESKTOP = Resources(cpu_cores=1.0, memory_bytes=500e6, network_bytes_per_s=1e6, storage_bytes_per_s=5e6)
SHARED_BY_WEIGHT = frozenset({"cpu_cores", "network_bytes_per_s", "storage_bytes_per_s"})
"""Resources of which a person gets less, but is never refused, when more is promised than there is."""
_Key = TypeVar("_Key")
_FROZEN = frozenset({GhostState.WARM, GhostState.PARKED})
_GONE = frozenset({GhostState.DRAINING, GhostState.CACHED})


@dataclass(frozen=True, slots=True)
class CapacityRules:
    """What may be promised, to whom, and what is booked.

    Args:
        enforced: whether any of this holds; without, nothing is counted, which is what replays of plain logs want.
        factors: how often each resource may be promised.
        desktop: what a desktop in use is counted with where it was given no less.
        quotas: of people, departments and ghosts.
        departments: whose people are where; who is not there belongs to none.
        bookings: classes that are booked.
        lead: how early their desktops are made ready.
    """

    enforced: bool = True
    factors: Resources = FACTORS
    desktop: Resources = DESKTOP
    quotas: Quotas = field(default_factory=Quotas)
    departments: Mapping[UserId, str] = field(default_factory=dict)
    bookings: tuple[Booking, ...] = ()
    lead: BookingLead = field(default_factory=BookingLead)

    def bookings_to_hold(self) -> tuple[Booking, ...]:
        """What is booked, without desktops that a department may not have: nobody could come for them."""
        quotas = self.quotas.departments
        if not quotas:
            return self.bookings
        return tuple(
            replace(b, desktops=min(b.desktops, quota))
            if (quota := self.quotas.of_department(b.department).desktops) is not None
            else b
            for b in self.bookings
        )

    def department_of(self, user: UserId) -> str:
        """Where the person belongs; empty for nowhere."""
        return self.departments.get(user, "")

    def allowed(self, capacity: Resources, freed_bytes: float = 0.0) -> Resources:
        """What may be promised of each resource, with `freed_bytes` of memory that parking has freed; infinite of what
        the host does not tell, except for a GPU, which is not there then."""
        pairs = zip(capacity.as_tuple(), self.factors.as_tuple(), strict=True)
        cpu, memory, gpu, network, storage = (has * factor for has, factor in pairs)
        return Resources(
            cpu or math.inf, (memory + freed_bytes) or math.inf, gpu, network or math.inf, storage or math.inf
        )


UNRULED = CapacityRules(enforced=False)


@dataclass(frozen=True, slots=True)
class ResourceRoom:
    """One resource.

    Args:
        resource: which: a field of `Resources`.
        has: what of the host ghosts and desktops may use.
        allowed: what may be promised of it; None where it is not counted.
        people, ghosts: what is promised to desktops in use, and to ghosts.
        reserved: what is kept for booked classes that have not come.
        used: what is used, as measured; None where nothing measures it.
        free: what may still be promised to ghosts; None where it is not counted.
    """

    resource: str
    has: float
    allowed: float | None
    people: float
    ghosts: float
    reserved: float
    used: float | None
    free: float | None

    @property
    def unpromised(self) -> float | None:
        """What is promised to nobody, and (of memory) held by nobody either; what is kept for classes is part of it."""
        if self.allowed is None:
            return None
        held = min(self.used or 0.0, self.allowed) if self.resource == "memory_bytes" else 0.0
        return max(0.0, self.allowed - max(self.people + self.ghosts, held))


@dataclass(frozen=True, slots=True)
class Headroom:
    """What there is: each resource, and desktops in number.

    Args:
        rooms: in the order of `Resources`.
        desktops, most_desktops: how many there are of all kinds, and how many there may be.
        ghosts: how many of them are ghosts.
        reserved: how many are kept, or still to be made, for booked classes.
        parked_bytes: memory that parking has freed.
    """

    rooms: tuple[ResourceRoom, ...]
    desktops: int
    most_desktops: int
    ghosts: int
    reserved: int
    parked_bytes: float = 0.0

    def room(self, resource: str) -> ResourceRoom:
        """One resource's."""
        return self.rooms[list(RESOURCE_WORDS).index(resource)]


@dataclass(slots=True)
class Tally:
    """Who is promised what; filled by `tally`.

    Args:
        people, ghosts: promises to desktops in use, and to ghosts.
        desktops, idle: how many there are of both.
        freed_bytes: what parking has freed of what the parked are promised.
        users: who has a desktop in use.
        in_department, limits_of_department: desktops in use, and their limits, by department.
    """

    people: Resources = NOTHING
    ghosts: Resources = NOTHING
    desktops: int = 0
    idle: int = 0
    freed_bytes: float = 0.0
    users: Set[UserId] = field(default_factory=frozenset)
    in_department: dict[str, int] = field(default_factory=dict)
    limits_of_department: dict[str, Resources] = field(default_factory=dict)


def promise(limits: Resources, standard: Resources) -> Resources:
    """What a desktop in use may count on: the standard, or its limit where that is less."""
    pairs = zip(limits.as_tuple(), standard.as_tuple(), strict=True)
    return Resources(*(min(limit, usual) if limit else usual for limit, usual in pairs))


def tally(
    ghosts: Iterable[Ghost], rules: CapacityRules, ghost_memory_bytes: float, held: Mapping[GhostId, float]
) -> Tally:
    """Add up what is promised.

    A ghost is counted with its memory and, unless it is frozen, with the CPU that it may use; it yields all of it.

    Args:
        ghosts: all there are, desktops in use included.
        rules: standards and departments.
        ghost_memory_bytes: what a ghost is counted with.
        held: memory of each, as measured.
    """
    seen = Counted(rules.departments)
    for ghost in ghosts:
        seen.add(ghost)
    return seen.tally(rules, ghost_memory_bytes, held)


class Counted:
    """Ghosts counted by what a tally needs: they may come and go one by one, and few limits differ.

    Args:
        departments: whose people are where.
    """

    def __init__(self, departments: Mapping[UserId, str]) -> None:
        self.departments = departments
        self._active: Counter[tuple[Resources, str]] = Counter()
        self._users: Counter[UserId] = Counter()
        self._awake: Counter[float] = Counter()
        self._parked: dict[GhostId, None] = {}
        self._idle = 0

    def add(self, ghost: Ghost, change: int = 1) -> None:
        """Count one more; with a `change` of -1 it is gone again."""
        state = ghost.state
        if state is GhostState.ACTIVE:
            owner = ghost.owner
            _count(self._active, (ghost.limits, self.departments.get(owner, "") if owner is not None else ""), change)
            if owner is not None:
                _count(self._users, owner, change)
        elif state not in _GONE:
            self._idle += change
            if state not in _FROZEN:
                _count(self._awake, ghost.limits.cpu_cores, change)
            if state is GhostState.PARKED and ghost.pending is None:
                if change > 0:
                    self._parked[ghost.ghost] = None
                else:
                    self._parked.pop(ghost.ghost, None)

    def tally(self, rules: CapacityRules, ghost_memory_bytes: float, held: Mapping[GhostId, float]) -> Tally:
        """What is promised to those who are counted now; see the function `tally`."""
        found = Tally(idle=self._idle, users=self._users.keys())
        found.freed_bytes = sum(
            (max(0.0, ghost_memory_bytes - held[ghost]) for ghost in self._parked if ghost in held), 0.0
        )
        for (limits, department), count in self._active.items():
            found.desktops += count
            found.people += promise(limits, rules.desktop).scaled(count)
            if department:
                taken = found.limits_of_department.get(department, NOTHING)
                found.limits_of_department[department] = taken + counted_limits(limits, rules.desktop).scaled(count)
                found.in_department[department] = found.in_department.get(department, 0) + count
        cpu_cores = sum(cores * count for cores, count in self._awake.items())
        found.ghosts = Resources(cpu_cores=cpu_cores, memory_bytes=ghost_memory_bytes * found.idle)
        return found


def _count(counter: Counter[_Key], key: _Key, change: int) -> None:
    counter[key] += change
    if change < 0 and not counter[key]:
        del counter[key]


def counted_limits(limits: Resources, standard: Resources) -> Resources:
    """What a desktop takes of a department's quota: its limits; the standard where it has none."""
    return Resources(*(limit or usual for limit, usual in zip(limits.as_tuple(), standard.as_tuple(), strict=True)))


def headroom(
    counted: Tally,
    rules: CapacityRules,
    capacity: Resources,
    most_desktops: int,
    used: Mapping[str, float],
    reserved: int = 0,
    reserved_each: Resources = NOTHING,
) -> Headroom:
    """What there is.

    Args:
        counted: what is promised (see `tally`).
        rules: how often each resource may be promised.
        capacity: what of the host is ours.
        most_desktops: the ceiling.
        used: what is used of each resource, as far as it is measured.
        reserved, reserved_each: desktops still to be held for booked classes, and the mean of what each is promised.
    """
    rooms = []
    allowed = rules.allowed(capacity, counted.freed_bytes)
    amounts = zip(
        RESOURCE_WORDS,
        capacity.as_tuple(),
        allowed.as_tuple(),
        counted.people.as_tuple(),
        counted.ghosts.as_tuple(),
        reserved_each.scaled(reserved).as_tuple(),
        strict=True,
    )
    for name, has, may, wanted, ghosts, kept in amounts:
        if math.isinf(may):
            rooms.append(ResourceRoom(name, has, None, wanted, ghosts, kept, used.get(name), None))
            continue
        # More people than the rule foresees share what there is: none of them is promised what is not there.
        room = ResourceRoom(name, has, may, min(wanted, may), ghosts, kept, used.get(name), 0.0)
        rooms.append(replace(room, free=max(0.0, (room.unpromised or 0.0) - kept)))
    return Headroom(
        tuple(rooms), counted.desktops + counted.idle, most_desktops, counted.idle, reserved, counted.freed_bytes
    )


def booking_room(rules: CapacityRules, capacity: Resources, most_desktops: int) -> BookingRoom:
    """What bookings may ask for on a host."""
    quotas = rules.quotas.departments.items()
    return BookingRoom(
        most_desktops,
        rules.allowed(capacity),
        rules.desktop,
        {department: quota.desktops for department, quota in quotas if quota.desktops is not None},
    )
