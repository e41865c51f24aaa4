"""A buffer of spare ghosts beside those in use: a share of the uses of this moment, and never fewer than a minimum."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ghostdesk.allocator.policies.seam import Decision, Moment, Observed, PolicyFamily, Setting


@dataclass(frozen=True, slots=True)
class SpareBuffer:
    """Reacts to what is in use, and foresees nothing.

    Args:
        share: ghosts for each use of this moment.
        least: ghosts at the least.
    """

    share: float
    least: int

    def grow(self, rows: int) -> None:
        """Rows do not matter."""

    def observe(self, observed: Observed) -> None:
        """The moment says all that matters."""

    def decide(self, moment: Moment) -> Decision:
        """The buffer of this moment."""
        target = max(self.least, math.ceil(self.share * moment.active - 1e-9))
        why = f"{moment.active} in use: {self.share:.0%} of them, and {self.least} at the least, are spare"
        return Decision(target, None, "buffer", why)


def _setting(share: float, least: int) -> Setting:
    return Setting(f"{share:.0%}, at least {least}", lambda: SpareBuffer(share, least))


FAMILY = PolicyFamily(
    "spare-buffer",
    "spare-capacity buffer",
    "autoscale rules of cloud desktops and of Citrix (capacity buffer), Kubernetes overprovisioning",
    tuple(
        _setting(share, least)
        for share, least in ((0.02, 1), (0.04, 1), (0.06, 1), (0.08, 2), (0.1, 2), (0.15, 3), (0.2, 3), (0.3, 4))
    ),
    from_starts=True,
)
