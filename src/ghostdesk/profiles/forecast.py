"""Forecasts as values: every number is a calibrated probability, a quantile, or an expected count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

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


LEVELS = (0.025, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.975)
"""The probability levels of every quantile forecast: deciles, and the ends of the 50, 80 and 95 % intervals."""


@dataclass(frozen=True, slots=True)
class ResourceQuantiles:
    """Quantiles of each resource over coming slots, while the user is there.

    Args:
        start_s: start of the first slot (UTC seconds).
        slot_s: length of a slot.
        levels: probability levels, rising.
        amounts: for "cpu_cores", "memory_bytes", "gpu_share", "network_bytes_per_s" and "storage_bytes_per_s" the
            quantiles of each slot: ``amounts[resource][slot][level]``, not falling along the levels. A resource that
            was never measured is left out.
    """

    start_s: float
    slot_s: float
    levels: tuple[float, ...]
    amounts: Mapping[str, tuple[tuple[float, ...], ...]]


class Ghostly(Protocol):
    """What a forecast must know of a ghost."""

    @property
    def state(self) -> str:
        """Its rung on the ladder."""
        ...

    @property
    def apps(self) -> tuple[AppId, ...]:
        """The applications that it holds."""
        ...


MODE_LIKELY = 0.5
"""From this probability on a mode's applications are launched ahead."""


@dataclass(frozen=True, slots=True)
class ModeNeed:
    """What a mode of a person asks of their ghost.

    Args:
        mode: its name.
        probability: that the person works in it now or comes to; 1 when it is chosen.
        chosen: whether it is.
        apps: its applications, the most important first, and those that its file types were opened with.
        file_types: MIME types that are opened in it.
        resources: what it takes; zero where its owner did not say.
        reason: why it is expected, in words for its owner.
    """

    mode: str
    probability: float
    chosen: bool
    apps: tuple[AppId, ...]
    file_types: tuple[str, ...]
    resources: Resources
    reason: str

    @property
    def acts(self) -> bool:
        """Whether it is likely enough to launch its applications ahead."""
        return self.probability >= MODE_LIKELY


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
        high: what use stays at or below for nine tenths of the time.
        in_use: chance that an application is in use in each slot; over all of them never more than `presence`.
        quantiles: of each resource while present, where they were asked for and anything was measured.
        reasons: why, in words that the user understands.
        modes: what the user's modes ask for, likeliest first; `resources` and `high` hold it already.
        launch_within: chance that the user, who is there, turns to an application by the end of each slot, as the
            trained model says; empty without one, or while they are not there.
    """

    user: UserId
    start_s: float
    slot_s: float
    arrival: tuple[float, ...] = ()
    presence: tuple[float, ...] = ()
    apps: tuple[LaunchProbability, ...] = ()
    resources: Resources = NOTHING
    reasons: tuple[str, ...] = field(default=())
    high: Resources = NOTHING
    in_use: Mapping[AppId, tuple[float, ...]] = field(default_factory=dict)
    quantiles: ResourceQuantiles | None = None
    modes: tuple[ModeNeed, ...] = ()
    launch_within: tuple[float, ...] = ()

    def get_requirements_for(self, ghost: Ghostly) -> Resources:
        """What this user's ghost should be able to take now.

        A desktop in use gets what nine tenths of its use stay below. Before that, memory is held as the applications
        that were launched ahead need it, and the rest in proportion to the chance that the user is there within the
        window: a frozen ghost needs neither CPU nor network.
        """
        if ghost.state == "active":
            return Resources(*(max(a, b) for a, b in zip(self.high.as_tuple(), self.resources.as_tuple(), strict=True)))
        there = max((*self.presence, self.arrival_within(self.start_s, len(self.arrival) * self.slot_s)), default=0.0)
        held = self.resources.scaled(min(there, 1.0))
        return replace(held, memory_bytes=self.resources.memory_bytes if ghost.apps else held.memory_bytes)

    def arrival_within(self, now_s: float, lead_s: float) -> float:
        """Probability of at least one sign-in in ``[now_s, now_s + lead_s)``."""
        absent = 1.0
        # Of two hours in steps of five minutes a few matter, and a plan asks this of everybody.
        count, ahead = len(self.arrival), (now_s - self.start_s) / self.slot_s
        first = min(max(int(ahead) - 1, 0), count)  # one more on either side, as quotients are rounded
        last = int(min(max(ahead + lead_s / self.slot_s + 2.0, first), count))
        start_s, slot_s, end_s = self.start_s, self.slot_s, now_s + lead_s
        for index in range(first, last):
            low, high = start_s + index * slot_s, start_s + (index + 1) * slot_s
            low, high = now_s if low < now_s else low, end_s if high > end_s else high
            if high > low:
                absent *= (1.0 - min(self.arrival[index], 1.0)) ** ((high - low) / slot_s)
        return 1.0 - absent
