"""The real control loop in virtual time, on the simulated engine."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_world import World

from ghostdesk.engines.simulated import SimulatedHost
from ghostdesk.ghosts.commands import AttachHome, Build, Destroy
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.kernel.errors import EngineError, InsufficientCapacity, NotFound
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.telemetry.events import EventKind

ALICE, BOB, CAROL = UserId("alice"), UserId("bob"), UserId("carol")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, floor=2, ceiling=5)
    yield made
    made.close()


async def test_the_floor_is_filled_and_held(world: World) -> None:
    await world.pass_time(60)
    assert Counter(world.states().values()) == {"ready": 2}
    assert world.loop.plan.pool_target == 2
    assert "floor 2" in world.loop.plan.pool_reason


async def test_more_expected_sign_ins_make_a_larger_pool_and_fewer_shrink_it_slowly(world: World) -> None:
    world.forecast.per_hour = 18_000
    await world.pass_time(120)
    assert len(world.manager) > 2
    world.forecast.per_hour = 0
    await world.pass_time(300)
    assert len(world.manager) > 2, "it does not shrink at once"
    await world.pass_time(3600)
    states = Counter(world.states().values())
    assert states["ready"] == 2
    assert sum(states.values()) <= 3, "the rest was destroyed, but for one parked spare"


async def test_a_user_who_is_expected_finds_a_warm_desktop(world: World) -> None:
    world.forecast.arrival = {ALICE: 0.9, BOB: 0.01}
    world.forecast.apps = {ALICE: ("editor", "browser")}
    await world.pass_time(60)
    warm = world.manager.of_user(ALICE)
    assert warm is not None
    assert (warm.state, warm.apps) == (GhostState.WARM, ("editor", "browser"))
    assert "90% likely" in warm.reason
    assert "a habit" in warm.reason
    assert world.manager.of_user(BOB) is None
    assert world.host.desktops[warm.ghost].frozen
    handle = await world.clock.run(world.plane.open_desktop(ALICE))
    assert (handle.path, handle.ghost, handle.active) == ("warm", warm.ghost, True)
    assert not world.host.desktops[warm.ghost].frozen
    served = await world.clock.run(world.plane.launch(ALICE, AppId("editor")))
    assert served.path == "shown"
    assert next(e.kind for e in world.forecast.seen if e.user == ALICE) == EventKind.SIGN_IN


async def test_the_same_sign_in_twice_gives_the_same_desktop(world: World) -> None:
    await world.pass_time(30)
    first = await world.clock.run(world.plane.open_desktop(ALICE))
    again = await world.clock.run(world.plane.open_desktop(ALICE))
    assert (first.ghost, first.path, again.ghost, again.path) == (again.ghost, "ready", first.ghost, "active")


async def test_two_people_in_the_same_moment_get_two_desktops(world: World) -> None:
    import asyncio

    await world.pass_time(30)

    async def rush() -> list[str]:
        handles = await asyncio.gather(*(world.plane.open_desktop(UserId(f"u{n}")) for n in range(4)))
        return [h.ghost for h in handles]

    ghosts = await world.clock.run(rush())
    assert len(set(ghosts)) == 4
    assert {d.owner for d in world.host.desktops.values() if d.owner} == {f"u{n}" for n in range(4)}


async def test_with_nothing_ready_a_sign_in_builds_and_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, floor=0, ceiling=3)
    handle = await world.clock.run(world.plane.open_desktop(ALICE))
    assert handle.path == "built"
    world.close()


async def test_when_all_desktops_are_in_use_the_error_says_what_to_do(tmp_path: Path) -> None:
    world = World(tmp_path, floor=0, ceiling=1)
    await world.clock.run(world.plane.open_desktop(ALICE))
    with pytest.raises(InsufficientCapacity, match=r"All 1 desktops are in use.*raise pool\.ceiling"):
        await world.clock.run(world.plane.open_desktop(BOB))
    world.close()


async def test_people_come_before_ghosts(tmp_path: Path) -> None:
    world = World(tmp_path, floor=1, ceiling=1)
    world.forecast.arrival = {ALICE: 0.9}
    await world.pass_time(60)
    assert world.manager.of_user(ALICE) is not None
    handle = await world.clock.run(world.plane.open_desktop(BOB))
    assert handle.path == "built"
    world.close()


async def test_at_the_door_a_ghost_is_bound_and_then_claimed(world: World) -> None:
    await world.pass_time(30)
    prepared = await world.clock.run(world.plane.prepare_desktop(ALICE))
    assert prepared is not None
    assert not prepared.active
    assert world.plane.rfb_path(ALICE, prepared.ghost, prepared.generation)
    opened = await world.clock.run(world.plane.open_desktop(ALICE))
    assert (opened.ghost, opened.generation, opened.active) == (prepared.ghost, prepared.generation, True)


async def test_a_ghost_that_is_watched_is_not_frozen(world: World) -> None:
    world.forecast.arrival = {ALICE: 0.9}
    world.forecast.apps = {ALICE: ("editor",)}
    await world.pass_time(60)
    warm = world.manager.of_user(ALICE)
    assert warm is not None
    await world.clock.run(world.plane.viewer_connecting(warm.ghost))
    await world.pass_time(30)
    assert not world.host.desktops[warm.ghost].frozen
    await world.clock.run(world.plane.viewer_left(warm.ghost))
    assert world.host.desktops[warm.ghost].frozen


async def test_a_desktop_is_destroyed_after_use_and_replaced(world: World) -> None:
    await world.pass_time(30)
    handle = await world.clock.run(world.plane.open_desktop(ALICE))
    await world.clock.run(world.plane.end_session(ALICE))
    await world.pass_time(30)
    assert handle.ghost not in world.host.desktops
    assert Counter(world.states().values()) == {"ready": 2}
    assert world.store.claims() == () or list(world.store.claims()) == []


async def test_a_ghost_that_dies_is_replaced_and_its_user_is_told(world: World) -> None:
    await world.pass_time(30)
    handle = await world.clock.run(world.plane.open_desktop(ALICE))
    notices = world.plane.notices(ALICE)
    import asyncio

    told = asyncio.ensure_future(anext(notices))
    await asyncio.sleep(0)
    world.host.kill(handle.ghost)
    await world.pass_time(30)
    assert (await told).kind == "lost"
    assert "process ended" in told.result().text
    assert handle.ghost not in world.states()
    again = await world.clock.run(world.plane.open_desktop(ALICE))
    assert again.ghost != handle.ghost


async def test_builds_that_fail_back_off_and_say_why(world: World) -> None:
    world.host.fail(Build, times=50)
    await world.pass_time(120)
    status = world.plane.status()
    assert "building failed" in status.problem
    assert world.supply.backoff.failures < 12, "it does not try in a tight loop"
    assert not world.host.desktops
    world.host._refusals.clear()
    await world.pass_time(400)
    assert Counter(world.states().values()) == {"ready": 2}
    assert world.plane.status().problem == ""


async def test_a_sign_in_while_builds_fail_gets_the_cause(tmp_path: Path) -> None:
    world = World(tmp_path, floor=0, ceiling=3)
    world.host.fail(Build, times=50)
    with pytest.raises(EngineError):
        await world.clock.run(world.plane.open_desktop(ALICE))
    world.close()


async def test_a_home_that_cannot_be_attached_destroys_the_ghost(world: World) -> None:
    await world.pass_time(30)
    world.host.fail(AttachHome)
    with pytest.raises(EngineError):
        await world.clock.run(world.plane.open_desktop(ALICE))
    await world.pass_time(30)
    assert Counter(world.states().values()) == {"ready": 2}
    assert all(d.owner is None for d in world.host.desktops.values())


async def test_a_destroy_that_fails_is_tried_again(world: World) -> None:
    await world.pass_time(30)
    handle = await world.clock.run(world.plane.open_desktop(ALICE))
    world.host.fail(Destroy, times=2)
    with pytest.raises(EngineError):
        await world.clock.run(world.plane.end_session(ALICE))
    await world.pass_time(60)
    assert handle.ghost not in world.host.desktops


async def test_a_broken_forecast_never_stops_the_loop_or_a_sign_in(world: World) -> None:
    world.forecast.arrival = {ALICE: 0.9}
    world.forecast.broken = True
    await world.pass_time(60)
    assert Counter(world.states().values()) == {"ready": 2}
    assert (await world.clock.run(world.plane.open_desktop(BOB))).path == "ready"


async def test_forecast_only_holds_the_floor_and_warms_nobody(tmp_path: Path) -> None:
    world = World(tmp_path, floor=1, ceiling=5, forecast_only=True)
    world.forecast.arrival, world.forecast.per_hour = {ALICE: 0.99}, 5000
    await world.pass_time(120)
    assert Counter(world.states().values()) == {"ready": 1}
    assert world.manager.of_user(ALICE) is None
    world.close()


async def test_a_user_who_does_not_come_loses_the_ghost_in_steps(world: World) -> None:
    world.forecast.arrival = {ALICE: 0.9}
    await world.pass_time(60)
    assert world.manager.of_user(ALICE) is not None
    world.forecast.arrival = {ALICE: 0.0}
    await world.pass_time(600)
    parked = world.manager.of_user(ALICE)
    assert parked is None or parked.state is GhostState.PARKED
    await world.pass_time(1800)
    assert world.manager.of_user(ALICE) is None


async def test_a_killed_control_plane_finds_its_ghosts_again(world: World) -> None:
    world.forecast.arrival = {BOB: 0.9}
    await world.pass_time(60)
    handle = await world.clock.run(world.plane.open_desktop(ALICE))
    before = set(world.host.desktops)
    await world.crash_and_restart()
    assert set(world.states()) == before
    mine = world.manager.of_user(ALICE)
    assert mine is not None
    assert (mine.ghost, mine.state, mine.generation) == (handle.ghost, GhostState.ACTIVE, handle.generation)
    again = await world.clock.run(world.plane.open_desktop(ALICE))
    assert (again.path, again.ghost) == ("active", handle.ghost)


async def test_launching_without_a_desktop_is_a_clear_error(world: World) -> None:
    with pytest.raises(NotFound, match="no desktop open"):
        await world.clock.run(world.plane.launch(ALICE, AppId("editor")))


async def test_an_unknown_application_is_a_clear_error(tmp_path: Path) -> None:
    from ghostdesk.engines.virtual_time import QueueClock

    clock = QueueClock(1_760_000_000.0)
    world = World(tmp_path, floor=1, host=SimulatedHost(clock, apps=frozenset({AppId("editor")})))
    await world.pass_time(30)
    await world.clock.run(world.plane.open_desktop(ALICE))
    with pytest.raises(EngineError):
        await world.clock.run(world.plane.launch(ALICE, AppId("nonsense")))
    world.close()


async def test_nobody_without_an_account_gets_a_ghost(world: World) -> None:
    world.loop.eligible = lambda: frozenset({BOB})
    world.forecast.arrival = {ALICE: 0.9, BOB: 0.9}
    await world.pass_time(60)
    assert world.manager.of_user(ALICE) is None
    assert world.manager.of_user(BOB) is not None


async def test_only_a_claimed_desktop_teaches(world: World) -> None:
    from ghostdesk.telemetry.events import UsageEvent

    world.forecast.arrival = {ALICE: 0.9}
    await world.pass_time(60)
    warm = world.manager.of_user(ALICE)
    assert warm is not None
    event = UsageEvent(world.clock.now_s(), EventKind.APP_FOCUS, app=AppId("editor"))
    world.plane.on_usage(warm.ghost, event)
    assert not world.forecast.seen
    await world.clock.run(world.plane.open_desktop(ALICE))
    world.plane.on_usage(warm.ghost, event)
    assert [(e.user, e.desktop) for e in world.forecast.seen if e.kind is EventKind.APP_FOCUS] == [(ALICE, warm.ghost)]


async def test_in_a_desktop_in_use_the_next_application_waits_hidden(tmp_path: Path) -> None:
    world = World(tmp_path, floor=1, ceiling=3, active_app_threshold=0.3)
    await world.pass_time(30)
    await world.clock.run(world.plane.open_desktop(ALICE))
    world.forecast.arrival, world.forecast.apps = {ALICE: 0.0}, {ALICE: ("browser",)}
    await world.pass_time(30)
    assert (await world.clock.run(world.plane.launch(ALICE, AppId("browser")))).path == "shown"
    mine = world.manager.of_user(ALICE)
    assert mine is not None
    assert not world.host.desktops[mine.ghost].frozen
    world.close()


async def test_a_start_that_found_nothing_raises_the_quantile_and_a_restart_is_told(tmp_path: Path) -> None:
    world = World(tmp_path, floor=0, ceiling=5)
    assert world.loop.service.quantile() == pytest.approx(0.99)
    assert (await world.clock.run(world.plane.open_desktop(ALICE))).path == "built"
    assert world.loop.service.quantile() > 0.99
    again = await world.clock.run(world.plane.open_desktop(ALICE))
    assert again.path == "active"
    assert world.loop.service.starts == 1, "coming back to one's own desktop is no start"
    await world.pass_time(10)
    assert "0.0% of the last 1 starts found a ready desktop" in world.loop.plan.pool_reason
    before = world.loop.service
    await world.crash_and_restart()
    world.loop.recall(launch.path for launch in reversed(world.store.launches(100)) if launch.what == "desktop")
    assert world.loop.service == before
    world.close()


async def test_the_lead_time_is_what_builds_took_here(world: World) -> None:
    assert world.supply.lead_time.mean_s == 5.0, "a guess before the first build"
    await world.pass_time(60)
    lead = world.supply.lead_time
    assert lead.mean_s != 5.0
    context = world.observer.context(world.supply, world.policy, world.clock.now_s(), len(world.manager))
    assert (context.build_time_s, context.build_spread) == (lead.mean_s, lead.spread)
