"""The service target is kept over a month, whatever the forecast gets wrong."""

import math
from functools import cache

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ghostdesk.allocator.service_target import ServiceTarget
from ghostdesk.profiles.newsvendor import pool_target

_target = cache(pool_target)


def _month(seed: int, *, bias: float, drift: float, dispersion: float, days: int, corrected: bool) -> float:
    """Share of hits over the last 30 days: a synthetic office day, forecasts off by `bias` that drifts from day to day,
    2-minute lead times, counts more dispersed than the forecast says (1.2)."""
    rng = np.random.default_rng(seed)
    service, hits, misses = ServiceTarget(0.99), 0, 0
    for day in range(days):
        bias = min(max(bias * math.exp(rng.normal(0.0, drift)), 0.4), 2.5)
        for hour in np.arange(7.0, 18.0, 1 / 15):
            mean = 4.0 * (math.exp(-(((hour - 9.5) / 2) ** 2)) + 0.5 * math.exp(-(((hour - 14) / 2) ** 2)) + 0.02)
            demand = int(rng.negative_binomial(mean / (dispersion - 1), 1 / dispersion))
            quantile = service.quantile() if corrected else 0.99
            held = _target(round(mean * bias, 2), 1.2, 1 - float(f"{1 - quantile:.2g}"))
            missed = max(0, demand - held)
            service = service.observe(demand - missed, missed)
            if day >= days - 30:
                hits, misses = hits + demand - missed, misses + missed
    return hits / (hits + misses)


@pytest.mark.parametrize(
    ("bias", "drift", "dispersion"), [(1.0, 0.0, 1.5), (0.6, 0.0, 1.5), (2.0, 0.0, 1.5), (1.0, 0.1, 2.0)]
)
def test_asked_for_99_per_cent_a_month_gives_it(bias: float, drift: float, dispersion: float) -> None:
    kept = _month(5, bias=bias, drift=drift, dispersion=dispersion, days=37, corrected=True)
    assert 0.988 <= kept <= 0.995
    if bias < 1 or drift:
        alone = _month(5, bias=bias, drift=drift, dispersion=dispersion, days=37, corrected=False)
        assert abs(alone - 0.99) > abs(kept - 0.99), "the forecast alone does worse"


@given(st.floats(0.5, 0.9999), st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=60))
def test_the_quantile_stays_in_its_bounds_and_moves_the_right_way(asked: float, history: list[tuple[int, int]]) -> None:
    service = ServiceTarget(asked)
    assert service.quantile() == pytest.approx(asked)
    for hits, misses in history:
        before, service = service.quantile(), service.observe(hits, misses)
        assert 0.5 - 1e-9 <= service.quantile() < 1.0
        if misses == 0:
            assert service.quantile() <= before + 1e-12
        if hits == 0:
            assert service.quantile() >= before - 1e-12
        assert 0 <= service.missed <= service.starts + 1e-9 <= 400.1 + hits + misses


def test_a_catastrophe_is_not_paid_back_for_ever() -> None:
    after = ServiceTarget(0.99).observe(0, 100_000)
    assert after.quantile() > 0.99999
    recovered = after.observe(4000, 0)
    assert recovered.quantile() < 0.995, "anti-windup: some thousand good starts later it is as before"
    quiet = ServiceTarget(0.99).observe(1_000_000, 0)
    assert quiet.observe(0, 30).quantile() > 0.99, "and a perfect year allows no bad day"


def test_it_says_why() -> None:
    assert ServiceTarget(0.99).why() == ""
    raised = ServiceTarget(0.99).observe(390, 10)
    assert "raised from 0.99 to 0.99" in raised.why()
    assert "97.5% of the last 400 starts found a ready desktop" in raised.why()
    assert "lowered" in ServiceTarget(0.99).observe(2000, 0).why()
    assert "last 400 starts" in ServiceTarget(0.99).observe(2000, 0).why()


def test_odd_input() -> None:
    assert ServiceTarget(float("nan")).quantile() == pytest.approx(0.99)
    assert ServiceTarget(2.0).quantile() < 1.0
    assert ServiceTarget(0.99).observe(-5, -5) == ServiceTarget(0.99)
