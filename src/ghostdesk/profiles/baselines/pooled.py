"""Sign-ins of everyone together: hour-of-week rates with forgetting, corrected by how the last hours went."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WEEKS_KEPT = 32
_DECAY = 0.75
"""Weight of each week against the one after it."""
_PRIOR_WEEKS = 0.25
"""The same time of any day counts as so much of a week in every slot."""
_RECENT_SLOTS = 6
_RECENT_STRENGTH = 5.0
"""Sign-ins that the last hours need before they outweigh the table."""
_RATIO_FADE_SLOTS = 6.0
_MOST_UNCERTAINTY = 4.0
_LEAST_EXPECTED = 0.02
_FEWEST_SLOTS = 20


@dataclass(frozen=True, slots=True)
class PooledRates:
    """Expected sign-ins in a whole slot of the week each, and the squared relative error of these rates."""

    expected: Floats
    uncertainty: float

    def dispersion(self, expected: float) -> float:
        """Variance over mean of a count with this mean: Poisson counts at a rate that is itself gamma distributed."""
        return 1.0 + self.uncertainty * expected


class PooledArrivals:
    """Counts by week and slot of the week. Slot numbers are those of `WeekSlots`.

    The expectation of a slot is a weighted mean of the same slot in earlier weeks, shrunk towards the same time of all
    days, times the ratio of actual to expected sign-ins in the last hours, which fades ahead. How uncertain the rates
    are is estimated from the one-step-ahead errors of the table over the weeks kept.
    """

    def __init__(self, a_week: int, a_day: int) -> None:
        self._a_week = a_week
        self._a_day = a_day
        self._weeks: dict[int, npt.NDArray[np.int32]] = {}
        self._first: int | None = None
        self._cache: tuple[int, Floats, Floats] | None = None
        self.total = 0

    def add(self, number: int) -> None:
        """One sign-in in this slot."""
        self.note(number)
        week = number // self._a_week
        counts = self._weeks.get(week)
        if counts is None:
            counts = self._weeks[week] = np.zeros(self._a_week, dtype=np.int32)
            if len(self._weeks) > WEEKS_KEPT:
                del self._weeks[min(self._weeks)]
        counts[number % self._a_week] += 1
        self.total += 1
        if self._cache is not None and number < self._cache[0]:
            self._cache = None

    def remove(self, number: int) -> None:
        """Take one sign-in in this slot back, if it is still counted."""
        counts = self._weeks.get(number // self._a_week)
        if counts is not None and counts[number % self._a_week] > 0:
            counts[number % self._a_week] -= 1
            self.total -= 1
            self._cache = None

    def note(self, number: int) -> None:
        """Something was recorded in this slot: from here on, silence means that nobody came."""
        if self._first is None or number < self._first:
            self._first = number
            self._cache = None

    def predict(self, now: int, fraction: float, ahead: npt.NDArray[np.int64]) -> PooledRates:
        """Expected sign-ins in a whole slot each for the slots `ahead` (any shape), from slot `now` on.

        `fraction` is how much of slot `now` has passed.
        """
        flat_expected, flat_actual = self._flat(now)
        ahead_table = flat_expected[-self._a_week :][(ahead - now) % self._a_week]
        past = flat_expected[-self._a_week - _RECENT_SLOTS : -self._a_week]
        running = flat_expected[-self._a_week] * fraction
        seen = flat_actual[-_RECENT_SLOTS:].sum() + self._count(now)
        ratio = (seen + _RECENT_STRENGTH) / (past.sum() + running + _RECENT_STRENGTH)
        fade = np.exp(-np.maximum(ahead - now, 0) / _RATIO_FADE_SLOTS)
        return PooledRates(ahead_table * (1.0 + (ratio - 1.0) * fade), _uncertainty(flat_expected, flat_actual))

    def _count(self, number: int) -> int:
        counts = self._weeks.get(number // self._a_week)
        return int(counts[number % self._a_week]) if counts is not None else 0

    def _flat(self, now: int) -> tuple[Floats, Floats]:
        """Expectations of all slots of the weeks kept and of the week from `now` on, and the counts up to `now`."""
        if self._cache is not None and self._cache[0] == now:
            return self._cache[1], self._cache[2]
        weeks = range(now // self._a_week - WEEKS_KEPT, now // self._a_week + 1)
        empty = np.zeros(self._a_week, dtype=np.int32)
        actual = np.array([self._weeks.get(week, empty) for week in weeks], dtype=np.float64)
        numbers = np.arange(weeks[0] * self._a_week, (weeks[-1] + 1) * self._a_week).reshape(actual.shape)
        first = self._first if self._first is not None else now
        known = ((numbers >= first) & (numbers < now)).astype(np.float64)
        actual *= known
        rows = [self._table(np.zeros(self._a_week), np.zeros(self._a_week))]
        sums, weights = np.zeros(self._a_week), np.zeros(self._a_week)
        for count, seen in zip(actual, known, strict=True):
            # A week that was not seen in a slot leaves that slot's weight alone.
            forget = np.where(seen > 0, _DECAY, 1.0)
            sums, weights = sums * forget + count, weights * forget + seen
            rows.append(self._table(sums, weights))
        expected = np.concatenate(rows)[: now - numbers[0, 0] + self._a_week]
        self._cache = (now, expected, actual.reshape(-1)[: now - numbers[0, 0]])
        return self._cache[1], self._cache[2]

    def _table(self, sums: Floats, weights: Floats) -> Floats:
        days = self._a_week // self._a_day
        by_day = sums.reshape(days, self._a_day).sum(axis=0) / (weights.reshape(days, self._a_day).sum(axis=0) + 1e-9)
        return (sums + _PRIOR_WEEKS * np.tile(by_day, days)) / (weights + _PRIOR_WEEKS)


def _uncertainty(expected: Floats, actual: Floats) -> float:
    """The squared relative error of the rate, by moments: what squared errors exceed chance by; 0 to 4."""
    ahead = expected[: len(actual)]
    used = ahead > _LEAST_EXPECTED
    if used.sum() < _FEWEST_SLOTS:
        return 0.0
    beyond = (actual[used] - ahead[used]) ** 2 - ahead[used]
    return float(np.clip(beyond.sum() / (ahead[used] ** 2).sum(), 0.0, _MOST_UNCERTAINTY))
