"""Another expert's hazards, corrected by how the last hours, days or weeks went against what it expected.

The level of an exponentially weighted ratio of actual to expected starts (the multiplicative form of simple exponential
smoothing, as for a series' level in Holt 1957 and Winters 1960), shrunk to 1. Over all rows it sees holidays, terms and
closures within the hour; over one row, a busy week or an absence.
"""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.arrivals.seam import (
    Floats,
    Floats32,
    HazardExpert,
    SlotBlock,
    SlotOutcome,
    clipped,
    enlarged,
    exposed_slots,
)

_STRENGTH = 3.0
_ROW_STRENGTH = 1.5
_FLOOR = 0.003
"""The least ratio: a week of silence is no proof that nobody comes again."""


class RecentRatio:
    """A `HazardExpert` on top of another: 8 bytes a row.

    The other expert is asked, but not taught, here: teach it after this one.

    Args:
        base: whose hazards are corrected.
        half_life_s: after so many seconds, what happened counts half.
        pooled: whether the ratio is that of all rows together, or each row's own.
        name: for tables.
    """

    def __init__(self, base: HazardExpert, half_life_s: float, *, pooled: bool, name: str) -> None:
        self.name = name
        self._base = base
        self._half_life_s = half_life_s
        self._pooled = pooled
        self._pool: Floats = np.zeros((1, 2))
        self._seen: Floats32 = np.zeros((0, 2), dtype=np.float32)
        self._last: tuple[SlotBlock, Floats] | None = None

    def grow(self, rows: int) -> None:
        """See `HazardExpert.grow`."""
        if not self._pooled:
            self._seen = enlarged(self._seen, rows)

    def hazards(self, block: SlotBlock) -> Floats:
        """See `HazardExpert.hazards`."""
        base = self._base.hazards(block)
        self._last = (block, base)
        strength = _STRENGTH if self._pooled else _ROW_STRENGTH
        seen = self._pool if self._pooled else self._seen[block.rows].astype(np.float64)
        ratio = np.maximum((seen[:, 0] + strength) / (seen[:, 1] + strength), _FLOOR)
        return clipped(-np.expm1(np.log1p(-base) * ratio[:, None]))

    def learn(self, block: SlotBlock, outcome: SlotOutcome) -> None:
        """See `HazardExpert.learn`."""
        last = self._last
        base = last[1] if last is not None and last[0] is block else self._base.hazards(block)
        slots = block.at_risk.shape[1]
        fade = 0.5 ** (np.arange(slots, 0, -1) * (block.slot_s / self._half_life_s))
        fade_after = fade * 2.0 ** (block.slot_s / self._half_life_s)
        starts = (outcome.started & block.at_risk) @ fade_after
        expected = (-np.log1p(-base) * exposed_slots(block, outcome)) @ fade_after
        both = np.stack((starts, expected), axis=1)
        if self._pooled:
            self._pool = self._pool * fade[0] + both.sum(axis=0)
        else:
            self._seen *= np.float32(fade[0])  # of rows outside of the block, too: time passes for everyone
            self._seen[block.rows] += both
        self._last = None

    def forget(self, row: int) -> None:
        """See `HazardExpert.forget`."""
        if not self._pooled:
            self._seen[row] = 0.0

    def move(self, source: int, target: int) -> None:
        """See `HazardExpert.move`."""
        if not self._pooled:
            self._seen[target] = self._seen[source]
            self._seen[source] = 0.0

    def nbytes(self) -> int:
        """See `HazardExpert.nbytes`."""
        return self._seen.nbytes
