"""Virtual time, figures and faults of the simulated engine and its agents."""

import asyncio
from collections.abc import Awaitable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.engines.simulated import (
    SIMULATED_TEMPLATE,
    Duration,
    SimulatedAgents,
    SimulatedEngine,
    SimulatedFigures,
    SimulatedHost,
)
from ghostdesk.engines.virtual_time import QueueClock, Stuck
from ghostdesk.ghosts.commands import (
    AttachHome,
    Build,
    CallBackMemory,
    CloseApp,
    Destroy,
    Freeze,
    HideApp,
    LaunchHidden,
    Outcome,
    ReclaimMemory,
    ShowApp,
    TellBound,
    Thaw,
)
from ghostdesk.kernel.clock import VirtualClock
from ghostdesk.kernel.errors import (
    AgentError,
    BuildFailed,
    EngineError,
    InsufficientCapacity,
    MissingRequirement,
    NotFound,
)
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.kernel.resources import MIB, NOTHING, Resources
from ghostdesk.telemetry.events import EventKind, UsageEvent

G1, G2 = GhostId("g1"), GhostId("g2")
ANN = UserId("ann")
PAD = AppId("mousepad")
FIGURES = SimulatedFigures(
    durations={"Build": Duration(2.0), "ShowApp": Duration(0.01), "cold": Duration(1.0)},
    ready_bytes=100 * MIB,
    app_bytes=50 * MIB,
    parked_share=0.1,
    idle_cpu_cores=0.5,
)


def build(ghost: GhostId) -> Build:
    return Build(ghost, SIMULATED_TEMPLATE, NOTHING)


async def together(*work: Awaitable[Outcome]) -> list[Outcome]:
    return list(await asyncio.gather(*work))


class Told:
    """Keeps what agents report."""

    def __init__(self) -> None:
        self.usage: list[tuple[GhostId, UsageEvent]] = []
        self.lost: list[GhostId] = []

    def on_usage(self, ghost: GhostId, event: UsageEvent) -> None:
        self.usage.append((ghost, event))

    def on_agent_lost(self, ghost: GhostId) -> None:
        self.lost.append(ghost)


async def test_builds_run_side_by_side_in_a_queue_and_one_after_another_in_a_plain_clock() -> None:
    queue = QueueClock()
    engine = SimulatedEngine(SimulatedHost(queue, figures=FIGURES))

    async def both() -> list[Outcome]:
        return await together(engine.apply(build(G1)), engine.apply(build(G2)))

    outcomes = await queue.run(both())
    assert [o.duration_s for o in outcomes] == [2.0, 2.0]
    assert queue.now_s() == 2.0
    plain = VirtualClock()
    engine = SimulatedEngine(SimulatedHost(plain, figures=FIGURES))
    await asyncio.gather(engine.apply(build(G1)), engine.apply(build(G2)))
    assert plain.now_s() == 4.0


async def test_commands_to_one_ghost_wait_for_each_other() -> None:
    clock = QueueClock()
    engine = SimulatedEngine(SimulatedHost(clock, figures=FIGURES))

    async def story() -> list[Outcome]:
        return await together(engine.apply(build(G1)), engine.apply(AttachHome(G1, ANN)))

    assert all(o.ok for o in await clock.run(story()))


async def test_durations_depend_on_the_seed_and_not_on_what_runs_beside() -> None:
    async def duration_s(seed: int, first: GhostId | None) -> float:
        engine = SimulatedEngine(SimulatedHost(VirtualClock(), seed=seed))
        if first:
            await engine.apply(build(first))
        return (await engine.apply(build(G1))).duration_s

    assert await duration_s(1, None) == pytest.approx(await duration_s(1, G2))
    assert await duration_s(1, None) != pytest.approx(await duration_s(2, None))


def test_durations_are_lognormal_with_the_given_median_and_spread() -> None:
    host = SimulatedHost(VirtualClock(), figures=SimulatedFigures(durations={"Build": Duration(2.0, 0.5)}))
    drawn = sorted(host.duration_s(G1, "Build") for _ in range(2001))
    assert drawn[1000] == pytest.approx(2.0, rel=0.08)
    assert drawn[1682] / drawn[1000] == pytest.approx(2.718**0.5, rel=0.12)  # one deviation up


async def test_everything_says_that_it_is_simulated() -> None:
    host = SimulatedHost(VirtualClock())
    engine = SimulatedEngine(host)
    outcome = await engine.apply(build(G1))
    assert outcome.facts["simulated"] == "yes"
    assert engine.abilities()[0].name == "simulated"
    assert all("simulated" in a.detail or "real" in a.detail for a in engine.abilities())
    assert "simulated" in engine.endpoint(G1).rfb_path


async def test_memory_and_cpu_follow_the_figures() -> None:
    clock = VirtualClock()
    host = SimulatedHost(clock, figures=FIGURES)
    engine, agents = SimulatedEngine(host), SimulatedAgents(host)
    await engine.apply(build(G1))
    await agents.connect(G1, engine.endpoint(G1))
    await agents.apply(LaunchHidden(G1, PAD))
    assert (await engine.observe())[0].memory_bytes == 150 * MIB
    await engine.apply(Freeze(G1))
    used_s = (await engine.observe())[0].cpu_s
    clock.advance(1000.0)
    await engine.apply(ReclaimMemory(G1))
    found = (await engine.observe())[0]
    assert (found.memory_bytes, found.cpu_s) == (15 * MIB, used_s)
    await engine.apply(CallBackMemory(G1))
    await engine.apply(Thaw(G1))
    clock.advance(10.0)
    found = (await engine.observe())[0]
    assert found.memory_bytes == 150 * MIB
    assert found.cpu_s == pytest.approx(used_s + 5.0)


async def test_a_build_fails_as_often_as_it_is_told_to() -> None:
    host = SimulatedHost(VirtualClock(), figures=FIGURES)
    engine = SimulatedEngine(host)
    host.fail(Build, times=2)
    outcomes = [await engine.apply(build(G1)) for _ in range(3)]
    assert [type(o.error) for o in outcomes] == [BuildFailed, BuildFailed, type(None)]
    assert outcomes[0].duration_s == pytest.approx(2.0)


async def test_what_is_taken_away_is_missing_until_it_is_given_back() -> None:
    host = SimulatedHost(VirtualClock())
    engine = SimulatedEngine(host)
    host.take_away("Xvnc", "Install tigervnc-standalone-server.")
    with pytest.raises(MissingRequirement, match="Xvnc"):
        await engine.start()
    assert isinstance((await engine.apply(build(G1))).error, MissingRequirement)
    assert not engine.abilities()[1].available
    host.give_back("Xvnc")
    await engine.start()
    assert (await engine.apply(build(G1))).ok


async def test_a_full_host_refuses_builds_even_when_they_start_together() -> None:
    clock = QueueClock()
    host = SimulatedHost(clock, figures=FIGURES, capacity=Resources(4.0, 150.0 * MIB))
    engine = SimulatedEngine(host)

    async def both() -> list[Outcome]:
        return await together(engine.apply(build(G1)), engine.apply(build(G2)))

    assert [type(o.error) for o in await clock.run(both())] == [type(None), InsufficientCapacity]


async def test_ghosts_vanish_and_die() -> None:
    host = SimulatedHost(VirtualClock())
    engine = SimulatedEngine(host)
    await engine.apply(build(G1))
    await engine.apply(build(G2))
    host.vanish(G1)
    host.kill(G2)
    assert [(o.ghost, o.alive, o.memory_bytes) for o in await engine.observe()] == [(G2, False, 0)]
    assert isinstance((await engine.apply(Freeze(G1))).error, NotFound)
    assert isinstance((await engine.apply(Freeze(G2))).error, EngineError)
    assert (await engine.apply(Destroy(G2))).ok
    assert list(await engine.observe()) == []


async def test_reclaiming_a_running_desktop_is_refused() -> None:
    engine = SimulatedEngine(SimulatedHost(VirtualClock()))
    await engine.apply(build(G1))
    assert isinstance((await engine.apply(ReclaimMemory(G1))).error, EngineError)


async def a_bound_ghost(apps: frozenset[AppId] = frozenset()) -> tuple[SimulatedHost, SimulatedEngine, SimulatedAgents]:
    host = SimulatedHost(VirtualClock(), figures=FIGURES, apps=apps)
    engine, agents = SimulatedEngine(host), SimulatedAgents(host, Told())
    await engine.apply(build(G1))
    await agents.connect(G1, engine.endpoint(G1))
    await agents.apply(TellBound(G1, ANN))
    return host, engine, agents


async def test_applications_take_the_path_that_they_would() -> None:
    _, _, agents = await a_bound_ghost()
    paths = []
    for command in (
        LaunchHidden(G1, PAD),
        LaunchHidden(G1, PAD),
        ShowApp(G1, PAD),
        ShowApp(G1, PAD),
        HideApp(G1, PAD),
        ShowApp(G1, PAD),
        CloseApp(G1, PAD),
        ShowApp(G1, PAD),
    ):
        outcome = await agents.apply(command)
        paths.append((outcome.facts["path"], round(outcome.duration_s, 3)))
    shown = ("shown", 0.01)
    cold = ("cold", 1.0)
    assert paths == [
        ("hidden", 1.0),
        ("hidden", 0.0),
        shown,
        ("raised", 0.01),
        ("done", 0.0),
        shown,
        ("done", 0.0),
        cold,
    ]
    assert isinstance(agents.events, Told)
    kinds = [event.kind for _, event in agents.events.usage]
    assert kinds.count(EventKind.APP_LAUNCH) == 4
    assert kinds.count(EventKind.APP_EXIT) == 1
    assert {event.source for _, event in agents.events.usage} == {"simulated"}
    assert all(event.user is None for _, event in agents.events.usage)


async def test_an_unbound_agent_reports_nothing() -> None:
    host = SimulatedHost(VirtualClock())
    told = Told()
    engine, agents = SimulatedEngine(host), SimulatedAgents(host, told)
    await engine.apply(build(G1))
    await agents.connect(G1, engine.endpoint(G1))
    assert (await agents.apply(ShowApp(G1, PAD))).ok
    assert told.usage == []


async def test_agents_fail_as_real_ones_do() -> None:
    _, engine, agents = await a_bound_ghost(frozenset({PAD}))
    unknown = await agents.apply(ShowApp(G1, AppId("nonesuch")))
    assert isinstance(unknown.error, NotFound)
    await engine.apply(Freeze(G1))
    frozen = await agents.apply(ShowApp(G1, PAD))
    assert isinstance(frozen.error, AgentError)
    assert frozen.duration_s == pytest.approx(5.0)
    await engine.apply(Thaw(G1))
    await agents.wait_connected(G1, 1.0)
    agents.die(G1)
    assert isinstance(agents.events, Told)
    assert agents.events.lost == [G1]
    assert isinstance((await agents.apply(ShowApp(G1, PAD))).error, AgentError)
    with pytest.raises(AgentError):
        await agents.wait_connected(G1, 1.0)
    assert isinstance((await agents.apply(ShowApp(G2, PAD))).error, NotFound)


async def test_an_agent_that_dies_at_work_does_not_answer() -> None:
    clock = QueueClock()
    host = SimulatedHost(clock, figures=FIGURES)
    engine, agents = SimulatedEngine(host), SimulatedAgents(host)
    await clock.run(engine.apply(build(G1)))
    await agents.connect(G1, engine.endpoint(G1))
    launch = asyncio.create_task(agents.apply(ShowApp(G1, PAD)))
    await clock.run_until(clock.now_s() + 0.5)
    agents.die(G1)
    await clock.run_until(clock.now_s() + 1.0)
    assert isinstance((await launch).error, AgentError)


@given(st.lists(st.floats(0.0, 100.0), max_size=12))
@settings(max_examples=40, deadline=None)
def test_sleepers_wake_in_order_and_on_time(durations_s: list[float]) -> None:
    async def story() -> list[tuple[float, float]]:
        clock, woken = QueueClock(1000.0), []

        async def one(duration_s: float) -> None:
            await clock.sleep(duration_s)
            woken.append((clock.now_s(), 1000.0 + duration_s))

        tasks = [asyncio.create_task(one(d)) for d in durations_s]
        await clock.run_until(1100.0)
        await asyncio.gather(*tasks)
        assert clock.now_s() == 1100.0
        return woken

    woken = asyncio.run(story())
    assert len(woken) == len(durations_s)
    assert woken == sorted(woken)
    assert all(at == due for at, due in woken)


async def test_a_sleeper_that_sleeps_again_is_woken_in_its_turn() -> None:
    clock, order = QueueClock(), []

    async def ticker(name: str, period_s: float) -> None:
        while True:
            await clock.sleep(period_s)
            order.append((clock.now_s(), name))

    tasks = [asyncio.create_task(ticker("two", 2.0)), asyncio.create_task(ticker("three", 3.0))]
    await clock.run_until(6.0)
    assert order == [(2.0, "two"), (3.0, "three"), (4.0, "two"), (6.0, "three"), (6.0, "two")]
    assert clock.sleeping() == 2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert clock.sleeping() == 0
    await clock.run_until(7.0)


async def test_work_that_nothing_can_wake_is_told_of() -> None:
    clock = QueueClock()
    with pytest.raises(Stuck):
        await clock.run(asyncio.Event().wait())
    with pytest.raises(ValueError, match="back"):
        await clock.run_until(-1.0)
