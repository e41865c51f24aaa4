"""What stands in, in a replay, for the parts of a control plane that it does not need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from ghostdesk.control.journal import Journal
from ghostdesk.kernel.errors import Conflict
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.profiles.baselines.hour_of_week import Outlook
from ghostdesk.profiles.forecast import ArrivalCurve, UsageCurve
from ghostdesk.store.protocol import Claim, Store
from ghostdesk.telemetry.events import UsageEvent
from ghostdesk.telemetry.history import History


class NoForecast:
    """A `ProfileEngine` that knows nobody: the policy decides alone, and no application is launched ahead."""

    def fit(self, history: History, now_s: float) -> None:
        """Nothing is learnt."""

    def observe(self, event: UsageEvent) -> None:
        """Nothing is learnt."""

    def users(self) -> Sequence[UserId]:
        """Nobody."""
        return ()

    def outlook(self, now_s: float) -> Outlook:  # noqa: ARG002
        """No rows but a newcomer's, who is never expected."""
        return Outlook(np.zeros((1, 1)), np.zeros((1, 1)))

    def predict_resource_needs(self, user: UserId, now_s: float) -> UsageCurve:
        """An empty curve."""
        return UsageCurve(user, now_s, 300.0)

    def usage_curve(self, user: UserId, now_s: float, horizon_s: float, slot_s: float) -> UsageCurve:  # noqa: ARG002
        """An empty curve."""
        return UsageCurve(user, now_s, slot_s)

    def predict_arrivals(self, now_s: float, horizon_s: float) -> ArrivalCurve:
        """Nobody comes."""
        return ArrivalCurve(now_s, horizon_s, (0.0,))

    def forget(self, user: UserId) -> None:
        """Nothing is known."""


class MemoryJournal(Journal):
    """Claims fenced in memory, as a database fences them; nothing is written."""

    def __init__(self) -> None:
        super().__init__(cast("Store", self), inline=True)
        self._claims: dict[GhostId, Claim] = {}

    async def claim(self, claim: Claim) -> None:
        """Keep a claim; raises `Conflict` when the ghost is somebody else's."""
        before = self._claims.get(claim.ghost)
        if before is not None and (before.user != claim.user or before.generation > claim.generation):
            raise Conflict(f"The replay gave {claim.ghost} to two people.")
        self._claims[claim.ghost] = claim

    def delete_claim(self, ghost: GhostId) -> None:
        """The ghost is gone: what the executor asks of a store beside claims."""
        self._claims.pop(ghost, None)
