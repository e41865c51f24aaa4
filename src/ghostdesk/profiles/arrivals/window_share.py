"""Turns a policy that only says "keep ready now, or not" into probabilities, so that it can be scored like the others.

The probability is the empirical share of slots with a start, inside the policy's window and outside it; a row's own
share is shrunk to everyone's (Gamma-Poisson).
"""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.arrivals.seam import (
    Flags,
    Floats,
    Floats32,
    SlotBlock,
    SlotOutcome,
    clipped,
    enlarged,
    exposed_slots,
)

_STRENGTH = 2.0
_FIRST_RATE_AN_HOUR = 1.0 / 24.0


class WindowShare:
    """Rates of starts inside (1) and outside (0) the window: 16 bytes a row."""

    def __init__(self) -> None:
        self._seen: Floats32 = np.zeros((0, 2, 2), dtype=np.float32)
        self._first: Floats = np.array([[0.1, 0.1 / _FIRST_RATE_AN_HOUR], [1.0, 1.0 / _FIRST_RATE_AN_HOUR]])
        self._pool = self._first.copy()

    def grow(self, rows: int) -> None:
        """Make room for so many rows."""
        self._seen = enlarged(self._seen, rows)

    def hazards(self, block: SlotBlock, inside: Flags) -> Floats:
        """Probability of a start in each slot, shape (rows, slots)."""
        everyone = self._pool[:, 0] / self._pool[:, 1]
        seen = self._seen[block.rows].astype(np.float64)
        rate = (seen[:, :, 0] + _STRENGTH) / (seen[:, :, 1] + _STRENGTH / everyone)
        chosen = np.where(inside, rate[:, 1:], rate[:, :1])
        return clipped(-np.expm1(-chosen * (block.slot_s / 3600.0)))

    def learn(self, block: SlotBlock, inside: Flags, outcome: SlotOutcome) -> None:
        """Count the starts and hours of a block."""
        hours = exposed_slots(block, outcome) * (block.slot_s / 3600.0)
        for place, flags in enumerate((~inside & block.at_risk, inside & block.at_risk)):
            seen = np.stack(((outcome.started & flags).sum(axis=1), (hours * flags).sum(axis=1)), axis=1)
            self._seen[block.rows, place] += seen
            self._pool[place] += seen.sum(axis=0)

    def forget(self, row: int) -> None:
        """Drop a row's counts, also among everyone's."""
        self._pool = np.maximum(self._pool - self._seen[row], self._first)
        self._seen[row] = 0.0

    def move(self, source: int, target: int) -> None:
        """Row `source` takes the place of row `target`, and is empty then."""
        self._seen[target] = self._seen[source]
        self._seen[source] = 0.0

    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return self._seen.nbytes
