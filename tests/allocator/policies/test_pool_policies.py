"""Every policy for pools: never below nothing, blind to the future, alone as together; and each one's own rule."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.allocator.policies import marginal_value
from ghostdesk.allocator.policies.adaptive_count import AdaptiveCount
from ghostdesk.allocator.policies.catalogue import POOL_FAMILIES
from ghostdesk.allocator.policies.hour_quantile import HourQuantile
from ghostdesk.allocator.policies.minute_counts import MinuteCounts, reach_minutes
from ghostdesk.allocator.policies.sample_average import SampleAverage
from ghostdesk.allocator.policies.schedule import OFF_PEAK, Phase, SchedulePlan
from ghostdesk.allocator.policies.seam import Decision, Moment, Observed, Policy, PolicyFamily
from ghostdesk.allocator.policies.spare_buffer import SpareBuffer

WEEK_S = 604_800.0
MONDAY_S = 4 * 86_400.0
EVERY = [pytest.param(family, id=family.name) for family in POOL_FAMILIES]


def moment(now_s: float, active: int = 0, lead_s: float = 120.0) -> Moment:
    return Moment(now_s, 0.0, now_s + 60.0, lead_s, 0.0, 0, 0, active, np.zeros(0))


def live(policy: Policy, minutes: int, starts: Sequence[float], from_s: float = MONDAY_S) -> list[int]:
    """The targets of each minute; starts are seconds since the beginning, and last five minutes."""
    policy.grow(1)
    start_s = from_s + np.array(sorted(starts))
    end_s = start_s + 300.0
    edges = from_s + 60.0 * np.arange(minutes + 1)
    starts_at, ends_at = np.searchsorted(start_s, edges), np.searchsorted(end_s, edges)
    targets = []
    for k in range(minutes):
        a, b, c, d = starts_at[k], starts_at[k + 1], ends_at[k], ends_at[k + 1]
        decision: Decision = policy.decide(moment(float(edges[k]), int(a - c)))
        assert decision.code and decision.why
        targets.append(decision.target)
        none = np.zeros(b - a, dtype=np.int64)
        gone = np.zeros(d - c, dtype=np.int64)
        policy.observe(Observed(edges[k], edges[k + 1], none, start_s[a:b], gone, end_s[c:d], int(b - a > 2)))
    return targets


@pytest.mark.parametrize("family", EVERY)
@given(
    past=st.lists(st.integers(0, 7_199).map(float), max_size=40),
    one=st.lists(st.integers(7_200, 14_399).map(float), max_size=40),
    other=st.lists(st.integers(7_200, 14_399).map(float), max_size=40),
)
@settings(max_examples=8, deadline=None)
def test_the_future_changes_no_decision_of_the_past(
    family: PolicyFamily, past: list[float], one: list[float], other: list[float]
) -> None:
    setting = family.settings[len(family.settings) // 2]
    mine = live(setting.make(), 200, past + one)
    theirs = live(setting.make(), 200, past + other)
    assert mine[:121] == theirs[:121]
    assert min(mine) >= 0


@pytest.mark.parametrize("family", [p for p in EVERY if p.values[0].together is not None])
def test_settings_that_share_decide_as_they_would_alone(family: PolicyFamily, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marginal_value, "_LEARNT_STEPS", 5)
    monkeypatch.setattr(marginal_value, "_SETTLE_MINUTES", 7)
    rng = np.random.default_rng(4)
    starts = np.sort(rng.uniform(0, 3 * 86_400, 900)).tolist()
    assert family.together is not None
    shared = list(family.together())
    assert len(shared) == len(family.settings)
    alone = [live(setting.make(), 1_500, starts) for setting in family.settings[::5]]
    assert _side_by_side(shared, 1_500, starts)[::5] == alone


def _side_by_side(policies: Sequence[Policy], minutes: int, starts: Sequence[float]) -> list[list[int]]:
    start_s = MONDAY_S + np.array(starts)
    end_s = start_s + 300.0
    targets: list[list[int]] = [[] for _ in policies]
    for k in range(minutes):
        a_s, b_s = MONDAY_S + 60.0 * k, MONDAY_S + 60.0 * (k + 1)
        here = start_s[(start_s >= a_s) & (start_s < b_s)]
        gone = end_s[(end_s >= a_s) & (end_s < b_s)]
        active = int((start_s < a_s).sum() - (end_s < a_s).sum())
        for policy, kept in zip(policies, targets, strict=True):
            kept.append(policy.decide(moment(a_s, active)).target)
            rows, ended = np.zeros(len(here), dtype=np.int64), np.zeros(len(gone), dtype=np.int64)
            policy.observe(Observed(a_s, b_s, rows, here, ended, gone, int(len(here) > 2)))
    return targets


@pytest.mark.parametrize("family", EVERY)
def test_a_clock_that_jumps_breaks_nothing(family: PolicyFamily) -> None:
    policy = family.settings[-1].make()
    policy.grow(3)
    for now_s in (MONDAY_S, MONDAY_S + 5.0, MONDAY_S + 61.0, MONDAY_S - 4_000.0, MONDAY_S + 40 * WEEK_S):
        assert policy.decide(moment(now_s)).target >= 0
        policy.observe(Observed(now_s, now_s + 5.0, np.zeros(2, dtype=np.int64), np.array([now_s, now_s + 1.0])))


@pytest.mark.parametrize("family", EVERY)
def test_names_and_settings_tell_apart(family: PolicyFamily) -> None:
    labels = [setting.label for setting in family.settings]
    assert len(set(labels)) == len(labels) > 0
    assert family.title and family.source


def test_a_buffer_follows_what_is_in_use() -> None:
    policy = SpareBuffer(0.1, 2)
    assert [policy.decide(moment(0.0, active)).target for active in (0, 20, 21, 200)] == [2, 2, 3, 20]


def test_a_schedule_follows_its_phases() -> None:
    policy = SchedulePlan(0.1)
    hours = (3, 8, 10, 19, 23)
    policy.decide(moment(MONDAY_S, 200))
    targets = [policy.decide(moment(MONDAY_S + 3_600.0 * hour, 100)).target for hour in hours]
    assert targets == [5, 10, 20, 10, 5]
    assert policy.decide(moment(MONDAY_S + 5 * 86_400.0 + 36_000.0)).code == "ramp-up"
    with pytest.raises(ValueError, match="begin at 0"):
        SchedulePlan(0.1, (Phase("late", 3.0, 1.0),), (OFF_PEAK,))


@pytest.mark.parametrize("make", [lambda: HourQuantile(0.95), lambda: SampleAverage(19.0), lambda: AdaptiveCount(0.95)])
def test_habits_of_the_week_are_met_where_they_were(make: Callable[[], Policy]) -> None:
    """Twenty starts a minute from nine to ten, every day for three weeks, and none at night."""
    starts = [86_400.0 * day + 32_400.0 + 3.0 * k for day in range(22) for k in range(1_200)]
    targets = live(make(), 22 * 1_440, starts)
    last = targets[21 * 1_440 :]
    # Eight weeks of the very same leave a quantile no spread; the count that knows only rates keeps some.
    assert 55 <= max(last[9 * 60 + 20 : 9 * 60 + 50]) <= 85
    assert max(last[2 * 60 : 5 * 60]) <= 1


def test_minutes_are_kept_by_week_and_forgotten() -> None:
    counts = MinuteCounts(2)
    for week in range(5):
        counts.turn(moment(MONDAY_S + week * WEEK_S))
        start_s = MONDAY_S + week * WEEK_S + 120.0
        counts.observe(Observed(start_s, start_s + 60.0, np.zeros(1, dtype=np.int64), np.full(week + 1, start_s)))
    assert counts.before(2, 1)[:, 0].tolist() == [3.0, 4.0]
    assert counts.windows(0, 3, 3).tolist() == [[3.0, 3.0, 3.0], [4.0, 4.0, 4.0]]
    assert reach_minutes(moment(0.0, lead_s=120.0)) == 3
