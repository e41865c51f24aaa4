"""Policies that score every idle row, and hold a ghost for those whose score is high enough.

A score is worked out once and serves every setting: thresholds, budgets and service targets differ only in how they
choose from it (`Chooser`). Whoever judges many settings of one `RowScores` asks it once a moment.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ghostdesk.allocator.policies.seam import Decision, Flags, Floats, Moment, Observed


class RowScores(Protocol):
    """Says how much each idle row deserves a ghost. It learns from what happens, never from what was held."""

    def grow(self, rows: int) -> None:
        """There are so many rows from now on."""
        ...

    def observe(self, observed: Observed) -> None:
        """Learn what happened since the last moment; `misses` does not matter."""
        ...

    def scores(self, moment: Moment) -> Floats:
        """Shape (rows,), higher deserves more; NaN and minus infinity never get one. Rows in use do not matter."""
        ...


class Chooser(Protocol):
    """Picks rows by their scores. One instance lives through one history."""

    memory_s: float
    """How far back it remembers: what came before that has no effect on what it chooses now."""

    def observe(self, observed: Observed) -> None:
        """Learn what happened since the last choice, misses included."""
        ...

    def choose(self, scores: Floats, moment: Moment) -> Decision:
        """Which rows to hold until the next moment."""
        ...


class ScoredRows:
    """A `Policy`: scores and a choice.

    Args:
        source: the scores.
        chooser: the choice.
        key: the same for two policies whose `source` would always say the same.
    """

    def __init__(self, source: RowScores, chooser: Chooser, key: str) -> None:
        self.source = source
        self.chooser = chooser
        self.key = key

    def grow(self, rows: int) -> None:
        """See `Policy.grow`."""
        self.source.grow(rows)

    def observe(self, observed: Observed) -> None:
        """See `Policy.observe`."""
        self.source.observe(observed)
        self.chooser.observe(observed)

    def decide(self, moment: Moment) -> Decision:
        """See `Policy.decide`."""
        return self.chooser.choose(self.source.scores(moment), moment)


class Threshold:
    """A `Chooser`: every idle row whose score is at least `least`.

    Args:
        least: the lowest score that gets a ghost.
        code: for the decisions.
        why: what the threshold means, for people.
    """

    memory_s = 0.0

    def __init__(self, least: float, code: str, why: str) -> None:
        self._least = least
        self._code = code
        self._why = why

    def observe(self, observed: Observed) -> None:
        """What happens does not matter."""

    def choose(self, scores: Floats, moment: Moment) -> Decision:
        """See `Chooser.choose`."""
        return rows_decision(idle_rows(moment) & (scores >= self._least), self._code, self._why)


def idle_rows(moment: Moment) -> Flags:
    """Rows that are not in use."""
    return ~np.isnan(moment.idle_s)


def rows_decision(warm: Flags, code: str, why: str) -> Decision:
    """A decision for single rows alone."""
    return Decision(0, warm, code, f"{int(warm.sum())} rows: {why}")
