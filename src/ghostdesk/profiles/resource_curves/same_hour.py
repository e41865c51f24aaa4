"""Same-hour quantiles: what the same clock hour held over the last days (seasonal climatology, Hong et al. 2016)."""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.resource_curves.predictor import HORIZON_H, same_hours
from ghostdesk.profiles.resource_curves.quantiles import Floats, or_else, quantiles_of


class SameHour:
    """Quantiles of the same clock hour over `days` days, and of the hours up to `spread_h` beside it.

    Where no such hour is known: of the whole window.
    """

    def __init__(self, days: int = 7, spread_h: int = 0) -> None:
        beside = f" ±{spread_h} h" if spread_h else ""
        self.name = f"same-hour quantiles, {days} days{beside}"
        self._days = days
        self._spread_h = spread_h

    def quantiles(self, window: Floats, horizon_h: int = HORIZON_H) -> Floats:
        """See `CurvePredictor`."""
        shifts = range(-self._spread_h, self._spread_h + 1)
        found = np.concatenate([same_hours(window, range(1, self._days + 1), horizon_h, s) for s in shifts], axis=-1)
        return or_else(quantiles_of(found), quantiles_of(window))
