"""Which entries of a calendar book desktops, and what they say; whatever a calendar holds, reading it ends."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ghostdesk.kernel.resources import Resources
from ghostdesk.telemetry.calendars.bookings import BookedTime, BookingReading, read_bookings
from ghostdesk.telemetry.calendars.lines import (
    BOOKING_LINES,
    BOOKING_WORDS,
    booked_only,
    split_calendar,
    without_identity,
)

BERLIN = ZoneInfo("Europe/Berlin")
SINCE_S = datetime(2027, 3, 1, tzinfo=UTC).timestamp()
UNTIL_S = SINCE_S + 30 * 86_400


def _ics(*entries: str) -> str:
    body = "".join(f"BEGIN:VEVENT\n{entry.strip()}\nEND:VEVENT\n" for entry in entries)
    return f"BEGIN:VCALENDAR\n{body}END:VCALENDAR\n"


def _read(*entries: str) -> BookingReading:
    lines = split_calendar(_ics(*entries), BOOKING_LINES)
    return read_bookings([lines], SINCE_S, UNTIL_S, timezone=BERLIN)


PHYSICS = """
UID:1
SUMMARY:Physics 2b
CATEGORIES:School,GHOSTDESK
X-GHOSTDESK-DESKTOPS:25
X-GHOSTDESK-DEPARTMENT:physics
DTSTART;TZID=Europe/Berlin:20270301T090000
DTEND;TZID=Europe/Berlin:20270301T103000
"""


def test_a_marked_entry_is_a_booking_in_its_own_zone() -> None:
    (booked,) = _read(PHYSICS).times
    start_s = datetime(2027, 3, 1, 8, tzinfo=UTC).timestamp()
    assert booked == BookedTime("Physics 2b", start_s, start_s + 5400, 25, "physics")


def test_everything_may_stand_in_categories_as_few_programs_write_properties() -> None:
    entry = """
UID:1
SUMMARY:Lab
CATEGORIES:ghostdesk,GHOSTDESK-DESKTOPS=12,GHOSTDESK-USERS=ada,GHOSTDESK-CPU-CORES=2.5
DTSTART:20270302T080000Z
DURATION:PT1H
"""
    (booked,) = _read(entry).times
    assert (booked.name, booked.desktops, booked.users) == ("Lab", 12, {"ada"})
    assert booked.each == Resources(cpu_cores=2.5)


def test_people_and_applications_are_lists() -> None:
    entry = PHYSICS.replace(
        "X-GHOSTDESK-DEPARTMENT:physics", "X-GHOSTDESK-USERS:ada\\, ben,cleo\nX-GHOSTDESK-APPS:gimp"
    )
    (booked,) = _read(entry).times
    assert (booked.users, booked.apps) == ({"ada", "ben", "cleo"}, ("gimp",))


def test_entries_without_the_mark_book_nothing_and_nothing_of_them_is_kept() -> None:
    private = "UID:2\nSUMMARY:Doctor\nCATEGORIES:Private\nDTSTART:20270302T080000Z\nDTEND:20270302T090000Z"
    assert _read(private).times == ()
    kept = without_identity(booked_only(split_calendar(_ics(private, PHYSICS), BOOKING_LINES)), lambda uid: uid)
    assert "Doctor" not in kept and "Physics 2b" in kept
    assert read_bookings([split_calendar(kept, BOOKING_LINES)], SINCE_S, UNTIL_S, timezone=BERLIN) == _read(PHYSICS)


def test_a_weekly_class_is_booked_each_week_and_one_that_moved_is_booked_where_it_went() -> None:
    weekly = PHYSICS + "RRULE:FREQ=WEEKLY;COUNT=4"
    moved = """
UID:1
RECURRENCE-ID;TZID=Europe/Berlin:20270308T090000
DTSTART;TZID=Europe/Berlin:20270309T110000
DTEND;TZID=Europe/Berlin:20270309T123000
"""
    larger = """
UID:1
SUMMARY:Physics, both groups
X-GHOSTDESK-DESKTOPS:50
RECURRENCE-ID;TZID=Europe/Berlin:20270315T090000
DTSTART;TZID=Europe/Berlin:20270315T090000
DTEND;TZID=Europe/Berlin:20270315T103000
"""
    cancelled = """
UID:1
STATUS:CANCELLED
RECURRENCE-ID;TZID=Europe/Berlin:20270322T090000
DTSTART;TZID=Europe/Berlin:20270322T090000
DTEND;TZID=Europe/Berlin:20270322T103000
"""
    times = _read(weekly, moved, larger, cancelled).times
    starts = [datetime.fromtimestamp(one.start_s, BERLIN).strftime("%d %H:%M") for one in times]
    assert starts == ["01 09:00", "09 11:00", "15 09:00"]
    assert [one.desktops for one in times] == [25, 25, 50]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("DESKTOPS:25", "DESKTOPS:many"), "with a number of desktops that is none"),
        (("DESKTOPS:25", "DESKTOPS:1e3"), "with a number of desktops that is none"),
        (("DEPARTMENT:physics", "USERS:No Such User!"), "with a bad user or application id"),
        (("DEPARTMENT:physics", "APPS:../../etc/passwd"), "with a bad user or application id"),
        (("DEPARTMENT:physics", "CPU-CORES:-2"), "with an amount that is not above 0"),
        (("DEPARTMENT:physics", "MEMORY-BYTES:nan"), "with an amount that is not above 0"),
        (("DTSTART;TZID=Europe/Berlin:20270301T090000", ""), "without a start"),
        (("20270301T103000", "20270301T080000"), "that end before they start"),
    ],
)
def test_a_booking_that_says_nonsense_is_left_out_and_told(change: tuple[str, str], why: str) -> None:
    reading = _read(PHYSICS.replace(*change), PHYSICS.replace("UID:1", "UID:2"))
    assert len(reading.times) == 1
    assert why in reading.describe_problem()


def test_a_rubbish_zone_is_read_as_local_and_told() -> None:
    reading = _read(PHYSICS.replace("Europe/Berlin", "Moon/Tranquility"))
    assert len(reading.times) == 1
    assert "1 time zones are unknown" in reading.describe_problem()


def test_a_class_that_repeats_without_bounds_is_bounded() -> None:
    reading = _read(PHYSICS + "RRULE:FREQ=MINUTELY", PHYSICS.replace("UID:1", "UID:2") + "RRULE:FREQ=DAILY")
    assert len(reading.times) == 30
    assert "1 that repeat within the day" in reading.describe_problem()


def test_a_calendar_that_takes_too_long_is_left_where_the_time_is_up() -> None:
    ticks = iter([0.0, 1.0, 30.0])
    lines = split_calendar(_ics(PHYSICS, PHYSICS.replace("UID:1", "UID:2").replace("2b", "2c")), BOOKING_LINES)
    reading = read_bookings([lines], SINCE_S, UNTIL_S, timezone=BERLIN, elapsed_s=lambda: next(ticks))
    assert [one.name for one in reading.times] == ["Physics 2b"]
    assert "1 left when the time was up" in reading.describe_problem()


values = st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=40)


@given(st.dictionaries(st.sampled_from(BOOKING_WORDS), values, max_size=5), values)
def test_whatever_a_calendar_says_reading_it_ends_in_bookings_or_reasons(told: dict[str, str], name: str) -> None:
    lines = "".join(f"X-GHOSTDESK-{word}:{value}\n" for word, value in told.items())
    reading = _read(f"UID:1\nSUMMARY:{name}\nCATEGORIES:GHOSTDESK\n{lines}DTSTART:20270302T080000Z\nDURATION:PT1H")
    assert len(reading.times) + sum(reading.skipped.values()) >= 1
    for one in reading.times:
        assert 1 <= len(one.name) <= 80 and one.name.isprintable()
