"""What cannot be done is said: typed, with the cause and, where there is one, the mend; and nothing is changed."""

from __future__ import annotations

from ghostdesk.engines.protocol import FREEZING, RESIZING
from ghostdesk.ghosts.commands import (
    AttachHome,
    Build,
    CallBackMemory,
    Destroy,
    EngineCommand,
    Freeze,
    ReclaimMemory,
    SetLimits,
    Thaw,
)
from ghostdesk.kernel.errors import Conflict, GhostdeskError, NotFound, Unsupported
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.testing.base import Conformance
from ghostdesk.testing.checks import (
    ConformanceFailure,
    MakeEngine,
    done,
    has,
    has_endpoint,
    new_ghost,
    refused,
    require,
    seen,
    skip,
    started,
)


class ErrorChecks(Conformance):
    """Commands that have to be refused, and engines that cannot start."""

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
                error = await refused(engine, command)
                require(
                    isinstance(error, NotFound | Unsupported),
                    f"{type(command).__name__}: an unknown ghost is NotFound, not {error!r}",
                )
            require(isinstance(await refused(engine, commands[0]), NotFound), "an unknown ghost is NotFound")
            await done(engine, Destroy(ghost))
            require(not has_endpoint(engine, ghost), "endpoint() of an unknown ghost raises NotFound")
            require(list(await engine.observe()) == [], "a refused command makes nothing")

    async def test_names_that_are_none_are_refused(self, make_engine: MakeEngine) -> None:
        """Ids that lead out of their folder, or into a command line, make nothing and touch nothing."""
        async with started(make_engine) as engine:
            for name in ("../c1", "a/b", "", "-rf", "Ghost", "x" * 200, "a\0b", "a b"):
                await refused(engine, Build(GhostId(name), self.template, self.limits))
            require(list(await engine.observe()) == [], "a name that is none makes no ghost")
            ghost = await self.build(engine)
            for name in ("../bob", "", "-rf", "a/b"):
                await refused(engine, AttachHome(ghost, UserId(name)))
            require((await seen(engine, ghost)).owner is None, "a name that is none attaches no home")

    async def test_an_error_says_how_to_mend_it(self, make_engine: MakeEngine) -> None:
        """A home for a second user, and a ghost that is not there: the cause, and what to do about it."""
        ann, bob = self.users
        async with started(make_engine) as engine:
            ghost = await self.build(engine)
            await done(engine, AttachHome(ghost, ann))
            conflict = await refused(engine, AttachHome(ghost, bob))
            require(isinstance(conflict, Conflict), "a second user's home is refused with Conflict")
            for error in (conflict, await refused(engine, AttachHome(new_ghost(), ann))):
                require(bool(error.mend), f"this error has to say how to mend it: {error.cause}")

    async def test_what_it_lacks_is_refused_and_changes_nothing(self, make_engine: MakeEngine) -> None:
        """A command that the engine's abilities rule out comes back as `Unsupported`, and the desktop goes on."""
        async with started(make_engine) as engine:
            ghost = new_ghost()
            wants: tuple[tuple[str, EngineCommand], ...] = (
                (FREEZING, Freeze(ghost)),
                (RESIZING, SetLimits(ghost, self.limits.scaled(2.0))),
            )
            lacked = [command for name, command in wants if not has(engine, name)]
            if not lacked:
                skip("this engine can freeze and resize")
            await self.build(engine, ghost)
            before = await seen(engine, ghost)
            for command in lacked:
                error = await refused(engine, command)
                require(isinstance(error, Unsupported), f"{type(command).__name__} is Unsupported here, not {error!r}")
            after = await seen(engine, ghost)
            require((after.alive, after.frozen) == (before.alive, before.frozen), "what is refused changes nothing")
            await self.check_endpoint(engine.endpoint(ghost))

    async def test_an_engine_that_cannot_work_says_so_at_the_start(self, make_engine: MakeEngine) -> None:  # noqa: ARG002
        """Each engine of `broken` fails in `start` with cause and mend, and can be stopped all the same."""
        broken = self.broken()
        if not broken:
            skip("this suite was not told what can be wrong (override `broken`)")
        for what, make_broken in broken.items():
            engine = make_broken()
            try:
                await engine.start()
            except GhostdeskError as error:
                require(bool(error.cause and error.mend), f"{what}: the error has a cause and a mend, not {error!r}")
            except Exception as error:
                raise ConformanceFailure(f"{what}: start() raises a GhostdeskError, not {error!r}") from error
            else:
                raise ConformanceFailure(f"{what}: start() has to fail")
            finally:
                await engine.stop(keep_ghosts=False)
