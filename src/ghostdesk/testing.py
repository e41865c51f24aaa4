"""The conformance suite that every engine passes, ours and yours.

To check an engine of your own, subclass `EngineConformance` in a pytest module (with ``pytest-asyncio`` and
``asyncio_mode = "auto"``) and give it one fixture, `make_engine`:

    import pytest
    from ghostdesk.testing import EngineConformance
    from my_engine import MyEngine

    class TestMyEngine(EngineConformance):
        @pytest.fixture
        def make_engine(self, tmp_path):
            return lambda: MyEngine(state=tmp_path / "state", run=tmp_path / "run")

Rules for the fixture: every engine that one `make_engine` makes looks at the same host (the same folders, the same
server), and each test gets a host with no ghosts on it. Nothing else is needed; class attributes say what differs:

    template        the `DesktopTemplate` that is built
    limits          the first limits of each desktop
    users           two users whose homes may be attached
    real_desktops   False for engines that only pretend: no socket is then opened
    remote          True where the endpoint's paths are not on this machine: they are then not looked at

Each test starts an engine, and ends with ``stop(keep_ghosts=False)``, pass or fail. No test looks at how long anything
takes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from itertools import count
from typing import ClassVar

from ghostdesk.engines.protocol import Endpoint, Engine, ObservedGhost
from ghostdesk.ghosts.commands import (
    AttachHome,
    Build,
    CacheTemplate,
    CallBackMemory,
    Destroy,
    EngineCommand,
    Freeze,
    Outcome,
    ReclaimMemory,
    SetLimits,
    Thaw,
)
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.errors import Conflict, NotFound
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import MIB, Resources

MakeEngine = Callable[[], Engine]
"""Makes an engine that is not started yet; every call looks at the same host."""

_UNIX_PATH_BYTES = 107
_numbers = count(1)


class ConformanceFailure(AssertionError):
    """The engine broke a promise of `ghostdesk.engines.protocol`. The message names the promise."""


def require(condition: bool, promise: str) -> None:
    """Fail with the promise that was broken. (An assert here would say less, and ``-O`` drops it.)"""
    if not condition:
        raise ConformanceFailure(promise)


def new_ghost() -> GhostId:
    """A ghost id that this process has not used."""
    return GhostId(f"c{next(_numbers)}")


async def done(engine: Engine, command: EngineCommand) -> Outcome:
    """Apply a command that has to succeed."""
    outcome = await engine.apply(command)
    require(outcome.ok, f"{type(command).__name__} has to succeed, but: {outcome.error}")
    require(outcome.command == command, "an outcome carries the command that it is of")
    require(outcome.duration_s >= 0.0, "a duration is not negative")
    return outcome


async def seen(engine: Engine, ghost: GhostId) -> ObservedGhost:
    """The ghost as observed; it has to be there, once."""
    found = [one for one in await engine.observe() if one.ghost == ghost]
    require(len(found) == 1, f"observe() shows ghost {ghost} once, not {len(found)} times")
    return found[0]


def numbers_of(told: HostConditions) -> list[tuple[str, float]]:
    """Every number in a reading, with its name."""
    found = [(field.name, getattr(told, field.name)) for field in fields(told)]
    return [(name, float(value)) for name, value in found if isinstance(value, int | float)]


async def rfb_greeting(path: str) -> bytes:
    """The first 12 bytes that the desktop's screen says."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        return await asyncio.wait_for(reader.readexactly(12), 10.0)
    finally:
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def started(make_engine: MakeEngine) -> AsyncIterator[Engine]:
    """A started engine that leaves nothing behind."""
    engine = make_engine()
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop(keep_ghosts=False)


class EngineConformance:
    """What any engine promises. Subclass it and give it a `make_engine` fixture (see the module's text)."""

    template: ClassVar[DesktopTemplate] = DesktopTemplate(TemplateId("conformance"), width_px=800, height_px=600)
    limits: ClassVar[Resources] = Resources(cpu_cores=1.0, memory_bytes=1024.0 * MIB)
    users: ClassVar[tuple[UserId, UserId]] = (UserId("ann"), UserId("bob"))
    real_desktops: ClassVar[bool] = True
    remote: ClassVar[bool] = False

    async def build(self, engine: Engine, ghost: GhostId | None = None) -> GhostId:
        """Build a desktop and say its id."""
        ghost = ghost or new_ghost()
        await done(engine, Build(ghost, self.template, self.limits))
        return ghost

    async def check_endpoint(self, endpoint: Endpoint) -> None:
        """The desktop has to answer where the endpoint says. Override it where RFB is not spoken on a unix socket."""
        require(len(endpoint.agent_token) >= 16, "an agent's credential has 16 characters or more")
        require(endpoint.agent_token not in repr(endpoint), "an endpoint's repr never shows the credential")
        if self.remote:
            return
        for path in (endpoint.rfb_path, endpoint.agent_path):
            require(path.startswith("/"), f"{path!r} has to be an absolute path")
            require(len(path.encode()) <= _UNIX_PATH_BYTES, f"{path!r} is too long for a unix socket")
        if self.real_desktops:
            greeting = await rfb_greeting(endpoint.rfb_path)
            require(greeting.startswith(b"RFB 003."), f"the screen has to greet in RFB, but said {greeting!r}")

    async def test_an_empty_host_shows_no_ghosts(self, make_engine: MakeEngine) -> None:
        """start() twice does no harm, and observe() of an empty host is empty."""
        async with started(make_engine) as engine:
            await engine.start()
            require(list(await engine.observe()) == [], "an empty host has no ghosts")

    async def test_it_says_what_it_can_and_how_much(self, make_engine: MakeEngine) -> None:
        """abilities() have names and details (and a mend where one is missing), and capacity() is above zero."""
        async with started(make_engine) as engine:
            for ability in engine.abilities():
                require(bool(ability.name and ability.detail), "an ability has a name and a detail")
                require(ability.available or bool(ability.mend), f"{ability.name} is missing: say how to mend it")
            capacity = engine.capacity()
            require(capacity.cpu_cores > 0 and capacity.memory_bytes > 0, "a host has CPU and memory")

    async def test_it_says_what_the_host_is_like(self, make_engine: MakeEngine) -> None:
        """conditions() answers again and again: finite, shares from 0 to 1, the memory known, problems in words."""
        async with started(make_engine) as engine:
            for _ in range(2):
                told = await engine.conditions()
                for name, value in numbers_of(told):
                    require(math.isfinite(value) and value >= 0.0, f"{name} is {value}: it has to be finite, 0 or more")
                    share = name.endswith(("_share", "_pressure"))
                    require(not share or value <= 1.0, f"{name} is {value}: a share is 1 at most")
                require(0.0 < told.memory_available_bytes <= told.memory_bytes, "some of the memory is available")
                require(told.disk_free_bytes <= told.disk_bytes, "what is free of a disk is not more than it has")
                require(told.swap_free_bytes <= told.swap_bytes, "what is free of swap is not more than there is")
                require(all(fault.code and fault.text for fault in told.faults), "a fault has a code and words")

    async def test_a_build_is_observed_alive_and_answers(self, make_engine: MakeEngine) -> None:
        """After Build the ghost is alive, thawed, nobody's, and its screen answers; a second Build changes nothing."""
        async with started(make_engine) as engine:
            await done(engine, CacheTemplate(new_ghost(), self.template))
            ghost = await self.build(engine)
            first = await seen(engine, ghost)
            require(first.alive and not first.frozen and first.owner is None, "a new ghost is alive, thawed, nobody's")
            require(first.template == self.template.template, "a ghost remembers its template")
            endpoint = engine.endpoint(ghost)
            await self.check_endpoint(endpoint)
            await self.build(engine, ghost)
            require(engine.endpoint(ghost) == endpoint, "building a ghost that is there leaves it as it is")
            require(len(await engine.observe()) == 1, "building a ghost that is there makes no second one")

    async def test_freeze_and_thaw_twice(self, make_engine: MakeEngine) -> None:
        """Freeze and Thaw show in observe(), and each may be said twice."""
        async with started(make_engine) as engine:
            ghost = await self.build(engine)
            for _ in range(2):
                await done(engine, Freeze(ghost))
                require((await seen(engine, ghost)).frozen, "a frozen ghost is observed frozen")
            for _ in range(2):
                await done(engine, Thaw(ghost))
                require(not (await seen(engine, ghost)).frozen, "a thawed ghost is observed thawed")
            await self.check_endpoint(engine.endpoint(ghost))

    async def test_a_home_is_attached_to_one_user_only(self, make_engine: MakeEngine) -> None:
        """AttachHome twice for one user is well; for a second user it is a `Conflict`, and nothing changes."""
        ann, bob = self.users
        async with started(make_engine) as engine:
            ghost = await self.build(engine)
            for _ in range(2):
                await done(engine, AttachHome(ghost, ann))
                require((await seen(engine, ghost)).owner == ann, "a ghost with a home is observed with its owner")
            outcome = await engine.apply(AttachHome(ghost, bob))
            require(isinstance(outcome.error, Conflict), "a second user's home is refused with Conflict")
            require((await seen(engine, ghost)).owner == ann, "a refused attach changes nothing")

    async def test_a_home_is_attached_to_a_frozen_ghost(self, make_engine: MakeEngine) -> None:
        """A frozen ghost takes a home and stays frozen."""
        async with started(make_engine) as engine:
            ghost = await self.build(engine)
            await done(engine, Freeze(ghost))
            await done(engine, AttachHome(ghost, self.users[0]))
            found = await seen(engine, ghost)
            require(found.frozen and found.owner == self.users[0], "a frozen ghost takes a home and stays frozen")

    async def test_limits_may_be_set_again_and_lifted(self, make_engine: MakeEngine) -> None:
        """SetLimits twice, larger, smaller, and zero (no limit)."""
        async with started(make_engine) as engine:
            ghost = await self.build(engine)
            for limits in (self.limits, self.limits, self.limits.scaled(2.0), self.limits, Resources()):
                await done(engine, SetLimits(ghost, limits))
            require((await seen(engine, ghost)).alive, "a ghost lives through a change of limits")

    async def test_memory_goes_and_comes_back(self, make_engine: MakeEngine) -> None:
        """ReclaimMemory and CallBackMemory, each twice, leave the ghost frozen; then it wakes and answers."""
        async with started(make_engine) as engine:
            ghost = await self.build(engine)
            await done(engine, Freeze(ghost))
            for command in (ReclaimMemory(ghost), ReclaimMemory(ghost), CallBackMemory(ghost), CallBackMemory(ghost)):
                await done(engine, command)
                require((await seen(engine, ghost)).frozen, f"{type(command).__name__} leaves a ghost frozen")
            await done(engine, Thaw(ghost))
            await self.check_endpoint(engine.endpoint(ghost))

    async def test_a_ghost_is_destroyed_awake_or_frozen(self, make_engine: MakeEngine) -> None:
        """Destroy twice: the ghost is gone, its endpoint too, and no other ghost is touched."""
        async with started(make_engine) as engine:
            awake, frozen, other = await asyncio.gather(*(self.build(engine) for _ in range(3)))
            await done(engine, AttachHome(awake, self.users[0]))
            await done(engine, Freeze(frozen))
            for ghost in (awake, frozen, awake, frozen):
                await done(engine, Destroy(ghost))
            require([one.ghost for one in await engine.observe()] == [other], "only what was destroyed is gone")
            require(not await self._has_endpoint(engine, awake), "a destroyed ghost has no endpoint")
            await self.check_endpoint(engine.endpoint(other))

    async def test_two_ghosts_share_nothing(self, make_engine: MakeEngine) -> None:
        """Screens, agents' sockets and credentials of two ghosts differ."""
        async with started(make_engine) as engine:
            one, two = [engine.endpoint(await self.build(engine)) for _ in range(2)]
            require(one.rfb_path != two.rfb_path, "each ghost has its own screen")
            require(one.agent_path != two.agent_path, "each ghost has its own agent's socket")
            require(one.agent_token != two.agent_token, "each ghost has its own credential")

    async def test_an_unknown_ghost_is_not_found(self, make_engine: MakeEngine) -> None:
        """Commands to an unknown ghost come back as `NotFound`; destroying it is well; nothing is made."""
        async with started(make_engine) as engine:
            ghost = new_ghost()
            commands: tuple[EngineCommand, ...] = (
                AttachHome(ghost, self.users[0]),
                SetLimits(ghost, self.limits),
                Freeze(ghost),
                Thaw(ghost),
                ReclaimMemory(ghost),
                CallBackMemory(ghost),
            )
            for command in commands:
                outcome = await engine.apply(command)
                require(isinstance(outcome.error, NotFound), f"{type(command).__name__}: an unknown ghost is NotFound")
            await done(engine, Destroy(ghost))
            require(not await self._has_endpoint(engine, ghost), "endpoint() of an unknown ghost raises NotFound")
            require(list(await engine.observe()) == [], "a refused command makes nothing")

    async def test_a_new_engine_finds_the_ghosts(self, make_engine: MakeEngine) -> None:
        """After stop(keep_ghosts=True) a new engine finds every ghost as it was, and goes on with it."""
        first = make_engine()
        await first.start()
        try:
            owned = await self.build(first)
            await done(first, AttachHome(owned, self.users[0]))
            frozen = await self.build(first)
            await done(first, Freeze(frozen))
            endpoints = {ghost: first.endpoint(ghost) for ghost in (owned, frozen)}
        except BaseException:
            await first.stop(keep_ghosts=False)
            raise
        await first.stop(keep_ghosts=True)
        async with started(make_engine) as second:
            found = {one.ghost: one for one in await second.observe()}
            require(set(found) == {owned, frozen}, "a new engine finds the ghosts that were kept")
            require(all(one.alive for one in found.values()), "kept ghosts live on")
            require(found[owned].owner == self.users[0] and not found[owned].frozen, "an owner is found again")
            require(found[frozen].frozen and found[frozen].owner is None, "a frozen ghost is found frozen")
            require(found[owned].template == self.template.template, "a template is found again")
            for ghost, endpoint in endpoints.items():
                require(second.endpoint(ghost) == endpoint, "an endpoint, with its credential, is found again")
            outcome = await second.apply(AttachHome(owned, self.users[1]))
            require(isinstance(outcome.error, Conflict), "a new engine refuses a second user too")
            await done(second, Thaw(frozen))
            await self.check_endpoint(second.endpoint(frozen))

    async def test_stop_leaves_nothing(self, make_engine: MakeEngine) -> None:
        """After stop(keep_ghosts=False), said twice, a new engine finds an empty host."""
        first = make_engine()
        await first.start()
        try:
            await self.build(first)
            await done(first, Freeze(await self.build(first)))
        finally:
            await first.stop(keep_ghosts=False)
            await first.stop(keep_ghosts=False)
        async with started(make_engine) as second:
            require(list(await second.observe()) == [], "stop(keep_ghosts=False) leaves no ghost")

    async def _has_endpoint(self, engine: Engine, ghost: GhostId) -> bool:
        try:
            engine.endpoint(ghost)
        except NotFound:
            return False
        return True
