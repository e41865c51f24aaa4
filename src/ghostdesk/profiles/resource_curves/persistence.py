"""Persistence: the coming hours are as the last one was ("naive" in Hyndman and Athanasopoulos 2021, 5.2)."""

from __future__ import annotations

from ghostdesk.profiles.resource_curves.predictor import HORIZON_H
from ghostdesk.profiles.resource_curves.quantiles import Floats, last_known, over_horizon, point


class Persistence:
    """A point forecast: every level is the latest known value."""

    name = "persistence"

    def quantiles(self, window: Floats, horizon_h: int = HORIZON_H) -> Floats:
        """See `CurvePredictor`."""
        return over_horizon(point(last_known(window)), horizon_h)
