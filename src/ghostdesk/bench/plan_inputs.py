"""Synthetic fleets for `ghostdesk bench plan`: people, hosts and a pool drawn from a seed. Nothing here was measured
but the shape of the ladder (what a rung takes and saves, design section 3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ghostdesk.allocator.fleet.values import FleetHosts, FleetPool, FleetUsers, Floats, Ints

_SECONDS_SAVED = np.array([4.0, 7.0, 12.0])
# of parked, ready and warm ghosts, in the order of `Resources`
_COST = np.array(
    [[0.02, 0.2e9, 0.0, 1e4, 1e4], [0.05, 0.8e9, 0.0, 1e5, 1e5], [0.15, 1.6e9, 0.0, 2e5, 3e5]],
)
_FLOOR_PRICE = np.array([0.01, 1e-11, 0.0, 0.0, 0.0])
Fleet = tuple[FleetUsers, FleetHosts, FleetPool]


def large_fleet(users: int, hosts: int, seed: int) -> Fleet:
    """A fleet in which memory is scarce everywhere, and the GPU on the quarter of the hosts that have one. A third of
    the people have a ghost already."""
    rng = np.random.default_rng(seed)
    people = _people(rng, users, hosts, spread=0.3)
    each = users / hosts
    room = each * np.array([0.08, 0.45e9, 0.0, 1e6, 1e6]) * rng.uniform(0.5, 1.5, (hosts, 1))
    room = room * rng.uniform(0.8, 1.2, (hosts, 5))
    room[rng.random(hosts) < 0.25, 2] = each * 0.02
    pool = _pool(float(people.pool_share.sum()) * 1.1)
    return people, FleetHosts(room, _FLOOR_PRICE), pool


def _people(rng: np.random.Generator, users: int, hosts: int, spread: float, gpu: float = 0.1) -> FleetUsers:
    cost = _COST * rng.lognormal(0.0, spread, (users, 1, 1))
    cost[rng.random(users) < gpu, 2, 2] = 0.1
    probability = rng.beta(0.3, 2.0, (users, 1)) * np.array([0.8, 0.9, 1.0])
    held = rng.random(users) < 0.33
    return FleetUsers(
        probability=probability,
        seconds_saved=_SECONDS_SAVED,
        value_per_s=rng.lognormal(0.0, 0.5, users),
        cost=cost,
        pool_share=probability[:, 0] * 0.05,
        held_rung=np.where(held, rng.integers(0, 3, users), -1),
        held_host=np.where(held, rng.integers(0, hosts, users), -1),
        stay_value=np.array([0.1]),
    )


def _pool(expected: float) -> FleetPool:
    times = np.array([0.7, 1.0, 1.3])
    return FleetPool(expected * times, np.full(3, 1 / 3), 1.5, 7.0, _COST[1], 0.99)


def _small(
    seed: int, users: int, hosts: int, room: Floats, *, spread: float = 0.3, even: bool = True, equal: bool = False
) -> Fleet:
    rng = np.random.default_rng(seed)
    people = _people(rng, users, hosts, spread, gpu=0.0)
    if equal:
        shape = np.ones(users)
        nobody: Ints = np.full(users, -1)
        cost = np.broadcast_to(_COST, (users, 3, 5)).copy()
        people = FleetUsers(
            np.full((users, 3), 0.4), _SECONDS_SAVED, shape, cost, shape * 0.03, nobody, nobody, np.zeros(1)
        )
    sizes = np.full((hosts, 5), 1.0) if even else rng.uniform(0.3, 1.7, (hosts, 5))
    each = users / hosts
    return people, FleetHosts(each * room * sizes, _FLOOR_PRICE), _pool(float(people.pool_share.sum()) * 1.3 + 0.2)


_ROOMY = np.array([1.0, 4e9, 0.1, 1e7, 1e7])
_TIGHT_MEMORY = np.array([1.0, 0.6e9, 0.1, 1e7, 1e7])
_TIGHT_CPU = np.array([0.05, 4e9, 0.1, 1e7, 1e7])
_BOTH = np.array([0.055, 0.6e9, 0.1, 1e7, 1e7])

SHAPES: dict[str, Callable[[int, int], Fleet]] = {
    "tight memory": lambda seed, users: _small(seed, users, 3, _TIGHT_MEMORY),
    "tight CPU": lambda seed, users: _small(seed, users, 3, _TIGHT_CPU),
    "two scarce resources": lambda seed, users: _small(seed, users, 3, _BOTH, spread=0.5),
    "unlike hosts": lambda seed, users: _small(seed, users, 4, _BOTH, even=False),
    "one host": lambda seed, users: _small(seed, users, 1, _TIGHT_MEMORY),
    "all equal": lambda seed, users: _small(seed, users + seed % 7, 2, _TIGHT_MEMORY, equal=True),
    "roomy": lambda seed, users: _small(seed, users, 3, _ROOMY),
}
"""Small fleets (of a seed and a number of users) whose exact optimum can be found, by what is scarce in them."""
SMALL_USERS = 24
