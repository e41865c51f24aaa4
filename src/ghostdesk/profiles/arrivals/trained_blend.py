"""How far a trained model's hazards are believed beside the mixture's: a weight a row, moved by what each of them cost.

A Bayesian mixture of two with fixed share (Herbster and Warmuth 1998): a row's log loss exceeds the mixture's by at
most ln(1 / (1 - first trust)) + slots * ln(1 / (1 - share)), whatever the model says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.arrivals.seam import Flags, Floats, Floats32, Ints, clipped, enlarged

FIRST_TRUST = 0.1
SHARE = 1e-3
_LEAST_TRUST = 0.01
_POOL_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class TrainedHazards:
    """What a trained model says of some people's next slots.

    Args:
        users: whose.
        hazards: chance of a sign-in in each slot given that none was before, shape (users, slots).
    """

    users: Sequence[UserId]
    hazards: Floats


TrainedArrivals = Callable[[Floats, float], TrainedHazards | None]
"""Given the slots' begins and their length; None without a trained model."""


class TrainedBlend:
    """4 bytes a row."""

    def __init__(self) -> None:
        self._trust: Floats32 = np.zeros(0, dtype=np.float32)
        self._usual = FIRST_TRUST

    def grow(self, rows: int) -> None:
        """Make room for so many rows; a row without trust of its own (zero) has everyone's."""
        self._trust = enlarged(self._trust, rows)

    def move(self, source: int, target: int) -> None:
        """Row `source` takes the place of row `target`, and has everyone's trust then."""
        self._trust[target] = self._trust[source]
        self._trust[source] = 0.0

    def nbytes(self) -> int:
        """Bytes that the rows take, spare ones too."""
        return self._trust.nbytes

    def trust(self, rows: Ints) -> Floats:
        """How far the trained model counts for rows, 0 to 1, shape (rows,)."""
        own = self._trust[rows].astype(np.float64)
        return np.where(own > 0.0, own, self._usual)

    def mix(self, rows: Ints, mixture: Floats, trained: Floats) -> Floats:
        """The blended hazards, all of shape (rows, slots)."""
        trust = self.trust(rows)[:, None]
        return np.asarray((1.0 - trust) * clipped(mixture) + trust * clipped(trained))

    def learn(self, rows: Ints, mixture: Floats, trained: Floats, started: Flags) -> None:
        """A slot is over in which these rows were at risk: what both had said, and what happened, shape (rows,)."""
        if not len(rows):
            return
        trust = self.trust(rows)
        first, second = (np.where(started, p, 1.0 - p) for p in (clipped(mixture), clipped(trained)))
        after = trust * second / (trust * second + (1.0 - trust) * first)
        after = np.maximum((1.0 - SHARE) * after + SHARE * self._usual, 1e-9)
        self._trust[rows] = after
        share = _POOL_SHARE * min(1.0, len(rows) / 100.0)
        self._usual = max((1.0 - share) * self._usual + share * float(after.mean()), _LEAST_TRUST)
