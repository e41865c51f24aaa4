"""Shadow prices of many resources on many hosts, by Newton's method on a sample.

The Lagrangian relaxation of the fleet's problem (Everett 1963) gives every unit of every resource a price at each
group of like hosts; each item then decides for itself, and the right prices are those at which what is asked for just
fits: they minimise the dual, which is convex. Choices are softened (a logit with a small temperature; Nesterov 2005,
"Smooth minimization of non-smooth functions"), as people who are worth the same would otherwise all come and go
together. The softened dual has a Hessian that is a covariance of what items take, so that Newton's method, projected on
prices of zero and more, needs some ten steps for each temperature. It starts from the one price for everything that
bisection finds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ghostdesk.allocator.fleet.problem import Items, Sites
from ghostdesk.allocator.fleet.products import crossed, product
from ghostdesk.allocator.fleet.values import NONE, Flags, Floats, Ints

MOST_GROUPS = 12
SAMPLE = 3_000
CHUNK = 16_384
_STEPS = 15
_TEMPERATURES: tuple[float, ...] = (0.3, 0.06, 0.012)
_NEAR = 2e-3
"""Demand that differs from the room by less than this share is near enough."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Hosts that are alike share prices.

    Args:
        of: the group of each host, shape (H,).
        room: what the group has in all, shape (G, R).
        floor_price: the lowest of its hosts, shape (G, R).
        availability: the highest of its hosts, shape (G,).
    """

    of: Ints
    room: Floats
    floor_price: Floats
    availability: Floats


def group_hosts(sites: Sites) -> Groups:
    """Up to 12 groups by what their room is made of, floor prices and availability (k-means, farthest points first)."""
    hosts = len(sites.room)
    of = np.arange(hosts)
    if hosts > MOST_GROUPS:
        finite = np.where(np.isfinite(sites.room), sites.room, 1.0)
        shape = finite / np.maximum(finite.sum(1, keepdims=True), 1e-300)
        floor = sites.floor_price / max(float(sites.floor_price.max()), 1e-300)
        features = np.column_stack((shape, floor, sites.availability, np.isinf(sites.room)))
        of = _clusters(features, MOST_GROUPS)
    count = int(of.max()) + 1
    room = np.zeros((count, sites.room.shape[1]))
    np.add.at(room, of, sites.room)
    floor_price = np.full(room.shape, np.inf)
    np.minimum.at(floor_price, of, sites.floor_price)
    availability = np.zeros(count)
    np.maximum.at(availability, of, sites.availability)
    return Groups(of, room, floor_price, availability)


def _clusters(features: Floats, most: int) -> Ints:
    centres = [features.mean(0)]
    nearest = ((features - centres[0]) ** 2).sum(1)
    while len(centres) < most and nearest.max() > 1e-9:
        centres.append(features[int(nearest.argmax())])
        nearest = np.minimum(nearest, ((features - centres[-1]) ** 2).sum(1))
    middle = np.array(centres)
    for _ in range(8):
        of = ((features[:, None] - middle) ** 2).sum(2).argmin(1)
        members = np.bincount(of, minlength=len(middle))
        sums = np.zeros_like(middle)
        np.add.at(sums, of, features)
        middle = np.where(members[:, None] > 0, sums / np.maximum(members, 1)[:, None], middle)
    found: Ints = np.unique(((features[:, None] - middle) ** 2).sum(2).argmin(1), return_inverse=True)[1].astype(
        np.int64
    )
    return found


def option_scores(items: Items, rows: Ints | slice, groups: Groups, price: Floats) -> Floats:
    """Score less price of every option of the items `rows`, shape (n, K * G), rungs first."""
    worth, cost = items.worth[rows], items.cost[rows]
    resources = cost.shape[2]
    total = (price + groups.floor_price).T
    scores = worth[..., None] * groups.availability
    scores -= product(cost.reshape(-1, resources), total).reshape(scores.shape)
    held = np.flatnonzero(items.held_rung[rows] != NONE)
    if held.size:
        at = (held, items.held_rung[rows][held], groups.of[items.held_host[rows][held]])
        scores[at] += items.stay[rows][held]
    return scores.reshape(len(scores), scores.shape[1] * scores.shape[2])


def soft_shares(scores: Floats, temperature: float) -> Floats:
    """How much of each option each item takes, shape (n, K * G); what is missing to 1 is held nowhere."""
    top = np.maximum(scores.max(1, keepdims=True), 0.0)
    weights: Floats = np.exp(np.maximum(scores - top, -60.0 * temperature) / temperature)
    weights /= weights.sum(1, keepdims=True) + np.exp(np.maximum(-top, -60.0 * temperature) / temperature)
    return weights


def bound_of(items: Items, groups: Groups, price: Floats) -> float:
    """The Lagrangian dual at these prices, shape (G, R): no plan for these items has a higher score."""
    total = float((price * np.where(price > 0, groups.room, 0.0)).sum())
    for start in range(0, len(items), CHUNK):
        scores = option_scores(items, slice(start, start + CHUNK), groups, price)
        total += float(np.maximum(scores.max(1), 0.0).sum())
    return total


@dataclass(frozen=True, slots=True)
class Sample:
    """Some items that stand for all, each for `weight` of them, shape (n,)."""

    items: Items
    rows: Ints
    weight: Floats


def sample_of(items: Items, most: int = SAMPLE) -> Sample:
    """All items where they are few, else one of every so many in the order of worth."""
    count = len(items)
    if count <= most:
        return Sample(items, np.arange(count), np.ones(count))
    order = np.argsort(items.worth.max(1), kind="stable")
    rows = order[np.minimum(((np.arange(most) + 0.5) * count / most).astype(np.int64), count - 1)]
    return Sample(items.take(rows), rows, np.full(most, count / most))


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of shape (G, R), and the temperature at which choices were soft."""

    price: Floats
    temperature: float


def find_prices(sample: Sample, groups: Groups, start: Prices | None = None) -> Prices:
    """Prices at which the softened choices of the sample just fit every group; quicker from a `start` nearby."""
    scores = option_scores(sample.items, slice(None), groups, np.zeros(groups.room.shape))
    gains = np.maximum(scores.max(1, initial=0.0), 0.0)
    scale = float(gains @ sample.weight)
    if scale <= 0.0:
        return Prices(np.zeros(groups.room.shape), 1e-9)
    typical = float(gains[gains > 0].mean())
    if start is None:
        price, schedule = np.full(groups.room.shape, _first_price(sample, groups, scale)), _TEMPERATURES
    else:
        price, schedule = start.price.copy(), _TEMPERATURES[-1:]
    scarce = _may_be_scarce(sample, groups)
    if not scarce.any():
        return Prices(np.zeros(groups.room.shape), schedule[-1] * typical)
    limited = np.where(scarce, groups.room, np.inf)
    used = scarce | (groups.floor_price > 0).any(0)
    few = replace(groups, room=limited[:, used], floor_price=groups.floor_price[:, used])
    part = replace(sample, items=replace(sample.items, cost=np.ascontiguousarray(sample.items.cost[:, :, used])))
    price = np.where(np.isfinite(limited), price, 0.0)
    for temperature in schedule:
        price[:, used] = _descend(part, few, price[:, used], temperature * typical)
    return Prices(price, schedule[-1] * typical)


def _may_be_scarce(sample: Sample, groups: Groups) -> Flags:
    """Resources that could need a price, shape (R,): not those of which everybody's dearest rung would still leave a
    third in every group."""
    dearest = np.where(sample.items.worth[..., None] > 0, sample.items.cost, 0.0).max(1)
    asked = sample.weight @ dearest
    room = np.where(np.isfinite(groups.room), groups.room, np.inf)
    loose: Flags = (room >= 1.5 * asked * np.minimum(groups.room, 1.0).max(1, keepdims=True)).all(0)
    return ~loose


def _descend(sample: Sample, groups: Groups, price: Floats, temperature: float) -> Floats:
    """Newton's method on the softened dual, projected on prices of zero and more."""
    limited = np.isfinite(groups.room)
    room = np.where(limited, groups.room, 0.0)
    value, shares = _soft_dual(sample, groups, price, temperature)
    damping = 1.0
    asked, curve = _derivatives(sample, shares, temperature)
    for _ in range(_STEPS):
        slope = room - asked
        free = limited & ((price > 0) | (slope < 0))
        if not free.any() or (np.abs(slope[free]) / np.maximum(room[free], 1e-9)).max() < _NEAR:
            break
        there = np.maximum(price + _newton(curve, slope, free, damping), 0.0)
        new, new_shares = _soft_dual(sample, groups, there, temperature)
        if new < value:
            price, value, shares, damping = there, new, new_shares, damping * 0.2
            asked, curve = _derivatives(sample, shares, temperature)
        else:
            damping *= 8.0
    return price


def _newton(curve: Floats, slope: Floats, free: Flags, damping: float) -> Floats:
    """The damped step of those prices that are free to move (Levenberg and Marquardt), shape (G, R)."""
    at = np.flatnonzero(free.ravel())
    part = curve[np.ix_(at, at)]
    own = np.diag(part).copy()
    part[np.diag_indices(len(at))] += damping * (own + 1e-3 * float(own.max(initial=0.0))) + 1e-300
    move = np.zeros(slope.size)
    move[at] = np.linalg.solve(part, -slope.ravel()[at])
    return move.reshape(slope.shape)


def _soft_dual(sample: Sample, groups: Groups, price: Floats, temperature: float) -> tuple[float, Floats]:
    """The softened dual at these prices, and the shares of the options, shape (n, K * G)."""
    scores = option_scores(sample.items, slice(None), groups, price)
    top = np.maximum(scores.max(1), 0.0)
    weights = np.exp(np.maximum(scores - top[:, None], -60.0 * temperature) / temperature)
    total = weights.sum(1) + np.exp(np.maximum(-top, -60.0 * temperature) / temperature)
    paid = float((price * np.where(price > 0, groups.room, 0.0)).sum())
    value = float(sample.weight @ (top + temperature * np.log(total))) + paid
    return value, weights / total[:, None]


def _derivatives(sample: Sample, shares: Floats, temperature: float) -> tuple[Floats, Floats]:
    """What is asked of each group, shape (G, R), and the dual's curvature, shape (G * R, G * R)."""
    cost = sample.items.cost
    count, rungs, resources = cost.shape
    held = shares.reshape(count, rungs, -1)
    many = held.shape[2]
    mean = np.einsum("nkg,nkr->ngr", held, cost, optimize=False).reshape(count, -1)
    heavy = mean * sample.weight[:, None]
    asked: Floats = heavy.sum(0).reshape(many, resources)
    curve = -crossed(heavy, mean)
    flat = (held * sample.weight[:, None, None]).reshape(count * rungs, many)
    squares = (cost[..., :, None] * cost[..., None, :]).reshape(count * rungs, -1)
    own = crossed(flat, squares).reshape(many, resources, resources)
    for group in range(many):
        at = slice(group * resources, (group + 1) * resources)
        curve[at, at] += own[group]
    return asked, curve / temperature


def _first_price(sample: Sample, groups: Groups, scale: float) -> float:
    """One price for everything at which all fits together, by bisection of its logarithm."""
    room = groups.room.sum(0)
    low, high = -14.0, 14.0
    for _ in range(12):
        middle = (low + high) / 2
        price = np.full(groups.room.shape, scale * np.exp(middle))
        scores = option_scores(sample.items, slice(None), groups, price)
        best = scores.argmax(1)
        rows = np.flatnonzero(scores[np.arange(len(best)), best] > 0)
        rung = best[rows] // len(groups.room)
        asked = sample.weight[rows] @ sample.items.cost[rows, rung]
        if (asked <= room).all():
            high = middle
        else:
            low = middle
    return float(scale * np.exp(high))
