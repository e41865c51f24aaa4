"""Quantiles of the last hours (a moving empirical distribution: climatology in Gneiting et al. 2007)."""

from __future__ import annotations

from ghostdesk.profiles.resource_curves.predictor import HORIZON_H, WINDOW_H
from ghostdesk.profiles.resource_curves.quantiles import Floats, or_else, over_horizon, quantiles_of


class RecentHours:
    """Quantiles of the last `hours` hours, the same for each coming hour; of the whole window where none is known."""

    def __init__(self, hours: int = 24) -> None:
        self.name = f"last-{hours}-h quantiles"
        self._hours = hours

    def quantiles(self, window: Floats, horizon_h: int = HORIZON_H) -> Floats:
        """See `CurvePredictor`."""
        latest = over_horizon(quantiles_of(window[:, -self._hours :]), horizon_h)
        return latest if self._hours >= WINDOW_H else or_else(latest, quantiles_of(window))
