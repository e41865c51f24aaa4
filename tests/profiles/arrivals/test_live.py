"""Arrivals as the service forecasts them: the same as what is scored, whatever is asked meanwhile, and forgettable."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ghostdesk.evaluate.arrivals_reading import read_arrival_history
from ghostdesk.evaluate.arrivals_timeline import RowUse, Timeline, cut, sessions_from_events, sessions_from_signs
from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.arrivals.live import SLOT_S, ArrivalForecasts
from ghostdesk.profiles.arrivals.model import ArrivalModel
from ghostdesk.telemetry.events import EventKind, UsageEvent

DATA = Path(os.environ.get("GHOSTDESK_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
ACTIVITY = DATA / "user-activity" / "activity.csv.xz"
START_S = datetime(2025, 1, 6, tzinfo=UTC).timestamp()  # a Monday
DAY_S = 86_400.0
Floats = npt.NDArray[np.float64]
GRACE_S = 90.0


def people(count: int, days: int, seed: int = 5) -> list[tuple[str, Floats]]:
    """Synthetic people who come on working days about nine, and some after lunch; signs of life every half hour."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        times: list[int] = []
        for day in range(days):
            for hour, likely in ((9, 0.8), (13, 0.3 + 0.1 * (number % 3))):
                if day % 7 < 5 and generator.random() < likely:
                    at = int(day * DAY_S + (hour + number % 2) * 3600 + generator.integers(0, 3000))
                    times += [at + 1800 * i for i in range(int(generator.integers(1, 5)))]
        found.append((f"u{number}", START_S + np.array(sorted(times), dtype=float)))
    return found


def evaluated(rows: list[RowUse], since_s: float) -> dict[tuple[str, float], float]:
    """Hazards of rows at risk, by name and slot, from the procedure that is scored."""
    timeline, model = Timeline(rows, SLOT_S), ArrivalModel()
    assert timeline.block_slots == 1
    model.grow(len(rows))
    found = {}
    for chunk in timeline.chunks():
        for slot in range(chunk.known.shape[1]):
            block, outcome = cut(chunk, slot, 1)
            if not len(block.rows):
                continue
            said = model.said(block)
            begin_s = chunk.first_s + slot * float(SLOT_S)
            if begin_s >= since_s:
                mixed = model.mix(block, said)
                for row, hazard, at_risk in zip(block.rows, mixed[:, 0], block.at_risk[:, 0], strict=True):
                    if at_risk:
                        found[rows[row].name, begin_s] = float(hazard)
            model.learn(block, outcome, said)
    return found


def hazard_of_whole_slot(live: ArrivalForecasts, begin_s: float) -> dict[str, float]:
    """Everybody's hazard of a slot, asked when it has begun and the slot before is taken to be over."""
    rest_s = SLOT_S - GRACE_S
    for _ in range(3):  # nobody asked for days: a question lets no more than a day pass
        live.outlook(begin_s + GRACE_S, rest_s, rest_s)
    chances = live.outlook(begin_s + GRACE_S, rest_s, rest_s).arrival[:-1, 0]
    whole = 1.0 - (1.0 - chances) ** (SLOT_S / rest_s)
    return dict(zip(map(str, live.users()), whole.tolist(), strict=True))


def live_hazards(events: list[UsageEvent], asked: list[float]) -> dict[tuple[str, float], float]:
    """Hazards of the service that hears of the same events one by one."""
    live, found = ArrivalForecasts(enough_starts=1), {}
    waiting = sorted(asked)
    for event in events:
        while waiting and waiting[0] + GRACE_S < event.time_s:
            begin_s = waiting.pop(0)
            found.update({(who, begin_s): hazard for who, hazard in hazard_of_whole_slot(live, begin_s).items()})
        live.observe(event)
    return found


def assert_same(rows: list[RowUse], events: list[UsageEvent], since_s: float, every: int) -> None:
    scored = evaluated(rows, since_s)
    early = {(str(e.user), e.time_s // SLOT_S * SLOT_S) for e in events if e.time_s % SLOT_S <= GRACE_S}
    slots = sorted({begin_s for _, begin_s in scored})[::every]
    served = live_hazards(events, slots)
    both = [key for key in scored if key in served and key not in early]
    assert len(both) > 300
    assert [served[key] for key in both] == pytest.approx([scored[key] for key in both], rel=1e-4)


def test_what_is_scored_is_what_runs() -> None:
    rows = people(6, 28)
    assert_same([sessions_from_signs(n, t, 0.0 * t) for n, t in rows], signs(rows), START_S + 7 * DAY_S, every=5)


def test_what_is_scored_is_what_runs_with_sign_ins_and_sign_outs() -> None:
    generator = np.random.default_rng(3)
    events = []
    for event in signs(people(5, 20)):
        kind = generator.choice([EventKind.SIGN_IN, EventKind.SIGN_OUT, EventKind.ACTIVE], p=[0.4, 0.3, 0.3])
        events.append(replace(event, kind=kind))
    rows = [
        sessions_from_events(name, [(e.time_s, e.kind) for e in events if e.user == name])
        for name in sorted({str(e.user) for e in events})
    ]
    assert_same(rows, events, START_S + 5 * DAY_S, every=4)


@pytest.mark.skipif(not ACTIVITY.exists(), reason=f"recorded data is not at hand: {ACTIVITY.name}")
def test_recorded_what_is_scored_is_what_runs() -> None:
    since_s, until_s = (datetime(2016, month, 1, tzinfo=UTC).timestamp() for month in (3, 4))
    rows = []
    for row in read_arrival_history(ACTIVITY).rows:
        times = row.start_s[(row.start_s >= since_s) & (row.start_s < until_s)]
        if len(times):
            rows.append((row.name, times))
    busiest = sorted(rows, key=lambda pair: -len(pair[1]))[:25]
    assert sum(len(times) for _, times in busiest) > 50
    assert_same([sessions_from_signs(n, t, 0.0 * t) for n, t in busiest], signs(busiest), since_s + 20 * DAY_S, every=4)


def heard(events: list[UsageEvent], enough: int = 50) -> ArrivalForecasts:
    live = ArrivalForecasts(enough_starts=enough)
    for event in events:
        live.observe(event)
    return live


def signs(rows: list[tuple[str, Floats]]) -> list[UsageEvent]:
    pairs = sorted((time_s, name) for name, times in rows for time_s in times.tolist())
    return [UsageEvent(time_s, EventKind.ACTIVE, UserId(name)) for time_s, name in pairs]


PEOPLE = people(8, 17)
EVENTS = signs(PEOPLE)
NOW_S = START_S + 17 * DAY_S + 8.5 * 3600.0  # a Thursday morning


def same(one: ArrivalForecasts, other: ArrivalForecasts, now_s: float = NOW_S) -> None:
    mine, theirs = one.outlook(now_s, 7200.0, 300.0), other.outlook(now_s, 7200.0, 300.0)
    assert np.array_equal(mine.arrival, theirs.arrival)
    assert np.array_equal(mine.presence, theirs.presence)
    assert one.predict(None, now_s, 7200.0, 300.0) == other.predict(None, now_s, 7200.0, 300.0)


def test_the_table_answers_until_enough_was_seen() -> None:
    few = heard(EVENTS[:40])
    assert not few.uses_mixture
    assert few.weights() == {}
    assert few.outlook(NOW_S, 7200.0, 300.0).arrival == pytest.approx(
        few.table.outlook(NOW_S, 7200.0, 300.0).arrival, abs=0.0
    )
    many = heard(EVENTS)
    assert many.uses_mixture
    assert sum(many.weights().values()) == pytest.approx(1.0)
    assert many.weights(UserId("u1")) != many.weights()


def test_taking_over_late_is_having_learnt_from_the_start() -> None:
    same(heard(EVENTS, enough=1), heard(EVENTS, enough=120))


def test_asking_meanwhile_changes_nothing() -> None:
    online = ArrivalForecasts(enough_starts=50)
    for number, event in enumerate(EVENTS):
        if number % 7 == 0:
            online.outlook(event.time_s - 1.0, 7200.0, 300.0)
            online.predict(None, event.time_s - 1.0, 7200.0, 300.0)
        online.observe(event)
    same(online, heard(EVENTS))


def test_nine_in_the_morning_is_when_they_come() -> None:
    live = heard(EVENTS)
    found = live.outlook(NOW_S, 7200.0, 300.0)
    even = np.array([row for row in range(8) if int(str(live.users()[row])[1:]) % 2 == 0])
    nine, night = found.arrival[even, 6:18], live.outlook(NOW_S - 6 * 3600.0, 7200.0, 300.0).arrival[even]
    assert (1.0 - np.prod(1.0 - nine, axis=1)).mean() > 0.25
    assert (1.0 - np.prod(1.0 - night, axis=1)).mean() < 0.05
    assert found.arrival.shape == (9, 24)


def test_whoever_came_is_there_at_once_and_gone_after_signing_out() -> None:
    live = heard(EVENTS)
    user = live.users()[0]
    before = live.outlook(NOW_S + 40.0, 7200.0, 300.0)
    live.observe(UsageEvent(NOW_S + 10.0, EventKind.SIGN_IN, user))
    there = live.outlook(NOW_S + 20.0, 7200.0, 300.0)
    live.observe(UsageEvent(NOW_S + 30.0, EventKind.SIGN_OUT, user))
    gone = live.outlook(NOW_S + 40.0, 7200.0, 300.0)
    assert there.presence[0, 0] > 0.8 > before.presence[0, 0]
    assert there.arrival[0, 0] < 0.2 * before.arrival[0, 0]
    assert gone.presence[0, 0] < 0.5
    assert np.array_equal(gone.arrival[2:], before.arrival[2:])
    alone = live.outlook_of(user, NOW_S + 40.0, 7200.0, 300.0)
    assert alone.arrival[0] == pytest.approx(gone.arrival[0], rel=1e-5)


def test_a_newcomer_has_everyones_chances() -> None:
    live = heard(EVENTS)
    newcomer = live.outlook_of(UserId("new"), NOW_S, 48 * 3600.0, 3600.0)
    assert newcomer.arrival.shape == (1, 48)
    assert newcomer.arrival[0, 1:3].mean() > 3.0 * newcomer.arrival[0, 16:20].mean()
    assert live.predict(UserId("new"), NOW_S, 3600.0, 3600.0).expected[0] > 0.0


@pytest.mark.parametrize("enough", [50, 10_000])
def test_a_forgotten_person_leaves_nothing(enough: int) -> None:
    live, never = heard(EVENTS, enough), heard([e for e in EVENTS if e.user != "u0"], enough)
    live.outlook(NOW_S, 7200.0, 300.0)
    live.forget(UserId("u0"))
    assert UserId("u0") not in live.users()
    assert len(live.users()) == 7
    for user in (*never.users(), UserId("u0")):
        mine, theirs = (one.outlook_of(user, NOW_S, 3600.0, 3600.0).arrival[0, 0] for one in (live, never))
        assert mine == pytest.approx(theirs, rel=0.25), user
    mine, theirs = (sum(one.predict(None, NOW_S, 3600.0, 3600.0).expected) for one in (live, never))
    assert mine == pytest.approx(theirs, rel=0.25)
    for user in live.users():
        live.forget(user)
    live.forget(UserId("nobody"))
    assert live.users() == ()
    assert live.outlook(NOW_S, 3600.0, 3600.0).arrival.shape == (1, 1)
    live.observe(UsageEvent(NOW_S, EventKind.SIGN_IN, UserId("again")))
    assert live.outlook(NOW_S + 60.0, 300.0, 300.0).presence[0, 0] > 0.5


def test_everyone_together_is_the_sum_of_people() -> None:
    live = heard(EVENTS)
    curve = live.predict(None, NOW_S + 1800.0, 3600.0, 300.0)
    people_sum = live.outlook(NOW_S + 1800.0, 3600.0, 3600.0).arrival[:-1].sum()
    assert len(curve.expected) == 12
    assert sum(curve.expected) == pytest.approx(people_sum, rel=0.5)
    assert curve.dispersion >= 1.0
    night = live.predict(None, NOW_S - 6 * 3600.0, 3600.0, 300.0)
    assert sum(night.expected) < 0.2 * sum(curve.expected)
    week = live.predict(None, NOW_S, 7 * DAY_S, 3600.0)
    assert len(week.expected) == 168


def test_shared_desktops_count_for_everyone() -> None:
    events = [
        UsageEvent(START_S + day * DAY_S + 9 * 3600.0 + 60 * k, EventKind.DESKTOP_STATE, desktop=f"d{k}", detail=state)
        for day in range(30)
        for k in range(10)
        for state in ("in-use", "available")
    ]
    live = heard(events)
    assert live.uses_mixture
    assert live.users() == ()
    at_nine = sum(live.predict(None, START_S + 30 * DAY_S + 9 * 3600.0, 3600.0, 600.0).expected)
    assert at_nine == pytest.approx(10.0, rel=0.3)


@pytest.mark.parametrize("now_s", [-1e300, -1.0, 0.0, START_S - 1e7, NOW_S + 1e7, 4.1e9])
def test_odd_times_do_not_age_anybody(now_s: float) -> None:
    live = heard(EVENTS)
    odd = min(max(now_s, 0.0), 4.1e9)
    chances = live.outlook(odd, 7200.0, 300.0)
    assert np.isfinite(chances.arrival).all()
    assert chances.arrival.min() >= 0.0
    late = UsageEvent(EVENTS[0].time_s, EventKind.SIGN_IN, UserId("late"))
    live.observe(late)
    live.observe(late)
    assert UserId("late") in live.users()
    assert 0.0 <= live.outlook(NOW_S, 7200.0, 300.0).arrival.max() <= 1.0


def test_years_of_silence_are_passed_over() -> None:
    live = heard([*EVENTS, UsageEvent(START_S + 3000 * DAY_S, EventKind.SIGN_IN, UserId("u1"))])
    found = live.outlook(START_S + 3000 * DAY_S + 60.0, 7200.0, 300.0)
    assert found.presence[list(live.users()).index(UserId("u1")), 0] > 0.9
    assert np.isfinite(found.arrival).all()


def test_a_person_takes_less_than_two_kibibytes() -> None:
    live = ArrivalForecasts(enough_starts=50)
    for number in range(3000):
        live.observe(UsageEvent(START_S + number, EventKind.SIGN_IN, UserId(f"u{number}")))
    live.outlook(START_S + 3600.0, 7200.0, 300.0)
    assert live.uses_mixture
    assert live.hot_bytes() / 3000 <= 2048


def test_clocks_that_change_keep_the_hour() -> None:
    """Nine by the clock in Berlin, before and after the 30th of March 2025."""
    live = ArrivalForecasts("Europe/Berlin", enough_starts=50)
    for day in range(42, 83):  # winter time until Sunday, 2025-03-30
        for number in range(3):
            time_s = START_S + day * DAY_S + 8 * 3600.0 + 600.0 * number
            if day % 7 < 5:
                live.observe(UsageEvent(time_s, EventKind.SIGN_IN, UserId(f"u{number}")))
                live.observe(UsageEvent(time_s + 3000.0, EventKind.SIGN_OUT, UserId(f"u{number}")))
    summer_s = START_S + 84 * DAY_S + 7 * 3600.0  # Monday 09:00 in summer time
    for _ in range(4):
        live.outlook(summer_s - 3600.0, 7200.0, 3600.0)
    found = live.outlook(summer_s - 3600.0, 7200.0, 3600.0).arrival[:-1].mean(axis=0)
    assert found[1] > 0.4
    assert found[0] < 0.15
