"""The seam of usage-curve predictors: pure functions from the last week to the quantiles of the coming hours."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ghostdesk.profiles.resource_curves.quantiles import Floats

HOUR_S = 3600.0
DAY_H = 24
WINDOW_H = 7 * DAY_H
"""What a forecast looks back on: hourly means of one week."""
HORIZON_H = 12
"""How far the learnt weights reach; later hours are weighed like the last of these."""


class CurvePredictor(Protocol):
    """A predictor of many series at once."""

    name: str

    def quantiles(self, window: Floats, horizon_h: int = HORIZON_H) -> Floats:
        """Quantiles of the hourly means to come.

        Args:
            window: hourly means of the 168 hours before the forecast, oldest first, shape (rows, 168); NaN is missing.
            horizon_h: how many hours ahead, at most 48.

        Returns:
            Shape (rows, horizon_h, levels) at `forecast.LEVELS`; not falling along the levels, never negative. NaN in
            rows where nothing at all is known.
        """
        ...


def same_hours(window: Floats, days: range, horizon_h: int, shift_h: int = 0) -> Floats:
    """What each coming hour's clock hour held on earlier days, shape (rows, horizon_h, len(days)).

    Args:
        window: see `CurvePredictor.quantiles`.
        days: which days back; 1 is the latest with that clock hour (for hours 25 to 48 ahead: two days before them).
        horizon_h: how many hours ahead.
        shift_h: look so many hours beside the clock hour; NaN where that is not in the window.
    """
    hours = np.arange(horizon_h)
    index = WINDOW_H + (hours % DAY_H)[:, None] - DAY_H * np.asarray(days)[None, :] + shift_h
    inside = (index >= 0) & (index < WINDOW_H)
    found = window[:, np.where(inside, index, 0)]
    return found if inside.all() else np.where(inside, found, np.float32(np.nan))
