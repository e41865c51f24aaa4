"""Figures of when a group of rows (shared desktops, or people) is used: what a simulator must reproduce. Pure.

Every figure is computed alike on recorded and on synthetic use, so that the two can be laid side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from ghostdesk.evaluate.arrivals_timeline import RowUse

Floats = npt.NDArray[np.float64]
Figures = dict[str, float | list[float]]
"""Figures by name; a list is a table (the hours of a week, say)."""

WEEK_S, DAY_S, HOUR_S = 604_800, 86_400, 3_600
MONDAY_S = 4 * DAY_S
"""1970-01-05, the first Monday of Unix time."""
_NEAR_WEEKS = 4
_QUANTILES = (10, 25, 50, 75, 90)
_RETURN_HOURS = (1, 4, 24)
_EPOCH = date(1970, 1, 1)


def between(rows: Sequence[RowUse], since_s: float, until_s: float) -> list[RowUse]:
    """The sessions that start in ``[since_s, until_s)``; rows without any are left out."""
    found = []
    for row in rows:
        kept = (row.start_s >= since_s) & (row.start_s < until_s)
        if kept.any():
            found.append(RowUse(row.name, row.start_s[kept], row.end_s[kept], row.offset_s[kept], until_s))
    return found


def start_figures(rows: Sequence[RowUse]) -> Figures:
    """What the starts of all rows together, and the sessions of each, look like.

    Args:
        rows: sessions of each row; `offset_s` puts them on the clock of the place.

    Returns:
        `hour_of_week`: share of starts in each hour from Monday midnight on, 168 numbers. `dispersion_2_min`, `_10_min`
        and `_60_min`: the Fano factor of the counts against the mean of the same hour of week in the four weeks before
        and after, 1 for a Poisson process (Fano 1947). `length_min_pNN`, `gap_min_pNN`: quantiles of sessions, and of
        the unused time between a row's sessions, in minutes. `return_share_Nh`: share of starts within N hours of the end of the row's
        session before. `day_level_autocorrelation_1_day`, `_7_day`: of the logarithm of a day's starts over what its
        weekday's neighbours have. `day_level_sd`: standard deviation of that. `starts_a_day`: per row.

    Raises:
        ValueError: fewer than three weeks, or fewer than 100 starts.
    """
    start_s = np.sort(np.concatenate([row.start_s + row.offset_s for row in rows])) if rows else np.zeros(0)
    if len(start_s) < 100 or start_s[-1] - start_s[0] < 3 * WEEK_S:
        raise ValueError("figures of starts need three weeks and 100 starts or more")
    first_s = MONDAY_S + (start_s[0] - MONDAY_S) // WEEK_S * WEEK_S
    weeks = int((start_s[-1] - first_s) // WEEK_S) + 1
    hours = np.bincount(((start_s - first_s) // HOUR_S).astype(int), minlength=weeks * 168).reshape(weeks, 168)
    found: Figures = {"hour_of_week": (hours.sum(axis=0) / hours.sum()).round(5).tolist()}
    expected = _near_mean(hours.astype(np.float64))
    for minutes in (2, 10, 60):
        a_slot = 60 // minutes
        counts = np.bincount(((start_s - first_s) // (60 * minutes)).astype(int), minlength=weeks * 168 * a_slot)
        mean = np.repeat(expected.ravel() / a_slot, a_slot)
        known = mean * a_slot > 0.5
        found[f"dispersion_{minutes}_min"] = float(((counts - mean)[known] ** 2).sum() / mean[known].sum())
    days = hours.reshape(weeks, 7, 24).sum(axis=2).astype(np.float64)
    found.update(_day_levels(days))
    length_s = np.concatenate([row.end_s - row.start_s for row in rows])
    gap_s = np.concatenate([row.start_s[1:] - row.end_s[:-1] for row in rows])
    for q in _QUANTILES:
        found[f"length_min_p{q}"] = float(np.percentile(length_s, q)) / 60.0
        found[f"gap_min_p{q}"] = float(np.percentile(gap_s, q)) / 60.0
    for limit in _RETURN_HOURS:
        found[f"return_share_{limit}h"] = float((gap_s < limit * HOUR_S).sum()) / len(length_s)
    found["starts_a_day"] = len(start_s) / len(rows) / (weeks * 7)
    return found


def term_level(rows: Sequence[RowUse], terms: Sequence[tuple[date, date]]) -> float:
    """Mean starts on weekdays outside terms, as a share of those within; NaN where either has no day with starts."""
    start_s = np.concatenate([row.start_s + row.offset_s for row in rows])
    first, last = int(start_s.min() // DAY_S), int(start_s.max() // DAY_S)
    counts = np.bincount((start_s // DAY_S).astype(int) - first, minlength=last - first + 1)
    inside, outside = list[float](), list[float]()
    for number, count in enumerate(counts.tolist()):
        day = _EPOCH + timedelta(days=first + number)
        if day.weekday() < 5:
            (inside if any(a <= day <= b for a, b in terms) else outside).append(count)
    return float(np.mean(outside) / np.mean(inside)) if inside and outside and sum(inside) else float("nan")


def person_figures(rows: Sequence[RowUse], fewest_days: int = 10) -> Figures:
    """How people's days look, over those with `fewest_days` active days or more, each counting alike.

    Returns:
        `sessions_an_active_day`; `start_spread_hours`: median over people of the mean absolute deviation of the first
        start of a day from the person's median; `start_hour_sd`: standard deviation over people of that median;
        `return_share_4h` and `_8h`: share of starts within so many hours of the last session's end, on the same day.

    Raises:
        ValueError: nobody has so many days.
    """
    a_day, spread, usual, back = list[float](), list[float](), list[float](), list[tuple[float, float]]()
    for row in rows:
        local_s = row.start_s + row.offset_s
        day = (local_s - 4 * HOUR_S) // DAY_S  # a night's work belongs to the evening before
        days, first = np.unique(day, return_index=True)
        if len(days) < fewest_days:
            continue
        hour = (local_s[first] - days * DAY_S) / HOUR_S
        a_day.append(len(day) / len(days))
        usual.append(float(np.median(hour)))
        spread.append(float(np.abs(hour - np.median(hour)).mean()))
        gap_s = row.start_s[1:] - row.end_s[:-1]
        same = day[1:] == day[:-1]
        back.append(tuple(float((same & (gap_s < h * HOUR_S)).sum() / len(day)) for h in (4, 8)))  # type: ignore[arg-type]
    if not a_day:
        raise ValueError(f"nobody has {fewest_days} active days")
    return {
        "sessions_an_active_day": float(np.mean(a_day)),
        "start_spread_hours": float(np.median(spread)),
        "start_hour_sd": float(np.std(usual)),
        "return_share_4h": float(np.mean([one[0] for one in back])),
        "return_share_8h": float(np.mean([one[1] for one in back])),
        "people": len(a_day),
    }


def _near_mean(table: Floats) -> Floats:
    """Of each column the mean over the rows (weeks) up to four before and after, the row itself included."""
    near = np.ones(2 * _NEAR_WEEKS + 1)
    sums = np.apply_along_axis(lambda column: np.convolve(column, near, mode="full")[4:-4], 0, table)
    weights = np.convolve(np.ones(len(table)), near, mode="full")[_NEAR_WEEKS:-_NEAR_WEEKS]
    return np.asarray(sums / weights[:, None])


def _day_levels(days: Floats) -> Figures:
    expected = _near_mean(days)
    level = np.where((days > 0) & (expected >= 10), np.log(np.maximum(days, 1) / np.maximum(expected, 1)), np.nan).ravel()
    found: Figures = {"day_level_sd": float(np.nanstd(level))}
    for lag in (1, 7):
        one, other = level[:-lag], level[lag:]
        both = np.isfinite(one) & np.isfinite(other)
        found[f"day_level_autocorrelation_{lag}_day"] = (
            float(np.corrcoef(one[both], other[both])[0, 1]) if both.sum() > 5 else 0.0
        )
    return found
