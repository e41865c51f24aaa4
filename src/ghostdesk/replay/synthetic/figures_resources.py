"""Figures of resource usage: how it holds on, how it varies, how the resources move together. Pure."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

from ghostdesk.replay.synthetic.figures_starts import Figures

Floats = npt.NDArray[np.float64]
_FEWEST_HOURS = 60


def hourly_means(
    row: npt.NDArray[np.int64], time_s: Floats, amount: Floats, rows: int, hours: int, first_s: float
) -> Floats:
    """Mean of the samples of each row (machine, or person) and hour, shape (rows, hours); NaN where there is none."""
    hour = ((time_s - first_s) // 3600).astype(np.int64)
    kept = (hour >= 0) & (hour < hours) & np.isfinite(amount)
    place = row[kept] * hours + hour[kept]
    counts = np.bincount(place, minlength=rows * hours)
    sums = np.bincount(place, weights=amount[kept], minlength=rows * hours)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).reshape(rows, hours)


def resource_figures(hourly: dict[str, Floats]) -> Figures:
    """Medians over rows that have 60 hours or more and are not constant.

    Args:
        hourly: of each resource the hourly means, shape (rows, hours), NaN where not known.

    Returns:
        Of each resource: `NAME_autocorrelation_1h` and `_24h` of the logarithm over hours known at both ends,
        `NAME_p90_over_p50` and `NAME_p50_over_p10`. Of each pair: `rank_correlation_NAME_OTHER` within a row
        (Spearman 1904).

    Raises:
        ValueError: no row has so many hours.
    """
    found: Figures = {}
    for name, table in hourly.items():
        kept = [row for row in table if np.isfinite(row).sum() >= _FEWEST_HOURS and np.nanstd(row) > 0]
        if not kept:
            raise ValueError(f"no row has {_FEWEST_HOURS} hours of {name}")
        for lag in (1, 24):
            found[f"{name}_autocorrelation_{lag}h"] = _median([_lagged(np.log(row + _floor(row)), lag) for row in kept])
        quantiles = np.array([np.nanpercentile(row, (10, 50, 90)) for row in kept])
        low, middle, high = np.maximum(quantiles, 1e-9).T
        found[f"{name}_p90_over_p50"] = float(np.median(high / middle))
        found[f"{name}_p50_over_p10"] = float(np.median(middle / low))
    for one, other in combinations(hourly, 2):
        found[f"rank_correlation_{one}_{other}"] = _median(
            [_spearman(a, b) for a, b in zip(hourly[one], hourly[other], strict=True)]
        )
    return found


def _floor(row: Floats) -> float:
    """Keeps the logarithm of an idle hour finite: a hundredth of the row's mean."""
    return float(0.01 * np.nanmean(row)) or 1e-9


def _lagged(row: Floats, lag: int) -> float:
    return _correlation(row[:-lag], row[lag:])


def _correlation(one: Floats, other: Floats) -> float:
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 20 or np.std(one[both]) == 0 or np.std(other[both]) == 0:
        return float("nan")
    return float(np.corrcoef(one[both], other[both])[0, 1])


def _spearman(one: Floats, other: Floats) -> float:
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 20:
        return float("nan")
    ranks = [np.argsort(np.argsort(side[both], kind="stable"), kind="stable").astype(float) for side in (one, other)]
    return _correlation(ranks[0], ranks[1])


def _median(numbers: list[float]) -> float:
    return float(np.nanmedian(numbers)) if np.isfinite(numbers).any() else float("nan")
