"""Planning for many users on many hosts: whose ghost is held on which rung on which host, and how many for anybody.

Pooled and personal ghosts come out of one plan: a pooled ghost is an item like a person, worth the chance that it is
needed beyond what serves already. Prices come first (`prices`), then places (`place`), and where the
problem is small an exchange of places (`exchange`); `solve` settles pooled and personal ghosts against
each other. Everything is deterministic: the same inputs give the same plan.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ghostdesk.allocator.fleet.exchange import TRIES
from ghostdesk.allocator.fleet.pool import pool_demand
from ghostdesk.allocator.fleet.prices import CHUNK, option_scores
from ghostdesk.allocator.fleet.problem import Items, Sites, amount, people, pool_items, scaled_sites, score_at
from ghostdesk.allocator.fleet.solve import Answer, Task, solve
from ghostdesk.allocator.fleet.values import (
    NONE,
    Flags,
    FleetHosts,
    FleetPlan,
    FleetPool,
    FleetReason,
    FleetUsers,
    Floats,
    Ints,
)


def plan_fleet(users: FleetUsers, hosts: FleetHosts, pool: FleetPool | None = None, *, tries: int = TRIES) -> FleetPlan:
    """The plan; see `FleetUsers`, `FleetHosts` and `FleetPool` for shapes, and `FleetPlan` for what comes out.

    Where the problem is small, `tries` exchanges at most improve it. People at the door are placed before anybody else,
    then the pool's floor, then everything that competes by worth.

    Raises:
        ValueError: shapes do not fit each other.
    """
    sites = scaled_sites(hosts)
    items = people(users, sites)
    count = len(items)
    first = np.broadcast_to(users.first if users.first.size else np.False_, (count,))
    share = np.broadcast_to(users.pool_share if users.pool_share.size else 0.0, (count,))
    share = np.clip(np.nan_to_num(share, posinf=1e6), 0.0, 1e6)
    rung, host, left = np.full(count, NONE), np.full(count, NONE), sites.room
    score = value = 0.0
    if first.any():
        seated = solve(Task(items.take(np.flatnonzero(first)), sites, share[first]), tries)
        rung[first], host[first], left = seated.rung, seated.host, seated.left
        score, value = seated.score, seated.value
    base = float(share[rung != NONE].sum())
    floor, left, floor_cost = _seat_floor(pool, sites.with_room(left), items.worth.shape[1])
    rest = items.take(np.flatnonzero(~first)) if first.any() else items
    answer = solve(Task(rest, sites.with_room(left), share[~first], base, pool, floor), tries)
    rung[~first], host[~first] = answer.rung, answer.host
    price = (answer.prices.price[answer.groups.of] + sites.floor_price) / sites.unit
    wanted = 0 if pool is None else (answer.demand or pool_demand(pool, base)).wanted
    return FleetPlan(
        rung=rung,
        host=host,
        pooled=np.bincount(answer.pooled, minlength=len(sites.room)),
        pool_wanted=wanted,
        price=price,
        room_left=np.maximum(answer.left, 0.0) * sites.unit,
        reason=_reasons(items, sites, answer, first, rung, host),
        worth=np.maximum(items.worth.max(1, initial=0.0), 0.0),
        value=value + answer.value - floor_cost,
        score=score + answer.score - floor_cost,
        bound=score + answer.bound - floor_cost,
    )


def _seat_floor(pool: FleetPool | None, sites: Sites, rungs: int) -> tuple[Ints, Floats, float]:
    """The pool's floor: its ghosts' hosts, the room left after them, and the floor prices that they cost."""
    count = 0 if pool is None else min(pool.floor, pool.ceiling)
    if pool is None or count <= 0:
        return np.zeros(0, np.int64), sites.room, 0.0
    dearest = float((sites.floor_price @ amount(np.asarray(pool.cost) / sites.unit)).max(initial=0.0))
    seated = pool_items(pool, np.full(count, 1.0 + 1e3 * dearest), rungs, sites)
    answer = solve(Task(seated, sites, np.zeros(count)), 0)
    rows = np.flatnonzero(answer.host != NONE)
    hosts = answer.host[rows]
    cost = float((seated.cost[rows, 0] * sites.floor_price[hosts]).sum())
    return hosts, answer.left, cost


def _reasons(items: Items, sites: Sites, answer: Answer, first: Flags, rung: Ints, host: Ints) -> npt.NDArray[np.int8]:
    """A `FleetReason` of each user, shape (U,)."""
    reason = np.full(len(items), FleetReason.PAYS, np.int8)
    reason[first] = FleetReason.FIRST
    rows = np.flatnonzero(rung != NONE)
    same = (items.held_rung[rows] == rung[rows]) & (items.held_host[rows] == host[rows]) & (items.stay[rows] > 0)
    kept = rows[same]
    bare = score_at(replace(items, stay=np.zeros(len(items))), sites, kept, rung[kept], host[kept])
    taken = (items.cost[kept, rung[kept]] * answer.prices.price[answer.groups.of[host[kept]]]).sum(1)
    reason[kept[bare <= taken]] = FleetReason.KEPT
    without = np.flatnonzero(rung == NONE)
    none = np.zeros(answer.prices.price.shape)
    for start in range(0, len(without), CHUNK):
        some = without[start : start + CHUNK]
        free = option_scores(items, some, answer.groups, none).max(1, initial=0.0)
        paying = option_scores(items, some, answer.groups, answer.prices.price).max(1, initial=0.0)
        reason[some] = np.where(
            free <= 0, FleetReason.NOT_WORTH, np.where(paying <= 0, FleetReason.PRICE, FleetReason.NO_ROOM)
        )
    return reason
