"""Which hosts are awake: enough for what is foreseen, no flapping, none asleep with a claimed desktop."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.allocator.energy_hosts import (
    FleetHost,
    FleetNeed,
    FleetRules,
    HostDeed,
    HostState,
    plan_hosts,
    with_wake,
)
from ghostdesk.allocator.energy_model import SERVER
from ghostdesk.allocator.lead_time import LeadTime
from ghostdesk.kernel.ids import HostId

RULES = FleetRules(min_awake=1, settle_s=600.0, min_on_s=1_800.0, spare_slots=2)
LONG_AGO_S = -1e6


def host(name: str, state: HostState = HostState.ON, *, claimed: int = 0, idle: int = 0, **other: object) -> FleetHost:
    given_too = {"since_s": LONG_AGO_S, "slots": 8, **other}
    return FleetHost(HostId(name), state, claimed=claimed, idle=idle, **given_too)  # type: ignore[arg-type]


def test_a_host_is_woken_for_starts_that_are_foreseen() -> None:
    fleet = [host("a", claimed=6), host("b", HostState.SUSPENDED), host("c", HostState.SUSPENDED)]
    plan = plan_hosts(fleet, FleetNeed(ghosts=2, room=5), 0.0, RULES)
    assert [(one.deed, one.host) for one in plan.actions] == [(HostDeed.WAKE, "b")]
    assert plan.actions[0].watts == SERVER.idle_w - SERVER.suspended_w
    assert "108 W" in plan.actions[0].reason.text
    assert not plan.infeasible


@given(st.floats(1.0, 600.0), st.floats(0.0, 1.5), st.floats(0.0, 600.0))
def test_a_wake_adds_to_the_lead_time_and_nothing_to_its_variance(mean_s: float, spread: float, wake_s: float) -> None:
    lead = LeadTime(mean_s, spread)
    whole = with_wake(lead, wake_s)
    assert whole.mean_s == pytest.approx(mean_s + wake_s)
    variances = [one.mean_s**2 * math.expm1(one.spread**2) for one in (lead, whole)]
    assert variances[1] == pytest.approx(variances[0], rel=1e-6, abs=1e-6)
    assert whole.spread <= lead.spread + 1e-9


def test_one_that_is_waking_counts_already() -> None:
    fleet = [host("a", claimed=6), host("b", HostState.WAKING), host("c", HostState.SUSPENDED)]
    assert not plan_hosts(fleet, FleetNeed(2, 5), 0.0, RULES).actions


def test_one_that_did_not_wake_is_left_alone_and_another_is_woken() -> None:
    fleet = [
        host("a", claimed=8),
        host("b", HostState.SUSPENDED, usable_from_s=300.0),
        host("c", HostState.SUSPENDED),
    ]
    plan = plan_hosts(fleet, FleetNeed(1, 3), 0.0, RULES)
    assert [one.host for one in plan.actions] == ["c"]


def test_what_no_host_can_hold_is_said() -> None:
    fleet = [host("a", claimed=8), host("b", HostState.SUSPENDED, usable_from_s=300.0)]
    plan = plan_hosts(fleet, FleetNeed(1, 3), 0.0, RULES)
    assert not plan.actions
    assert "did not wake" in plan.infeasible[0].reason.text


def test_a_host_that_is_emptied_is_kept_before_another_is_woken() -> None:
    fleet = [host("a", claimed=8), host("b", claimed=1, draining=True), host("c", HostState.SUSPENDED)]
    plan = plan_hosts(fleet, FleetNeed(1, 3), 0.0, RULES)
    assert [(one.deed, one.host) for one in plan.actions] == [(HostDeed.KEEP, "b")]


def test_a_host_is_emptied_only_after_room_was_to_spare_for_a_while() -> None:
    fleet, need = [host("a", claimed=2), host("b")], FleetNeed(1, 2)
    first = plan_hosts(fleet, need, 0.0, RULES)
    assert not first.actions
    assert first.spare_since_s == 0.0
    assert first.checked_s == 600.0
    later = plan_hosts(fleet, need, 599.0, RULES, first.spare_since_s)
    assert not later.actions
    settled = plan_hosts(fleet, need, 600.0, RULES, later.spare_since_s)
    assert [(one.deed, one.host) for one in settled.actions] == [(HostDeed.DRAIN, "b")]


def test_room_that_was_needed_in_between_starts_the_wait_anew() -> None:
    fleet = [host("a", claimed=2), host("b")]
    first = plan_hosts(fleet, FleetNeed(1, 2), 0.0, RULES)
    assert plan_hosts(fleet, FleetNeed(1, 6), 300.0, RULES, first.spare_since_s).spare_since_s is None


def test_the_wait_is_never_shorter_than_a_sleep_has_to_last() -> None:
    slow = replace(SERVER, wake_time_s=2_000.0)
    fleet = [host("a", claimed=2, model=slow), host("b", model=slow)]
    plan = plan_hosts(fleet, FleetNeed(1, 2), 700.0, RULES, 0.0)
    assert not plan.actions
    assert plan.checked_s == pytest.approx(slow.break_even_s)


def test_a_host_stays_awake_for_its_minimum_time() -> None:
    fleet = [host("a", claimed=2), host("b", since_s=0.0)]
    plan = plan_hosts(fleet, FleetNeed(1, 2), 700.0, RULES, 0.0)
    assert not plan.actions
    assert plan.checked_s == 1_800.0


def test_an_emptied_host_is_suspended_with_its_watts_and_what_a_wake_costs() -> None:
    plan = plan_hosts([host("a", claimed=2), host("b", draining=True)], FleetNeed(1, 2), 0.0, RULES)
    assert [(one.deed, one.watts) for one in plan.actions] == [(HostDeed.SUSPEND, -108.0)]
    assert "12 W instead of 120 W" in plan.actions[0].reason.text


def test_the_last_host_stays_awake() -> None:
    kept = plan_hosts([host("a", draining=True)], FleetNeed(0, 0), 0.0, RULES)
    assert [one.deed for one in kept.actions] == [HostDeed.KEEP]


def test_claimed_desktops_are_moved_only_where_that_is_allowed_and_fits() -> None:
    fleet = [host("a", claimed=5), host("b", claimed=2)]
    assert not plan_hosts(fleet, FleetNeed(1, 1), 600.0, replace(RULES, moves=True), 0.0).actions
    assert plan_hosts(fleet, FleetNeed(0, 0), 600.0, replace(RULES, moves=True, spare_slots=1), 0.0).actions


states = st.sampled_from(HostState)
hosts = st.lists(
    st.builds(
        lambda state, since_s, claimed, idle, draining: (state, since_s, claimed, idle, draining),
        states, st.floats(-5_000.0, 0.0), st.integers(0, 8), st.integers(0, 4), st.booleans(),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@given(hosts, st.integers(0, 30), st.integers(0, 30), st.none() | st.floats(-9_000.0, 0.0), st.booleans())
@settings(max_examples=200, deadline=None)
def test_whatever_the_fleet_nothing_claimed_is_suspended_and_each_host_is_told_one_thing(
    told: list[tuple[HostState, float, int, int, bool]], ghosts: int, room: int, since_s: float | None, moves: bool
) -> None:
    fleet = [
        host(str(k), state, claimed=c, idle=i, since_s=s, draining=d) for k, (state, s, c, i, d) in enumerate(told)
    ]
    by_name = {one.host: one for one in fleet}
    plan = plan_hosts(fleet, FleetNeed(ghosts, room), 0.0, replace(RULES, moves=moves), since_s)
    assert len({one.host for one in plan.actions}) == len(plan.actions)
    woken = 0
    for action in plan.actions:
        one = by_name[action.host]
        assert action.reason.text
        if action.deed is HostDeed.SUSPEND:
            assert one.claimed == one.idle == 0
            assert one.state is HostState.ON
        if action.deed in (HostDeed.WAKE, HostDeed.KEEP):
            woken += one.room
    serving = [h for h in fleet if h.state in (HostState.ON, HostState.WAKING) and not h.draining]
    had = sum(h.room for h in serving)
    drained = sum(by_name[a.host].room for a in plan.actions if a.deed is HostDeed.DRAIN)
    need = max(ghosts, room)
    assert had + woken - drained >= need or plan.infeasible  # what is foreseen fits, or it is said
    assert plan.checked_s >= 0.0 or math.isinf(plan.checked_s)


def test_a_fleet_does_not_flap_while_demand_wavers() -> None:
    """A day of demand that wavers by one host's room every few minutes: hosts are woken a few times, not hundreds."""
    rng = random.Random(5)
    fleet = {name: host(name, since_s=0.0) for name in "abcd"}
    spare_since_s, wakes = None, 0
    for minute in range(1_440):
        now_s = 60.0 * minute
        need = FleetNeed(2, rng.choice((6, 15)))
        plan = plan_hosts(list(fleet.values()), need, now_s, RULES, spare_since_s)
        spare_since_s = plan.spare_since_s
        for action in plan.actions:
            one = fleet[action.host]
            if action.deed is HostDeed.WAKE:
                wakes += 1
                fleet[action.host] = replace(one, state=HostState.ON, since_s=now_s)
            elif action.deed is HostDeed.SUSPEND:
                fleet[action.host] = replace(one, state=HostState.SUSPENDED, since_s=now_s, draining=False)
            else:
                fleet[action.host] = replace(one, draining=action.deed is HostDeed.DRAIN)
    assert wakes <= 5
    assert sum(one.state is HostState.SUSPENDED for one in fleet.values()) >= 1
