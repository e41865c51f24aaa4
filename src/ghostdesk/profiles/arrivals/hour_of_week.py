"""Hour-of-week hazard: how often a row's idle slots see a start in this hour of the local week.

Three steps of Gamma-Poisson shrinkage (Clayton and Kaldor 1987): everyone's rate in the hour; times how often this row
comes against what everyone's rates expect of it; and the row's own count in the hour. Weeks fade by `_DECAY`.
"""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.arrivals.seam import Floats, Floats32, SlotBlock, SlotOutcome, clipped, enlarged, exposed_slots

HOURS = 168
_DECAY = 0.95
_POOL_STRENGTH = 0.2
_ROW_STRENGTH = 2.0
_HOUR_STRENGTH = 2.0
_FIRST_RATE_AN_HOUR = 1.0 / 24.0


class HourOfWeek:
    """A `HazardExpert`: 1.4 kB a row."""

    name = "hour of week"

    def __init__(self) -> None:
        self._starts: Floats32 = np.zeros((0, HOURS), dtype=np.float32)
        self._hours: Floats32 = np.zeros((0, HOURS), dtype=np.float32)
        self._whole: Floats = np.zeros((0, 2))
        self._pool: Floats = np.zeros((HOURS, 2))
        self._week: int | None = None

    def grow(self, rows: int) -> None:
        """See `HazardExpert.grow`."""
        self._starts = enlarged(self._starts, rows)
        self._hours = enlarged(self._hours, rows)
        self._whole = enlarged(self._whole, rows)

    def hazards(self, block: SlotBlock) -> Floats:
        """See `HazardExpert.hazards`."""
        hour = block.hour_of_week()
        everyone = self._everyone()[hour]
        ratio = ((self._whole[:, 0] + _ROW_STRENGTH) / (self._whole[:, 1] + _ROW_STRENGTH))[block.rows, None]
        expected = np.maximum(everyone * ratio, 1e-9)
        at = (block.rows[:, None], hour)
        rate = (self._starts[at] + _HOUR_STRENGTH) / (self._hours[at] + _HOUR_STRENGTH / expected)
        return clipped(-np.expm1(-rate * (block.slot_s / 3600.0)))

    def learn(self, block: SlotBlock, outcome: SlotOutcome) -> None:
        """See `HazardExpert.learn`."""
        self._age(int(block.week.max()))
        hour = block.hour_of_week()
        started = (outcome.started & block.at_risk).astype(np.float64)
        hours = exposed_slots(block, outcome) * (block.slot_s / 3600.0)
        expected = (self._everyone()[hour] * hours).sum(axis=1)
        self._whole[block.rows] += np.stack((started.sum(axis=1), expected), axis=1)
        rows = np.broadcast_to(block.rows[:, None], hour.shape)
        np.add.at(self._starts, (rows[started > 0], hour[started > 0]), 1.0)
        np.add.at(self._hours, (rows, hour), hours.astype(np.float32))
        self._pool[:, 0] += np.bincount(hour.ravel(), weights=started.ravel(), minlength=HOURS)
        self._pool[:, 1] += np.bincount(hour.ravel(), weights=hours.ravel(), minlength=HOURS)

    def forget(self, row: int) -> None:
        """See `HazardExpert.forget`."""
        self._starts[row] = self._hours[row] = 0.0
        self._whole[row] = 0.0

    def _everyone(self) -> Floats:
        """Everyone's rate an hour in each hour of the week, shrunk to their mean."""
        starts, hours = self._pool.T
        mean = (starts.sum() + _FIRST_RATE_AN_HOUR) / (hours.sum() + 1.0)
        return np.asarray((starts + _POOL_STRENGTH) / (hours + _POOL_STRENGTH / mean))

    def _age(self, week: int) -> None:
        if self._week is not None and week > self._week:
            fade = _DECAY ** min(week - self._week, 520)
            self._starts *= fade
            self._hours *= fade
            self._whole *= fade
            self._pool *= fade
        self._week = week if self._week is None else max(week, self._week)
