"""Seasonal naive: each coming hour is as the same clock hour was (Hyndman and Athanasopoulos 2021, 5.2)."""

from __future__ import annotations

from ghostdesk.profiles.resource_curves.predictor import HORIZON_H, same_hours
from ghostdesk.profiles.resource_curves.quantiles import Floats, last_known, or_else, point


class SeasonalNaive:
    """A point forecast: the value one day (or `days`) before; the latest known value where that is missing."""

    def __init__(self, days: int = 1) -> None:
        self.name = f"seasonal naive {24 * days} h"
        self._days = days

    def quantiles(self, window: Floats, horizon_h: int = HORIZON_H) -> Floats:
        """See `CurvePredictor`."""
        before = same_hours(window, range(self._days, self._days + 1), horizon_h)[..., 0]
        return or_else(point(before), point(last_known(window)))
