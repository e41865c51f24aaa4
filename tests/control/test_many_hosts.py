"""What a control loop over many hosts and slow APIs must do: strays, late calls, failing batches, one launch a host."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from control_world import World

from ghostdesk.control import loop as loops
from ghostdesk.control.backoff import BuildBackoff
from ghostdesk.control.observe import STRAY_AFTER_S
from ghostdesk.engines.protocol import PARKING, Ability
from ghostdesk.engines.simulated import SIMULATED_TEMPLATE
from ghostdesk.ghosts.commands import Build, Destroy, EngineCommand, Freeze, Outcome
from ghostdesk.ghosts.events import BindRequested
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.kernel.errors import BuildFailed, GhostdeskError
from ghostdesk.kernel.ids import GhostId, HostId, TemplateId, UserId
from ghostdesk.kernel.resources import NOTHING


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, floor=1, ceiling=4)
    yield made
    made.close()


def test_a_desktop_that_nobody_knows_is_removed_after_a_while(world: World) -> None:
    async def story() -> None:
        await world.pass_time(10.0)
        await world.clock.run(world.engine.apply(Build(GhostId("late"), SIMULATED_TEMPLATE, NOTHING)))
        await world.pass_time(STRAY_AFTER_S - 10.0)
        assert "late" in world.host.desktops and "late" not in world.states(), "it may be somebody's test"
        world.host.fail(Destroy)
        await world.pass_time(60.0)
        assert "late" not in world.host.desktops, "also when removing it fails at first"
        assert set(world.states()) == set(world.host.desktops)

    asyncio.run(story())


def test_a_desktop_in_use_that_a_late_call_froze_is_thawed(world: World) -> None:
    async def story() -> None:
        await world.pass_time(10.0)
        handle = await world.clock.run(world.plane.open_desktop(UserId("u")))
        await world.clock.run(world.engine.apply(Freeze(handle.ghost)))
        await world.pass_time(10.0)
        assert not world.host.desktops[handle.ghost].frozen and world.states()[handle.ghost] == "active"

    asyncio.run(story())


def test_nobody_is_given_a_desktop_that_was_lost_while_its_home_was_attached(world: World) -> None:
    async def story() -> None:
        await world.pass_time(10.0)
        (first,) = world.host.desktops

        async def die() -> None:
            while world.manager.get(first).state is not GhostState.ACTIVE:  # noqa: ASYNC110 - it lasts a moment
                await asyncio.sleep(0)
            world.host.kill(first)
            await world.loop.tick()

        dying = asyncio.ensure_future(die())
        served = await world.clock.run(world.loop.sign_in(UserId("u")))
        await dying
        assert served.ghost.ghost != first and world.states()[served.ghost.ghost] == "active"

    asyncio.run(story())


def test_of_a_batch_that_fails_together_one_failure_counts() -> None:
    backoff = BuildBackoff()
    for _ in range(100):
        backoff = backoff.failed("the API is in trouble.", 50.0)
    assert backoff.failures == 1 and backoff.not_before_s == 52.0
    assert backoff.failed("again.", 53.0).not_before_s == 57.0


def test_people_are_told_when_all_builds_fail_whoever_else_waits(world: World) -> None:
    async def story() -> None:
        world.host.fail(Build, 10_000, BuildFailed("No disk."))
        people = [asyncio.ensure_future(world.loop.sign_in(UserId(f"u{n}"))) for n in range(3)]
        ended = await world.clock.run(asyncio.wait_for(_all(people), None))
        assert all(isinstance(one, GhostdeskError) for one in ended)

    async def _all(people: list["asyncio.Future[object]"]) -> list[object]:
        return list(await asyncio.gather(*people, return_exceptions=True))

    asyncio.run(story())


def test_a_plan_binds_nothing_to_somebody_who_has_come_meanwhile(world: World) -> None:
    async def story() -> None:
        await world.pass_time(30.0)
        (spare,) = world.host.desktops
        await world.clock.run(world.plane.open_desktop(UserId("u")))
        await world.pass_time(30.0)
        (other,) = world.host.desktops.keys() - {spare}
        await world.clock.run(world.loop._carry_out(other, BindRequested(UserId("u"), "likely")))
        assert world.manager.get(other).owner is None

    asyncio.run(story())


def test_a_ghost_knows_its_host_from_its_build_on(world: World) -> None:
    async def story() -> None:
        apply = world.engine.apply

        async def told(command: EngineCommand) -> Outcome:
            outcome = await apply(command)
            return replace(outcome, facts=outcome.facts | {"location": "member-2"})

        world.engine.apply = told  # type: ignore[method-assign]
        await world.pass_time(10.0)
        assert {g.host for g in world.manager} == {HostId("member-2")}

    asyncio.run(story())


def test_an_owner_is_told_once_that_their_desktop_ended(world: World) -> None:
    async def story() -> None:
        await world.pass_time(10.0)
        handle = await world.clock.run(world.plane.open_desktop(UserId("u")))
        told: list[str] = []
        world.plane.board.post = lambda _user, notice: told.append(notice.kind)  # type: ignore[method-assign]
        world.host.fail(Destroy, 5)
        world.host.kill(handle.ghost)
        await world.pass_time(60.0)
        assert handle.ghost not in world.host.desktops and told == ["lost"]

    asyncio.run(story())


def test_of_many_people_at_work_some_are_asked_about_in_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "_WORKING_A_TICK", 2)
    people = [UserId(f"u{n}") for n in range(5)]
    for n, user in enumerate(people):
        world.manager.restore(Ghost(GhostId(f"r{n}"), TemplateId("t"), GhostState.ACTIVE, user, 1))
    world.manager.restore(Ghost(GhostId("w"), TemplateId("t"), GhostState.WARM, UserId("w"), 1))
    turns = [world.loop._owners() for _ in range(5)]
    assert all(len(turn) == 3 and "w" in turn for turn in turns), "ghosts' owners always"
    assert set().union(*turns[:3]) == {*people, "w"}, "everybody's turn comes"
    world.loop.stir(people[0])
    world.loop.stir(UserId("nobody"))
    assert people[0] in world.loop._owners() and len(world.loop._owners()) == 3


def test_what_the_host_can_do_is_asked_now_and_then(world: World) -> None:
    async def story() -> None:
        asked = 0
        abilities = world.engine.abilities

        def counted() -> Sequence[Ability]:
            nonlocal asked
            asked += 1
            return abilities()

        world.engine.abilities = counted  # type: ignore[method-assign]
        await world.pass_time(100.0)
        assert 3 <= asked <= 5, "of twenty ticks"
        world.host.take_away(PARKING)
        await world.pass_time(40.0)
        context = world.observer.context(world.supply, world.policy, world.clock.now_s(), 1)
        assert not context.can_park

    asyncio.run(story())
