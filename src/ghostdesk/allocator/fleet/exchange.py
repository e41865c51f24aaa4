"""Exchange of places on small problems, for as long as it gains: ruin and recreate.

With few items a host, what the prices leave over is a few per cent. A few items at a time lose their places, and the
room is given anew to the options that are worth most for what they take, with a little noise; what is worse is undone
(Schrimpf et al. 2000, "Record breaking optimization results using the ruin and recreate principle"). The generator
has a fixed seed: the same problem gives the same plan.
"""

from __future__ import annotations

import numpy as np

from ghostdesk.allocator.fleet.place import SLACK, Placing
from ghostdesk.allocator.fleet.prices import Groups, Prices, bound_of
from ghostdesk.allocator.fleet.problem import score_at
from ghostdesk.allocator.fleet.values import NONE, Flags, Floats, Ints

TRIES = 3000
"""How many exchanges are tried at most; a third of them without gain end it."""
_BEARABLE = 0.1
"""How much worse a change may be, at first, and still be gone on from (threshold accepting, Dueck and Scheuer 1990)."""
_CLOSE = 1e-3
_STARTS, _GOOD = 4, 0.01
"""How often the search starts anew, where the bound leaves more than this to be gained."""


class _Options:
    """All options that gain at all, as rows: item, rung, host, score, cost."""

    def __init__(self, placing: Placing) -> None:
        items, sites = placing.items, placing.sites
        count, rungs = items.worth.shape
        hosts = len(sites.room)
        item, rung, host = (axis.ravel() for axis in np.indices((count, rungs, hosts)))
        score = score_at(items, sites, item, rung, host)
        cost = items.cost[item, rung]
        good = (score > 0) & (cost <= sites.room[host] + SLACK).all(1)
        self.item, self.rung, self.host = item[good], rung[good], host[good]
        self.score, self.cost = score[good], cost[good]


class _Search:
    """One placement as chosen option of each item, -1 for none, and the room left."""

    def __init__(self, placing: Placing, options: _Options, price: Floats) -> None:
        self.options, self.price = options, price
        with np.errstate(invalid="ignore", divide="ignore"):
            share = options.cost / placing.sites.room[options.host]
        self.size = np.nan_to_num(share, posinf=0.0).max(1)
        self.taken = np.full(len(placing.items), NONE)
        self.room = placing.sites.room
        self.left = self.room.copy()
        held = (placing.rung[options.item] == options.rung) & (placing.host[options.item] == options.host)
        for option in np.flatnonzero(held & (placing.rung[options.item] != NONE)):
            self.put(int(option))

    def put(self, option: int) -> None:
        """Hold this option."""
        self.taken[self.options.item[option]] = option
        self.left[self.options.host[option]] -= self.options.cost[option]

    def drop(self, item: int) -> None:
        """Take an item's place away."""
        option = self.taken[item]
        self.left[self.options.host[option]] += self.options.cost[option]
        self.taken[item] = NONE

    def fill(self, key: Floats) -> None:
        """Give room to the options with the highest `key`, shape (options,), until nothing fits."""
        options = self.options
        open_ = self.fitting()
        while open_.size:
            best = int(open_[key[open_].argmax()])
            self.put(best)
            item, host = options.item[best], options.host[best]
            open_ = open_[options.item[open_] != item]
            near = options.host[open_] == host
            fits = ~near | (options.cost[open_] <= self.left[host] + SLACK).all(1)
            open_ = open_[fits]

    def fitting(self) -> Ints:
        """Options of items without a place that would fit."""
        options = self.options
        fits = (self.taken[options.item] == NONE) & (options.cost <= self.left[options.host] + SLACK).all(1)
        return np.flatnonzero(fits)

    def take(self, taken: Ints) -> None:
        """Hold these options and no others."""
        self.taken = taken
        rows = taken[taken != NONE]
        self.left = self.room.copy()
        np.subtract.at(self.left, self.options.host[rows], self.options.cost[rows])

    def score(self) -> float:
        """Of what is held."""
        return float(self.options.score[self.taken[self.taken != NONE]].sum())


def exchange(placing: Placing, groups: Groups, prices: Prices, tries: int = TRIES) -> None:
    """Improve a placing in place, with `tries` exchanges at most; it is never made worse."""
    bound = bound_of(placing.items, groups, prices.price)
    options = _Options(placing)
    if tries <= 0 or not len(options.item) or placing.score() >= bound * (1 - _CLOSE):
        return
    price = (options.cost * prices.price[groups.of][options.host]).sum(1)
    search = _Search(placing, options, price)
    best, kept = -1.0, search.taken
    for seed in range(_STARTS):
        search.take(kept)
        _improve(search, bound, tries, seed)
        if search.score() > best:
            best, kept = search.score(), search.taken
        if best >= bound * (1 - _GOOD) or tries < TRIES:
            break
    search.take(kept)
    held = search.taken != NONE
    placing.rung[:], placing.host[:] = NONE, NONE
    placing.rung[held] = options.rung[search.taken[held]]
    placing.host[held] = options.host[search.taken[held]]
    placing.left[:] = search.left


def _improve(search: _Search, bound: float, tries: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    options = search.options
    search.fill(options.score - search.price)
    best, kept = search.score(), search.taken.copy()
    now, since = best, 0
    for turn in range(tries):
        if best >= bound * (1 - _CLOSE) or since > tries / 3:
            break
        before = search.taken.copy(), search.left.copy()
        for item in _ruin(search, rng):
            search.drop(int(item))
        noise = rng.normal(0.0, float(rng.choice([0.01, 0.05, 0.2])), len(options.score))
        search.fill(_wish(search, np.exp(noise), rng))
        score = search.score()
        if score < now - _BEARABLE * best * (1 - turn / tries) * rng.random():
            search.taken, search.left = before
        else:
            now = score
        since += 1
        if now > best * (1 + 1e-9):
            best, kept, since = now, search.taken.copy(), 0
    search.take(kept)


def _wish(search: _Search, noise: Floats, rng: np.random.Generator) -> Floats:
    """What options are taken for, shape (options,): what they gain at the present prices, at other prices (where whole
    items hardly fit, the prices of parts mislead), or what they are worth for what they take."""
    kind, score = rng.random(), search.options.score * noise
    if kind < 0.5:
        wish: Floats = score - search.price * rng.uniform(0.8, 1.2)
    elif kind < 0.8:
        wish = score - search.price * rng.uniform(0.0, 1.0)
    else:
        wish = score / (search.size + 0.05)
    return wish


def _ruin(search: _Search, rng: np.random.Generator) -> Ints:
    """Items to lose their places: a few anywhere, or some or all of those on one or two hosts; those that gain least at
    the present prices more often."""
    held = np.flatnonzero(search.taken != NONE)
    if not len(held):
        return held
    kind = rng.random()
    if kind < 0.6 and len(search.left) > 1:
        hosts = search.options.host[search.taken[held]]
        near: Flags = np.isin(hosts, rng.choice(len(search.left), size=int(rng.integers(1, 3)), replace=False))
        held = held[near] if near.any() else held
    most = len(held) if kind < 0.2 else 4
    count = min(len(held), int(rng.integers(1, most + 1)))
    gain = search.options.score - search.price
    rank = np.argsort(np.argsort(gain[search.taken[held]]))
    chance = 1.0 / (rank + 10.0)
    return rng.choice(held, size=count, replace=False, p=chance / chance.sum())
