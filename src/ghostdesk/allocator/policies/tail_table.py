"""Which part of the starts pools of each size miss, by the rate that was expected: counted, not assumed. Pure.

Were starts Poisson at the rate expected, Erlang's formula would say it; they come in bursts, and no rate is foreseen
exactly. So it is counted for each level of the expected rate what the virtual pools missed, half a year back.
"""

from __future__ import annotations

import math

import numpy as np

from ghostdesk.allocator.policies.seam import Floats

_LEVELS = 80
_LOWEST = -8.0
_WIDTH = 0.15
_PRIOR_STARTS = 8.0
_FADE_DAY = 0.5 ** (1.0 / 182.0)


class TailTable:
    """Counts by levels of the logarithm of the rate; a rate between two levels counts for both in part.

    Args:
        sizes: how many pools: of 0, 1, ... ghosts.
    """

    def __init__(self, sizes: int) -> None:
        self._missed: Floats = np.zeros((_LEVELS, sizes))

    def learn(self, rate: float, missed: Floats) -> None:
        """At `rate` starts a minute expected, pools of each size missed so many a minute, shape (sizes,)."""
        level, part = _place(rate)
        self._missed[level] += (1.0 - part) * missed
        self._missed[level + 1] += part * missed

    def fade(self) -> None:
        """A day is over."""
        self._missed *= _FADE_DAY

    def missed(self, rate: float, guess: Floats) -> Floats:
        """Expected misses a minute of pools of each size at this rate, shape (sizes,).

        Args:
            rate: starts a minute that are expected.
            guess: the share of starts that pools of each size miss, where little was counted yet, shape (sizes,).
        """
        level, part = _place(rate)
        near = self._missed[level - 1 : level + 3]
        low = near[1] + 0.5 * (near[0] + near[2])
        high = near[2] + 0.5 * (near[1] + near[3])
        low_weight, high_weight = low[0] / (low[0] + _PRIOR_STARTS), high[0] / (high[0] + _PRIOR_STARTS)
        counted = (1.0 - part) * low / max(low[0], 1e-9) + part * high / max(high[0], 1e-9)
        weight = (1.0 - part) * low_weight + part * high_weight
        return np.asarray(rate * (weight * counted + (1.0 - weight) * guess))


def _place(rate: float) -> tuple[int, float]:
    """The level at or below a rate (never one of the outermost), and how far it is to the next, 0 to 1."""
    at = (math.log(max(rate, 1e-6)) - _LOWEST) / _WIDTH
    at = min(max(at, 1.0), _LEVELS - 3.001)
    return int(at), at - int(at)
