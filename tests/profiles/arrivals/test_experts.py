"""Every arrival expert: chances in range, learns a habit, forgets a row, and leaves the other rows alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.profiles.arrivals.base_rate import BaseRate
from ghostdesk.profiles.arrivals.experts import simple_experts, with_recency
from ghostdesk.profiles.arrivals.hour_by_idle import HourByIdle
from ghostdesk.profiles.arrivals.hour_of_week import HourOfWeek
from ghostdesk.profiles.arrivals.hybrid_histogram import IdleHistograms
from ghostdesk.profiles.arrivals.recent_ratio import RecentRatio
from ghostdesk.profiles.arrivals.seam import HazardExpert, SlotBlock, SlotOutcome
from ghostdesk.profiles.arrivals.weekday_rule import WeekdayRule

HOUR_S = 3600
NINE_ON_MONDAY = 9


def block(
    hour_of_week: int, week: int = 0, rows: tuple[int, ...] = (0,), idle_s: float = 50_000.0, at_risk: bool = True
) -> SlotBlock:
    shape = (len(rows), 1)
    return SlotBlock(
        rows=np.array(rows),
        slot_s=HOUR_S,
        week=np.full(shape, week),
        week_s=np.full(shape, hour_of_week * float(HOUR_S)),
        idle_s=np.full(shape, idle_s),
        at_risk=np.full(shape, at_risk),
    )


def outcome(started: bool, rows: int = 1, idle_s: float = 50_000.0) -> SlotOutcome:
    shape = (rows, 1)
    return SlotOutcome(np.full(shape, started), np.full(shape, started), np.full(shape, idle_s if started else np.nan))


def live(expert: HazardExpert, weeks: int, row: int = 0) -> None:
    """A person who comes on Mondays at nine, and at no other time."""
    for week in range(weeks):
        for hour in range(168):
            came = hour == NINE_ON_MONDAY
            there = SlotOutcome(np.array([[came]]), np.array([[came]]), np.array([[50_000.0 if came else np.nan]]))
            expert.learn(block(hour, week, (row,)), there)


def everyone(rows: int) -> list[HazardExpert]:
    simple = simple_experts()
    experts = [*with_recency(simple[-1]), *simple]
    for expert in experts:
        expert.grow(rows)
    return experts


@pytest.mark.parametrize("expert", [HourOfWeek(), HourByIdle(), WeekdayRule()], ids=lambda e: e.name)
def test_learns_the_hour_of_the_week(expert: HazardExpert) -> None:
    expert.grow(1)
    live(expert, 8)
    monday, tuesday = (
        expert.hazards(block(NINE_ON_MONDAY, 8))[0, 0],
        expert.hazards(block(NINE_ON_MONDAY + 24, 8))[0, 0],
    )
    assert monday > 0.3  # eight weeks of one person prove no certainty
    assert tuesday < 0.05


def test_base_rate_is_the_share_of_slots_with_a_start() -> None:
    expert = BaseRate()
    expert.grow(1)
    for slot in range(2000):
        expert.learn(block(slot % 168), outcome(slot % 10 == 0))
    assert expert.hazards(block(0))[0, 0] == pytest.approx(0.1, rel=0.05)


def test_long_slots_with_likely_starts_are_not_underestimated() -> None:
    expert = HourByIdle()
    expert.grow(1)
    for slot in range(3000):
        expert.learn(block(5), outcome(slot % 2 == 0))
    assert expert.hazards(block(5))[0, 0] == pytest.approx(0.5, abs=0.03)


def test_idle_age_tells_apart_what_the_hour_cannot() -> None:
    expert = HourByIdle()
    expert.grow(1)
    for slot in range(400):
        short = slot % 2 == 0
        expert.learn(block(5, idle_s=1_000.0 if short else 90_000.0), outcome(short))
    assert expert.hazards(block(5, idle_s=1_000.0))[0, 0] > 0.8
    assert expert.hazards(block(5, idle_s=90_000.0))[0, 0] < 0.2


def test_recent_ratio_of_everyone_sees_a_closed_day() -> None:
    base = HourOfWeek()
    recent = RecentRatio(base, 6 * 3600.0, pooled=True, name="recent")
    rows = tuple(range(20))
    for expert in (recent, base):
        expert.grow(20)
    for week in range(6):
        for hour in range(168):
            for expert in (recent, base):
                expert.learn(block(hour, week, rows), outcome(hour % 24 in (8, 9, 10), 20))
    for expert in (recent, base):
        expert.learn(block(8, 6, rows), outcome(False, 20))
    assert recent.hazards(block(9, 6, rows)).mean() < 0.5 * base.hazards(block(9, 6, rows)).mean()


def test_a_slot_in_use_teaches_no_hazard() -> None:
    for expert in everyone(1):
        before = expert.hazards(block(3))
        expert.learn(block(3, at_risk=False), outcome(False))
        assert expert.hazards(block(3)) == pytest.approx(before, rel=1e-6)


def lived_mondays(rows: tuple[int, ...]) -> list[HazardExpert]:
    """Four weeks of these rows of three; all come on Mondays at nine."""
    experts = everyone(3)
    for slot in range(4 * 168):
        week, hour = divmod(slot, 168)
        now, came = block(hour, week, rows), outcome(hour == NINE_ON_MONDAY, len(rows))
        for expert in experts:
            expert.hazards(now)
        for expert in experts:
            expert.learn(now, came)
    return experts


def chances(experts: list[HazardExpert], hour: int, row: int) -> list[float]:
    return [float(expert.hazards(block(hour, 5, (row,)))[0, 0]) for expert in experts]


def test_a_forgotten_row_is_gone_from_everyones_too() -> None:
    forgetful, never = lived_mondays((0, 1)), lived_mondays((1,))
    for expert in forgetful:
        expert.forget(0)
    for hour in (NINE_ON_MONDAY, 50):
        assert chances(forgetful, hour, 1) == pytest.approx(chances(never, hour, 1), rel=0.15)
        assert chances(forgetful, hour, 0) == pytest.approx(chances(forgetful, hour, 2))


def test_a_moved_row_takes_everything_along() -> None:
    experts = lived_mondays((0, 2))
    before, newcomer = chances(experts, NINE_ON_MONDAY, 2), chances(experts, NINE_ON_MONDAY, 1)
    for expert in experts:
        expert.move(2, 1)
    assert chances(experts, NINE_ON_MONDAY, 1) == pytest.approx(before)
    assert chances(experts, NINE_ON_MONDAY, 2) == pytest.approx(newcomer)


def test_grows_without_losing_anything() -> None:
    experts = everyone(1)
    for expert in experts:
        live(expert, 3)
    before = [expert.hazards(block(NINE_ON_MONDAY, 3)) for expert in experts]
    for expert in experts:
        expert.grow(1000)
    for expert, kept in zip(experts, before, strict=True):
        assert expert.hazards(block(NINE_ON_MONDAY, 3)) == pytest.approx(kept), expert.name


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 167),
            st.integers(0, 40),
            st.floats(0.0, 1e9) | st.just(float("inf")),
            st.booleans(),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_chances_stay_in_range_whatever_happens(story: list[tuple[int, int, float, bool, bool]]) -> None:
    experts = everyone(2)
    for expert in experts:
        for hour, week, idle_s, at_risk, started in story:
            now = block(hour, week, (0, 1), idle_s, at_risk)
            said = expert.hazards(now)
            assert said.shape == (2, 1)
            assert np.isfinite(said).all() and (said > 0.0).all() and (said < 1.0).all(), expert.name
            expert.learn(now, outcome(started, 2, idle_s))


def test_weekday_rule_needs_two_of_three_weeks_or_of_seven() -> None:
    def told(weeks: set[int]) -> bool:
        rule = WeekdayRule()
        rule.grow(1)
        for week in range(8):
            rule.learn(block(50, week), outcome(week in weeks))
        return bool(rule.inside(block(50, 8))[0, 0])

    assert told({6, 7})
    assert told({1, 3})
    assert not told({7})
    assert not told({0, 7})  # eight weeks ago is too long


def test_weekday_rule_refuses_cells_that_do_not_fit_a_week() -> None:
    with pytest.raises(ValueError, match="whole number"):
        WeekdayRule(5000)


def histogram(idle_minutes: list[float]) -> IdleHistograms:
    idle = IdleHistograms()
    idle.grow(1)
    for minutes in idle_minutes:
        idle.add(0, minutes * 60.0)
    return idle


def test_hybrid_histogram_keeps_ready_from_head_to_tail_with_margins() -> None:
    idle = histogram([30.5] * 50 + [40.5] * 50)
    low_s, high_s = idle.window_s(0, 4 * 3600.0)
    assert low_s == pytest.approx(0.9 * 30 * 60)
    assert high_s == pytest.approx(1.1 * 41 * 60)


def test_hybrid_histogram_takes_the_whole_range_where_idle_times_are_spread() -> None:
    assert histogram([i + 0.5 for i in range(240)]).window_s(0, 4 * 3600.0) == (0.0, 4 * 3600.0)
    assert histogram([]).window_s(0, 4 * 3600.0) == (0.0, 4 * 3600.0)


def test_hybrid_histogram_follows_the_series_beyond_its_range() -> None:
    idle = histogram([600.0 if i % 2 else 1200.0 for i in range(40)])  # minutes; the last is 600
    low_s, high_s = idle.window_s(0, 4 * 3600.0)
    assert (low_s, high_s) == pytest.approx((0.85 * 1200 * 60, 1.15 * 1200 * 60), rel=0.05)


def test_idle_times_that_are_unknown_or_impossible_are_passed_over() -> None:
    idle = histogram([float("inf"), float("nan"), -5.0])
    assert idle.totals[0] == 0


def test_a_million_idle_times_of_one_row_do_not_overflow() -> None:
    idle = IdleHistograms(3600.0)
    idle.grow(1)
    for _ in range(70_000):
        idle.add(0, 100.0)
    low_s, high_s = idle.window_s(0, 3600.0)
    assert low_s <= 100.0 <= high_s
