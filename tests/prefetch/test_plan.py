"""What to load first, and never more than there is room and time for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import MIB
from ghostdesk.prefetch.launch_set import LaunchSet, TouchedFile
from ghostdesk.prefetch.plan import RESIDENT_ENOUGH, AppChance, LoadLimits, PrefetchWish, chances_of, plan_prefetch

ADA, BOB = UserId("ada"), UserId("bob")
A, B, C = AppId("a"), AppId("b"), AppId("c")
FREE = LoadLimits()


def launch_set(app: AppId, mib: float, saved_s: float | None = 1.0) -> LaunchSet:
    size = int(mib * MIB)
    return LaunchSet(app, 1, 0.0, (TouchedFile(f"/usr/bin/{app}", size, 1, ((0, size),)),), seconds_saved=saved_s)


def chance(app: AppId, probability: float, people: int = 1) -> AppChance:
    return AppChance(app, probability, ADA, people, "ada is due")


def wish(probability: float, *apps: AppId, user: UserId = ADA) -> PrefetchWish:
    return PrefetchWish(apps, user, probability, 1e9, f"{user} is due")


def test_people_who_may_start_the_same_application_add_up() -> None:
    found = chances_of([wish(0.5, A, B), wish(0.6, A, A, user=BOB)])
    assert [each.app for each in found] == [A, B]
    assert found[0].probability == pytest.approx(0.8)
    assert (found[0].user, found[0].people, found[0].why) == (BOB, 2, "bob is due")
    assert (found[1].probability, found[1].people) == (0.5, 1)
    assert chances_of([]) == ()


def test_what_saves_most_for_a_byte_comes_first() -> None:
    sets = {A: launch_set(A, 100, 1.0), B: launch_set(B, 10, 1.0), C: launch_set(C, 10, 5.0)}
    plan = plan_prefetch([chance(A, 0.9), chance(B, 0.9), chance(C, 0.2)], sets, {}, 1e9, FREE, 600.0)
    assert [w.apps for w in plan] == [(C,), (B,), (A,)]
    assert "ada is due" in plan[0].reason and "10 MiB are missing, some 5.0 s" in plan[0].reason


def test_what_is_there_or_unknown_is_left_out() -> None:
    sets = {A: launch_set(A, 10), B: launch_set(B, 10)}
    chances = [chance(A, 0.9), chance(B, 0.9), chance(C, 0.9)]
    assert [w.apps for w in plan_prefetch(chances, sets, {A: 0.99, B: 0.5}, 1e9, FREE, 600.0)] == [(B,)]
    assert plan_prefetch([chance(A, 0.0)], sets, {}, 1e9, FREE, 600.0) == ()


def test_an_application_that_does_not_fit_makes_way_for_one_that_does() -> None:
    sets = {A: launch_set(A, 100, 100.0), B: launch_set(B, 10, 0.1)}
    plan = plan_prefetch([chance(A, 0.9), chance(B, 0.9)], sets, {}, 40 * MIB, FREE, 600.0)
    assert [w.apps for w in plan] == [(B,)]
    plan = plan_prefetch([chance(A, 0.9), chance(B, 0.9)], sets, {}, 60 * MIB, FREE, 600.0)
    assert [(w.apps, w.budget_bytes) for w in plan] == [((A,), 60 * MIB)], "the first half is worth having"


def test_a_slow_rate_bounds_what_can_be_there_in_time() -> None:
    sets = {A: launch_set(A, 100)}
    slow = LoadLimits(bytes_per_s=MIB)
    assert plan_prefetch([chance(A, 0.9)], sets, {}, 1e9, slow, 40.0) == ()
    assert len(plan_prefetch([chance(A, 0.9)], sets, {}, 1e9, slow, 100.0)) == 1


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0.01, 300), st.none() | st.floats(0, 20), st.floats(0, 1)), max_size=8
    ),
    st.floats(0, 500),
    st.floats(0, 5),
)
def test_the_budget_holds_whatever_is_wished(
    rows: list[tuple[float, float, float | None, float]], budget_mib: float, rate_mib: float
) -> None:
    apps = [AppId(f"app{n}") for n in range(len(rows))]
    sets = {app: launch_set(app, row[1], row[2]) for app, row in zip(apps, rows, strict=True)}
    resident = {app: row[3] for app, row in zip(apps, rows, strict=True)}
    chances = [chance(app, row[0]) for app, row in zip(apps, rows, strict=True)]
    limits = LoadLimits(bytes_per_s=rate_mib * MIB)
    plan = plan_prefetch(chances, sets, resident, budget_mib * MIB, limits, 60.0)
    missing = {app: sets[app].bytes_total * (1 - resident[app]) for app in apps}
    taken = sum(min(missing[w.apps[0]], w.budget_bytes) for w in plan)
    assert taken <= budget_mib * MIB + 1
    assert rate_mib == 0 or taken <= rate_mib * MIB * 60 + 1
    assert len({w.apps for w in plan}) == len(plan)
    assert all(resident[w.apps[0]] <= RESIDENT_ENOUGH and w.probability > 0 for w in plan)
    assert plan == plan_prefetch(chances[::-1], sets, resident, budget_mib * MIB, limits, 60.0)
