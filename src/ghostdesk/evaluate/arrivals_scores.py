"""Scores of hazards, added up block by block in memory that does not grow with the history."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.evaluate.metrics import (
    Interval,
    ReliabilityBin,
    bootstrap_interval,
    calibration_error,
    log_loss,
    macro_mean,
    micro_mean,
    reliability,
)
from ghostdesk.profiles.arrivals.seam import Flags, Floats, Ints

_BINS = 4096
_DEEPEST = 14.0
"""Log-odds beyond +-14 share the outer bins."""


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """How good one predictor's hazards were.

    Args:
        name: whose.
        slots, starts: how many slots at risk were scored, and how many of them saw a start.
        log_loss, log_loss_interval: nats a slot, mean of slots (micro), with its 95 % bootstrap interval by row.
        log_loss_macro, log_loss_macro_interval: the mean of rows.
        brier, brier_macro: mean squared error (Brier 1950).
        calibration_error: expected calibration error in 15 bins of equal mass.
        expected_starts: the sum of the hazards; equal to `starts` where they are calibrated as a whole.
        auc: area under the ROC curve, 0.5 is chance.
        average_precision: area under precision against recall; the share of slots with a start is chance.
        reliability: the bins.
    """

    name: str
    slots: int
    starts: int
    log_loss: float
    log_loss_interval: Interval | None
    log_loss_macro: float
    log_loss_macro_interval: Interval | None
    brier: float
    brier_macro: float
    calibration_error: float
    expected_starts: float
    auc: float
    average_precision: float
    reliability: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class WarmPoint:
    """One point of the trade between cold starts and idle readiness.

    Args:
        cold: share of starts that found the row not ready.
        idle_minutes: ready but not in use, per session.
    """

    cold: float
    idle_minutes: float


class HazardScore:
    """Adds up one predictor's scores.

    Args:
        name: whose.
        rows: how many rows there are.
    """

    def __init__(self, name: str, rows: int) -> None:
        self.name = name
        self.loss: Floats = np.zeros(rows)
        self.squares: Floats = np.zeros(rows)
        self.slots: Floats = np.zeros(rows)
        self._counts: Floats = np.zeros(_BINS)
        self._sums: Floats = np.zeros(_BINS)
        self._starts: Floats = np.zeros(_BINS)
        self._idle_s: Floats = np.zeros(_BINS)

    def add(self, rows: Ints, hazards: Floats, started: Flags, idle_s: Floats) -> None:
        """Score slots at risk, all of shape (n,): whose, the hazard, the outcome, and the slot's idle seconds."""
        width = len(self.slots)
        self.loss += np.bincount(rows, weights=log_loss(np.where(started, hazards, 1.0 - hazards)), minlength=width)
        self.squares += np.bincount(rows, weights=(hazards - started) ** 2, minlength=width)
        self.slots += np.bincount(rows, minlength=width)
        kept = np.clip(hazards, 1e-9, 1.0 - 1e-9)
        odds = np.log(kept / (1.0 - kept))
        place = np.clip((odds / _DEEPEST + 1.0) * (_BINS / 2), 0, _BINS - 1).astype(np.int64)
        self._counts += np.bincount(place, minlength=_BINS)
        self._sums += np.bincount(place, weights=hazards, minlength=_BINS)
        self._starts += np.bincount(place, weights=started, minlength=_BINS)
        self._idle_s += np.bincount(place, weights=idle_s, minlength=_BINS)

    def summary(self) -> ScoreSummary:
        """What came out; raises `ValueError` when nothing was scored."""
        if not self.slots.sum():
            raise ValueError("no slot was scored")
        filled = self._counts > 0
        counts = self._counts[filled]
        bins = reliability(self._sums[filled] / counts, self._starts[filled] / counts, weights=counts)
        return ScoreSummary(
            name=self.name,
            slots=int(self.slots.sum()),
            starts=int(self._starts.sum()),
            log_loss=micro_mean(self.loss, self.slots),
            log_loss_interval=bootstrap_interval(self.loss, self.slots, macro=False),
            log_loss_macro=macro_mean(self.loss, self.slots),
            log_loss_macro_interval=bootstrap_interval(self.loss, self.slots, macro=True),
            brier=micro_mean(self.squares, self.slots),
            brier_macro=macro_mean(self.squares, self.slots),
            calibration_error=calibration_error(bins),
            expected_starts=float(self._sums.sum()),
            auc=_auc(self._counts - self._starts, self._starts),
            average_precision=_average_precision(self._counts - self._starts, self._starts),
            reliability=tuple(bins),
        )

    def better_by(self, other: HazardScore) -> Interval | None:
        """95 % interval, by row, of how much lower this log loss is than the other's, in nats a slot."""
        return bootstrap_interval(other.loss - self.loss, self.slots, macro=False)

    def warm_curve(self, sessions: int, warm_starts: int, warm_idle_s: float) -> list[WarmPoint]:
        """Every threshold's point: ready in each slot at risk whose hazard is as high as the threshold or higher.

        Args:
            sessions: all sessions of the scored part.
            warm_starts: of them, those in slots that began in use, which are ready.
            warm_idle_s: idle seconds of such slots.
        """
        starts = np.cumsum(self._starts[::-1])
        idle_s = np.cumsum(self._idle_s[::-1])
        cold = np.clip(1.0 - (starts + warm_starts) / sessions, 0.0, 1.0)
        minutes = (idle_s + warm_idle_s) / 60.0 / sessions
        return [WarmPoint(float(c), float(m)) for c, m in zip(cold, minutes, strict=True)]


def cold_at(curve: list[WarmPoint], idle_minutes: float) -> float:
    """The least share of cold starts with so many idle minutes a session; NaN where even the first point takes more."""
    can = [point.cold for point in curve if point.idle_minutes <= idle_minutes]
    return min(can) if can else math.nan


def _auc(misses: npt.NDArray[np.float64], hits: npt.NDArray[np.float64]) -> float:
    """Mann-Whitney's statistic from counts by rising score; ties count half. NaN with one outcome only."""
    pairs = misses.sum() * hits.sum()
    if pairs <= 0.0:
        return math.nan
    below = np.cumsum(misses) - misses
    return float((hits * (below + misses / 2.0)).sum() / pairs)


def _average_precision(misses: npt.NDArray[np.float64], hits: npt.NDArray[np.float64]) -> float:
    if hits.sum() <= 0.0:
        return math.nan
    found, asked = np.cumsum(hits[::-1]), np.cumsum((hits + misses)[::-1])
    return float((hits[::-1] * found / np.maximum(asked, 1e-9)).sum() / hits.sum())
