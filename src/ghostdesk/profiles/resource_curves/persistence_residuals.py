"""Persistence with residual quantiles: the last value plus the quantiles of past changes over the same lead.

Prediction intervals from empirical residuals of each lead time: Hyndman and Athanasopoulos 2021, 5.5.
"""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.resource_curves.predictor import HORIZON_H, WINDOW_H
from ghostdesk.profiles.resource_curves.quantiles import LEVEL_VALUES, Floats, last_known, quantiles_of


class PersistenceResiduals:
    """The latest known value plus quantiles of how far values lay apart over the last `hours` hours; never negative."""

    def __init__(self, hours: int = WINDOW_H) -> None:
        within = "" if hours == WINDOW_H else f", {hours} h"
        self.name = f"persistence + residual quantiles{within}"
        self._hours = hours

    def quantiles(self, window: Floats, horizon_h: int = HORIZON_H) -> Floats:
        """See `CurvePredictor`."""
        recent = window[:, -self._hours :]
        now = last_known(window)[:, None]
        found = np.empty((len(window), horizon_h, LEVEL_VALUES.size), dtype=np.float32)
        for hour in range(horizon_h):
            lead = min(hour + 1, self._hours // 2)
            change = quantiles_of(recent[:, lead:] - recent[:, :-lead])
            found[:, hour] = now + np.nan_to_num(change)
        return np.maximum(found, 0.0)
