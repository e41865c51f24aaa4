"""Medians and percentiles of a few samples. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """Samples in short, in the samples' own unit.

    Args:
        n: how many samples.
        median: the middle one (mean of the two middle ones for an even n).
        p95: the nearest-rank 95th percentile: an observed value, and with n < 20 the largest one.
        minimum, maximum: the extremes.
    """

    n: int
    median: float
    p95: float
    minimum: float
    maximum: float


def summarise(samples: Iterable[float]) -> Summary | None:
    """Sum up finite samples; None when there are none. Raises `ValueError` for NaN and infinities."""
    ordered = sorted(samples)
    if not all(math.isfinite(sample) for sample in ordered):
        raise ValueError("samples must be finite")
    if not ordered:
        return None
    rank = math.ceil(0.95 * len(ordered))
    return Summary(len(ordered), statistics.median(ordered), ordered[rank - 1], ordered[0], ordered[-1])
