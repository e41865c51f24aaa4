"""Public holidays and terms."""

import os
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.telemetry.calendars.days import check_region, parse_terms, public_holidays, terms
from ghostdesk.telemetry.calendars.errors import CalendarError

BERLIN = ZoneInfo("Europe/Berlin")
SEMESTERS = (
    Path(os.environ.get("GHOSTDESK_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
    / "desktop-sessions"
    / "semesters.csv"
)


def holiday_dates(region: str, year: int) -> list[str]:
    window = datetime(year, 1, 1, tzinfo=BERLIN).timestamp(), datetime(year + 1, 1, 1, tzinfo=BERLIN).timestamp()
    found = public_holidays(region, *window, BERLIN)
    assert all(one.kind == "holiday" and one.all_day and one.end_s > one.start_s for one in found)
    return [f"{datetime.fromtimestamp(one.start_s, BERLIN):%m-%d}" for one in found]


def test_a_subdivision_has_holidays_of_its_own() -> None:
    assert "12-25" in holiday_dates("DE", 2026) and "01-06" not in holiday_dates("DE", 2026)
    assert "01-06" in holiday_dates("de-by", 2026)


def test_days_are_local() -> None:
    since = datetime(2026, 12, 25, 23, 30, tzinfo=UTC).timestamp()  # the 26th in Berlin
    (second,) = public_holidays("DE", since, since + 3600, BERLIN)
    assert datetime.fromtimestamp(second.start_s, BERLIN).day == 26


@pytest.mark.parametrize(
    ("region", "cause"), [("XX", "No public holidays"), ("DE-XX", "no subdivision"), ("", "No pub")]
)
def test_unknown_regions(region: str, cause: str) -> None:
    with pytest.raises(CalendarError, match=cause):
        check_region(region)


def test_years_without_holidays() -> None:
    with pytest.raises(CalendarError, match="known for DE in 1700"):
        public_holidays(
            "DE", datetime(1700, 1, 1, tzinfo=UTC).timestamp(), datetime(1701, 1, 1, tzinfo=UTC).timestamp(), UTC
        )


@pytest.mark.parametrize(
    "text",
    [
        "start,end,name\n2026-10-12,2027-02-06,Winter\n",
        "\ufeffsemester,startDate,endDate\r\nWI26,10/12/26,2/6/27\r\n\r\n",
        "Name,From,To\nWinter,12.10.2026,06.02.2027",
    ],
)
def test_terms_as_people_write_them(text: str) -> None:
    assert parse_terms(text) == ((date(2026, 10, 12), date(2027, 2, 6)),)
    (term,) = terms(parse_terms(text), BERLIN)
    assert term.kind == "term"
    assert term.end_s == datetime(2027, 2, 7, tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "no start and end"),
        ("a,b\n1,2", "no start and end"),
        ("start,end\n", "has no term"),
        ("start,end\n2026-10-12", "Line 2 of the terms has too few"),
        ("start,end\n2026-10-12,2027-02-06\n2027-02-06,2026-10-12", "Line 3 of the terms ends before"),
        ("start,end\n0026-10-12,2027-02-06", "has the year 26"),
        ("start,end\n2026-10-12,2226-10-13", "has the year 2226"),
        ("start,end\n2016-10-12,2026-10-13", "longer than a year"),
        ("start,end\nsoon,later", "'soon' for a day"),
        ("start,end\n2026-10-12,2026-13-01", "'2026-13-01' for a day"),
        ("x" * 1_000_001, "larger than 1 MB"),
    ],
)
def test_terms_that_are_wrong(text: str, cause: str) -> None:
    with pytest.raises(CalendarError, match=cause):
        parse_terms(text)


@given(st.text(max_size=200))
def test_any_text_gives_terms_or_a_clear_error(text: str) -> None:
    try:
        found = parse_terms("start,end\n" + text)
    except CalendarError as error:
        assert error.cause and error.mend
    else:
        assert all(first <= last for first, last in found)


@pytest.mark.skipif(not SEMESTERS.exists(), reason=f"recorded data is not at hand: {SEMESTERS.name}")
def test_the_recorded_semesters_can_be_read() -> None:
    found = parse_terms(SEMESTERS.read_text())
    assert len(found) > 10 and all(2009 <= first.year <= last.year <= 2030 for first, last in found)
