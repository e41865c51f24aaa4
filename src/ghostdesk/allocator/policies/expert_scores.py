"""Arrival experts (`profiles/arrivals`) as scores of rows: what the seam tells is cut into their slots and blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ghostdesk.allocator.policies.seam import Flags, Floats, Ints, Moment, Observed
from ghostdesk.profiles.arrivals.seam import WEEK_S, HazardExpert, SlotBlock, SlotOutcome
from ghostdesk.profiles.baselines.slots import MONDAY_S

DORMANT_S = 4.0 * WEEK_S
"""A row idle for longer teaches nothing and is not held: whoever left for good must not fill the tables."""
LEAST_SLOT_S = 600.0
_BLOCK_S = 3600.0


@dataclass
class _Slot:
    """One slot of all rows, and what has happened in it so far."""

    now_s: float
    slot_s: int
    week: Ints
    week_s: Floats
    idle_s: Floats
    at_risk: Flags
    started: Flags = field(init=False)
    used: Flags = field(init=False)
    idle_at_start_s: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.started = np.zeros(len(self.at_risk), dtype=bool)
        self.used = np.isnan(self.idle_s)
        self.idle_at_start_s = np.full(len(self.at_risk), np.nan)

    def block(self) -> SlotBlock:
        """As experts are asked."""
        rows = np.arange(len(self.at_risk))
        idle_s = np.where(np.isnan(self.idle_s), 0.0, self.idle_s)
        return SlotBlock(
            rows, self.slot_s, self.week[:, None], self.week_s[:, None], idle_s[:, None], self.at_risk[:, None]
        )


class ExpertScores:
    """`RowScores` of an expert.

    Args:
        expert: it learns about once an hour, from all rows together.
        score: what to make of a block, shape (rows, slots); the expert's hazards without one.
    """

    def __init__(self, expert: HazardExpert, score: Callable[[SlotBlock], Floats] | None = None) -> None:
        self._expert = expert
        self._score = expert.hazards if score is None else score
        self._end_s: Floats = np.zeros(0)
        self._done: list[_Slot] = []
        self._slot: _Slot | None = None
        self.fresh = False
        """Whether the last question began a slot, from which will be learnt."""

    def grow(self, rows: int) -> None:
        """See `RowScores.grow`."""
        self._expert.grow(rows)
        if rows > len(self._end_s):
            self._end_s = np.append(self._end_s, np.full(rows - len(self._end_s), -np.inf))

    def observe(self, observed: Observed) -> None:
        """See `RowScores.observe`."""
        slot = self._slot
        starts = zip(observed.started_s.tolist(), observed.started.tolist(), strict=True)
        ends = zip(observed.ended_s.tolist(), observed.ended.tolist(), strict=True)
        events = sorted([(t, False, row) for t, row in ends] + [(t, True, row) for t, row in starts])
        for time_s, starts_now, row in events:
            if not starts_now:
                self._end_s[row] = time_s
            elif slot is not None and row < len(slot.started) and not slot.started[row]:
                slot.started[row] = slot.used[row] = True
                slot.idle_at_start_s[row] = time_s - self._end_s[row]

    def scores(self, moment: Moment) -> Floats:
        """See `RowScores.scores`."""
        slot_s = max(moment.until_s - moment.now_s, LEAST_SLOT_S)
        self.fresh = self._slot is None or moment.now_s >= self._slot.now_s + self._slot.slot_s - 0.5
        if not self.fresh:
            asked = _slot_at(moment, slot_s)
        else:
            if self._slot is not None:
                self._done.append(self._slot)
            self._slot = asked = _slot_at(moment, slot_s)
            self._learn(moment.now_s)
        found = np.asarray(self._score(asked.block()), dtype=np.float64)[:, 0]
        return np.where(asked.at_risk, found, -np.inf)

    def _learn(self, now_s: float) -> None:
        """Teach whole hours."""
        if not self._done or now_s - self._done[0].now_s < _BLOCK_S:
            return
        first, rows = self._done[0], len(self._done[0].at_risk)
        same = [slot for slot in self._done if slot.slot_s == first.slot_s]
        # A row that came within the hour has slots from its second hour on.
        rows_all = np.arange(rows)
        block = SlotBlock(
            rows_all,
            first.slot_s,
            _stack([slot.week[:rows] for slot in same]).astype(np.int64),
            _stack([slot.week_s[:rows] for slot in same]),
            np.nan_to_num(_stack([slot.idle_s[:rows] for slot in same]), nan=0.0, posinf=np.inf),
            _stack([slot.at_risk[:rows] for slot in same]).astype(bool),
        )
        outcome = SlotOutcome(
            _stack([slot.started[:rows] for slot in same]).astype(bool),
            _stack([slot.used[:rows] for slot in same]).astype(bool),
            _stack([slot.idle_at_start_s[:rows] for slot in same]),
        )
        self._done = []
        if rows:
            self._expert.learn(block, outcome)


def _slot_at(moment: Moment, slot_s: float) -> _Slot:
    offset_s = moment.offset_s if moment.row_offset_s is None else moment.row_offset_s
    monday_s = np.broadcast_to(moment.now_s + MONDAY_S + offset_s, moment.idle_s.shape)
    week = np.floor_divide(monday_s, WEEK_S)
    with np.errstate(invalid="ignore"):
        at_risk = moment.idle_s < DORMANT_S
    return _Slot(moment.now_s, round(slot_s), week.astype(np.int64), monday_s - week * WEEK_S, moment.idle_s, at_risk)


def _stack(columns: list[Floats] | list[Flags] | list[Ints]) -> Floats:
    return np.stack(columns, axis=1)
