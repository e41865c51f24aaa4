"""Faults are what they say they are, as often as they should be, and the same for the same seed."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import fields
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ghostdesk.engines.simulated import SIMULATED_TEMPLATE
from ghostdesk.engines.simulated_cluster import SimulatedCluster, SimulatedClusterEngine
from ghostdesk.engines.simulated_faults import FAULTS, FaultRates, FaultyEngine, HostFaults, parse_faults
from ghostdesk.engines.virtual_time import QueueClock, run_virtual
from ghostdesk.ghosts.commands import AttachHome, Build, Destroy
from ghostdesk.kernel.errors import ConfigError, EngineError
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.kernel.resources import GIB, NOTHING

BUILD = Build(GhostId("g1"), SIMULATED_TEMPLATE, NOTHING)
Story = Callable[[QueueClock, SimulatedCluster, FaultyEngine], Coroutine[Any, Any, None]]


def _tell(rates: FaultRates, story: Story, seed: int = 0, hosts: int = 3) -> FaultyEngine:
    made: list[FaultyEngine] = []

    async def main(clock: QueueClock) -> None:
        cluster = SimulatedCluster(clock, hosts, desktops_a_host=50, host_memory_bytes=GIB)
        made.append(FaultyEngine(SimulatedClusterEngine(cluster), rates, clock, seed, cluster.kill))
        await story(clock, cluster, made[0])

    run_virtual(main)
    return made[0]


def test_without_faults_nothing_is_changed() -> None:
    async def story(clock: QueueClock, cluster: SimulatedCluster, engine: FaultyEngine) -> None:
        assert (await clock.run(engine.apply(BUILD))).ok
        assert [g.ghost for g in await clock.run(engine.observe())] == ["g1"] == list(cluster.desktops)

    assert not _tell(FaultRates(), story).injected


def test_refused_means_that_nothing_was_done() -> None:
    async def story(clock: QueueClock, cluster: SimulatedCluster, engine: FaultyEngine) -> None:
        refused = await clock.run(engine.apply(BUILD))
        assert isinstance(refused.error, EngineError) and "simulated fault (fail)" in refused.error.cause
        assert not cluster.desktops

    assert _tell(FaultRates(fail=1.0), story).injected == {"fail": 1}


def test_half_done_builds_leave_remains() -> None:
    async def story(clock: QueueClock, cluster: SimulatedCluster, engine: FaultyEngine) -> None:
        assert not (await clock.run(engine.apply(BUILD))).ok
        assert [(g.ghost, g.alive) for g in await engine.observe()] == [("g1", False)]
        assert (await clock.run(engine.apply(Destroy(BUILD.ghost)))).ok, "only builds are half-done"
        assert not cluster.desktops

    _tell(FaultRates(half=1.0), story)


def test_a_lost_answer_is_of_something_done() -> None:
    async def story(clock: QueueClock, cluster: SimulatedCluster, engine: FaultyEngine) -> None:
        start_s = clock.now_s()
        assert not (await clock.run(engine.apply(BUILD))).ok
        assert clock.now_s() - start_s > 7.0 and cluster.desktops[BUILD.ghost].alive
        assert not (await clock.run(engine.apply(AttachHome(BUILD.ghost, UserId("u"))))).ok
        assert cluster.desktops[BUILD.ghost].owner == "u"

    _tell(FaultRates(lost=1.0, timeout_s=7.0), story)


def test_a_late_answer_is_of_something_done_after_it_was_given_up() -> None:
    async def story(clock: QueueClock, cluster: SimulatedCluster, engine: FaultyEngine) -> None:
        assert not (await clock.run(engine.apply(BUILD))).ok
        engine.end()
        assert (await clock.run(engine.apply(Destroy(BUILD.ghost)))).ok, "there is nothing yet"
        assert not cluster.desktops and engine.late() == 1
        await clock.run_until(clock.now_s() + 60.0)
        assert list(cluster.desktops) == ["g1"] and engine.late() == 0, "and then it comes after all"

    _tell(FaultRates(late=1.0), story)


def test_of_a_batch_in_a_burst_some_fail() -> None:
    async def story(clock: QueueClock, cluster: SimulatedCluster, engine: FaultyEngine) -> None:
        async def batch() -> list[bool]:
            builds = [Build(GhostId(f"b{n}"), SIMULATED_TEMPLATE, NOTHING) for n in range(60)]
            return [outcome.ok for outcome in await asyncio.gather(*map(engine.apply, builds))]

        engine.begin_burst()
        done = await clock.run(batch())
        assert 10 < sum(done) < 50 and sum(done) == len(cluster.desktops)
        await clock.run_until(clock.now_s() + 60.0)
        assert (await clock.run(engine.apply(BUILD))).ok, "it is over"

    assert _tell(FaultRates(burst=0.5), story).injected["batch"] > 10


def test_readings_fail_and_calls_are_slow() -> None:
    async def story(clock: QueueClock, _cluster: SimulatedCluster, engine: FaultyEngine) -> None:
        with pytest.raises(EngineError, match="injected"):
            await clock.run(engine.observe())
        start_s = clock.now_s()
        assert (await clock.run(engine.apply(BUILD))).ok and clock.now_s() - start_s > 1.0

    _tell(FaultRates(observe=1.0, slow=1.0, slow_s=30.0), story)


def test_hosts_are_lost_and_come_back_and_all_of_it_follows_the_seed() -> None:
    def run(seed: int) -> tuple[list[tuple[int, ...]], dict[str, int]]:
        away: list[tuple[int, ...]] = []

        async def story(clock: QueueClock, cluster: SimulatedCluster, engine: FaultyEngine) -> None:
            hosts = HostFaults(cluster, engine, seed)
            cluster.populate((GhostId(f"p{n}"), UserId(f"u{n}")) for n in range(20))
            for _ in range(100):
                hosts.pass_time(10.0)
                away.append(tuple(sorted(cluster.away)))
                await clock.run_until(clock.now_s() + 10.0)
            hosts.end()
            assert not cluster.away

        rates = FaultRates(host_losses_an_hour=5, host_cuts_an_hour=5, host_back_s=60, deaths_an_hour=2)
        return away, dict(_tell(rates, story, seed, hosts=5).injected)

    away, injected = run(1)
    assert any(away) and () in away
    assert min(injected["host lost"], injected["host cut off"], injected["desktop died"]) > 1
    assert run(1) == (away, injected) != run(2)


def test_faults_as_written() -> None:
    assert parse_faults("none") == FaultRates() and parse_faults("some") == FAULTS["some"]
    assert parse_faults("some, lost=0.25,host_back_s=9").lost == 0.25
    assert parse_faults("late=1") == FaultRates(late=1.0)


@pytest.mark.parametrize(
    "text", ["", "few", "lost", "lost=x", "lost=-1", "lost=2", "lost=nan", "host_back_s=inf", "fail=.6,lost=.6", "a=1"]
)
def test_faults_that_cannot_be_are_refused_with_a_mend(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_faults(text)
    assert refused.value.cause and refused.value.mend


@given(st.text(max_size=40))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        found = parse_faults(text)
    except ConfigError:
        return
    assert all(getattr(found, one.name) >= 0 for one in fields(found))
