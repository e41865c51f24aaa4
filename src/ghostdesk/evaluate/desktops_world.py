"""Judges row policies on a history: each row is kept ready by itself, slot by slot. There is no control loop.

The model, for which it is exact: a policy is asked at the start of every slot which idle rows to hold until the next.
A row whose use ends within a slot stays ready until the slot's end. A row that was not ready takes the lead time to get
so; that counts as idle. A start is cold where its row is not ready just then. Rows exist from their first use on, which
is always cold, to the end of their log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ghostdesk.allocator.policies.clairvoyant_rows import ClairvoyantRows
from ghostdesk.allocator.policies.row_scores import ScoredRows
from ghostdesk.allocator.policies.seam import Flags, Floats, Ints, Moment, Observed, Policy
from ghostdesk.evaluate.arrivals_timeline import HOUR_S, RowUse

_MONTH_S = 30 * 86_400.0
_DAY_S = 86_400.0
Progress = Callable[[int, int], None]
"""``(slots_done, slots_total)``."""


@dataclass(frozen=True, slots=True)
class Lead:
    """How long a row takes to get ready.

    Args:
        mean_s: seconds, 0 or more; less than a slot makes sense of a policy that is asked every slot.
        spread: standard deviation of its logarithm.
        seed: of the drawn times; all policies meet the same ones.
    """

    mean_s: float = 0.0
    spread: float = 0.0
    seed: int = 1

    def drawn_s(self, slot: int, rows: int) -> Floats:
        """Lead times of rows that are begun in a slot, shape (rows,)."""
        if not self.spread or not self.mean_s:
            return np.full(rows, self.mean_s)
        normal = np.random.default_rng((self.seed, slot)).normal(size=rows)
        return np.asarray(self.mean_s * np.exp(self.spread * normal - 0.5 * self.spread**2))


AT_ONCE = Lead()


@dataclass(slots=True)
class Tally:
    """What one setting cost in the judged part.

    Args:
        sessions, cold: starts, and how many of them were cold.
        idle_s: seconds that rows were ready, or getting so, and not used.
        monthly: the same three for every 30 days from the first judged slot, shape (months, 3).
    """

    sessions: int
    cold: int
    idle_s: float
    monthly: Floats


class RowWorld:
    """A history as policies live through it.

    Args:
        rows: everyone's use.
        slot_s: length of a slot in seconds; an hour is a whole number of them, or they are of whole hours.
        from_s: what lies before is learnt from and not judged (UTC seconds).
        lead: how long a row takes to get ready.
    """

    def __init__(self, rows: Sequence[RowUse], slot_s: int, from_s: float, lead: Lead = AT_ONCE) -> None:
        if slot_s <= 0 or (HOUR_S % slot_s and slot_s % HOUR_S):
            raise ValueError(f"a slot of {slot_s} s: an hour has to be a whole number of them, or they of hours")
        used = sorted((row for row in rows if len(row.start_s)), key=lambda row: float(row.start_s[0]))
        if not used:
            raise ValueError("no row was ever used")
        self.rows = used
        self.slot_s = float(slot_s)
        self.lead = lead
        step_s = max(slot_s, HOUR_S)
        self.start_s = float(used[0].start_s[0]) // step_s * step_s
        self.until_s: Floats = np.array([max(row.until_s, float(row.end_s[-1])) for row in used])
        self.slots = max(1, int(np.ceil((float(self.until_s.max()) - self.start_s) / slot_s)))
        self.first_judged = max(0, int(np.ceil((from_s - self.start_s) / slot_s)))
        self.judged_s = self.start_s + self.first_judged * self.slot_s
        self.first_s: Floats = np.array([row.start_s[0] for row in used])
        counts = [len(row.start_s) for row in used]
        number = np.repeat(np.arange(len(used)), counts)
        starts_s, ends_s = (np.concatenate([getattr(row, name) for row in used]) for name in ("start_s", "end_s"))
        time_s, row = np.concatenate((starts_s, ends_s)), np.concatenate((number, number))
        begins = np.concatenate((np.ones(len(starts_s), dtype=bool), np.zeros(len(ends_s), dtype=bool)))
        order = np.lexsort((begins, time_s))
        self._time_s, self._row, self._begins = time_s[order], row[order], begins[order]
        edges_s = self.start_s + np.arange(self.slots + 1) * self.slot_s
        self._edges = np.searchsorted(self._time_s, edges_s, side="left")
        self._known = np.searchsorted(self.first_s, edges_s, side="left")
        offsets = np.concatenate([row.offset_s for row in used])
        self._offset_s = float(np.median(offsets))
        self._several_zones = bool(np.any(offsets != offsets[0]))
        self._places = [row.offset_s for row in used]

    @property
    def judged_slots(self) -> int:
        """How many slots count."""
        return max(0, self.slots - self.first_judged)

    def judge(self, policies: Sequence[Policy], progress: Progress | None = None) -> list[Tally]:
        """Let every policy live through the whole history; what comes back is in their order."""
        run = _Run(self, policies)
        for slot in range(self.slots):
            run.step(slot)
            if progress is not None and (slot % 500 == 0 or slot + 1 == self.slots):
                progress(slot + 1, self.slots)
        return run.tallies()

    def events(self, slot: int) -> tuple[Floats, Ints, Flags]:
        """Times, rows and whether they are starts, of a slot's changes in order."""
        part = slice(int(self._edges[slot]), int(self._edges[slot + 1]))
        return self._time_s[part], self._row[part], self._begins[part]

    def known(self, slot: int) -> int:
        """Rows that were used before the slot."""
        return int(self._known[slot])

    def offsets_s(self, sessions: Ints) -> Floats | None:
        """Local time minus UTC of the first rows, after so many sessions of each; None where all have one zone."""
        if not self._several_zones:
            return None
        return np.array([self._places[row][max(n - 1, 0)] for row, n in enumerate(sessions.tolist())])

    @property
    def offset_s(self) -> float:
        """Local time minus UTC of most sessions."""
        return self._offset_s


class _Run:
    """Policies on their way through a history."""

    def __init__(self, world: RowWorld, policies: Sequence[Policy]) -> None:
        self.world = world
        self.policies = list(policies)
        shared: dict[str, ScoredRows] = {}
        for policy in self.policies:
            if isinstance(policy, ScoredRows):
                policy.source = shared.setdefault(policy.key, policy).source
        self._leaders = {id(policy) for policy in shared.values()}
        rows, settings = len(world.rows), len(self.policies)
        self._busy: Flags = np.zeros(rows, dtype=bool)
        self._end_s: Floats = np.full(rows, -np.inf)
        self._sessions: Ints = np.zeros(rows, dtype=np.int64)
        self._ready_s: Floats = np.full((settings, rows), np.inf)
        months = int(world.judged_slots * world.slot_s // _MONTH_S) + 1
        self._cold, self._idle_s = np.zeros((settings, months)), np.zeros((settings, months))
        self._starts = np.zeros(months)
        self._observed: list[Observed | None] = [None] * settings

    def step(self, slot: int) -> None:
        """Decide, then let the slot happen."""
        world = self.world
        begin_s = world.start_s + slot * world.slot_s
        end_s = begin_s + world.slot_s
        known = world.known(slot)
        warm = self._decided(begin_s, end_s, known)
        fresh = np.isinf(self._ready_s[:, :known]) & (self._ready_s[:, :known] > 0.0)
        ready_s = np.where(fresh, begin_s + world.lead.drawn_s(slot, known), self._ready_s[:, :known])
        self._ready_s[:, :known] = np.where(warm, ready_s, np.inf)
        judged = slot >= world.first_judged
        cold, idle_s, starts = self._happen(slot, begin_s, end_s, warm)
        if judged:
            month = int((slot - world.first_judged) * world.slot_s // _MONTH_S)
            self._cold[:, month] += cold
            self._idle_s[:, month] += idle_s
            self._starts[month] += starts

    def _decided(self, begin_s: float, end_s: float, known: int) -> Flags:
        """Which rows each policy holds, shape (policies, known rows)."""
        world = self.world
        busy = self._busy[:known]
        idle_s = np.where(busy, np.nan, begin_s - self._end_s[:known])
        active = int(busy.sum())
        # Rows in use count as ready.
        ready = (self._ready_s[:, :known] <= begin_s).sum(axis=1) - active
        held = np.isfinite(self._ready_s[:, :known]) | (self._ready_s[:, :known] < 0.0)
        coming = held.sum(axis=1) - active - ready
        moment = Moment(
            begin_s, world.offset_s, end_s, world.lead.mean_s, world.lead.spread, 0, 0, active, idle_s,
            world.offsets_s(self._sessions[:known]),
        )  # fmt: skip
        warm = np.zeros((len(self.policies), known), dtype=bool)
        scores: dict[str, Floats] = {}
        for place, policy in enumerate(self.policies):
            observed = self._observed[place]
            if isinstance(policy, ScoredRows) and id(policy) in self._leaders:
                policy.source.grow(known)
                if observed is not None:
                    policy.source.observe(observed)
                scores[policy.key] = policy.source.scores(moment)
            if isinstance(policy, ScoredRows) and begin_s < world.judged_s - policy.chooser.memory_s - _DAY_S:
                continue
            if isinstance(policy, ScoredRows):
                if observed is not None:
                    policy.chooser.observe(observed)
                held_rows = policy.chooser.choose(scores[policy.key], moment).warm
            else:
                own = replace(moment, ready=int(ready[place]), coming=int(coming[place]))
                policy.grow(known)
                if observed is not None:
                    policy.observe(observed)
                if isinstance(policy, ClairvoyantRows):
                    policy.foretell(self._next_starts_s(known))
                held_rows = policy.decide(own).warm
            if held_rows is not None:
                warm[place] = held_rows & ~busy
        return warm

    def _happen(self, slot: int, begin_s: float, end_s: float, warm: Flags) -> tuple[Floats, Floats, int]:
        """Cold starts and idle seconds of each policy, and the starts, of one slot."""
        world, known = self.world, warm.shape[1]
        alive = world.until_s[:known] > begin_s
        idle_s = (warm & alive).sum(axis=1) * world.slot_s
        cold = np.zeros(len(self.policies))
        times, rows, begins = world.events(slot)
        ended: dict[int, float] = {}
        for time_s, row, begin in zip(times.tolist(), rows.tolist(), begins.tolist(), strict=True):
            if begin:
                missed = self._ready_s[:, row] > time_s
                cold += missed
                if row in ended:
                    idle_s += time_s - ended.pop(row)
                elif row < known:
                    idle_s -= warm[:, row] * (end_s - time_s)
                self._busy[row] = True
                self._sessions[row] += 1
            else:
                ended[row] = self._end_s[row] = time_s
                self._busy[row] = False
                self._ready_s[:, row] = -np.inf
        for time_s in ended.values():
            idle_s += end_s - time_s
        started, ends = rows[begins], rows[~begins]
        for place, misses in enumerate(cold.astype(int).tolist()):
            self._observed[place] = Observed(
                begin_s, end_s, started, times[begins], ends, times[~begins], misses
            )  # fmt: skip
        return cold, idle_s, len(started)

    def _next_starts_s(self, known: int) -> Floats:
        found = np.full(known, np.inf)
        for row in range(known):
            starts_s, n = self.world.rows[row].start_s, int(self._sessions[row])
            if n < len(starts_s):
                found[row] = starts_s[n]
        return found

    def tallies(self) -> list[Tally]:
        """What everything cost."""
        starts = self._starts
        return [
            Tally(int(starts.sum()), int(cold.sum()), float(idle_s.sum()), np.stack((starts, cold, idle_s), axis=1))
            for cold, idle_s in zip(self._cold, self._idle_s, strict=True)
        ]
