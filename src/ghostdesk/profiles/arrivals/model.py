"""The arrival experts that are served, with their mixture: the service and `ghostdesk evaluate arrivals` run this one.

The hybrid histograms and the plain hour of week are scored beside it, and are no members: see `experts`.
"""

from __future__ import annotations

import numpy as np

from ghostdesk.profiles.arrivals.experts import served_experts
from ghostdesk.profiles.arrivals.mixture import ArrivalMixture
from ghostdesk.profiles.arrivals.seam import Floats, SlotBlock, SlotOutcome


class ArrivalModel:
    """Hazards of sessions for many rows (people, or shared desktops); it learns block by block, in order of time."""

    def __init__(self) -> None:
        self.experts = served_experts()
        self.mixture = ArrivalMixture([expert.name for expert in self.experts])

    def grow(self, rows: int) -> None:
        """Make room for so many rows; what is known stays."""
        for expert in self.experts:
            expert.grow(rows)
        self.mixture.grow(rows)

    def forget(self, row: int, last: int) -> None:
        """Drop a row, also its part in what everyone taught; row `last` takes its place."""
        for expert in self.experts:
            expert.forget(row)
            if last != row:
                expert.move(last, row)
        self.mixture.forget(row)
        if last != row:
            self.mixture.move(last, row)

    def nbytes(self) -> int:
        """Bytes that the rows take, spare ones too."""
        return sum(expert.nbytes() for expert in self.experts) + self.mixture.nbytes()

    def said(self, block: SlotBlock) -> Floats:
        """What every expert says of a block, shape (experts, rows, slots)."""
        return np.array([expert.hazards(block) for expert in self.experts])

    def mix(self, block: SlotBlock, said: Floats) -> Floats:
        """The mixed, calibrated hazards, shape (rows, slots)."""
        return np.asarray(self.mixture.mix(block.rows, said))

    def hazards(self, block: SlotBlock) -> Floats:
        """Probability that a session starts in each slot, given that none did before it in the block."""
        return self.mix(block, self.said(block))

    def learn(self, block: SlotBlock, outcome: SlotOutcome, said: Floats) -> None:
        """The block is over; `said` is what the experts had said of it."""
        self.mixture.learn(block.rows, said, outcome.started, block.at_risk)
        for expert in self.experts:
            expert.learn(block, outcome)
