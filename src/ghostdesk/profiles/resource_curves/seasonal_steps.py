"""The last value plus the steps that the same clock hours took on earlier days (seasonal random walk with drift).

Seasonal differencing as in Box and Jenkins 1970, its distribution taken empirically from the last seven days.
"""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.resource_curves.predictor import HORIZON_H, same_hours
from ghostdesk.profiles.resource_curves.quantiles import Floats, last_known, quantiles_of


class SeasonalSteps:
    """The latest known value plus quantiles of the change from this clock hour to the coming one, on seven days."""

    name = "seasonal steps, 7 days"

    def quantiles(self, window: Floats, horizon_h: int = HORIZON_H) -> Floats:
        """See `CurvePredictor`."""
        now_before = same_hours(window, range(1, 7), 1, shift_h=-1)
        then = same_hours(window, range(1, 7), horizon_h)
        change = np.nan_to_num(quantiles_of(then - now_before))
        found: Floats = np.maximum(last_known(window)[:, None, None] + change, 0.0)
        return found
