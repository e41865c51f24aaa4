"""Counts of everyone's starts: probabilities that sum to 1, and a mixture that finds the rate and the spread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.profiles.arrivals.counts import CountMixture, HourRate, RecentLevel, count_probabilities
from ghostdesk.profiles.newsvendor import count_distribution


@given(st.floats(1e-6, 200.0), st.floats(1.0, 9.0))
def test_probabilities_sum_to_one_with_the_mean_and_spread_asked_for(mean: float, dispersion: float) -> None:
    width = int(mean + 14 * np.sqrt(mean * dispersion) + 60 * dispersion + 60)
    chances = count_probabilities(np.array([mean]), np.array([dispersion]), width)[0]
    k = np.arange(width)
    assert chances.sum() == pytest.approx(1.0, abs=1e-6)
    assert chances @ k == pytest.approx(mean, rel=1e-3, abs=1e-6)
    assert chances @ (k - mean) ** 2 == pytest.approx(mean * dispersion, rel=1e-2, abs=1e-5)


def test_agrees_with_the_newsvendors_distribution() -> None:
    theirs = count_distribution(7.0, 1.3)
    assert count_probabilities(np.array([7.0]), np.array([1.3]), 30)[0] == pytest.approx(theirs[:30], abs=1e-9)


def test_hour_rate_follows_the_last_weeks() -> None:
    table = HourRate()
    for week in range(30):
        table.learn(week, 9, 10 if week < 20 else 2)
    assert table.expected(9) == pytest.approx(2.0, abs=0.8)
    assert 1.5 < table.expected(30) < 3.5  # never seen: the mean of what was


def test_recent_level_forgets_old_slots() -> None:
    level = RecentLevel(3)
    for _ in range(10):
        level.learn(0.0, 10.0)
    quiet = level.ratio()
    for _ in range(3):
        level.learn(20.0, 10.0)
    assert quiet < 0.2
    assert level.ratio() > 1.8


def test_mixture_finds_over_dispersed_counts() -> None:
    generator = np.random.default_rng(5)
    mixture = CountMixture(2)
    rates = np.array([8.0, 3.0])
    ours = simple = 0.0
    for step in range(2000):
        count = int(generator.negative_binomial(2.0, 0.2))  # mean 8, dispersion 5
        if step > 500:
            ours -= float(np.log(mixture.probabilities(rates, count + 60)[count]))
            simple -= float(np.log(count_probabilities(rates[:1], np.array([1.3]), count + 60)[0, count]))
        mixture.learn(rates, count)
    assert ours < simple
    assert mixture.probabilities(rates, 400).sum() == pytest.approx(1.0, abs=1e-6)
