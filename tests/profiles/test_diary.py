"""Calendars in the engine: a meeting on an odd day is met, a holiday keeps people away, forgetting leaves nothing."""

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.engine import UserProfileEngine
from ghostdesk.telemetry.calendars.entries import BusyTime
from ghostdesk.telemetry.events import EventKind, UsageEvent

ANN = UserId("ann")
DAY_S = 86_400.0
START_S = 1_704_672_000.0  # Monday, 2024-01-08 00:00 UTC


def live_through(days: int) -> tuple[UserProfileEngine, float]:
    """A synthetic person who comes a quarter of an hour before a meeting, on whichever day at whichever hour it is."""
    engine = UserProfileEngine()
    for day in range(days):
        hour = 8 + (day * 5) % 9
        meeting = BusyTime(START_S + day * DAY_S + hour * 3600.0, START_S + day * DAY_S + (hour + 1) * 3600.0)
        engine.set_calendars({ANN: [meeting]}, [])
        for half in range(48):
            now_s = START_S + day * DAY_S + half * 1800.0 + 1.0
            engine.predict_resource_needs(ANN, now_s)
            if half == hour * 2 - 1:
                engine.observe(UsageEvent(meeting.start_s - 900.0, EventKind.SIGN_IN, ANN))
                engine.observe(UsageEvent(meeting.end_s, EventKind.SIGN_OUT, ANN))
    return engine, START_S + days * DAY_S


def test_a_meeting_at_an_odd_hour_is_foreseen() -> None:
    engine, tomorrow_s = live_through(28)
    now_s = tomorrow_s + 19.5 * 3600.0
    engine.set_calendars({}, [])
    without = engine.predict_resource_needs(ANN, now_s).arrival_within(now_s, 3600.0)
    engine.set_calendars({ANN: [BusyTime(now_s + 1800.0, now_s + 5400.0)]}, [])
    curve = engine.predict_resource_needs(ANN, now_s)
    assert curve.arrival_within(now_s, 3600.0) > 2.0 * without
    engine.forget(ANN)
    assert engine.users() == ()


def test_a_holiday_keeps_people_away() -> None:
    engine = UserProfileEngine()
    for day in range(28):
        if day % 7 < 5:
            engine.observe(UsageEvent(START_S + day * DAY_S + 9 * 3600.0, EventKind.SIGN_IN, ANN))
    monday_s = START_S + 28 * DAY_S
    now_s = monday_s + 8.75 * 3600.0
    usual = engine.predict_resource_needs(ANN, now_s).arrival_within(now_s, 3600.0)
    engine.set_calendars({}, [BusyTime(monday_s, monday_s + DAY_S, all_day=True, kind="holiday")])
    assert engine.predict_resource_needs(ANN, now_s).arrival_within(now_s, 3600.0) < 0.6 * usual
