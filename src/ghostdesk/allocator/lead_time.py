"""How long a new ghost takes, with its spread, and the demand within a time that is not certain."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.forecast import ArrivalCurve
from ghostdesk.profiles.newsvendor import count_distribution

Vector = npt.NDArray[np.float64]

# Gauss-Hermite nodes and weights for a standard normal: what is smooth in the logarithm of the time is averaged
# exactly up to polynomials of degree 13.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
_SHARES: Vector = _WEIGHTS / _WEIGHTS.sum()
_LEAST_S = 1e-3
_MOST_SPREAD = 2.0
_PRIOR_BUILDS = 2.0
_PRIOR_SPREAD = 0.3


@dataclass(frozen=True, slots=True)
class LeadTime:
    """A log-normal lead time.

    Args:
        mean_s: its mean; less than a millisecond or not a number counts as that.
        spread: standard deviation of its logarithm, 0 where it always takes the same; 2 is the most.
    """

    mean_s: float
    spread: float = 0.0

    def __post_init__(self) -> None:
        mean_s = self.mean_s if math.isfinite(self.mean_s) else _LEAST_S
        spread = self.spread if math.isfinite(self.spread) else 0.0
        object.__setattr__(self, "mean_s", max(mean_s, _LEAST_S))
        object.__setattr__(self, "spread", min(max(spread, 0.0), _MOST_SPREAD))

    @staticmethod
    def measured(times_s: Iterable[float], first_guess_s: float) -> LeadTime:
        """From the latest builds. Their spread is drawn to 0.3 as if two builds had shown that, so that one build, or
        two that took the same by chance, do not pass for certainty; before the first build the guess holds."""
        times = [time_s for time_s in times_s if math.isfinite(time_s) and time_s > 0]
        if not times:
            return LeadTime(first_guess_s, _PRIOR_SPREAD)
        # Plain sums: for twenty numbers, after each build, numpy takes several times as long.
        logs = [math.log(time_s) for time_s in times]
        middle = math.fsum(logs) / len(logs)
        squares = math.fsum((one - middle) ** 2 for one in logs) + _PRIOR_BUILDS * _PRIOR_SPREAD**2
        return LeadTime(math.fsum(times) / len(times), math.sqrt(squares / (len(times) - 1 + _PRIOR_BUILDS)))

    def possible_s(self) -> tuple[Vector, Vector]:
        """Times that stand for the distribution, and the probability of each: shape (7,), or (1,) without spread."""
        if self.spread == 0.0:
            return np.array([self.mean_s]), np.ones(1)
        middle = math.log(self.mean_s) - self.spread**2 / 2
        return np.exp(middle + self.spread * _NODES), _SHARES


def mixed_distribution(expected: Vector, shares: Vector, dispersion: float) -> Vector:
    """Probabilities of 0, 1, 2 ... sign-ins when the expectation itself is uncertain.

    Args:
        expected: possible mean counts, shape (m,).
        shares: their probabilities, shape (m,).
        dispersion: variance of the count divided by its mean, given the mean.
    """
    parts = [count_distribution(float(mean), dispersion) for mean in expected]
    mixed = np.zeros(max(len(part) for part in parts))
    for part, share in zip(parts, shares, strict=True):
        mixed[: len(part)] += share * part
    return mixed


def expected_over(arrivals: ArrivalCurve, now_s: float, lead: LeadTime) -> tuple[Vector, Vector]:
    """Sign-ins expected within each possible lead time, and the probability of each, both shape (m,)."""
    times_s, shares = lead.possible_s()
    return np.array([arrivals.expected_within(now_s, float(time_s)) for time_s in times_s]), shares
