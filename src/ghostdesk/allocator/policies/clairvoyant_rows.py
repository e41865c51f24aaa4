"""The clairvoyant bound for rows: holds a row only where its next start is certain to come before the next moment.

No policy that decides at the same moments can have as few cold starts with less idle time. It is told the starts by
the world that judges it, and cannot run live.
"""

from __future__ import annotations

import numpy as np

from ghostdesk.allocator.policies.row_scores import idle_rows, rows_decision
from ghostdesk.allocator.policies.seam import Decision, Floats, Moment, Observed, PolicyFamily, Setting

_SPREADS = 4.0


class ClairvoyantRows:
    """A `Policy` that must be told, before each decision, what nobody can know."""

    def __init__(self) -> None:
        self._next_s: Floats = np.zeros(0)

    def foretell(self, next_start_s: Floats) -> None:
        """When each row's next use starts (UTC seconds), shape (rows,); infinite where none does."""
        self._next_s = next_start_s

    def grow(self, rows: int) -> None:
        """The moment says how many there are."""

    def observe(self, observed: Observed) -> None:
        """The past does not matter."""

    def decide(self, moment: Moment) -> Decision:
        """Rows whose start comes before a ghost that is begun at the next moment would be ready."""
        lead_s = moment.lead_s * float(np.exp(_SPREADS * moment.lead_spread))
        soon = self._next_s < moment.until_s + lead_s
        return rows_decision(idle_rows(moment) & soon, "clairvoyant", "their use is about to start")


FAMILY = PolicyFamily(
    "clairvoyant-rows",
    "clairvoyant bound",
    "knows every start: no policy, but the least that is possible",
    (Setting("knows the next starts", ClairvoyantRows),),
)
