"""Learned-weekday rule: keep ready what was used at this time on 2 of the last 3 same weekdays, else on the last 7.

The rule of learning schedules, as programmable thermostats made it known: a time of the week belongs to the schedule
when it was used in at least `_OF_LAST_THREE` of the last three weeks. Where that does not speak, the last seven weeks
are asked: `_OF_LAST_SEVEN` of them suffice. As the rule gives no probability, `WindowShare` measures one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.arrivals.seam import WEEK_S, Flags, Floats, Ints, SlotBlock, SlotOutcome, enlarged
from ghostdesk.profiles.arrivals.window_share import WindowShare

_OF_LAST_THREE = 2
_OF_LAST_SEVEN = 2
_BITS = np.array([bin(i).count("1") for i in range(256)], dtype=np.uint8)


class WeekdayRule:
    """A `HazardExpert`: a byte a row and cell of the week (168 bytes at hours), and 20 more.

    Args:
        cell_s: length of a cell of the week in seconds; a week has to be a whole number of them.
        of_last_three, of_last_seven: in how many of the last weeks a cell was used that is kept ready; either suffices.
    """

    name = "weekday rule"

    def __init__(
        self, cell_s: int = 3600, of_last_three: int = _OF_LAST_THREE, of_last_seven: int = _OF_LAST_SEVEN
    ) -> None:
        if cell_s <= 0 or WEEK_S % cell_s:
            raise ValueError(f"a week is not a whole number of cells of {cell_s} s")
        self._cell_s = cell_s
        self._of_last_three = of_last_three
        self._of_last_seven = of_last_seven
        self._words: npt.NDArray[np.uint8] = np.zeros((0, WEEK_S // cell_s), dtype=np.uint8)
        """Bit 0 is the running week, bits 1 to 7 are those before it."""
        self._week: npt.NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._share = WindowShare()

    def grow(self, rows: int) -> None:
        """See `HazardExpert.grow`."""
        self._words = enlarged(self._words, rows)
        self._week = enlarged(self._week, rows)
        self._share.grow(rows)

    def inside(self, block: SlotBlock) -> Flags:
        """Whether the rule says "keep ready" in each slot, shape (rows, slots)."""
        ago = np.clip(block.week - self._week[block.rows, None], 0, 8).astype(np.uint16)
        words = self._words[block.rows[:, None], self._cells(block)].astype(np.uint16) << ago
        weeks = (words >> np.uint16(1)) & np.uint16(0x7F)  # the running week is not over
        return np.asarray((_BITS[weeks & 7] >= self._of_last_three) | (_BITS[weeks] >= self._of_last_seven))

    def hazards(self, block: SlotBlock) -> Floats:
        """See `HazardExpert.hazards`."""
        return self._share.hazards(block, self.inside(block))

    def learn(self, block: SlotBlock, outcome: SlotOutcome) -> None:
        """See `HazardExpert.learn`."""
        self._share.learn(block, self.inside(block), outcome)
        week = np.maximum(block.week.max(axis=1), self._week[block.rows])
        older = week > self._week[block.rows]
        if older.any():
            rows = block.rows[older]
            ago = np.clip(week[older] - self._week[rows], 0, 8).astype(np.uint16)
            self._words[rows] = (self._words[rows].astype(np.uint16) << ago[:, None]).astype(np.uint8)
            self._week[rows] = week[older]
        back = week[:, None] - block.week
        used = outcome.used & (back < 8)
        rows_all = np.broadcast_to(block.rows[:, None], used.shape)
        bits = (1 << np.clip(back, 0, 7)).astype(np.uint8)[used]
        np.bitwise_or.at(self._words, (rows_all[used], self._cells(block)[used]), bits)

    def forget(self, row: int) -> None:
        """See `HazardExpert.forget`."""
        self._words[row] = 0
        self._week[row] = 0
        self._share.forget(row)

    def move(self, source: int, target: int) -> None:
        """See `HazardExpert.move`."""
        self._words[target], self._week[target] = self._words[source], self._week[source]
        self._share.move(source, target)
        self._words[source], self._week[source] = 0, 0

    def nbytes(self) -> int:
        """See `HazardExpert.nbytes`."""
        return self._words.nbytes + self._week.nbytes + self._share.nbytes()

    def _cells(self, block: SlotBlock) -> Ints:
        return np.asarray((block.week_s // self._cell_s).astype(np.int64) % self._words.shape[1])
