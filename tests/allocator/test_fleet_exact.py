"""Plans against the exact optimum that HiGHS proves, on fixed small fleets of every shape."""

import pytest

from ghostdesk.allocator.fleet import plan_fleet
from ghostdesk.bench.plan_exact import exact_optimum
from ghostdesk.bench.plan_inputs import SHAPES

pytest.importorskip("highspy", reason="needs the extra bench (highspy)")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_plan_is_within_two_per_cent_of_the_optimum(shape: str) -> None:
    proven = 0
    for seed in range(1000, 1004):
        fleet = SHAPES[shape](seed, 12)
        exact = exact_optimum(*fleet, limit_s=30.0)
        plan = plan_fleet(*fleet)
        proven += exact.proven
        assert plan.score <= exact.bound * (1 + 1e-3), "no plan is better than the best"
        assert exact.score <= plan.bound * (1 + 1e-3), "the plan's own bound holds"
        assert plan.score >= 0.98 * exact.score
    assert proven >= 2, "most optima were proven, so that there was something to be held against"
