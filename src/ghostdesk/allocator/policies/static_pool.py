"""A static pool: always the same number of ghosts, as warm pools have them whose size somebody typed in."""

from __future__ import annotations

from dataclasses import dataclass

from ghostdesk.allocator.policies.seam import Decision, Moment, Observed, PolicyFamily, Setting


@dataclass(frozen=True, slots=True)
class StaticPool:
    """Holds `ghosts` for anybody, day and night."""

    ghosts: int

    def grow(self, rows: int) -> None:
        """Rows do not matter."""

    def observe(self, observed: Observed) -> None:
        """What happens does not matter."""

    def decide(self, moment: Moment) -> Decision:  # noqa: ARG002
        """The same, always."""
        return Decision(self.ghosts, None, "static", f"the pool always holds {self.ghosts}")


def _setting(ghosts: int) -> Setting:
    return Setting(f"{ghosts}", lambda: StaticPool(ghosts))


FAMILY = PolicyFamily(
    "static",
    "static pool",
    "what OpenUDS calls an L1 cache, Kasm staging, EC2 a warm pool",
    tuple(_setting(ghosts) for ghosts in (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20)),
    from_starts=True,
)
