"""When rows (users, or shared desktops) were in use, and the slots that follow from it. Pure.

A user's use is a run of signs of life with gaps under two hours; as nobody can know before that time that a session
is over, use ends two hours after the last sign (twelve where they signed in and did not sign out), or at a sign-out.
A desktop's use ends when its state says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.arrivals.rows_in_use import DORMANT_S
from ghostdesk.profiles.arrivals.seam import WEEK_S, Flags, Floats, Ints, SlotBlock, SlotOutcome
from ghostdesk.profiles.baselines.sessions import Sessions
from ghostdesk.profiles.baselines.slots import MONDAY_S
from ghostdesk.telemetry.events import EventKind, UsageEvent

SESSION_GAP_S = 7_200.0
HOUR_S = 3_600
_MOST_BLOCKS = 50_000
_LONELY_S = 2 * 366 * 86_400.0
_FEW = 0.02


@dataclass(frozen=True)
class RowUse:
    """One row's sessions, in order and apart from each other.

    Args:
        name: whose.
        start_s, end_s: of each session, UTC seconds, shape (sessions,).
        offset_s: local time minus UTC during each session and until the next, shape (sessions,).
        until_s: the last moment of which the row's log tells.
    """

    name: str
    start_s: Floats
    end_s: Floats
    offset_s: Floats
    until_s: float


@dataclass(frozen=True)
class UseChunk:
    """Some weeks of slots of the rows that have any in them."""

    block: SlotBlock
    outcome: SlotOutcome
    idle_slot_s: Floats
    """Seconds of each slot that the row was not in use, shape (rows, slots)."""
    known: Flags
    """Whether the row's log tells of the slot."""
    first_s: float


def sessions_from_signs(name: str, time_s: Floats, offset_s: Floats) -> RowUse:
    """A user's sessions from signs of life. Times need not be in order."""
    order = np.argsort(time_s, kind="stable")
    time_s, offset_s = time_s[order], offset_s[order]
    if not len(time_s):
        return RowUse(name, time_s, time_s, time_s, -np.inf)
    starts = np.flatnonzero(np.diff(time_s, prepend=-np.inf) >= SESSION_GAP_S)
    ends = np.append(starts[1:], len(time_s)) - 1
    return RowUse(name, time_s[starts], time_s[ends] + SESSION_GAP_S, offset_s[starts], float(time_s[-1]))


def sessions_from_events(name: str, events: Sequence[tuple[float, EventKind]]) -> RowUse:
    """A user's sessions from signs of life and sign-outs, by the service's own rules (`Sessions`), in UTC.

    Args:
        name: whose.
        events: times and kinds; they need not be in order.
    """
    sessions = Sessions()
    sessions.grow(1)
    starts: list[float] = []
    ends: list[float] = []
    last_s = -np.inf
    for time_s, kind in sorted(events):
        last_s = time_s
        if sessions.observe(0, UsageEvent(time_s, kind, UserId(name))):
            ends[-1:] = [min(end_s, time_s) for end_s in ends[-1:]]
            starts.append(time_s)
            ends.append(sessions.known_end_s(0))
        elif starts:
            ends[-1] = min(ends[-1], time_s) if kind is EventKind.SIGN_OUT else sessions.known_end_s(0)
    return RowUse(name, np.array(starts), np.array(ends), np.zeros(len(starts)), last_s)


def lonely_times(time_s: Floats) -> Flags:
    """Which times are a broken clock's: the few before or after a gap of two years in everyone's times together."""
    wrong = np.zeros(len(time_s), dtype=bool)
    order = np.argsort(time_s, kind="stable")
    gaps = np.flatnonzero(np.diff(time_s[order]) > _LONELY_S)
    few = max(1, int(_FEW * len(time_s)))
    for gap in gaps.tolist():
        if len(order) - gap - 1 <= few and gap + 1 > few:
            wrong[order[gap + 1 :]] = True
        elif gap + 1 <= few and len(order) - gap - 1 > few:
            wrong[order[: gap + 1]] = True
    return wrong


class Timeline:
    """The slots of all rows, cut into chunks that fit into memory.

    Args:
        rows: everyone's use; rows without a session are passed over by the chunks.
        slot_s: length of a slot; an hour is a whole number of them, or they are a whole number of hours.
    """

    def __init__(self, rows: list[RowUse], slot_s: int) -> None:
        if slot_s <= 0 or (HOUR_S % slot_s and slot_s % HOUR_S) or 86_400 % slot_s:
            raise ValueError(f"a slot of {slot_s} s: an hour or a day has to be a whole number of them")
        self.rows = rows
        self.slot_s = slot_s
        self.dormant_s = DORMANT_S
        self.first_s: Floats = np.array([r.start_s[0] if len(r.start_s) else np.inf for r in rows])
        self.until_s: Floats = np.array([r.until_s for r in rows])
        used = np.isfinite(self.first_s)
        step = max(slot_s, HOUR_S)
        self.start_s = float(self.first_s[used].min() // step * step) if used.any() else 0.0
        self.end_s = float(self.until_s[used].max()) if used.any() else 0.0
        # A row is at risk for as long after its last use as after any other.
        over_s = np.array([max(r.until_s, r.end_s[-1]) if len(r.end_s) else -np.inf for r in rows])
        self.until_s = np.where(used, np.minimum(over_s + DORMANT_S, self.end_s), -np.inf)
        hours = next(
            (h for h in (1, 2, 3, 4, 6, 8, 12) if (self.end_s - self.start_s) / (h * HOUR_S) <= _MOST_BLOCKS), 24
        )
        self.block_slots = max(1, hours * HOUR_S // slot_s)
        self._used_before = [np.concatenate(([0.0], np.cumsum(r.end_s - r.start_s))) for r in rows]

    def slots(self) -> int:
        """How many slots there are from the first session to the end."""
        return max(0, int(np.ceil((self.end_s - self.start_s) / self.slot_s)))

    def chunks(self, weeks: int = 4) -> Iterator[UseChunk]:
        """Chunk after chunk, each a whole number of blocks."""
        length_s = float(weeks * WEEK_S)
        at_s = self.start_s
        while at_s < self.end_s:
            rows = np.flatnonzero((self.first_s < at_s + length_s) & (self.until_s >= at_s))
            if len(rows):
                yield self._chunk(rows, at_s, length_s)
            at_s += length_s

    def _chunk(self, rows: Ints, at_s: float, length_s: float) -> UseChunk:
        edges: Floats = at_s + np.arange(round(length_s / self.slot_s) + 1, dtype=np.float64) * self.slot_s
        begin = edges[:-1]
        shape = (len(rows), len(begin))
        local_s, idle_s, idle_at_start_s = np.empty(shape), np.empty(shape), np.full(shape, np.nan)
        used_s, at_risk, started = np.empty(shape), np.empty(shape, dtype=bool), np.zeros(shape, dtype=bool)
        for place, row in enumerate(rows.tolist()):
            use = self.rows[row]
            last = np.searchsorted(use.start_s, begin, side="left") - 1  # the last session begun before the slot
            end_s = np.where(last >= 0, use.end_s[np.maximum(last, 0)], -np.inf)
            idle_s[place] = np.maximum(begin - end_s, 0.0)
            at_risk[place] = (end_s <= begin) & (begin - end_s < DORMANT_S)
            local_s[place] = begin + np.where(last >= 0, use.offset_s[np.maximum(last, 0)], use.offset_s[0])
            used_s[place] = np.diff(_used_until(use, self._used_before[row], edges))
            first = np.searchsorted(use.start_s, begin, side="left")
            come = (first < len(use.start_s)) & (use.start_s[np.minimum(first, len(use.start_s) - 1)] < edges[1:])
            started[place] = come
            chosen = first[come]
            before_s = np.where(chosen > 0, use.end_s[np.maximum(chosen - 1, 0)], -np.inf)
            idle_at_start_s[place, come] = use.start_s[chosen] - before_s
        known = (edges[None, 1:] > self.first_s[rows, None]) & (begin[None, :] <= self.until_s[rows, None])
        monday_s = local_s + MONDAY_S
        week = np.floor_divide(monday_s, WEEK_S)
        block = SlotBlock(
            rows,
            self.slot_s,
            week.astype(np.int64),
            monday_s - week * WEEK_S,
            idle_s,
            at_risk & known & (begin[None, :] < self.until_s[rows, None]),
        )
        used = (used_s > 0.0) | started
        return UseChunk(block, SlotOutcome(started, used, idle_at_start_s), self.slot_s - used_s, known, at_s)


def cut(chunk: UseChunk, first: int, slots: int) -> tuple[SlotBlock, SlotOutcome]:
    """The block of some slots of a chunk, with the rows of which the log tells anything in them."""
    part = slice(first, first + slots)
    here = chunk.known[:, part].any(axis=1)
    block, outcome = chunk.block, chunk.outcome

    def of(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return array[here, part]

    return (
        SlotBlock(
            block.rows[here],
            block.slot_s,
            of(block.week),  # type: ignore[arg-type]
            of(block.week_s),  # type: ignore[arg-type]
            of(block.idle_s),  # type: ignore[arg-type]
            of(block.at_risk),  # type: ignore[arg-type]
        ),
        SlotOutcome(of(outcome.started), of(outcome.used), of(outcome.idle_at_start_s)),  # type: ignore[arg-type]
    )


def start_counts(rows: list[RowUse], edges_s: Floats) -> Ints:
    """Sessions of everyone that start between one edge and the next, shape (edges - 1,)."""
    starts = np.concatenate([row.start_s for row in rows]) if rows else np.zeros(0)
    return np.asarray(np.diff(np.searchsorted(np.sort(starts), edges_s, side="left")), dtype=np.int64)


def _used_until(use: RowUse, before: Floats, time_s: Floats) -> Floats:
    """Seconds of use up to each time."""
    begun = np.searchsorted(use.start_s, time_s, side="right")
    last = np.maximum(begun - 1, 0)
    over_s = np.maximum(use.end_s[last] - time_s, 0.0)
    return np.where(begun > 0, before[begun] - over_s, 0.0)
