"""The seam of arrival experts: blocks of slots for many rows (people, or shared desktops) at once.

Time is cut into slots. In a slot whose start finds a row idle (*at risk*), a session may start: the probability of
that is the slot's hazard (discrete-time survival analysis: Allison 1982). An expert gives hazards for a block of
slots from what was known when the block began, and learns the block once it is over. For a forecast several slots
ahead, the caller lets `idle_s` rise with the slots: the hazards are then those of "not before, but in this slot".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_Kind = TypeVar("_Kind", bound=np.generic)

WEEK_S = 604_800
LEAST_HAZARD = 1e-6
MOST_HAZARD = 0.98
"""No slot is certain: hazards stay within these two."""


@dataclass(frozen=True, slots=True)
class SlotBlock:
    """Slots of several rows, and what is known of each when it starts. All arrays have the shape (rows, slots).

    Args:
        rows: the numbers of the rows, shape (rows,), each once.
        slot_s: length of a slot in seconds.
        week: number of the local week, the same or rising from block to block.
        week_s: seconds since the local Monday's midnight at the slot's start.
        idle_s: seconds since the row's last use ended; infinite where none is known.
        at_risk: whether the row is idle when the slot starts.
    """

    rows: Ints
    slot_s: int
    week: Ints
    week_s: Floats
    idle_s: Floats
    at_risk: Flags

    def hour_of_week(self) -> Ints:
        """0 (Monday, 00:00) to 167 (Sunday, 23:00), shape (rows, slots)."""
        return np.minimum((self.week_s // 3600.0).astype(np.int64), 167)


@dataclass(frozen=True, slots=True)
class SlotOutcome:
    """What happened in a block. All arrays have the shape (rows, slots).

    Args:
        started: whether a session started in the slot.
        used: whether the row was in use at any moment of it.
        idle_at_start_s: how long the row had been idle when the first session of the slot started; NaN where none did.
    """

    started: Flags
    used: Flags
    idle_at_start_s: Floats


class HazardExpert(Protocol):
    """A model of when each row's sessions start."""

    name: str
    """A word or two for tables and reasons."""

    def grow(self, rows: int) -> None:
        """Make room for so many rows; what is known stays."""
        ...

    def hazards(self, block: SlotBlock) -> Floats:
        """Probability that a session starts in each slot, given that none did before it in the block."""
        ...

    def learn(self, block: SlotBlock, outcome: SlotOutcome) -> None:
        """The block is over. Slots that were not at risk teach nothing about hazards."""
        ...

    def forget(self, row: int) -> None:
        """Drop what was learnt about one row, also in what everyone taught, as far as its part can be told apart."""
        ...

    def move(self, source: int, target: int) -> None:
        """Row `source` takes the place of row `target`, and is as if nothing was known of it then."""
        ...

    def nbytes(self) -> int:
        """Bytes that the rows take, spare ones too."""
        ...


def exposed_slots(block: SlotBlock, outcome: SlotOutcome) -> Floats:
    """How much of each slot the row was at risk, shape (rows, slots): a start comes in mid-slot, on average.

    The actuarial estimate of a rate (Cutler and Ederer 1958): without it, rates in long slots come out too low.
    """
    return np.asarray(block.at_risk * (1.0 - 0.5 * outcome.started))


def enlarged(array: npt.NDArray[_Kind], rows: int) -> npt.NDArray[_Kind]:
    """The array with at least so many rows (room grows by a sixteenth), the new ones zero."""
    if rows <= len(array):
        return array
    more = np.zeros((max(rows, len(array) * 17 // 16) - len(array), *array.shape[1:]), dtype=array.dtype)
    return np.concatenate((array, more))


def clipped(hazards: Floats) -> Floats:
    """Within what can be scored."""
    return np.clip(hazards, LEAST_HAZARD, MOST_HAZARD)
