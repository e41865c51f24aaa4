"""One machine planned as a fleet of one host: the same decision as for 2,000 of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ghostdesk.allocator.fleet.planner import plan_fleet
from ghostdesk.allocator.fleet.values import FleetHosts, FleetPool, FleetUsers
from ghostdesk.allocator.lead_time import LeadTime, expected_over
from ghostdesk.allocator.plan import PlanRequest

WARM_SECONDS_SAVED = 3.0
"""What a warm desktop saves its user against a ready one: the cold start of the first application, as benchmarked."""
_EXCHANGES = 0
"""All ghosts of a host are counted with the same memory, so that prices and filling up give the best plan."""


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


def plan_host(
    request: PlanRequest, probability: Sequence[float], pool_share: Sequence[float], room_bytes: float, quantile: float
) -> tuple[list[bool], float]:
    """Which people get a warm ghost within `room_bytes` beside the pool, and the price of a byte.

    Args:
        probability: of a sign-in of each within the warm lead, and 1 for those at the door, who come first.
        pool_share: sign-ins expected of each within a build's time.
        quantile: of the demand that the pool should hold.

    A warm ghost saves its user the start of the first application, and the build where they come sooner than one
    could be built; what the pool would have served anyway counts for the pool.
    """
    most = len(probability) + max(request.policy.floor, request.policy.ceiling)
    if most * request.policy.ghost_memory_bytes <= room_bytes:
        return [True] * len(probability), 0.0  # there is room for whatever may be wanted: what any plan would say
    share = np.array(pool_share)
    chance = np.array(probability)
    worth = chance * WARM_SECONDS_SAVED + share * request.context.build_time_s
    users = FleetUsers(
        probability=np.ones((len(share), 1)),
        seconds_saved=worth[:, None],
        value_per_s=np.ones(len(share)),
        cost=np.array([[request.policy.ghost_memory_bytes]]),
        pool_share=share,
        first=chance >= 1.0,
    )
    hosts = FleetHosts(np.array([[max(room_bytes, 0.0)]]))
    plan = plan_fleet(users, hosts, pool_of(request, quantile), tries=_EXCHANGES)
    return (plan.rung >= 0).tolist(), float(plan.price[0, 0])
