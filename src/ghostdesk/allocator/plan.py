"""Plans as values: actions with reasons, and what could not be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ghostdesk.allocator.bookings import Hold
from ghostdesk.allocator.capacity import UNRULED, CapacityRules, Headroom
from ghostdesk.allocator.conditions_gate import OPEN_GATE, WarmingGate
from ghostdesk.allocator.ladder import Ladder, LadderFigures
from ghostdesk.allocator.links import DEFAULT_LINK_RULES, LinkRules
from ghostdesk.allocator.reasons import Infeasible, Reason
from ghostdesk.allocator.service_target import ServiceTarget
from ghostdesk.ghosts.events import GhostEvent
from ghostdesk.ghosts.ghost import DesktopTemplate, Ghost
from ghostdesk.kernel.conditions import ClientLink, HostConditions
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.prefetch.plan import PrefetchWish
from ghostdesk.profiles.forecast import ArrivalCurve, UsageCurve

__all__ = ["Action", "Context", "Infeasible", "Plan", "PlanRequest", "PolicyAnswer", "PoolPolicy", "Reason"]


@dataclass(frozen=True, slots=True)
class Action:
    """One event to apply to one ghost. `ghost` is None when a new one is to be made."""

    event: GhostEvent
    ghost: GhostId | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class PoolPolicy:
    """How the operator wants the pool kept.

    Args:
        template: what generic ghosts are built from.
        floor, ceiling: fewest generic ghosts held whatever the forecast, and most ghosts of all kinds.
        target_hit_rate: share of sign-ins that should find a ready ghost.
        warm_threshold: probability of a sign-in within `warm_lead_s` from which a personal ghost pays.
        warm_apps: most applications launched ahead in a warm ghost.
        app_threshold: probability from which an application is launched ahead.
        active_app_threshold: probability from which the next application is launched, hidden, in a desktop that is in
            use; above 1 switches this off.
        park_after_s: time after which a ghost that nobody is expected for is parked, or destroyed where parking
            frees nothing.
        ghost_limits, active_limits: what an idle ghost and a claimed desktop may use.
        ghost_memory_bytes: what a ready ghost is counted with until it is measured.
        forecast_only: predict and show, but hold the floor alone.
        ladder: what the rungs of a personal ghost save and hold.
        in_steps: whether people who are less likely than `warm_threshold` get something less than a warm ghost.
        soon_s: when somebody is likely to come within this time, their ghost may already use what they will.
    """

    template: DesktopTemplate
    floor: int = 2
    ceiling: int = 8
    target_hit_rate: float = 0.99
    warm_threshold: float = 0.3
    warm_lead_s: float = 600.0
    warm_apps: int = 2
    app_threshold: float = 0.15
    active_app_threshold: float = 0.5
    park_after_s: float = 900.0
    ghost_limits: Resources = field(default_factory=Resources)
    active_limits: Resources = field(default_factory=Resources)
    ghost_memory_bytes: float = 250e6
    forecast_only: bool = False
    ladder: LadderFigures = field(default_factory=LadderFigures)
    in_steps: bool = True
    soon_s: float = 180.0

    @property
    def lowest_chance(self) -> float:
        """The probability of a sign-in within the warm lead below which nothing is prepared, or kept, for a person."""
        if not self.in_steps:
            return self.warm_threshold / 2
        ladder = Ladder.priced(self.ladder, self.warm_threshold, self.ghost_memory_bytes, can_park=True)
        return ladder.lowest


@dataclass(frozen=True, slots=True)
class Context:
    """The host as it is now.

    Args:
        capacity: what ghosts and desktops may hold together.
        used: what they hold at present.
        build_time_s: how long a build takes here: the mean of what was measured.
        build_spread: standard deviation of that time's logarithm.
        can_park: whether parking frees memory here.
        build_blocked: why no build may start now (back-off); empty when one may.
        watched: ghosts that a browser is connected to.
        conditions: pressure, load and room of the host; None where the engine does not tell.
        gate: whether desktops may be made ready ahead of time now.
        held_bytes: memory of each ghost and desktop, as measured.
        links: the lines to people's browsers, of those that were measured of late.
        link_rules: what a line must do.
    """

    capacity: Resources
    used: Resources = field(default_factory=Resources)
    build_time_s: float = 5.0
    build_spread: float = 0.0
    can_park: bool = False
    build_blocked: str = ""
    watched: frozenset[GhostId] = frozenset()
    conditions: HostConditions | None = None
    held_bytes: Mapping[GhostId, float] = field(default_factory=dict)
    gate: WarmingGate = OPEN_GATE
    links: Mapping[UserId, ClientLink] = field(default_factory=dict)
    link_rules: LinkRules = DEFAULT_LINK_RULES


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """What the chosen policy says to hold until it is asked again (see `allocator.policies.seam.Decision`).

    Args:
        target: ghosts for anybody, those that are being made included.
        users: people who get a ghost of their own.
        code: why, for scripts and counters.
        why: why, for people.
    """

    target: int
    users: frozenset[UserId]
    code: str
    why: str


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """Everything that a plan may depend on; the same request gives the same plan.

    Args:
        excluded: users that get no ghost ahead of time (disabled accounts).
        expected: users who have just come to the door (signed in to the page), whatever the forecast says.
        service: the correction that keeps `policy.target_hit_rate`; None goes by the forecast alone.
        waiting: people who wait for a ghost now; what comes for them is not the pool's.
        answer: what the chosen policy says; None goes by the forecast.
        rules: what may be promised, quotas, and what is booked; by default nothing of it holds.
    """

    now_s: float
    ghosts: tuple[Ghost, ...]
    curves: Mapping[UserId, UsageCurve]
    arrivals: ArrivalCurve
    policy: PoolPolicy
    context: Context
    excluded: frozenset[UserId] = frozenset()
    expected: frozenset[UserId] = frozenset()
    service: ServiceTarget | None = None
    waiting: int = 0
    answer: PolicyAnswer | None = None
    rules: CapacityRules = UNRULED


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and why; what could not be done, and why."""

    actions: tuple[Action, ...] = ()
    infeasible: tuple[Infeasible, ...] = ()
    pool_target: int = 0
    pool_reason: str = ""
    pool_code: str = "forecast"
    memory_price: float = 0.0
    notes: tuple[Reason, ...] = ()
    """What is done otherwise than usual because of the host's conditions, for people."""
    prefetch: tuple[PrefetchWish, ...] = ()
    """What to load into the page cache, most useful first."""
    headroom: Headroom | None = None
    """What of the host is promised, used, kept and free; None where no rules are in force."""
    holds: tuple[Hold, ...] = ()
    """What is still to be held for booked classes."""
