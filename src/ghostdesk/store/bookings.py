"""The part of the store's seam that holds booked classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ghostdesk.allocator.bookings import Booking


class BookingStore(Protocol):
    """Bookings. Raises `StoreError` when the database cannot serve."""

    def put_booking(self, booking: Booking) -> Booking:
        """Add a booking; returns it with its number."""
        ...

    def bookings(self, since_s: float | None = None) -> Sequence[Booking]:
        """Bookings in order of start; with `since_s` only those that end later."""
        ...

    def delete_booking(self, number: int) -> Booking | None:
        """Remove a booking; returns it, None when there was none."""
        ...

    def replace_bookings(self, source: str, bookings: Sequence[Booking]) -> None:
        """Put these in the place of all that came from a calendar; raises `NotFound` when the calendar is not there.

        A booking that is as it was keeps its number.
        """
        ...
