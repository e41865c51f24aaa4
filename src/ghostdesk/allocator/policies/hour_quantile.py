"""The quantile of the same hour of the week: as many as sufficed so often in the last eight weeks."""

from __future__ import annotations

import math

import numpy as np

from ghostdesk.allocator.policies.minute_counts import MinuteCounts, reach_minutes
from ghostdesk.allocator.policies.seam import Decision, Moment, Observed, PolicyFamily, Setting

_WEEKS = 8
_HOUR_MINUTES = 60


class HourQuantile:
    """Holds a quantile of the starts within a lead time, of the same hour of the week.

    Args:
        quantile: 0 to 1.
    """

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile
        self._counts = MinuteCounts(_WEEKS)
        self._hour = -1
        self._target = 0

    def grow(self, rows: int) -> None:
        """Rows do not matter."""

    def observe(self, observed: Observed) -> None:
        """Count the starts."""
        self._counts.observe(observed)

    def decide(self, moment: Moment) -> Decision:
        """What sufficed before."""
        self._counts.turn(moment)
        hour = int((moment.now_s + moment.offset_s) // 3_600.0)
        if hour != self._hour:
            self._hour = hour
            first = int(moment.week_s // 3_600.0) * _HOUR_MINUTES
            seen = self._counts.windows(first, _HOUR_MINUTES, reach_minutes(moment))
            self._target = math.ceil(np.quantile(seen, self._quantile, method="higher")) if seen.size else 1
        why = f"{self._target} sufficed {self._quantile:.1%} of the time at this hour of the week, last {_WEEKS} weeks"
        return Decision(self._target, None, "hour-of-week", why)


def _setting(quantile: float) -> Setting:
    return Setting(f"q {quantile:g}", lambda: HourQuantile(quantile))


FAMILY = PolicyFamily(
    "hour-quantile",
    "quantile of the hour of the week",
    "the table that operators build by hand; a floor in the data folder's README",
    tuple(_setting(quantile) for quantile in (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)),
    from_starts=True,
)
