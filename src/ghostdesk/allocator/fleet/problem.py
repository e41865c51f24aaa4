"""The fleet's plan as one multiple-choice problem: every person and every ghost of the pool is an item with options.

An item may be held on one rung on one host, or not at all. Its score there is its worth times the host's availability,
less the floor price of what it takes, and more if it is there already. Sums of costs must fit every host. Amounts are
scaled by what all hosts have together, so that prices of different resources can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ghostdesk.allocator.fleet.values import NONE, Flags, FleetHosts, FleetPool, FleetUsers, Floats, Ints

_NEVER = -1e300


@dataclass(frozen=True, slots=True)
class Items:
    """Everything that may be held; people, then ghosts of the pool.

    Args:
        worth: of each rung, shape (I, K); -1e300 where there is no such rung.
        cost: scaled, shape (I, K, R).
        held_rung, held_host: shape (I,), -1 for nowhere.
        stay: what changing nothing is worth, shape (I,).
    """

    worth: Floats
    cost: Floats
    held_rung: Ints
    held_host: Ints
    stay: Floats

    def __len__(self) -> int:
        return len(self.worth)

    def take(self, rows: Ints) -> Items:
        """Some of them, in this order."""
        return Items(self.worth[rows], self.cost[rows], self.held_rung[rows], self.held_host[rows], self.stay[rows])


@dataclass(frozen=True, slots=True)
class Sites:
    """The hosts, scaled: `room` and `floor_price` of shape (H, R), `availability` (H,), and what one unit is, (R,)."""

    room: Floats
    floor_price: Floats
    availability: Floats
    unit: Floats

    def with_room(self, room: Floats) -> Sites:
        """The same hosts with other room left."""
        return replace(self, room=room)


def number(values: Floats, instead: float = 0.0) -> Floats:
    """The values, with `instead` for what is not a number."""
    return np.where(np.isnan(values), instead, values)


def amount(values: Floats | Ints) -> Floats:
    """The values between 0 and 1e50 (an infinite one would leave no finite price), 0 for what is not a number."""
    return np.clip(number(np.asarray(values, np.float64)), 0.0, 1e50)


def scaled_sites(hosts: FleetHosts) -> Sites:
    """The hosts with amounts as shares of what there is in all; raises `ValueError` for shapes that do not fit."""
    room = np.asarray(hosts.room, np.float64)
    if room.ndim != 2 or not len(room):
        raise ValueError(f"room must have the shape (hosts, resources) with one host or more, not {room.shape}")
    room = np.maximum(number(room), 0.0)
    total = np.where(np.isfinite(room), room, 0.0).sum(0)
    unit = np.where(total > 0, total, 1.0)
    floor = amount(hosts.floor_price)
    floor = np.broadcast_to(floor if floor.size else 0.0, room.shape) * unit
    availability = np.clip(number(np.asarray(hosts.availability, np.float64)), 0.0, 1.0)
    availability = np.array(np.broadcast_to(availability if availability.size else 1.0, (len(room),)))
    return Sites(room / unit, floor, availability, unit)


def people(users: FleetUsers, sites: Sites) -> Items:
    """Users as items; raises `ValueError` for shapes that do not fit."""
    count, rungs = np.shape(users.probability)
    probability = np.clip(number(np.asarray(users.probability, np.float64)), 0.0, 1.0)
    if users.first.size:
        probability = np.where(users.first[:, None], 1.0, probability)
    worth = probability * amount(users.seconds_saved) * amount(users.value_per_s)[:, None]
    shape = (count, rungs, len(sites.unit))
    cost = np.broadcast_to(number(users.cost, np.inf), shape) / sites.unit
    absurd: Flags = np.asarray((cost < 0).any(2) | ~np.isfinite(cost).all(2))
    if absurd.any():
        worth, cost = np.where(absurd, _NEVER, worth), np.where(absurd[..., None], 0.0, cost)
    hosts = len(sites.room)
    rung = np.asarray(_filled(users.held_rung, count, NONE), np.int64)
    host = np.asarray(_filled(users.held_host, count, NONE), np.int64)
    known = (rung >= 0) & (rung < rungs) & (host >= 0) & (host < hosts)
    stay = amount(_filled(users.stay_value, count, 0.0))
    return Items(worth, cost, np.where(known, rung, NONE), np.where(known, host, NONE), np.where(known, stay, 0.0))


def pool_items(pool: FleetPool, net: Floats, rungs: int, sites: Sites) -> Items:
    """Ghosts of the pool as items with one rung: the first is worth most, shape of `net` (N,)."""
    count, hosts = len(net), len(sites.room)
    worth = np.full((count, rungs), _NEVER)
    worth[:, 0] = net
    cost = np.zeros((count, rungs, len(sites.unit)))
    taken = np.asarray(pool.cost, np.float64) / sites.unit
    if np.isfinite(taken).all() and (taken >= 0).all():
        cost[:, 0] = taken
    else:
        worth[:, 0] = _NEVER
    held = np.repeat(np.arange(hosts), np.maximum(_filled(pool.held, hosts, 0), 0))[:count]
    host = np.full(count, NONE)
    host[: len(held)] = held
    there = host != NONE
    stay = np.where(there, max(pool.stay_value, 0.0), 0.0)
    return Items(worth, cost, np.where(there, 0, NONE), host, stay)


def joined(first: Items, second: Items) -> Items:
    """Both, one after the other."""
    if not len(second):
        return first
    return Items(
        np.concatenate((first.worth, second.worth)),
        np.concatenate((first.cost, second.cost)),
        np.concatenate((first.held_rung, second.held_rung)),
        np.concatenate((first.held_host, second.held_host)),
        np.concatenate((first.stay, second.stay)),
    )


def score_at(items: Items, sites: Sites, rows: Ints, rung: Ints, host: Ints) -> Floats:
    """Scores of items `rows` on these rungs and hosts, all shape (n,)."""
    worth = items.worth[rows, rung] * sites.availability[host]
    price = np.einsum("nr,nr->n", items.cost[rows, rung], sites.floor_price[host])
    stays = (items.held_rung[rows] == rung) & (items.held_host[rows] == host)
    scores: Floats = worth - price + np.where(stays, items.stay[rows], 0.0)
    return scores


def _filled(values: Floats | Ints, count: int, default: float) -> Floats | Ints:
    return np.broadcast_to(values if np.size(values) else np.asarray(default), (count,))
