"""The words that ask for scenarios."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.synthetic.scenarios import (
    FIRST_DAY_S,
    TAUGHT,
    WEEKDAYS,
    ClassScenario,
    FireDrill,
    HolidayScenario,
    MondayStorm,
    NewStaff,
    check_scenarios,
    parse_scenario,
)

FIRST_DAY = datetime.fromtimestamp(FIRST_DAY_S, UTC).date()
DATES = st.dates(date(2020, 1, 1), date(2040, 1, 1))


@given(
    hour=st.integers(5, 21),
    minute=st.integers(0, 59),
    people=st.integers(1, 1_000_000),
    days=st.sets(st.integers(0, 6)),
)
def test_classes(hour: int, minute: int, people: int, days: set[int]) -> None:
    words = f"class:{hour:02d}:{minute:02d}:{people}"
    if days:
        words += ":" + ",".join(WEEKDAYS[day] for day in sorted(days, reverse=True))
    if 60 * hour + minute > 60 * 21 + 30:
        with pytest.raises(ConfigError, match="must end by"):
            parse_scenario(words)
        return
    chosen = tuple(sorted(days)) if days else (0, 1, 2, 3, 4)
    assert parse_scenario(words) == ClassScenario(3600 * hour + 60 * minute, people, chosen)


@given(
    day=DATES,
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    length=st.integers(2, 240),
    people=st.integers(1, 10**6),
)
def test_everything_with_a_date(day: date, hour: int, minute: int, length: int, people: int) -> None:
    number = (day - FIRST_DAY).days
    assert parse_scenario(f"holiday:{day}") == HolidayScenario(number)
    assert parse_scenario(f"new-staff:{people}:{day}") == NewStaff(people, number)
    at_s = number * 86_400.0 + 3600 * hour + 60 * minute
    assert parse_scenario(f"fire-drill:{day}T{hour:02d}:{minute:02d}/{length}") == FireDrill(at_s, length)
    assert parse_scenario(f"fire-drill:{day}T{hour:02d}:{minute:02d}") == FireDrill(at_s, 20)


@settings(max_examples=50)
@given(
    st.one_of(
        st.text(),
        st.builds("{}:{}".format, st.sampled_from(["class", "holiday", "fire-drill", "new-staff"]), st.text()),
    )
)
def test_anything_else_is_refused_with_what_to_do(words: str) -> None:
    try:
        parse_scenario(words)
    except ConfigError as error:
        assert error.cause and "simulate list" in error.mend


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("earthquake", "no scenario 'earthquake'"),
        ("class:25:00:30", "no time of day"),
        ("class:13:00", "is written class:"),
        ("class:13:00:0", "give 1 to"),
        ("class:22:00:30", "must end by 23:00"),
        ("class:13:00:30:caturday", "'caturday' is no day"),
        ("holiday:2025-02-30", "no day of the calendar"),
        ("holiday:tomorrow", "no date"),
        ("holiday:", "no date"),
        ("fire-drill:2025-03-04", "is written fire-drill:"),
        ("fire-drill:2025-03-04T10:30/1", "2 to 240 minutes"),
        ("new-staff:many:2025-02-03", "are written new-staff:"),
        ("monday-storm:2", "takes nothing"),
    ],
)
def test_mistakes_are_told(words: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        parse_scenario(words)


def test_what_is_taught_can_be_asked_for() -> None:
    found = [parse_scenario(example) for _, example, _ in TAUGHT]
    assert [type(one) for one in found] == [ClassScenario, MondayStorm, HolidayScenario, FireDrill, NewStaff]


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["class:13:00:31"], "A class of 31"),
        (["holiday:2024-12-29"], "lies outside"),
        (
            [f"holiday:{FIRST_DAY + timedelta(days=28)}"],
            "lies outside the history, which goes from 2024-12-30 to 2025-01-26",
        ),
        (["fire-drill:2026-01-01T10:00"], "lies outside"),
        (["new-staff:20:2025-01-06", "new-staff:11:2025-01-07"], "31 of 30 people"),
    ],
)
def test_what_does_not_fit_the_organisation_is_refused(words: list[str], cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        check_scenarios([parse_scenario(one) for one in words], users=30, days=28)
