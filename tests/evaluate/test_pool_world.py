"""The pool world: it counts what it says it counts, whatever is held and whenever people come."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.allocator.policies.seam import Decision, Moment, Observed
from ghostdesk.allocator.policies.static_pool import StaticPool
from ghostdesk.evaluate.arrivals_timeline import RowUse
from ghostdesk.evaluate.pool_world import PoolRules, Uses, judge, uses_of

DAY_S = 86_400.0


@dataclass
class Told:
    """Holds what it was told to hold, minute by minute, and keeps what it sees."""

    targets: list[int]
    moments: list[Moment] = field(default_factory=list)
    seen: list[Observed] = field(default_factory=list)

    def grow(self, rows: int) -> None:
        """Rows do not matter."""

    def observe(self, observed: Observed) -> None:
        self.seen.append(observed)

    def decide(self, moment: Moment) -> Decision:
        self.moments.append(moment)
        return Decision(self.targets[(len(self.moments) - 1) % len(self.targets)], None, "told", "told")


def uses(starts: list[float], use_s: float = 600.0) -> Uses:
    start_s = np.array(sorted(starts), dtype=np.float64)
    row = np.arange(len(start_s))
    return Uses(len(start_s), start_s, row, start_s + use_s, row)


times = st.lists(st.integers(0, 7_199).map(float), max_size=60)
targets = st.lists(st.integers(0, 6), min_size=1, max_size=120)


@given(times, targets, st.sampled_from([1.0, 45.0, 60.0, 120.0, 333.0]), st.sampled_from([0.0, 0.5]))
@settings(max_examples=80, deadline=None)
def test_ghosts_are_conserved_and_every_start_hits_or_misses(
    starts: list[float], held: list[int], lead_s: float, spread: float
) -> None:
    policy = Told(held)
    (cost,) = judge([policy], uses(starts), PoolRules(0.0, 0.0, 7_200.0, lead_s, spread))
    hits = cost.starts - cost.misses
    assert cost.starts == len(starts)
    assert sum(one.misses for one in policy.seen) == cost.misses
    assert sum(len(one.started_s) for one in policy.seen) == len(starts)
    # The first ghosts are made at the first moment: all that ever were are counted as boots.
    assert cost.held[0] in (0, held[0]) or cost.held[0] == held[0]
    assert cost.boots == hits + cost.removed + cost.held[1]
    # Whoever was handed out had been made: idle time holds all of those times.
    if not spread:
        assert cost.idle_s >= lead_s * (hits + cost.removed) - 1e-6
        assert cost.boot_s == pytest.approx(lead_s * cost.boots)
    assert sum(starts_ for starts_, _ in cost.months.values()) == cost.starts
    for moment in policy.moments:
        assert moment.ready >= 0 and moment.coming >= 0


@given(times, st.integers(0, 8))
@settings(max_examples=40, deadline=None)
def test_a_static_pool_idles_for_its_size_times_the_hours(starts: list[float], ghosts: int) -> None:
    (cost,) = judge([StaticPool(ghosts)], uses(starts), PoolRules(0.0, 0.0, 7_200.0))
    assert cost.idle_hours == pytest.approx(ghosts * 2.0)


@given(times, st.sampled_from([30.0, 120.0]))
@settings(max_examples=40, deadline=None)
def test_a_static_pool_misses_as_a_loss_system_does(starts: list[float], lead_s: float) -> None:
    """Each ghost is away for a lead time after it was taken; counted here anew, without ghosts."""
    (cost,) = judge([StaticPool(3)], uses([s + 1_000.0 for s in starts]), PoolRules(0.0, 0.0, 9_000.0, lead_s))
    away: list[float] = []
    missed = 0
    for start_s in sorted(s + 1_000.0 for s in starts):
        away = [back_s for back_s in away if back_s > start_s]
        if len(away) == 3:
            missed += 1
        else:
            away.append(start_s + lead_s)
    assert cost.misses == missed


def test_policies_side_by_side_get_what_they_get_alone() -> None:
    starts = uses([float(k * 37 % 7_000) for k in range(150)])
    rules = PoolRules(0.0, 1_800.0, 7_200.0, 120.0, 0.4, seed=5)
    together = judge([StaticPool(2), Told([0, 3, 1])], starts, rules)
    assert together == [judge([StaticPool(2)], starts, rules)[0], judge([Told([0, 3, 1])], starts, rules)[0]]


def test_what_lies_before_the_score_is_seen_and_counts_for_nothing() -> None:
    policy = Told([2])
    (cost,) = judge([policy], uses([100.0, 200.0, 4_000.0]), PoolRules(0.0, 3_600.0, 7_200.0))
    assert (cost.starts, cost.misses, cost.idle_hours, cost.held) == (1, 0, pytest.approx(2.0), (2, 2))
    assert sum(len(one.started_s) for one in policy.seen) == 3


def test_a_moment_tells_who_is_in_use_and_who_idles_since_when() -> None:
    policy = Told([1])
    judge([policy], uses([30.0, 90.0], use_s=100.0), PoolRules(0.0, 0.0, 300.0))
    assert [moment.active for moment in policy.moments] == [0, 1, 2, 1, 0]
    idle = policy.moments[3].idle_s
    assert idle[0] == pytest.approx(50.0) and np.isnan(idle[1])
    assert np.isposinf(policy.moments[0].idle_s).all()


def test_surplus_goes_when_the_target_falls_but_what_is_being_made_is_kept() -> None:
    policy = Told([3, 3, 3, 5, 0, 0, 0])
    (cost,) = judge([policy], uses([]), PoolRules(0.0, 0.0, 420.0))
    counts = [(moment.ready, moment.coming) for moment in policy.moments]
    assert counts == [(0, 0), (0, 3), (3, 0), (3, 0), (3, 2), (2, 0), (0, 0)] or counts[4:] == [(3, 2), (0, 2), (2, 0)]
    assert cost.removed == 5


def test_a_negative_target_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 ghosts"):
        judge([Told([-1])], uses([]), PoolRules(0.0, 0.0, 60.0))


def test_uses_of_rows_are_in_the_order_of_time() -> None:
    one = RowUse("a", np.array([5.0, 50.0]), np.array([40.0, 60.0]), np.zeros(2), 60.0)
    two = RowUse("b", np.array([7.0]), np.array([9.0]), np.zeros(1), 60.0)
    all_uses = uses_of([one, two])
    assert all_uses.started.tolist() == [0, 1, 0] and all_uses.ended.tolist() == [1, 0, 0]
    assert all_uses.end_s.tolist() == [9.0, 40.0, 60.0]
