"""Base rate: how often a row's idle slots see a start at all, whatever the time of day.

Starts are a Poisson process with a gamma prior on each row's rate (Robbins 1956, empirical Bayes): a row's rate is
shrunk to everyone's as if it had been watched for `_STRENGTH` starts before. It is the floor under all the others.
"""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.arrivals.seam import Floats, Floats32, SlotBlock, SlotOutcome, clipped, enlarged, exposed_slots

_STRENGTH = 2.0
_FIRST_RATE_A_DAY = 1.0


class BaseRate:
    """A `HazardExpert`: 8 bytes a row."""

    name = "base rate"

    def __init__(self) -> None:
        self._seen: Floats32 = np.zeros((0, 2), dtype=np.float32)
        self._first: Floats = np.array([1.0, 86_400.0 / _FIRST_RATE_A_DAY])
        self._pool = self._first.copy()

    def grow(self, rows: int) -> None:
        """See `HazardExpert.grow`."""
        self._seen = enlarged(self._seen, rows)

    def hazards(self, block: SlotBlock) -> Floats:
        """See `HazardExpert.hazards`."""
        starts, at_risk_s = self._seen[block.rows].astype(np.float64).T
        everyone = self._pool[0] / self._pool[1]
        rate = (starts + _STRENGTH) / (at_risk_s + _STRENGTH / everyone)
        return clipped(np.broadcast_to(-np.expm1(-rate * block.slot_s)[:, None], block.at_risk.shape))

    def learn(self, block: SlotBlock, outcome: SlotOutcome) -> None:
        """See `HazardExpert.learn`."""
        starts = (outcome.started & block.at_risk).sum(axis=1)
        at_risk_s = exposed_slots(block, outcome).sum(axis=1) * float(block.slot_s)
        self._seen[block.rows] += np.stack((starts, at_risk_s), axis=1)
        self._pool += (starts.sum(), at_risk_s.sum())

    def forget(self, row: int) -> None:
        """See `HazardExpert.forget`."""
        self._pool = np.maximum(self._pool - self._seen[row], self._first)
        self._seen[row] = 0.0

    def move(self, source: int, target: int) -> None:
        """See `HazardExpert.move`."""
        self._seen[target] = self._seen[source]
        self._seen[source] = 0.0

    def nbytes(self) -> int:
        """See `HazardExpert.nbytes`."""
        return self._seen.nbytes
