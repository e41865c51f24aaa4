"""A control plane that dies in the middle of a command: the next one finds what is there, repeats it, and ends well.

Two ways to die. An engine runs in a process of its own, which is killed with SIGKILL right before it touches the world
for the n-th time (see `crash_child`), or so many seconds after the command began. One whose desktops are in this
process's memory (`in_memory`) is abandoned: its coroutine is closed where it waits for the n-th time. Nothing is
cleaned up by either, except what `finally` does in the second.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from ghostdesk.engines.protocol import FREEZING, PARKING, RESIZING, Engine
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
from ghostdesk.kernel.errors import Conflict
from ghostdesk.kernel.ids import GhostId
from ghostdesk.testing.base import Conformance
from ghostdesk.testing.checks import (
    ConformanceFailure,
    MakeEngine,
    beside,
    done,
    has,
    has_endpoint,
    need,
    new_ghost,
    refused,
    require,
    seen,
    skip,
    started,
)

_CHILD_TIMEOUT_S = 300.0
_SIGNALS = frozenset({-9, -14})


@dataclass(frozen=True, slots=True)
class Moment:
    """When the control plane dies: before the n-th effect (or wait), or so long after the command began.

    Effects count from the beginning or, with `started`, from the first program that is started.
    """

    effect: int = 0
    after_s: float = 0.0
    started: bool = False

    def __str__(self) -> str:
        since = " of a started program" if self.started else ""
        return f"killed at effect {self.effect}{since}" if self.effect else f"killed after {self.after_s:g} s"


class CrashChecks(Conformance):
    """A crash in the middle of each command, and commands that are given up."""

    async def test_a_crash_while_it_is_built(self, make_engine: MakeEngine) -> None:
        """Observed once or not at all; built again, or destroyed; the other ghosts are as they were."""
        finished: set[type] = set()
        async with self._kept(make_engine) as other:
            for number, moment in self._moments(finished, Build):
                ghost = new_ghost()
                await self._crash(make_engine, Build(ghost, self.template, self.limits), moment, finished)
                async with beside(make_engine) as engine:
                    await self._at_most_once(engine, ghost, moment)
                    if number % 2 == 0:
                        await self.build(engine, ghost)
                        found = await seen(engine, ghost)
                        require(found.alive and not found.frozen and found.owner is None, f"{moment}: built anew")
                        await self.check_endpoint(engine.endpoint(ghost))
                    await done(engine, Destroy(ghost))
                    left = [one.ghost for one in await engine.observe()]
                    require(left == [other], f"{moment}: only the other ghost is there, not {left}")
                    await self.check_endpoint(engine.endpoint(other))

    async def test_a_crash_while_it_is_resized(self, make_engine: MakeEngine) -> None:
        """The old limits or the new, and the new once it is repeated."""
        finished: set[type] = set()
        async with self._kept(make_engine, RESIZING) as ghost:
            for number, moment in self._moments(finished, SetLimits):
                limits = self.limits.scaled(0.5 if number % 2 else 1.5)
                async with self._crashed(make_engine, SetLimits(ghost, limits), moment, finished) as engine:
                    require((await seen(engine, ghost)).alive, f"{moment}: a ghost lives through it")
                    await self.check_limits(engine, ghost, limits)

    async def test_a_crash_while_a_home_is_attached(self, make_engine: MakeEngine) -> None:
        """It is nobody's or the user's; never a second one's; the home is theirs once it is repeated."""
        ann, bob = self.users
        finished: set[type] = set()
        for _, moment in self._moments(finished, AttachHome):
            async with self._kept(make_engine) as ghost:
                await self._crash(make_engine, AttachHome(ghost, ann), moment, finished)
                async with beside(make_engine) as engine:
                    owner = (await seen(engine, ghost)).owner
                    require(owner in (None, ann), f"{moment}: the owner is nobody or the one who was named")
                    await done(engine, AttachHome(ghost, ann))
                    require((await seen(engine, ghost)).owner == ann, f"{moment}: repeated, the home is attached")
                    require(isinstance(await refused(engine, AttachHome(ghost, bob)), Conflict), "and no second one")
                    await done(engine, Destroy(ghost))
                    await done(engine, AttachHome(await self.build(engine), ann))

    async def test_a_crash_while_it_is_parked_and_woken(self, make_engine: MakeEngine) -> None:
        """Frozen or not, memory out or in; and as it was asked for once it is repeated."""
        finished: set[type] = set()
        async with self._kept(make_engine, FREEZING) as ghost:
            for _, moment in self._moments(finished, Freeze, Thaw):
                async with self._crashed(make_engine, Freeze(ghost), moment, finished) as engine:
                    require((await seen(engine, ghost)).frozen, f"{moment}: repeated, it is frozen")
                    parks = has(engine, PARKING)
                for command in (ReclaimMemory(ghost), CallBackMemory(ghost)) if parks else ():
                    async with self._crashed(make_engine, command, moment, finished) as engine:
                        require((await seen(engine, ghost)).frozen, f"{moment}: it stays frozen")
                async with self._crashed(make_engine, Thaw(ghost), moment, finished) as engine:
                    require(not (await seen(engine, ghost)).frozen, f"{moment}: repeated, it is thawed")
                    await self.check_endpoint(engine.endpoint(ghost))

    async def test_a_crash_while_it_is_destroyed(self, make_engine: MakeEngine) -> None:
        """Observed once or not at all; gone for good once it is repeated, with all that was its own."""
        finished: set[type] = set()
        for _, moment in self._moments(finished, Destroy):
            async with self._kept(make_engine) as ghost:
                async with beside(make_engine) as engine:
                    await done(engine, AttachHome(ghost, self.users[0]))
                async with self._crashed(make_engine, Destroy(ghost), moment, finished) as engine:
                    require(list(await engine.observe()) == [], f"{moment}: repeated, it is gone")
                    require(not has_endpoint(engine, ghost), f"{moment}: a destroyed ghost has no endpoint")

    async def test_a_command_that_is_given_up_may_be_repeated(self, make_engine: MakeEngine) -> None:
        """The caller's task is cancelled in the middle, and the same engine goes on: one ghost, and then none."""
        ann = self.users[0]
        async with started(make_engine) as engine:
            ghost = new_ghost()
            await self._give_up(engine, Build(ghost, self.template, self.limits))
            await self.build(engine, ghost)
            require(len(await engine.observe()) == 1, "a build that was given up and repeated makes one ghost")
            await self.check_endpoint(engine.endpoint(ghost))
            await self._give_up(engine, AttachHome(ghost, ann))
            await done(engine, AttachHome(ghost, ann))
            require((await seen(engine, ghost)).owner == ann, "an attach that was given up can be repeated")
            await self._give_up(engine, Destroy(ghost))
            await done(engine, Destroy(ghost))
            require(list(await engine.observe()) == [], "a destroy that was given up and repeated leaves no ghost")
            await self._give_up(engine, Build(ghost, self.template, self.limits))
            await done(engine, Destroy(ghost))
            require(list(await engine.observe()) == [], "a build that was given up can be destroyed")
        self.check_nothing_left()

    async def crash(self, make_engine: MakeEngine, command: EngineCommand, moment: Moment) -> bool:
        """Carry out `command` by an engine that dies at `moment`; False when it was done before."""
        if self.in_memory:
            engine = make_engine()
            await engine.start()
            return not await _Abandoned(engine.apply(command), moment.effect)
        order = _order(make_engine, command, moment)
        if order is None:
            skip("`make_engine` cannot be pickled: give a functools.partial of a class or of a module's function")
        return await asyncio.to_thread(_run_child, order, type(command).__name__)

    # Inside

    async def _crash(
        self, make_engine: MakeEngine, command: EngineCommand, moment: Moment, finished: set[type]
    ) -> None:
        """A crash, unless an earlier one already came too late for a command of this type."""
        counted = moment.effect > 0 and not moment.started
        if counted and type(command) in finished:
            return
        if not await self.crash(make_engine, command, moment) and counted:
            require(
                moment.effect > 1,
                f"{type(command).__name__} was done with no effect that Python tells of: "
                "give this suite `crash_after_s` in place of `crash_effects`",
            )
            finished.add(type(command))

    def _moments(self, finished: set[type], *commands: type) -> Iterator[tuple[int, Moment]]:
        """Every moment, in order; the later ones by effect only while some command is not finished by then."""
        for number, effect in enumerate(self.crash_effects):
            if not finished.issuperset(commands):
                yield number, Moment(effect=effect)
        starts = self.crash_starts if Build in commands and not self.in_memory else ()
        others = [
            *(Moment(n, started=True) for n in starts),
            *(Moment(after_s=after_s) for after_s in self.crash_after_s),
        ]
        yield from enumerate(others)

    async def _at_most_once(self, engine: Engine, ghost: GhostId, moment: Moment) -> None:
        found = [one for one in await engine.observe() if one.ghost == ghost]
        require(len(found) <= 1, f"{moment}: a crash leaves a ghost once or not at all")

    @contextlib.asynccontextmanager
    async def _crashed(
        self, make_engine: MakeEngine, command: EngineCommand, moment: Moment, finished: set[type]
    ) -> AsyncIterator[Engine]:
        """The next engine, after a crash in the command and its repetition."""
        await self._crash(make_engine, command, moment, finished)
        async with beside(make_engine) as engine:
            await self._at_most_once(engine, command.ghost, moment)
            await done(engine, command)
            yield engine

    @contextlib.asynccontextmanager
    async def _kept(self, make_engine: MakeEngine, *abilities: str) -> AsyncIterator[GhostId]:
        """A ghost that outlives its engine; at the end everything is destroyed, and nothing may be left."""
        async with beside(make_engine) as engine:
            need(engine, *abilities)
            try:
                ghost = await self.build(engine)
            except BaseException:
                await engine.stop(keep_ghosts=False)
                raise
        try:
            yield ghost
        finally:
            async with started(make_engine):
                pass
        self.check_nothing_left()

    async def _give_up(self, engine: Engine, command: EngineCommand) -> None:
        task = asyncio.create_task(engine.apply(command))
        await asyncio.wait([task], timeout=self.cancel_after_s)
        task.cancel()
        await asyncio.wait([task])


class _Abandoned:
    """Awaits a coroutine up to its n-th wait, and then closes it; True when it was done before."""

    def __init__(self, work: Coroutine[Any, Any, Any], waits: int) -> None:
        self._work, self._waits = work, waits

    def __await__(self) -> Generator[Any, Any, bool]:
        for number in range(1, self._waits + 1):
            try:
                waits_for = self._work.send(None)
            except StopIteration:
                return True
            if number < self._waits:
                yield waits_for
        self._work.close()
        return False


def _order(make_engine: MakeEngine, command: EngineCommand, moment: Moment) -> bytes | None:
    """What the child is told; None when `make_engine` cannot be handed over."""
    try:
        return pickle.dumps(
            (sys.path, pickle.dumps(make_engine), command, moment.effect, moment.after_s, moment.started)
        )
    except (pickle.PicklingError, TypeError, AttributeError):
        return None


def _run_child(order: bytes, what: str) -> bool:
    """Whether the child died of its wound; raises `ConformanceFailure` when it failed of anything else."""
    # Not pipes: what the engine starts may live on and hold them open.
    with tempfile.TemporaryFile() as told:
        done = subprocess.run(
            [sys.executable, "-m", "ghostdesk.testing.crash_child"],
            input=order, stdout=subprocess.DEVNULL, stderr=told, timeout=_CHILD_TIMEOUT_S, check=False,
        )  # fmt: skip
        if done.returncode in _SIGNALS:
            return True
        if done.returncode == 0:
            return False
        told.seek(0)
        said = told.read()[-2000:].decode(errors="replace")
        raise ConformanceFailure(f"{what} in a process of its own failed, and not by the crash: {said}")
