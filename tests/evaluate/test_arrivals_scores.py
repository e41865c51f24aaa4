"""Scores of hazards and counts, against numbers worked out by hand or the slow way."""

import math

import numpy as np
import pytest

from ghostdesk.evaluate.arrivals_counts import covered, score_counts
from ghostdesk.evaluate.arrivals_prewarming import hybrid_histogram_costs, keep_alive_costs
from ghostdesk.evaluate.arrivals_scores import HazardScore, cold_at
from ghostdesk.evaluate.arrivals_timeline import RowUse


def scored(hazards: list[float], started: list[bool], rows: list[int] | None = None) -> HazardScore:
    score = HazardScore("one", 2)
    n = len(hazards)
    who = np.array(rows or [0] * n)
    score.add(who, np.array(hazards), np.array(started), np.full(n, 600.0))
    return score


def test_log_loss_and_brier_micro_and_macro() -> None:
    summary = scored([0.5, 0.5, 0.2], [True, False, False], [0, 0, 1]).summary()
    assert summary.log_loss == pytest.approx((2 * math.log(2) - math.log(0.8)) / 3)
    assert summary.log_loss_macro == pytest.approx((math.log(2) - math.log(0.8)) / 2)
    assert summary.brier == pytest.approx((0.25 + 0.25 + 0.04) / 3)
    assert (summary.slots, summary.starts) == (3, 1)
    assert summary.expected_starts == pytest.approx(1.2)


def test_order_is_told_by_auc_and_average_precision() -> None:
    good = scored([0.9, 0.8, 0.2, 0.1], [True, True, False, False]).summary()
    bad = scored([0.1, 0.2, 0.8, 0.9], [True, True, False, False]).summary()
    equal = scored([0.3] * 4, [True, True, False, False]).summary()
    assert (good.auc, bad.auc, equal.auc) == (1.0, 0.0, 0.5)
    assert good.average_precision == 1.0
    assert equal.average_precision == pytest.approx(0.5)


def test_one_outcome_only_has_no_auc() -> None:
    summary = scored([0.1, 0.2], [False, False]).summary()
    assert math.isnan(summary.auc) and math.isnan(summary.average_precision)


def test_calibration_error_of_forecasts_that_are_right_on_average() -> None:
    generator = np.random.default_rng(6)
    hazards = generator.uniform(0.01, 0.6, 200_000)
    started = generator.random(200_000) < hazards
    good, bad = HazardScore("good", 1), HazardScore("bad", 1)
    zeros = np.zeros(200_000, dtype=np.int64)
    good.add(zeros, hazards, started, np.zeros(200_000))
    bad.add(zeros, np.minimum(hazards + 0.1, 0.9), started, np.zeros(200_000))
    assert good.summary().calibration_error < 0.006
    assert bad.summary().calibration_error == pytest.approx(0.1, abs=0.01)


def test_nothing_scored_is_an_error() -> None:
    with pytest.raises(ValueError, match="no slot"):
        HazardScore("one", 1).summary()


def test_thresholds_trade_cold_starts_for_idle_minutes() -> None:
    score = scored([0.9, 0.5, 0.1, 0.05], [True, False, True, False])
    curve = score.warm_curve(sessions=2, warm_starts=0, warm_idle_s=0.0)
    assert cold_at(curve, 5.0) == 0.5  # 600 s over two sessions
    assert cold_at(curve, 14.9) == 0.5
    assert cold_at(curve, 15.0) == 0.0
    assert cold_at(curve, 1000.0) == 0.0


ROW = RowUse("d", np.array([0.0, 3600.0, 90_000.0]), np.array([1800.0, 7200.0, 91_000.0]), np.zeros(3), 91_000.0)


def test_keep_alive_costs_by_hand() -> None:
    costs = {cost.policy: cost for cost in keep_alive_costs([ROW], np.array([100.0]))}
    # Idle before the two sessions: 30 minutes, and 1,380.
    assert costs["keep alive 20 min"].cold == 1.0
    assert costs["keep alive 20 min"].idle_minutes == 20.0
    assert costs["keep alive 60 min"].cold == 0.5
    assert costs["keep alive 60 min"].idle_minutes == 45.0
    assert costs["always on, from one use to the next"].cold == 0.0


def test_hybrid_histogram_finds_a_punctual_desktop_warm() -> None:
    starts = np.arange(200, dtype=np.float64) * 7200.0
    row = RowUse("d", starts, np.asarray(starts + 3600.0, dtype=np.float64), np.zeros(200), float(starts[-1]))
    four_hours = hybrid_histogram_costs([row], np.array([starts[100]]))[0]
    assert four_hours.cold == 0.0
    assert four_hours.idle_minutes == pytest.approx(60.0 - 0.9 * 60.0)


def test_coverage_counts_the_part_of_a_step() -> None:
    assert covered(0.0, 1.0, [0.5]).tolist() == [0.5]
    assert covered(0.4, 0.6, [0.5]).tolist() == [1.0]
    assert covered(0.9, 1.0, [0.5]).tolist() == [0.0]


def test_counts_of_a_steady_poisson_are_covered_as_promised() -> None:
    generator = np.random.default_rng(7)
    slots = 6000
    counts = generator.poisson(4.0, slots)
    hours = np.arange(slots) % 168
    scores = score_counts(counts, np.arange(slots) // 168, hours, np.full(slots, np.nan), 3600, 0, 2000)
    mixture = next(score for score in scores if score.name == "mixture")
    assert mixture.slots == 4000
    for level, share in zip((0.5, 0.8, 0.95), mixture.coverage, strict=True):
        assert share == pytest.approx(level, abs=0.03)
    assert mixture.log_score < min(score.log_score for score in scores) + 0.005
