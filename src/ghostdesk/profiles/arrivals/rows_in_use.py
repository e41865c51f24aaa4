"""When each row was in use, as far as is known now, and the slot that goes on: what the experts learn once it is over.

Nobody can know at once that a silent session is over: until it counts as over, its row is in use and not at risk.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.arrivals.seam import WEEK_S, Flags, Floats, Floats32, Ints, SlotBlock, SlotOutcome, enlarged

DORMANT_S = 4.0 * WEEK_S
"""A row idle for longer is not at risk any more: whoever left for good must not teach that nobody comes."""
_AT_RISK, _USED, _STARTED = np.uint8(1), np.uint8(2), np.uint8(4)


class RowsInUse:
    """13 bytes a row.

    Args:
        slot_s: length of a slot in seconds.
    """

    def __init__(self, slot_s: int) -> None:
        self._slot_s = slot_s
        self.rows = 0
        """How many are used; the others are spare room."""
        self._end_s: Floats = np.zeros(0)
        self._idle_s: Floats32 = np.zeros(0, dtype=np.float32)
        self._flags: npt.NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)

    def grow(self, rows: int) -> None:
        """So many rows are used from now on, and there is one that is empty after them."""
        known = len(self._end_s)
        self._end_s = enlarged(self._end_s, rows + 1)
        self._end_s[known:] = -np.inf
        self._idle_s = enlarged(self._idle_s, rows + 1)
        self._flags = enlarged(self._flags, rows + 1)
        self.rows = rows

    def move(self, source: int, target: int) -> None:
        """Row `source`, the last, takes the place of row `target`, and is spare then."""
        for kept, empty in ((self._end_s, -np.inf), (self._idle_s, 0.0), (self._flags, 0)):
            kept[target] = kept[source]
            kept[source] = empty
        self.rows -= 1

    def nbytes(self) -> int:
        """Bytes that the rows take, spare ones too."""
        return self._end_s.nbytes + self._idle_s.nbytes + self._flags.nbytes

    def begin_slot(self, begin_s: float) -> None:
        """A slot begins: what was noted of the last one is dropped."""
        idle_s = begin_s - self._end_s
        over = idle_s >= 0.0
        self._flags = np.where(over, _AT_RISK * (idle_s < DORMANT_S), _USED).astype(np.uint8)
        self._idle_s = np.maximum(idle_s, 0.0).astype(np.float32)

    def used(self, row: int, end_s: float, *, started: bool) -> None:
        """In the slot that goes on the row is in use, until `end_s` as far as is known; a session may have started."""
        self._flags[row] |= (_USED | _STARTED) if started else _USED
        self._end_s[row] = end_s

    def ended(self, row: int, time_s: float) -> bool:
        """The row is not in use any more; False when it was not."""
        if self._end_s[row] <= time_s:
            return False
        self._end_s[row] = time_s
        return True

    def idle(self, rows: Ints) -> Flags:
        """Which rows were idle when the slot began, and have been since."""
        return np.asarray(self._flags[rows] == _AT_RISK)

    def over(self, local_s: float) -> tuple[SlotBlock, SlotOutcome]:
        """The slot that goes on as one that is over, of all rows that were at risk or in use.

        Args:
            local_s: its begin in seconds of local time since a Monday's midnight.
        """
        rows = np.flatnonzero(self._flags)
        flags = self._flags[rows, None]
        week, week_s = _week(np.array([local_s]), len(rows))
        idle_s = self._idle_s[rows, None].astype(np.float64)
        block = SlotBlock(rows, self._slot_s, week, week_s, idle_s, (flags & _AT_RISK) > 0)
        started = (flags & _STARTED) > 0
        return block, SlotOutcome(started, (flags & _USED) > 0, np.where(started, idle_s, np.nan))

    def ahead(self, rows: Ints, begin_s: Floats, local_s: Floats) -> SlotBlock:
        """Slots to come, for hazards only: a row goes on being idle in them.

        Args:
            rows: whose, shape (rows,); a spare one is a newcomer's.
            begin_s: of each slot, shape (slots,).
            local_s: the same in local time since a Monday's midnight.
        """
        week, week_s = _week(local_s, len(rows))
        idle_s = np.maximum(begin_s[None, :] - self._end_s[rows, None], 0.0)
        return SlotBlock(rows, self._slot_s, week, week_s, idle_s, np.ones(idle_s.shape, dtype=bool))


def _week(local_s: Floats, rows: int) -> tuple[Ints, Floats]:
    """Number of the week and seconds in it, each set out for so many rows."""
    week = np.floor_divide(local_s, WEEK_S)
    shape = (rows, len(local_s))
    return np.broadcast_to(week.astype(np.int64), shape), np.broadcast_to(local_s - week * WEEK_S, shape)
