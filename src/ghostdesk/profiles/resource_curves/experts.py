"""The simple predictors by name, and those that the model weighs against each other."""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.resource_curves.mean_of_three import MeanOfThree
from ghostdesk.profiles.resource_curves.persistence import Persistence
from ghostdesk.profiles.resource_curves.persistence_residuals import PersistenceResiduals
from ghostdesk.profiles.resource_curves.predictor import HORIZON_H, WINDOW_H, CurvePredictor
from ghostdesk.profiles.resource_curves.quantiles import LEVEL_VALUES, Floats
from ghostdesk.profiles.resource_curves.recent_hours import RecentHours
from ghostdesk.profiles.resource_curves.same_hour import SameHour
from ghostdesk.profiles.resource_curves.seasonal_naive import SeasonalNaive
from ghostdesk.profiles.resource_curves.seasonal_steps import SeasonalSteps

SIMPLE: tuple[CurvePredictor, ...] = (
    Persistence(),
    SeasonalNaive(),
    SameHour(),
    RecentHours(24),
    PersistenceResiduals(),
    MeanOfThree(),
)
"""The strong simple predictors that any model has to beat."""

EXPERTS: tuple[CurvePredictor, ...] = (
    Persistence(),
    SeasonalNaive(),
    SeasonalNaive(7),
    SameHour(7),
    SameHour(3),
    SameHour(7, spread_h=1),
    RecentHours(4),
    RecentHours(12),
    RecentHours(24),
    RecentHours(48),
    RecentHours(WINDOW_H),
    PersistenceResiduals(48),
    SeasonalSteps(),
)
"""What the model weighs. Their order is part of a stored model: see `model.CurveModel`."""


def expert_quantiles(window: Floats, horizon_h: int = HORIZON_H) -> Floats:
    """Every expert's forecast, shape (experts, rows, horizon_h, levels); 0 in rows where nothing is known."""
    found = np.empty((len(EXPERTS), len(window), horizon_h, LEVEL_VALUES.size), dtype=np.float32)
    for index, expert in enumerate(EXPERTS):
        found[index] = expert.quantiles(window, horizon_h)
    unknown = np.isnan(window).all(axis=1)
    if unknown.any():
        found[:, unknown] = 0.0
    return found
