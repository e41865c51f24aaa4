"""What the status view shows of capacity: what is promised, kept and free, what is booked, what was not granted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ghostdesk.allocator.bookings import Booking, Hold
from ghostdesk.allocator.capacity import Headroom
from ghostdesk.allocator.reasons import Infeasible

SHOWN_AHEAD_S = 8 * 86_400.0
MOST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class InfeasibleView:
    """A wish that was not granted: what, why, and how much was asked for and free of which resource (empty: none).

    `count` wishes are told of in one entry where there are many.
    """

    action: str
    reason: str
    code: str = ""
    resource: str = ""
    asked: float = 0.0
    free: float = 0.0
    count: int = 1


@dataclass(frozen=True, slots=True)
class RoomView:
    """One resource; None where it is not counted or not measured (see `allocator.capacity.ResourceRoom`)."""

    resource: str
    has: float
    allowed: float | None
    people: float
    ghosts: float
    reserved: float
    used: float | None
    free: float | None


@dataclass(frozen=True, slots=True)
class BookingView:
    """A booked class. `state` is "held" (its desktops are wanted now), "running" or "booked" (later)."""

    number: int
    name: str
    whose: str
    start_s: float
    end_s: float
    desktops: int
    taken: int
    left: int
    state: str
    source: str


@dataclass(frozen=True, slots=True)
class CapacityView:
    """What there is, and what is booked. `rooms` is empty where no rules are in force."""

    rooms: tuple[RoomView, ...] = ()
    desktops: int = 0
    most_desktops: int = 0
    ghosts: int = 0
    reserved: int = 0
    parked_bytes: float = 0.0
    bookings: tuple[BookingView, ...] = ()


def infeasible_view(entry: Infeasible) -> InfeasibleView:
    """One wish that was not granted."""
    return InfeasibleView(
        entry.wish, entry.reason.text, entry.reason.code, entry.resource, entry.asked, entry.free, entry.count
    )


def capacity_view(
    headroom: Headroom | None, holds: Collection[Hold], bookings: Collection[Booking], now_s: float
) -> CapacityView:
    """Everything at one moment; of later bookings those of the next days."""
    held: Mapping[int, Hold] = {hold.booking.number: hold for hold in holds}
    soon = [b for b in bookings if b.end_s > now_s and b.start_s < now_s + SHOWN_AHEAD_S]
    shown = tuple(_booking(b, held.get(b.number), now_s) for b in sorted(soon, key=lambda b: b.start_s)[:MOST_SHOWN])
    if headroom is None:
        return CapacityView(bookings=shown)
    rooms = tuple(
        RoomView(r.resource, r.has, r.allowed, r.people, r.ghosts, r.reserved, r.used, r.free) for r in headroom.rooms
    )
    return CapacityView(
        rooms,
        headroom.desktops,
        headroom.most_desktops,
        headroom.ghosts,
        headroom.reserved,
        headroom.parked_bytes,
        shown,
    )


def _booking(booking: Booking, hold: Hold | None, now_s: float) -> BookingView:
    state = "booked" if hold is None else "running" if now_s >= booking.start_s else "held"
    taken, left = (hold.taken, hold.left) if hold is not None else (0, booking.desktops)
    who = booking.whose()
    return BookingView(
        booking.number, booking.name, who, booking.start_s, booking.end_s, booking.desktops, taken, left, state,
        booking.source,
    )  # fmt: skip
