"""The simulated engine passes the suite that every engine passes, in both kinds of virtual time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from ghostdesk.engines.protocol import Engine
from ghostdesk.engines.simulated import SimulatedAgents, SimulatedEngine, SimulatedHost
from ghostdesk.engines.virtual_time import QueueClock
from ghostdesk.ghosts.commands import AttachHome, Build, Outcome, SetLimits
from ghostdesk.kernel.clock import VirtualClock
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.testing import ConformanceFailure, EngineConformance, MakeEngine


class Stepping(VirtualClock):
    """Lets others have a turn at each sleep, so that commands have a middle."""

    async def sleep(self, duration_s: float) -> None:
        await asyncio.sleep(0)
        await super().sleep(duration_s)
        await asyncio.sleep(0)


def host_of(engine: Engine) -> SimulatedHost:
    assert isinstance(engine, SimulatedEngine)
    return engine._host


class TestSimulatedEngine(EngineConformance):
    real_desktops = False
    in_memory = True
    cancel_after_s = 0.0
    crash_effects = tuple(range(1, 7))

    @pytest.fixture
    def make_engine(self) -> MakeEngine:
        host = SimulatedHost(Stepping())
        return lambda: SimulatedEngine(host)

    async def limits_seen(self, engine: Engine, ghost: GhostId) -> Resources:
        return host_of(engine).desktops[ghost].limits

    async def kill(self, engine: Engine, ghost: GhostId) -> None:
        host_of(engine).kill(ghost)

    async def take_away(self, engine: Engine, ghost: GhostId) -> None:
        host_of(engine).vanish(ghost)

    def broken(self) -> dict[str, MakeEngine]:
        host = SimulatedHost(VirtualClock())
        host.take_away("a program")
        return {"a program is missing": lambda: SimulatedEngine(host)}

    def make_agents(self, engine: Engine) -> SimulatedAgents:
        return SimulatedAgents(host_of(engine))


CHECKS = [
    name for name, _ in inspect.getmembers(TestSimulatedEngine, inspect.iscoroutinefunction) if name[:5] == "test_"
]


@pytest.mark.parametrize("check", CHECKS)
async def test_it_passes_where_many_things_happen_at_once(check: str) -> None:
    clock = QueueClock()
    host = SimulatedHost(clock)
    run: Callable[..., Any] = getattr(TestSimulatedEngine(), check)
    made = {"make_engine": lambda: SimulatedEngine(host)} if "make_engine" in inspect.signature(run).parameters else {}
    await clock.run(run(**made))
    assert not host.desktops


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


class Stubborn(SimulatedEngine):
    async def apply(self, command: Any) -> Any:
        """Says that it resizes, and does not."""
        return Outcome(command) if isinstance(command, SetLimits) else await super().apply(command)


class Assuming(SimulatedEngine):
    """Goes by what it did itself, and does not look again."""

    async def observe(self) -> Any:
        self.known = getattr(self, "known", None) or list(await super().observe())
        return self.known


class Raising(SimulatedEngine):
    async def apply(self, command: Any) -> Any:
        outcome = await super().apply(command)
        if outcome.error:
            raise outcome.error
        return outcome


class Terse(SimulatedEngine):
    async def apply(self, command: Any) -> Any:
        outcome = await super().apply(command)
        error = type(outcome.error)(outcome.error.cause) if outcome.error else None
        return replace(outcome, error=error)


class Hasty(SimulatedEngine):
    async def apply(self, command: Any) -> Any:
        """Takes a build for done once it has begun."""
        if isinstance(command, Build) and command.ghost in self._host.begun:  # type: ignore[attr-defined]
            return Outcome(command)
        if isinstance(command, Build):
            self._host.begun.add(command.ghost)  # type: ignore[attr-defined]
        return await super().apply(command)


class Forlorn(SimulatedEngine):
    async def apply(self, command: Any) -> Any:
        """Attaches whatever it is told, once another engine has begun it."""
        if isinstance(command, AttachHome) and (desktop := self._host.desktops.get(command.ghost)):
            desktop.owner = UserId("someone")
        return await super().apply(command)


@pytest.mark.parametrize(
    ("engine", "check"),
    [
        (Stubborn, "test_limits_hold_on_the_host"),
        (Stubborn, "test_a_crash_while_it_is_resized"),
        (Assuming, "test_what_another_engine_changes_is_seen"),
        (Assuming, "test_a_desktop_that_dies_is_seen_dead_and_replaced"),
        (Raising, "test_names_that_are_none_are_refused"),
        (Terse, "test_an_error_says_how_to_mend_it"),
        (Hasty, "test_a_crash_while_it_is_built"),
        (Hasty, "test_a_command_that_is_given_up_may_be_repeated"),
        (Forlorn, "test_a_crash_while_a_home_is_attached"),
        (Forgetful, "test_a_new_engine_finds_the_ghosts"),
        (Litterer, "test_stop_leaves_nothing"),
        (Promiscuous, "test_a_home_is_attached_to_one_user_only"),
        (Shared, "test_two_ghosts_share_nothing"),
        (Boundless, "test_it_says_what_it_can_and_how_much"),
    ],
)
async def test_the_suite_catches_an_engine_that_breaks_a_promise(engine: type[SimulatedEngine], check: str) -> None:
    host = SimulatedHost(Stepping())
    host.begun = set()  # type: ignore[attr-defined]
    run: Callable[[MakeEngine], Awaitable[None]] = getattr(TestSimulatedEngine(), check)
    with pytest.raises(ConformanceFailure):
        await run(lambda: engine(host))
