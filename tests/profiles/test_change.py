"""Changes are told from chance: a rise is seen soon and forgotten when it is back, and memory stays small."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.profiles.change import LIMIT, AdaptiveWindow, CountWatch, LevelWatch


def numbers(seed: int, mean: float, count: int) -> list[float]:
    """Independent numbers of 0 to 1, spread like the log losses of a good forecast."""
    return np.random.default_rng(seed).beta(2.0, 2.0 / mean - 2.0, count).tolist()


def test_a_window_without_change_grows_and_keeps_few_numbers() -> None:
    window = AdaptiveWindow()
    cuts = sum(window.add(one) is not None for one in numbers(1, 0.1, 50_000))
    assert (cuts, window.count) == (0, 50_000)
    assert window.mean == pytest.approx(0.1, abs=0.002)
    assert window.buckets() <= 5 * math.log2(50_000 / 5) + 10


def test_a_rise_cuts_the_old_off() -> None:
    window = AdaptiveWindow()
    for one in numbers(2, 0.1, 5_000):
        window.add(one)
    dropped = [found for one in numbers(3, 0.14, 1_500) if (found := window.add(one)) is not None]
    assert dropped[0] == pytest.approx(0.1, abs=0.005)
    assert window.mean == pytest.approx(0.14, abs=0.01)
    assert window.count < 2_500


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), max_size=400))
def test_the_window_is_always_the_latest_numbers(values: list[float]) -> None:
    window = AdaptiveWindow()
    for one in values:
        window.add(one)
    assert 0 <= window.count <= len(values)
    if window.count:
        assert window.mean == pytest.approx(np.mean(values[-window.count :]), abs=1e-9)


def test_a_level_that_rose_is_told_until_it_is_back() -> None:
    watch = LevelWatch(tolerance=0.01, fewest=200)
    for one in numbers(4, 0.1, 3_000):
        watch.add(one)
    assert not watch.risen
    for one in numbers(5, 0.15, 1_500):
        watch.add(one)
    assert watch.risen
    assert watch.before == pytest.approx(0.1, abs=0.01)
    for one in numbers(6, 0.1, 6_000):
        watch.add(one)
    assert not watch.risen
    assert watch.before is None


def test_a_level_that_falls_is_no_matter_and_one_that_creeps_is_measured_from_its_beginning() -> None:
    watch = LevelWatch(tolerance=0.02, fewest=200)
    for mean in (0.2, 0.1):  # forecasts that learn
        for one in numbers(7, mean, 3_000):
            watch.add(one)
    assert not watch.risen
    for step in range(1, 7):
        for one in numbers(10 + step, 0.1 + 0.008 * step, 4_000):
            watch.add(one)
    assert watch.risen
    assert watch.before == pytest.approx(0.1, abs=0.012)


def test_counts_as_forecast_raise_no_alarm_and_half_as_many_again_do() -> None:
    rng = np.random.default_rng(8)
    watch = CountWatch()
    expected = 3.0 + 2.0 * np.sin(np.arange(4_000) / 48 * 2 * np.pi)
    for mean in expected:
        watch.add(rng.poisson(mean), mean)
        assert not (watch.more or watch.fewer)
    for mean in expected[:200]:
        watch.add(rng.poisson(1.5 * mean), mean)
    assert watch.more and not watch.fewer
    for mean in expected[:400]:
        watch.add(rng.poisson(mean), mean)
    assert not watch.more, "it is over when counts are as forecast again"


def test_fewer_than_forecast_is_told_and_an_over_dispersed_forecast_is_believed_longer() -> None:
    sure, unsure = CountWatch(), CountWatch()
    steps = 0
    while not sure.fewer:
        steps += 1
        sure.add(0, 1.0)
        unsure.add(0, 1.0, dispersion=4.0)
    assert steps == math.ceil(LIMIT / (1.0 - 1.0 / 1.5))
    assert not unsure.fewer


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(allow_nan=True)), max_size=50))
def test_odd_forecasts_are_passed_over(steps: list[tuple[float, float]]) -> None:
    watch = CountWatch()
    for came, expected in steps:
        watch.add(came, expected)
    assert watch.counts == sum(math.isfinite(expected) and expected >= 0 for _, expected in steps)
