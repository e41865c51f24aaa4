"""Quantiles of rows with missing values, many rows at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.forecast import LEVELS

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

LEVEL_VALUES: Floats = np.array(LEVELS, dtype=np.float32)
"""`forecast.LEVELS` as an array, shape (levels,)."""


def quantiles_of(values: Floats, levels: Floats = LEVEL_VALUES) -> Floats:
    """Sample quantiles along the last axis, linear between order statistics (type 7 of Hyndman and Fan 1996).

    Args:
        values: shape (..., n); NaN is missing.
        levels: probability levels, rising, shape (levels,).

    Returns:
        Shape (..., levels); NaN where nothing is known.
    """
    ordered = np.sort(values, axis=-1)  # NaN last
    width = values.shape[-1]
    if width == 0:
        return np.full((*values.shape[:-1], levels.size), np.nan, dtype=np.float32)
    if not np.isnan(ordered[..., -1]).any():
        position = levels * (width - 1)
        low = position.astype(np.intp)
        high = np.minimum(low + 1, width - 1)
        share = (position - low).astype(np.float32)
        return np.asarray(ordered[..., low] * (1 - share) + ordered[..., high] * share, dtype=np.float32)
    known = (~np.isnan(ordered)).sum(axis=-1)
    positions = levels * np.maximum(known - 1, 0)[..., None]
    low = positions.astype(np.intp)
    high = np.minimum(low + 1, np.maximum(known - 1, 0)[..., None])
    share = (positions - low).astype(np.float32)
    below = np.take_along_axis(ordered, low, axis=-1)
    above = np.take_along_axis(ordered, high, axis=-1)
    return np.asarray(below * (1 - share) + above * share, dtype=np.float32)


def last_known(window: Floats) -> Floats:
    """The latest value of each row that is known, shape (rows,); NaN where none is."""
    known = ~np.isnan(window)
    index = window.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    return np.asarray(window[np.arange(len(window)), index], dtype=np.float32)


def point(values: Floats, levels: int = LEVEL_VALUES.size) -> Floats:
    """A forecast without any doubt: the same value at each level, shape (..., levels)."""
    return np.repeat(values[..., None], levels, axis=-1)


def over_horizon(quantiles: Floats, horizon_h: int) -> Floats:
    """The same quantiles, shape (rows, levels), for each coming hour: (rows, hours, levels)."""
    return np.repeat(quantiles[:, None, :], horizon_h, axis=1)


def or_else(quantiles: Floats, other: Floats) -> Floats:
    """`quantiles`, shape (rows, hours, levels), and `other`, (rows, levels), where those are missing."""
    missing = np.isnan(quantiles)
    return np.where(missing, other[:, None, :], quantiles) if missing.any() else quantiles
