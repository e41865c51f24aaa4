"""`ghostdesk bench contention`: a person types while ghosts warm beside them. Are people first?

One desktop is in use: claimed, an editor open, keys pressed all the time. It is alone, then ghosts are built, bound and
made to launch an application hidden, as many as asked for, as fast as the engine allows; then it is alone again, beside
the warm ghosts. The time from a key to the changed pixels is taken outside the desktop, in the process that also runs
the engine, as the gateway does.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum

from ghostdesk.bench.desk import BenchError, Desk, Hub, desk
from ghostdesk.bench.host import Provenance
from ghostdesk.bench.rungs import BENCH_APPS
from ghostdesk.bench.stats import Summary, summarise
from ghostdesk.bench.typist import type_until
from ghostdesk.engines.protocol import Engine
from ghostdesk.ghosts.commands import Freeze, SetLimits
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import NOTHING, Priority, Resources

DEFAULT_APP = AppId("libreoffice-writer")
SCHEMA = "ghostdesk.bench.contention/1"
_TEMPLATE = DesktopTemplate(TemplateId("bench"))
_PERSON = UserId("bench-person")
_EDITOR = next(app for app in BENCH_APPS if app.name == "Mousepad")


class Phase(StrEnum):
    """What goes on beside the person."""

    ALONE = "alone"
    WARMING = "ghosts warm"
    BESIDE = "beside warm ghosts"


@dataclass(frozen=True, slots=True)
class Typed:
    """Keys of one phase.

    Args:
        phase: which.
        key_s: seconds from each key to its echo.
        lost: keys without an echo within 10 s.
        load: runnable tasks of the host when it began and when it ended (mean of a minute).
    """

    phase: Phase
    key_s: tuple[float, ...]
    lost: int
    load: tuple[float, float]

    @property
    def summary(self) -> Summary | None:
        """Median, 95th percentile and so on."""
        return summarise(self.key_s)


@dataclass(frozen=True, slots=True)
class Warmed:
    """One ghost that was made beside the person: seconds until it was warm, or why it is not."""

    ghost: str
    warm_s: float
    problem: str = ""


@dataclass(frozen=True)
class ContentionReport:
    """Everything that one run found; `warming_s` is how long all ghosts together took."""

    provenance: Provenance
    ghosts: int
    app: str
    typed: tuple[Typed, ...]
    warmed: tuple[Warmed, ...]
    warming_s: float
    schema: str = SCHEMA

    def of(self, phase: Phase) -> Summary | None:
        """The keys of a phase, summed up."""
        return next((each.summary for each in self.typed if each.phase is phase), None)

    def ratio(self, phase: Phase, figure: Callable[[Summary], float]) -> float | None:
        """A phase's figure over that of the desktop alone."""
        alone, other = self.of(Phase.ALONE), self.of(phase)
        return None if alone is None or other is None else figure(other) / figure(alone)


async def run_contention_bench(
    engine: Engine,
    hub: Hub,
    provenance: Provenance,
    *,
    limits: Resources,
    ghosts: int = 20,
    keys: int = 100,
    app: AppId = DEFAULT_APP,
    most_s: float = 600.0,
    progress: Callable[[str], None] = lambda _: None,
) -> ContentionReport:
    """Measure it; everything that was built is destroyed at the end.

    Args:
        engine, hub: started; ghosts named `bench...` and `warm...` are built.
        provenance: where and when, see `host.this_host`.
        limits: of each ghost while it warms.
        ghosts: how many warm beside the person.
        keys: pressed alone, before and after.
        app: what each ghost launches, hidden.
        most_s: how long they may take together; those that are not warm by then are told.
        progress: told each step in a few words.

    Raises:
        BenchError: the person's desktop has no editor.
        GhostdeskError: the person's desktop cannot be built. A ghost that cannot is told in the report.
    """
    progress("building the person's desktop")
    async with (
        desk(engine, hub, GhostId("benchperson"), _TEMPLATE, _PERSON, in_use=True) as here,
        AsyncExitStack() as stack,
    ):
        await here.apply(SetLimits(here.ghost, NOTHING, Priority.PERSON))
        installed = await here.installed()
        editor = next((each for each in _EDITOR.apps if each in installed), None)
        if editor is None:
            raise BenchError("The person's desktop has no Mousepad to type into.", "Run: apt-get install mousepad")
        screen = await stack.enter_async_context(await here.watch())
        await screen.wait_quiet(1.0, 10.0)
        await here.call("launch", app=editor, hidden=False, files=[])
        await screen.wait_quiet(2.0, 60.0)

        async def typed(phase: Phase, enough: Callable[[int], bool], seed: int) -> Typed:
            progress(f"typing: {phase}")
            before = os.getloadavg()[0]
            seconds, lost = await type_until(screen, enough, seed)
            return Typed(phase, tuple(seconds), lost, (before, os.getloadavg()[0]))

        await type_until(screen, lambda n: n >= 10, 0)  # the first keys fetch what every later one finds
        alone = await typed(Phase.ALONE, lambda n: n >= keys, 1)
        begin_s = time.monotonic()
        made = [
            asyncio.create_task(_warm(stack, engine, hub, GhostId(f"warm{number}"), limits, app, progress))
            for number in range(ghosts)
        ]
        try:
            end_s = begin_s + most_s
            during = await typed(
                Phase.WARMING, lambda _: all(task.done() for task in made) or time.monotonic() > end_s, 2
            )
            warming_s = time.monotonic() - begin_s
            warmed = [_outcome(task, number, warming_s) for number, task in enumerate(made)]
        finally:
            for task in made:
                task.cancel()
            await asyncio.gather(*made, return_exceptions=True)
        beside = await typed(Phase.BESIDE, lambda n: n >= keys, 3)
        progress("destroying the ghosts")
    return ContentionReport(provenance, ghosts, app, (alone, during, beside), tuple(warmed), warming_s)


def _outcome(task: asyncio.Task[Warmed], number: int, after_s: float) -> Warmed:
    if task.done():
        return task.result()
    return Warmed(f"warm{number}", after_s, "was not warm yet")


async def _warm(
    stack: AsyncExitStack,
    engine: Engine,
    hub: Hub,
    ghost: GhostId,
    limits: Resources,
    app: AppId,
    progress: Callable[[str], None],
) -> Warmed:
    """One ghost from nothing to warm: built, bound, its application launched hidden, frozen."""
    begin_s = time.monotonic()
    try:
        made = desk(engine, hub, ghost, _TEMPLATE, UserId(f"bench-{ghost}"))
        here: Desk = await stack.enter_async_context(made)
        await here.apply(SetLimits(ghost, limits, Priority.GHOST))
        await here.call("launch", app=app, hidden=True, files=[])
        await here.apply(Freeze(ghost))
    except GhostdeskError as error:
        return Warmed(ghost, time.monotonic() - begin_s, str(error))
    progress(f"typing: {ghost} is warm")
    return Warmed(ghost, time.monotonic() - begin_s)
