"""The seam of next-application experts: one person's model, asked and taught step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.situation import UNKNOWN, Situation

Shares = dict[AppId, float]
"""Probability of each application; sums to at most 1, and what is left is for applications never seen."""


class NextAppExpert(Protocol):
    """One person's model of what they turn to next."""

    def shares(self, situation: Situation = UNKNOWN) -> Shares:
        """The forecast now. Empty before anything was learnt."""
        ...

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:
        """The person turned to `app`. The same application again counts as it comes."""
        ...


ExpertFactory = Callable[[], NextAppExpert]
