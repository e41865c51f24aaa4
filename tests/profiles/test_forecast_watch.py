"""The engine knows whether its forecasts come true: habits that end are told, sign-ins are compared with forecasts."""

import numpy as np
import pytest

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.engine import UserProfileEngine
from ghostdesk.profiles.forecast_watch import ArrivalWatch, Judged, NextAppWatch
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.history import History

ADA = UserId("ada")
START_S = 1_760_000_000.0
MAIL = AppId("mail")


def told(watch: NextAppWatch, hit_rate: float, loss_nats: float, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        watch.judged(Judged(MAIL, float(rng.gamma(2.0, loss_nats / 2.0)), bool(rng.random() < hit_rate)))


def test_forecasts_that_get_worse_are_told_with_what_they_were() -> None:
    watch = NextAppWatch()
    told(watch, 0.62, 1.2, 3_000, 1)
    fine = watch.health()
    assert not fine.drifted
    assert fine.loss_nats == pytest.approx(1.2, abs=0.1)
    assert fine.hit_rate == pytest.approx(0.62, abs=0.05)
    told(watch, 0.4, 1.9, 1_500, 2)
    worse = watch.health()
    assert worse.drifted
    assert worse.loss_before_nats == pytest.approx(1.2, abs=0.15)
    assert worse.hit_rate_before == pytest.approx(0.62, abs=0.05)
    assert worse.hit_rate < 0.5 and worse.loss_nats > 1.7


def test_surprises_cost_no_more_than_a_bound_and_what_is_no_number_is_passed_over() -> None:
    watch = NextAppWatch()
    watch.judged(Judged(MAIL, float("nan"), False))
    assert watch.health().steps == 0
    watch.judged(Judged(MAIL, float("inf"), False))
    assert watch.health().loss_nats == pytest.approx(13.8)


def test_a_half_hour_is_judged_when_the_very_next_one_begins() -> None:
    watch = ArrivalWatch()
    watch.slot_begins(10, 2.0, 1.0)
    watch.arrived(10)
    watch.arrived(9)  # late: it was in no half hour that is watched
    watch.slot_begins(11, 2.0, 1.0)
    watch.slot_begins(13, 2.0, 1.0)  # nobody ticked in between
    health = watch.health()
    assert (health.half_hours, health.came, health.expected) == (1, pytest.approx(336.0), pytest.approx(672.0))


def test_a_week_without_those_who_were_expected_is_told_and_words_need_two_days() -> None:
    watch = ArrivalWatch()
    for slot in range(336):
        watch.slot_begins(slot, 1.0, 1.0)
        if slot < 48:
            assert not watch.health().drifted
    health = watch.health()
    assert health.fewer and not health.more
    assert health.came == 0.0


def test_the_engine_judges_its_own_steps_and_counts_sessions_not_events() -> None:
    engine = UserProfileEngine()
    engine.fit(History.of([]), START_S)
    assert engine.health()[0].steps == 0
    engine.predict_resource_needs(ADA, START_S)
    now_s = START_S
    for step in range(60):
        now_s += 20.0
        engine.observe(UsageEvent(now_s, EventKind.APP_FOCUS, ADA, AppId("abc"[step % 3])))
    assert engine.health()[0].steps == 60
    assert engine.health()[0].hit_rate > 0.5
    engine.predict_resource_needs(ADA, START_S + 1800.0)
    arrivals = engine.health()[1]
    assert arrivals.half_hours == 1
    assert arrivals.came == pytest.approx(336.0), "sixty events of one session are one sign-in"


def test_a_refit_learns_the_past_and_what_happens_meanwhile() -> None:
    engine, past = UserProfileEngine(), []
    for step in range(90):
        past.append(UsageEvent(START_S + 20.0 * step, EventKind.APP_FOCUS, ADA, AppId("abc"[step % 3])))
    engine.fit(History.of(past), START_S + 2_000.0)
    before = engine.predict_resource_needs(ADA, START_S + 1_800.0).apps
    seen: list[Judged] = []
    refit = engine.begin_refit(dict, seen.append)
    engine.observe(UsageEvent(START_S + 1_801.0, EventKind.APP_FOCUS, ADA, AppId("a")))
    refit.learn(History.of(past), START_S + 1_800.0)
    assert seen, "the steps of the past are judged"
    assert engine.adopt(refit)
    after = engine.predict_resource_needs(ADA, START_S + 1_802.0).apps
    assert before[0].app == "a" and after[0].app == "b"
    assert not engine.adopt(refit), "it is in use already"


def test_a_refit_that_knows_of_somebody_forgotten_is_refused() -> None:
    engine = UserProfileEngine()
    past = [UsageEvent(START_S + i, EventKind.APP_FOCUS, ADA, AppId("abc"[i % 3])) for i in range(30)]
    engine.fit(History.of(past), START_S + 100.0)
    refit = engine.begin_refit(dict)
    engine.forget(ADA)
    refit.learn(History.of(past), START_S + 100.0)
    assert not engine.adopt(refit)
    assert engine.predict_resource_needs(ADA, START_S + 200.0).apps == ()


def test_a_later_refit_overtakes_an_earlier_one() -> None:
    engine = UserProfileEngine()
    engine.fit(History.of([]), START_S)
    first, second = engine.begin_refit(dict), engine.begin_refit(dict)
    assert not engine.adopt(first)
    assert engine.adopt(second)
