"""What a person who comes is given: full resources, within quotas and what is there; or why they are refused. Pure.

Ghosts never stand in the way: only desktops in use, and desktops booked for others, are counted against a person.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from ghostdesk.allocator.bookings import (
    DESKTOPS,
    NONE_RESERVED,
    RESOURCE_WORDS,
    Reserved,
    Seat,
    counted_each,
    desktops_text,
    reserved_at,
)
from ghostdesk.allocator.capacity import SHARED_BY_WEIGHT, CapacityRules, Counted, Tally, counted_limits, promise, tally
from ghostdesk.allocator.limits import full_limits
from ghostdesk.allocator.quotas import Quota
from ghostdesk.allocator.reasons import Infeasible, Reason
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.kernel.resources import NOTHING, Resources

LEAST_SHARE = 0.1
"""A desktop with less than this share of the standard is of no use: better to say no."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody gets no desktop, and what helps; `entry` says it for the list of wishes that were not granted."""

    cause: str
    mend: str
    entry: Infeasible

    @property
    def by_quota(self) -> bool:
        """Whether a quota says so; else there is no room."""
        return self.entry.reason.code.endswith("-quota")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person gets.

    Args:
        limits: what their desktop may use; a zero amount means no limit.
        cuts: where that is less than was asked for, with the reason.
        refusal: why they get no desktop; None when they get one.
    """

    limits: Resources
    cuts: tuple[Infeasible, ...] = ()
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """The host and its ghosts as a grant needs to know them.

    Args:
        capacity: what of the host is ours.
        whole: what the host has in all; no limit is higher.
        ghosts: all there are; read more than once.
        ghost_memory_bytes: what a ghost is counted with.
        held: memory of each, as measured.
        counted: the same ghosts, counted as they came; None counts them when that is needed.
    """

    capacity: Resources
    whole: Resources
    ghosts: Iterable[Ghost]
    ghost_memory_bytes: float
    held: Mapping[GhostId, float]
    counted: Counted | None = None

    def tally(self, rules: CapacityRules) -> Tally:
        """What is promised."""
        if self.counted is not None:
            return self.counted.tally(rules, self.ghost_memory_bytes, self.held)
        return tally(self.ghosts, rules, self.ghost_memory_bytes, self.held)


def seats_of(ghosts: Iterable[Ghost], rules: CapacityRules) -> list[Seat]:
    """Who has a desktop, or has one prepared for them."""
    return [
        Seat(g.owner, rules.department_of(g.owner), g.since_s)
        for g in ghosts
        if g.owner is not None and g.state is not GhostState.DRAINING
    ]


def reserved_now(ghosts: Iterable[Ghost], rules: CapacityRules, now_s: float) -> Reserved:
    """What bookings ask for now."""
    if not any(rules.lead.opens_s(booking) <= now_s < booking.end_s for booking in rules.bookings):
        return NONE_RESERVED  # which spares looking at everybody
    return reserved_at(rules.bookings_to_hold(), now_s, rules.lead, seats_of(ghosts, rules))


def grant(user: UserId, asked: Resources, rules: CapacityRules, host: Host, now_s: float) -> Grant:
    """What `user`, who has no desktop in use, gets.

    Args:
        user: who comes.
        asked: what a desktop in use may use, no more than the host has; zero means no limit.
        rules: what may be promised.
        host: what is there.
        now_s: UTC seconds.
    """
    if not rules.enforced:
        return Grant(asked)
    counted = host.tally(rules)
    department = rules.department_of(user)
    booking = reserved_now(host.ghosts, rules, now_s).of(user, department)
    if booking is not None:
        asked = full_limits(counted_each(booking, asked), host.whole)
    refusal = _too_many(user, department, rules, counted)
    if refusal is not None:
        return Grant(asked, (), refusal)
    limits, cuts, refusal = _within_quotas(user, department, asked, rules, host, counted)
    if refusal is None:
        refusal = _no_room(user, limits, rules, host, counted)
    return Grant(limits, tuple(cuts), refusal)


@dataclass(frozen=True, slots=True)
class InUse:
    """What desktops in use may use, of people whom quotas and bookings may concern.

    A quota that is lowered takes nothing from whoever works already, as memory cannot be taken back without harm; one
    that is raised gives them more.
    """

    full: Resources
    rules: CapacityRules
    host: Host
    counted: Callable[[], Tally]
    """What is promised, added up when a quota first needs it: a launch of somebody without one looks at nobody else."""
    reserved: Reserved

    @classmethod
    def of(cls, host: Host, full: Resources, rules: CapacityRules, now_s: float) -> InUse:
        """Add up at most once what is promised, for many desktops."""
        counted = cache(lambda: host.tally(rules))
        return cls(full, rules, host, counted, reserved_now(host.ghosts, rules, now_s))

    def limits_of(self, ghost: Ghost) -> Resources:
        """One desktop's; `full` where neither a quota nor a booking concerns it."""
        user = ghost.owner
        if user is None:
            return self.full
        department = self.rules.department_of(user)
        own, theirs = self.rules.quotas.of(user), self.rules.quotas.of_department(department)
        booking = self.reserved.of(user, department)
        asked = full_limits(counted_each(booking, self.full), self.host.whole) if booking is not None else self.full
        if own.most is NOTHING and theirs.most is NOTHING:
            return asked
        taken = self.counted().limits_of_department.get(department, NOTHING)
        taken -= counted_limits(ghost.limits, self.rules.desktop)  # its own is not in its way
        limits = [
            self._limit(*amounts)
            for amounts in zip(
                *(r.as_tuple() for r in (asked, self.rules.desktop, own.most, theirs.most, taken, ghost.limits)),
                strict=True,
            )
        ]
        return Resources(*limits)

    @staticmethod
    def _limit(asked: float, standard: float, own: float, theirs: float, taken: float, now: float) -> float:
        limit, _ = _cut(asked, standard, own, theirs, taken)
        return limit if not limit or not (own or theirs) else max(limit, now, standard * LEAST_SHARE)


def _too_many(user: UserId, department: str, rules: CapacityRules, counted: Tally) -> Refusal | None:
    """A desktop beyond a quota of desktops."""
    own = rules.quotas.of(user).desktops
    if own is not None and own < 1:
        entry = _refused(user, "user-quota", f"the quota of {user} is {desktops_text(own)}", DESKTOPS, 1, own)
        return Refusal(f"Your quota is {desktops_text(own)}.", "Ask your operator to raise it.", entry)
    theirs, quota = counted.in_department.get(department, 0), rules.quotas.of_department(department).desktops
    if quota is not None and theirs + 1 > quota:
        text = f"the quota of {department} is {desktops_text(quota)}, in use: {theirs}"
        entry = _refused(user, "department-quota", text, DESKTOPS, 1, max(0, quota - theirs))
        mend = "Wait until one of them is ended, or ask your operator to raise the quota."
        return Refusal(f"The {desktops_text(quota)} that {department} may have are in use.", mend, entry)
    return None


def _within_quotas(
    user: UserId, department: str, asked: Resources, rules: CapacityRules, host: Host, counted: Tally
) -> tuple[Resources, list[Infeasible], Refusal | None]:
    """The limits that both quotas leave, what they cut, and whether too little is left."""
    own, theirs = rules.quotas.of(user), rules.quotas.of_department(department)
    taken = counted.limits_of_department.get(department, NOTHING)
    limits: list[float] = []
    cuts: list[Infeasible] = []
    refusal: Refusal | None = None
    for row, name in enumerate(RESOURCE_WORDS):
        wanted, standard = asked.as_tuple()[row], rules.desktop.as_tuple()[row]
        has = host.whole.as_tuple()[row]
        limit, code = _cut(
            wanted, standard, own.most.as_tuple()[row], theirs.most.as_tuple()[row], taken.as_tuple()[row]
        )
        limits.append(limit)
        if not code:
            continue
        whose = user if code == "user-quota" else department
        least = _least(name, standard, own)
        if limit < least or limit <= 0:
            word, free = RESOURCE_WORDS[name], max(0.0, limit)
            entry = _refused(user, code, f"the {word} quota of {whose} leaves too little", name, wanted or least, free)
            mend = "Wait until a desktop of it is ended, or ask your operator to raise the quota."
            refusal = refusal or Refusal(f"The {word} quota of {whose} leaves too little for a desktop.", mend, entry)
            continue
        text = f"the {RESOURCE_WORDS[name]} quota of {whose}"
        cuts.append(
            Infeasible(f"full {RESOURCE_WORDS[name]} for {user}", Reason(code, text), name, wanted or has, limit)
        )
    return Resources(*limits), cuts, refusal


def _cut(wanted: float, standard: float, own: float, theirs: float, taken: float) -> tuple[float, str]:
    """The limit that is left of what is wanted (0: no limit), and the code of the quota that cut it; empty for none.

    In a department with a quota, whoever may use as much as there is gets the standard, else the first would take all;
    that is the rule there, and no cut.
    """
    limit, code = wanted, ""
    if own and (not limit or own < limit):
        limit, code = own, "user-quota"
    if theirs:
        room = theirs - taken
        if not limit:
            limit, code = (standard, "") if 0 < standard <= room else (room, "department-quota")
        elif room < limit:
            limit, code = room, "department-quota"
    return limit, code


def _least(name: str, standard: float, own: Quota) -> float:
    """The least that a desktop works with; a person's own quota may be lower, as the operator wanted it so."""
    least = standard if name not in SHARED_BY_WEIGHT else standard * LEAST_SHARE
    quota: float = getattr(own.most, name)
    return min(least, quota) if quota else least


def _no_room(user: UserId, limits: Resources, rules: CapacityRules, host: Host, counted: Tally) -> Refusal | None:
    """What cannot be shared by weight must be there: beside what desktops in use are promised, whatever ghosts hold."""
    need = promise(limits, rules.desktop)
    allowed = rules.allowed(host.capacity, counted.freed_bytes)
    for name, may, taken, wants in zip(
        RESOURCE_WORDS, allowed.as_tuple(), counted.people.as_tuple(), need.as_tuple(), strict=True
    ):
        if name in SHARED_BY_WEIGHT or math.isinf(may) or wants <= 0 or taken + wants <= may + 1e-6:
            continue
        word = RESOURCE_WORDS[name]
        text = f"the {word} is promised to {desktops_text(counted.desktops)} in use"
        entry = _refused(user, "promised", text, name, wants, max(0.0, may - taken))
        mend = f"Try later, or ask your operator for more {word} or a higher factor under [capacity] in the settings."
        return Refusal(f"The host's {word} is promised to {desktops_text(counted.desktops)} in use.", mend, entry)
    return None


def _refused(user: UserId, code: str, text: str, resource: str, asked: float, free: float) -> Infeasible:
    return Infeasible(f"a desktop for {user}", Reason(code, text), resource, asked, free)
