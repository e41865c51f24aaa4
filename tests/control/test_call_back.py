"""Parked desktops: pages come back as soon as the person is at the door, and no claim waits for the last of them."""

from pathlib import Path

import pytest
from control_world import World

from ghostdesk.engines.simulated_host import Duration
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.ids import AppId, UserId

ALICE = UserId("alice")


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, floor=1, ceiling=5)
    world.forecast.arrival, world.forecast.apps = {ALICE: 0.2}, {ALICE: ("editor",)}
    return world


async def parked(world: World) -> Ghost:
    await world.pass_time(60)
    ghost = world.manager.of_user(ALICE)
    assert ghost is not None and ghost.state is GhostState.PARKED
    assert world.host.desktops[ghost.ghost].reclaimed
    return ghost


async def test_the_page_is_opened_and_the_pages_come_back_before_the_next_tick(world: World) -> None:
    ghost = await parked(world)
    await world.clock.run(world.loop.prepare(ALICE))
    await world.clock.run(world.executor.settle())
    assert not world.host.desktops[ghost.ghost].reclaimed
    assert world.manager.get(ghost.ghost).state is GhostState.WARM
    assert world.manager.get(ghost.ghost).apps == (AppId("editor"),)
    world.close()


async def test_a_claim_waits_for_no_page(world: World) -> None:
    ghost = await parked(world)
    world.host.figures.durations["CallBackMemory"] = Duration(5.0, 0.0)
    began_s = world.clock.now_s()
    handle = await world.clock.run(world.plane.open_desktop(ALICE))
    assert handle.path == "parked"
    assert world.clock.now_s() - began_s < 1.0
    assert not world.host.desktops[ghost.ghost].frozen
    await world.clock.run(world.executor.settle())
    assert not world.host.desktops[ghost.ghost].reclaimed, "they all came back in the end"
    world.close()


async def test_a_claim_cuts_into_a_call_back_that_is_under_way(world: World) -> None:
    ghost = await parked(world)
    world.host.figures.durations["CallBackMemory"] = Duration(5.0, 0.0)
    await world.clock.run(world.loop.prepare(ALICE))
    began_s = world.clock.now_s()
    handle = await world.clock.run(world.plane.open_desktop(ALICE))
    assert handle.ghost == ghost.ghost
    assert world.clock.now_s() - began_s < 1.0
    assert world.manager.get(ghost.ghost).state is GhostState.ACTIVE
    await world.clock.run(world.executor.settle())
    assert world.manager.get(ghost.ghost).state is GhostState.ACTIVE, "the answer that came late changes nothing"
    world.close()
