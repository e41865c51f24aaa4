"""The warming gate in the real control loop, in virtual time: pressure pauses what is done ahead, and nobody waits."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_world import World

from ghostdesk.allocator.conditions_gate import GateState
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.kernel.conditions import HostConditions, HostFault
from ghostdesk.kernel.errors import EngineError
from ghostdesk.kernel.ids import AppId, UserId

ALICE, BOB, CAROL = UserId("alice"), UserId("bob"), UserId("carol")
CALM = HostConditions(0.0)
PRESSED = HostConditions(0.0, memory_pressure=0.5)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, floor=2, ceiling=8)
    yield made
    made.close()


def count(world: World) -> int:
    return len([ghost for ghost in world.manager if ghost.state is not GhostState.DRAINING])


async def test_pressure_pauses_warming_with_the_reason_and_it_resumes_by_steps(world: World) -> None:
    await world.pass_time(30)
    world.host.conditions = PRESSED
    await world.pass_time(20)
    assert world.observer.gate.state is GateState.PAUSED
    world.forecast.arrival, world.forecast.apps = {ALICE: 0.9}, {ALICE: ("editor",)}
    world.forecast.per_hour = 3600.0
    before = world.states()
    await world.pass_time(120)
    assert world.states() == before, "nothing is built, bound or warmed"
    (note,) = world.loop.plan.notes
    assert note.code == "warming-paused-memory"
    assert "memory pressure is 50 %; this begins at 20 % and ends below 10 %" in note.text
    assert "Waiting:" in note.text

    world.host.conditions = CALM
    await world.pass_time(20)
    assert world.states() == before, "it stays paused until all was well for a while"
    await world.pass_time(25)
    assert world.observer.gate.state is GateState.SLOW
    told = []
    for _ in range(40):
        await world.pass_time(5)
        told += [note.code for note in world.loop.plan.notes]
        if world.observer.gate.state is GateState.SLOW:
            building = [ghost for ghost in world.manager if ghost.pending in ("build", "bind", "warm")]
            assert len(building) <= 1, "one at a time"
    assert told.count("warming-resumed") == 1
    assert world.loop.plan.notes == ()
    warm = world.manager.of_user(ALICE)
    assert warm is not None and warm.state is GhostState.WARM and warm.apps == ("editor",)
    assert count(world) > len(before)
    assert [text.split(":")[0] for _, text in reversed(world.observer.changes)] == [
        "Warming is paused",
        "Warming is slowed down to one desktop at a time",
        "Warming goes on as usual",
    ]


async def test_people_are_served_as_usual_while_it_is_paused(world: World) -> None:
    """One from the pool, one at the door, and one for whom a desktop has to be built while they wait."""
    await world.pass_time(30)
    world.host.conditions = PRESSED
    await world.pass_time(20)
    first = await world.clock.run(world.plane.open_desktop(ALICE))
    assert first.path == "ready"
    at_the_door = await world.clock.run(world.plane.prepare_desktop(BOB))
    assert at_the_door is not None
    world.forecast.arrival, world.forecast.apps = {BOB: 0.0}, {BOB: ("editor",)}
    await world.pass_time(20)
    warm = world.manager.of_user(BOB)
    assert warm is not None and warm.state is GhostState.WARM, "somebody at the door gets a warm desktop"
    assert count(world) == 2, "the pool is not filled up"
    third = await world.clock.run(world.plane.open_desktop(CAROL))
    assert (third.path, third.active) == ("built", True)
    assert world.observer.gate.state is GateState.PAUSED


async def test_somebody_at_the_door_gets_a_desktop_built_while_it_is_paused(world: World) -> None:
    world.host.conditions = PRESSED
    await world.pass_time(20)
    assert count(world) == 0, "not even the floor"
    assert await world.clock.run(world.plane.prepare_desktop(ALICE)) is None
    world.forecast.arrival, world.forecast.apps = {ALICE: 0.0}, {ALICE: ("editor",)}
    await world.pass_time(30)
    warm = world.manager.of_user(ALICE)
    assert warm is not None and (warm.state, warm.apps) == (GhostState.WARM, ("editor",))
    assert count(world) == 1


async def test_somebody_at_the_door_of_whom_nothing_is_known_gets_one_too(world: World) -> None:
    world.host.conditions = PRESSED
    await world.pass_time(20)
    assert await world.clock.run(world.plane.prepare_desktop(CAROL)) is None
    await world.pass_time(20)
    assert Counter(world.states().values()) == {"ready": 1}
    handle = await world.clock.run(world.plane.open_desktop(CAROL))
    assert handle.path == "ready"


async def test_a_desktop_in_use_is_not_touched(world: World) -> None:
    handle = await world.clock.run(world.plane.open_desktop(ALICE))
    await world.clock.run(world.plane.launch(ALICE, AppId("editor")))
    await world.pass_time(20)
    desktop = world.host.desktops[handle.ghost]
    before = (dict(desktop.apps), desktop.limits, desktop.frozen, world.manager.get(handle.ghost))
    world.host.conditions = PRESSED
    await world.pass_time(600)
    assert before == (dict(desktop.apps), desktop.limits, desktop.frozen, world.manager.get(handle.ghost))


async def test_what_the_host_was_like_can_be_replayed(world: World) -> None:
    """A host whose memory fills up slowly: the trend slows warming down before it is paused."""
    start_s = world.clock.now_s()

    def filling(now_s: float) -> HostConditions:
        used = min(0.97, 0.6 + (now_s - start_s) / 1000.0)
        return HostConditions(0.0, memory_bytes=1e9, memory_available_bytes=1e9 * (1.0 - used))

    world.host.conditions = filling
    await world.pass_time(900)
    (slow_s, slow), (paused_s, paused) = reversed(world.observer.changes)
    assert "slowed down" in slow and "rises" in slow and "paused" in paused
    assert slow_s < paused_s < start_s + 900


async def test_a_host_that_fails_is_spared(world: World) -> None:
    await world.pass_time(30)
    killed = HostConditions(0.0, faults=(HostFault("oom-kill", "the kernel killed a process for want of memory"),))
    world.host.conditions = killed
    await world.pass_time(5)
    world.host.conditions = CALM
    await world.pass_time(30)
    assert "the kernel killed a process" in world.loop.plan.notes[0].text
    await world.pass_time(180)
    assert world.loop.plan.notes == ()


async def test_an_engine_that_cannot_tell_stops_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> HostConditions:
        raise EngineError("nothing can be read")

    monkeypatch.setattr(world.engine, "conditions", broken)
    await world.pass_time(60)
    assert Counter(world.states().values()) == {"ready": 2}
    assert world.observer.conditions is None


async def test_after_a_restart_the_gate_starts_open_and_learns(world: World) -> None:
    world.host.conditions = PRESSED
    await world.pass_time(20)
    await world.crash_and_restart()
    assert world.observer.gate.state is GateState.OPEN
    await world.pass_time(20)
    assert world.observer.gate.state is GateState.PAUSED
