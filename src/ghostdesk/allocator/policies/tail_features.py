"""What a forecast of the next minutes sees: habits of the week, how today goes against them, and the last minutes.

All of it is kept incrementally; a minute costs some ten vector operations. Pure.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ghostdesk.allocator.policies.minute_counts import WEEK_MINUTES
from ghostdesk.allocator.policies.seam import Floats, Ints, Moment, Observed

DAY_MINUTES = 1_440
_DAY_S = 86_400.0
_HABITS = ((0.5, 5.0), (0.75, 5.0), (0.9, 5.0), (0.9, 20.0))
"""Of each habit of the week: what a week fades by, and over how many minutes it is smoothed (standard deviation)."""
_LEVELS = ((15, 2.0), (30, 2.0), (60, 2.0), (180, 3.0), (720, 5.0), (1_440, 10.0))
"""Windows (minutes) over which what happened is held against a habit, and how many starts each shrinks by."""
_STARTS = ((1, 0.5), (2, 0.5), (3, 0.5), (5, 0.3), (10, 0.3), (15, 0.3), (30, 0.3), (60, 0.3), (10_080, 5.0))
_ENDS = ((5, 0.5), (15, 0.5), (60, 0.5))
_RING = 16_384
_LEAST_RATE = 5e-4
_AHEAD = 4
_DAY_WAVES, _HOUR_WAVES = (1, 2, 3), (1, 2, 4)


class TailFeatures:
    """Keeps the past, and puts it as numbers about 0 to 1 in size."""

    size = len(_HABITS) * (1 + len(_LEVELS)) + len(_STARTS) + len(_ENDS) + 1
    size += 2 * (len(_DAY_WAVES) + len(_HOUR_WAVES)) + 7

    def __init__(self) -> None:
        habits = len(_HABITS)
        self._sums: Floats = np.zeros((habits, WEEK_MINUTES))
        self._weights: Floats = np.zeros((habits, 7))
        self._rate: Floats = np.full((habits, WEEK_MINUTES), _LEAST_RATE)
        self._ahead = self._rate * _AHEAD
        self._kernels = [_gaussian(width) for _, width in _HABITS]
        self._day_counts: Floats = np.zeros(DAY_MINUTES)
        self._day = -1
        self._passed: Floats = np.zeros((_RING, habits + 2))  # running sums of expected starts, starts and ends
        self._minute = 0
        self._starts = self._ends = 0
        self._windows: Ints = np.array([w for w, _ in _LEVELS])
        self._shrink: Floats = np.array([s for _, s in _LEVELS])[:, None]
        self._last: Ints = np.array([w for w, _ in (*_STARTS, *_ENDS)])
        self._column: Ints = np.array([habits] * len(_STARTS) + [habits + 1] * len(_ENDS))
        self._floor: Floats = np.array([s for _, s in (*_STARTS, *_ENDS)])
        self._clock = _clock_table()

    def observe(self, observed: Observed) -> None:
        """Count starts and ends since the last `now`."""
        self._starts += len(observed.started_s)
        self._ends += len(observed.ended_s)

    def now(self, moment: Moment) -> npt.NDArray[np.float32]:
        """What is known at this moment, shape (size,). Called once a minute, in order."""
        local_s = moment.now_s + moment.offset_s
        self._pass_minute()
        if local_s // _DAY_S != self._day:
            self._turn_day(int(local_s // _DAY_S), int(moment.week_s // _DAY_S))
        minute = min(int(moment.week_s // 60.0), WEEK_MINUTES - 1)
        habits = len(_HABITS)
        here = self._passed[self._minute % _RING]
        gone = here - self._passed[(self._minute - np.minimum(self._windows, self._minute)) % _RING]
        ratio = (gone[:, habits : habits + 1] + self._shrink) / (gone[:, :habits] + self._shrink)
        ahead = np.log(self._ahead[:, minute])
        back = (self._minute - np.minimum(self._last, self._minute)) % _RING
        recent = np.log((here[self._column] - self._passed[back, self._column] + self._floor) / self._last)
        self._expecting = minute
        return np.concatenate(
            (0.4 * ahead, (0.4 * (ahead + np.log(ratio))).ravel(), 0.4 * recent,
             [0.4 * np.log(moment.active + 3.0)], self._clock[minute])
        ).astype(np.float32)  # fmt: skip

    def _pass_minute(self) -> None:
        if self._day < 0:
            return
        before = self._passed[self._minute % _RING]
        self._minute += 1
        after = self._passed[self._minute % _RING]
        after[: len(_HABITS)] = before[: len(_HABITS)] + self._rate[:, self._expecting]
        after[len(_HABITS)] = before[len(_HABITS)] + self._starts
        after[len(_HABITS) + 1] = before[len(_HABITS) + 1] + self._ends
        self._day_counts[self._expecting % DAY_MINUTES] += self._starts
        self._starts = self._ends = 0

    def _turn_day(self, day: int, weekday: int) -> None:
        """The day that is over joins the habits of its weekday."""
        if self._day >= 0:
            over = (weekday - (day - self._day)) % 7
            place = over * DAY_MINUTES
            for habit, (fade, _) in enumerate(_HABITS):
                self._weights[habit, over] = fade * self._weights[habit, over] + 1.0
                self._sums[habit, place : place + DAY_MINUTES] *= fade
                self._sums[habit, place : place + DAY_MINUTES] += np.convolve(
                    np.pad(self._day_counts, len(self._kernels[habit]) // 2, mode="edge"), self._kernels[habit], "valid"
                )
            whole = self._sums.sum(axis=1) / np.maximum(self._weights.sum(axis=1), 1.0) / DAY_MINUTES
            weights = np.repeat(self._weights, DAY_MINUTES, axis=1)
            self._rate = (self._sums + 0.1 * whole[:, None]) / (weights + 0.1) + _LEAST_RATE
            wide = np.concatenate((self._rate, self._rate[:, :_AHEAD]), axis=1)
            self._ahead = np.sum([wide[:, k : k + WEEK_MINUTES] for k in range(_AHEAD)], axis=0)
        self._day = day
        self._day_counts[:] = 0.0

    _expecting = 0


def _gaussian(width: float) -> Floats:
    reach = int(4 * width)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    return np.asarray(kernel / kernel.sum())


def _clock_table() -> Floats:
    """Waves of the day and the hour and the day of the week, for each minute of the week."""
    minute = np.arange(WEEK_MINUTES)
    day, hour = 2.0 * np.pi * minute / DAY_MINUTES, 2.0 * np.pi * minute / 60.0
    waves = [wave(k * day) for k in _DAY_WAVES for wave in (np.sin, np.cos)]
    waves += [wave(k * hour) for k in _HOUR_WAVES for wave in (np.sin, np.cos)]
    weekday = minute // DAY_MINUTES
    return np.stack([*waves, *((weekday == one).astype(np.float64) for one in range(7))], axis=1)
