"""Bookings from the command line and from operators' calendars: what is checked against accounts, and what is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from ghostdesk.allocator.bookings import Booking, BookingError, check_booking
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.bookings import BookingStore
from ghostdesk.store.protocol import StoredUser

if TYPE_CHECKING:  # the libraries behind it take half a second to import, and most commands do not need them
    from ghostdesk.telemetry.calendars.bookings import BookedTime, BookingReading

KIND = "bookings"
"""Kind of a calendar that books desktops (see `CalendarSource`)."""
_TOLD = 5


class Accounts(BookingStore, Protocol):
    """What of the store is needed here."""

    def users(self) -> Sequence[StoredUser]:
        """All accounts."""
        ...


class AccountBook:
    """Who may come, and where they belong."""

    def __init__(self, users: Iterable[StoredUser]) -> None:
        self.users = {user.user: user for user in users if not user.disabled}
        self.departments = Counter(user.department for user in self.users.values() if user.department)

    def check_department(self, department: str) -> None:
        """Raises `NotFound` when nobody belongs to it."""
        if department in self.departments:
            return
        known = ", ".join(sorted(self.departments)[:_TOLD])
        raise NotFound(
            f"Nobody belongs to the department {department!r}.",
            f"Departments: {known}." if known else "Say where people belong: `ghostdesk user add ... --department`.",
        )

    def check_users(self, users: Iterable[UserId]) -> None:
        """Raises `NotFound` when one has no account that may sign in."""
        if unknown := sorted(set(users) - self.users.keys()):
            names = ", ".join(unknown[:_TOLD])
            raise NotFound(f"There is no account that may sign in: {names}.", "`ghostdesk user list` shows all.")

    def with_desktops(self, booking: Booking) -> Booking:
        """As many desktops as people, where the booking has none; raises `BookingError` where nobody is named."""
        if booking.desktops:
            return booking
        people = self.departments[booking.department] if booking.department else len(booking.users)
        if not people:
            raise BookingError("It does not say how many desktops are booked.", "Give --desktops, or say who comes.")
        return replace(booking, desktops=people)


def add_booking(store: Accounts, booking: Booking, now_s: float) -> Booking:
    """Keep a booking; `desktops` 0 means as many as people.

    Raises:
        BookingError: it cannot be taken (see `check_booking`).
        NotFound: its department or one of its people is unknown.
    """
    book = AccountBook(store.users())
    if booking.department:
        book.check_department(booking.department)
    book.check_users(booking.users)
    booking = check_booking(book.with_desktops(booking), now_s, store.bookings(now_s))
    return store.put_booking(booking)


def take_reading(store: Accounts, source: str, reading: BookingReading, now_s: float) -> tuple[int, str]:
    """Put what a calendar books in the place of what it booked before; how many bookings there are now, and what is
    wrong with others. An unknown department is no reason to leave one out: its people may get accounts until then.

    Raises:
        NotFound: the calendar was deleted meanwhile.
    """
    book = AccountBook(store.users())
    kept: list[Booking] = []
    wrong: Counter[str] = Counter()
    doubtful: set[str] = set()
    for time in reading.times:
        try:
            booking = check_booking(book.with_desktops(_booking(time, source)), now_s, kept)
        except BookingError as error:
            if time.end_s > now_s:
                wrong[error.cause] += 1
            continue
        if booking.department and booking.department not in book.departments:
            doubtful.add(f"Nobody belongs to the department {booking.department!r} ({booking.name}).")
        if unknown := sorted(booking.users - book.users.keys()):
            doubtful.add(f"{booking.name} names people without an account: {', '.join(unknown[:_TOLD])}.")
        kept.append(booking)
    store.replace_bookings(source, kept)
    problems = [reading.describe_problem()]
    problems += [f"{count} bookings were left out: {cause}" for cause, count in wrong.items()]
    problems += sorted(doubtful)[:_TOLD]
    return len(kept), " ".join(problem for problem in problems if problem)


def _booking(time: BookedTime, source: str) -> Booking:
    desktops = time.desktops or 0
    who = time.department, time.users
    return Booking(time.name, time.start_s, time.end_s, desktops, *who, time.apps, time.each, source)
