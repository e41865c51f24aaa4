"""The simulated engine passes the suite that every engine passes, in both kinds of virtual time."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ghostdesk.engines.simulated import SimulatedEngine, SimulatedHost
from ghostdesk.engines.virtual_time import QueueClock
from ghostdesk.kernel.clock import VirtualClock
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import Resources
from ghostdesk.testing import ConformanceFailure, EngineConformance, MakeEngine


class TestSimulatedEngine(EngineConformance):
    real_desktops = False

    @pytest.fixture
    def make_engine(self) -> MakeEngine:
        host = SimulatedHost(VirtualClock())
        return lambda: SimulatedEngine(host)


CHECKS = [
    name for name, _ in inspect.getmembers(TestSimulatedEngine, inspect.iscoroutinefunction) if name[:5] == "test_"
]


@pytest.mark.parametrize("check", CHECKS)
async def test_it_passes_where_many_things_happen_at_once(check: str) -> None:
    clock = QueueClock()
    host = SimulatedHost(clock)
    run: Callable[[MakeEngine], Any] = getattr(TestSimulatedEngine(), check)
    await clock.run(run(lambda: SimulatedEngine(host)))


class Forgetful(SimulatedEngine):
    async def stop(self, *, keep_ghosts: bool) -> None:
        await super().stop(keep_ghosts=False)


class Litterer(SimulatedEngine):
    async def stop(self, *, keep_ghosts: bool) -> None:
        """Leaves everything where it is."""


class Promiscuous(SimulatedEngine):
    async def apply(self, command: Any) -> Any:
        if desktop := self._host.desktops.get(command.ghost):
            desktop.owner = None
        return await super().apply(command)


class Shared(SimulatedEngine):
    def endpoint(self, ghost: GhostId) -> Any:
        if ghost not in self._host.desktops:
            raise NotFound("no such ghost")
        return self._host.endpoint(GhostId("everybody"))


class Boundless(SimulatedEngine):
    def capacity(self) -> Resources:
        return Resources()


@pytest.mark.parametrize(
    ("engine", "check"),
    [
        (Forgetful, "test_a_new_engine_finds_the_ghosts"),
        (Litterer, "test_stop_leaves_nothing"),
        (Promiscuous, "test_a_home_is_attached_to_one_user_only"),
        (Shared, "test_two_ghosts_share_nothing"),
        (Boundless, "test_it_says_what_it_can_and_how_much"),
    ],
)
async def test_the_suite_catches_an_engine_that_breaks_a_promise(engine: type[SimulatedEngine], check: str) -> None:
    host = SimulatedHost(VirtualClock())
    run: Callable[[MakeEngine], Awaitable[None]] = getattr(TestSimulatedEngine(), check)
    with pytest.raises(ConformanceFailure):
        await run(lambda: engine(host))
