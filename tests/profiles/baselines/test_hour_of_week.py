"""Arrivals by the local week: habits, newcomers, sums, late events, and the tables behind them."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.baselines.hour_of_week import HourOfWeekArrivals
from ghostdesk.profiles.baselines.slots import WeekSlots
from ghostdesk.telemetry.events import EventKind, UsageEvent

BERLIN = ZoneInfo("Europe/Berlin")
ANN, BOB, NEW = UserId("ann"), UserId("bob"), UserId("new")
DAY_S, WEEK_S = 86_400.0, 7 * 86_400.0


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def session(user: UserId, start_s: float, hours: float = 1.0) -> list[UsageEvent]:
    return [
        UsageEvent(start_s, EventKind.SIGN_IN, user=user),
        UsageEvent(start_s + hours * 3600, EventKind.SIGN_OUT, user=user),
    ]


def mondays(user: UserId, weeks: int) -> list[UsageEvent]:
    """Nine o'clock and ten minutes, local time, on Mondays from 2024-01-08: over a change to summer time."""
    days = [datetime(2024, 1, 8, 9, 10, tzinfo=BERLIN).timestamp() + k * WEEK_S for k in range(weeks)]
    shifted = [d - BERLIN.utcoffset(datetime.fromtimestamp(d, BERLIN)).total_seconds() + 3600.0 for d in days]  # type: ignore[union-attr]
    return [event for d in shifted for event in session(user, d)]


def learnt(events: list[UsageEvent], timezone: str = "Europe/Berlin") -> HourOfWeekArrivals:
    model = HourOfWeekArrivals(timezone)
    for event in events:
        model.observe(event)
    return model


def test_a_weekly_habit_is_learnt_in_local_time() -> None:
    model = learnt(mondays(ANN, 16))
    now = at("2024-04-29T08:30")  # the 17th Monday; summer time began on 31 March
    curve = model.predict(ANN, now, 7200.0, 1800.0)
    assert curve.expected[0] < 0.3
    assert curve.expected[1] > 0.7
    assert model.predict(ANN, now + DAY_S, 7200.0, 1800.0).expected[0] < 0.35
    assert max(model.predict(ANN, now + 8 * 3600, 7200.0, 1800.0).expected) < 0.05
    habit = model.habit(ANN, model.slots.number(at("2024-04-29T09:10")))
    assert (habit.weeks_with, habit.weeks_known) == (16, 16)


def test_a_habit_that_ended_fades() -> None:
    model = learnt([*mondays(ANN, 16), *session(BOB, at("2024-07-01T12:00"))])
    before = max(model.predict(ANN, at("2024-04-29T09:00"), 1800.0, 1800.0).expected)
    after = max(model.predict(ANN, at("2024-07-29T09:00"), 1800.0, 1800.0).expected)
    assert after < before / 2
    assert model.habit(ANN, model.slots.number(at("2024-07-29T09:00"))).weeks_with == 3


def test_a_newcomer_gets_what_everyone_does() -> None:
    events = [e for k in range(20) for e in mondays(UserId(f"u{k}"), 8)]
    model = learnt(sorted(events, key=lambda e: e.time_s))
    monday, night = at("2024-03-04T09:00"), at("2024-03-04T03:00")
    known = model.predict(UserId("u1"), monday, 1800.0, 1800.0).expected[0]
    newcomer = model.predict(NEW, monday, 1800.0, 1800.0).expected[0]
    assert 0.3 < newcomer <= known
    assert model.predict(NEW, night, 1800.0, 1800.0).expected[0] < 0.02
    outlook = model.outlook(monday, 3600.0, 300.0)
    assert outlook.arrival.shape == (21, 12)
    assert outlook.arrival[-1, 0] == pytest.approx(1 - (1 - newcomer) ** (1 / 6), rel=1e-5)


def test_steps_of_any_length_tell_the_same_chance() -> None:
    model = learnt(mondays(ANN, 10))
    now = at("2024-03-18T08:00")

    def within_four_hours(step_s: float) -> float:
        hazards = model.predict(ANN, now, 4 * 3600.0, step_s).expected
        return 1.0 - float(np.prod([1.0 - h for h in hazards]))

    assert within_four_hours(300.0) == pytest.approx(within_four_hours(1800.0), rel=1e-6)
    assert within_four_hours(7200.0) == pytest.approx(within_four_hours(1800.0), rel=1e-6)


def test_whoever_is_there_does_not_arrive() -> None:
    events = mondays(ANN, 10)
    model = learnt(events[:-1])  # signed in on the tenth Monday, and not out again
    now = events[-2].time_s + 60.0
    outlook = model.outlook(now, 3600.0, 300.0)
    assert outlook.presence[0, 0] > 0.85
    assert outlook.arrival[0, 0] < 0.1 * model.predict(ANN, now, 3600.0, 300.0).expected[0] + 0.02
    assert model.there_now(ANN, now)
    model.observe(events[-1])
    assert not model.there_now(ANN, events[-1].time_s + 1.0)
    assert model.outlook(events[-1].time_s + 1.0, 3600.0, 300.0).presence[0, 0] < 0.2


def test_sessions_without_sign_ins_are_runs_of_activity() -> None:
    start = at("2024-01-08T09:00")
    times = [0, 1800, 5400, 5400 + 7199, 5400 + 7199 + 7200]
    model = learnt([UsageEvent(start + t, EventKind.APP_FOCUS, user=ANN) for t in times])
    assert model.pooled.total == 2


def test_a_reload_is_no_new_arrival_but_a_later_sign_in_is() -> None:
    start = at("2024-01-08T09:00")
    model = learnt([UsageEvent(start + t, EventKind.SIGN_IN, user=ANN) for t in (0, 30, 60, 60 + 7200)])
    assert model.pooled.total == 2


def test_a_shared_desktop_counts_when_it_comes_into_use() -> None:
    start = at("2024-01-08T09:00")
    states = ["available", "in-use", "in-use", "offline", "in-use"]
    model = learnt(
        [UsageEvent(start + i, EventKind.DESKTOP_STATE, desktop="d1", detail=s) for i, s in enumerate(states)]
        + [UsageEvent(start + 9, EventKind.DESKTOP_STATE, desktop="d2", detail="in-use")]
    )
    assert model.pooled.total == 3
    assert model.users() == ()


def test_everyone_together_is_the_mean_of_the_weeks() -> None:
    events = []
    for week in range(8):
        for k in range(20):
            events.append(
                UsageEvent(
                    at("2024-01-08T09:00") + week * WEEK_S + k * 60,
                    EventKind.DESKTOP_STATE,
                    desktop=f"d{week}-{k}",
                    detail="in-use",
                )
            )
    model = learnt(events)
    curve = model.predict(None, at("2024-03-04T09:00"), 1800.0, 300.0)
    assert sum(curve.expected) == pytest.approx(20.0, rel=0.15)
    assert curve.dispersion == pytest.approx(1.0, abs=3.0)
    assert sum(model.predict(None, at("2024-03-04T03:00"), 1800.0, 300.0).expected) < 0.2


def test_a_busy_morning_raises_the_next_hours() -> None:
    def day(week: int, count: int, hour: int) -> list[UsageEvent]:
        start = at("2024-01-08T00:00") + week * WEEK_S + hour * 3600
        return [
            UsageEvent(start + k * 20, EventKind.DESKTOP_STATE, desktop=f"{week}.{hour}.{k}", detail="in-use")
            for k in range(count)
        ]

    usual = [e for week in range(8) for hour in (8, 9, 10) for e in day(week, 20, hour)]
    now = at("2024-03-04T10:00")
    calm = learnt([*usual, *day(8, 20, 8), *day(8, 20, 9)]).predict(None, now, 1800.0, 1800.0)
    busy = learnt([*usual, *day(8, 60, 8), *day(8, 60, 9)]).predict(None, now, 1800.0, 1800.0)
    assert busy.expected[0] > 1.5 * calm.expected[0]


def test_over_dispersion_is_seen() -> None:
    generator = np.random.default_rng(1)

    def dispersion(counts: list[int]) -> float:
        events = []
        for day, count in enumerate(counts):
            start = at("2024-01-08T09:00") + day * DAY_S
            events += [
                UsageEvent(start + k, EventKind.DESKTOP_STATE, desktop=f"{day}.{k}", detail="in-use")
                for k in range(count)
            ]
        return (
            learnt(events, "UTC").predict(None, at("2024-01-08T09:00") + len(counts) * DAY_S, 1800.0, 1800.0).dispersion
        )

    even = dispersion([int(c) for c in generator.poisson(20, 140)])
    uneven = dispersion([int(c) for c in generator.negative_binomial(2, 2 / 22, 140)])
    assert 1.0 <= even < 3.0
    assert uneven > 4.0


TIMES = st.floats(1.7e9, 1.7e9 + 12 * WEEK_S)
EVENTS = st.builds(
    UsageEvent,
    time_s=TIMES,
    kind=st.sampled_from([EventKind.SIGN_IN, EventKind.SIGN_OUT, EventKind.ACTIVE, EventKind.IDLE]),
    user=st.sampled_from([ANN, BOB]),
)


@given(st.lists(EVENTS, max_size=40), st.lists(TIMES, max_size=6))
@settings(max_examples=20, deadline=None)
def test_asking_meanwhile_changes_nothing(events: list[UsageEvent], asked: list[float]) -> None:
    events = sorted(events, key=lambda e: e.time_s)
    whole = learnt(events)
    online = HourOfWeekArrivals("Europe/Berlin")
    waiting = sorted(asked)
    for event in events:
        while waiting and waiting[0] <= event.time_s:
            online.outlook(waiting.pop(0), 7200.0, 300.0)
        online.observe(event)
    now = 1.7e9 + 12 * WEEK_S + 1234.0
    one, other = whole.outlook(now, 7200.0, 300.0), online.outlook(now, 7200.0, 300.0)
    assert np.array_equal(one.arrival, other.arrival)
    assert np.array_equal(one.presence, other.presence)
    assert whole.predict(None, now, 7200.0, 300.0) == online.predict(None, now, 7200.0, 300.0)


@given(st.lists(TIMES, min_size=1, max_size=20), st.permutations(range(20)))
@settings(max_examples=15, deadline=None)
def test_sign_ins_may_come_in_any_order(times: list[float], order: list[int]) -> None:
    """Each by another user, so that no session swallows another's sign-in."""
    events = [UsageEvent(t, EventKind.SIGN_IN, user=UserId(f"u{i}")) for i, t in enumerate(times)]
    shuffled = [events[i] for i in order if i < len(events)]
    now = 1.7e9 + 12 * WEEK_S
    one, other = learnt(sorted(events, key=lambda e: e.time_s)), learnt(shuffled)
    for event in events:
        assert event.user is not None
        mine, theirs = (m.predict(event.user, now, 7200.0, 1800.0).expected for m in (one, other))
        # Sums are kept in single precision: another order rounds otherwise.
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-7)


@given(st.floats(0.0, 4.0e9))
def test_slots_follow_the_local_clock(time_s: float) -> None:
    slots = WeekSlots("Europe/Berlin", 1800)
    local = datetime.fromtimestamp(time_s, BERLIN)
    number = slots.number(time_s)
    assert number % slots.a_week // slots.a_day == local.weekday()
    assert number % slots.a_day == (local.hour * 60 + local.minute) // 30
    assert 0.0 <= slots.fraction(time_s) < 1.0


def test_a_zone_that_does_not_exist_is_told() -> None:
    with pytest.raises(ConfigError, match="Nowhere"):
        HourOfWeekArrivals("Europe/Nowhere")
    with pytest.raises(ConfigError):
        HourOfWeekArrivals("../etc/passwd")
    with pytest.raises(ConfigError, match="slots"):
        HourOfWeekArrivals("UTC", 1000)
