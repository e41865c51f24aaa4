"""Starts of each row by the hour of the local week, fading by the week: shared by the experts that count them.

Sums are kept as whole numbers of a small unit. What is added, or left after fading, is rounded up or down with
odds that make it right on average. The chance is a fixed function of the time and of the sums: the same history gives
the same sums.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.arrivals.seam import WEEK_S, Floats, Ints, SlotBlock, SlotOutcome, enlarged

HOURS = 168
WEEK_DECAY = 0.97
UNIT = 256
_MOST = 65_535
_CHUNK = 4_096

Words = npt.NDArray[np.uint16]


class HourStarts:
    """336 bytes a row."""

    def __init__(self) -> None:
        self._sums: Words = np.zeros((0, HOURS), dtype=np.uint16)
        self._week: int | None = None

    def grow(self, rows: int) -> None:
        """Make room for so many rows."""
        self._sums = enlarged(self._sums, rows)

    def of(self, rows: Ints, hour: Ints) -> Floats:
        """Faded starts of rows in hours, both of any shape."""
        return np.asarray(self._sums[rows, hour] / float(UNIT))

    def of_row(self, row: int) -> Floats:
        """Faded starts of one row in every hour."""
        return np.asarray(self._sums[row] / float(UNIT))

    def of_all(self) -> Floats:
        """Faded starts of all rows together in every hour."""
        return np.asarray(self._sums.sum(axis=0, dtype=np.float64) / UNIT)

    def learn(self, block: SlotBlock, outcome: SlotOutcome) -> None:
        """The block is over."""
        week = int(block.week.max())
        if self._week is not None and week > self._week:
            fade(self._sums, WEEK_DECAY ** min(week - self._week, 520), week)
        self._week = week if self._week is None else max(week, self._week)
        started = outcome.started & block.at_risk
        if started.any():
            rows = np.broadcast_to(block.rows[:, None], started.shape)[started]
            add(self._sums, rows, block.hour_of_week()[started], np.full(len(rows), UNIT))

    def clear(self, row: int) -> None:
        """Drop a row's starts."""
        self._sums[row] = 0

    def move(self, source: int, target: int) -> None:
        """Row `source` takes the place of row `target`, and is empty then."""
        self._sums[target] = self._sums[source]
        self._sums[source] = 0

    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return self._sums.nbytes


def add(sums: npt.NDArray[np.unsignedinteger], rows: Ints, columns: Ints, units: Ints) -> None:
    """Add whole units to cells, some of which may be named twice; a full cell stays full."""
    most = int(np.iinfo(sums.dtype).max)
    at, which = np.unique(rows * sums.shape[1] + columns, return_inverse=True)
    more = np.bincount(which.ravel(), weights=units).astype(np.int64)
    cells = (at // sums.shape[1], at % sums.shape[1])
    sums[cells] = np.minimum(sums[cells].astype(np.int64) + more, most)


def in_units(amounts: Floats, unit: int, minute: Ints, before: npt.NDArray[np.unsignedinteger]) -> Ints:
    """Amounts as whole units, rounded by the chance of the minute and of the sums before; all of the same shape."""
    return np.asarray((amounts * unit + _chance(minute, before.astype(np.int64))).astype(np.int64))


def minutes(block: SlotBlock) -> Ints:
    """Minutes of local time at each slot's start, shape (rows, slots)."""
    return np.asarray(block.week * (WEEK_S // 60) + (block.week_s // 60.0).astype(np.int64))


def fade(sums: npt.NDArray[np.unsignedinteger], share: float, week: int) -> None:
    """Leave a share of all sums; equal ones are rounded alike in a week, and otherwise in the next."""
    every = np.arange(int(np.iinfo(sums.dtype).max) + 1)
    left = (every * share + _chance(np.full(len(every), week * (WEEK_S // 60)), every)).astype(sums.dtype)
    for start in range(0, len(sums), _CHUNK):
        part = sums[start : start + _CHUNK]
        np.take(left, part, out=part, mode="clip")


def _chance(minute: Ints, sums: Ints) -> Floats:
    """0 to 1, even, as good as by chance."""
    return np.asarray(((minute * 40_503 + sums * 2_654_435_761) >> 7 & 1023) / 1024.0)
