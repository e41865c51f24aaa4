"""What of a plan is done ahead of time, as far as the warming gate lets it, and what the plan says of it. Pure.

Whatever is for somebody who waits, stands at the door or works asks nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ghostdesk.allocator.conditions_gate import GateState, WarmingGate
from ghostdesk.allocator.reasons import Reason
from ghostdesk.ghosts.ghost import Ghost, GhostState

_WORK = frozenset({"build", "bind", "warm", "wake"})
"""Work that makes desktops ready and loads the host; in a desktop that nobody uses, it was begun ahead of time."""


@dataclass
class Ahead:
    """Steps that may still begin in this plan.

    Args:
        gate: the verdict.
        left: how many may begin; None for no limit.
        deferred: how many wait because of the gate.
    """

    gate: WarmingGate
    left: int | None = None
    deferred: int = 0

    @classmethod
    def under(cls, gate: WarmingGate, ghosts: Iterable[Ghost]) -> Ahead:
        """What may begin beside the work that is under way."""
        most = gate.most_at_once
        if not most:
            return cls(gate, most)
        busy = sum(1 for ghost in ghosts if ghost.pending in _WORK and ghost.state is not GhostState.ACTIVE)
        return cls(gate, max(0, most - busy))

    def take(self, wanted: int = 1) -> int:
        """How many of `wanted` steps may begin; the others wait."""
        if self.left is None:
            return wanted
        granted = min(max(wanted, 0), self.left)
        self.left -= granted
        self.deferred += max(wanted, 0) - granted
        return granted

    def notes(self) -> tuple[Reason, ...]:
        """What the plan says: nothing while all is as usual, but for the moment at which it becomes so."""
        gate = self.gate
        if gate.state is GateState.OPEN:
            return (Reason("warming-resumed", gate.change),) if gate.change else ()
        waits = f" Waiting: {self.deferred} step{'s' if self.deferred != 1 else ''}." if self.deferred else ""
        return (Reason(f"warming-{gate.state}-{gate.code}", gate.text + waits),)
