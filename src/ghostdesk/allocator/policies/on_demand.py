"""On demand: nothing is held, and everybody waits for their own boot. Where every other policy starts from."""

from __future__ import annotations

from dataclasses import dataclass

from ghostdesk.allocator.policies.seam import Decision, Moment, Observed, PolicyFamily, Setting


@dataclass(frozen=True, slots=True)
class OnDemand:
    """Holds nothing."""

    def grow(self, rows: int) -> None:
        """Rows do not matter."""

    def observe(self, observed: Observed) -> None:
        """What happens does not matter."""

    def decide(self, moment: Moment) -> Decision:  # noqa: ARG002
        """Nothing, always."""
        return Decision(0, None, "on-demand", "desktops are made when somebody asks")


FAMILY = PolicyFamily(
    "on-demand", "on demand", "what is had without any pool", (Setting("-", OnDemand),), from_starts=True
)
