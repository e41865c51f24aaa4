"""Lead times with a spread, and the demand within them."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ghostdesk.allocator.fleet.pool import pool_demand
from ghostdesk.allocator.fleet.values import FleetPool
from ghostdesk.allocator.lead_time import LeadTime, expected_over, mixed_distribution
from ghostdesk.profiles.forecast import ArrivalCurve
from ghostdesk.profiles.newsvendor import pool_target


@given(st.floats(0.1, 1e4), st.floats(0.0, 1.0))
def test_the_times_that_stand_for_it_have_its_mean_and_spread(mean_s: float, spread: float) -> None:
    times_s, shares = LeadTime(mean_s, spread).possible_s()
    assert shares.sum() == pytest.approx(1.0)
    assert times_s @ shares == pytest.approx(mean_s, rel=1e-4)
    logs = np.log(times_s)
    assert np.sqrt(shares @ (logs - logs @ shares) ** 2) == pytest.approx(spread, abs=1e-6)


def test_what_was_measured() -> None:
    guess = LeadTime.measured((), 5.0)
    assert (guess.mean_s, guess.spread) == (5.0, 0.3)
    steady = LeadTime.measured([2.0] * 20, 5.0)
    assert steady.mean_s == 2.0
    assert 0 < steady.spread < 0.1
    rng = np.random.default_rng(0)
    wild = LeadTime.measured(rng.lognormal(1.0, 0.8, 20), 5.0)
    assert 0.5 < wild.spread < 1.1
    assert LeadTime.measured([float("nan"), -1.0, 0.0], 5.0) == guess
    assert LeadTime(float("nan"), float("nan")) == LeadTime(0.001, 0.0)


def _wanted(lead: LeadTime, per_s: float) -> int:
    expected, shares = expected_over(ArrivalCurve(0.0, 1e6, (per_s * 1e6,)), 0.0, lead)
    return pool_demand(FleetPool(expected, shares, 1.0, 1.0, np.ones(1), 0.99), 0.0).wanted


def test_without_a_spread_it_is_the_newsvendors_quantile() -> None:
    for per_s in (0.001, 0.02, 0.3, 2.0):
        assert _wanted(LeadTime(60.0), per_s) == pool_target(60.0 * per_s, 1.0, 0.99)


def test_a_lead_time_that_varies_needs_more_ghosts_as_a_simulation_shows() -> None:
    steady, varying = _wanted(LeadTime(60.0), 0.2), _wanted(LeadTime(60.0, 0.5), 0.2)
    assert varying > steady + 5
    rng = np.random.default_rng(2)
    times_s = rng.lognormal(np.log(60.0) - 0.125, 0.5, 200_000)
    demand = rng.poisson(0.2 * times_s)
    assert (demand <= steady).mean() < 0.95, "the quantile at the mean lead time misses its target"
    assert (demand <= varying).mean() == pytest.approx(0.99, abs=0.004)


@given(st.lists(st.floats(0, 50), min_size=1, max_size=5), st.floats(1, 5))
def test_mixtures_are_distributions(means: list[float], dispersion: float) -> None:
    shares = np.full(len(means), 1 / len(means))
    mixed = mixed_distribution(np.array(means), shares, dispersion)
    assert mixed.sum() == pytest.approx(1.0)
    assert mixed @ np.arange(len(mixed)) == pytest.approx(np.mean(means), abs=1e-6)
