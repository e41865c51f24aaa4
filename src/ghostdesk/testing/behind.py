"""What happens behind an engine's back: state is read again, never assumed.

A second engine on the same host stands for the other control plane, for the operator at a terminal, and for whatever
else changes a desktop that the first engine knows.
"""

from __future__ import annotations

import asyncio

from ghostdesk.engines.protocol import FREEZING, RESIZING, Engine
from ghostdesk.ghosts.commands import AttachHome, CallBackMemory, Destroy, EngineCommand, Freeze, SetLimits, Thaw
from ghostdesk.kernel.errors import Conflict, EngineError, NotFound
from ghostdesk.kernel.ids import GhostId
from ghostdesk.testing.base import Conformance
from ghostdesk.testing.checks import (
    MakeEngine,
    beside,
    done,
    has,
    has_endpoint,
    need,
    refused,
    require,
    seen,
    started,
)

_LOOKS, _LOOK_EVERY_S = 600, 0.05


class BehindChecks(Conformance):
    """Two engines on one host, and desktops that die."""

    async def test_what_another_engine_changes_is_seen(self, make_engine: MakeEngine) -> None:
        """A ghost that another engine built, froze, thawed or gave a home is seen so; a second home is refused."""
        ann, bob = self.users
        async with started(make_engine) as one, beside(make_engine) as other:
            ghost = await self.build(other)
            require((await seen(one, ghost)).alive, "a ghost that another engine built is observed")
            require(one.endpoint(ghost) == other.endpoint(ghost), "once observed, its endpoint is known too")
            await done(other, AttachHome(ghost, ann))
            require((await seen(one, ghost)).owner == ann, "a home that another engine attached is observed")
            require(isinstance(await refused(one, AttachHome(ghost, bob)), Conflict), "and a second one is refused")
            if has(one, RESIZING):
                await done(other, SetLimits(ghost, self.limits.scaled(2.0)))
                await done(one, SetLimits(ghost, self.limits))
                await self.check_limits(one, ghost, self.limits)
            need(one, FREEZING)
            await done(other, Freeze(ghost))
            require((await seen(one, ghost)).frozen, "a ghost that another engine froze is observed frozen")
            await done(one, Thaw(ghost))
            require(not (await seen(other, ghost)).frozen, "and the other way round")
            await done(other, Freeze(ghost))
            await done(one, Freeze(ghost))
            await done(one, Thaw(ghost))
            await self.check_endpoint(one.endpoint(ghost))

    async def test_what_another_engine_destroys_is_gone(self, make_engine: MakeEngine) -> None:
        """Its commands are then `NotFound`, its endpoint too, destroying it is well, and it can be built anew."""
        async with started(make_engine) as one, beside(make_engine) as other:
            ghost = await self.build(one)
            await done(other, Destroy(ghost))
            await self._check_gone(one, ghost)
            await self.build(one, ghost)
            again = await seen(other, ghost)
            require(again.alive and again.owner is None, "a ghost that was destroyed behind its back is built anew")
            await self.check_endpoint(one.endpoint(ghost))

    async def test_a_desktop_that_dies_is_seen_dead_and_replaced(self, make_engine: MakeEngine) -> None:
        """It is observed dead or not at all, commands to it are refused, and it can be destroyed or built anew."""
        async with started(make_engine) as engine:
            ghost = await self.build(engine)
            await self.kill(engine, ghost)
            await self._wait_dead(engine, ghost)
            for command in self._commands(ghost):
                error = await refused(engine, command)
                require(isinstance(error, EngineError), f"{type(command).__name__}: a dead ghost is an EngineError")
            await self.build(engine, ghost)
            again = await seen(engine, ghost)
            require(again.alive and again.owner is None, "a dead ghost is built anew, and nobody's")
            await self.check_endpoint(engine.endpoint(ghost))
            await done(engine, AttachHome(ghost, self.users[0]))
            await self.kill(engine, ghost)
            await self._wait_dead(engine, ghost)
            await done(engine, Destroy(ghost))
            require(list(await engine.observe()) == [], "a dead ghost can be destroyed")
            self.check_nothing_left()

    async def test_a_desktop_removed_by_hand_is_replaced(self, make_engine: MakeEngine) -> None:
        """With a home attached: what is left of it is no error, and a new one takes the home."""
        ann = self.users[0]
        async with started(make_engine) as engine:
            ghost = await self.build(engine)
            await done(engine, AttachHome(ghost, ann))
            await self.take_away(engine, ghost)
            await self._wait_dead(engine, ghost)
            await done(engine, Destroy(ghost))
            await self._check_gone(engine, ghost)
            other = await self.build(engine)
            await done(engine, AttachHome(other, ann))
            require((await seen(engine, other)).owner == ann, "the home can be attached again")

    def _commands(self, ghost: GhostId) -> tuple[EngineCommand, ...]:
        return (
            AttachHome(ghost, self.users[0]),
            SetLimits(ghost, self.limits),
            Freeze(ghost),
            Thaw(ghost),
            CallBackMemory(ghost),
        )

    async def _check_gone(self, engine: Engine, ghost: GhostId) -> None:
        found = [one.ghost for one in await engine.observe()]
        require(ghost not in found, "a ghost that was removed behind its back is not observed")
        error = await refused(engine, AttachHome(ghost, self.users[0]))
        require(isinstance(error, NotFound), f"commands to it are NotFound, not {error!r}")
        require(not has_endpoint(engine, ghost), "it has no endpoint")
        await done(engine, Destroy(ghost))

    async def _wait_dead(self, engine: Engine, ghost: GhostId) -> None:
        for _ in range(_LOOKS):
            if not any(one.alive for one in await engine.observe() if one.ghost == ghost):
                return
            await asyncio.sleep(_LOOK_EVERY_S)
        require(False, "a desktop that died is observed dead, or not at all")
