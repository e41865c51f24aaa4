"""Adaptive negative binomial: the rate of the hour of the week times how the last hours went against it; a quantile.

The rate's weeks fade by a quarter each, and the count's variance is 1.3 times its mean, as in
`profiles/arrivals/counts.py`, but an hour without starts expects none: quiet nights hold nothing. The quantile is the
newsvendor's (Arrow, Harris and Marschak 1951). It is held at every hour alike.
"""

from __future__ import annotations

import math

from ghostdesk.allocator.policies.seam import Decision, Moment, Observed, PolicyFamily, Setting
from ghostdesk.profiles.arrivals.counts import DISPERSION, HOURS, WEEK_DECAY, RecentLevel
from ghostdesk.profiles.newsvendor import pool_target

_HOUR_S = 3_600.0
_RECENT_MINUTES = 180


class _HourlyRate:
    """Starts in each hour of the week, its weeks fading; nothing is lent from other hours."""

    def __init__(self) -> None:
        self._counts, self._weights = [0.0] * HOURS, [0.0] * HOURS

    def expected(self, hour: int) -> float:
        """The rate of this hour of the week, 0 to 167."""
        return self._counts[hour] / self._weights[hour] if self._weights[hour] else 0.0

    def learn(self, hour: int, count: int) -> None:
        """Such an hour is over."""
        self._counts[hour] = WEEK_DECAY * self._counts[hour] + count
        self._weights[hour] = WEEK_DECAY * self._weights[hour] + 1.0


class AdaptiveCount:
    """Holds a constant quantile of a count's distribution.

    Args:
        quantile: 0 to 1.
    """

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile
        self._rate = _HourlyRate()
        self._recent = RecentLevel(_RECENT_MINUTES)
        self._hour = -1
        self._place = 0
        self._count = 0
        self._expected = 0.0
        self._targets: dict[int, int] = {}

    def grow(self, rows: int) -> None:
        """Rows do not matter."""

    def observe(self, observed: Observed) -> None:
        """Count the starts."""
        starts = len(observed.started_s)
        self._count += starts
        self._recent.learn(starts, self._expected * (observed.to_s - observed.from_s) / _HOUR_S)

    def decide(self, moment: Moment) -> Decision:
        """The quantile of the starts until a ghost that is asked for next time would be ready."""
        hour = int((moment.now_s + moment.offset_s) // _HOUR_S)
        if hour != self._hour:
            if self._hour >= 0:
                self._rate.learn(self._place, self._count)
            self._hour, self._count = hour, 0
            self._place = min(int(moment.week_s // _HOUR_S), HOURS - 1)
            self._expected = self._rate.expected(self._place)
        reach_s = moment.lead_s + moment.until_s - moment.now_s
        mean = self._expected * self._recent.ratio() * reach_s / _HOUR_S
        step = round(100.0 * math.log(max(mean, 1e-9)))  # in steps of 1 %, so that each quantile is worked out once
        if step not in self._targets:
            self._targets[step] = pool_target(math.exp(step / 100.0), DISPERSION, self._quantile)
        target = self._targets[step]
        why = f"{mean:.2f} starts expected within {reach_s:.0f} s: {target} suffice {self._quantile:.1%} of the time"
        return Decision(target, None, "quantile", why)


def _setting(quantile: float) -> Setting:
    return Setting(f"q {quantile:g}", lambda: AdaptiveCount(quantile))


FAMILY = PolicyFamily(
    "adaptive-count",
    "adaptive negative binomial",
    "Winters 1960 for the level, Greenwood and Yule 1920 for the count; the floor in the data folder's README",
    tuple(_setting(quantile) for quantile in (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)),
    from_starts=True,
)
