"""The life of a desktop: observed, built, bound, resized, parked, woken, destroyed, and found again."""

from __future__ import annotations

import asyncio
import math

from ghostdesk.engines.protocol import FREEZING, PARKING, RESIZING
from ghostdesk.ghosts.commands import (
    AttachHome,
    CacheTemplate,
    CallBackMemory,
    Destroy,
    Freeze,
    ReclaimMemory,
    SetLimits,
    Thaw,
)
from ghostdesk.kernel.errors import Conflict, Unsupported
from ghostdesk.kernel.resources import Resources
from ghostdesk.testing.base import Conformance
from ghostdesk.testing.checks import (
    MakeEngine,
    done,
    has,
    has_endpoint,
    need,
    new_ghost,
    numbers_of,
    require,
    seen,
    skip,
    started,
)


class LifeChecks(Conformance):
    """Each thing that a desktop goes through, done once and done twice."""

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
            need(engine, FREEZING)
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
            need(engine, FREEZING)
            ghost = await self.build(engine)
            await done(engine, Freeze(ghost))
            await done(engine, AttachHome(ghost, self.users[0]))
            found = await seen(engine, ghost)
            require(found.frozen and found.owner == self.users[0], "a frozen ghost takes a home and stays frozen")

    async def test_limits_may_be_set_again_and_lifted(self, make_engine: MakeEngine) -> None:
        """SetLimits twice, larger, smaller, and zero (no limit), to a desktop awake and frozen."""
        async with started(make_engine) as engine:
            need(engine, RESIZING)
            ghost = await self.build(engine)
            if has(engine, FREEZING):
                await done(engine, Freeze(ghost))
            for limits in (self.limits, self.limits, self.limits.scaled(2.0), self.limits, Resources()):
                await done(engine, SetLimits(ghost, limits))
            require((await seen(engine, ghost)).alive, "a ghost lives through a change of limits")

    async def test_limits_hold_on_the_host(self, make_engine: MakeEngine) -> None:
        """What Build and SetLimits say is what the host says: at first, halved, larger, and lifted."""
        async with started(make_engine) as engine:
            ghost = await self.build(engine)
            if not await self.check_limits(engine, ghost, self.limits):
                skip("this suite was not told how to read limits from the host (override `limits_seen`)")
            need(engine, RESIZING)
            for limits in (self.limits.scaled(0.5), self.limits.scaled(1.5), Resources(), self.limits):
                await done(engine, SetLimits(ghost, limits))
                await self.check_limits(engine, ghost, limits)

    async def test_memory_goes_and_comes_back(self, make_engine: MakeEngine) -> None:
        """ReclaimMemory and CallBackMemory, each twice, leave the ghost frozen; then it wakes and answers."""
        async with started(make_engine) as engine:
            need(engine, FREEZING)
            ghost = await self.build(engine)
            await done(engine, Freeze(ghost))
            for command in (ReclaimMemory(ghost), ReclaimMemory(ghost), CallBackMemory(ghost), CallBackMemory(ghost)):
                outcome = await engine.apply(command)
                ruled_out = not has(engine, PARKING) and isinstance(outcome.error, Unsupported)
                require(outcome.ok or ruled_out, f"{type(command).__name__} has to succeed, but: {outcome.error}")
                require((await seen(engine, ghost)).frozen, f"{type(command).__name__} leaves a ghost frozen")
            await done(engine, Thaw(ghost))
            await self.check_endpoint(engine.endpoint(ghost))

    async def test_a_ghost_is_destroyed_awake_or_frozen(self, make_engine: MakeEngine) -> None:
        """Destroy twice: the ghost is gone, its endpoint too, and no other ghost is touched."""
        async with started(make_engine) as engine:
            awake, frozen, other = await asyncio.gather(*(self.build(engine) for _ in range(3)))
            await done(engine, AttachHome(awake, self.users[0]))
            if has(engine, FREEZING):
                await done(engine, Freeze(frozen))
            for ghost in (awake, frozen, awake, frozen):
                await done(engine, Destroy(ghost))
            require([one.ghost for one in await engine.observe()] == [other], "only what was destroyed is gone")
            require(not has_endpoint(engine, awake), "a destroyed ghost has no endpoint")
            await self.check_endpoint(engine.endpoint(other))
            await done(engine, Destroy(other))
            self.check_nothing_left()

    async def test_two_ghosts_share_nothing(self, make_engine: MakeEngine) -> None:
        """Screens, agents' sockets and credentials of two ghosts differ."""
        async with started(make_engine) as engine:
            one, two = [engine.endpoint(await self.build(engine)) for _ in range(2)]
            require(one.rfb_path != two.rfb_path, "each ghost has its own screen")
            require(one.agent_path != two.agent_path, "each ghost has its own agent's socket")
            require(one.agent_token != two.agent_token, "each ghost has its own credential")

    async def test_a_new_engine_finds_the_ghosts(self, make_engine: MakeEngine) -> None:
        """After stop(keep_ghosts=True) a new engine finds every ghost as it was, and goes on with it."""
        first = make_engine()
        await first.start()
        try:
            owned = await self.build(first)
            await done(first, AttachHome(owned, self.users[0]))
            frozen = await self.build(first)
            freezes = has(first, FREEZING)
            if freezes:
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
            require(found[frozen].frozen == freezes, "a frozen ghost is found frozen")
            require(found[frozen].owner is None, "nobody's ghost is found nobody's")
            require(found[owned].template == self.template.template, "a template is found again")
            for ghost, endpoint in endpoints.items():
                require(second.endpoint(ghost) == endpoint, "an endpoint, with its credential, is found again")
            outcome = await second.apply(AttachHome(owned, self.users[1]))
            require(isinstance(outcome.error, Conflict), "a new engine refuses a second user too")
            if freezes:
                await done(second, Thaw(frozen))
            await self.check_endpoint(second.endpoint(frozen))

    async def test_stop_leaves_nothing(self, make_engine: MakeEngine) -> None:
        """After stop(keep_ghosts=False), said twice, a new engine finds an empty host."""
        first = make_engine()
        await first.start()
        try:
            other = await self.build(first)
            await self.build(first)
            if has(first, FREEZING):
                await done(first, Freeze(other))
        finally:
            await first.stop(keep_ghosts=False)
            await first.stop(keep_ghosts=False)
        async with started(make_engine) as second:
            require(list(await second.observe()) == [], "stop(keep_ghosts=False) leaves no ghost")
        self.check_nothing_left()
