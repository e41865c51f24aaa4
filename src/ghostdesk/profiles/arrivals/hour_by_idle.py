"""Hour-of-week x idle-age hazard table: a start is foretold by the hour, and by how long the row has been idle.

A discrete-time hazard with two time scales (Allison 1982; hour of week as a covariate of the renewal hazard). The
table is everyone's, each cell shrunk to the product of its hour and its idle age. A row's own habit is a ratio of its
starts to what the table expected of it, as a whole and in each hour of the week (Gamma-Poisson, Clayton and Kaldor
1987).
"""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.arrivals.hour_starts import (
    HOURS,
    UNIT,
    WEEK_DECAY,
    HourStarts,
    Words,
    add,
    fade,
    in_units,
    minutes,
)
from ghostdesk.profiles.arrivals.seam import (
    Floats,
    Floats32,
    Ints,
    SlotBlock,
    SlotOutcome,
    clipped,
    enlarged,
    exposed_slots,
)

IDLE_EDGES_S = 60.0 * np.array(
    [10, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720, 960, 1440, 2880, 4320, 10_080, 20_160, 60_480], dtype=float
)
"""Idle ages from ten minutes to six weeks; the last bin is older, or unknown."""
AGES = len(IDLE_EDGES_S) + 1
_HOUR_STRENGTH = 0.2
_CELL_STRENGTH = 5.0
_ROW_STRENGTH = 2.0
_ROW_HOUR_STRENGTH = 2.0
_FIRST_RATE_AN_HOUR = 1.0 / 24.0


class HourByIdle:
    """A `HazardExpert`: 680 bytes a row, its starts among them, and 54 kB for everyone."""

    name = "hour x idle age"

    def __init__(self) -> None:
        self.starts = HourStarts()
        self._expected: Words = np.zeros((0, HOURS), dtype=np.uint16)
        self._whole: Floats32 = np.zeros((0, 2), dtype=np.float32)
        self._pool: Floats = np.zeros((HOURS * AGES, 2))
        self._week: int | None = None
        self._rates: Floats | None = None
        self._last: tuple[SlotBlock, Floats] | None = None

    def grow(self, rows: int) -> None:
        """See `HazardExpert.grow`."""
        self.starts.grow(rows)
        self._expected = enlarged(self._expected, rows)
        self._whole = enlarged(self._whole, rows)

    def hazards(self, block: SlotBlock) -> Floats:
        """See `HazardExpert.hazards`. Asked again about the same block (by corrected ones), it answers from memory."""
        if self._last is not None and self._last[0] is block:
            return self._last[1]
        hour, cell = _cells(block)
        everyone = self._everyone()[cell]
        seen = self._whole[block.rows].astype(np.float64)
        whole = ((seen[:, 0] + _ROW_STRENGTH) / (seen[:, 1] + _ROW_STRENGTH))[:, None]
        at = (block.rows[:, None], hour)
        expected = self._expected[at] / float(UNIT)
        ratio = (self.starts.of(*at) + _ROW_HOUR_STRENGTH * whole) / (expected + _ROW_HOUR_STRENGTH)
        found = clipped(-np.expm1(-everyone * ratio * (block.slot_s / 3600.0)))
        self._last = (block, found)
        return found

    def learn(self, block: SlotBlock, outcome: SlotOutcome) -> None:
        """See `HazardExpert.learn`."""
        self._age(int(block.week.max()))
        hour, cell = _cells(block)
        started = (outcome.started & block.at_risk).astype(np.float64)
        hours = exposed_slots(block, outcome) * (block.slot_s / 3600.0)
        expected = self._everyone()[cell] * hours
        self._whole[block.rows] += np.stack((started.sum(axis=1), expected.sum(axis=1)), axis=1)
        self.starts.learn(block, outcome)
        counts = block.at_risk
        rows = np.broadcast_to(block.rows[:, None], hour.shape)[counts]
        units = in_units(expected[counts], UNIT, minutes(block)[counts], self._expected[rows, hour[counts]])
        add(self._expected, rows, hour[counts], units)
        self._pool[:, 0] += np.bincount(cell.ravel(), weights=started.ravel(), minlength=len(self._pool))
        self._pool[:, 1] += np.bincount(cell.ravel(), weights=hours.ravel(), minlength=len(self._pool))
        self._rates = self._last = None

    def forget(self, row: int) -> None:
        """See `HazardExpert.forget`. A row's part in an hour is its share of that hour's (expected) starts of all."""
        own = np.stack((self.starts.of_row(row), self._expected[row] / float(UNIT)), axis=1)
        of_all = np.stack((self.starts.of_all(), self._expected.sum(axis=0, dtype=np.float64) / UNIT), axis=1)
        pool = self._pool.reshape(HOURS, AGES, 2)
        pool *= (1.0 - own / np.maximum(of_all, 1.0 / UNIT))[:, None, :]
        self._clear(row)

    def move(self, source: int, target: int) -> None:
        """See `HazardExpert.move`."""
        self.starts.move(source, target)
        self._expected[target], self._whole[target] = self._expected[source], self._whole[source]
        self._clear(source)

    def nbytes(self) -> int:
        """See `HazardExpert.nbytes`."""
        return self.starts.nbytes() + self._expected.nbytes + self._whole.nbytes

    def _clear(self, row: int) -> None:
        self.starts.clear(row)
        self._expected[row] = 0
        self._whole[row] = 0.0
        self._rates = self._last = None

    def _everyone(self) -> Floats:
        """Everyone's rate an hour in each cell: hour and idle age flattened."""
        if self._rates is None:
            starts, hours = self._pool.T.reshape(2, HOURS, AGES)
            mean = (starts.sum() + _FIRST_RATE_AN_HOUR) / (hours.sum() + 1.0)
            by_hour = (starts.sum(axis=1) + _HOUR_STRENGTH) / (hours.sum(axis=1) + _HOUR_STRENGTH / mean)
            by_age = (starts.sum(axis=0) + _HOUR_STRENGTH) / (by_hour @ hours + _HOUR_STRENGTH)
            product = by_hour[:, None] * by_age[None, :]
            self._rates = ((starts + _CELL_STRENGTH) / (hours + _CELL_STRENGTH / product)).ravel()
        return self._rates

    def _age(self, week: int) -> None:
        if self._week is not None and week > self._week:
            share = WEEK_DECAY ** min(week - self._week, 520)
            fade(self._expected, share, week)
            self._whole *= np.float32(share)
            self._pool *= share
            self._rates = None
        self._week = week if self._week is None else max(week, self._week)


def _cells(block: SlotBlock) -> tuple[Ints, Ints]:
    hour = block.hour_of_week()
    return hour, hour * AGES + np.searchsorted(IDLE_EDGES_S, block.idle_s, side="right")
