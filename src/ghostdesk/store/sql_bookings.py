"""Booked classes in SQL (see `store.bookings.BookingStore`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Row, delete, select

from ghostdesk.allocator.bookings import Booking
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.store.schema import bookings, calendars
from ghostdesk.store.sql_access import SqlAccess


class SqlBookings(SqlAccess):
    """Bookings: lists and amounts are JSON."""

    def put_booking(self, booking: Booking) -> Booking:
        """Add a booking; returns it with its number."""
        put = self._insert(bookings).values(_row(booking)).returning(bookings.c.number)
        with self._writing() as connection:
            number = connection.execute(put).scalar_one()
        return replace(booking, number=number)

    def bookings(self, since_s: float | None = None) -> Sequence[Booking]:
        """Bookings in order of start; with `since_s` only those that end later."""
        query = select(bookings).order_by(bookings.c.start_s, bookings.c.number)
        if since_s is not None:
            query = query.where(bookings.c.end_s > since_s)
        return [_booking(row) for row in self._all(query)]

    def delete_booking(self, number: int) -> Booking | None:
        """Remove a booking; returns it, None when there was none."""
        with self._writing() as connection:
            row = connection.execute(select(bookings).where(bookings.c.number == number)).first()
            connection.execute(delete(bookings).where(bookings.c.number == number))
        return None if row is None else _booking(row)

    def replace_bookings(self, source: str, new: Sequence[Booking]) -> None:
        """Put these in the place of all that came from a calendar; one that is as it was keeps its number."""
        there = select(calendars.c.name).where(calendars.c.owner == "", calendars.c.name == source)
        known = select(bookings).where(bookings.c.source == source)
        with self._writing() as connection:
            if connection.execute(there).first() is None:
                raise NotFound(f"There is no calendar {source!r}.", "Add it first.")
            wanted = {replace(booking, source=source, number=0) for booking in new}
            before = {replace(found, number=0): found.number for found in map(_booking, connection.execute(known))}
            if gone := [number for booking, number in before.items() if booking not in wanted]:
                connection.execute(delete(bookings).where(bookings.c.number.in_(gone)))
            if added := sorted(wanted - before.keys(), key=lambda b: (b.start_s, b.name)):
                connection.execute(self._insert(bookings), [_row(booking) for booking in added])


def _row(booking: Booking) -> dict[str, Any]:
    return {
        "source": booking.source,
        "name": booking.name,
        "start_s": booking.start_s,
        "end_s": booking.end_s,
        "desktops": booking.desktops,
        "department": booking.department,
        "users": json.dumps(sorted(booking.users)),
        "apps": json.dumps(booking.apps),
        "resources": json.dumps(asdict(booking.each), allow_nan=False),
    }


def _booking(row: Row[Any]) -> Booking:
    return Booking(
        row.name,
        row.start_s,
        row.end_s,
        row.desktops,
        row.department,
        frozenset(UserId(user) for user in json.loads(row.users)),
        tuple(AppId(app) for app in json.loads(row.apps)),
        Resources(**json.loads(row.resources)),
        row.source,
        row.number,
    )
