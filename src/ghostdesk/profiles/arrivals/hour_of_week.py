"""Hour-of-week hazard: how often a row's idle slots see a start in this hour of the local week.

Three steps of Gamma-Poisson shrinkage (Clayton and Kaldor 1987): everyone's rate in the hour; times how often this row
comes against what everyone's rates expect of it; and the row's own count in the hour. Weeks fade by `WEEK_DECAY`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.arrivals.hour_starts import HOURS, WEEK_DECAY, HourStarts, add, fade, in_units, minutes
from ghostdesk.profiles.arrivals.seam import Floats, Floats32, SlotBlock, SlotOutcome, clipped, enlarged, exposed_slots

_POOL_STRENGTH = 0.2
_ROW_STRENGTH = 2.0
_HOUR_STRENGTH = 2.0
_FIRST_RATE_AN_HOUR = 1.0 / 24.0
_UNIT = 7
"""Hours at risk are kept as whole numbers of a seventh: 36 in a byte, more than fading lets them come to."""


class HourOfWeek:
    """A `HazardExpert`: 176 bytes a row, beside its starts (336 more).

    Args:
        starts: another expert's, which teaches them and makes room in them; its own when None.
    """

    name = "hour of week"

    def __init__(self, starts: HourStarts | None = None) -> None:
        self._owner = starts is None
        self._starts = starts or HourStarts()
        self._hours: npt.NDArray[np.uint8] = np.zeros((0, HOURS), dtype=np.uint8)
        self._whole: Floats32 = np.zeros((0, 2), dtype=np.float32)
        self._pool: Floats = np.zeros((HOURS, 2))
        self._week: int | None = None

    def grow(self, rows: int) -> None:
        """See `HazardExpert.grow`."""
        if self._owner:
            self._starts.grow(rows)
        self._hours = enlarged(self._hours, rows)
        self._whole = enlarged(self._whole, rows)

    def hazards(self, block: SlotBlock) -> Floats:
        """See `HazardExpert.hazards`."""
        hour = block.hour_of_week()
        everyone = self._everyone()[hour]
        seen = self._whole[block.rows].astype(np.float64)
        ratio = ((seen[:, 0] + _ROW_STRENGTH) / (seen[:, 1] + _ROW_STRENGTH))[:, None]
        expected = np.maximum(everyone * ratio, 1e-9)
        at = (block.rows[:, None], hour)
        rate = (self._starts.of(*at) + _HOUR_STRENGTH) / (self._hours[at] / float(_UNIT) + _HOUR_STRENGTH / expected)
        return clipped(-np.expm1(-rate * (block.slot_s / 3600.0)))

    def learn(self, block: SlotBlock, outcome: SlotOutcome) -> None:
        """See `HazardExpert.learn`."""
        self._age(int(block.week.max()))
        hour = block.hour_of_week()
        started = (outcome.started & block.at_risk).astype(np.float64)
        hours = exposed_slots(block, outcome) * (block.slot_s / 3600.0)
        expected = (self._everyone()[hour] * hours).sum(axis=1)
        self._whole[block.rows] += np.stack((started.sum(axis=1), expected), axis=1)
        if self._owner:
            self._starts.learn(block, outcome)
        counts = block.at_risk
        rows = np.broadcast_to(block.rows[:, None], hour.shape)[counts]
        units = in_units(hours[counts], _UNIT, minutes(block)[counts], self._hours[rows, hour[counts]])
        add(self._hours, rows, hour[counts], units)
        self._pool[:, 0] += np.bincount(hour.ravel(), weights=started.ravel(), minlength=HOURS)
        self._pool[:, 1] += np.bincount(hour.ravel(), weights=hours.ravel(), minlength=HOURS)

    def forget(self, row: int) -> None:
        """See `HazardExpert.forget`."""
        self._pool = np.maximum(
            self._pool - np.stack((self._starts.of_row(row), self._hours[row] / float(_UNIT)), axis=1), 0.0
        )
        self._clear(row)

    def move(self, source: int, target: int) -> None:
        """See `HazardExpert.move`."""
        if self._owner:
            self._starts.move(source, target)
        self._hours[target], self._whole[target] = self._hours[source], self._whole[source]
        self._clear(source)

    def nbytes(self) -> int:
        """See `HazardExpert.nbytes`."""
        return self._hours.nbytes + self._whole.nbytes + (self._starts.nbytes() if self._owner else 0)

    def _clear(self, row: int) -> None:
        if self._owner:
            self._starts.clear(row)
        self._hours[row] = 0
        self._whole[row] = 0.0

    def _everyone(self) -> Floats:
        """Everyone's rate an hour in each hour of the week, shrunk to their mean."""
        starts, hours = self._pool.T
        mean = (starts.sum() + _FIRST_RATE_AN_HOUR) / (hours.sum() + 1.0)
        return np.asarray((starts + _POOL_STRENGTH) / (hours + _POOL_STRENGTH / mean))

    def _age(self, week: int) -> None:
        if self._week is not None and week > self._week:
            share = WEEK_DECAY ** min(week - self._week, 520)
            fade(self._hours, share, week)
            self._whole *= np.float32(share)
            self._pool *= share
        self._week = week if self._week is None else max(week, self._week)
