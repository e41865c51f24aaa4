"""The values of fleet planning: users, hosts and the pool as arrays, and the plan that comes out.

Shapes: U users, K rungs (lowest first; "no ghost" is none of them), H hosts or host groups, R resources, M possible
lead times. Everything with a R axis has one order of resources, whichever the caller chose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NONE = -1
"""No rung, or no host."""
_NOTHING: Floats = np.zeros(0)


@dataclass(frozen=True, slots=True)
class FleetUsers:
    """People as the plan sees them. What is not a number counts as: no probability, no worth, an infinite cost.

    Args:
        probability: of an arrival within the time that each rung needs to be made, shape (U, K).
        seconds_saved: by each rung against no ghost at all, shape (K,) or (U, K).
        value_per_s: what a second of each person is worth, in the unit of prices, shape (U,).
        cost: what a ghost takes on each rung, shape (K, R) or (U, K, R).
        pool_share: sign-ins expected of each within the pool's mean lead time: they are taken off the pool's demand
            where a personal ghost serves them, shape (U,); empty for none.
        held_rung, held_host: where each one's ghost is now, shape (U,), -1 for nowhere; empty for nobody.
        stay_value: what it is worth not to change anything, shape (U,) or (1,): a wavering probability flips no rung
            unless the change gains more. Empty for nothing.
        first: people at the door: served before anybody else, shape (U,); empty for nobody.
    """

    probability: Floats
    seconds_saved: Floats
    value_per_s: Floats
    cost: Floats
    pool_share: Floats = field(default_factory=lambda: _NOTHING)
    held_rung: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    held_host: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    stay_value: Floats = field(default_factory=lambda: _NOTHING)
    first: Flags = field(default_factory=lambda: np.zeros(0, np.bool_))


@dataclass(frozen=True, slots=True)
class FleetHosts:
    """Hosts, or groups of them, that may serve the same people (sites that may not share a plan are planned apart).

    Args:
        room: what ghosts may still hold of each resource, shape (H, R): people at work are taken off already. Infinite
            where it is not limited; negative or not a number counts as none.
        floor_price: what holding one unit costs whatever the demand (energy, wear), shape (R,) or (H, R).
        availability: chance that a ghost there will serve, shape (H,); 0 for a sick host; empty for all 1.
    """

    room: Floats
    floor_price: Floats = field(default_factory=lambda: _NOTHING)
    availability: Floats = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class FleetPool:
    """Ghosts for whoever comes.

    Args:
        expected: sign-ins expected of everybody within each possible lead time, shape (M,).
        shares: probability of each lead time, shape (M,).
        dispersion: variance of the count divided by its mean, given the lead time.
        served_value: what it is worth that one sign-in finds a ghost of the pool.
        service_target: a ghost is not held when the chance that it is needed is below 1 - this (the newsvendor's
            critical ratio); 1 leaves the judgement to the prices alone.
        cost: what one of them takes, shape (R,).
        floor, ceiling: fewest and most that are wanted, whatever the forecast.
        held: how many wait on each host now, shape (H,); empty for none.
        stay_value: what it is worth to keep one that waits.
    """

    expected: Floats
    shares: Floats
    dispersion: float
    served_value: float
    cost: Floats
    service_target: float = 1.0
    floor: int = 0
    ceiling: int = 1_000_000
    held: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    stay_value: float = 0.0


class FleetReason(IntEnum):
    """Why a user has what they have; `FleetPlan.explain` says it in words."""

    PAYS = 0
    FIRST = 1
    KEPT = 2
    NOT_WORTH = 3
    PRICE = 4
    NO_ROOM = 5

    @property
    def code(self) -> str:
        """The stable word for scripts and counters."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """Who gets which ghost where, and what everything costs.

    Args:
        rung, host: of each user, shape (U,), -1 for no ghost.
        pooled: ghosts for whoever comes on each host, shape (H,).
        pool_wanted: how many the demand asks for at no price.
        price: shadow price of each resource on each host, its floor price included, shape (H, R).
        room_left: shape (H, R).
        reason: a `FleetReason` of each user, shape (U,) of int8.
        worth: of each user's best rung before any price, shape (U,).
        value: what the plan is worth: expected worth of personal and pooled ghosts less the floor prices.
        score: `value` and what is kept by changing nothing: what the plan maximises.
        bound: no plan has a higher score (the Lagrangian dual at these prices, for the pool's demand as it came out).
    """

    rung: Ints
    host: Ints
    pooled: Ints
    pool_wanted: int
    price: Floats
    room_left: Floats
    reason: npt.NDArray[np.int8]
    worth: Floats
    value: float
    score: float
    bound: float

    @property
    def infeasible(self) -> Ints:
        """Users who should have a ghost and have none, for want of room, shape (n,)."""
        return np.flatnonzero((self.reason == FleetReason.PRICE) | (self.reason == FleetReason.NO_ROOM))

    @property
    def pool_missing(self) -> int:
        """Ghosts that the pool wants and does not get."""
        return max(0, self.pool_wanted - int(self.pooled.sum()))

    def code(self, user: int) -> str:
        """The stable word for one user's reason."""
        return FleetReason(int(self.reason[user])).code

    def explain(self, user: int) -> str:
        """Why this user has what they have, for people; made on demand."""
        worth = float(self.worth[user])
        return {
            FleetReason.PAYS: f"is worth {worth:.3g}, more than what it takes costs at the present prices",
            FleetReason.FIRST: "is at the door: people come before ghosts",
            FleetReason.KEPT: f"is kept as it is: a change would gain too little ({worth:.3g})",
            FleetReason.NOT_WORTH: f"is worth {worth:.3g}, less than what it costs to hold it anywhere",
            FleetReason.PRICE: f"is worth {worth:.3g}, and others who are worth more take the room",
            FleetReason.NO_ROOM: f"is worth {worth:.3g}, and no host has the room",
        }[FleetReason(int(self.reason[user]))]
