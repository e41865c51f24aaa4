"""The pool's size against exact sums with rational numbers and the standard library."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.profiles.newsvendor import count_distribution, pool_target


def exact_poisson(mean: float, rate: float) -> int:
    term, total, k = math.exp(-mean), math.exp(-mean), 0
    while total < rate:
        k += 1
        term *= mean / k
        total += term
    return k


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("mean", [0.01, 0.5, 3.0, 40.0])
def test_poisson_quantiles_are_exact(mean: float, rate: float) -> None:
    assert pool_target(mean, 1.0, rate) == exact_poisson(mean, rate)


def test_negative_binomial_sums_are_exact() -> None:
    # Mean 6 and variance 12: successes before the sixth failure, each with probability one half.
    exact = [Fraction(math.comb(k + 5, k), 2 ** (k + 6)) for k in range(60)]
    found = count_distribution(6.0, 2.0)
    for k, share in enumerate(exact):
        assert found[k] == pytest.approx(float(share), rel=1e-9)
    for rate in (Fraction(1, 2), Fraction(9, 10), Fraction(99, 100)):
        total, k = Fraction(0), -1
        while total < rate:
            k += 1
            total += exact[k]
        assert pool_target(6.0, 2.0, float(rate)) == k


@given(st.floats(0.0, 5e3), st.floats(1.0, 50.0))
def test_the_distribution_has_the_mean_and_dispersion_asked_for(mean: float, dispersion: float) -> None:
    shares = count_distribution(mean, dispersion)
    k = range(len(shares))
    got = sum(i * p for i, p in zip(k, shares, strict=True))
    assert sum(shares) == pytest.approx(1.0)
    assert got == pytest.approx(mean, rel=1e-6, abs=1e-9)
    variance = sum((i - got) ** 2 * p for i, p in zip(k, shares, strict=True))
    assert variance == pytest.approx(mean * dispersion, rel=1e-4, abs=1e-9)


@given(st.floats(0.0, 500.0), st.floats(1.0, 20.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_higher_target_never_needs_fewer(mean: float, dispersion: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= pool_target(mean, dispersion, low) <= pool_target(mean, dispersion, high)


@given(st.floats(0.0, 500.0), st.floats(0.0, 500.0), st.sampled_from([1.0, 1.3, 4.0]))
def test_more_sign_ins_never_need_fewer(one: float, other: float, dispersion: float) -> None:
    low, high = sorted((one, other))
    assert pool_target(low, dispersion, 0.99) <= pool_target(high, dispersion, 0.99)


@given(st.floats(max_value=1e4) | st.just(math.nan), st.floats(max_value=100.0) | st.just(math.nan), st.floats())
def test_odd_input_gives_a_number(expected: float, dispersion: float, rate: float) -> None:
    assert pool_target(expected, dispersion, rate) >= 0


def test_nobody_expected_needs_nobody() -> None:
    assert pool_target(0.0, 5.0, 0.999) == 0
    assert pool_target(-3.0, 1.0, 0.99) == 0
    assert pool_target(float("nan"), 1.0, 0.99) == 0
