"""Plans against the exact optimum that HiGHS proves, on a fixed small fleet of every shape."""

import pytest

from ghostdesk.allocator.fleet.planner import plan_fleet
from ghostdesk.bench.plan_exact import exact_optimum
from ghostdesk.bench.plan_inputs import SHAPES, SMALL_USERS

pytest.importorskip("highspy", reason="needs the extra bench (highspy)")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_plan_is_within_two_per_cent_of_the_optimum(shape: str) -> None:
    fleet = SHAPES[shape](0, SMALL_USERS)
    exact = exact_optimum(*fleet, limit_s=15.0)
    plan = plan_fleet(*fleet)
    assert plan.score <= exact.bound * (1 + 1e-3), "no plan is better than the best"
    assert exact.score <= plan.bound * (1 + 1e-3), "the plan's own bound holds"
    assert exact.score > 0
    assert plan.score >= 0.98 * exact.score
