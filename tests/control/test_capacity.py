"""Quotas and booked classes under the real loop, in virtual time, on the simulated engine."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from control_world import START_S, World

from ghostdesk.allocator.bookings import Booking, BookingLead
from ghostdesk.allocator.capacity import CapacityRules
from ghostdesk.allocator.quotas import GhostQuota, Quota, Quotas
from ghostdesk.engines.simulated import SimulatedHost
from ghostdesk.engines.virtual_time import QueueClock
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.kernel.errors import InsufficientCapacity, QuotaReached
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.kernel.resources import GIB, MIB, Resources

CLASS_S = START_S + 3600.0
PUPILS = tuple(UserId(f"pupil{n}") for n in range(6))
EVE, OLA = UserId("eve"), UserId("ola")
WHERE = dict.fromkeys(PUPILS, "physics")
PHYSICS = Booking("physics 2b", CLASS_S, CLASS_S + 3600.0, 6, department="physics", number=1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, floor=1, ceiling=10)
    yield made
    made.close()


def _rules(*bookings: Booking, **quotas: object) -> CapacityRules:
    return CapacityRules(quotas=Quotas(**quotas), departments=WHERE, bookings=bookings)  # type: ignore[arg-type]


async def _open(world: World, user: UserId) -> str:
    return (await world.clock.run(world.plane.open_desktop(user))).path


def _ready(world: World) -> int:
    return sum(g.state is GhostState.READY and g.owner is None and g.pending is None for g in world.manager)


async def test_a_booked_class_finds_its_desktops_ready_and_they_are_let_go_after_it(world: World) -> None:
    world.rules = _rules(PHYSICS)
    await world.pass_time(3000, 60.0)
    assert _ready(world) == 1, "an hour before, the pool alone is held"
    await world.pass_time(600, 15.0)
    assert _ready(world) == 7, "at the start all six are ready beside the pool's own"
    paths = [await _open(world, pupil) for pupil in PUPILS[:4]]
    assert paths == ["ready"] * 4, "nobody waits"
    await world.pass_time(60)
    assert _ready(world) == 3, "two are held for those who are late"
    status = world.plane.status()
    (booking,) = status.capacity.bookings
    assert (booking.state, booking.taken, booking.left) == ("running", 4, 2)
    await world.pass_time(3600, 15.0)
    assert _ready(world) == 1
    assert sum(g.state is GhostState.ACTIVE for g in world.manager) == 4, "nobody is thrown out"


async def test_people_of_the_class_come_first_and_others_get_a_desktop_of_their_own(world: World) -> None:
    world.rules = _rules(PHYSICS)
    await world.pass_time(3600, 15.0)
    assert await _open(world, EVE) == "ready", "the pool's own"
    assert await _open(world, OLA) == "built", "what is left is the class's: one is built for her"
    assert [await _open(world, pupil) for pupil in PUPILS] == ["ready"] * 6


async def test_at_the_ceiling_what_is_booked_is_kept_and_who_is_refused_is_told_why(tmp_path: Path) -> None:
    world = World(tmp_path, floor=0, ceiling=6)
    world.rules = _rules(PHYSICS)
    await world.pass_time(3600, 15.0)
    with pytest.raises(InsufficientCapacity, match="booked for a class"):
        await _open(world, EVE)
    assert [await _open(world, pupil) for pupil in PUPILS] == ["ready"] * 6
    world.close()


async def test_who_comes_too_late_shares_what_was_held_with_everybody(tmp_path: Path) -> None:
    world = World(tmp_path, floor=0, ceiling=6)
    world.rules = replace(_rules(PHYSICS), lead=BookingLead(hold_s=600.0))
    await world.pass_time(3600 + 700, 15.0)
    assert await _open(world, EVE) == "ready"
    world.close()


async def test_named_people_find_their_applications_warm(world: World) -> None:
    exam = Booking("exam", CLASS_S, CLASS_S + 600, 2, users=frozenset(PUPILS[:2]), apps=(AppId("writer"),), number=2)
    world.rules = _rules(exam)
    world.forecast.arrival = dict.fromkeys(PUPILS[:2], 0.0)
    await world.pass_time(3600, 15.0)
    for pupil in PUPILS[:2]:
        ghost = world.manager.of_user(pupil)
        assert ghost is not None and (ghost.state, ghost.apps) == (GhostState.WARM, ("writer",))
        assert await _open(world, pupil) == "warm"


async def test_a_booking_that_the_host_has_no_room_for_is_told_with_its_shortage(tmp_path: Path) -> None:
    world = World(tmp_path, floor=0, ceiling=4)
    world.rules = _rules(PHYSICS)
    await world.pass_time(60)
    (entry,) = world.plane.status().infeasible
    assert (entry.action, entry.resource, entry.asked, entry.free) == ("6 desktops for physics 2b", "desktops", 6, 4)
    await world.pass_time(3540, 15.0)
    assert _ready(world) == 4, "as many as there can be"
    assert [e.action for e in world.plane.status().infeasible].count("6 desktops for physics 2b") == 1
    world.close()


async def test_a_department_at_its_quota_is_refused_with_cause_and_mend_and_others_are_not(world: World) -> None:
    world.rules = _rules(departments={"physics": Quota(desktops=2)})
    await world.pass_time(60)
    for pupil in PUPILS[:2]:
        await _open(world, pupil)
    with pytest.raises(QuotaReached, match="The 2 desktops that physics may have are in use") as caught:
        await _open(world, PUPILS[2])
    assert "raise the quota" in caught.value.mend
    assert world.clock.now_s() - START_S < 70, "at once, not after a wait"
    await _open(world, EVE)
    await _open(world, PUPILS[0])  # theirs already: never refused
    (entry,) = world.plane.status().infeasible
    assert (entry.action, entry.code) == ("a desktop for pupil2", "department-quota")
    await world.clock.run(world.plane.end_session(PUPILS[0]))
    await _open(world, PUPILS[2])
    world.plane._forget(PUPILS[2])
    assert world.plane.status().infeasible == (), "who deletes their data is not listed any more"


async def test_two_of_a_department_in_the_same_moment_do_not_both_get_its_last_desktop(world: World) -> None:
    world.rules = _rules(departments={"physics": Quota(desktops=1)})

    async def rush() -> list[object]:
        return await asyncio.gather(*(world.plane.open_desktop(p) for p in PUPILS[:3]), return_exceptions=True)

    found = await world.clock.run(rush())
    assert sum(isinstance(one, QuotaReached) for one in found) == 2
    assert sum(g.state is GhostState.ACTIVE for g in world.manager) == 1


async def test_a_quota_lowered_under_use_throws_nobody_out_and_refuses_new_wishes(world: World) -> None:
    world.rules = _rules(departments={"physics": Quota(desktops=4, most=Resources(memory_bytes=16e9))})
    await world.pass_time(60)
    for pupil in PUPILS[:3]:
        await _open(world, pupil)
    world.rules = _rules(departments={"physics": Quota(desktops=1, most=Resources(memory_bytes=1e9))})
    await world.pass_time(600, 15.0)
    active = [g for g in world.manager if g.state is GhostState.ACTIVE]
    assert len(active) == 3 and all(g.limits.memory_bytes == 4e9 for g in active)
    with pytest.raises(QuotaReached):
        await _open(world, PUPILS[3])
    assert "a desktop for pupil3" in {e.action for e in world.plane.status().infeasible}


async def test_a_persons_quota_reaches_the_engine_and_stays(world: World) -> None:
    world.rules = _rules(people={EVE: Quota(most=Resources(cpu_cores=2.0, memory_bytes=3e9))})
    await world.pass_time(60)
    await _open(world, EVE)
    await world.pass_time(60)
    ghost = world.manager.of_user(EVE)
    assert ghost is not None
    assert world.host.desktops[ghost.ghost].limits == Resources(cpu_cores=2.0, memory_bytes=3e9)
    reasons = {(e.action, e.resource, e.free) for e in world.plane.status().infeasible}
    assert reasons == {("full CPU for eve", "cpu_cores", 2.0), ("full memory for eve", "memory_bytes", 3e9)}


async def test_ghosts_keep_to_their_quota_while_people_come_and_go(tmp_path: Path) -> None:
    world = World(tmp_path, floor=4, ceiling=10)
    world.rules = _rules(ghosts=GhostQuota(desktops=2))
    for pupil in PUPILS:
        await world.pass_time(30)
        assert sum(g.state is not GhostState.ACTIVE for g in world.manager) <= 2
        assert await _open(world, pupil) in ("ready", "built")
    codes = {entry.code for entry in world.plane.status().infeasible}
    assert "ghost-quota" in codes
    world.close()


async def test_people_are_never_refused_because_of_ghosts_at_the_ceiling(tmp_path: Path) -> None:
    world = World(tmp_path, floor=5, ceiling=6)
    world.rules = _rules()
    world.forecast.arrival = dict.fromkeys(PUPILS, 0.9)
    await world.pass_time(120)
    others = [UserId(f"other{n}") for n in range(6)]
    for user in others:
        await _open(world, user)
        await world.clock.run(world.loop.tick())  # warming of others goes on between two that come
    assert sum(g.state is GhostState.ACTIVE for g in world.manager) == 6
    world.close()


async def test_people_are_never_refused_because_ghosts_hold_the_memory(tmp_path: Path) -> None:
    clock = QueueClock(START_S)
    host = SimulatedHost(clock, seed=1, capacity=Resources(cpu_cores=8.0, memory_bytes=220.0 * MIB))
    world = World(tmp_path, host=host, floor=5, ceiling=8, ghost_memory_bytes=1e6)
    rules = _rules()
    world.rules = replace(rules, desktop=replace(rules.desktop, memory_bytes=1e6))
    await world.pass_time(120)
    ghosts = [GhostId(g.ghost) for g in world.manager]
    assert len(ghosts) == 5, "the host is full of ghosts"
    for ghost in ghosts:  # each belongs to somebody who has not come
        await world.clock.run(world.plane.prepare_desktop(UserId(f"late-{ghost}")))
    await world.clock.run_until(clock.now_s() + 5)
    assert await _open(world, EVE) == "built"
    world.close()


async def test_the_status_tells_what_is_promised_and_to_whom(world: World) -> None:
    world.rules = _rules(PHYSICS)
    await world.pass_time(60)
    await _open(world, EVE)
    await world.pass_time(10)
    capacity = world.plane.status().capacity
    memory = next(room for room in capacity.rooms if room.resource == "memory_bytes")
    assert memory.allowed == 0.8 * 32 * GIB
    assert (memory.people, memory.ghosts) == (500e6, 250e6)
    assert (capacity.desktops, capacity.ghosts, capacity.most_desktops) == (2, 1, 10)
    (booking,) = capacity.bookings
    assert (booking.state, booking.whose, booking.left) == ("booked", "physics", 6)
