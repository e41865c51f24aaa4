"""Many simulated hosts behind one engine: placing, room, and hosts that are lost."""

import asyncio

from ghostdesk.engines.simulated import SIMULATED_TEMPLATE
from ghostdesk.engines.simulated_cluster import SimulatedCluster, SimulatedClusterEngine, host_name
from ghostdesk.engines.virtual_time import QueueClock, run_virtual
from ghostdesk.ghosts.commands import AttachHome, Build, Destroy
from ghostdesk.kernel.errors import InsufficientCapacity
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.kernel.resources import GIB, NOTHING


def _build(number: int) -> Build:
    return Build(GhostId(f"g{number}"), SIMULATED_TEMPLATE, NOTHING)


def _world(clock: QueueClock, hosts: int = 2, room: int = 2) -> tuple[SimulatedCluster, SimulatedClusterEngine]:
    cluster = SimulatedCluster(clock, hosts, desktops_a_host=room, host_memory_bytes=GIB)
    return cluster, SimulatedClusterEngine(cluster)


def test_desktops_are_spread_and_no_host_is_overfull() -> None:
    async def main(clock: QueueClock) -> None:
        _, engine = _world(clock)
        built = [await clock.run(engine.apply(_build(n))) for n in range(4)]
        assert all(outcome.ok for outcome in built)
        assert sorted(str(outcome.facts["location"]) for outcome in built) == [host_name(0)] * 2 + [host_name(1)] * 2
        refused = await clock.run(engine.apply(_build(9)))
        assert isinstance(refused.error, InsufficientCapacity) and "simulated" in refused.error.cause
        await clock.run(engine.apply(Destroy(GhostId("g0"))))
        assert (await clock.run(engine.apply(_build(9)))).ok, "the room is free again"

    run_virtual(main)


def test_desktops_of_a_host_that_dies_are_listed_and_gone_for_good() -> None:
    async def main(clock: QueueClock) -> None:
        cluster, engine = _world(clock)
        for n in range(2):
            await clock.run(engine.apply(_build(n)))
        lost = cluster.where[GhostId("g0")]
        whole = engine.capacity()
        cluster.lose(lost, dies=True)
        assert {g.ghost: g.alive for g in await engine.observe()} == {"g0": False, "g1": True}
        assert engine.capacity().memory_bytes < whole.memory_bytes
        assert not (await clock.run(engine.apply(Destroy(GhostId("g0"))))).ok, "its host does not answer"
        assert (await clock.run(engine.apply(_build(2)))).facts["location"] != host_name(lost)
        cluster.bring_back(lost)
        assert engine.capacity() == whole
        assert not next(g for g in await engine.observe() if g.ghost == "g0").alive
        assert (await clock.run(engine.apply(Destroy(GhostId("g0"))))).ok
        assert "g0" not in cluster.desktops and "g0" not in cluster.where

    run_virtual(main)


def test_desktops_of_a_host_that_is_cut_off_run_on() -> None:
    async def main(clock: QueueClock) -> None:
        cluster, engine = _world(clock)
        await clock.run(engine.apply(_build(0)))
        await clock.run(engine.apply(AttachHome(GhostId("g0"), UserId("u"))))
        cluster.lose(cluster.where[GhostId("g0")], dies=False)
        (seen,), (really,) = await engine.observe(), cluster.instances()
        assert not seen.alive and really.alive and not really.reachable and really.owner == "u"
        cluster.bring_back(really.host)
        (seen,) = await engine.observe()
        assert seen.alive and seen.owner == "u" and seen.host == host_name(really.host)

    run_virtual(main)


def test_a_build_under_way_fails_with_its_host_and_gives_its_room_back() -> None:
    async def main(clock: QueueClock) -> None:
        cluster, engine = _world(clock, hosts=1)

        async def lose() -> None:
            await clock.sleep(0.01)
            cluster.lose(0, dies=True)

        losing = asyncio.ensure_future(lose())
        outcome = await clock.run(engine.apply(_build(0)))
        await losing
        assert not outcome.ok
        cluster.bring_back(0)
        assert not cluster.where and (await clock.run(engine.apply(_build(1)))).ok

    run_virtual(main)
