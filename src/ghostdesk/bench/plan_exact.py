"""The exact optimum of a small fleet, by a mixed-integer linear program that HiGHS solves: what plans are held against.

One binary for every person, rung and host; a binary for every size of the pool, and an integer for its ghosts on each
host. The pool's worth falls with what personal ghosts cover; it is concave in that, so that its tangents bound it from
above: the optimum found here is never below the true one. Needs the extra `bench` (highspy).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ghostdesk.allocator.fleet.pool import pool_demand
from ghostdesk.allocator.fleet.problem import Sites, people, scaled_sites, score_at
from ghostdesk.allocator.fleet.values import FleetHosts, FleetPool, FleetUsers, Floats, Ints
from ghostdesk.kernel.errors import MissingRequirement

_TANGENTS = 33


@dataclass(frozen=True, slots=True)
class Exact:
    """What HiGHS found.

    Args:
        score: of the best plan found; see `FleetPlan.score`.
        bound: no plan is better.
        proven: whether both are the same, to a ten thousandth.
    """

    score: float
    bound: float
    proven: bool


@dataclass
class _Program:
    """A program in the making: columns with cost, bounds and kind; rows as lists of (column, factor) and bounds."""

    cost: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    rows: list[tuple[Ints, Floats, float, float]] = field(default_factory=list)

    def columns(self, cost: Floats, lower: float, upper: float, *, whole: bool) -> Ints:
        """Add columns; their numbers."""
        start = len(self.cost)
        self.cost.extend(cost.tolist())
        self.lower.extend([lower] * len(cost))
        self.upper.extend([upper] * len(cost))
        self.whole.extend([whole] * len(cost))
        return np.arange(start, len(self.cost))

    def row(self, columns: Ints, factors: Floats, lower: float, upper: float) -> None:
        """Add ``lower <= factors @ columns <= upper``."""
        self.rows.append((columns, factors, lower, upper))


def exact_optimum(users: FleetUsers, hosts: FleetHosts, pool: FleetPool, limit_s: float = 20.0) -> Exact:
    """The optimum; `users.first`, `pool.floor`, `pool.held` and unlike `hosts.availability` are not modelled.

    Raises:
        MissingRequirement: highspy is not installed.
    """
    sites = scaled_sites(hosts)
    items = people(users, sites)
    program = _Program()
    item, rung, host = (axis.ravel() for axis in np.indices((*items.worth.shape, len(sites.room))))
    score = score_at(items, sites, item, rung, host)
    share = np.broadcast_to(users.pool_share, (len(items),))
    pays = (score > 0) & (items.cost[item, rung] <= sites.room[host] + 1e-12).all(1)
    item, rung, host = item[pays], rung[pays], host[pays]
    held = program.columns(score[pays], 0.0, 1.0, whole=True)
    for one in np.unique(item):
        mine = held[item == one]
        program.row(mine, np.ones(len(mine)), 0.0, 1.0)
    placed = _pool_columns(program, pool, sites, held, share[item])
    taken = np.asarray(pool.cost) / sites.unit
    for where in range(len(sites.room)):
        here = host == where
        for resource in np.flatnonzero(np.isfinite(sites.room[where])):
            columns = np.append(held[here], placed[where])
            factors = np.append(items.cost[item[here], rung[here], resource], taken[resource])
            program.row(columns, factors, -np.inf, float(sites.room[where, resource]))
    return _run(program, limit_s)


def _pool_columns(program: _Program, pool: FleetPool, sites: Sites, held: Ints, share: Floats) -> Ints:
    """The pool's size, its ghosts on each host, and its worth under what personal ghosts cover."""
    most = pool_demand(pool, 0.0).wanted
    taken = np.asarray(pool.cost) / sites.unit
    placed = program.columns(-(sites.floor_price @ taken), 0.0, float(most), whole=True)
    size = program.columns(np.zeros(most + 1), 0.0, 1.0, whole=True)
    worth = program.columns(np.ones(1), -1e6, 1e6, whole=False)
    program.row(size, np.ones(most + 1), 1.0, 1.0)
    program.row(np.append(placed, size), np.append(np.ones(len(placed)), -np.arange(most + 1.0)), 0.0, 0.0)
    total = float(np.asarray(pool.expected) @ pool.shares)
    grid = np.linspace(0.0, total, _TANGENTS)
    value = np.array([[pool_demand(pool, at).worth_of(n).sum() for n in range(most + 1)] for at in grid])
    reach = float(np.abs(value).max()) * 2 + 1.0
    for n in range(most + 1):
        slopes = np.gradient(value[:, n], grid) if total > 0 else np.zeros(len(grid))
        for at, base, slope in zip(grid, value[:, n], slopes, strict=True):
            # worth <= base + slope * (covered - at), for the size that is chosen
            columns = np.concatenate((worth, held, size[n : n + 1]))
            factors = np.concatenate(([1.0], -slope * share, [reach]))
            program.row(columns, factors, -np.inf, base - slope * at + reach)
    return placed


@contextlib.contextmanager
def _no_banner() -> Iterator[None]:
    """HiGHS greets on standard output before it can be told not to; JSON for scripts goes there."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _run(program: _Program, limit_s: float) -> Exact:
    try:
        import highspy
    except ImportError:
        raise MissingRequirement("highspy is not installed.", "Install it: pip install 'ghostdesk[bench]'.") from None
    with _no_banner():
        solver = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("time_limit", limit_s)
    solver.setOptionValue("mip_rel_gap", 1e-4)
    solver.setOptionValue("threads", 1)
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(program.cost), len(program.rows)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = program.cost, program.lower, program.upper
    lp.row_lower_ = [row[2] for row in program.rows]
    lp.row_upper_ = [row[3] for row in program.rows]
    lp.sense_ = highspy.ObjSense.kMaximize
    kinds = highspy.HighsVarType
    lp.integrality_ = [kinds.kInteger if whole else kinds.kContinuous for whole in program.whole]
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.concatenate(([0], np.cumsum([len(row[0]) for row in program.rows])))
    lp.a_matrix_.index_ = np.concatenate([row[0] for row in program.rows])
    lp.a_matrix_.value_ = np.concatenate([row[1] for row in program.rows])
    solver.passModel(lp)
    solver.run()
    info = solver.getInfo()
    score, bound = float(info.objective_function_value), float(info.mip_dual_bound)
    return Exact(score, bound, bound - score <= 2e-4 * max(abs(bound), 1e-9))
