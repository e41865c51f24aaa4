"""The marginal rule and its parts: virtual pools, the table of tails, the network, the price."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.allocator.policies.adaptive_count import AdaptiveCount
from ghostdesk.allocator.policies.marginal_value import MarginalValue, TailForecast
from ghostdesk.allocator.policies.service_price import ServicePrice, sizes_at
from ghostdesk.allocator.policies.tail_features import TailFeatures
from ghostdesk.allocator.policies.tail_network import TailNetwork, VirtualPools
from ghostdesk.allocator.policies.tail_table import TailTable
from ghostdesk.evaluate.pool_world import PoolRules, Uses, judge


@given(st.lists(st.integers(0, 3_000).map(float), max_size=80), st.sampled_from([30.0, 120.0]))
@settings(deadline=None, max_examples=60)
def test_a_larger_virtual_pool_misses_no_more_and_none_serves_nobody(starts: list[float], lead_s: float) -> None:
    pools = VirtualPools(6)
    missed = np.array([pools.start(now_s, lead_s) for now_s in sorted(starts)]).reshape(-1, 6).sum(axis=0)
    assert missed[0] == len(starts)
    assert (np.diff(missed) <= 0).all()


def test_the_network_learns_a_rate_and_its_tail() -> None:
    rng = np.random.default_rng(1)
    network = TailNetwork(2, 4, rng)
    for _ in range(1_500):
        x = rng.random((128, 2)).astype(np.float32)
        first = rng.poisson(np.exp(2.0 * x[:, 0])).astype(np.float32)
        second = rng.binomial(first.astype(int), 0.2 + 0.6 * x[:, 1]).astype(np.float32)
        network.learn(x, np.stack([first, second, np.zeros(128), np.zeros(128)], axis=1).astype(np.float32))
    said = network.missed(np.array([[0.1, 0.9], [0.9, 0.1]], dtype=np.float32))
    assert said[:, 0] == pytest.approx(np.exp([0.2, 1.8]), rel=0.15)
    assert said[:, 1] / said[:, 0] == pytest.approx([0.74, 0.26], abs=0.1)
    assert (np.diff(said, axis=1) <= 0).all()


def test_a_table_says_what_was_counted_and_the_guess_before() -> None:
    table = TailTable(3)
    guess = np.array([1.0, 0.5, 0.25])
    assert table.missed(2.0, guess) == pytest.approx(2.0 * guess)
    for _ in range(2_000):
        table.learn(2.0, np.array([2.0, 0.4, 0.02]))
    assert table.missed(2.0, guess) == pytest.approx([2.0, 0.4, 0.02], rel=0.1)
    assert table.missed(1e-5, guess) == pytest.approx(1e-5 * guess)
    assert np.isfinite(table.missed(1e9, guess)).all()


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=24))
def test_a_higher_price_holds_no_fewer(avoided: list[float]) -> None:
    sizes = sizes_at(np.minimum.accumulate(np.array(avoided)))
    assert (np.diff(sizes) >= 0).all() and sizes.min() >= 0 and sizes.max() <= len(avoided)


def test_the_price_is_the_one_that_would_have_met_the_target() -> None:
    price = ServicePrice(0.05)
    avoided = np.array([0.1, 0.01, 0.001])
    sizes = sizes_at(avoided)
    for _ in range(4_000):  # a pool of none misses all, of one 20 %, of two 2 %, of three none
        price.learn(sizes, np.array([1.0, 0.2, 0.02, 0.0]), 1, 0)
        price._account = 0.0
    price.settle()
    assert 1 / 0.1 < price.price <= 1 / 0.01 * 1.4
    with pytest.raises(ValueError, match="share of misses"):
        ServicePrice(0.0)


def test_too_many_misses_lately_ask_for_fewer_and_too_few_for_more() -> None:
    bad, good = ServicePrice(0.01), ServicePrice(0.01)
    sizes = sizes_at(np.array([0.1, 0.01]))
    for _ in range(3_000):
        bad.learn(sizes, np.zeros(3), 10, 1)
        good.learn(sizes, np.zeros(3), 10, 0)
    assert bad.sought < 0.01 < good.sought


def busy_days(days: int, seed: int) -> Uses:
    """Synthetic: a working day with a rush at each full hour, quiet nights and weekends."""
    rng = np.random.default_rng(seed)
    minute = np.arange(days * 1_440)
    hour, weekday = minute % 1_440 / 60.0, minute // 1_440 % 7
    rate = np.where((hour >= 8) & (hour < 18) & (weekday < 5), 0.5 + 2.0 * (minute % 60 >= 52), 0.01)
    rate = rate * np.repeat(rng.gamma(20.0, 1 / 20.0, days), 1_440)
    counts = rng.poisson(rate)
    start_s = np.sort(np.repeat(minute * 60.0, counts) + rng.uniform(0.0, 60.0, counts.sum())) + 4 * 86_400.0
    row = np.arange(len(start_s)) % 50
    return Uses(50, start_s, row, start_s + 900.0, row)


def test_it_learns_beats_the_constant_quantile_and_keeps_its_target() -> None:
    """Synthetic weeks: at no more misses than the floor policy it idles less, and it gives about what was asked for."""
    uses = busy_days(35, 7)
    rules = PoolRules(4 * 86_400.0, (4 + 21) * 86_400.0, (4 + 35) * 86_400.0)
    forecast = TailForecast()
    asked = (0.96, 0.98, 0.99)
    ours = judge([MarginalValue(rate, forecast) for rate in asked], uses, rules)
    floors = judge([AdaptiveCount(quantile) for quantile in (0.98, 0.995, 0.9995)], uses, rules)
    for wanted, cost in zip(asked, ours, strict=True):
        assert cost.miss_share == pytest.approx(1.0 - wanted, abs=0.6 * (1.0 - wanted))
    idle = np.interp(-0.02, [-c.miss_share for c in ours], [c.idle_hours for c in ours])
    floor = np.interp(-0.02, [-c.miss_share for c in floors], [c.idle_hours for c in floors])
    assert idle < 0.97 * floor


def test_features_are_finite_whatever_happens() -> None:
    assert TailFeatures().size == 60
