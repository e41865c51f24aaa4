"""Booked classes: so many desktops from then to then, for these people; what must be held now, and what will not fit.

Pure. A booking is the operator's word, not a forecast: its desktops are made ready before it starts, its people get
them first, and they are let go after it ends.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from ghostdesk.allocator.reasons import Infeasible, Reason
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import NOTHING, Resources

RESOURCE_WORDS = {
    "cpu_cores": "CPU",
    "memory_bytes": "memory",
    "gpu_share": "GPU",
    "network_bytes_per_s": "network",
    "storage_bytes_per_s": "storage",
}
"""How people call the fields of `Resources`."""
UNCOUNTED = Resources(*[math.inf] * 5)
DESKTOPS = "desktops"
MOST_DESKTOPS = 100_000
"""More desktops in one booking are taken for a slip of the hand."""
LONGEST_S = 31 * 86_400.0
FURTHEST_S = 800 * 86_400.0
_MOST_NAME_CHARS = 80
_MOST_APPS = 20


class BookingError(GhostdeskError):
    """A booking that cannot be taken: its times, its people or its size are wrong."""

    code = "booking"


@dataclass(frozen=True, slots=True)
class Booking:
    """Desktops that are booked.

    Args:
        name: what the operator calls it, such as "physics 2b".
        start_s, end_s: UTC seconds.
        desktops: how many.
        department: whose people come; empty where `users` names them, or where anybody may come.
        users: who comes; empty where a department, or nobody in particular, is meant.
        apps: applications that are launched ahead for those who are named.
        each: what each desktop may use; a zero amount is the pool's own setting.
        source: the calendar that it comes from; empty for one that was added by hand.
        number: the store's number; 0 before it is stored.
    """

    name: str
    start_s: float
    end_s: float
    desktops: int
    department: str = ""
    users: frozenset[UserId] = frozenset()
    apps: tuple[AppId, ...] = ()
    each: Resources = NOTHING
    source: str = ""
    number: int = 0

    @property
    def open_to_all(self) -> bool:
        """Whether it is for a number of people whom nobody named."""
        return not self.users and not self.department

    def includes(self, user: UserId, department: str) -> bool:
        """Whether this person is known to belong to it."""
        return user in self.users if self.users else bool(self.department) and department == self.department

    def whose(self) -> str:
        """For whom, in a word or two."""
        if self.users:
            return f"{len(self.users)} named people"
        return self.department or "anybody"


def check_booking(booking: Booking, now_s: float, known: Sequence[Booking] = ()) -> Booking:
    """The booking, if it can be taken.

    Args:
        booking: not stored yet.
        now_s: UTC seconds.
        known: what is booked already.

    Raises:
        BookingError: it is over, ends before it starts, is too long, too far ahead or too large, or the same class is
            booked for an overlapping time.
    """
    _check_words(booking)
    _check_times(booking, now_s)
    _check_size(booking)
    for other in known:
        if (other.name, other.source) == (booking.name, booking.source) and _overlap(other, booking):
            raise BookingError(
                f"{booking.name} is booked already for a time that overlaps (number {other.number}).",
                f"Remove it first: `ghostdesk reserve remove {other.number}`; or give this one another name.",
            )
    return booking


def _check_words(booking: Booking) -> None:
    name = booking.name
    if not name.strip() or name != name.strip() or len(name) > _MOST_NAME_CHARS or not name.isprintable():
        raise BookingError(
            f"{name[:20]!r} is no name for a booking.", f"Use 1 to {_MOST_NAME_CHARS} printable characters."
        )
    if booking.users and booking.department:
        raise BookingError("A booking is for a department or for named people, not for both.", "Give one of them.")
    if len(booking.apps) > _MOST_APPS:
        raise BookingError(f"{len(booking.apps)} applications are too many.", f"Name {_MOST_APPS} at most.")


def _check_times(booking: Booking, now_s: float) -> None:
    start_s, end_s = booking.start_s, booking.end_s
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        raise BookingError("The booking's times are no times.", "Give dates such as 2026-03-02T09:00.")
    if end_s <= start_s:
        raise BookingError("The booking ends before it starts.", "Give an --end after its --start.")
    if end_s <= now_s:
        raise BookingError("The booking is over already.", "Check the date, the time zone and the clock.")
    if end_s - start_s > LONGEST_S:
        raise BookingError(
            f"The booking lasts {(end_s - start_s) / 86_400:.0f} days.",
            "Book 31 days at most; raise pool.floor for more.",
        )
    if start_s > now_s + FURTHEST_S:
        raise BookingError("The booking is more than two years ahead.", "Check the year.")


def _check_size(booking: Booking) -> None:
    if not 1 <= booking.desktops <= MOST_DESKTOPS:
        raise BookingError(
            f"{booking.desktops} desktops cannot be booked.", f"Give a number from 1 to {MOST_DESKTOPS:,}."
        )
    if len(booking.users) > booking.desktops:
        raise BookingError(
            f"{len(booking.users)} people are named for {booking.desktops} desktops.", "Book one for each of them."
        )
    if any(not math.isfinite(amount) or amount < 0 for amount in booking.each.as_tuple()):
        raise BookingError("An amount of a resource is negative or no number.", "Give amounts above 0.")


def _overlap(a: Booking, b: Booking) -> bool:
    return a.start_s < b.end_s and b.start_s < a.end_s


@dataclass(frozen=True, slots=True)
class BookingLead:
    """How long before its start a booking's desktops are begun.

    Args:
        lead_s: for any booking: the first of a class are early, and a failed build needs a second try.
        each_s: for each desktop of it: as if they were built one after another, though two are at a time.
        hold_s: how long after the start desktops are kept from others; whoever of the class comes later gets what is
            there, as anybody does.
    """

    lead_s: float = 300.0
    each_s: float = 5.0
    hold_s: float = 1800.0

    def opens_s(self, booking: Booking) -> float:
        """From when on its desktops are wanted."""
        return booking.start_s - self.lead_s - booking.desktops * self.each_s


@dataclass(frozen=True, slots=True)
class Seat:
    """Somebody who has a desktop, or for whom one is prepared; `since_s` is when they got it."""

    user: UserId
    department: str
    since_s: float


@dataclass(frozen=True, slots=True)
class Hold:
    """What is still to be held for one booking: `left` of its desktops, as `taken` have their people.

    `closed` says that what is left is kept from others.
    """

    booking: Booking
    taken: int
    left: int
    closed: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept for classes: so many idle desktops of nobody, and those of these people."""

    of_nobody: int = 0
    owners: frozenset[UserId] = frozenset()


NOTHING_KEPT = Kept()


@dataclass(frozen=True, slots=True)
class Reserved:
    """What bookings ask for at one moment."""

    holds: tuple[Hold, ...] = ()
    seated: Mapping[UserId, Booking] = field(default_factory=dict)
    """Which booking each person's desktop counts for; nobody's counts twice."""

    @property
    def desktops(self) -> int:
        """How many desktops are still to be held for people of booked classes."""
        return sum(hold.left for hold in self.holds)

    def kept_from(self, user: UserId, department: str) -> Kept:
        """What this person may not take, as it is kept for classes that they do not belong to."""
        closed = [h for h in self.holds if h.closed and not h.booking.open_to_all]
        others = [h for h in closed if not h.booking.includes(user, department)]
        owners = frozenset(who for who, booking in self.seated.items() if any(h.booking is booking for h in others))
        return Kept(sum(h.left for h in others), owners)

    def of(self, user: UserId, department: str) -> Booking | None:
        """The booking that this person comes for: the one they have a seat in, else the first that includes them."""
        if (mine := self.seated.get(user)) is not None:
            return mine
        return next((hold.booking for hold in self.holds if hold.booking.includes(user, department)), None)


NONE_RESERVED = Reserved()


def reserved_at(bookings: Iterable[Booking], now_s: float, lead: BookingLead, seats: Iterable[Seat] = ()) -> Reserved:
    """What must be held now.

    Each person with a desktop is counted for one booking at most: one that names them, else one of their department,
    else (if they came after it opened) one for anybody; among equals the one that ends first.

    Args:
        bookings: all that are known.
        now_s: UTC seconds.
        lead: how early desktops are wanted.
        seats: who has a desktop, or gets one that is being prepared for them.
    """
    now = [b for b in bookings if lead.opens_s(b) <= now_s < b.end_s]
    if not now:
        return NONE_RESERVED
    now.sort(key=lambda b: (b.end_s, b.start_s, b.number, b.name))
    naming: dict[UserId, list[Booking]] = defaultdict(list)
    of_department: dict[str, list[Booking]] = defaultdict(list)
    for booking in now:
        for user in booking.users:
            naming[user].append(booking)
        if booking.department and not booking.users:
            of_department[booking.department].append(booking)
    for_anybody = [(b, lead.opens_s(b)) for b in now if b.open_to_all]
    left = {id(b): b.desktops for b in now}
    seated: dict[UserId, Booking] = {}
    for seat in sorted(seats, key=lambda s: (s.since_s, s.user)):
        if seat.user in seated:
            continue
        theirs = (*naming.get(seat.user, ()), *of_department.get(seat.department, ()))
        came_after = (booking for booking, opened_s in for_anybody if seat.since_s >= opened_s)
        for booking in (*theirs, *came_after):
            if left[id(booking)] > 0:
                left[id(booking)] -= 1
                seated[seat.user] = booking
                break
    holds = tuple(Hold(b, b.desktops - left[id(b)], left[id(b)], now_s < b.start_s + lead.hold_s) for b in now)
    return Reserved(holds, seated)


@dataclass(frozen=True, slots=True)
class BookingRoom:
    """What there is for bookings.

    Args:
        desktops: most desktops of all kinds.
        resources: what may be promised of each resource; infinite where it is not counted.
        each: what a desktop is counted with where its booking does not say.
        departments: most desktops of departments that have a quota.
    """

    desktops: int
    resources: Resources = UNCOUNTED
    each: Resources = NOTHING
    departments: Mapping[str, int] = field(default_factory=dict)


def shortfalls(bookings: Collection[Booking], room: BookingRoom, now_s: float) -> tuple[Infeasible, ...]:
    """Bookings that will not get all that they ask for, in order of start: what is short, how many, and why.

    Who starts first has what they asked for; what starts later has the rest. All that began before a booking overlaps
    most with it at its start, so that moment alone is looked at.
    """
    found: list[Infeasible] = []
    running: list[tuple[float, int, Booking, int]] = []
    for order, booking in enumerate(sorted(bookings, key=lambda b: (b.start_s, b.number, b.name))):
        if booking.end_s <= now_s:
            continue
        while running and running[0][0] <= booking.start_s:
            heappop(running)
        fits, resource, code, text = _fits(booking, [(b, n) for _, _, b, n in running], room)
        if fits < booking.desktops:
            short = f"{booking.desktops - fits} short: {text}"
            found.append(Infeasible(booked_wish(booking), Reason(code, short), resource, booking.desktops, fits))
        heappush(running, (booking.end_s, order, booking, min(fits, booking.desktops)))
    return tuple(found)


def desktops_text(count: int) -> str:
    """So many desktops, in words."""
    return f"{count:,} desktop" if count == 1 else f"{count:,} desktops"


def booked_wish(booking: Booking) -> str:
    """How the list of wishes that were not granted names a booking."""
    return f"{desktops_text(booking.desktops)} for {booking.name}"


def _fits(booking: Booking, running: Sequence[tuple[Booking, int]], room: BookingRoom) -> tuple[int, str, str, str]:
    """How many of its desktops fit beside those that run, which resource ends first, and why."""
    held = sum(count for _, count in running)
    beside = f" beside {held} booked by others" if held else ""
    best = (
        max(0, room.desktops - held),
        DESKTOPS,
        "booking-desktops",
        f"the ceiling is {desktops_text(room.desktops)}{beside}",
    )
    if (quota := room.departments.get(booking.department)) is not None:
        theirs = sum(count for other, count in running if other.department == booking.department)
        fits = max(0, quota - theirs)
        if fits < best[0]:
            best = fits, DESKTOPS, "booking-quota", f"the quota of {booking.department} is {desktops_text(quota)}"
    each = counted_each(booking, room.each)
    for name, limit, one in zip(RESOURCE_WORDS, room.resources.as_tuple(), each.as_tuple(), strict=True):
        if one <= 0 or math.isinf(limit):
            continue
        taken = sum(getattr(counted_each(other, room.each), name) * count for other, count in running)
        fits = max(0, math.floor((limit - taken) / one + 1e-9))
        if fits < best[0]:
            best = fits, name, "booking-resource", f"{RESOURCE_WORDS[name]} is enough for {fits}{beside}"
    return best


def counted_each(booking: Booking, standard: Resources) -> Resources:
    """What a desktop of the booking is counted with: what it says, else the standard."""
    pairs = zip(booking.each.as_tuple(), standard.as_tuple(), strict=True)
    return Resources(*(own or usual for own, usual in pairs))
