"""What a calendar says of a moment."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.profiles.calendar import Agenda, CalendarFeatures
from ghostdesk.telemetry.calendars.entries import BusyTime

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0


def test_minutes_to_the_next_entry_and_since_one_began() -> None:
    agenda = Agenda([BusyTime(9 * HOUR_S, 10 * HOUR_S, series="a"), BusyTime(14 * HOUR_S, 15 * HOUR_S, series="b")])
    assert agenda.at(8 * HOUR_S) == CalendarFeatures(60.0, "a", None, None, False, False)
    assert (agenda.at(9 * HOUR_S).minutes, agenda.at(9.5 * HOUR_S).minutes) == (0.0, -30.0)
    assert (agenda.at(10 * HOUR_S).minutes, agenda.at(10 * HOUR_S).series) == (240.0, "b")
    assert agenda.at(15 * HOUR_S).minutes is None


def test_a_long_entry_goes_on_behind_a_short_one() -> None:
    agenda = Agenda([BusyTime(0.0, 5 * HOUR_S, series="long"), BusyTime(HOUR_S, 2 * HOUR_S, series="short")])
    assert agenda.at(1.5 * HOUR_S).series == "short"
    assert (agenda.at(3 * HOUR_S).series, agenda.at(3 * HOUR_S).minutes) == ("long", -180.0)


def test_days() -> None:
    agenda = Agenda(
        [
            BusyTime(0.0, DAY_S, all_day=True, kind="away"),
            BusyTime(DAY_S, 2 * DAY_S, all_day=True, kind="holiday"),
            BusyTime(2 * DAY_S, 3 * DAY_S, all_day=True),
            BusyTime(0.0, 3 * DAY_S, all_day=True, kind="term"),
            BusyTime(5 * DAY_S, 8 * DAY_S, all_day=True, kind="term"),
        ]
    )
    first, second, third, fourth = (agenda.at(day * DAY_S) for day in (0.5, 1.5, 2.5, 3.5))
    assert first.away and not first.day_off and first.in_term
    assert second.holiday and second.day_off and not second.away
    assert third.all_day and third.day_off is False
    assert fourth.in_term is False and fourth.day_off
    assert agenda.at(9 * DAY_S).in_term is None


def test_nothing_known_says_nothing() -> None:
    assert Agenda([]).at(0.0) == CalendarFeatures() and CalendarFeatures().day_off is None
    holidays = Agenda([BusyTime(0.0, DAY_S, True, kind="holiday")])
    assert holidays.at(0.0) == CalendarFeatures(holiday=True)
    free = Agenda([BusyTime(0.0, DAY_S, True, kind="free")])
    assert free.at(0.0) == CalendarFeatures(away=False, all_day=False)


_TIMES = st.builds(
    lambda start, length, all_day, kind: BusyTime(start * 600.0, (start + length) * 600.0, all_day, "s", kind),
    st.integers(0, 3000),
    st.integers(0, 300),
    st.booleans(),
    st.sampled_from(["busy", "free", "away", "holiday", "term"]),
)


@given(st.lists(_TIMES, max_size=12), st.lists(st.integers(-100, 4000), min_size=1, max_size=20))
def test_many_moments_are_as_one_by_one(times: list[BusyTime], steps: list[int]) -> None:
    agenda = Agenda(times)
    moments = np.array(steps) * 600.0
    slots = agenda.slots(moments)
    for i, moment in enumerate(moments):
        one = agenda.at(float(moment))
        minutes = None if math.isnan(slots.minutes[i]) else slots.minutes[i]
        assert (one.minutes, bool(one.holiday), bool(one.away), bool(one.all_day)) == (
            minutes,
            slots.holiday[i],
            slots.away[i],
            slots.all_day[i],
        )
        assert (one.in_term is False) == slots.out_of_term[i]
        held = [t for t in times if t.start_s <= moment < t.end_s]
        assert bool(one.away) == any(t.kind == "away" for t in held)
        going_on = [t.start_s for t in held if t.kind == "busy" and not t.all_day]
        if going_on:
            assert one.minutes is not None and one.minutes * 60 in [start - moment for start in going_on]
        else:
            coming = [t.start_s for t in times if t.kind == "busy" and not t.all_day and t.start_s > moment]
            near = coming and min(coming) - moment <= 7 * DAY_S
            assert one.minutes == ((min(coming) - moment) / 60 if near else None)
