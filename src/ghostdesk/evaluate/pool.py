"""What every policy's pool would have cost on a history: misses against idle ghost-hours, as curves.

Every policy lives through the history in order, sees only what came before, and goes on learning; only what lies after
the training time is judged. Policies are compared at the same share of misses, interpolated on their curves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import UTC, tzinfo
from itertools import pairwise
from queue import Empty
from typing import Any

import numpy as np

from ghostdesk.allocator.policies.catalogue import families
from ghostdesk.allocator.policies.seam import Policy
from ghostdesk.evaluate.arrivals_reading import ArrivalHistory
from ghostdesk.evaluate.pool_world import STEP_S, PoolCost, PoolRules, Uses, judge, uses_of
from ghostdesk.evaluate.processes import SPAWN, worker_processes
from ghostdesk.kernel.errors import ImportFileError

MISS_SHARE = 0.01
"""Policies are compared where so many starts miss."""
STATIC = "static"
_TRAIN_SHARE = 0.8
_DAY_S = 86_400.0
_POLL_S = 0.2

Progress = Callable[[int, int], None]
"""``(steps_done, steps_total)``."""


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How to judge.

    Args:
        train_until_s: what lies before (UTC seconds) only trains; None is the first four fifths.
        train_days: how much of that policies see, at most.
        lead_s, lead_spread, seed, zone: see `PoolRules`.
        jobs: processes; 1 is this one alone.
    """

    train_until_s: float | None = None
    train_days: float = 365.0
    lead_s: float = 120.0
    lead_spread: float = 0.0
    seed: int = 0
    zone: tzinfo = UTC
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class PoolPoint:
    """One policy with one parameter.

    Args:
        setting: the parameter.
        misses_pct: misses, percent of starts.
        idle_hours: ghost-hours that ghosts were being made or waited.
        cost: all that was counted.
    """

    setting: str
    misses_pct: float
    idle_hours: float
    cost: PoolCost


@dataclass(frozen=True, slots=True)
class PoolCurve:
    """One policy.

    Args:
        policy, title, source: which, and where it comes from.
        points: a setting each.
        idle_hours_at: idle ghost-hours where `MISS_SHARE` of the starts miss; None where its curve does not get there.
        less_idle: how much less that is than the static pool's with the same misses, 0 to 1; None where not known.
    """

    policy: str
    title: str
    source: str
    points: tuple[PoolPoint, ...]
    idle_hours_at: float | None = None
    less_idle: float | None = None


@dataclass(frozen=True, slots=True)
class PoolReport:
    """All policies on one history.

    Args:
        noun: what a row is.
        rows: how many.
        starts: those that were judged.
        hours: length of the judged part.
        trained_days: what policies saw before it.
        lead_s, lead_spread: how long a ghost takes.
        miss_share: where policies are compared.
        curves: of each policy.
        clairvoyant_hours: idle ghost-hours of one who knows every start a lead time and a decision ahead, and misses
            none: nobody can do with less and miss nothing.
        clairvoyant_less: how much less that is than the static pool with `miss_share`, 0 to 1.
    """

    noun: str
    rows: int
    starts: int
    hours: float
    trained_days: float
    lead_s: float
    lead_spread: float
    miss_share: float
    curves: tuple[PoolCurve, ...]
    clairvoyant_hours: float
    clairvoyant_less: float | None


@dataclass(frozen=True, slots=True)
class _Task:
    """A policy's settings that go through the history side by side; None is all of them."""

    policy: str
    setting: int | None

    def make(self) -> list[Policy]:
        family = families()[self.policy]
        if self.setting is not None:
            return [family.settings[self.setting].make()]
        if family.together is None:
            raise ValueError(f"{self.policy} shares nothing")
        return list(family.together())


def evaluate_pool(
    history: ArrivalHistory, policies: Sequence[str], options: PoolOptions, progress: Progress | None = None
) -> PoolReport:
    """Judge policies, named as in the catalogue; the static pool is always among them.

    Raises:
        ImportFileError: nothing is left to judge.
    """
    uses, rules = uses_of(history.rows), _rules(history, options)
    starts = int(((uses.start_s >= rules.score_from_s) & (uses.start_s < rules.until_s)).sum())
    if not starts:
        raise ImportFileError(
            "No start is left to judge after the training time.", "Give an earlier --train-until, or a longer history."
        )
    names = [name for name in families() if name in policies or name == STATIC]
    tasks = [
        task
        for name in names
        for task in (
            [_Task(name, None)]
            if families()[name].together is not None
            else [_Task(name, place) for place in range(len(families()[name].settings))]
        )
    ]
    costs = _run(tasks, uses, rules, options.jobs, progress)
    curves = [_curve(name, [one for task in tasks if task.policy == name for one in costs[task]]) for name in names]
    static = next(curve for curve in curves if curve.policy == STATIC)
    clairvoyant = starts * (rules.lead_s + STEP_S) / 3_600.0
    base = static.idle_hours_at
    return PoolReport(
        history.noun, len(history.rows), starts, (rules.until_s - rules.score_from_s) / 3_600.0,
        (rules.score_from_s - rules.from_s) / _DAY_S, rules.lead_s, rules.lead_spread, MISS_SHARE,
        tuple(_against(curve, base) for curve in curves),
        clairvoyant, 1.0 - clairvoyant / base if base else None,
    )  # fmt: skip


def idle_at(points: Sequence[tuple[float, float]], share: float) -> float | None:
    """Idle hours where a curve reaches a share of misses, on the straight line between its points on either side.

    Args:
        points: share of misses and idle hours.
        share: of misses.
    """
    best: list[tuple[float, float]] = []
    for missed, idle in sorted(points, key=lambda point: (point[1], point[0])):
        if not best or missed < best[-1][0]:  # what misses more and idles more is never chosen
            best.append((missed, idle))
    for (more, less_idle), (fewer, more_idle) in pairwise(best):
        if fewer <= share <= more:
            return less_idle + (more - share) / (more - fewer) * (more_idle - less_idle)
    return best[0][1] if best and best[0][0] == share else None


def _rules(history: ArrivalHistory, options: PoolOptions) -> PoolRules:
    first_s = min(float(row.start_s[0]) for row in history.rows if len(row.start_s))
    until_s = max(float(row.until_s) for row in history.rows if len(row.start_s))
    until_s = max(until_s, max(float(row.start_s[-1]) for row in history.rows if len(row.start_s)) + 1.0)
    split_s = options.train_until_s
    if split_s is None:
        split_s = first_s + _TRAIN_SHARE * (until_s - first_s)
    split_s = max(np.floor(split_s / STEP_S) * STEP_S, np.floor(first_s / STEP_S) * STEP_S)
    from_s = max(split_s - np.ceil(options.train_days * _DAY_S / STEP_S) * STEP_S, np.floor(first_s / STEP_S) * STEP_S)
    return PoolRules(
        float(from_s), float(split_s), until_s, options.lead_s, options.lead_spread, options.seed, options.zone
    )


def _curve(name: str, costs: Sequence[PoolCost]) -> PoolCurve:
    family = families()[name]
    points = tuple(
        PoolPoint(setting.label, 100.0 * cost.miss_share, cost.idle_hours, cost)
        for setting, cost in zip(family.settings, costs, strict=True)
    )
    found = idle_at([(point.cost.miss_share, point.idle_hours) for point in points], MISS_SHARE)
    return PoolCurve(name, family.title, family.source, points, found)


def _against(curve: PoolCurve, base: float | None) -> PoolCurve:
    less = 1.0 - curve.idle_hours_at / base if base and curve.idle_hours_at is not None else None
    return PoolCurve(curve.policy, curve.title, curve.source, curve.points, curve.idle_hours_at, less)


_Costs = dict[_Task, list[PoolCost]]
_shared: dict[str, Any] = {}
"""What every worker process was given at its start."""


def _run(tasks: Sequence[_Task], uses: Uses, rules: PoolRules, jobs: int, progress: Progress | None) -> _Costs:
    whole, done = len(tasks) * rules.steps, 0

    def show(steps: int) -> None:
        nonlocal done
        done += steps
        if progress is not None and steps:
            progress(done, whole)

    if jobs == 1:
        return {task: judge(task.make(), uses, rules, show) for task in tasks}
    told = SPAWN.Queue()
    given = (uses, rules, told)
    with worker_processes(min(jobs, len(tasks)), "judging", "Try --jobs 1.", _begin, given) as executor:
        # Those that take longest first, so that none of them is left alone at the end.
        order = sorted(tasks, key=lambda task: task.setting is not None)
        futures: dict[Future[list[PoolCost]], _Task] = {executor.submit(_judge, task): task for task in order}
        waiting = set(futures)
        while waiting:
            _, waiting = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            show(_drained(told))
        return {task: future.result() for future, task in futures.items()}


def _begin(uses: Uses, rules: PoolRules, told: Any) -> None:
    _shared.update(uses=uses, rules=rules, told=told)


def _judge(task: _Task) -> list[PoolCost]:
    return judge(task.make(), _shared["uses"], _shared["rules"], _shared["told"].put)


def _drained(told: Any) -> int:
    steps = 0
    while True:
        try:
            steps += told.get_nowait()
        except Empty:
            return steps
