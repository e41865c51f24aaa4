"""Pre-warming in steps by the real loop, in virtual time: up as somebody becomes likelier, down as they do not come."""

from pathlib import Path

import pytest
from control_world import World

from ghostdesk.engines.simulated_host import Duration
from ghostdesk.ghosts.commands import AgentCommand, LaunchHidden, Outcome
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


async def test_applications_of_ghosts_start_two_at_a_time_and_a_claim_does_not_wait_for_them(tmp_path: Path) -> None:
    world = World(tmp_path, floor=6, ceiling=12)
    await world.pass_time(30)
    people = [UserId(f"u{n}") for n in range(6)]
    world.forecast.arrival = dict.fromkeys(people, 0.9)
    world.forecast.apps = dict.fromkeys(people, ("editor",))
    world.host.figures.durations["cold"] = Duration(20.0)
    running, most = set(), 0
    apply = world.agents.apply

    async def counted(command: AgentCommand) -> Outcome:
        nonlocal most
        if not isinstance(command, LaunchHidden):
            return await apply(command)
        running.add(command.ghost)
        most = max(most, len(running))
        try:
            return await apply(command)
        finally:
            running.discard(command.ghost)

    world.agents.apply = counted  # type: ignore[method-assign]
    await world.pass_time(30)
    assert (most, len(running)) == (2, 2)
    waiting = next(g.owner for g in world.manager if g.pending == "warm" and g.ghost not in running)
    assert waiting is not None
    handle = await world.clock.run(world.plane.open_desktop(waiting))
    assert handle.path == "ready" and handle.duration_s < 1.0
    await world.pass_time(120)
    assert most == 2
    assert sum(1 for g in world.manager if g.state is GhostState.WARM) == 5
    world.close()
