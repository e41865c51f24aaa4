"""Scores of next-application forecasts, gathered step by step. Everything is a sum, so that parts can be put together.

Rank: applications by falling share; equal shares keep the expert's own order. An application that is not listed, or
with share 0, is a miss.

Log loss: over the applications that the person used before, and "a new one". What came before and is not listed, or
below 1e-6, counts as 1e-6; a new one has whatever the expert leaves for applications not used before, named or not.
So an expert that names other people's applications and one that cannot are held to the same outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field

from ghostdesk.evaluate.metrics import LEAST_PROBABILITY, ProbabilityHistogram
from ghostdesk.evaluate.sequences import AppSequence
from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.next_app.expert import NextAppExpert, Shares
from ghostdesk.profiles.situation import Situation

HIT_RANKS = (1, 3, 5)
COLD_STEPS = (20, 100, 500)
"""A newcomer's first so many steps."""
_SUM_TOLERANCE = 1e-6
_BUFFER = 8192


@dataclass(slots=True)
class Sums:
    """Sums over steps, of one person or of many."""

    steps: int = 0
    hits: list[int] = field(default_factory=lambda: [0] * len(HIT_RANKS))
    reciprocal_ranks: float = 0.0
    loss_nats: float = 0.0

    def add(self, rank: int | None, loss_nats: float) -> None:
        """Count one step; `rank` starts at 1, None is a miss."""
        self.steps += 1
        self.loss_nats += loss_nats
        if rank is not None:
            self.reciprocal_ranks += 1.0 / rank
            for place, most in enumerate(HIT_RANKS):
                self.hits[place] += rank <= most

    def merge(self, other: Sums) -> None:
        """Take in another one's."""
        self.steps += other.steps
        self.hits = [a + b for a, b in zip(self.hits, other.hits, strict=True)]
        self.reciprocal_ranks += other.reciprocal_ranks
        self.loss_nats += other.loss_nats


class Calibration:
    """Whether probabilities come true: of the first choice, and of every application listed."""

    def __init__(self) -> None:
        self.first = ProbabilityHistogram()
        self.every = ProbabilityHistogram()
        self._first: tuple[list[float], list[bool]] = ([], [])
        self._every: tuple[list[float], list[bool]] = ([], [])

    def add(self, shares: Shares, actual: AppId, rank: int | None) -> None:
        """Count one forecast."""
        if shares:
            self._first[0].append(max(shares.values()))
            self._first[1].append(rank == 1)
        self._every[0].extend(shares.values())
        self._every[1].extend(app == actual for app in shares)
        if len(self._every[0]) > _BUFFER:
            self.flush()

    def flush(self) -> None:
        """Put what is buffered into the histograms."""
        for histogram, (probabilities, outcomes) in ((self.first, self._first), (self.every, self._every)):
            histogram.add(probabilities, outcomes)
            probabilities.clear()
            outcomes.clear()

    def merge(self, other: Calibration) -> None:
        """Take in another one's."""
        self.flush()
        other.flush()
        self.first.merge(other.first)
        self.every.merge(other.every)


def rank_and_loss(shares: Shares, actual: AppId, used: Set[AppId]) -> tuple[int | None, float]:
    """Rank of what came (from 1; None is a miss) and the nats lost on it; see the module for the rules.

    Raises:
        ValueError: the shares are no probabilities.
    """
    share = shares.get(actual, 0.0)
    total = known = 0.0
    above, ahead = 0, True
    for app, other in shares.items():
        total += other
        if not other >= 0.0:
            raise ValueError(f"the share of {app!r} is {other}")
        if app in used:
            known += other
        if app == actual:
            ahead = False
        elif other > share or (ahead and other == share):
            above += 1
    if not total <= 1.0 + _SUM_TOLERANCE:
        raise ValueError(f"the shares sum to {total}")
    given = share if actual in used else 1.0 - known
    loss_nats = -math.log(min(max(given, LEAST_PROBABILITY), 1.0))
    return (above + 1 if share > 0.0 else None), loss_nats


@dataclass(slots=True)
class SequenceScores:
    """What one expert scored on one sequence: on the steps to be foretold, and from a cold start."""

    test: Sums = field(default_factory=Sums)
    cold: list[Sums] = field(default_factory=lambda: [Sums() for _ in COLD_STEPS])


def score_sequence(
    expert: NextAppExpert,
    sequence: AppSequence,
    around: Sequence[Situation],
    calibration: Calibration | None,
    *,
    cold_start: bool = False,
    test: bool = True,
) -> SequenceScores:
    """Stream a sequence through an expert: asked, scored and then taught on every step, in order.

    Args:
        expert: a fresh one.
        sequence: the applications.
        around: the situation of each step.
        calibration: gathers the probabilities of the steps to be foretold.
        cold_start: also score the first steps, the training ones.
        test: score the steps to be foretold; without, the stream ends where the cold start does.
    """
    scores, used = SequenceScores(), set[AppId]()
    cold_until = COLD_STEPS[-1] if cold_start else 0
    end = len(sequence.apps) if test else min(cold_until, len(sequence.apps))
    for step, (app, situation) in enumerate(zip(sequence.apps[:end], around, strict=False)):
        judged = test and step >= sequence.test_from
        if judged or step < cold_until:
            shares = expert.shares(situation)
            rank, loss_nats = rank_and_loss(shares, app, used)
            if judged:
                scores.test.add(rank, loss_nats)
                if calibration is not None:
                    calibration.add(shares, app, rank)
            for place, first in enumerate(COLD_STEPS):
                if step < min(first, cold_until):
                    scores.cold[place].add(rank, loss_nats)
        expert.learn(app, situation)
        used.add(app)
    return scores


def merged(sums: Iterable[Sums]) -> Sums:
    """All of them together."""
    whole = Sums()
    for one in sums:
        whole.merge(one)
    return whole
