"""How many ghosts to hold: the newsvendor's quantile of a negative binomial count.

With shortage and surplus priced so that the service target is the critical ratio, the best stock is the quantile of
the demand at that ratio (the newsvendor model: Arrow, Harris and Marschak, 1951). Counts of sign-ins are
over-dispersed, so the demand is negative binomial with a given mean and variance-to-mean ratio, and Poisson where that
ratio is 1.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_MOST = 1e6
"""A pool larger than this is no pool of ours; larger expectations are cut to it."""
_MOST_DISPERSION = 1e4
_LEAST = 1e-12


def count_distribution(expected: float, dispersion: float) -> npt.NDArray[np.float64]:
    """Probabilities of 0, 1, 2 ... sign-ins, up to where less than 1e-12 is left.

    Args:
        expected: mean count; less than 1e-12 or not a number counts as 0, and 1e6 is the most.
        dispersion: variance divided by mean; below 1 counts as 1 (Poisson), and 10,000 is the most.
    """
    mean = 0.0 if math.isnan(expected) else min(max(expected, 0.0), _MOST)
    ratio = 1.0 if math.isnan(dispersion) else min(max(dispersion, 1.0), _MOST_DISPERSION)
    if mean < _LEAST:
        return np.ones(1)
    # The tail falls like a normal one near the mean and like a geometric one with mean `ratio` far out.
    last = math.ceil(mean + 12.0 * math.sqrt(mean * ratio) + 40.0 * ratio + 40.0)
    k = np.arange(last, dtype=np.float64)
    if ratio - 1.0 < 1e-9:
        steps = math.log(mean) - np.log(k + 1.0)
    else:
        size = mean / (ratio - 1.0)
        steps = np.log(k + size) - np.log(k + 1.0) + math.log1p(-1.0 / ratio)
    logs = np.concatenate(([0.0], np.cumsum(steps)))
    weights = np.exp(logs - logs.max())
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


def pool_target(expected: float, dispersion: float, hit_rate: float) -> int:
    """The fewest ghosts with which all sign-ins are served with probability `hit_rate` or more.

    Args:
        expected: sign-ins expected within the time that a new ghost takes.
        dispersion: variance of that count divided by its mean.
        hit_rate: the service target, 0 to 1; above 1 - 1e-9 counts as that.
    """
    target = 0.0 if math.isnan(hit_rate) else min(max(hit_rate, 0.0), 1.0 - 1e-9)
    served = np.cumsum(count_distribution(expected, dispersion))
    return min(int(np.searchsorted(served, target - 1e-12)), len(served) - 1)
