"""iCalendar text as people's programs write it, and as nobody should."""

import itertools
import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.telemetry.calendars.digests import series_digest, series_key
from ghostdesk.telemetry.calendars.errors import CalendarError
from ghostdesk.telemetry.calendars.lines import MAX_BYTES, decode_calendar, split_calendar, without_identity
from ghostdesk.telemetry.calendars.reading import CalendarReading, read_calendar

BERLIN = ZoneInfo("Europe/Berlin")
KEY = b"k" * 32
SINCE, UNTIL = datetime(2026, 11, 23, tzinfo=BERLIN), datetime(2026, 12, 7, tzinfo=BERLIN)


def event(*lines: str, uid: str = "one@example.org") -> str:
    return "\n".join(("BEGIN:VEVENT", f"UID:{uid}", *lines, "END:VEVENT"))


def calendar(*parts: str) -> str:
    return "\n".join(("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN", *parts, "END:VCALENDAR", ""))


def read(text: str, since: datetime = SINCE, until: datetime = UNTIL) -> CalendarReading:
    return read_calendar([split_calendar(text)], since.timestamp(), until.timestamp(), timezone=BERLIN, key=KEY)


def starts(text: str) -> list[str]:
    """Local starts of everything that was read, all of it readable."""
    found = read(text)
    assert not found.skipped
    return [f"{datetime.fromtimestamp(one.start_s, BERLIN):%m-%d %H:%M}" for one in found.times]


def test_times_with_a_zone_in_utc_and_floating() -> None:
    text = calendar(
        event("DTSTART;TZID=America/New_York:20261124T090000", "DTEND;TZID=America/New_York:20261124T100000", uid="a"),
        event("DTSTART:20261125T080000Z", "DURATION:PT30M", uid="b"),
        event("DTSTART:20261126T090000", "DTEND:20261126T093000", uid="c"),
    )
    assert starts(text) == ["11-24 15:00", "11-25 09:00", "11-26 09:00"]
    assert [one.end_s - one.start_s for one in read(text).times] == [3600, 1800, 1800]


@pytest.mark.parametrize(
    "name", ["W. Europe Standard Time", "/freeassociation.sourceforge.net/Europe/Berlin", '"Europe/Berlin"']
)
def test_zone_names_of_other_programs(name: str) -> None:
    assert starts(calendar(event(f"DTSTART;TZID={name}:20261124T090000"))) == ["11-24 09:00"]


ZONE = """BEGIN:VTIMEZONE
TZID:{name}
BEGIN:STANDARD
DTSTART:20001029T030000
TZOFFSETFROM:+0{summer}00
TZOFFSETTO:+0{winter}00
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10{more}
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:20000326T020000
TZOFFSETFROM:+0{winter}00
TZOFFSETTO:+0{summer}00
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE"""


def test_a_zone_that_the_calendar_defines_and_that_no_other_calendar_meets() -> None:
    entry = event("DTSTART;TZID=Ours:20261124T090000", "RRULE:FREQ=DAILY;COUNT=2")
    assert starts(calendar(ZONE.format(name="Ours", winter=2, summer=3, more=""), entry)) == [
        "11-24 08:00",
        "11-25 08:00",
    ]
    assert starts(calendar(ZONE.format(name="Ours", winter=5, summer=6, more=";UNTIL=99991231T000000Z"), entry)) == [
        "11-24 05:00",
        "11-25 05:00",
    ]
    alone = read(calendar(entry))
    assert alone.unknown_zones == 1 and "read as local" in alone.describe_problem()
    assert datetime.fromtimestamp(alone.times[0].start_s, BERLIN).hour == 9


def test_a_zone_that_changes_every_second_is_not_followed() -> None:
    endless = ZONE.format(name="Ours", winter=2, summer=3, more="").replace("YEARLY", "SECONDLY")
    found = read(calendar(endless, event("DTSTART;TZID=Ours:20261124T090000")))
    assert found.unknown_zones == 1 and len(found.times) == 1


def test_floating_times_are_in_the_calendars_own_zone_where_it_names_one() -> None:
    assert starts(calendar("X-WR-TIMEZONE:Europe/London", event("DTSTART:20261124T090000"))) == ["11-24 10:00"]


def test_a_weekly_series_keeps_its_local_hour_over_the_change_of_summer_time() -> None:
    text = calendar(event("DTSTART;TZID=Europe/Berlin:20261012T090000", "RRULE:FREQ=WEEKLY"))
    found = read(text, datetime(2026, 10, 12, tzinfo=BERLIN), datetime(2026, 11, 8, tzinfo=BERLIN))
    assert [datetime.fromtimestamp(one.start_s, BERLIN).hour for one in found.times] == [9] * 4


def test_exceptions_moved_cancelled_and_added_occurrences() -> None:
    text = calendar(
        event(
            "DTSTART;TZID=Europe/Berlin:20261116T090000",
            "DTEND;TZID=Europe/Berlin:20261116T093000",
            "RRULE:FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR;UNTIL=20261204",
            "EXDATE;TZID=Europe/Berlin:20261124T090000,20261125T090000",
            "RDATE;TZID=Europe/Berlin:20261128T110000",
            "SEQUENCE:1",
        ),
        event("RECURRENCE-ID;TZID=Europe/Berlin:20261126T090000", "DTSTART;TZID=Europe/Berlin:20261126T150000"),
        event(
            "RECURRENCE-ID;TZID=Europe/Berlin:20261127T090000",
            "DTSTART;TZID=Europe/Berlin:20261127T090000",
            "STATUS:CANCELLED",
        ),
        event("RECURRENCE-ID:20261201T080000Z", "DTSTART:20261201T060000Z", "SEQUENCE:1"),
        event("RECURRENCE-ID:20261201T080000Z", "DTSTART:20261201T100000Z", "SEQUENCE:2"),
    )
    assert starts(text) == [
        "11-23 09:00",
        "11-26 15:00",
        "11-28 11:00",
        "11-30 09:00",
        "12-01 11:00",
        "12-02 09:00",
        "12-03 09:00",
        "12-04 09:00",
    ]
    assert len({one.series for one in read(text).times}) == 1


def test_two_occurrences_a_day_of_which_one_moves() -> None:
    text = calendar(
        event("DTSTART:20261124T080000Z", "RRULE:FREQ=DAILY;BYHOUR=8,14;COUNT=4", "SEQUENCE:3"),
        event("RECURRENCE-ID:20261124T140000Z", "DTSTART:20261124T160000Z", "SEQUENCE:3"),
    )
    assert starts(text) == ["11-24 09:00", "11-24 17:00", "11-25 09:00", "11-25 15:00"]


def test_the_rest_of_a_series_moves() -> None:
    text = calendar(
        event("DTSTART:20261123T080000Z", "DTEND:20261123T090000Z", "RRULE:FREQ=DAILY;COUNT=4"),
        event(
            "RECURRENCE-ID;RANGE=THISANDFUTURE:20261125T080000Z",
            "DTSTART:20261125T100000Z",
            "DTEND:20261125T103000Z",
        ),
    )
    assert starts(text) == ["11-23 09:00", "11-24 09:00", "11-25 11:00", "11-26 11:00"]
    assert [one.end_s - one.start_s for one in read(text).times] == [3600, 3600, 1800, 1800]


def test_whole_days_end_at_the_local_midnight() -> None:
    one, several, marked = read(
        calendar(
            event("DTSTART;VALUE=DATE:20261124", uid="a"),
            event("DTSTART;VALUE=DATE:20261126", "DTEND;VALUE=DATE:20261128", uid="b"),
            event("DTSTART:20261129T230000Z", "DURATION:P1D", "X-MICROSOFT-CDO-ALLDAYEVENT:TRUE", uid="c"),
        )
    ).times
    assert (one.start_s, one.end_s - one.start_s) == (datetime(2026, 11, 24, tzinfo=BERLIN).timestamp(), 86_400)
    assert several.end_s - several.start_s == 2 * 86_400
    assert one.all_day and several.all_day and marked.all_day


def test_a_yearly_whole_day_with_an_exception() -> None:
    entry = event("DTSTART;VALUE=DATE:20101125", "RRULE:FREQ=YEARLY", "EXDATE;VALUE=DATE:20111125")
    assert starts(calendar(entry)) == ["11-25 00:00"]


@pytest.mark.parametrize(
    ("lines", "kinds"),
    [
        ((), ["busy"]),
        (("TRANSP:TRANSPARENT",), ["free"]),
        (("X-MICROSOFT-CDO-BUSYSTATUS:FREE",), ["free"]),
        (("X-MICROSOFT-CDO-BUSYSTATUS:OOF", "TRANSP:TRANSPARENT"), ["away"]),
        (("STATUS:TENTATIVE",), ["busy"]),
        (("STATUS:CANCELLED",), []),
    ],
)
def test_kinds(lines: tuple[str, ...], kinds: list[str]) -> None:
    assert [one.kind for one in read(calendar(event("DTSTART:20261124T080000Z", *lines))).times] == kinds


def test_a_text_that_calls_everything_off() -> None:
    assert starts(calendar("METHOD:CANCEL", event("DTSTART:20261124T080000Z"))) == []


def test_titles_places_and_guests_are_never_taken_in() -> None:
    title = "Salary talk with\n  Ms Example"
    text = calendar(
        event(
            f"SUMMARY:{title}",
            "LOCATION:Room 5",
            "ATTENDEE;CN=Someone:mailto:x@example.org",
            "DTSTART:20261124T080000Z",
            "BEGIN:VALARM",
            "TRIGGER:-PT15M",
            "DTSTART:19700101T000000Z",
            "END:VALARM",
        )
    )
    lines = split_calendar(text)
    kept = without_identity(lines, lambda uid: series_digest(uid, KEY))
    for word in ("Salary", "Example", "Room", "Someone", "one@example.org"):
        assert word not in repr(lines).replace("one@example.org", "") and word not in kept
    again = read(kept).times
    assert [(one.start_s, one.end_s) for one in again] == [(one.start_s, one.end_s) for one in read(text).times]


def test_series_digests_differ_from_person_to_person() -> None:
    alice, bob = series_key(KEY, "alice"), series_key(KEY, "bob")
    assert series_digest("uid", alice) != series_digest("uid", bob) != series_digest("uid", KEY)
    assert re.fullmatch(r"[0-9a-f]{16}", series_digest("uid", alice))


GOOD = event("DTSTART:20261124T080000Z", uid="good")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("SUMMARY:nothing",), "without a start"),
        (("DTSTART:20261124T250000Z",), "with a broken date or rule"),
        (("DTSTART:99991231T235959Z", "DURATION:P99999999W"), "with a broken date or rule"),
        (("DTSTART:20261124T080000Z", "DTEND:20261123T080000Z"), "that end before they start"),
        (("DTSTART:19700101T000000Z", "RRULE:FREQ=SECONDLY"), "with a rule that repeats too often"),
        (("DTSTART:20200101T000000Z", "RRULE:FREQ=DAILY;INTERVAL=0"), "whose interval or count is not at least 1"),
        (("DTSTART:20200101T000000Z", "RRULE:FREQ=SECONDLY;BYSETPOS=2"), "within the day that also names days"),
        (("DTSTART:20200101T000000Z", "RRULE:FREQ=OFTEN"), "with a broken date or rule"),
        (("DTSTART:20200101T000000Z", "RRULE:FREQ=DAILY;NONSENSE=5"), "with a rule that cannot be followed"),
        (
            (
                "DTSTART:20200101T000000Z",
                f"RRULE:FREQ=DAILY;BYMINUTE={','.join(map(str, range(60)))};BYSECOND={','.join(map(str, range(60)))}",
            ),
            "with a rule that repeats too often",
        ),
        (("DTSTART:20261124T080000Z", "EXDATE:" + "20261124T080000Z," * 6000 + "x"), "cut off or too long"),
    ],
)
def test_a_bad_entry_is_counted_and_the_good_one_kept(lines: tuple[str, ...], reason: str) -> None:
    found = read(calendar(event(*lines, uid="bad"), GOOD))
    assert [one.start_s for one in found.times] == [datetime(2026, 11, 24, 8, tzinfo=UTC).timestamp()]
    assert reason in found.describe_problem()
    assert "1 of 2 entries" in found.describe_problem()


def test_a_calendar_that_is_cut_off_keeps_its_whole_entries() -> None:
    text = calendar(GOOD, event("DTSTART:20261125T080000Z", "DTEND:20261125T090000Z"))
    found = read(text[: text.rindex("END:VEVENT")])
    assert len(found.times) == 1 and dict(found.skipped) == {"cut off or too long": 1}


def test_an_entry_inside_an_entry_does_not_swallow_it() -> None:
    found = read(calendar("BEGIN:VEVENT\nUID:open", GOOD))
    assert len(found.times) == 1 and dict(found.skipped) == {"cut off or too long": 1}


def test_deep_nesting_is_passed_over() -> None:
    deep = "\n".join(["BEGIN:VEVENT", "UID:x", *["BEGIN:X-A"] * 100_000])
    assert len(read(calendar(deep, GOOD)).times) == 1


def test_when_the_time_is_up_the_rest_is_skipped() -> None:
    clock = itertools.count(0.0, 5.0)
    text = split_calendar(calendar(*(event("DTSTART:20261124T080000Z", uid=str(i)) for i in range(10))))
    found = read_calendar(
        [text], SINCE.timestamp(), UNTIL.timestamp(), timezone=BERLIN, key=KEY, elapsed_s=lambda: next(clock)
    )
    assert found.skipped["left when the time was up"] == 10 - len(found.times) > 0


def test_at_most_20_000_busy_times() -> None:
    minutely = event("DTSTART:20261123T000000Z", "DTEND:20261123T000010Z", "RRULE:FREQ=MINUTELY;COUNT=30000")
    found = read(calendar(minutely), until=datetime(2026, 12, 31, tzinfo=BERLIN))
    assert len(found.times) == 20_000 and "beyond" in found.describe_problem()


def test_old_entries_are_passed_over_and_long_ones_found() -> None:
    text = calendar(
        event("DTSTART:20150101T080000Z", uid="old"),
        event("DTSTART;VALUE=DATE:20260101", "DTEND;VALUE=DATE:20270101", uid="the whole year"),
    )
    assert [one.all_day for one in read(text).times] == [True]


@pytest.mark.parametrize("text", ["", "hello", "BEGIN:VEVENT\nEND:VEVENT", "<html>Sign in</html>"])
def test_what_is_no_calendar_is_refused(text: str) -> None:
    with pytest.raises(CalendarError, match="no iCalendar"):
        split_calendar(text)


def test_encodings() -> None:
    text = calendar(event("DTSTART:20261124T080000Z", uid="größe"))
    digests = {read(decode_calendar(text.encode(code))).times for code in ("utf-8", "utf-8-sig", "utf-16", "cp1252")}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"PK\x03\x04....", "zip archive"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"BEGIN:VCALENDAR\0\0", "no text"),
        (b" " * (MAX_BYTES + 1), "larger than 20 MB"),
    ],
)
def test_what_is_packed_binary_or_too_large_is_refused(data: bytes, cause: str) -> None:
    with pytest.raises(CalendarError, match=cause):
        decode_calendar(data)


def test_windows_must_be_sane() -> None:
    with pytest.raises(ValueError, match="800 days"):
        read(calendar(GOOD), until=datetime(2036, 1, 1, tzinfo=BERLIN))


_LINE = st.sampled_from(
    [
        "BEGIN:VEVENT",
        "END:VEVENT",
        "BEGIN:VTIMEZONE",
        "END:VTIMEZONE",
        "BEGIN:VALARM",
        "END:VALARM",
        "UID:a",
        "UID:b",
        "DTSTART:20261124T080000Z",
        "DTSTART;VALUE=DATE:20261124",
        "DTSTART;TZID=Nowhere:20261124T080000",
        "DTSTART:",
        "DTEND:20261124T090000",
        "DTEND;VALUE=DATE:20261126",
        "DURATION:-PT5M",
        "DURATION:PT5M",
        "SEQUENCE:x",
        "RRULE:FREQ=DAILY",
        "RRULE:FREQ=WEEKLY;COUNT=-3",
        "RRULE:FREQ=MONTHLY;UNTIL=20261224",
        "RRULE:",
        "RRULE:FREQ=",
        "EXDATE:20261124T080000Z",
        "EXDATE;VALUE=DATE:20261125",
        "RDATE;VALUE=PERIOD:20261124T090000Z/PT1H",
        "RDATE:,",
        "RECURRENCE-ID:20261124T080000Z",
        "RECURRENCE-ID;VALUE=DATE:20261124",
        " folded",
        "BEGIN:VCALENDAR",
        "RECURRENCE-ID;RANGE=THISANDFUTURE:20261125T080000Z",
        "STATUS:CANCELLED",
        "DTSTART:00000000T000000",
        "END:VCALENDAR",
        "TZOFFSETFROM:+9999",
        "X-WR-TIMEZONE:../../etc/passwd",
        "TZID:Europe",
        "\0",
        "É:É",
    ]
)


@given(st.lists(st.one_of(_LINE, st.text(max_size=20)), max_size=40))
def test_any_text_is_read_without_an_accident(lines: list[str]) -> None:
    found = read("BEGIN:VCALENDAR\nVERSION:2.0\n" + "\n".join(lines))
    window = SINCE.timestamp(), UNTIL.timestamp()
    assert all(one.start_s < window[1] and one.end_s >= window[0] and one.end_s >= one.start_s for one in found.times)
    assert sum(found.skipped.values()) <= found.entries
