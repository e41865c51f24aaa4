"""What desktops will take: curves where hours are known, the spread of samples where not, and odd samples."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.desktop_needs import RENEWED_AT_ONCE, DesktopNeeds
from ghostdesk.profiles.engine import UserProfileEngine
from ghostdesk.profiles.forecast import LEVELS
from ghostdesk.profiles.lstm_step import LstmConfig, weight_shapes
from ghostdesk.profiles.next_app.lstm_expert import LstmExpert
from ghostdesk.profiles.next_app.mixture import TRAINED
from ghostdesk.profiles.resources import KINDS, NAMES
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.history import History

ANN, BOB, NEW = UserId("ann"), UserId("bob"), UserId("new")
HOUR, DAY = 3600.0, 86_400.0
START = 1_704_700_800.0  # Monday, 2024-01-08 08:00 UTC
MEDIAN, HIGH = LEVELS.index(0.5), LEVELS.index(0.9)


def working_days(user: UserId, days: int, morning: float, afternoon: float) -> list[UsageEvent]:
    """Eight hours a day, every 10 minutes all five resources; another level before noon than after it."""
    events = []
    for day in range(days):
        at = START + day * DAY
        events.append(UsageEvent(at - 60, EventKind.SIGN_IN, user))
        for step in range(48):
            level = morning if step < 24 else afternoon
            value = level * (1.0 + 0.1 * math.sin(step))
            events += [UsageEvent(at + 600 * step, kind, user, value=value * 10**n) for n, kind in enumerate(KINDS)]
        events.append(UsageEvent(at + 8 * HOUR, EventKind.SIGN_OUT, user))
    return events


def needs_of(events: list[UsageEvent], **options: object) -> DesktopNeeds:
    needs = DesktopNeeds(**options)  # type: ignore[arg-type]
    for event in events:
        needs.observe(event)
    return needs


WEEK = working_days(ANN, 7, 1.0, 4.0)
EVENING = START + 6 * DAY + 10 * HOUR


def test_the_curve_follows_the_hours_of_the_day_for_all_five_resources() -> None:
    found = needs_of(WEEK).quantiles(ANN, EVENING, 48 * HOUR, HOUR)
    assert found is not None
    assert set(found.amounts) == set(NAMES)
    for number, name in enumerate(NAMES):
        slots = found.amounts[name]
        assert len(slots) == 48
        morning, afternoon = slots[15][MEDIAN], slots[20][MEDIAN]  # nine o'clock and two o'clock of the next day
        assert morning < 0.8 * afternoon
        assert afternoon / 10**number == pytest.approx(4.0, rel=0.5)
        assert all(0.0 <= a <= b for slot in slots for a, b in itertools.pairwise(slot))


def test_with_few_hours_the_samples_decide_and_a_newcomer_gets_everyones() -> None:
    needs = needs_of(WEEK + working_days(BOB, 1, 8.0, 8.0)[:121])
    bob, new = (needs.quantiles(user, START + 5 * HOUR, 2 * HOUR, HOUR) for user in (BOB, NEW))
    assert bob is not None and new is not None
    assert bob.amounts["cpu_cores"][0][MEDIAN] > 6.0
    assert 0.9 < new.amounts["cpu_cores"][0][MEDIAN] < 4.6


def test_a_resource_that_nobody_has_is_left_out_and_no_history_is_no_forecast() -> None:
    only_cpu = [event for event in WEEK if event.kind is EventKind.CPU]
    found = needs_of(only_cpu).quantiles(ANN, EVENING, HOUR, HOUR)
    assert found is not None and set(found.amounts) == {"cpu_cores"}
    assert DesktopNeeds().quantiles(ANN, EVENING, HOUR, HOUR) is None
    assert DesktopNeeds().usual_and_high(ANN, EVENING)[0].cpu_cores == 0.0


def test_whoever_is_there_is_asked_by_the_hour_and_never_less_than_their_samples_say() -> None:
    """At noon the coming hour is a busy one, while the samples of all days say less."""
    today = working_days(ANN, 7, 1.0, 4.0)
    noon = START + 6 * DAY + 4 * HOUR
    needs = needs_of([event for event in today if event.time_s < noon])
    usual, high = needs.usual_and_high(ANN, noon + 1.0)
    plain = DesktopNeeds()
    plain._use = needs._use
    flat_usual, flat_high = plain.usual_and_high(ANN, noon + 1.0)
    assert usual.cpu_cores != pytest.approx(flat_usual.cpu_cores, rel=0.02)
    assert all(a >= b for a, b in zip(high.as_tuple(), flat_high.as_tuple(), strict=True))
    later, _ = needs.usual_and_high(ANN, noon + 3 * HOUR)  # not measured since: the samples decide again
    assert later.as_tuple() == flat_usual.as_tuple()


def test_a_tick_asks_the_model_for_some_people_only() -> None:
    people = [UserId(f"p{n}") for n in range(3 * RENEWED_AT_ONCE)]
    needs = needs_of([UsageEvent(START + n, EventKind.CPU, user, value=1.0) for n, user in enumerate(people)])
    asked = []
    for tick in range(1, 5):
        for user in people:
            needs.usual_and_high(user, START + 300.0 + 5.0 * tick)
        asked.append(len(needs._hours))
    assert asked == [RENEWED_AT_ONCE, 2 * RENEWED_AT_ONCE, 3 * RENEWED_AT_ONCE, 3 * RENEWED_AT_ONCE]


def test_the_other_forecast_is_used_for_the_next_minutes_once_it_proved_better() -> None:
    """The model of the curve knows this person as steady at 1; the other forecast knows of the step to 3."""
    other = np.tile(np.linspace(2.9, 3.1, len(LEVELS)), (len(NAMES), 1))
    needs = DesktopNeeds(near=lambda user, _now_s: other if user == ANN else None)
    now_s = START
    for hour in range(60):
        level = 1.0 if hour < 24 else 3.0 if hour % 2 else 2.95
        for minute in range(0, 60, 2):
            needs.observe(UsageEvent(now_s + 60.0 * minute, EventKind.CPU, ANN, value=level))
            needs.usual_and_high(ANN, now_s + 60.0 * minute + 1.0)
        if hour == 23:
            before = needs.near_weights()["cpu_cores"]
        now_s += HOUR
    assert before < 0.05
    assert needs.near_weights()["memory_bytes"] == 0.0
    weight = needs.near_weights()["cpu_cores"]
    found = needs.quantiles(ANN, now_s, 1200.0, 300.0)
    assert found is not None
    near, far = found.amounts["cpu_cores"][0], found.amounts["cpu_cores"][1]
    curve = DesktopNeeds()
    curve._use, curve._curves = needs._use, needs._curves
    alone = curve.quantiles(ANN, now_s, 1200.0, 300.0)
    assert alone is not None
    assert far == alone.amounts["cpu_cores"][1]
    expected = (1 - weight) * np.array(alone.amounts["cpu_cores"][0]) + weight * other[0]
    assert near == pytest.approx(expected.tolist(), rel=1e-5)


def test_forgetting_a_person_leaves_the_forecasts_of_those_who_never_met_them() -> None:
    both, alone = needs_of(WEEK + working_days(BOB, 7, 2.0, 2.0)), needs_of(working_days(BOB, 7, 2.0, 2.0))
    both.usual_and_high(ANN, EVENING)
    both.forget(ANN)
    for user in (ANN, BOB):
        gone, never = (one.quantiles(user, EVENING, DAY, HOUR) for one in (both, alone))
        assert gone is not None and never is not None
        for name in NAMES:
            assert np.asarray(gone.amounts[name]) == pytest.approx(np.asarray(never.amounts[name]), rel=0.02)
    held = (both._hours, both._due, both._cache, both._use._users, both._near._pending)
    assert all(ANN not in one for one in held)
    assert both._curves.hours_known(ANN, "cpu_cores", EVENING) == 0
    both.forget(BOB)
    assert both.quantiles(BOB, EVENING, DAY, HOUR) is None


def test_samples_of_an_application_of_nobody_and_of_an_empty_desktop_count_nothing() -> None:
    needs = needs_of(
        [
            UsageEvent(START, EventKind.CPU, ANN, AppId("mail"), 5.0),
            UsageEvent(START, EventKind.CPU, None, value=5.0),
            UsageEvent(START, EventKind.SIGN_OUT, ANN),
            UsageEvent(START + 1, EventKind.CPU, ANN, value=5.0),
        ]
    )
    assert needs.quantiles(ANN, START + 2, HOUR, HOUR) is None


def test_late_and_future_samples_and_a_changed_clock_do_no_harm() -> None:
    """A day of samples dated ahead, a week-old one, and the same hours told twice as when a clock is set back."""
    engine = UserProfileEngine()
    engine.fit(History.of(WEEK), EVENING)
    before = engine.usage_curve(ANN, EVENING, DAY, HOUR).quantiles
    odd = [UsageEvent(EVENING + 400 * DAY + n, EventKind.CPU, ANN, value=1e12) for n in range(50)]
    odd += [UsageEvent(START - 300 * DAY, EventKind.CPU, ANN, value=1e12)]
    odd += [UsageEvent(START + 5 * DAY + HOUR + n, EventKind.CPU, ANN, value=1e12) for n in range(50)]
    for event in odd:
        engine.observe(event)
    after = engine.usage_curve(ANN, EVENING, DAY, HOUR).quantiles
    assert before is not None and after is not None
    medians = [[slot[MEDIAN] for slot in found.amounts["cpu_cores"]] for found in (before, after)]
    assert medians[1] == pytest.approx(medians[0], rel=0.05)


def test_learning_event_by_event_gives_the_same_as_a_fit() -> None:
    fitted, online = UserProfileEngine(), UserProfileEngine()
    fitted.fit(History.of(WEEK), EVENING)
    online.fit(History(), EVENING)
    for event in WEEK:
        online.observe(event)
    one, other = (engine.usage_curve(ANN, EVENING, 48 * HOUR, HOUR).quantiles for engine in (fitted, online))
    assert one == other


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([ANN, BOB]),
            st.sampled_from([*KINDS, EventKind.SIGN_OUT, EventKind.SIGN_IN]),
            st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.floats(START - 1e6, START + 1e6)),
            st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1e12)),
        ),
        max_size=30,
    ),
    st.sampled_from([300.0, 2400.0, 3600.0]),
)
def test_rubbish_gives_sane_forecasts(samples: list, slot_s: float) -> None:  # type: ignore[type-arg]
    needs = DesktopNeeds()
    for user, kind, time_s, value in samples:
        needs.observe(UsageEvent(time_s, kind, user, value=value))
        usual, high = needs.usual_and_high(user, START)
        assert all(math.isfinite(a) and a >= 0.0 for a in (*usual.as_tuple(), *high.as_tuple()))
    found = needs.quantiles(ANN, START, 4 * HOUR, slot_s)
    for slots in found.amounts.values() if found else ():
        assert len(slots) == math.ceil(4 * HOUR / slot_s)
        assert all(math.isfinite(q) and q >= 0.0 for slot in slots for q in slot)
        assert all(a <= b for slot in slots for a, b in itertools.pairwise(slot))


def test_the_engine_asks_the_live_lstm_for_the_next_minutes_and_judges_what_it_said() -> None:
    """With random weights, which no person's samples bear out: it is asked, judged, and not believed."""
    config = LstmConfig()
    rng = np.random.default_rng(4)
    weights = {
        name: (rng.normal(size=shape) * shape[-1] ** -0.5).astype(np.float32)
        for name, shape in weight_shapes(config).items()
    }
    engine = UserProfileEngine(trained=lambda: {TRAINED: LstmExpert(config, weights)})
    engine.observe(UsageEvent(START, EventKind.APP_LAUNCH, ANN, AppId("mail")))
    asked = engine._near_resources(ANN, START + 1.0)
    assert asked is not None and asked.shape == (len(NAMES), len(LEVELS))
    assert engine._near_resources(NEW, START + 1.0) is None
    for hour in range(30):
        for minute in (0, 1, 2, 3, 10):
            at = START + hour * HOUR + 60.0 * minute
            engine.observe(UsageEvent(at, EventKind.CPU, ANN, value=0.5))
            engine.predict_resource_needs(ANN, at + 10.0)
    assert engine._needs._near.judged[0] >= 20.0
    assert engine._needs.near_weights()["cpu_cores"] < 0.1
    curve = engine.usage_curve(ANN, START + 30 * HOUR, HOUR, 300.0).quantiles
    assert curve is not None and curve.amounts["cpu_cores"][0][MEDIAN] == pytest.approx(0.5, rel=0.3)
