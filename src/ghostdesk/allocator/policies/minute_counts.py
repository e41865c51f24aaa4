"""Starts of everyone by the minute of the week, of the last weeks: what several policies draw from. Pure."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ghostdesk.allocator.policies.seam import Floats, Moment, Observed
from ghostdesk.profiles.baselines.slots import MONDAY_S

WEEK_MINUTES = 10_080
_MINUTE_S = 60.0


def reach_minutes(moment: Moment) -> int:
    """Minutes that a decision has to answer for: until a ghost that is asked for next time would be ready."""
    return max(1, math.ceil((moment.lead_s + moment.until_s - moment.now_s) / _MINUTE_S - 1e-9))


class MinuteCounts:
    """How many starts each minute of the last weeks saw, on the local clock.

    Args:
        weeks: how many weeks are kept, the present one not counted.
    """

    def __init__(self, weeks: int) -> None:
        self._weeks = weeks + 1
        self._counts: npt.NDArray[np.float32] = np.zeros((self._weeks, WEEK_MINUTES), dtype=np.float32)
        self._offset_s = 0.0
        self.week: int | None = None
        self.first_week: int | None = None

    def turn(self, moment: Moment) -> None:
        """The clock shows this now: weeks that are over too long are forgotten."""
        self._offset_s = moment.offset_s
        if self.week is None:
            self.week = self.first_week = moment.week
        for week in range(max(self.week + 1, moment.week - self._weeks + 1), moment.week + 1):
            self._counts[week % self._weeks] = 0.0
        self.week = max(self.week, moment.week)

    def observe(self, observed: Observed) -> None:
        """Count the starts."""
        if self.week is None:
            return
        for start_s in observed.started_s.tolist():
            local_s = start_s + self._offset_s + MONDAY_S
            if self.week - self._weeks < local_s // (WEEK_MINUTES * _MINUTE_S) <= self.week:
                minute = int(local_s // _MINUTE_S)
                self._counts[minute // WEEK_MINUTES % self._weeks, minute % WEEK_MINUTES] += 1.0

    def before(self, first_minute: int, minutes: int) -> Floats:
        """Counts of these minutes of the week in each past week that was seen, shape (weeks seen, minutes)."""
        if self.week is None or self.first_week is None:
            return np.zeros((0, minutes))
        oldest = max(self.first_week, self.week - self._weeks + 1)
        places = (first_minute + np.arange(minutes)) % WEEK_MINUTES
        return np.array(
            [self._counts[week % self._weeks, places] for week in range(oldest, self.week)], dtype=np.float64
        ).reshape(-1, minutes)

    def windows(self, first_minute: int, minutes: int, reach: int) -> Floats:
        """Starts in the `reach` minutes from each of `minutes` on, in each past week, shape (weeks seen, minutes).

        Where the week ends meanwhile, it goes on with the same week's beginning.
        """
        sums = np.cumsum(self.before(first_minute, minutes + reach), axis=1)
        sums = np.concatenate((np.zeros((len(sums), 1)), sums), axis=1)
        return np.asarray(sums[:, reach : reach + minutes] - sums[:, :minutes])
