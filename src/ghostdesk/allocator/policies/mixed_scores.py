"""The hazard that knows the house, mixed with those that know habits: whoever foretells a row best counts most for it.

Where rows are shared desktops, the house tells nearly everything; where they are people with desktops of their own,
habits tell more. `ArrivalMixture` finds out, for everyone and for each row, while it forecasts.
"""

from __future__ import annotations

import numpy as np

from ghostdesk.allocator.policies.expert_scores import ExpertScores
from ghostdesk.allocator.policies.row_scores import RowScores
from ghostdesk.allocator.policies.seam import Floats, Moment, Observed
from ghostdesk.profiles.arrivals.experts import with_recency
from ghostdesk.profiles.arrivals.hour_by_idle import HourByIdle
from ghostdesk.profiles.arrivals.hour_of_week import HourOfWeek
from ghostdesk.profiles.arrivals.mixture import ArrivalMixture
from ghostdesk.profiles.arrivals.seam import LEAST_HAZARD, MOST_HAZARD, HazardExpert, SlotBlock, SlotOutcome


class MixedScores:
    """`RowScores`: the hazards of another, mixed with experts of habit.

    Args:
        house: whose scores are hazards, 0 to 1.
    """

    def __init__(self, house: RowScores) -> None:
        self._house = house
        self._mixed = _Mixed()
        self._slots = ExpertScores(self._mixed)

    def grow(self, rows: int) -> None:
        """See `RowScores.grow`."""
        self._house.grow(rows)
        self._slots.grow(rows)

    def observe(self, observed: Observed) -> None:
        """See `RowScores.observe`."""
        self._house.observe(observed)
        self._slots.observe(observed)

    def scores(self, moment: Moment) -> Floats:
        """See `RowScores.scores`."""
        self._mixed.now = self._house.scores(moment)
        found = self._slots.scores(moment)
        if self._slots.fresh:
            self._mixed.said.append(self._mixed.now)
        return found


class _Mixed:
    """A `HazardExpert` of experts, one of which is told what to say."""

    name = "house and habits"

    def __init__(self) -> None:
        table = HourByIdle()
        # In an order in which they can be taught: the table has the starts of both.
        self._experts: list[HazardExpert] = [*with_recency(table), HourOfWeek(table.starts), table]
        self._mixture = ArrivalMixture(["house", *(expert.name for expert in self._experts)])
        self.now: Floats = np.zeros(0)
        self.said: list[Floats] = []
        """What was told in the slots from which nothing was learnt yet."""

    def grow(self, rows: int) -> None:
        """See `HazardExpert.grow`."""
        for expert in self._experts:
            expert.grow(rows)
        self._mixture.grow(rows)

    def hazards(self, block: SlotBlock) -> Floats:
        """See `HazardExpert.hazards`; of one slot, the present one."""
        return np.asarray(self._mixture.mix(block.rows, self._all(block, self.now[:, None])))

    def learn(self, block: SlotBlock, outcome: SlotOutcome) -> None:
        """See `HazardExpert.learn`."""
        rows, slots = block.at_risk.shape
        said, self.said = self.said, []
        if len(said) == slots:  # else the slots changed their length; the experts learn alone
            told = np.stack([one[:rows] for one in said], axis=1)
            self._mixture.learn(block.rows, self._all(block, told), outcome.started, block.at_risk)
        for expert in self._experts:
            expert.learn(block, outcome)

    def forget(self, row: int) -> None:
        """See `HazardExpert.forget`."""
        for expert in self._experts:
            expert.forget(row)
        self._mixture.forget(row)

    def move(self, source: int, target: int) -> None:
        """See `HazardExpert.move`."""
        for expert in self._experts:
            expert.move(source, target)
        self._mixture.move(source, target)

    def nbytes(self) -> int:
        """See `HazardExpert.nbytes`."""
        return self._mixture.nbytes() + sum(expert.nbytes() for expert in self._experts)

    def _all(self, block: SlotBlock, told: Floats) -> Floats:
        known = np.clip(told, LEAST_HAZARD, MOST_HAZARD)
        return np.stack([known, *(expert.hazards(block) for expert in self._experts)])
