"""Sign-ins of everyone together, as distributions of counts: adaptive negative binomial, and an online mixture of such.

Counts are over-dispersed against Poisson: a Poisson rate that is itself gamma distributed gives the negative binomial
(Greenwood and Yule 1920). The rate is that of the hour of the week, its weeks fading by a quarter each, times how the
last hours went against it (as in Winters 1960). The mixture is Bayesian with fixed share (Herbster and Warmuth 1998).
"""

from __future__ import annotations

from collections import deque

import numpy as np

from ghostdesk.profiles.arrivals.seam import Floats

HOURS = 168
WEEK_DECAY = 0.75
DISPERSION = 1.3
DISPERSIONS = (1.0, 1.3, 2.0, 3.0, 5.0, 9.0)
"""Ratios of variance to mean that the mixture weighs."""
_STRENGTH = 5.0
_PRIOR_SLOTS = 0.5
_SHARE = 1e-3
_LEAST_RATE = 1e-6


class HourRate:
    """Expected starts of everyone in a slot, by the hour of the week; weeks fade by `WEEK_DECAY`."""

    def __init__(self) -> None:
        self._counts: Floats = np.zeros(HOURS)
        self._slots: Floats = np.zeros(HOURS)
        self._whole: Floats = np.array([0.0, 1.0])
        self._week: int | None = None

    def expected(self, hour: int) -> float:
        """The rate in a slot of this hour of the week, 0 to 167."""
        mean = self._whole[0] / self._whole[1]
        return float((self._counts[hour] + _PRIOR_SLOTS * mean) / (self._slots[hour] + _PRIOR_SLOTS)) + _LEAST_RATE

    def learn(self, week: int, hour: int, count: int) -> None:
        """A slot is over."""
        if self._week is not None and week > self._week:
            fade = WEEK_DECAY ** min(week - self._week, 520)
            self._counts *= fade
            self._slots *= fade
            self._whole *= fade
        self._week = week
        self._counts[hour] += count
        self._slots[hour] += 1.0
        self._whole += (count, 1.0)


class RecentLevel:
    """Actual against expected starts over the last slots, shrunk to 1.

    Args:
        slots: how many.
    """

    def __init__(self, slots: int) -> None:
        self._kept: deque[tuple[float, float]] = deque(maxlen=max(slots, 1))
        self._actual = self._expected = 0.0

    def ratio(self) -> float:
        """What to multiply the next expectation with."""
        return (self._actual + _STRENGTH) / (self._expected + _STRENGTH)

    def learn(self, count: float, expected: float) -> None:
        """A slot is over."""
        if len(self._kept) == self._kept.maxlen:
            old = self._kept[0]
            self._actual -= old[0]
            self._expected = max(self._expected - old[1], 0.0)
        self._kept.append((count, expected))
        self._actual += count
        self._expected += expected


def count_probabilities(means: Floats, dispersions: Floats, counts: int) -> Floats:
    """Negative binomial probabilities of 0, 1, ... `counts` - 1, shape (candidates, counts); Poisson at dispersion 1.

    Args:
        means: above 0, shape (candidates,).
        dispersions: variance over mean, 1 or more, shape (candidates,).
        counts: how many.
    """
    k = np.arange(counts - 1, dtype=np.float64)
    over = dispersions > 1.0 + 1e-9
    ratio = np.where(over, dispersions, 2.0)
    size = means / (ratio - 1.0)
    negative = np.log(k + size[:, None]) - np.log(k + 1.0) + np.log1p(-1.0 / ratio)[:, None]
    poisson = np.log(means)[:, None] - np.log(k + 1.0)
    first = np.where(over, -size * np.log(ratio), -means)
    steps = np.where(over[:, None], negative, poisson)
    return np.asarray(np.exp(np.concatenate((first[:, None], first[:, None] + np.cumsum(steps, axis=1)), axis=1)))


class CountMixture:
    """Mixes rates and dispersions: whichever foretold the counts best counts most.

    Args:
        rates: how many rates are given in each slot.
    """

    def __init__(self, rates: int) -> None:
        self._dispersions: Floats = np.tile(np.array(DISPERSIONS), rates)
        self._weights: Floats = np.full(len(self._dispersions), 1.0 / len(self._dispersions))

    def probabilities(self, rates: Floats, counts: int) -> Floats:
        """Probabilities of 0, 1, ... `counts` - 1 starts, shape (counts,)."""
        return np.asarray(self._weights @ self._candidates(rates, counts))

    def learn(self, rates: Floats, count: int) -> None:
        """A slot is over in which `rates` had been expected."""
        likelihood = self._candidates(rates, count + 2)[:, count] + 1e-30
        after = self._weights * likelihood
        self._weights = (1.0 - _SHARE) * after / after.sum() + _SHARE / len(after)

    def _candidates(self, rates: Floats, counts: int) -> Floats:
        means = np.repeat(np.maximum(rates, _LEAST_RATE), len(DISPERSIONS))
        return count_probabilities(means, self._dispersions, counts)
