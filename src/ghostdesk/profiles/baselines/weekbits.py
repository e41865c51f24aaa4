"""Who came when: one 16-bit word for each user and slot of the local week.

Bit j of a word says that the user came in that slot j weeks before the reference week. Weights that decay by the week
are read from the bits through a table, so all users are read in a few vector operations; an event that comes late is
set where it belongs; and learning event by event ends in the same bits as learning from the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint16]

WEEKS_KEPT = 16


@dataclass(frozen=True, slots=True)
class Habit:
    """How often a user came around a slot of the week: in `weeks_with` of the last `weeks_known` weeks."""

    weeks_with: int
    weeks_known: int


class WeekBits:
    """The bits of every row. Slot numbers are those of `WeekSlots`.

    Args:
        a_week: slots in a week.
        decay: weight of each week against the one after it.
    """

    def __init__(self, a_week: int, decay: float) -> None:
        self._a_week = a_week
        self._seen: Words = np.zeros((0, a_week), dtype=np.uint16)
        self._first: Ints = np.zeros(0, dtype=np.int64)
        self._week = 0
        powers = decay ** np.arange(WEEKS_KEPT)
        bits = (np.arange(65_536)[:, None] >> np.arange(16)) & 1
        self._came: Floats32 = (bits @ powers).astype(np.float32)
        self._weeks: Floats32 = np.concatenate(([0.0], np.cumsum(powers))).astype(np.float32)

    def __len__(self) -> int:
        """Rows that there is room for."""
        return len(self._first)

    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return self._seen.nbytes + self._first.nbytes

    def grow(self) -> None:
        """Make room for a sixteenth more rows."""
        more = max(64, len(self) // 16)
        self._seen = np.concatenate((self._seen, np.zeros((more, self._a_week), dtype=np.uint16)))
        self._first = np.concatenate((self._first, np.full(more, np.iinfo(np.int64).max)))

    def known_since(self, row: int, number: int) -> bool:
        """Remember that the row was known in this slot; True when it was not known so early before."""
        earlier = bool(number < self._first[row])
        if earlier:
            self._first[row] = number
        return earlier

    def mark(self, row: int, number: int) -> None:
        """The user came in this slot."""
        week, slot = divmod(number, self._a_week)
        if week > self._week:
            weeks = week - self._week
            self._seen = self._seen << np.uint16(weeks) if weeks < WEEKS_KEPT else np.zeros_like(self._seen)
            self._week = week
        ago = self._week - week
        if ago < WEEKS_KEPT:
            self._seen[row, slot] |= np.uint16(1 << ago)

    def marked(self, row: int) -> list[int]:
        """Numbers of all slots in which the user came, as far as they are kept."""
        slots = np.flatnonzero(self._seen[row])
        words = [(int(slot), int(self._seen[row, slot])) for slot in slots]
        return [(self._week - j) * self._a_week + s for s, word in words for j in range(WEEKS_KEPT) if word >> j & 1]

    def came(self, row: int, number: int) -> bool:
        """Whether the user came in this slot."""
        week, slot = divmod(number, self._a_week)
        ago = self._week - week
        return 0 <= ago < WEEKS_KEPT and bool(int(self._seen[row, slot]) >> ago & 1)

    def move(self, source: int, target: int) -> None:
        """Row `source` takes the place of row `target`, and is empty then."""
        self._seen[target], self._first[target] = self._seen[source], self._first[source]
        self._seen[source], self._first[source] = 0, np.iinfo(np.int64).max

    def read(self, rows: Ints, now: int) -> tuple[Floats32, Floats32]:
        """Weighted arrivals and weeks known, shape (rows, slots a week), over the slots that ended by `now`."""
        week, slot = divmod(now, self._a_week)
        slots = np.arange(self._a_week)
        over = (slots < slot).astype(np.int64)
        bits = _shift(self._seen[rows], self._week - week + 1 - over)
        came = self._came[bits]
        first_week, first_slot = np.divmod(self._first[rows], self._a_week)
        before = slots[None, :] < first_slot[:, None]
        known = np.clip(week - first_week[:, None] + over[None, :] - before, 0, WEEKS_KEPT)
        return came, self._weeks[known]

    def habit(self, row: int, number: int, most_weeks: int) -> Habit:
        """How often the user came within a slot of the coming slot `number`, in the weeks before it."""
        bits = 0
        for beside in (number - 1, number, number + 1):
            week, slot = divmod(beside, self._a_week)
            ago = self._week - week + 1
            word = int(self._seen[row, slot])
            bits |= word >> ago if ago >= 0 else word << -ago
        known = max(0, min((number - int(self._first[row])) // self._a_week, most_weeks))
        return Habit((bits & ((1 << known) - 1)).bit_count(), known)


def _shift(words: Words, right: Ints) -> Words:
    """Shift each column right (left where negative); 16 or more clears it, which numpy leaves undefined."""
    down = np.clip(right, 0, WEEKS_KEPT - 1).astype(np.uint16)
    up = np.clip(-right, 0, WEEKS_KEPT - 1).astype(np.uint16)
    return np.where(np.abs(right) >= WEEKS_KEPT, np.uint16(0), (words >> down) << up)
