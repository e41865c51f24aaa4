"""What a ghost for whoever comes is worth: the chance that it is needed beyond those that serve already.

Of n ghosts for anybody, ``E[min(n, D)]`` sign-ins are served, where D counts those within the lead time who have no
ghost of their own. One more is worth P(D > n) of a served sign-in (the newsvendor's marginal), and one person with a
ghost of their own, who would have come with probability p, takes ``p * P(D < n)`` off it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghostdesk.allocator.fleet.values import FleetPool, Floats
from ghostdesk.allocator.lead_time import mixed_distribution


@dataclass(frozen=True, slots=True)
class PoolDemand:
    """The demand on the pool once `covered` expected sign-ins are served by personal ghosts.

    Args:
        wanted: ghosts that are wanted at no price, between floor and ceiling.
        net: what each further ghost is worth, falling, shape (N,) with N at least `wanted`: served value times chance
            of need, less the share that the service target gives up.
        below: chance that the demand is below n, for n = 0, 1 ... N, shape (N + 1,).
        value: of one served sign-in.
    """

    wanted: int
    net: Floats
    below: Floats
    value: float

    def worth_of(self, held: int) -> Floats:
        """What each of `held` ghosts is worth, shape (held,); those beyond any demand cost what the target gives up."""
        return np.concatenate((self.net, np.full(max(0, held - len(self.net)), self.net[-1])))[:held]

    def served_at_margin(self, held: float) -> float:
        """Chance that one more sign-in finds a ghost when `held` wait; between whole numbers in proportion."""
        return float(np.interp(held, np.arange(len(self.below)), self.below))


def pool_demand(pool: FleetPool, covered: float) -> PoolDemand:
    """The demand with `covered` sign-ins (within the mean lead time) taken off; see `FleetPool`."""
    expected = np.maximum(np.nan_to_num(np.asarray(pool.expected, np.float64), posinf=1e6), 0.0)
    mean = float(expected @ pool.shares)
    left = 1.0 - min(max(covered, 0.0) / mean, 1.0) if mean > 0 else 0.0
    chances = mixed_distribution(expected * left, np.asarray(pool.shares, np.float64), pool.dispersion)
    below = np.concatenate(([0.0], np.minimum(np.cumsum(chances), 1.0)))  # below[n] = P(D < n)
    given_up = 1.0 - min(max(pool.service_target, 0.0), 1.0 - 1e-9)
    needed = 1.0 - below[1:]  # needed[j] = P(D > j): what makes ghost j + 1 worth holding
    value = max(pool.served_value, 0.0) if np.isfinite(pool.served_value) else 0.0
    net = value * (needed - given_up)
    wanted = int((needed > given_up + 1e-12).sum())
    floor, ceiling = max(pool.floor, 0), max(pool.ceiling, 0)
    wanted = min(max(floor, wanted), max(ceiling, floor))
    more = max(0, wanted - len(net))
    net = np.concatenate((net, np.full(more, net[-1])))
    return PoolDemand(wanted, net, np.concatenate((below, np.ones(more))), value)
