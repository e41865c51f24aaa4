"""Scores, checked against numbers worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.evaluate.metrics import (
    ProbabilityHistogram,
    bootstrap_interval,
    calibration_error,
    expected_calibration_error,
    interval_coverage,
    log_loss,
    macro_mean,
    micro_mean,
    pinball_loss,
    reliability,
    weighted_quantile_loss,
)


def test_macro_counts_users_and_micro_counts_steps() -> None:
    hits, steps = [1.0, 30.0, 0.0], [2.0, 40.0, 0.0]
    assert macro_mean(hits, steps) == pytest.approx((0.5 + 0.75) / 2)
    assert micro_mean(hits, steps) == pytest.approx(31 / 42)
    assert math.isnan(macro_mean([], []))
    assert math.isnan(micro_mean([0.0], [0.0]))


def test_log_loss_is_in_nats_and_bounded() -> None:
    assert log_loss([0.5, 0.0, 1.0, 2.0]).tolist() == pytest.approx([math.log(2), math.log(1e6), 0.0, 0.0])


def test_calibration_error_by_hand() -> None:
    # Two bins: .2 promised and .5 came true; .8 promised and 1 came true.
    promised, came = [0.2, 0.2, 0.8, 0.8], [0, 1, 1, 1]
    assert expected_calibration_error(promised, came, bins=2) == pytest.approx((0.3 + 0.2) / 2)
    assert [one.count for one in reliability(promised, came, bins=2)] == [2, 2]


def test_equal_confidences_stay_in_one_bin() -> None:
    found = reliability(np.full(1000, 0.6), [1, 0] * 500)
    assert len(found) == 1
    assert calibration_error(found) == pytest.approx(0.1)


def test_the_order_of_equal_confidences_changes_nothing() -> None:
    promised = [0.1] * 30 + [0.7] * 30
    came = [0] * 25 + [1] * 5 + [1] * 20 + [0] * 10
    backwards = expected_calibration_error(promised[::-1], came[::-1])
    assert expected_calibration_error(promised, came) == pytest.approx(backwards)


def test_no_forecast_has_no_calibration_error() -> None:
    assert math.isnan(expected_calibration_error([], []))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=200))
def test_the_histogram_agrees_with_itself_in_parts_and_bins_lose_nothing(rows: list[tuple[float, bool]]) -> None:
    p, y = np.array([r[0] for r in rows]), np.array([float(r[1]) for r in rows])
    whole, first, second = ProbabilityHistogram(), ProbabilityHistogram(), ProbabilityHistogram()
    whole.add(p, y)
    first.add(p[::2], y[::2])
    second.add(p[1::2], y[1::2])
    first.merge(second)
    assert first.reliability() == pytest.approx(whole.reliability()) or np.allclose(first.sums, whole.sums)
    found = whole.reliability()
    assert sum(one.count for one in found) == len(rows)
    assert sum(one.count * one.frequency for one in found) == pytest.approx(y.sum())
    assert sum(one.count * one.confidence for one in found) == pytest.approx(p.sum())
    assert 0.0 <= calibration_error(found) <= 1.0


def test_pinball_loss_by_hand() -> None:
    assert pinball_loss([10.0], [[8.0, 12.0]], [0.1, 0.9]).tolist() == [pytest.approx([0.2, 0.2])]


def test_weighted_quantile_loss_of_a_point_forecast_is_the_relative_absolute_error() -> None:
    actual = np.array([10.0, 20.0, np.nan])
    forecast = np.repeat([[12.0], [15.0], [1.0]], 9, axis=1)
    assert weighted_quantile_loss(actual, forecast) == pytest.approx((2 + 5) / 30)
    assert math.isnan(weighted_quantile_loss([0.0], [[0.0] * 9]))


def test_quantiles_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        pinball_loss([1.0, 2.0], [[1.0] * 9])


def test_coverage_leaves_unknown_values_out() -> None:
    assert interval_coverage([1.0, 5.0, np.nan], [0.0] * 3, [2.0] * 3) == 0.5
    assert math.isnan(interval_coverage([np.nan], [0.0], [1.0]))


def test_intervals_are_seeded_and_need_two_users() -> None:
    hits, steps = [10.0, 60.0, 35.0, 80.0], [100.0] * 4
    found = bootstrap_interval(hits, steps, macro=True)
    assert found is not None
    assert found == bootstrap_interval(hits, steps, macro=True)
    assert 0.1 < found.low < macro_mean(hits, steps) < found.high < 0.8
    assert bootstrap_interval([5.0], [10.0], macro=True) is None


def test_the_interval_is_as_wide_as_theory_says() -> None:
    generator = np.random.default_rng(3)
    hits = generator.normal(50.0, 10.0, 400)
    found = bootstrap_interval(hits, np.full(400, 100.0), macro=False)
    assert found is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * hits.std() / 100 / 20, rel=0.1)
