"""Hour-of-week x idle-age hazard table: a start is foretold by the hour, and by how long the row has been idle.

A discrete-time hazard with two time scales (Allison 1982; hour of week as a covariate of the renewal hazard). The
table is everyone's, each cell shrunk to the product of its hour and its idle age. A row's own habit is a ratio of its
starts to what the table expected of it, as a whole and in each hour of the week (Gamma-Poisson, Clayton and Kaldor
1987).
"""

from __future__ import annotations

import numpy as np

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

HOURS = 168
IDLE_EDGES_S = 60.0 * np.array(
    [10, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720, 960, 1440, 2880, 4320, 10_080, 20_160, 60_480], dtype=float
)
"""Idle ages from ten minutes to six weeks; the last bin is older, or unknown."""
AGES = len(IDLE_EDGES_S) + 1
_DECAY = 0.97
_HOUR_STRENGTH = 0.2
_CELL_STRENGTH = 5.0
_ROW_STRENGTH = 2.0
_ROW_HOUR_STRENGTH = 2.0
_FIRST_RATE_AN_HOUR = 1.0 / 24.0


class HourByIdle:
    """A `HazardExpert`: 1.4 kB a row, and 54 kB for everyone."""

    name = "hour x idle age"

    def __init__(self) -> None:
        self._starts: Floats32 = np.zeros((0, HOURS), dtype=np.float32)
        self._expected: Floats32 = np.zeros((0, HOURS), dtype=np.float32)
        self._whole: Floats = np.zeros((0, 2))
        self._pool: Floats = np.zeros((HOURS * AGES, 2))
        self._week: int | None = None
        self._rates: Floats | None = None

    def grow(self, rows: int) -> None:
        """See `HazardExpert.grow`."""
        self._starts = enlarged(self._starts, rows)
        self._expected = enlarged(self._expected, rows)
        self._whole = enlarged(self._whole, rows)

    def hazards(self, block: SlotBlock) -> Floats:
        """See `HazardExpert.hazards`."""
        hour, cell = _cells(block)
        everyone = self._everyone()[cell]
        whole = ((self._whole[:, 0] + _ROW_STRENGTH) / (self._whole[:, 1] + _ROW_STRENGTH))[block.rows, None]
        at = (block.rows[:, None], hour)
        ratio = (self._starts[at] + _ROW_HOUR_STRENGTH * whole) / (self._expected[at] + _ROW_HOUR_STRENGTH)
        return clipped(-np.expm1(-everyone * ratio * (block.slot_s / 3600.0)))

    def learn(self, block: SlotBlock, outcome: SlotOutcome) -> None:
        """See `HazardExpert.learn`."""
        self._age(int(block.week.max()))
        hour, cell = _cells(block)
        started = (outcome.started & block.at_risk).astype(np.float64)
        hours = exposed_slots(block, outcome) * (block.slot_s / 3600.0)
        expected = self._everyone()[cell] * hours
        self._whole[block.rows] += np.stack((started.sum(axis=1), expected.sum(axis=1)), axis=1)
        rows = np.broadcast_to(block.rows[:, None], hour.shape)
        np.add.at(self._starts, (rows[started > 0], hour[started > 0]), 1.0)
        np.add.at(self._expected, (rows, hour), expected.astype(np.float32))
        self._pool[:, 0] += np.bincount(cell.ravel(), weights=started.ravel(), minlength=len(self._pool))
        self._pool[:, 1] += np.bincount(cell.ravel(), weights=hours.ravel(), minlength=len(self._pool))
        self._rates = None

    def forget(self, row: int) -> None:
        """See `HazardExpert.forget`."""
        self._starts[row] = self._expected[row] = 0.0
        self._whole[row] = 0.0

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
            fade = _DECAY ** min(week - self._week, 520)
            self._starts *= fade
            self._expected *= fade
            self._whole *= fade
            self._pool *= fade
            self._rates = None
        self._week = week if self._week is None else max(week, self._week)


def _cells(block: SlotBlock) -> tuple[Ints, Ints]:
    hour = block.hour_of_week()
    return hour, hour * AGES + np.searchsorted(IDLE_EDGES_S, block.idle_s, side="right")
