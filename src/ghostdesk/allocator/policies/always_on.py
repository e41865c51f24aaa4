"""Always on: every row that is known stays ready from one use to the next."""

from __future__ import annotations

import numpy as np

from ghostdesk.allocator.policies.row_scores import idle_rows, rows_decision
from ghostdesk.allocator.policies.seam import Decision, Moment, Observed, PolicyFamily, Setting


class AlwaysOn:
    """A `Policy` that holds every idle row that was ever used."""

    def grow(self, rows: int) -> None:
        """The moment says how many there are."""

    def observe(self, observed: Observed) -> None:
        """What happens does not matter."""

    def decide(self, moment: Moment) -> Decision:
        """All of them."""
        return rows_decision(idle_rows(moment) & np.isfinite(moment.idle_s), "always-on", "every one stays ready")


FAMILY = PolicyFamily(
    "always-on", "always on", "desktops that are never switched off", (Setting("all rows", AlwaysOn),)
)
