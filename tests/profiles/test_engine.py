"""The whole profile engine: curves, reasons, odd input, online learning."""

import math
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.engine import UserProfileEngine
from ghostdesk.profiles.forecast import UsageCurve
from ghostdesk.profiles.protocol import ProfileEngine
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.history import History

BERLIN = ZoneInfo("Europe/Berlin")
ANN, BOB, NEW = UserId("ann"), UserId("bob"), UserId("new")
MAIL, WEB = AppId("mail"), AppId("web")
MONDAY_S = datetime(2024, 1, 8, 9, 10, tzinfo=BERLIN).timestamp()
WEEK_S = 7 * 86_400.0


def mondays(weeks: int, missed: frozenset[int] = frozenset()) -> list[UsageEvent]:
    events = [UsageEvent(MONDAY_S - WEEK_S, EventKind.SIGN_IN, user=ANN)]
    for week in range(weeks):
        start_s = MONDAY_S + week * WEEK_S
        if week in missed:
            continue
        events += [
            UsageEvent(start_s, EventKind.SIGN_IN, user=ANN),
            UsageEvent(start_s + 5, EventKind.APP_LAUNCH, user=ANN, app=MAIL),
            UsageEvent(start_s + 30, EventKind.CPU, user=ANN, value=0.5),
            UsageEvent(start_s + 60, EventKind.APP_LAUNCH, user=ANN, app=WEB),
            UsageEvent(start_s + 3600, EventKind.SIGN_OUT, user=ANN),
        ]
    return events


def fitted(events: list[UsageEvent], now_s: float) -> UserProfileEngine:
    engine = UserProfileEngine("Europe/Berlin")
    engine.fit(History.of(events), now_s)
    return engine


def test_it_fills_the_seam() -> None:
    engine: ProfileEngine = UserProfileEngine()
    assert engine.users() == ()


def test_a_weekly_user_is_foreseen_with_a_reason() -> None:
    now_s = MONDAY_S + 8 * WEEK_S - 1200.0
    engine = fitted(mondays(8, missed=frozenset({2})), now_s)
    curve = engine.predict_resource_needs(ANN, now_s)
    assert curve.arrival_within(now_s, 3600.0) > 0.6
    assert curve.reasons[0] == "signs in on Mondays around 09:00 (8 of the last 9 weeks)"
    assert curve.apps[0].app == MAIL
    assert curve.resources.cpu_cores == pytest.approx(0.5)
    assert len(curve.arrival) == len(curve.presence) == 24
    assert engine.users() == (ANN,)


def test_presence_and_the_reason_follow_the_session() -> None:
    events = mondays(8)
    now_s = MONDAY_S + 7 * WEEK_S + 60.0
    engine = fitted([e for e in events if e.time_s <= now_s], now_s)
    there = engine.predict_resource_needs(ANN, now_s)
    assert there.reasons[0] == "is there now"
    assert there.presence[0] > 0.8
    assert there.arrival[0] < 0.1
    engine.observe(UsageEvent(now_s + 10, EventKind.SIGN_OUT, user=ANN))
    gone = engine.predict_resource_needs(ANN, now_s + 20)
    assert gone.presence[0] < there.presence[0] / 2


def test_a_newcomer_gets_everyones() -> None:
    now_s = MONDAY_S + 8 * WEEK_S - 600.0
    engine = fitted(mondays(8), now_s)
    curve = engine.predict_resource_needs(NEW, now_s)
    assert "no history of their own" in curve.reasons[0]
    assert curve.apps[0].app == MAIL
    assert curve.resources.cpu_cores == pytest.approx(0.5)
    assert NEW not in engine.users()
    at_night = engine.predict_resource_needs(NEW, now_s - 6 * 3600)
    assert curve.arrival_within(now_s, 3600.0) > 3 * at_night.arrival_within(now_s - 6 * 3600, 3600.0)


def test_with_no_history_every_forecast_is_there_and_small() -> None:
    engine = UserProfileEngine()
    curve = engine.predict_resource_needs(NEW, MONDAY_S)
    assert 0.0 < curve.arrival_within(MONDAY_S, 7200.0) < 0.2
    assert curve.apps == ()
    assert sum(engine.predict_arrivals(MONDAY_S, 7200.0).expected) == 0.0


def test_an_event_from_a_wrong_clock_does_not_age_the_rest() -> None:
    now_s = MONDAY_S + 8 * WEEK_S - 1200.0
    engine = fitted(mondays(8), now_s)
    before = engine.predict_resource_needs(ANN, now_s)
    engine.observe(UsageEvent(now_s + 40 * WEEK_S, EventKind.SIGN_IN, user=ANN))
    engine.observe(UsageEvent(1e18, EventKind.SIGN_IN, user=BOB))
    engine.observe(UsageEvent(-5.0, EventKind.SIGN_IN, user=BOB))
    assert engine.predict_resource_needs(ANN, now_s) == before
    assert engine.users() == (ANN,)


@pytest.mark.parametrize("now_s", [-1e300, -1.0, 0.0, 1e10, 1e300, math.inf, -math.inf, math.nan])
def test_any_time_may_be_asked_for(now_s: float) -> None:
    engine = fitted(mondays(3), MONDAY_S + 3 * WEEK_S)
    curve = engine.predict_resource_needs(ANN, now_s)
    assert math.isfinite(curve.start_s)
    assert all(0.0 <= p <= 1.0 for p in (*curve.arrival, *curve.presence))
    assert all(math.isfinite(x) for x in engine.predict_arrivals(now_s, 7200.0).expected)


def test_settings_that_cannot_be_are_told() -> None:
    with pytest.raises(ConfigError, match="time zone"):
        UserProfileEngine("Mars/Olympus")
    for horizon_s, slot_s in ((0.0, 300.0), (7200.0, 0.0), (100.0, 300.0), (1e9, 300.0)):
        with pytest.raises(ValueError, match="horizon"):
            UserProfileEngine("UTC", horizon_s, slot_s)


TIMES = st.floats(MONDAY_S, MONDAY_S + 6 * WEEK_S) | st.floats(-1e20, 1e20)
EVENTS = st.builds(
    UsageEvent,
    time_s=TIMES,
    kind=st.sampled_from(list(EventKind)),
    user=st.sampled_from([ANN, BOB, None]),
    app=st.sampled_from([MAIL, WEB, None]),
    desktop=st.sampled_from(["d1", "d2", None]),
    value=st.none() | st.floats(-1e12, 1e12),
    detail=st.sampled_from(["in-use", "available", "", None]),
)


def check(curve: UsageCurve) -> None:
    assert all(0.0 <= p <= 1.0 for p in (*curve.arrival, *curve.presence))
    assert sum(one.probability for one in curve.apps) <= 1.0 + 1e-9
    assert all(amount >= 0.0 for amount in curve.resources.as_tuple())
    assert all(curve.reasons)
    chances = [curve.arrival_within(curve.start_s, lead_s) for lead_s in (0.0, 60.0, 299.0, 301.0, 3600.0, 7200.0, 9e9)]
    assert chances == sorted(chances)
    assert 0.0 <= chances[0] <= chances[-1] <= 1.0


@given(st.lists(EVENTS, max_size=40), TIMES)
@settings(max_examples=40, deadline=None)
def test_any_stream_of_events_gives_probabilities(events: list[UsageEvent], now_s: float) -> None:
    engine = UserProfileEngine("Europe/Berlin")
    for index, event in enumerate(events):
        engine.observe(event)
        if index % 10 == 3:
            check(engine.predict_resource_needs(ANN, event.time_s))
    for user in (*engine.users(), NEW):
        check(engine.predict_resource_needs(user, now_s))
    curve = engine.predict_arrivals(now_s, 7200.0)
    assert all(x >= 0.0 and math.isfinite(x) for x in curve.expected)
    assert curve.dispersion >= 1.0


SANE = st.builds(
    UsageEvent,
    time_s=st.floats(MONDAY_S, MONDAY_S + 6 * WEEK_S),
    kind=st.sampled_from(list(EventKind)),
    user=st.sampled_from([ANN, BOB, None]),
    app=st.sampled_from([MAIL, WEB, None]),
    desktop=st.sampled_from(["d1", "d2"]),
    value=st.none() | st.floats(0.0, 1e9),
    detail=st.sampled_from(["in-use", "available"]),
)


@given(st.lists(SANE, min_size=1, max_size=40), st.integers(0, 39))
@settings(max_examples=25, deadline=None)
def test_learning_event_by_event_is_learning_from_the_whole(events: list[UsageEvent], split: int) -> None:
    history = History.of(events)
    split = min(split, len(history) - 1)
    now_s = MONDAY_S + 6 * WEEK_S + 600.0
    whole = fitted(events, now_s)
    online = UserProfileEngine("Europe/Berlin")
    online.fit(History(history.events[:split]), history.events[split].time_s)
    for event in history.events[split:]:
        online.predict_resource_needs(ANN, event.time_s - 1.0)
        online.observe(event)
    for user in (ANN, BOB, NEW):
        one, other = (engine.predict_resource_needs(user, now_s) for engine in (online, whole))
        assert (one.arrival, one.presence, one.reasons[0]) == (other.arrival, other.presence, other.reasons[0])
    assert online.predict_arrivals(now_s, 7200.0) == whole.predict_arrivals(now_s, 7200.0)
