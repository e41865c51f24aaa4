"""Limits follow the rung and the chance; they never exceed what the user will get, and small changes are left alone."""

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given

from ghostdesk.allocator.limits import full_limits, material, waiting_limits, wanted_limits
from ghostdesk.allocator.plan import PoolPolicy
from ghostdesk.ghosts.ghost import DesktopTemplate, Ghost, GhostState
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import Priority, Resources
from ghostdesk.profiles.forecast import UsageCurve

TEMPLATE = DesktopTemplate(TemplateId("generic"))
LEAST = Resources(0.5, 1e9, 0.0, 5e6, 20e6)
POLICY = PoolPolicy(TEMPLATE, ghost_limits=LEAST, active_limits=Resources(4.0, 6e9))
FULL = full_limits(POLICY.active_limits, Resources(8.0, 32e9, 0.0, 125e6, 500e6))
GHOST = Ghost(GhostId("a"), TEMPLATE.template, GhostState.WARM, UserId("alice"), limits=LEAST)


def _curve(chance: float, need: Resources) -> UsageCurve:
    return UsageCurve(UserId("alice"), 0.0, 180.0, (chance,), (chance,), resources=need, high=need)


def test_a_ghost_may_use_what_its_user_will_need_shortly_before_they_come() -> None:
    need = Resources(2.0, 3e9, 0.0, 40e6, 0.0)
    near, why = waiting_limits(POLICY, replace(GHOST, apps=()), _curve(1.0, need), FULL)
    assert near.cpu_cores == 2.5 and near.network_bytes_per_s == 50e6, "with a quarter of room, on the grain"
    assert near.storage_bytes_per_s == LEAST.storage_bytes_per_s, "never less than every ghost may use"
    assert "100% likely to come within 3 min" in why
    assert waiting_limits(POLICY, GHOST, _curve(0.2, need), FULL)[0] == LEAST
    assert waiting_limits(POLICY, GHOST, None, FULL)[0] == LEAST
    half, _ = waiting_limits(POLICY, GHOST, _curve(0.5, need), FULL)
    assert LEAST.cpu_cores < half.cpu_cores < near.cpu_cores, "in proportion to the chance"


def test_a_desktop_in_use_gets_everything_that_it_may_use() -> None:
    active = replace(GHOST, state=GhostState.ACTIVE)
    assert wanted_limits(POLICY, active, None, FULL)[:2] == (FULL, Priority.PERSON)
    assert FULL.memory_bytes == 6e9 and FULL.cpu_cores == 4.0
    assert full_limits(Resources(64.0, 1e12), Resources(8.0, 32e9)) == Resources(8.0, 32e9), "cut to the machine"


def test_memory_is_not_taken_back_from_a_ghost_that_waits() -> None:
    had = replace(GHOST, limits=replace(LEAST, memory_bytes=4e9))
    assert waiting_limits(POLICY, had, None, FULL)[0].memory_bytes == 4e9


AMOUNTS = st.builds(Resources, *(st.one_of(st.just(0.0), st.floats(0.001, 1e12)) for _ in range(5)))


@given(AMOUNTS, st.floats(0, 1), AMOUNTS)
def test_a_ghosts_limits_lie_between_the_least_and_what_its_user_gets(
    need: Resources, chance: float, granted: Resources
) -> None:
    full = full_limits(granted, Resources(8.0, 32e9, 1.0, 125e6, 500e6))
    limits, why = waiting_limits(POLICY, GHOST, _curve(chance, need), full)
    assert why
    for least, limit, most in zip(LEAST.as_tuple(), limits.as_tuple(), full.as_tuple(), strict=True):
        assert (limit == 0.0) == (least == 0.0), "what is not limited stays so, and the other way round"
        assert limit >= min(least, most or least)
        assert limit <= max(least, most or limit)


@given(AMOUNTS)
def test_only_changes_worth_a_call_are_material(one: Resources) -> None:
    assert not material(one, one)
    assert not material(one, one.scaled(1.1))
    assert material(one, one.scaled(2.0)) == any(one.as_tuple())
