"""Scores every predictor of arrivals on a history, in time order: each slot is foretold from what came before it.

The first part of each row's time span (80 %, or what lies before a date) only trains; everything goes on learning
while it is scored. In a row's scored part count the slots that find it idle, for at most `DORMANT_S`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ghostdesk.evaluate.arrivals_counts import CountScore, score_counts
from ghostdesk.evaluate.arrivals_prewarming import PrewarmingCost, hybrid_histogram_costs, keep_alive_costs
from ghostdesk.evaluate.arrivals_reading import ArrivalHistory
from ghostdesk.evaluate.arrivals_scores import HazardScore, ScoreSummary, WarmPoint, cold_at
from ghostdesk.evaluate.arrivals_timeline import HOUR_S, Timeline, UseChunk, cut, start_counts
from ghostdesk.evaluate.metrics import Interval
from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.profiles.arrivals.experts import simple_experts
from ghostdesk.profiles.arrivals.model import ArrivalModel
from ghostdesk.profiles.arrivals.seam import WEEK_S, Flags, Floats, Ints, SlotBlock, SlotOutcome
from ghostdesk.profiles.arrivals.weekday_rule import WeekdayRule
from ghostdesk.profiles.baselines.slots import MONDAY_S

TRAIN_SHARE = 0.8
MIXTURE = "mixture"
BUDGET_MINUTES = (15, 35, 58, 87, 114, 160, 212)
_COUNT_WEEKS = 8
_FLUSH_SLOTS = 200_000

Progress = Callable[[int, int], None]
"""``(slots_done, slots_total)``."""


@dataclass(frozen=True, slots=True)
class WarmBudget:
    """Cold starts of one predictor when a row is kept ready wherever its hazard reaches a threshold.

    Args:
        name: of the predictor.
        cold: the least share of cold starts at each of `BUDGET_MINUTES` idle minutes a session; None where even the
            highest threshold takes more. Thresholds are picked afterwards, which favours every predictor alike.
    """

    name: str
    cold: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ArrivalReport:
    """What one length of slot gave.

    Args:
        slot_minutes: its length.
        noun: what a row is.
        rows, sessions: how many were scored (sessions: all that started in the scored part).
        unscored_starts: of them, those in slots that were not at risk (in use at the start, or dormant before).
        scores: of every predictor, best first.
        better_by: how much lower the mixture's log loss is than each other's, 95 % by row; above 0 is better.
        counts: of everyone together.
        budgets, policies: readiness by thresholds, and by policies with their own parameters.
        weights: everyone's weights in the mixture.
    """

    slot_minutes: float
    noun: str
    rows: int
    sessions: int
    unscored_starts: int
    scores: tuple[ScoreSummary, ...]
    better_by: dict[str, Interval | None]
    counts: tuple[CountScore, ...]
    budgets: tuple[WarmBudget, ...]
    policies: tuple[PrewarmingCost, ...]
    weights: dict[str, float]


def evaluate_arrivals(
    history: ArrivalHistory, slot_s: int, train_until_s: float | None = None, progress: Progress | None = None
) -> ArrivalReport:
    """Score every predictor.

    Args:
        history: who was there when.
        slot_s: length of a slot; an hour is a whole number of them, or they are of a whole number of hours.
        train_until_s: what lies before (UTC seconds) only trains; None is 80 % of each row's own span.
        progress: called now and then.

    Raises:
        ImportFileError: the history is too short to score anything.
    """
    run = _Run(history, slot_s, train_until_s)
    for chunk in run.timeline.chunks():
        run.take(chunk)
        if progress is not None:
            done = int((chunk.first_s - run.timeline.start_s) / slot_s) + chunk.known.shape[1]
            progress(min(done, run.timeline.slots()), run.timeline.slots())
    return run.report()


class _Run:
    """One evaluation under way."""

    def __init__(self, history: ArrivalHistory, slot_s: int, train_until_s: float | None) -> None:
        self.history = history
        self.timeline = Timeline(history.rows, slot_s)
        rows = len(history.rows)
        first = self.timeline.first_s
        last = np.array([row.until_s for row in history.rows])
        with np.errstate(invalid="ignore"):
            own = np.where(np.isfinite(first), first + TRAIN_SHARE * (last - first), np.inf)
        self.split_s: Floats = own if train_until_s is None else np.full(rows, train_until_s)
        whole_s = self.timeline.end_s - self.timeline.start_s
        self.count_from_s = self.timeline.start_s + TRAIN_SHARE * whole_s if train_until_s is None else train_until_s
        self.model = ArrivalModel()
        self.model.grow(rows)
        self.rule = next(expert for expert in self.model.experts if isinstance(expert, WeekdayRule))
        members = {expert.name for expert in self.model.experts}
        self.others = [expert for expert in simple_experts() if expert.name not in members]
        for expert in self.others:
            expert.grow(rows)
        self.scores = [HazardScore(expert.name, rows) for expert in (*self.model.experts, *self.others)]
        self.scores.append(HazardScore(MIXTURE, rows))
        self.summed: Floats = np.full(self.timeline.slots() + self.timeline.block_slots * 24 * 28, np.nan)
        self.in_use_idle_s = 0.0
        self.rule_warm = np.zeros(2)
        self._waiting: list[tuple[Ints, Floats, Flags, Floats]] = []
        self._waiting_slots = 0

    def take(self, chunk: UseChunk) -> None:
        """Foretell, score and learn some weeks."""
        slots, width = chunk.known.shape[1], self.timeline.block_slots
        begin_s = chunk.first_s + np.arange(slots) * float(self.timeline.slot_s)
        scored = chunk.known & (begin_s[None, :] >= self.split_s[chunk.block.rows, None])
        for first in range(0, slots, width):
            part = slice(first, first + width)
            here = chunk.known[:, part].any(axis=1)
            if not here.any():
                continue
            block, outcome = cut(chunk, first, width)
            said = self.model.said(block)
            wanted = scored[here, part]
            if wanted.any() or begin_s[first] >= self.count_from_s - _COUNT_WEEKS * WEEK_S:
                mixed = self.model.mix(block, said)
                place = round((begin_s[first] - self.timeline.start_s) / self.timeline.slot_s)
                total = (mixed * block.at_risk).sum(axis=0)
                self.summed[place : place + len(total)] = total[: max(len(self.summed) - place, 0)]
                others = [expert.hazards(block) for expert in self.others]
                self._score(block, outcome, np.array([*said, *others, mixed]), wanted, chunk.idle_slot_s[here, part])
            self.model.learn(block, outcome, said)
            for expert in self.others:
                expert.learn(block, outcome)

    def _score(self, block: SlotBlock, outcome: SlotOutcome, hazards: Floats, wanted: Flags, idle_s: Floats) -> None:
        self.in_use_idle_s += float(idle_s[wanted & ~block.at_risk & (block.idle_s == 0.0)].sum())
        counted = wanted & block.at_risk
        if not counted.any():
            return
        inside = counted & self.rule.inside(block)
        self.rule_warm += (float((outcome.started & inside).sum()), float(idle_s[inside].sum()))
        rows = np.broadcast_to(block.rows[:, None], counted.shape)[counted]
        self._waiting.append((rows, hazards[:, counted], outcome.started[counted], idle_s[counted]))
        self._waiting_slots += len(rows)
        if self._waiting_slots >= _FLUSH_SLOTS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            rows, hazards, started, idle_s = zip(*self._waiting, strict=True)
            all_hazards = np.concatenate(hazards, axis=1)
            for score, said in zip(self.scores, all_hazards, strict=True):
                score.add(np.concatenate(rows), said, np.concatenate(started), np.concatenate(idle_s))
        self._waiting, self._waiting_slots = [], 0

    def report(self) -> ArrivalReport:
        """Everything that came out."""
        self._flush()
        mixture = self.scores[-1]
        if not mixture.slots.sum():
            raise ImportFileError(
                f"The history is too short: after the training part no {self.history.noun} had an idle slot to score.",
                "Give more history, an earlier --train-until, or shorter slots.",
            )
        pairs = zip(self.history.rows, self.split_s.tolist(), strict=True)
        sessions = sum(int((row.start_s >= split).sum()) for row, split in pairs)
        summaries = tuple(sorted((score.summary() for score in self.scores), key=lambda one: one.log_loss))
        at_risk = summaries[0].starts
        dormant = self._dormant_starts()
        warm = max(sessions - at_risk - dormant, 0)
        curves = {s.name: s.warm_curve(max(sessions, 1), warm, self.in_use_idle_s) for s in self.scores}
        return ArrivalReport(
            slot_minutes=self.timeline.slot_s / 60.0,
            noun=self.history.noun,
            rows=int((mixture.slots > 0).sum()),
            sessions=sessions,
            unscored_starts=sessions - at_risk,
            scores=summaries,
            better_by={s.name: mixture.better_by(s) for s in self.scores[:-1]},
            counts=self._counts(),
            budgets=tuple(WarmBudget(one.name, _budget(curves[one.name])) for one in summaries),
            policies=self._policies(max(sessions, 1), warm),
            weights=self.model.mixture.weights_of_everyone(),
        )

    def _dormant_starts(self) -> int:
        found = 0
        for row, split in zip(self.history.rows, self.split_s.tolist(), strict=True):
            gaps = row.start_s[1:] - row.end_s[:-1]
            found += int(((gaps >= self.timeline.dormant_s) & (row.start_s[1:] >= split)).sum())
            found += int(len(row.start_s) > 0 and row.start_s[0] >= split)
        return found

    def _policies(self, sessions: int, warm: int) -> tuple[PrewarmingCost, ...]:
        hit, idle_s = self.rule_warm.tolist()
        rule = PrewarmingCost(
            self.rule.name, max(1.0 - (hit + warm) / sessions, 0.0), (idle_s + self.in_use_idle_s) / 60.0 / sessions
        )
        rows, split_s = self.history.rows, self.split_s
        return (*keep_alive_costs(rows, split_s), *hybrid_histogram_costs(rows, split_s), rule)

    def _counts(self) -> tuple[CountScore, ...]:
        slot_s, slots = self.timeline.slot_s, self.timeline.slots()
        edges_s: Floats = self.timeline.start_s + np.arange(slots + 1, dtype=np.float64) * slot_s
        # Everyone's clock: that of most sessions.
        offsets = np.concatenate([row.offset_s for row in self.history.rows])
        local_s = edges_s[:-1] + float(np.median(offsets)) + MONDAY_S
        week = np.floor_divide(local_s, WEEK_S)
        hour = ((local_s - week * WEEK_S) // HOUR_S).astype(np.int64)
        score_from = int(np.searchsorted(edges_s[:-1], self.count_from_s))
        return score_counts(
            start_counts(self.history.rows, edges_s),
            week.astype(np.int64),
            hour,
            self.summed[:slots],
            slot_s,
            max(0, score_from - _COUNT_WEEKS * WEEK_S // slot_s),
            score_from,
        )


def _budget(curve: list[WarmPoint]) -> tuple[float | None, ...]:
    found = (cold_at(curve, minutes) for minutes in BUDGET_MINUTES)
    return tuple(cold if cold == cold else None for cold in found)  # noqa: PLR0124  (not a number)
