"""Booked classes in the database: kept whole, replaced by calendar, removed with it."""

from dataclasses import replace

import pytest

from ghostdesk.allocator.bookings import Booking
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.store.sql import SqlStore
from ghostdesk.telemetry.calendars.entries import CalendarSource

EXAM = Booking(
    "exam",
    1000.0,
    2000.0,
    3,
    "",
    frozenset({UserId("ada"), UserId("ben")}),
    (AppId("writer"),),
    Resources(cpu_cores=2.0),
)
PHYSICS = Booking("physics", 500.0, 900.0, 20, "physics")


def test_a_booking_comes_back_as_it_was_with_a_number_of_its_own(store: SqlStore) -> None:
    exam, physics = store.put_booking(EXAM), store.put_booking(PHYSICS)
    assert exam == replace(EXAM, number=exam.number) and exam.number != physics.number
    assert store.bookings() == [physics, exam], "in order of start"
    assert store.bookings(since_s=900.0) == [exam], "what is over is left out"
    assert store.delete_booking(exam.number) == exam
    assert store.delete_booking(exam.number) is None
    assert store.bookings() == [physics]


def test_a_calendars_bookings_are_replaced_and_what_stays_keeps_its_number(store: SqlStore) -> None:
    by_hand = store.put_booking(EXAM)
    with pytest.raises(NotFound):
        store.replace_bookings("rooms", [PHYSICS])
    store.put_calendar(CalendarSource(None, "rooms", "bookings"))
    store.replace_bookings("rooms", [PHYSICS, EXAM])
    first = {b.name: b.number for b in store.bookings() if b.source == "rooms"}
    store.replace_bookings("rooms", [replace(PHYSICS, desktops=21), EXAM])
    second = {b.name: b.number for b in store.bookings() if b.source == "rooms"}
    assert second["exam"] == first["exam"]
    assert {b.name: b.desktops for b in store.bookings() if b.source == "rooms"} == {"physics": 21, "exam": 3}
    assert store.delete_calendar(None, "rooms")
    assert store.bookings() == [by_hand], "they go with their calendar, and no others"
