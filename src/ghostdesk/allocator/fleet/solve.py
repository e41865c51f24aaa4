"""Pooled and personal ghosts settled against each other, then placed.

What personal ghosts serve is taken off the pool's demand, and what the pool would serve anyway off the worth of a
personal ghost. Both are linear at the other's last answer, so the plan goes round a few times: on a sample at the
softened prices, and where the problem is small with the whole plan, of which the best one is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ghostdesk.allocator.fleet.exchange import TRIES, exchange
from ghostdesk.allocator.fleet.place import Placing, place
from ghostdesk.allocator.fleet.pool import PoolDemand, pool_demand
from ghostdesk.allocator.fleet.prices import (
    Groups,
    Prices,
    Sample,
    bound_of,
    find_prices,
    group_hosts,
    option_scores,
    sample_of,
    soft_shares,
)
from ghostdesk.allocator.fleet.problem import Items, Sites, joined, pool_items, score_at
from ghostdesk.allocator.fleet.values import NONE, FleetPool, Floats, Ints

_TURNS = 4
_SMALL = 4_000
"""Options (items x rungs x hosts) up to which the whole plan is made anew in each turn, and places are exchanged."""
_QUICK = 300
"""Exchanges in each turn but the last."""
_SIZES = 2
"""Ghosts of the pool more and fewer that are tried where the problem is small: what one more takes off the worth of
personal ghosts is not linear there."""
_POOL_SAMPLE = 400


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be planned.

    Args:
        items: people.
        share: what each of them takes off the pool's demand, shape (I,).
        base: what was taken off it already.
        pool: None where there is none; `pool.floor` of its ghosts are seated already, on `seated` hosts, shape (f,).
    """

    items: Items
    sites: Sites
    share: Floats
    base: float = 0.0
    pool: FleetPool | None = None
    seated: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True)
class Answer:
    """A plan for a task.

    Args:
        rung, host: of people, shape (I,).
        pooled: the hosts of the pool's ghosts, seated ones first, shape (n,).
        prices, groups: shadow prices, above the floor prices.
        demand: on the pool, once what personal ghosts serve is off it.
        left: room left, shape (H, R).
        value, score, bound: see `FleetPlan`.
    """

    rung: Ints
    host: Ints
    pooled: Ints
    prices: Prices
    groups: Groups
    demand: PoolDemand | None
    left: Floats
    value: float
    score: float
    bound: float


def solve(task: Task, tries: int = TRIES) -> Answer:
    """Plan the task; where it is small, go round with the whole plan, and try at most `tries` exchanges."""
    groups = group_hosts(task.sites)
    covered, held, prices = _settle(task, groups)
    small = len(task.items) * task.items.worth.shape[1] * len(task.sites.room) <= _SMALL
    if not small or task.pool is None:
        return _turn(task, groups, covered, held, prices, tries, small=small)
    best = _turn(task, groups, covered, held, prices, min(tries, _QUICK), small=True)
    at = covered, held
    for _ in range(_TURNS):
        now = _covered(task, best), float(len(best.pooled))
        if np.allclose(now, at, rtol=1e-6, atol=1e-6):
            break
        answer = _turn(task, groups, *now, prices, min(tries, _QUICK), small=True)
        best, at = (answer if answer.score > best.score else best), now
    if tries <= 0:
        return best
    most, size = None, len(best.pooled)
    for count in range(max(len(task.seated), size - _SIZES), size + _SIZES + 1):
        answer = _turn(task, groups, _covered(task, best), count, prices, min(tries, _QUICK), small=True, most=count)
        if answer.score > best.score:
            best, most = answer, count
    last = float(len(best.pooled))
    answer = _turn(task, groups, _covered(task, best), last, prices, tries, small=True, most=most)
    return answer if answer.score > best.score else best


def _covered(task: Task, answer: Answer) -> float:
    """Sign-ins that personal ghosts serve in this answer."""
    return task.base + float(task.share[answer.rung != NONE].sum())


def _linear(task: Task, items: Items, share: Floats, covered: float, held: float) -> tuple[Items, PoolDemand | None]:
    """People with what the pool would serve anyway taken off their worth."""
    if task.pool is None:
        return items, None
    demand = pool_demand(task.pool, covered)
    off = demand.value * demand.served_at_margin(held) * share
    return replace(items, worth=items.worth - off[:, None]), demand


def _pool_rows(task: Task, demand: PoolDemand | None, rungs: int) -> Items | None:
    """The ghosts that the pool wants beyond those that are seated."""
    if task.pool is None or demand is None or demand.wanted <= len(task.seated):
        return None
    held = np.array(np.broadcast_to(task.pool.held if task.pool.held.size else 0, (len(task.sites.room),)))
    np.subtract.at(held, task.seated, 1)
    rest = replace(task.pool, held=np.maximum(held, 0))
    return pool_items(rest, demand.net[len(task.seated) : demand.wanted], rungs, task.sites)


def _settle(task: Task, groups: Groups) -> tuple[float, float, Prices]:
    """Sign-ins covered by personal ghosts, ghosts in the pool, and prices, by going round on a sample."""
    sample = sample_of(task.items)
    share = task.share[sample.rows]
    covered, held, prices = task.base, 0.0, None
    if task.pool is not None:
        held = float(pool_demand(task.pool, covered).wanted)
    for _ in range(_TURNS if task.pool is not None else 1):
        items, demand = _linear(task, sample.items, share, covered, held)
        weight = sample.weight
        pool = _pool_rows(task, demand, items.worth.shape[1])
        if pool is not None:
            few = sample_of(pool, _POOL_SAMPLE)
            items, weight = joined(items, few.items), np.concatenate((weight, few.weight))
        whole = Sample(items, sample.rows, weight)
        prices = find_prices(whole, groups, prices)
        shares = soft_shares(option_scores(items, slice(None), groups, prices.price), prices.temperature).sum(1)
        count = len(share)
        before = covered, held
        covered = task.base + float((shares[:count] * weight[:count]) @ share)
        held = len(task.seated) + float(shares[count:] @ weight[count:])
        if np.allclose(before, (covered, held), rtol=5e-3, atol=0.05):
            break
    assert prices is not None
    return covered, held, prices


def _turn(
    task: Task,
    groups: Groups,
    covered: float,
    held: float,
    prices: Prices,
    tries: int,
    *,
    small: bool,
    most: int | None = None,
) -> Answer:
    people, demand = _linear(task, task.items, task.share, covered, held)
    if demand is not None and most is not None:
        demand = replace(demand, wanted=max(len(task.seated), min(demand.wanted, most)))
    pool = _pool_rows(task, demand, people.worth.shape[1])
    items = people if pool is None else joined(people, pool)
    if small:
        prices = find_prices(sample_of(items), groups, prices)
    placing = place(items, task.sites, groups, prices)
    bound = bound_of(items, groups, prices.price)
    if demand is not None:
        bound += demand.value * demand.served_at_margin(held) * (covered - task.base)
        bound += float(demand.worth_of(len(task.seated)) @ np.sort(task.sites.availability[task.seated])[::-1])
    if small:
        exchange(placing, groups, prices, tries)
    return _judged(task, placing, groups, prices, bound)


def _judged(task: Task, placing: Placing, groups: Groups, prices: Prices, bound: float) -> Answer:
    """What the placing is really worth, its own demand on the pool taken."""
    count = len(task.items)
    rung, host = placing.rung[:count], placing.host[:count]
    rows = np.flatnonzero(rung != NONE)
    personal = score_at(task.items, task.sites, rows, rung[rows], host[rows])
    stays = (task.items.held_rung[rows] == rung[rows]) & (task.items.held_host[rows] == host[rows])
    kept = float(task.items.stay[rows][stays].sum())
    score, demand, pooled = float(personal.sum()), None, task.seated
    if task.pool is not None:
        covered = task.base + float(task.share[rows].sum())
        demand = pool_demand(task.pool, covered)
        more = np.flatnonzero(placing.rung[count:] != NONE) + count
        pooled = np.concatenate((task.seated, placing.host[more]))
        availability = np.sort(task.sites.availability[pooled])[::-1]
        net = demand.worth_of(len(pooled))
        costs = placing.items.cost[more, 0] if len(more) else np.zeros((0, len(task.sites.unit)))
        floor = float((costs * task.sites.floor_price[placing.host[more]]).sum())
        stay = float(placing.items.stay[more][placing.items.held_host[more] == placing.host[more]].sum())
        kept += stay
        score += float(net @ availability) - floor + stay
    return Answer(rung, host, pooled, prices, groups, demand, placing.left, score - kept, score, bound)
