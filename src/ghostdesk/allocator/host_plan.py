"""One machine planned as a fleet of one host: the same decision as for 2,000 of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ghostdesk.allocator.fleet.exchange import TRIES
from ghostdesk.allocator.fleet.planner import plan_fleet
from ghostdesk.allocator.fleet.values import FleetHosts, FleetPool, FleetUsers
from ghostdesk.allocator.lead_time import LeadTime, expected_over
from ghostdesk.allocator.plan import PlanRequest
from ghostdesk.ghosts.ghost import GhostState


def lead_of(request: PlanRequest) -> LeadTime:
    """How long a build takes here, with its spread."""
    return LeadTime(request.context.build_time_s, request.context.build_spread)


def pool_of(request: PlanRequest, quantile: float) -> FleetPool:
    """The pool of this host: whoever comes within a build's time is worth that time."""
    policy = request.policy
    expected, shares = expected_over(request.arrivals, request.now_s, lead_of(request))
    return FleetPool(
        expected=expected,
        shares=shares,
        dispersion=request.arrivals.dispersion,
        served_value=request.context.build_time_s,
        cost=np.array([policy.ghost_memory_bytes]),
        service_target=quantile,
        floor=0 if policy.forecast_only else policy.floor,
        ceiling=0 if policy.forecast_only else policy.ceiling,
    )


def has_room_for_all(request: PlanRequest, people: int, room_bytes: float) -> bool:
    """Whether there is room for whatever may be wanted: then everybody gets what any plan would give them."""
    policy = request.policy
    return (people + max(policy.floor, policy.ceiling)) * policy.ghost_memory_bytes <= room_bytes


def plan_host(
    request: PlanRequest,
    probability: Sequence[float],
    pool_share: Sequence[float],
    highest: Sequence[GhostState],
    room_bytes: float,
    quantile: float,
) -> tuple[list[GhostState], float]:
    """Which rung each person's ghost gets within `room_bytes` beside the pool, and the price of a byte.

    Args:
        probability: of a sign-in of each within the warm lead, and 1 for those at the door, who come first.
        pool_share: sign-ins expected of each within a build's time.
        highest: the rung that each should have, parked or warm.
        quantile: of the demand that the pool should hold.

    Returns:
        A rung each, `ABSENT` for those who get no ghost.

    A ghost saves its user what its rung saves, and the build where they come sooner than one could be built; what the
    pool would have served anyway counts for the pool. Where memory is short, its price brings some down to parked.
    """
    policy = request.policy
    if has_room_for_all(request, len(probability), room_bytes):
        return list(highest), 0.0
    rungs = (GhostState.PARKED, GhostState.WARM) if request.context.can_park else (GhostState.WARM,)
    share = np.array(pool_share)
    chance = np.array(probability)
    saves = np.array([policy.ladder.saves_s(rung) for rung in rungs])
    worth = chance[:, None] * saves + share[:, None] * request.context.build_time_s
    for row, rung in enumerate(highest):
        worth[row, rungs.index(rung) + 1 :] = 0.0
    users = FleetUsers(
        probability=np.ones((len(share), len(rungs))),
        seconds_saved=worth,
        value_per_s=np.ones(len(share)),
        cost=np.array([[policy.ladder.share(rung) * policy.ghost_memory_bytes] for rung in rungs]),
        pool_share=share,
        first=chance >= 1.0,
    )
    # Where all ghosts hold the same memory, prices and filling up give the best plan: there is nothing to exchange.
    hosts = FleetHosts(np.array([[max(room_bytes, 0.0)]]))
    plan = plan_fleet(users, hosts, pool_of(request, quantile), tries=TRIES if len(rungs) > 1 else 0)
    return [GhostState.ABSENT if rung < 0 else rungs[rung] for rung in plan.rung.tolist()], float(plan.price[0, 0])
