"""What calendars change, learned from synthetic histories: made here by rules that each test names."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.calendar import Agenda, CalendarFeatures
from ghostdesk.profiles.calendar_effect import MAX_HAZARD, CalendarEffect
from ghostdesk.telemetry.calendars.entries import BusyTime

SLOT_S, HOUR_S, DAY_S = 300.0, 3600.0, 86_400.0
SLOTS = int(DAY_S / SLOT_S)
ALICE, BOB = UserId("alice"), UserId("bob")
Floats = NDArray[np.float64]


def day_slots(day: int) -> Floats:
    starts: Floats = day * DAY_S + np.arange(SLOTS, dtype=np.float64) * SLOT_S
    return starts


def base_hazards() -> Floats:
    """Without a calendar: a likely arrival between 8:00 and 10:00 on any day."""
    hours = np.arange(SLOTS) * SLOT_S / HOUR_S
    hazards: Floats = np.where((hours >= 8) & (hours < 10), 0.03, 0.0005)
    return hazards


def synthetic_day(effect: CalendarEffect, user: UserId, agenda: Agenda, day: int, arrival_s: float | None) -> None:
    """One day as the effect learns it: the slots up to the arrival, or all of them."""
    moments = day_slots(day)
    at_risk = moments <= (arrival_s if arrival_s is not None else np.inf)
    arrived = np.zeros(SLOTS)
    if arrival_s is not None:
        arrived[at_risk.sum() - 1] = 1.0
    effect.learn(user, base_hazards()[at_risk], agenda.slots(moments[at_risk]), arrived[at_risk])


def test_who_comes_15_minutes_before_the_nine_o_clock_meeting_on_whichever_day_it_is() -> None:
    """Synthetic: a meeting at 9:00 on two random days of each week; an arrival at 8:45 on those days alone."""
    random = np.random.default_rng(3)
    days = sorted({int(week * 7 + day) for week in range(12) for day in random.choice(5, 2, replace=False)})
    agenda = Agenda([BusyTime(day * DAY_S + 9 * HOUR_S, day * DAY_S + 10 * HOUR_S, series="s") for day in days])
    effect = CalendarEffect()
    for day in range(10 * 7):
        synthetic_day(effect, ALICE, agenda, day, day * DAY_S + 8.75 * HOUR_S if day in days else None)
    meeting = next(day for day in days if day >= 70)
    other = next(day for day in range(70, 84) if day not in days)
    hazards = base_hazards()
    with_meeting = effect.adjust(ALICE, hazards, agenda.slots(day_slots(meeting)))
    without = effect.adjust(ALICE, hazards, agenda.slots(day_slots(other)))
    at = int(8.75 * HOUR_S / SLOT_S)
    assert with_meeting[at] > 0.3 and hazards[at] == 0.03 and without[at] < 0.03
    assert with_meeting.argmax() in (at, at - 1)
    assert 1 - np.prod(1 - with_meeting) > 0.6
    assert 1 - np.prod(1 - without) < 0.25
    assert "begins in 15 minutes" in effect.explain(ALICE, agenda.at(meeting * DAY_S + 8.75 * HOUR_S))


def test_who_does_not_come_on_holidays() -> None:
    """Synthetic: an arrival at 8:30 every day but holidays, which are every ninth day."""
    agenda = Agenda([BusyTime(day * DAY_S, (day + 1) * DAY_S, True, kind="holiday") for day in range(0, 120, 9)])
    effect = CalendarEffect()
    for day in range(100):
        synthetic_day(effect, ALICE, agenda, day, None if day % 9 == 0 else day * DAY_S + 8.5 * HOUR_S)
    hazards = base_hazards()
    holiday = effect.adjust(ALICE, hazards, agenda.slots(day_slots(108)))
    ordinary = effect.adjust(ALICE, hazards, agenda.slots(day_slots(107)))
    assert holiday.max() < 0.2 * hazards.max() < ordinary.max()
    assert effect.explain(ALICE, agenda.at(108 * DAY_S)) == "it is a public holiday"


def test_who_does_come_on_holidays_is_believed() -> None:
    """Synthetic: an arrival at 8:30 every day, holidays too."""
    agenda = Agenda([BusyTime(day * DAY_S, (day + 1) * DAY_S, True, kind="holiday") for day in range(0, 200, 9)])
    effect = CalendarEffect()
    before = effect.adjust(ALICE, base_hazards(), agenda.slots(day_slots(0))).max()
    for day in range(180):
        synthetic_day(effect, ALICE, agenda, day, day * DAY_S + 8.5 * HOUR_S)
    after = effect.adjust(ALICE, base_hazards(), agenda.slots(day_slots(189))).max()
    assert before < 0.5 * base_hazards().max() and after > 0.9 * base_hazards().max()


def test_a_new_person_has_what_is_common_and_grows_their_own() -> None:
    """Synthetic: twenty people who never come when away; then one who always does."""
    agenda = Agenda([BusyTime(day * DAY_S, (day + 1) * DAY_S, True, kind="away") for day in range(0, 200, 2)])
    effect = CalendarEffect()
    for person in range(20):
        for day in range(20):
            arrival_s = day * DAY_S + 8.5 * HOUR_S if day % 2 else None
            synthetic_day(effect, UserId(f"user-{person}"), agenda, day, arrival_s)
    hazards, away = base_hazards(), agenda.slots(day_slots(100))
    new = effect.adjust(BOB, hazards, away).max()
    for day in range(0, 100, 2):
        synthetic_day(effect, BOB, agenda, day, day * DAY_S + 8.5 * HOUR_S)
    own = effect.adjust(BOB, hazards, away).max()
    assert new < 0.1 * hazards.max() and own > hazards.max()
    assert effect.adjust(UserId("user-0"), hazards, away).max() < 0.3 * hazards.max()


def test_no_calendar_changes_nothing() -> None:
    effect = CalendarEffect()
    hazards = base_hazards()
    assert effect.adjust(ALICE, hazards, None) is hazards
    assert (effect.adjust(ALICE, hazards, Agenda([]).slots(day_slots(0))) == hazards).all()
    busy = Agenda([BusyTime(DAY_S, DAY_S + HOUR_S)])
    assert (effect.adjust(ALICE, hazards, busy.slots(day_slots(1))) == hazards).all()  # nothing learned yet
    effect.learn(ALICE, hazards, Agenda([]).slots(day_slots(0)), np.ones(SLOTS))
    assert (effect.adjust(ALICE, hazards, Agenda([]).slots(day_slots(0))) == hazards).all()
    assert effect.explain(ALICE, CalendarFeatures()) == ""


def test_a_forgotten_person_leaves_no_trace() -> None:
    agenda = Agenda([BusyTime(day * DAY_S + 9 * HOUR_S, day * DAY_S + 10 * HOUR_S) for day in range(40)])
    one, two = CalendarEffect(), CalendarEffect()
    for day in range(20):
        for effect in (one, two):
            synthetic_day(effect, BOB, agenda, day, day * DAY_S + 8.5 * HOUR_S)
        synthetic_day(one, ALICE, agenda, day, day * DAY_S + 10.5 * HOUR_S)
    one.forget(ALICE)
    one.forget(ALICE)
    two.forget(UserId("nobody"))
    slots = agenda.slots(day_slots(30))
    for user in (ALICE, BOB):
        assert (one.adjust(user, base_hazards(), slots) == two.adjust(user, base_hazards(), slots)).all()
    synthetic_day(one, UserId("next"), agenda, 0, None)  # takes the free row, which must be empty
    synthetic_day(two, UserId("next"), agenda, 0, None)
    assert (one.adjust(BOB, base_hazards(), slots) == two.adjust(BOB, base_hazards(), slots)).all()


def test_one_person_cannot_shout_down_the_others() -> None:
    """Synthetic: fifty people never come on holidays; one claims a hundred thousand arrivals."""
    holiday = Agenda([BusyTime(0.0, DAY_S, True, kind="holiday")])
    effect = CalendarEffect()
    for person in range(50):
        for _ in range(5):
            synthetic_day(effect, UserId(f"user-{person}"), holiday, 0, None)
    before = effect.adjust(BOB, base_hazards(), holiday.slots(day_slots(0))).max()
    for _ in range(400):
        effect.learn(ALICE, base_hazards(), holiday.slots(day_slots(0)), np.ones(SLOTS))
    after = effect.adjust(BOB, base_hazards(), holiday.slots(day_slots(0))).max()
    assert after < 0.5 * base_hazards().max() and before < after


def test_there_is_room_for_any_number_of_people() -> None:
    """Synthetic: two hundred people, of whom those with an even number come on holidays."""
    holiday = Agenda([BusyTime(0.0, DAY_S, True, kind="holiday")])
    effect, users = CalendarEffect(), [UserId(f"user-{person}") for person in range(200)]
    for _ in range(20):
        for person, user in enumerate(users):
            synthetic_day(effect, user, holiday, 0, None if person % 2 else 8.5 * HOUR_S)
    hazards = np.tile(base_hazards(), (200, 1))
    highest = effect.adjust_many(users, hazards, holiday.slots(day_slots(0))).max(axis=1)
    assert highest[::2].min() > 5 * highest[1::2].max()


def test_many_at_once_are_as_one_by_one() -> None:
    agenda = Agenda([BusyTime(day * DAY_S, (day + 1) * DAY_S, True, kind="holiday") for day in range(0, 30, 3)])
    effect = CalendarEffect()
    for day in range(20):
        synthetic_day(effect, ALICE, agenda, day, None)
        synthetic_day(effect, BOB, agenda, day, day * DAY_S + 8.5 * HOUR_S)
    users = [ALICE, BOB, UserId("new")]
    hazards = np.array([base_hazards(), base_hazards() * 2, base_hazards() / 2])
    slots = agenda.slots(day_slots(21))
    many = effect.adjust_many(users, hazards, slots)
    for row, user in enumerate(users):
        assert (many[row] == effect.adjust(user, hazards[row], slots)).all()
    assert effect.adjust_many([], np.zeros((0, SLOTS)), slots).shape == (0, SLOTS)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, SLOTS - 1), st.booleans()), max_size=30))
def test_hazards_stay_probabilities(history: list[tuple[int, int, bool]]) -> None:
    agenda = Agenda(
        [BusyTime(day * DAY_S + 9 * HOUR_S, day * DAY_S + 10 * HOUR_S) for day in range(0, 40, 3)]
        + [BusyTime(day * DAY_S, (day + 1) * DAY_S, True, kind="away") for day in range(0, 40, 4)]
    )
    effect = CalendarEffect()
    for day, slot, came in history:
        synthetic_day(effect, ALICE, agenda, day, day * DAY_S + slot * SLOT_S if came else None)
    hazards = np.linspace(0.0, 1.0, SLOTS)
    adjusted = effect.adjust(ALICE, hazards, agenda.slots(day_slots(36)))
    changed = adjusted != hazards
    assert ((adjusted >= 0) & (adjusted <= 1)).all() and (adjusted[changed] <= MAX_HAZARD).all()
    assert (np.diff(adjusted[:80]) >= -1e-12).all()  # within one cell more hazard stays more hazard


@pytest.mark.parametrize("bad", [-0.5, 1.5])
def test_hazards_out_of_range_are_clipped_before_they_count(bad: float) -> None:
    agenda = Agenda([BusyTime(0.0, DAY_S, True, kind="away")])
    adjusted = CalendarEffect().adjust(ALICE, [bad], agenda.slots([10.0]))
    assert 0.0 <= adjusted[0] <= MAX_HAZARD
