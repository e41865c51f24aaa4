"""Scores forecasts of how many sessions of everyone start in each slot: log score and coverage of intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostdesk.profiles.arrivals.counts import (
    DISPERSION,
    EveryoneCounts,
    count_probabilities,
)
from ghostdesk.profiles.arrivals.seam import Floats, Ints

LEVELS = (0.5, 0.8, 0.95)
_NAMES = ("hour of week, Poisson", "adaptive negative binomial", "mixture")
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class CountScore:
    """How good the distributions of counts were.

    Args:
        name: of the predictor.
        slots: how many were scored.
        log_score: mean of -ln of the probability of what happened, nats a slot.
        absolute_error: mean of |count - expected|.
        coverage: share of counts within the central 50, 80 and 95 % intervals, by the non-randomised probability
            integral transform (Czado, Gneiting and Held 2009), as counts cannot meet a level exactly.
    """

    name: str
    slots: int
    log_score: float
    absolute_error: float
    coverage: tuple[float, float, float]


def score_counts(
    counts: Ints, week: Ints, hour: Ints, summed: Floats, slot_s: int, learn_from: int, score_from: int
) -> tuple[CountScore, ...]:
    """Foretell each slot from those before it, in order.

    Args:
        counts: starts of everyone, shape (slots,).
        week, hour: number of the week and hour of the week (0 to 167) of each slot.
        summed: the sum of the users' hazards in each slot, NaN where none were given.
        slot_s: length of a slot.
        learn_from: where the mixture begins to learn; the tables learn from the first slot on.
        score_from: the first slot that is scored.
    """
    everyone = EveryoneCounts(slot_s)
    adders = [_Adder(name) for name in _NAMES]
    for slot, count in enumerate(counts.tolist()):
        now, known = int(hour[slot]), float(summed[slot])
        if slot >= score_from:
            rates = everyone.rates(now, known)
            width = _width(max(rates.max(), float(count)))
            simple = count_probabilities(rates[:2], np.array([1.0, DISPERSION]), width)
            chances = (*simple, everyone.mixture.probabilities(rates, width))
            for adder, one in zip(adders, chances, strict=True):
                adder.add(count, one)
        everyone.learn(int(week[slot]), now, count, known, mixing=slot >= learn_from)
    return tuple(adder.score() for adder in adders if adder.slots)


def covered(below: float, upto: float, levels: Sequence[float] = LEVELS) -> Floats:
    """How much of a count's step ``[F(count - 1), F(count)]`` lies in each central interval, 0 to 1."""
    tail = (1.0 - np.asarray(levels)) / 2.0
    inside = np.minimum(upto, 1.0 - tail) - np.maximum(below, tail)
    return np.asarray(np.clip(inside / max(upto - below, _LEAST), 0.0, 1.0))


class _Adder:
    def __init__(self, name: str) -> None:
        self.name = name
        self.slots = 0
        self._log = self._error = 0.0
        self._covered: Floats = np.zeros(len(LEVELS))

    def add(self, count: int, chances: Floats) -> None:
        """One slot: what happened, and the probabilities of 0, 1, ..."""
        self.slots += 1
        self._log -= float(np.log(max(chances[count], _LEAST)))
        self._error += abs(count - float(chances @ np.arange(len(chances))))
        below = float(chances[:count].sum())
        self._covered += covered(below, min(below + float(chances[count]), 1.0))

    def score(self) -> CountScore:
        """The means."""
        n = self.slots
        one, two, three = (self._covered / n).tolist()
        return CountScore(self.name, n, self._log / n, self._error / n, (one, two, three))


def _width(most: float) -> int:
    """Counts that hold all but a trace of the probability, for the widest dispersion."""
    return int(most + 12.0 * np.sqrt(9.0 * most + 1.0) + 60.0)
