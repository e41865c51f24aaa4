"""Whether a stream of numbers has changed: its mean by an adaptive window, counts against their forecasts by sums.

Both keep a few numbers however long the stream is, and neither needs to be told what to expect: a window compares the
latest with what came before, a sum compares counts with the forecasts that were made of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_A_ROW = 5
"""Buckets of each size; the method's M. More tell the moment of a change more exactly."""
_CHECK_EVERY = 32
_FEWEST = 16
"""Neither part of a window that is cut in two is smaller than this."""


@dataclass(slots=True)
class _Bucket:
    """Some numbers in a row: how many, their sum, and the sum of their squares."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def merge(self, other: _Bucket) -> None:
        self.count += other.count
        self.total += other.total
        self.squares += other.squares


class AdaptiveWindow:
    """The latest numbers, as far back as their mean was the same: ADWIN2.

    Bifet and Gavalda, "Learning from time-changing data with adaptive windowing" (SIAM Data Mining 2007). Whenever some
    cut of the window leaves two parts whose means differ by more than chance allows, the older is dropped. With
    numbers that are independent, a window of numbers without change is cut with probability `doubt` at most. A window
    of n numbers takes some 5 x log2(n / 5) buckets of three numbers.

    Args:
        doubt: the method's delta.
    """

    def __init__(self, doubt: float = 1e-4) -> None:
        self._doubt = doubt
        self._rows: list[list[_Bucket]] = [[]]
        """Row i holds buckets of 2 to the i numbers, latest first."""
        self._whole = _Bucket()
        self._since_check = 0

    @property
    def count(self) -> int:
        """Numbers in the window."""
        return self._whole.count

    @property
    def mean(self) -> float:
        """Their mean; NaN without any."""
        return self._whole.total / self._whole.count if self._whole.count else math.nan

    def buckets(self) -> int:
        """How many buckets are kept."""
        return sum(map(len, self._rows))

    def add(self, value: float) -> float | None:
        """Take in a number of 0 to 1; the mean of what was dropped when the numbers have changed, else None."""
        one = _Bucket(1, value, value * value)
        self._whole.merge(one)
        self._rows[0].insert(0, one)
        self._compress()
        self._since_check += 1
        if self._since_check < _CHECK_EVERY:
            return None
        self._since_check = 0
        dropped = _Bucket()
        while self._changed():
            dropped.merge(self._drop_oldest())
        return dropped.total / dropped.count if dropped.count else None

    def _compress(self) -> None:
        for level, row in enumerate(self._rows):
            if len(row) <= _A_ROW:
                return
            oldest = row.pop()
            oldest.merge(row.pop())
            if level + 1 == len(self._rows):
                self._rows.append([])
            self._rows[level + 1].insert(0, oldest)

    def _changed(self) -> bool:
        """Whether some cut tells the older part from the newer one."""
        whole = self._whole
        if whole.count < 2 * _FEWEST:
            return False
        spread = max(whole.squares / whole.count - (whole.total / whole.count) ** 2, 0.0)
        log = math.log(2.0 * math.log(whole.count) / self._doubt)
        older = _Bucket()
        for row in reversed(self._rows):
            for bucket in reversed(row):
                older.merge(bucket)
                newer = whole.count - older.count
                if newer < _FEWEST:
                    return False
                if older.count < _FEWEST:
                    continue
                share = 1.0 / older.count + 1.0 / newer
                bound = math.sqrt(2.0 * share * spread * log) + 2.0 / 3.0 * share * log
                if abs(older.total / older.count - (whole.total - older.total) / newer) > bound:
                    return True
        return False

    def _drop_oldest(self) -> _Bucket:
        while not self._rows[-1]:
            self._rows.pop()
        oldest = self._rows[-1].pop()
        self._whole.merge(_Bucket(-oldest.count, -oldest.total, -oldest.squares))
        return oldest


class LevelWatch:
    """Whether the mean of a stream has gone up, and since when it is told from what was before.

    Args:
        tolerance: a rise below this is no matter, however certain.
        fewest: so many of the latest numbers are needed to say so.
    """

    def __init__(self, tolerance: float, fewest: int) -> None:
        self._tolerance, self._fewest = tolerance, fewest
        self._window = AdaptiveWindow()
        self._before: float | None = None

    @property
    def now(self) -> float:
        """Mean of the latest numbers, as far back as it was the same; NaN without any."""
        return self._window.mean

    @property
    def before(self) -> float | None:
        """What the mean was before it rose; None while it did not."""
        return self._before if self.risen else None

    @property
    def risen(self) -> bool:
        """Whether the mean is above what it was before; it ends when the mean is back."""
        before, window = self._before, self._window
        return before is not None and window.count >= self._fewest and window.mean >= before + self._tolerance

    def add(self, value: float) -> None:
        """Take in a number of 0 to 1."""
        dropped = self._window.add(value)
        if dropped is None:
            return
        if self._before is None:
            self._before = dropped  # a rise that goes on, however slowly, is measured from where it began
        if self._window.mean <= self._before:
            self._before = None


RATIO = 1.5
"""The change of a rate that is looked for: to half as much again, or to two thirds."""
LIMIT = 12.0
"""Where the sums say so. With right forecasts that happens once in e to the 12 = 160,000 counts, or more rarely."""


class CountWatch:
    """Whether counts are more, or fewer, than was forecast of them: cumulative sums of log likelihood ratios.

    Page (Biometrika 41, 1954), for counts Lucas, "Counted data CUSUM's" (Technometrics 27, 1985); that false alarms are
    at least e to the limit apart is Lorden's bound (Annals of Mathematical Statistics 42, 1971). Counts that are
    over-dispersed weigh less (quasi-likelihood). Forecasts that are up to a fifth too high or too low raise no alarm.
    """

    def __init__(self) -> None:
        self._more = self._fewer = 0.0
        self.counts = 0

    def add(self, came: float, expected: float, dispersion: float = 1.0) -> None:
        """A count came to an end: what it was, what was forecast, and the forecast's variance over its mean."""
        if not (math.isfinite(expected) and expected >= 0.0 and math.isfinite(came)):
            return
        self.counts += 1
        weight = 1.0 / max(dispersion, 1.0)
        log = math.log(RATIO)
        self._more = _held(self._more + weight * (came * log - expected * (RATIO - 1.0)))
        self._fewer = _held(self._fewer + weight * (expected * (1.0 - 1.0 / RATIO) - came * log))

    @property
    def more(self) -> bool:
        """Whether more came than was forecast."""
        return self._more >= LIMIT

    @property
    def fewer(self) -> bool:
        """Whether fewer came than was forecast."""
        return self._fewer >= LIMIT


def _held(sum_: float) -> float:
    """Never below nothing, and never so high that the way back takes for ever."""
    return min(max(sum_, 0.0), 2.0 * LIMIT)
