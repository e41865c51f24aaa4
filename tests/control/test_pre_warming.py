"""Pre-warming in steps by the real loop, in virtual time: up as somebody becomes likelier, down as they do not come."""

from pathlib import Path

import pytest
from control_world import World

from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import Priority, Resources

ALICE = UserId("alice")


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, floor=1, ceiling=5)
    world.forecast.arrival, world.forecast.apps = {ALICE: 0.0}, {ALICE: ("editor",)}
    return world


async def _at(world: World, probability: float) -> GhostState:
    world.forecast.arrival[ALICE] = probability
    await world.pass_time(60)
    ghost = world.manager.of_user(ALICE)
    return GhostState.ABSENT if ghost is None else ghost.state


async def test_up_the_ladder_and_down_again(world: World) -> None:
    assert await _at(world, 0.005) is GhostState.ABSENT
    assert not world.loop.plan.prefetch
    assert await _at(world, 0.05) is GhostState.ABSENT
    assert [wish.user for wish in world.loop.plan.prefetch] == [ALICE]
    assert await _at(world, 0.2) is GhostState.PARKED
    ghost = world.manager.of_user(ALICE)
    assert ghost is not None and ghost.apps == ("editor",)
    assert world.host.desktops[ghost.ghost].reclaimed
    assert await _at(world, 0.5) is GhostState.WARM
    assert not world.host.desktops[ghost.ghost].reclaimed
    assert "warm pays from 30%" in ghost.reason or "warm pays from 30%" in world.manager.get(ghost.ghost).reason
    assert await _at(world, 0.2) is GhostState.PARKED, "down again, and the applications stay"
    world.close()


async def test_a_wavering_probability_makes_nothing_flap(world: World) -> None:
    assert await _at(world, 0.31) is GhostState.WARM
    changes = len(world.loop.recent)
    for probability in (0.29, 0.31, 0.26, 0.33, 0.25):
        assert await _at(world, probability) is GhostState.WARM
    assert len(world.loop.recent) == changes
    world.close()


async def test_a_parked_desktop_is_handed_over_with_all_its_limits_lifted(world: World) -> None:
    await _at(world, 0.2)
    handle = await world.clock.run(world.plane.open_desktop(ALICE))
    assert handle.path == "parked"
    ghost = world.manager.get(handle.ghost)
    assert (ghost.limits, ghost.priority) == (Resources(memory_bytes=4e9), Priority.PERSON)
    assert world.host.desktops[handle.ghost].limits == ghost.limits
    assert not world.host.desktops[handle.ghost].frozen
    world.close()


async def test_after_a_restart_a_desktop_in_use_gets_all_it_may_use_at_the_next_tick(world: World) -> None:
    handle = await world.clock.run(world.plane.open_desktop(ALICE))
    await world.pass_time(10)
    await world.crash_and_restart()
    assert world.manager.get(handle.ghost).limits == Resources(), "nobody knows what it was told"
    world.host.desktops[handle.ghost].limits = Resources(memory_bytes=1e9)
    await world.pass_time(10)
    assert world.host.desktops[handle.ghost].limits == Resources(memory_bytes=4e9)
    assert world.manager.get(handle.ghost).priority is Priority.PERSON
    world.close()


async def test_a_launch_lifts_limits_that_were_lost_without_waiting_for_a_tick(world: World) -> None:
    handle = await world.clock.run(world.plane.open_desktop(ALICE))
    await world.pass_time(10)
    await world.crash_and_restart()
    await world.clock.run(world.plane.launch(ALICE, AppId("editor")))
    await world.clock.run_until(world.clock.now_s() + 1.0)
    assert world.manager.get(handle.ghost).limits == Resources(memory_bytes=4e9)
    assert world.manager.get(handle.ghost).priority is Priority.PERSON
    world.close()
