"""A pool for everybody, event by event: what it costs, and which starts miss it. Exact for its stated model. Pure.

A start takes any ready ghost; one that finds none is a miss and is served outside of the pool. A ghost takes the lead
time until it is ready, and counts as idle meanwhile. One that is taken is replaced at once where the target asks for
it. A policy is asked every minute; when its target falls, ready ghosts beyond it are removed, and those that are being
made are kept until they are ready. How long a use lasts matters to no ghost, only to what policies see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from heapq import heappop, heappush

import numpy as np

from ghostdesk.allocator.policies.seam import Decision, Floats, Ints, Moment, Observed, Policy
from ghostdesk.evaluate.arrivals_timeline import RowUse

STEP_S = 60.0
_HOUR_S = 3_600.0
_SHOW_STEPS = 7 * 24 * 60

Progress = Callable[[int], None]
"""Called with the steps done since the last call."""


@dataclass(frozen=True)
class Uses:
    """Everybody's uses, in the order of time.

    Args:
        rows: how many rows there are.
        start_s, started: when uses started, and of which row, shape (uses,).
        end_s, ended: when uses ended, and of which row, shape (uses,), in the order of their ends.
    """

    rows: int
    start_s: Floats
    started: Ints
    end_s: Floats
    ended: Ints


@dataclass(frozen=True, slots=True)
class PoolRules:
    """What the world is like.

    Args:
        from_s: the first moment (UTC seconds).
        score_from_s: what happens before is seen by policies and counts for nothing.
        until_s: the end.
        lead_s: the mean of how long a ghost takes until it is ready, above 0.
        lead_spread: standard deviation of the logarithm of that time (lognormal); 0 where it is always the same.
        seed: of the times drawn.
        zone: of the local clock that policies see.
    """

    from_s: float
    score_from_s: float
    until_s: float
    lead_s: float = 120.0
    lead_spread: float = 0.0
    seed: int = 0
    zone: tzinfo = UTC

    @property
    def steps(self) -> int:
        """How often a policy is asked."""
        return max(0, int(np.ceil((self.until_s - self.from_s) / STEP_S)))


@dataclass(frozen=True, slots=True)
class PoolCost:
    """What a pool cost in the scored part.

    Args:
        starts, misses: of all starts, those that found nothing ready.
        idle_s: ghost-seconds that ghosts were being made or waited.
        boots: ghosts that were made; `boot_s` is how long that took in all.
        removed: ghosts that were removed unused.
        held: ghosts at the beginning and at the end of the scored part.
        months: starts and misses of each calendar month (UTC), by "2016-03".
    """

    starts: int
    misses: int
    idle_s: float
    boots: int
    boot_s: float
    removed: int
    held: tuple[int, int]
    months: dict[str, tuple[int, int]]

    @property
    def miss_share(self) -> float:
        """Misses of all starts, 0 to 1."""
        return self.misses / self.starts if self.starts else 0.0

    @property
    def idle_hours(self) -> float:
        """Ghost-hours."""
        return self.idle_s / _HOUR_S


def uses_of(rows: Sequence[RowUse]) -> Uses:
    """Everybody's uses out of each row's."""
    started = np.repeat(np.arange(len(rows)), [len(row.start_s) for row in rows])
    start_s = np.concatenate([np.zeros(0), *(row.start_s for row in rows)])
    end_s = np.concatenate([np.zeros(0), *(row.end_s for row in rows)])
    by_start, by_end = np.argsort(start_s, kind="stable"), np.argsort(end_s, kind="stable")
    return Uses(len(rows), start_s[by_start], started[by_start], end_s[by_end], started[by_end])


def judge(policies: Sequence[Policy], uses: Uses, rules: PoolRules, progress: Progress | None = None) -> list[PoolCost]:
    """Let policies live through the same history, each with a pool of its own.

    They go through it side by side, so that policies that share what they learn from it need not learn it twice.
    """
    pools = [_Pool(rules) for _ in policies]
    for policy in policies:
        policy.grow(uses.rows)
    idle_from_s = np.full(uses.rows, -np.inf)
    done = 0
    steps = rules.steps
    at_s = np.minimum(rules.from_s + STEP_S * np.arange(steps + 1), rules.until_s)
    first_start = np.searchsorted(uses.start_s, at_s).tolist()
    first_end = np.searchsorted(uses.end_s, at_s).tolist()
    offset_s, offset_hour = 0.0, -1
    times = uses.start_s.tolist()
    for step in range(steps):
        now_s = rules.from_s + STEP_S * step
        if now_s // _HOUR_S != offset_hour:
            offset_s, offset_hour = _offset_s(now_s, rules.zone), int(now_s // _HOUR_S)
        a, b, c, d = first_start[step], first_start[step + 1], first_end[step], first_end[step + 1]
        moment_idle_s = now_s - idle_from_s
        active = a - c
        started, started_s = uses.started[a:b], uses.start_s[a:b]
        ended, ended_s = uses.ended[c:d], uses.end_s[c:d]
        for policy, pool in zip(policies, pools, strict=True):
            pool.advance(now_s)
            moment = Moment(
                now_s, offset_s, now_s + STEP_S, rules.lead_s, rules.lead_spread,
                pool.ready, len(pool.coming), active, moment_idle_s,
            )  # fmt: skip
            pool.hold(target_of(policy.decide(moment)), now_s)
            misses = pool.serve(times, a, b)
            policy.observe(Observed(now_s, now_s + STEP_S, started, started_s, ended, ended_s, misses))
        if d > c or b > a:
            _note_use(idle_from_s, uses, (a, b), (c, d))
        if progress is not None and step - done >= _SHOW_STEPS:
            progress(step - done)
            done = step
    if progress is not None:
        progress(steps - done)
    return [pool.finish(uses.start_s[first_start[0] : first_start[-1]]) for pool in pools]


def target_of(decision: Decision) -> int:
    """Ghosts that a pool for everybody holds by this decision: those of rows count as any others."""
    return decision.target + (int(decision.warm.sum()) if decision.warm is not None else 0)


class _Pool:
    """Ghosts of one policy."""

    def __init__(self, rules: PoolRules) -> None:
        self._rules = rules
        self._rng = np.random.default_rng(rules.seed)
        self.ready = 0
        self.coming: list[float] = []  # a heap of the moments at which they are ready
        self._target = 0
        self._at_s = rules.from_s
        self._idle_s = self._boot_s = 0.0
        self._missed: list[bool] = []
        self._boots = self._removed = 0
        self._held_first: int | None = None

    def advance(self, now_s: float) -> None:
        """Time goes by, and ghosts get ready."""
        coming = self.coming
        while coming and coming[0] <= now_s:
            heappop(coming)
            self.ready += 1

    def hold(self, target: int, now_s: float) -> None:
        """From now on, so many."""
        if target < 0:
            raise ValueError(f"a policy asks for {target} ghosts")
        self._target = target
        held = self.ready + len(self.coming)
        if self._held_first is None and now_s >= self._rules.score_from_s:
            self._held_first = held
        if held == target:
            return
        self._count_idle(now_s)
        surplus = min(self.ready, held - target)
        if surplus > 0:
            self.ready -= surplus
            self._removed += surplus if now_s >= self._rules.score_from_s else 0
        for _ in range(target - held):
            self._boot(now_s)

    def serve(self, times: list[float], first: int, last: int) -> int:
        """Starts ``first`` to ``last`` (exclusive); how many missed."""
        misses = 0
        for place in range(first, last):
            now_s = times[place]
            self.advance(now_s)
            missed = not self.ready
            self._missed.append(missed)
            if missed:
                misses += 1
                continue
            if self.ready + len(self.coming) > self._target:  # not replaced: one less from here on
                self._count_idle(now_s)
                self.ready -= 1
            else:
                self.ready -= 1
                self._boot(now_s)
        return misses

    def finish(self, start_s: Floats) -> PoolCost:
        """The sums, at the end; `start_s` are the starts that were served."""
        self._count_idle(self._rules.until_s)
        held = self.ready + len(self.coming)
        scored = start_s >= self._rules.score_from_s
        missed = np.array(self._missed, dtype=bool)[scored]
        month = start_s[scored].astype("datetime64[s]").astype("datetime64[M]")
        names, place = np.unique(month, return_inverse=True)
        starts = np.bincount(place, minlength=len(names)).tolist()
        misses = np.bincount(place, weights=missed, minlength=len(names)).astype(np.int64).tolist()
        return PoolCost(
            len(missed), int(missed.sum()), self._idle_s, self._boots, self._boot_s, self._removed,
            (held if self._held_first is None else self._held_first, held),
            {str(name): pair for name, pair in zip(names, zip(starts, misses, strict=True), strict=True)},
        )  # fmt: skip

    def _boot(self, now_s: float) -> None:
        took_s = self._rules.lead_s
        if self._rules.lead_spread:
            spread = self._rules.lead_spread
            took_s *= float(np.exp(spread * self._rng.standard_normal() - spread * spread / 2.0))
        heappush(self.coming, now_s + took_s)
        if now_s >= self._rules.score_from_s:
            self._boots += 1
            self._boot_s += took_s

    def _count_idle(self, now_s: float) -> None:
        """Called before the number of ghosts changes."""
        since_s = max(self._at_s, self._rules.score_from_s)
        if now_s > since_s:
            self._idle_s += (self.ready + len(self.coming)) * (now_s - since_s)
        self._at_s = max(self._at_s, now_s)


def _note_use(idle_from_s: Floats, uses: Uses, starts: tuple[int, int], ends: tuple[int, int]) -> None:
    """Since when each row is idle: NaN while it is in use. Of what happens within one step the later counts."""
    a, b = starts
    c, d = ends
    happened = [
        (when, 1, row) for when, row in zip(uses.start_s[a:b].tolist(), uses.started[a:b].tolist(), strict=True)
    ]
    happened += [(when, 0, row) for when, row in zip(uses.end_s[c:d].tolist(), uses.ended[c:d].tolist(), strict=True)]
    for when, is_start, row in sorted(happened):
        idle_from_s[row] = np.nan if is_start else when


def _offset_s(now_s: float, zone: tzinfo) -> float:
    if zone is UTC:
        return 0.0
    offset = datetime.fromtimestamp(now_s, zone).utcoffset()
    return offset.total_seconds() if offset is not None else 0.0
