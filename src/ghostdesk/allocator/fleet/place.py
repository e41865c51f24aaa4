"""From prices to places: which item is held on which rung on which host, within every host's room.

Everybody chooses at the prices; those who chose a group are dealt out over its hosts in proportion to their room; each
host takes them in the order of what they are worth for what they take, as far as its room goes. What did not fit, and
what the prices had refused, fills what is left, round by round; at last the best of the rest are tried one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghostdesk.allocator.fleet.prices import CHUNK, Groups, Prices, option_scores, soft_shares
from ghostdesk.allocator.fleet.problem import Items, Sites, score_at
from ghostdesk.allocator.fleet.products import product, weighed
from ghostdesk.allocator.fleet.values import NONE, Flags, Floats, Ints

SLACK = 1e-12
"""Share of all room by which sums may be wrong for rounding: an item that just fits, fits."""
_ROUNDS = 8
_ROUNDS_EACH = 10
_ROUNDS_REST = 3
_FEW_EACH = 6
"""Items a host up to which they are given out one by one."""
_ONE_BY_ONE = 100
_GOLDEN = 0.6180339887498949


@dataclass
class Placing:
    """A placement in the making: `rung` and `host` of each item, (I,), -1 for none, and the room left, (H, R)."""

    items: Items
    sites: Sites
    rung: Ints
    host: Ints
    left: Floats

    @staticmethod
    def empty(items: Items, sites: Sites) -> Placing:
        """Nothing is held yet."""
        nowhere = np.full(len(items), NONE)
        return Placing(items, sites, nowhere, nowhere.copy(), sites.room.copy())

    def put(self, rows: Ints, rung: Ints, host: Ints) -> None:
        """Hold these; what they take is taken off."""
        self.rung[rows], self.host[rows] = rung, host
        np.subtract.at(self.left, host, self.items.cost[rows, rung])

    def try_put(self, rows: Ints, rung: Ints, host: Ints, order: Floats) -> Flags:
        """Hold as many of these as each host has room for, highest `order` first; which ones, shape (n,)."""
        fits = accepted(self.items.cost[rows, rung], host, order, self.left)
        self.put(rows[fits], rung[fits], host[fits])
        return fits

    def drop_losses(self) -> None:
        """Let go of what is worth less than its floor price where it is: softened choices take some."""
        rows = np.flatnonzero(self.rung != NONE)
        rung, host = self.rung[rows], self.host[rows]
        bad = score_at(self.items, self.sites, rows, rung, host) <= 0
        np.add.at(self.left, host[bad], self.items.cost[rows[bad], rung[bad]])
        self.rung[rows[bad]] = self.host[rows[bad]] = NONE

    def score(self) -> float:
        """Of everything that is held."""
        rows = np.flatnonzero(self.rung != NONE)
        return float(score_at(self.items, self.sites, rows, self.rung[rows], self.host[rows]).sum())


def accepted(cost: Floats, host: Ints, order: Floats, left: Floats) -> Flags:
    """Of items with `cost` (n, R) that all want onto `host` (n,), those that fit when each host takes the highest
    `order` first and stops where one does not fit, shape (n,)."""
    fits = np.zeros(len(host), np.bool_)
    if not len(host):
        return fits
    ranked = np.lexsort((-order, host))
    here = host[ranked]
    total = np.cumsum(cost[ranked], 0)
    first = np.flatnonzero(np.r_[True, here[1:] != here[:-1]])
    length = np.diff(np.r_[first, len(here)])
    before = np.repeat(total[first] - cost[ranked][first], length, axis=0)
    fits[ranked] = (total - before <= left[here] + SLACK).all(1)
    return fits


def place(items: Items, sites: Sites, groups: Groups, prices: Prices) -> Placing:
    """Place what pays at these prices, then fill what room is left."""
    placing = Placing.empty(items, sites)
    rung, group = choices(items, groups, prices)
    density = _density(items, groups, prices)
    weight = _weights(groups, prices)
    _stay(placing, rung, group, groups, density)
    for one in range(len(groups.room)):
        rows = np.flatnonzero((group == one) & (placing.rung == NONE))
        _deal(placing, rows, rung[rows], np.flatnonzero(groups.of == one), density[rows], weight, _ROUNDS_EACH)
    placing.drop_losses()
    _fill(placing, groups, prices, density)
    _one_by_one(placing, density)
    _upgrade(placing)
    return placing


def choices(items: Items, groups: Groups, prices: Prices) -> tuple[Ints, Ints]:
    """The rung and the group that each item takes at these prices, shape (I,), -1 for none.

    Where options are worth nearly the same, each gets its softened share of the items: the item with rank n takes the
    option in which the fraction of n times the golden ratio falls.
    """
    count, many = len(items), len(groups.room)
    chosen = np.full(count, NONE)
    for start in range(0, count, CHUNK):
        rows = slice(start, min(start + CHUNK, count))
        shares = soft_shares(option_scores(items, rows, groups, prices.price), prices.temperature)
        point = ((np.arange(rows.start, rows.stop) + 0.5) * _GOLDEN) % 1.0
        reached = np.cumsum(shares, 1)
        held = point < reached[:, -1]
        chosen[rows] = np.where(held, (reached <= point[:, None]).sum(1), NONE)
    held = chosen != NONE
    return np.where(held, chosen // many, NONE), np.where(held, chosen % many, NONE)


def _density(items: Items, groups: Groups, prices: Prices) -> Floats:
    """What the best rung of each item is worth for what it takes at average prices, shape (I,)."""
    weight = _weights(groups, prices)
    density = np.empty(len(items))
    for start in range(0, len(items), CHUNK):
        rows = slice(start, start + CHUNK)
        taken = weighed(items.cost[rows], weight)
        worth = items.worth[rows] + np.where(items.held_rung[rows] != NONE, items.stay[rows], 0.0)[:, None]
        density[rows] = (np.maximum(worth, 0.0) / (taken + 1e-15)).max(1)
    return density


def _weights(groups: Groups, prices: Prices) -> Floats:
    """How scarce each resource is, shape (R,): its mean price, and a little of each that is limited at all."""
    limited = np.isfinite(groups.room).any(0)
    mean = (prices.price * np.where(np.isfinite(groups.room), groups.room, 0.0)).sum(0)
    total = float(mean.sum())
    weights: Floats = np.where(limited, mean / total if total > 0 else 1.0, 0.0) + np.where(limited, 1e-2, 0.0)
    return weights


def _stay(placing: Placing, rung: Ints, group: Ints, groups: Groups, density: Floats) -> None:
    """Those whose ghost is in the group that they chose stay on its host, whatever the rung."""
    held = placing.items.held_host
    rows = np.flatnonzero((held != NONE) & (group != NONE))
    rows = rows[groups.of[held[rows]] == group[rows]]
    fits = placing.try_put(rows, rung[rows], held[rows], density[rows])
    rest = rows[~fits]
    placing.try_put(rest, rung[rest], held[rest], density[rest])


def _deal(placing: Placing, rows: Ints, rung: Ints, hosts: Ints, density: Floats, weight: Floats, rounds: int) -> None:
    """Deal items out over `hosts` in proportion to their room, and what did not fit again over what is left."""
    for turn in range(_ROUNDS if len(rows) > _FEW_EACH * len(hosts) else 0):
        rank = np.argsort(-density, kind="stable")
        rows, rung, density = rows[rank], rung[rank], density[rank]
        to = _targets(placing, weighed(placing.items.cost[rows, rung], weight), hosts, weight, turn)
        sent = to != NONE
        fits = np.zeros(len(rows), np.bool_)
        fits[sent] = placing.try_put(rows[sent], rung[sent], to[sent], density[sent])
        rows, rung, density = rows[~fits], rung[~fits], density[~fits]
        if fits.sum() < len(hosts):
            break
    _one_each(placing, rows, rung, hosts, weight, rounds)


def _one_each(placing: Placing, rows: Ints, rung: Ints, hosts: Ints, weight: Floats, rounds: int) -> None:
    """Give each host one item in each round, the largest to the one with the most room left."""
    size = weighed(placing.items.cost[rows, rung], weight)
    order = np.argsort(-size, kind="stable")
    rows, rung = rows[order], rung[order]
    for _ in range(rounds):
        if not len(rows):
            return
        left = placing.left[hosts]
        room = weighed(np.where(np.isfinite(left), left, 1e6), weight)
        roomy = hosts[np.argsort(-room, kind="stable")]
        most = left.max(0) + SLACK
        possible = (placing.items.cost[rows, rung] <= most).all(1)
        rows, rung = rows[possible], rung[possible]
        now = min(len(rows), len(roomy))
        cost = placing.items.cost[rows[:now], rung[:now]]
        fits = (cost <= placing.left[roomy[:now]] + SLACK).all(1)
        placing.put(rows[:now][fits], rung[:now][fits], roomy[:now][fits])
        # What did not fit on its host goes behind those that are smaller.
        rows = np.concatenate((rows[now:], rows[:now][~fits]))
        rung = np.concatenate((rung[now:], rung[:now][~fits]))
        if not fits.any() and now == len(rows):
            return


def _targets(placing: Placing, size: Floats, hosts: Ints, weight: Floats, turn: int) -> Ints:
    """Which host each item is dealt to, shape (n,), -1 where there is no room for it in all.

    Items, best first, are cut off where the room of all hosts ends, mixed, and laid along a line as long as that room.
    """
    left = placing.left[hosts]
    room = weighed(np.maximum(np.where(np.isfinite(left), left, 1e6), 0.0), weight)
    inside = np.flatnonzero(np.cumsum(size) <= float(room.sum()) * (1.0 + 1e-9) + SLACK)
    to = np.full(len(size), NONE)
    if not len(inside):
        return to
    mixed = inside[np.argsort(((np.arange(len(inside)) + turn * 0.37) * _GOLDEN) % 1.0, kind="stable")]
    ends = np.cumsum(size[mixed])
    reach = np.cumsum(room)
    stretch = float(reach[-1]) / max(float(ends[-1]), 1e-300)
    slot = np.searchsorted(reach, (ends - size[mixed] / 2) * stretch)
    to[mixed] = hosts[np.minimum(slot, len(hosts) - 1)]
    return to


def _fill(placing: Placing, groups: Groups, prices: Prices, density: Floats) -> None:
    """Give what room is left to the best of those who have nothing, on whichever rung fits."""
    weight = _weights(groups, prices)
    free = Prices(np.zeros(groups.room.shape), prices.temperature)
    for rung in range(placing.items.worth.shape[1]):
        rows = np.flatnonzero((placing.rung == NONE) & (placing.items.worth[:, rung] > 0))
        if not len(rows):
            continue
        rows = rows[np.argsort(-density[rows], kind="stable")]
        taken = np.cumsum(weighed(placing.items.cost[rows, rung], weight))
        room = weighed(np.where(np.isfinite(placing.left), placing.left, 1e6), weight)
        rows = rows[: int(np.searchsorted(taken, 1.5 * room.sum())) + 1]
        wanted = np.full(len(rows), rung)
        worth = option_scores(placing.items.take(rows), slice(None), groups, free.price)
        by_group = worth.reshape(len(rows), -1, len(groups.room))[:, rung]
        for group in np.argsort(-by_group.max(0), kind="stable"):
            good = (by_group[:, group] > 0) & (placing.rung[rows] == NONE)
            hosts = np.flatnonzero(groups.of == group)
            hosts = hosts[np.argsort(-placing.left[hosts].min(1), kind="stable")]
            _deal(placing, rows[good], wanted[good], hosts, density[rows[good]], weight, _ROUNDS_REST)


def _one_by_one(placing: Placing, density: Floats) -> None:
    """Try the best of those who still have nothing on every rung and host, one after the other."""
    items, sites = placing.items, placing.sites
    rows = np.flatnonzero((placing.rung == NONE) & (items.worth.max(1) > 0))
    most = placing.left.max(0) + SLACK
    rows = rows[(items.cost[rows] <= most).all(2).any(1)]
    for row in rows[np.argsort(-density[rows], kind="stable")][:_ONE_BY_ONE]:
        fits = (items.cost[row][:, None] <= placing.left + SLACK).all(2)
        scores = items.worth[row][:, None] * sites.availability - product(items.cost[row], sites.floor_price.T)
        if items.held_host[row] != NONE:
            scores[items.held_rung[row], items.held_host[row]] += items.stay[row]
        scores = np.where(fits, scores, -1.0)
        best = int(scores.argmax())
        if scores.flat[best] > 0:
            rung, host = divmod(best, scores.shape[1])
            placing.put(np.array([row]), np.array([rung]), np.array([host]))


def _upgrade(placing: Placing) -> None:
    """Move items to a better rung on their host while its room allows it."""
    items, sites = placing.items, placing.sites
    for rung in range(items.worth.shape[1]):
        rows = np.flatnonzero((placing.rung != NONE) & (placing.rung != rung))
        if not len(rows):
            continue
        host, now = placing.host[rows], placing.rung[rows]
        there = np.full(len(rows), rung)
        gain = score_at(items, sites, rows, there, host) - score_at(items, sites, rows, now, host)
        good = gain > 1e-12
        rows, host, now, gain = rows[good], host[good], now[good], gain[good]
        more = items.cost[rows, rung] - items.cost[rows, now]
        fits = accepted(np.maximum(more, 0.0), host, gain / (np.maximum(more, 0.0).sum(1) + 1e-15), placing.left)
        placing.rung[rows[fits]] = rung
        np.subtract.at(placing.left, host[fits], more[fits])
