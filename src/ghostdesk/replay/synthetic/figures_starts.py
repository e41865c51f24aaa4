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
_NEAR_WEEKS = 3
QUANTILES = (5, 10, 25, 50, 75, 90, 95)
_SLOTS_MIN = (2, 10, 60)
_FEWEST_STARTS = 10
_ORDINARY = (0.7, 1.4)
SHORT_TERM_DAYS = 100
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
        `hour_of_week`: share of starts in each hour from Monday midnight on, 168 numbers. `dispersion_N_min` (2, 10,
        60): Fano factor of the counts against the mean of the same hour of week in the three weeks before and after, 1
        for a Poisson process (Fano 1947), on ordinary days: those with 0.7 to 1.4 times the starts that their weekday
        has in these seven weeks at the median. `mean_count_60_min`: expected starts an hour, as a start finds it.
        `ordinary_day_share`; `day_level_sd`, `day_level_autocorrelation_1_day`: of the logarithm of
        an ordinary day's starts over that median, where it is more than the mean day's starts. `length_min_pNN`,
        `gap_min_pNN`: quantiles of sessions, and of the unused time between a row's sessions, in minutes.
        `return_share_Nh`: share of starts within
        N hours of the end of the row's session before. `starts_a_day`: per row and day on which the row had starts.
        `rows_a_day`: how many rows these were, on average.

    Raises:
        ValueError: fewer than three weeks, or fewer than 100 starts.
    """
    start_s = np.sort(np.concatenate([row.start_s + row.offset_s for row in rows])) if rows else np.zeros(0)
    if len(start_s) < 100 or start_s[-1] - start_s[0] < 3 * WEEK_S:
        raise ValueError("figures of starts need three weeks and 100 starts or more")
    first_s = MONDAY_S + (start_s[0] - MONDAY_S) // WEEK_S * WEEK_S
    weeks = int((start_s[-1] - first_s) // WEEK_S) + 1
    counts = [_counts(start_s, first_s, minutes, weeks) for minutes in _SLOTS_MIN]
    hours = counts[-1].reshape(weeks, 7, 24)
    ordinary = _ordinary(hours.sum(axis=2))
    expected = (
        _near_mean(hours * ordinary[:, :, None]) / np.maximum(_near_mean(ordinary.astype(float)), 1e-9)[:, :, None]
    )
    found: Figures = {"hour_of_week": [round(share, 5) for share in (hours.sum(axis=0) / hours.sum()).ravel().tolist()]}
    known = (expected > 0.5) & ordinary[:, :, None]
    for minutes, count in zip(_SLOTS_MIN, counts, strict=True):
        a_slot = 60 // minutes
        mean, used = np.repeat(expected.ravel() / a_slot, a_slot), np.repeat(known.ravel(), a_slot)
        found[f"dispersion_{minutes}_min"] = float(((count - mean)[used] ** 2).sum() / mean[used].sum())
    found["mean_count_60_min"] = float((expected[known] ** 2).sum() / expected[known].sum())
    found.update(_day_levels(hours.sum(axis=2), ordinary))
    length_s = np.concatenate([row.end_s - row.start_s for row in rows])
    gap_s = np.concatenate([row.start_s[1:] - row.end_s[:-1] for row in rows])
    for q in QUANTILES:
        found[f"length_min_p{q}"] = float(np.percentile(length_s, q)) / 60.0
        found[f"gap_min_p{q}"] = float(np.percentile(gap_s, q)) / 60.0
    for limit in _RETURN_HOURS:
        found[f"return_share_{limit}h"] = float((gap_s < limit * HOUR_S).sum()) / len(length_s)
    days = [len(np.unique((row.start_s + row.offset_s) // DAY_S)) for row in rows]
    found["starts_a_day"] = len(start_s) / sum(days)
    found["rows_a_day"] = sum(days) / (weeks * 7)
    return found


def term_figures(rows: Sequence[RowUse], terms: Sequence[tuple[date, date]]) -> Figures:
    """Mean starts on weekdays in short terms (up to 100 days), and outside terms, as a share of those in long terms.

    Raises:
        ValueError: one of the three has no day.
    """
    start_s = np.concatenate([row.start_s + row.offset_s for row in rows])
    first, last = int(start_s.min() // DAY_S), int(start_s.max() // DAY_S)
    counts = np.bincount((start_s // DAY_S).astype(int) - first, minlength=last - first + 1)
    found: dict[str, list[float]] = {"long": [], "short": [], "none": []}
    for number, count in enumerate(counts.tolist()):
        day = _EPOCH + timedelta(days=first + number)
        if day.weekday() < 5:
            term = next(((a, b) for a, b in terms if a <= day <= b), None)
            kind = "none" if term is None else "short" if (term[1] - term[0]).days <= SHORT_TERM_DAYS else "long"
            found[kind].append(count)
    if not all(found.values()):
        raise ValueError("levels of terms need days in long terms, in short ones and outside")
    usual = float(np.mean(found["long"]))
    return {
        "level_short_terms": float(np.mean(found["short"])) / usual,
        "level_outside_terms": float(np.mean(found["none"])) / usual,
    }


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


def _counts(start_s: Floats, first_s: float, minutes: int, weeks: int) -> Floats:
    slot = ((start_s - first_s) // (60 * minutes)).astype(int)
    return np.bincount(slot, minlength=weeks * WEEK_S // (60 * minutes)).astype(np.float64)


def _ordinary(days: Floats) -> npt.NDArray[np.bool_]:
    """Which days are neither holidays nor breaks nor rushes, and have enough starts to tell; shape (weeks, 7)."""
    middle = _near_median(days)
    return (middle >= _FEWEST_STARTS) & (days >= _ORDINARY[0] * middle) & (days <= _ORDINARY[1] * middle)


def _near_median(days: Floats) -> Floats:
    near = [days[max(week - _NEAR_WEEKS, 0) : week + _NEAR_WEEKS + 1] for week in range(len(days))]
    return np.array([np.median(weeks, axis=0) for weeks in near])


def _near_mean(table: Floats) -> Floats:
    """Along the first axis (weeks) the mean of up to three before and after, the week itself included."""
    flat = table.reshape(len(table), -1)
    sums = np.cumsum(np.concatenate([np.zeros((1, flat.shape[1])), flat]), axis=0)
    week = np.arange(len(flat))
    first, last = np.maximum(week - _NEAR_WEEKS, 0), np.minimum(week + _NEAR_WEEKS + 1, len(flat))
    return np.asarray(((sums[last] - sums[first]) / (last - first)[:, None]).reshape(table.shape))


def _day_levels(days: Floats, ordinary: npt.NDArray[np.bool_]) -> Figures:
    middle = _near_median(days)
    busy = ordinary & (middle >= days.mean())  # quiet weekends and breaks have levels of their own, and few starts
    level = np.where(busy, np.log(np.maximum(days, 1) / np.maximum(middle, 1)), np.nan).ravel()
    found: Figures = {"ordinary_day_share": float(ordinary.mean()), "day_level_sd": float(np.nanstd(level))}
    one, other = level[:-1], level[1:]
    both = np.isfinite(one) & np.isfinite(other)
    found["day_level_autocorrelation_1_day"] = (
        float(np.corrcoef(one[both], other[both])[0, 1]) if both.sum() > 5 else 0.0
    )
    return found
