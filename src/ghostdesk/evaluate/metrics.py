"""Scores of forecasts: hit rates, log loss, calibration, quantile loss, coverage, and intervals by user. Pure.

Shapes are given as numpy writes them; every function checks that its arrays fit together and raises `ValueError`
where they do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Values = npt.ArrayLike

LEAST_PROBABILITY = 1e-6
"""A probability below it counts as this in the log loss, so that one surprise costs 13.8 nats at most."""
RELIABILITY_BINS = 15
BOOTSTRAP_RESAMPLES = 2000
DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The levels of the weighted quantile loss."""
_FINE_BINS = 4096


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One point of a reliability diagram (DeGroot and Fienberg 1983).

    Args:
        count: how many probabilities fell in.
        confidence: their mean.
        frequency: how often what they promised came true, 0 to 1.
    """

    count: int
    confidence: float
    frequency: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


def reliability(
    confidence: Values, outcome: Values, bins: int = RELIABILITY_BINS, weights: Values | None = None
) -> list[ReliabilityBin]:
    """Bins of equal mass by rising confidence (Nguyen and O'Connor 2015); equal confidences are never split.

    Args:
        confidence: forecast probabilities, shape (n,).
        outcome: 1 where it happened and 0 where not, or shares in between, shape (n,).
        bins: how many bins at most; there are fewer where confidences are equal.
        weights: how many forecasts each row stands for, shape (n,); 1 each by default.
    """
    p, y = _same_shape(confidence, outcome)
    w = np.ones_like(p) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != p.shape:
        raise ValueError("weights must have the shape of the confidences")
    keep = w > 0.0
    p, y, w = p[keep], y[keep], w[keep]
    if not p.size:
        return []
    levels, group = np.unique(p, return_inverse=True)
    mass = np.bincount(group, weights=w)
    hits = np.bincount(group, weights=w * y)
    middle = (np.cumsum(mass) - mass / 2.0) / mass.sum()
    place = np.minimum((middle * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, weights=mass, minlength=bins)
    sum_p = np.bincount(place, weights=mass * levels, minlength=bins)
    sum_y = np.bincount(place, weights=hits, minlength=bins)
    return [
        ReliabilityBin(round(float(n)), float(a / n), float(b / n))
        for n, a, b in zip(count, sum_p, sum_y, strict=True)
        if n > 0.0
    ]


def calibration_error(found: Sequence[ReliabilityBin]) -> float:
    """Expected calibration error (Naeini et al. 2015): the bins' |frequency - confidence|, weighted by their counts.

    NaN without any forecast.
    """
    whole = sum(one.count for one in found)
    if not whole:
        return math.nan
    return sum(one.count * abs(one.frequency - one.confidence) for one in found) / whole


def expected_calibration_error(confidence: Values, outcome: Values, bins: int = RELIABILITY_BINS) -> float:
    """`calibration_error` of `reliability`."""
    return calibration_error(reliability(confidence, outcome, bins))


class ProbabilityHistogram:
    """Calibration of any number of probabilities in 100 kB: counts, sums and outcomes in 4,096 fine bins.

    The bins are narrow near 0, where most probabilities lie.
    """

    def __init__(self) -> None:
        self.counts: Floats = np.zeros(_FINE_BINS)
        self.sums: Floats = np.zeros(_FINE_BINS)
        self.hits: Floats = np.zeros(_FINE_BINS)

    def add(self, probabilities: Values, outcomes: Values) -> None:
        """Count forecasts, both of shape (n,)."""
        p, y = _same_shape(probabilities, outcomes)
        place = np.minimum((np.sqrt(np.sqrt(np.clip(p, 0.0, 1.0))) * _FINE_BINS).astype(np.int64), _FINE_BINS - 1)
        self.counts += np.bincount(place, minlength=_FINE_BINS)
        self.sums += np.bincount(place, weights=p, minlength=_FINE_BINS)
        self.hits += np.bincount(place, weights=y, minlength=_FINE_BINS)

    def merge(self, other: ProbabilityHistogram) -> None:
        """Take in another one's counts."""
        self.counts += other.counts
        self.sums += other.sums
        self.hits += other.hits

    def reliability(self, bins: int = RELIABILITY_BINS) -> list[ReliabilityBin]:
        """As the function of that name."""
        filled = self.counts > 0.0
        n = self.counts[filled]
        return reliability(self.sums[filled] / n, self.hits[filled] / n, bins, weights=n)


def log_loss(probability: Values) -> Floats:
    """Nats lost at each step, from the probability that was given to what happened (floored), shape (n,)."""
    return -np.log(np.clip(np.asarray(probability, dtype=np.float64), LEAST_PROBABILITY, 1.0))


def pinball_loss(actual: Values, quantiles: Values, levels: Values = DECILES) -> Floats:
    """Quantile (pinball) loss (Koenker and Bassett 1978), shape (..., levels).

    Args:
        actual: what happened, shape (...).
        quantiles: forecast quantiles, shape (..., levels).
        levels: their probability levels, shape (levels,).
    """
    y = np.asarray(actual, dtype=np.float64)[..., None]
    q = np.asarray(quantiles, dtype=np.float64)
    tau = np.asarray(levels, dtype=np.float64)
    if q.shape != (*y.shape[:-1], tau.size):
        raise ValueError(f"quantiles of shape {q.shape} do not fit {y.shape[:-1]} values at {tau.size} levels")
    over = y - q
    return np.maximum(tau * over, (tau - 1.0) * over)


def weighted_quantile_loss(actual: Values, quantiles: Values, levels: Values = DECILES) -> float:
    """Weighted quantile loss (Park et al. 2022; Gasthaus et al. 2019): 2 * pinball / sum of |actual|, mean over levels.

    Shapes as in `pinball_loss`. Rows whose `actual` is NaN are left out. NaN where nothing, or only zeros, happened.
    """
    y = np.asarray(actual, dtype=np.float64)
    known = np.isfinite(y)
    scale = float(np.abs(y[known]).sum())
    if scale <= 0.0:
        return math.nan
    loss = pinball_loss(y[known], np.asarray(quantiles, dtype=np.float64)[known], levels)
    return float(2.0 * loss.mean(axis=-1).sum() / scale)


def interval_coverage(actual: Values, low: Values, high: Values) -> float:
    """Share of what happened that lay in ``[low, high]``, all of one shape; NaN rows of `actual` are left out."""
    y = np.asarray(actual, dtype=np.float64)
    inside = (y >= np.asarray(low, dtype=np.float64)) & (y <= np.asarray(high, dtype=np.float64))
    known = np.isfinite(y)
    return float(inside[known].mean()) if known.any() else math.nan


def macro_mean(sums: Values, counts: Values) -> float:
    """Mean over users of each one's own mean: every user counts the same. Users without a step are left out."""
    total, n = _same_shape(sums, counts)
    used = n > 0.0
    return float((total[used] / n[used]).mean()) if used.any() else math.nan


def micro_mean(sums: Values, counts: Values) -> float:
    """Mean over all steps: every step counts the same."""
    total, n = _same_shape(sums, counts)
    return float(total.sum() / n.sum()) if n.sum() > 0.0 else math.nan


def bootstrap_interval(
    sums: Values, counts: Values, *, macro: bool, resamples: int = BOOTSTRAP_RESAMPLES, seed: int = 0
) -> Interval | None:
    """95 % percentile bootstrap interval (Efron 1979); users are drawn, as the steps of one hang together.

    Args:
        sums: of a score over each user's steps, shape (users,).
        counts: of each user's steps, shape (users,).
        macro: of the mean of users, else of the mean of steps.
        resamples: how often users are drawn.
        seed: of the draws: the same users give the same interval.

    Returns:
        None with fewer than two users, of whom no interval can be had.
    """
    total, n = _same_shape(sums, counts)
    used = n > 0.0
    total, n = total[used], n[used]
    users = total.size
    if users < 2:
        return None
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    chunk = max(1, 4_000_000 // users)
    for start in range(0, resamples, chunk):
        drawn = generator.integers(0, users, size=(min(chunk, resamples - start), users))
        if macro:
            means[start : start + chunk] = (total / n)[drawn].mean(axis=1)
        else:
            means[start : start + chunk] = total[drawn].sum(axis=1) / n[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(low), float(high))


def _same_shape(first: Values, second: Values) -> tuple[Floats, Floats]:
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"shapes {a.shape} and {b.shape} must be one and the same, with one dimension")
    return a, b
