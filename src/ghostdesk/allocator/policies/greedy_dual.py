"""Greedy-dual keep-alive under a memory cap, as FaasCache has it (Fuerst and Sharma, ASPLOS 2021).

Every use gives its row the priority ``clock + frequency * cost / size`` (GreedyDual-Size-Frequency, Cherkasova 1998).
When more rows are ready or in use than the cap allows, the idle one of the lowest priority goes, the clock takes on its
priority, and its frequency starts anew. All rows here cost the same to start and are of one size.
"""

from __future__ import annotations

import numpy as np

from ghostdesk.allocator.policies.row_scores import idle_rows, rows_decision
from ghostdesk.allocator.policies.seam import Decision, Flags, Floats, Moment, Observed, PolicyFamily, Setting


class GreedyDual:
    """A `Policy`.

    Args:
        cap: how many rows may be ready or in use, as a share of those that are known.
        cost_s: what a cold start costs, in seconds.
        size: what a ready row takes, in any unit.
    """

    def __init__(self, cap: float, cost_s: float = 1.0, size: float = 1.0) -> None:
        self._cap = cap
        self._worth = cost_s / size
        self._clock = 0.0
        self._frequency: Floats = np.zeros(0)
        self._priority: Floats = np.zeros(0)
        self._kept: Flags = np.zeros(0, dtype=bool)

    def grow(self, rows: int) -> None:
        """See `Policy.grow`."""
        more = rows - len(self._kept)
        if more > 0:
            self._frequency = np.append(self._frequency, np.zeros(more))
            self._priority = np.append(self._priority, np.zeros(more))
            self._kept = np.append(self._kept, np.zeros(more, dtype=bool))

    def observe(self, observed: Observed) -> None:
        """Uses raise priorities; what is in use is kept."""
        np.add.at(self._frequency, observed.started, 1.0)
        self._priority[observed.started] = self._clock + self._frequency[observed.started] * self._worth
        self._kept[observed.started] = True

    def decide(self, moment: Moment) -> Decision:
        """Evict down to the cap."""
        room = int(self._cap * len(self._kept))
        idle = np.flatnonzero(self._kept & idle_rows(moment))
        over = int(self._kept.sum()) - room
        if over > 0:
            # Of equal priorities the longest idle goes first.
            order = np.lexsort((-moment.idle_s[idle], self._priority[idle]))
            gone = idle[order[:over]]
            if len(gone):
                self._clock = max(self._clock, float(self._priority[gone[-1]]))
                self._frequency[gone] = 0.0
                self._kept[gone] = False
        warm = self._kept & idle_rows(moment)
        return rows_decision(warm, "greedy-dual", f"the highest priorities under a cap of {room}")


def _setting(percent: int) -> Setting:
    return Setting(f"cap {percent} % of rows", lambda: GreedyDual(percent / 100.0))


FAMILY = PolicyFamily(
    "greedy-dual",
    "greedy-dual keep-alive",
    "FaasCache (Fuerst and Sharma, ASPLOS 2021)",
    tuple(_setting(percent) for percent in (5, 10, 20, 30, 40, 50, 60, 70, 80, 90)),
)
