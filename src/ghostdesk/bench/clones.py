"""A desktop with an application in it, ready for somebody: booted, cloned from an image, woken from either parking.

Each trial makes one generic desktop (or wakes one), watches its screen until the whole of it is as it stays, then has
the application's window shown. Clones and desktops parked as an image come from one image, in which the application was
launched; the others start theirs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path

from ghostdesk.bench.desk import AGENT_TIMEOUT_S, BenchError, Desk, Hub, desk
from ghostdesk.bench.host import Provenance
from ghostdesk.bench.host_memory import group_memory
from ghostdesk.bench.painted import Window, painted_at, window_of
from ghostdesk.bench.processes import Held, held_by, zram_bytes
from ghostdesk.bench.rfb import RfbClient
from ghostdesk.bench.stats import Summary, summarise
from ghostdesk.engines.protocol import Engine
from ghostdesk.ghosts.commands import Build, Destroy, Freeze, ReclaimMemory, SetLimits, Thaw
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId
from ghostdesk.kernel.resources import Priority, Resources

SCHEMA = "ghostdesk.bench.clones/1"
TEMPLATE = DesktopTemplate(TemplateId("benchclones"), network="isolated")
_QUIET_S = 1.2
_TIMEOUT_S = 120.0
_SETTLE_S = 2.0
_numbers = count(1)


class Way(StrEnum):
    """How the desktop comes."""

    BOOT = "booted"
    CLONE = "cloned"
    RECLAIMED = "parked in swap"
    IMAGE = "parked as image"


CLONED = frozenset({Way.CLONE, Way.IMAGE})
"""Those that need an engine with clones; the others need one without."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One desktop.

    Args:
        way: how it came.
        answered_s: from the command until its screen gave a whole picture.
        painted_s: from the command until the desktop was as it stays.
        shown_s: from the wish for the application until its whole window was there.
        pss_bytes: of all its processes, settled, with the application.
        parked_bytes: PSS and compressed swap while it was parked; 0 for one that was not.
    """

    way: Way
    answered_s: float
    painted_s: float
    shown_s: float
    pss_bytes: int
    parked_bytes: int = 0


@dataclass(frozen=True)
class ClonesReport:
    """Everything that one run found. `image_bytes` is on disk, once for all clones; `loads` the load averages before
    and after."""

    provenance: Provenance
    app: str
    trials: tuple[Trial, ...]
    image_s: float
    image_bytes: int
    loads: tuple[float, float]
    missing: tuple[str, ...] = ()
    schema: str = SCHEMA

    def summary(self, way: Way, value: Callable[[Trial], float]) -> Summary | None:
        """A figure of the trials of one way, summed up."""
        return summarise(value(trial) for trial in self.trials if trial.way is way)


async def run_trials(
    engine: Engine, hub: Hub, app: AppId, ways: Iterable[Way], rounds: int, progress: Callable[[str], None]
) -> tuple[list[Trial], list[str]]:
    """`rounds` desktops each way, the ways in turn; returns the trials, and what failed."""
    trials: list[Trial] = []
    missing: list[str] = []
    wanted = list(ways)
    for number in range(rounds):
        for way in wanted:
            progress(f"{way}: {number + 1} of {rounds}")
            try:
                trials.append(await _trial(engine, hub, app, way))
            except (BenchError, ValueError, TimeoutError) as error:
                missing.append(f"{way}, {number + 1}: {error}")
    return trials, missing


async def make_image(engine: Engine, images: Path, made: Callable[[], Awaitable[None]]) -> tuple[float, int]:
    """Have the template's image made; returns how long that took beside a first desktop, and its size in bytes."""
    begin_s = time.monotonic()
    ghost = GhostId(f"bench{next(_numbers)}")
    outcome = await engine.apply(Build(ghost, TEMPLATE, Resources(), Priority.PERSON))
    if outcome.error is not None:
        raise outcome.error
    await made()
    await engine.apply(Destroy(ghost))
    size = sum(path.stat().st_size for path in images.glob("*/criu/*.img"))
    if not size:
        told = [ability.detail for ability in engine.abilities() if "clones" in ability.name]
        raise BenchError(f"No image could be made: {'; '.join(told)}.", "Run scripts/setup-criu.")
    return time.monotonic() - begin_s, size


async def _trial(engine: Engine, hub: Hub, app: AppId, way: Way) -> Trial:
    ghost = GhostId(f"bench{next(_numbers)}")
    if way in (Way.BOOT, Way.CLONE):
        return await _built(Desk(engine, hub, ghost), app, way)
    async with desk(engine, hub, ghost, TEMPLATE, in_use=True) as here:
        if way is Way.RECLAIMED:
            await here.call("launch", app=app, hidden=True, files=[])
            await here.call("freeze", app=app)
        parked_bytes = await _park(here)
        begin_s = time.monotonic()
        await here.apply(SetLimits(ghost, Resources(), Priority.PERSON))  # as on a claim
        await here.apply(Thaw(ghost))
        return await _watched(here, app, way, begin_s, parked_bytes)


async def _built(here: Desk, app: AppId, way: Way) -> Trial:
    """Watched from the moment that its screen answers, before its agent does."""
    try:
        begin_s = time.monotonic()
        built = await here.apply(Build(here.ghost, TEMPLATE, Resources(), Priority.PERSON))
        if (built.facts.get("path") == "clone") is not (way is Way.CLONE):
            raise BenchError(f"The desktop came {built.facts.get('path')}: {built.facts.get('image_problem', '')}.")
        await here.hub.connect(here.ghost, here.engine.endpoint(here.ghost))
        return await _watched(here, app, way, begin_s)
    finally:
        await here.hub.disconnect(here.ghost)
        await here.engine.apply(Destroy(here.ghost))


async def _park(here: Desk) -> int:
    await asyncio.sleep(_SETTLE_S)
    zram_before = zram_bytes() or 0
    await here.apply(Freeze(here.ghost))
    await here.apply(ReclaimMemory(here.ghost))
    return _held(here).pss_bytes + max(0, (zram_bytes() or 0) - zram_before)


def _held(here: Desk) -> Held:
    return held_by(group_memory(here.engine.endpoint(here.ghost).agent_uid).pids)


async def _watched(here: Desk, app: AppId, way: Way, begin_s: float, parked_bytes: int = 0) -> Trial:
    """Watch until nothing changes any more; then when the desktop was painted is known, and it is the application's
    turn."""
    async with await here.watch() as screen:
        answered_s = time.monotonic() - begin_s
        recording = screen.record()
        if not await screen.wait_quiet(_QUIET_S, _TIMEOUT_S):
            raise BenchError("The desktop did not come to rest.")
        screen.stop_recording()
        settled = screen.picture()
        whole = Window(0, 0, *screen.size)
        try:
            painted = painted_at(recording.before, recording.updates, settled, whole)
        except ValueError:
            painted = begin_s + answered_s
        if painted is None:
            raise BenchError("The desktop was never whole.")
        await here.hub.wait_connected(here.ghost, AGENT_TIMEOUT_S)
        shown_s = await _shown(here, app, screen)
        await asyncio.sleep(_SETTLE_S)
        held = await asyncio.to_thread(_held, here)
    return Trial(way, answered_s, painted - begin_s, shown_s, held.pss_bytes, parked_bytes)


async def _shown(here: Desk, app: AppId, screen: RfbClient) -> float:
    recording, begin_s, seen = screen.record(), time.monotonic(), screen.large_updates
    await here.call("show", app=app)
    if not await screen.wait_until(lambda: screen.large_updates > seen, _TIMEOUT_S):
        raise BenchError(f"{app} was to be shown and nothing appeared.")
    await screen.wait_quiet(_QUIET_S, _TIMEOUT_S)
    screen.stop_recording()
    settled = screen.picture()
    window = window_of(recording.before, settled)
    painted = window and painted_at(recording.before, recording.updates, settled, window)
    if not painted:
        raise BenchError(f"{app} never had its whole window on the screen.")
    return painted - begin_s


def in_words(report: ClonesReport) -> Sequence[tuple[str, ...]]:
    """The table's rows: each way with its medians and extremes, times in ms, memory in MiB."""
    rows = []
    for way in Way:
        cells = [
            _cell(report.summary(way, value), scale)
            for value, scale in (
                (lambda trial: trial.answered_s, 1000.0),
                (lambda trial: trial.painted_s, 1000.0),
                (lambda trial: trial.shown_s, 1000.0),
                (lambda trial: float(trial.pss_bytes), 1 / 2**20),
                (lambda trial: float(trial.parked_bytes), 1 / 2**20),
            )
        ]
        rows.append((f"{way}, n = {sum(trial.way is way for trial in report.trials)}", *cells))
    return rows


def _cell(found: Summary | None, scale: float) -> str:
    if found is None:
        return "-"
    return f"{found.median * scale:.0f} ({found.minimum * scale:.0f}-{found.maximum * scale:.0f})"
