"""Forecasts as values: every number is a calibrated probability, a quantile, or an expected count."""

from __future__ import annotations

from dataclasses import dataclass, field

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import NOTHING, Resources


@dataclass(frozen=True, slots=True)
class LaunchProbability:
    """How likely an application is the next one that the user launches or turns to; a ranked list sums to at most 1."""

    app: AppId
    probability: float


@dataclass(frozen=True, slots=True)
class ArrivalCurve:
    """When somebody (a user, or the whole pool) is expected to sign in.

    Args:
        start_s: start of the first slot (UTC seconds).
        slot_s: length of a slot.
        expected: expected number of sign-ins in each slot.
        dispersion: variance of the count divided by its mean; 1 is Poisson, more is over-dispersed.
    """

    start_s: float
    slot_s: float
    expected: tuple[float, ...]
    dispersion: float = 1.0

    def expected_within(self, now_s: float, lead_s: float) -> float:
        """Expected sign-ins in ``[now_s, now_s + lead_s)``, slots counted in proportion."""
        total = 0.0
        for index, count in enumerate(self.expected):
            low = max(now_s, self.start_s + index * self.slot_s)
            high = min(now_s + lead_s, self.start_s + (index + 1) * self.slot_s)
            if high > low:
                total += count * (high - low) / self.slot_s
        return total


@dataclass(frozen=True, slots=True)
class UsageCurve:
    """What one user will need over a window, slot by slot.

    Args:
        user: whose.
        start_s: start of the first slot (UTC seconds).
        slot_s: length of a slot.
        arrival: probability of a sign-in in each slot, given that none happened before it.
        presence: probability that the user is there in each slot.
        apps: next applications, likeliest first.
        resources: expected use while present.
        reasons: why, in words that the user understands.
    """

    user: UserId
    start_s: float
    slot_s: float
    arrival: tuple[float, ...] = ()
    presence: tuple[float, ...] = ()
    apps: tuple[LaunchProbability, ...] = ()
    resources: Resources = NOTHING
    reasons: tuple[str, ...] = field(default=())

    def arrival_within(self, now_s: float, lead_s: float) -> float:
        """Probability of at least one sign-in in ``[now_s, now_s + lead_s)``."""
        absent = 1.0
        for index, hazard in enumerate(self.arrival):
            low = max(now_s, self.start_s + index * self.slot_s)
            high = min(now_s + lead_s, self.start_s + (index + 1) * self.slot_s)
            if high > low:
                absent *= (1.0 - min(hazard, 1.0)) ** ((high - low) / self.slot_s)
        return 1.0 - absent
