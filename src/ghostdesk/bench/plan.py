"""What planning costs, and how good plans are: large synthetic fleets timed, small ones held against the optimum."""

from __future__ import annotations

import resource
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ghostdesk.allocator.fleet.planner import plan_fleet
from ghostdesk.bench.plan_exact import exact_optimum
from ghostdesk.bench.plan_inputs import SHAPES, SMALL_USERS, large_fleet

TARGET_GAP = 0.02


@dataclass(frozen=True, slots=True)
class PlanCost:
    """Plans of one size.

    Args:
        users, hosts: how many, synthetic.
        planned_s: wall clock of each round; cpu_s: processor time of each.
        held: people who have a ghost in the plan; pooled: ghosts for anybody.
        gap: share of the Lagrangian bound that the plan's score falls short of.
        input_bytes: of the arrays given; peak_bytes: most that was allocated beside them while planning (a round of
            its own, as counting slows it down); resident_bytes: most that this process has held so far.
    """

    users: int
    hosts: int
    planned_s: tuple[float, ...]
    cpu_s: tuple[float, ...]
    held: int
    pooled: int
    gap: float
    input_bytes: int
    peak_bytes: int
    resident_bytes: int

    @property
    def median_s(self) -> float:
        """The middle one of the rounds."""
        return float(np.median(self.planned_s))


@dataclass(frozen=True, slots=True)
class ShapeGap:
    """How far plans for small synthetic fleets of one shape fall short of the optimum.

    Args:
        shape: what is scarce.
        gaps: of each fleet, against the bound that HiGHS proved; below zero by what it rounds.
        proven: how many optima were proven within the time given; the others' bounds are too high, and so their gaps.
        plan_s, exact_s: mean processor time of one plan, and wall clock of one optimum.
    """

    shape: str
    gaps: tuple[float, ...]
    proven: int
    plan_s: float
    exact_s: float

    @property
    def worst(self) -> float:
        """The largest gap."""
        return max(self.gaps)

    @property
    def p95(self) -> float:
        """The 95th percentile."""
        return float(np.quantile(self.gaps, 0.95))

    @property
    def mean(self) -> float:
        """The mean."""
        return float(np.mean(self.gaps))


def measure_cost(users: int, hosts: int, rounds: int, seed: int) -> PlanCost:
    """Plan one synthetic fleet `rounds` times, and once more to count memory."""
    people, places, pool = large_fleet(users, hosts, seed)
    arrays = (people.probability, people.value_per_s, people.cost, people.pool_share, people.held_rung)
    input_bytes = sum(array.nbytes for array in (*arrays, people.held_host, places.room))
    wall, cpu = [], []
    for _ in range(rounds):
        began, cpu_began = time.perf_counter(), time.process_time()
        plan = plan_fleet(people, places, pool)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - cpu_began)
    tracemalloc.start()
    plan = plan_fleet(people, places, pool)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    gap = 1.0 - plan.score / plan.bound if plan.bound > 0 else 0.0
    held, pooled = int((plan.rung >= 0).sum()), int(plan.pooled.sum())
    return PlanCost(users, hosts, tuple(wall), tuple(cpu), held, pooled, gap, input_bytes, peak, resident)


def growth(costs: Sequence[PlanCost]) -> float | None:
    """The exponent of time against users, fitted in logarithms: 1 is linear. None with fewer than two sizes."""
    if len({cost.users for cost in costs}) < 2:
        return None
    sizes, times = np.log([c.users for c in costs]), np.log([c.median_s for c in costs])
    return float(np.polyfit(sizes, times, 1)[0])


def measure_gaps(count: int, seed: int, limit_s: float, told: Callable[[str], None]) -> list[ShapeGap]:
    """Plans of `count` small synthetic fleets of every shape against their optima."""
    found = []
    for shape, make in SHAPES.items():
        gaps, proven, plan_s, exact_s = [], 0, 0.0, 0.0
        for number in range(count):
            told(f"{shape}: fleet {number + 1} of {count}")
            fleet = make(seed + number, SMALL_USERS)
            began = time.process_time()
            plan = plan_fleet(*fleet)
            plan_s += time.process_time() - began
            began = time.perf_counter()
            exact = exact_optimum(*fleet, limit_s=limit_s)
            exact_s += time.perf_counter() - began
            gaps.append(1.0 - plan.score / exact.bound if exact.bound > 0 else 0.0)
            proven += exact.proven
        found.append(ShapeGap(shape, tuple(gaps), proven, plan_s / count, exact_s / count))
    return found
