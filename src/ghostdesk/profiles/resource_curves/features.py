"""What the model sees of a series: its last week in units of its own mean, and the hour of the week."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.resource_curves.predictor import DAY_H, WINDOW_H
from ghostdesk.profiles.resource_curves.quantiles import Floats

WEEKLY = slice(-4, None)
"""The features that tell the day of the week."""
LIMIT = 5.0
"""Features are cut at so many standard deviations: nothing odd can drive the weights far."""
_LEAST_SHARE = 1e-3
"""Series are told apart down to this share of the pool's scale."""


def scale_of(window: Floats, pool_scale: float) -> Floats:
    """The unit of each series, shape (rows,): its mean over the window, and never 0."""
    known = ~np.isnan(window)
    total = np.where(known, window, 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(known.sum(axis=1), 1) + max(_LEAST_SHARE * pool_scale, 1e-9), dtype=np.float32)


def features_of(window: Floats, hour: npt.NDArray[np.float64], pool_scale: float) -> Floats:
    """Features of each series, shape (rows, `FEATURES`). Missing hours are set to the row's mean, and counted.

    Args:
        window: see `predictor.CurvePredictor`.
        hour: of the first hour that is forecast: hours since a midnight, the same weekday for all, shape (rows,).
        pool_scale: what is usual among all series, in their unit.
    """
    scale = scale_of(window, pool_scale)
    known = ~np.isnan(window)
    z = np.arcsinh(2.0 * np.where(known, window, 0.0) / scale[:, None])
    mean = z.sum(axis=1, where=known) / np.maximum(known.sum(axis=1), 1)
    z = np.where(known, z, mean[:, None]).astype(np.float32)
    days = z.reshape(len(z), WINDOW_H // DAY_H, DAY_H)
    angle = hour * (2.0 * np.pi / DAY_H)
    weekly = hour * (2.0 * np.pi / WINDOW_H)
    columns = [
        z[:, -DAY_H:],
        days.mean(axis=1),
        days.std(axis=1),
        *(_summary(z[:, -hours:]) for hours in (3, 6, DAY_H, WINDOW_H)),
        np.log(scale / max(pool_scale, 1e-9) + _LEAST_SHARE)[:, None],
        np.stack([np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)], axis=1),
        np.abs(np.diff(z, axis=1)).mean(axis=1, keepdims=True),
        (days[:, :, -1] - days.mean(axis=2)).mean(axis=1, keepdims=True),
        (~known[:, -DAY_H:]).mean(axis=1, keepdims=True),
        (~known).mean(axis=1, keepdims=True),
        np.stack([np.sin(weekly), np.cos(weekly), np.sin(2 * weekly), np.cos(2 * weekly)], axis=1),
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _summary(z: Floats) -> Floats:
    return np.stack([z.mean(axis=1), z.std(axis=1), z.min(axis=1), z.max(axis=1)], axis=1)


FEATURES = features_of(np.zeros((1, WINDOW_H), dtype=np.float32), np.zeros(1), 1.0).shape[1]
"""How many features there are."""
