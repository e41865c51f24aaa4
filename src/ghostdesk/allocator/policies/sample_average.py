"""Forecast and sample-average optimisation: the target that would have cost least on recent demand paths.

After "Intelligent Pooling" (arXiv 2411.11326): every few minutes a target is chosen that minimises idle ghosts plus a
penalty times waiting requests, on average over sampled paths of demand and with the pool's dynamics. There a request
that is not met waits; then with target N and lead time L, N - D ghosts idle at a moment, or D - N requests wait, D
being what was asked for in the last L. The sum over paths and moments of idle + penalty x waiting is least at the
quantile penalty / (1 + penalty) of all those D: no solver is needed. The paths are the same minutes of the last eight
weeks, each with those around them, scaled to the level of the last hours (there: a neural forecast with SSA).
"""

from __future__ import annotations

import math

import numpy as np

from ghostdesk.allocator.policies.minute_counts import WEEK_MINUTES, MinuteCounts, reach_minutes
from ghostdesk.allocator.policies.seam import Decision, Moment, Observed, PolicyFamily, Setting
from ghostdesk.profiles.arrivals.counts import RecentLevel

_WEEKS = 8
_BLOCK_MINUTES = 5
_AROUND_MINUTES = 10
_RECENT_MINUTES = 120


class SampleAverage:
    """Chooses a target for the next five minutes.

    Args:
        penalty: what a minute of waiting costs, a minute of an idle ghost being 1; above 0.
    """

    def __init__(self, penalty: float) -> None:
        self._penalty = penalty
        self._counts = MinuteCounts(_WEEKS)
        self._recent = RecentLevel(_RECENT_MINUTES)
        self._block = -1
        self._rate = 0.0
        self._target = 0

    def grow(self, rows: int) -> None:
        """Rows do not matter."""

    def observe(self, observed: Observed) -> None:
        """Count the starts."""
        self._counts.observe(observed)
        self._recent.learn(len(observed.started_s), self._rate * (observed.to_s - observed.from_s) / 60.0)

    def decide(self, moment: Moment) -> Decision:
        """The target that would have cost least on the sampled paths."""
        self._counts.turn(moment)
        minute = int((moment.now_s + moment.offset_s) // 60.0)
        if minute // _BLOCK_MINUTES != self._block:
            self._block = minute // _BLOCK_MINUTES
            first = (int(moment.week_s // 60.0) // _BLOCK_MINUTES * _BLOCK_MINUTES - _AROUND_MINUTES) % WEEK_MINUTES
            reach = reach_minutes(moment)
            paths = self._counts.windows(first, _BLOCK_MINUTES + 2 * _AROUND_MINUTES, reach)
            self._rate = float(paths.mean()) / reach if paths.size else 0.0
            quantile = self._penalty / (1.0 + self._penalty)
            demand = np.quantile(paths * self._recent.ratio(), quantile, method="inverted_cdf") if paths.size else 1.0
            self._target = math.ceil(demand - 1e-9)
        why = (
            f"{self._target} cost least on the last {_WEEKS} weeks, a wait being {self._penalty:g} times an idle ghost"
        )
        return Decision(self._target, None, "sample-average", why)


def _setting(penalty: float) -> Setting:
    return Setting(f"penalty {penalty:g}", lambda: SampleAverage(penalty))


FAMILY = PolicyFamily(
    "sample-average",
    "forecast + sample-average optimisation",
    "Intelligent Pooling, arXiv 2411.11326",
    tuple(_setting(penalty) for penalty in (4.0, 9.0, 19.0, 49.0, 99.0, 199.0, 499.0, 1999.0)),
    from_starts=True,
)
