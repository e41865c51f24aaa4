"""The mean of three simple forecasts, quantile by quantile (quantile averaging, Lichtendahl et al. 2013)."""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.resource_curves.persistence_residuals import PersistenceResiduals
from ghostdesk.profiles.resource_curves.predictor import HORIZON_H, CurvePredictor
from ghostdesk.profiles.resource_curves.quantiles import Floats
from ghostdesk.profiles.resource_curves.recent_hours import RecentHours
from ghostdesk.profiles.resource_curves.same_hour import SameHour


class MeanOfThree:
    """Same-hour quantiles, last-24-h quantiles and persistence with residual quantiles, each a third."""

    name = "mean of three"

    def __init__(self) -> None:
        self._members: tuple[CurvePredictor, ...] = (SameHour(), RecentHours(), PersistenceResiduals())

    def quantiles(self, window: Floats, horizon_h: int = HORIZON_H) -> Floats:
        """See `CurvePredictor`."""
        total = sum(member.quantiles(window, horizon_h) for member in self._members)
        return np.asarray(total / np.float32(len(self._members)), dtype=np.float32)
