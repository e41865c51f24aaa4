"""Levels and trends of a host, from its readings: how near its limits are, where that goes, and when it gets short.

A level is the median of the latest three samples, so that one odd reading changes nothing. A trend is the median of
the slopes between all pairs of samples (H. Theil 1950, P. K. Sen 1968): up to 29 % of the samples may be arbitrarily
wrong. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from statistics import median

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.resources import GIB

WINDOW_S = 300.0
"""How far back a trend looks."""
_SAMPLES = 60
_LEVEL_SAMPLES = 3
_TREND_SAMPLES = 20
"""About so many are enough for a slope; the work grows with their square."""
_SURE_SHARE = 0.75
"""Share of the pairs of samples that must point the same way before a trend is believed."""
_PLENTY_OF_MEMORY_BYTES = 64.0 * GIB
_PLENTY_OF_DISK_BYTES = 150e9
"""More than this counts for no more: 5 % of a large machine is still much."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """Something of the host that can get short.

    Args:
        code: for scripts and settings.
        name: for people.
        read: its level from a reading: 0 is calm, 1 is the end.
        runs_out: whether it fills up and runs out, so that it can be told when.
    """

    code: str
    name: str
    read: Callable[[HostConditions], float]
    runs_out: bool = False


def _used(whole: float, free: float, plenty: float = float("inf")) -> float:
    """Used share of an amount, of which no more than `plenty` counts; 0 where there is none."""
    counted = min(whole, plenty)
    return min(1.0, max(0.0, 1.0 - free / counted)) if counted > 0 else 0.0


GAUGES: tuple[Gauge, ...] = (
    Gauge("cpu", "CPU pressure", lambda told: told.cpu_pressure),
    Gauge("memory", "memory pressure", lambda told: told.memory_pressure),
    Gauge("io", "I/O pressure", lambda told: told.io_pressure),
    Gauge(
        "memory-use",
        "memory in use",
        lambda told: _used(told.memory_bytes, told.memory_available_bytes, _PLENTY_OF_MEMORY_BYTES),
        True,
    ),
    Gauge("swap", "swap in use", lambda told: _used(told.swap_bytes, told.swap_free_bytes), True),
    Gauge(
        "disk", "disk in use", lambda told: _used(told.disk_bytes, told.disk_free_bytes, _PLENTY_OF_DISK_BYTES), True
    ),
)
"""The worst one decides."""


@dataclass(frozen=True, slots=True)
class Trend:
    """One gauge now, and where it goes.

    Args:
        level: 0 to 1.
        slope_per_s: growth of the level a second; 0 while it is not sure.
    """

    level: float = 0.0
    slope_per_s: float = 0.0

    def in_s(self, ahead_s: float) -> float:
        """The level that far ahead if it goes on to rise; one that falls is not counted on to fall further."""
        return min(1.0, self.level + max(0.0, self.slope_per_s) * ahead_s)

    def until_s(self, level: float) -> float | None:
        """Seconds until it rises to `level`; None when it does not."""
        if self.level >= level:
            return 0.0
        return (level - self.level) / self.slope_per_s if self.slope_per_s > 0.0 else None


@dataclass(frozen=True, slots=True)
class Sample:
    """The levels of all gauges at one time, in the order of `GAUGES`."""

    time_s: float
    levels: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ConditionHistory:
    """The readings of the last minutes, at most `_SAMPLES` of them, however often the host is looked at."""

    window_s: float = WINDOW_S
    samples: tuple[Sample, ...] = field(default=(), repr=False)

    def add(self, told: HostConditions, now_s: float) -> ConditionHistory:
        """With one more reading. A clock that was set back voids what would now be in the future."""
        sample = Sample(now_s, tuple(gauge.read(told) for gauge in GAUGES))
        kept = self.until(now_s).samples
        if len(kept) >= 2 and now_s - kept[-2].time_s < self.window_s / _SAMPLES:
            kept = kept[:-1]  # the latest reading stands for those of a moment before
        return ConditionHistory(self.window_s, (*kept, sample))

    def until(self, now_s: float) -> ConditionHistory:
        """What still counts at this time."""
        oldest_s = now_s - self.window_s
        kept = tuple(sample for sample in self.samples if oldest_s <= sample.time_s <= now_s)
        return self if len(kept) == len(self.samples) else ConditionHistory(self.window_s, kept)

    def trends(self) -> tuple[Trend, ...]:
        """Every gauge, in the order of `GAUGES`; calm without readings."""
        if not self.samples:
            return (Trend(),) * len(GAUGES)
        latest = self.samples[-_LEVEL_SAMPLES:]
        levels = [median(sample.levels[row] for sample in latest) for row in range(len(GAUGES))]
        return tuple(map(Trend, levels, self._slopes()))

    def _slopes(self) -> list[float]:
        """Theil-Sen slopes; 0 for what has been watched for less than half the window, or does not keep its way."""
        if len(self.samples) < _LEVEL_SAMPLES or self.samples[-1].time_s - self.samples[0].time_s < self.window_s / 2:
            return [0.0] * len(GAUGES)
        chosen = self.samples[:: max(1, len(self.samples) // _TREND_SAMPLES)]
        times = np.array([sample.time_s for sample in chosen])
        later, earlier = _pairs(len(times))
        levels = np.array([sample.levels for sample in chosen])
        apart_s = (times[later] - times[earlier])[:, None]
        slopes = (levels[later] - levels[earlier])[apart_s[:, 0] > 0.0] / apart_s[apart_s[:, 0] > 0.0]
        found = np.median(slopes, axis=0)
        sure = np.mean(slopes * np.sign(found) > 0.0, axis=0) >= _SURE_SHARE
        return [float(slope) for slope in np.where(sure, found, 0.0)]


@cache
def _pairs(count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """All pairs of `count` samples: (index of the later one, index of the earlier one)."""
    earlier, later = np.triu_indices(count, 1)
    return later, earlier
