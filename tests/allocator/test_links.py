"""Lines to browsers judged: width decides what is done ahead, and a slow one lowers a ghost's wish for network."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.allocator.links import DEFAULT_LINK_RULES, judge, network_wish
from ghostdesk.allocator.plan import Context, PlanRequest, PoolPolicy
from ghostdesk.allocator.planner import ResourceAllocator
from ghostdesk.ghosts.events import ResizeRequested
from ghostdesk.ghosts.ghost import DesktopTemplate, Ghost, GhostState
from ghostdesk.kernel.conditions import ClientLink
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import GIB, Priority, Resources
from ghostdesk.profiles.forecast import ArrivalCurve, UsageCurve

ALICE = UserId("alice")
SLOW = ClientLink(0.0, 0.4, 0.3, 90e3)
FAST = ClientLink(0.0, 0.02, 0.02, 5e6)
TEMPLATE = DesktopTemplate(TemplateId("generic"))


@pytest.mark.parametrize(
    ("link", "quality", "words"),
    [
        (SLOW, "slow", "round trip 300 ms, 0.09 MB/s"),
        (FAST, "good", "round trip 20 ms, 5 MB/s"),
        (replace(FAST, rtt_s=0.3, rtt_best_s=0.25), "far", "round trip 250 ms, 5 MB/s"),
        (replace(SLOW, bytes_per_s=None, rtt_s=0.9), "far", "round trip 300 ms, 900 ms at present"),
        (ClientLink(0.0, 0.01, 0.01), "good", "round trip 10 ms"),
    ],
)
def test_a_line_is_judged_by_what_it_carries(link: ClientLink, quality: str, words: str) -> None:
    verdict = judge(link)
    assert (verdict.quality, verdict.text) == (quality, words)


@given(st.floats(0.0, 1e9), st.floats(1e3, 1e9), st.floats(0.0, 1e9))
def test_a_wish_for_network_is_never_below_the_least_nor_above_what_it_was(
    line: float, wish: float, least: float
) -> None:
    limits, floor = Resources(network_bytes_per_s=wish, memory_bytes=7.0), Resources(network_bytes_per_s=least)
    found = network_wish(limits, floor, replace(SLOW, bytes_per_s=line), DEFAULT_LINK_RULES)
    assert min(wish, least) <= found.network_bytes_per_s <= wish
    assert found.memory_bytes == 7.0
    if line >= DEFAULT_LINK_RULES.least_bytes_per_s:
        assert found == limits


def plan_for(link: ClientLink | None, ghost: Ghost) -> PlanRequest:
    policy = PoolPolicy(
        TEMPLATE, floor=0, ghost_limits=Resources(network_bytes_per_s=100e3), active_limits=Resources(), soon_s=600.0
    )
    curve = UsageCurve(ALICE, 0.0, 600.0, (0.9,), (0.9,), resources=Resources(network_bytes_per_s=20e6))
    context = Context(
        Resources(8.0, 64.0 * GIB, network_bytes_per_s=125e6), links={} if link is None else {ALICE: link}
    )
    return PlanRequest(0.0, (ghost,), {ALICE: curve}, ArrivalCurve(0.0, 3600.0, (0.0,)), policy, context)


def resized(request: PlanRequest) -> list[ResizeRequested]:
    plan = ResourceAllocator().plan(request)
    return [action.event for action in plan.actions if isinstance(action.event, ResizeRequested)]


def test_a_slow_line_lowers_the_wish_of_a_ghost_that_waits_and_the_plan_says_so() -> None:
    warm = Ghost(GhostId("a"), TEMPLATE.template, GhostState.WARM, ALICE, limits=Resources(network_bytes_per_s=100e3))
    (usual,) = resized(plan_for(FAST, warm))
    (slim,) = resized(plan_for(SLOW, warm))
    assert usual.limits.network_bytes_per_s > 1e6
    assert slim.limits.network_bytes_per_s == 2 * 90e3 and "slow line" in slim.reason
    (note,) = ResourceAllocator().plan(plan_for(SLOW, warm)).notes
    assert note.code == "slow-line" and "alice's line is slow (round trip 300 ms" in note.text
    assert ResourceAllocator().plan(plan_for(FAST, warm)).notes == ()


def test_a_desktop_in_use_keeps_all_its_network() -> None:
    active = Ghost(GhostId("a"), TEMPLATE.template, GhostState.ACTIVE, ALICE, priority=Priority.PERSON)
    assert resized(plan_for(SLOW, active)) == []
    assert ResourceAllocator().plan(plan_for(SLOW, active)).notes == ()
