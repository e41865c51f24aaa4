"""`ghostdesk bench density`: what one more ghost costs in each rung, and how fast parked ones wake."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum

from ghostdesk.bench.density_fit import Cost, Step, cost_of
from ghostdesk.bench.desk import BenchError, Desk, Hub, desk
from ghostdesk.bench.host import Provenance
from ghostdesk.bench.host_memory import GroupMemory, available_bytes, group_memory
from ghostdesk.bench.painted import answered_at, painted_at, window_of
from ghostdesk.bench.processes import Held, cpu_s_of, held_by, zram_bytes
from ghostdesk.bench.rfb import RfbClient
from ghostdesk.bench.rfb_wire import RfbError
from ghostdesk.bench.rungs import BenchApp
from ghostdesk.bench.stats import Summary, summarise
from ghostdesk.engines.protocol import Engine
from ghostdesk.ghosts.commands import AttachHome, CallBackMemory, Freeze, ReclaimMemory, SetLimits, Thaw
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import Priority, Resources

SCHEMA = "ghostdesk.bench.density/1"
_TEMPLATE = DesktopTemplate(TemplateId("bench"))
_STEPS = 10
_SETTLE_S = 2.0
_WINDOW_TIMEOUT_S = 30.0
_QUIET_S = 0.5
_FAILURES_AT_MOST = 5


class DensityRung(StrEnum):
    """What the ghosts are."""

    READY = "ready"
    """Booted, generic, running."""
    WARM = "warm"
    """Bound to a user, the application launched, hidden and frozen; the desktop itself runs."""
    FROZEN = "frozen"
    """As warm, and the whole ghost is frozen."""
    PARKED = "parked"
    """As frozen, and its memory was pushed out to swap."""


class CallBack(StrEnum):
    """When the pages of a parked ghost were called back."""

    NEVER = "not called back"
    AFTER = "called back after the thaw"
    """As on a sign-in that nobody foresaw: when the first frame is there."""
    BEFORE = "called back before"
    """As on a wake that was foreseen: the time it takes is not in the wake."""


@dataclass(frozen=True, slots=True)
class RungSeries:
    """Ghosts of one rung, one after another.

    Args:
        rung: theirs.
        steps: the host's totals on the way.
        window_s, cpu_s: how long all of them were watched at the end, and the CPU that they used in it.
        park_s: how long each reclaim took.
        failed: ghosts that could not be brought there, with the reason; they are not counted.
    """

    rung: DensityRung
    steps: tuple[Step, ...]
    window_s: float
    cpu_s: float
    park_s: tuple[float, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def cost(self) -> Cost | None:
        """What one more of them takes, and what all share."""
        return cost_of(self.steps)


@dataclass(frozen=True, slots=True)
class Wake:
    """One parked ghost that was woken, in seconds from the thaw, but for `key_s` and `called_back_s`.

    Args:
        how: when its pages were called back.
        first_frame_s: until a client that connected anew had the desktop's whole picture.
        painted_s: until the application's whole window was painted, too.
        key_s: from its first key until the echo; None where none was seen.
        called_back_s: how long the call-back itself took; 0 without one.
    """

    how: CallBack
    first_frame_s: float
    painted_s: float
    key_s: float | None
    called_back_s: float = 0.0


@dataclass(frozen=True)
class DensityReport:
    """Everything that one run found."""

    provenance: Provenance
    app: str
    swap: str
    series: tuple[RungSeries, ...]
    wakes: tuple[Wake, ...] = ()
    missing: tuple[str, ...] = ()
    schema: str = SCHEMA

    def wake(self, how: CallBack, value: Callable[[Wake], float | None]) -> Summary | None:
        """A figure of the wakes of one kind, summed up."""
        found = (value(wake) for wake in self.wakes if wake.how is how)
        return summarise(each for each in found if each is not None)


async def run_density_bench(
    engine: Engine,
    hub: Hub,
    provenance: Provenance,
    *,
    app: BenchApp,
    swap: str,
    counts: Sequence[tuple[DensityRung, int]],
    seconds: float = 60.0,
    wakes: int = 5,
    seed: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> DensityReport:
    """Build ghosts of one rung after another, as many as `counts` says, and read what the host's memory lost.

    Args:
        app: launched in every ghost that is bound.
        swap: where parked memory goes, for the report.
        seconds: how long each rung's CPU use is watched.
        wakes: how many parked ghosts to wake of each kind; chosen by `seed`.

    Raises `BenchError` where the application is not installed, or more than a few ghosts cannot be built.
    """
    series: list[RungSeries] = []
    missing: list[str] = []
    woken: list[Wake] = []
    for rung, count in counts:
        async with AsyncExitStack() as stack:
            run = _Run(engine, hub, app, rung, stack, progress)
            series.append(await run.fill(count, seconds))
            if rung is DensityRung.PARKED:
                chosen = random.Random(seed).sample(run.desks, min(3 * wakes, len(run.desks)))  # noqa: S311 - no secret
                for number, here in enumerate(chosen):
                    how = tuple(CallBack)[number % 3]
                    progress(f"waking {number + 1} of {len(chosen)}: {how}")
                    try:
                        woken.append(await _wake(here, run.app_id, app, how))
                    except (GhostdeskError, RfbError, ValueError, TimeoutError) as error:
                        missing.append(f"a wake, {how}: {error}")
            progress(f"{rung}: ending {len(run.desks)} ghosts")
    return DensityReport(provenance, app.name, swap, tuple(series), tuple(woken), tuple(missing))


class _Run:
    """Ghosts of one rung in the making."""

    def __init__(
        self,
        engine: Engine,
        hub: Hub,
        app: BenchApp,
        rung: DensityRung,
        stack: AsyncExitStack,
        progress: Callable[[str], None],
    ) -> None:
        self._engine, self._hub, self._app, self._rung = engine, hub, app, rung
        self._stack, self._say = stack, progress
        self.desks: list[Desk] = []
        self.app_id = app.apps[0]
        self._park_s: list[float] = []
        self._failed: list[str] = []

    async def fill(self, count: int, seconds: float) -> RungSeries:
        """Build `count`, reading the host's totals on the way, then watch them."""
        zram_before, available_before = zram_bytes() or 0, available_bytes()
        steps: list[Step] = []
        every = max(1, count // _STEPS)
        for number in range(1, count + 1):
            self._say(f"{self._rung}: ghost {number} of {count}")
            await self._add(number)
            if number % every == 0 or number == count:
                if self._rung in (DensityRung.READY, DensityRung.WARM):
                    await asyncio.sleep(_SETTLE_S)
                steps.append(await asyncio.to_thread(self._step, zram_before, available_before))
        self._say(f"{self._rung}: watching for {seconds:.0f} s")
        window_s, cpu_s = await self._watch(seconds)
        return RungSeries(self._rung, tuple(steps), window_s, cpu_s, tuple(self._park_s), tuple(self._failed))

    async def _add(self, number: int) -> None:
        async with AsyncExitStack() as own:
            try:
                here = await own.enter_async_context(
                    desk(self._engine, self._hub, GhostId(f"{self._rung}{number}"), _TEMPLATE, in_use=True)
                )
                await self._bring(here)
            except (GhostdeskError, TimeoutError) as error:
                self._failed.append(str(error))
                if len(self._failed) > _FAILURES_AT_MOST:
                    raise BenchError(f"Too many ghosts could not be brought to {self._rung}: {error}") from error
                return
            self._stack.push_async_exit(own.pop_all())
            self.desks.append(here)

    async def _bring(self, here: Desk) -> None:
        if self._rung is DensityRung.READY:
            return
        user = UserId(f"bench-{here.ghost}")
        await here.apply(AttachHome(here.ghost, user))
        await here.call("bound", user=str(user), files=[])
        installed = await here.installed()
        self.app_id = next((app for app in self._app.apps if app in installed), AppId(""))
        if not self.app_id:
            raise BenchError(f"{self._app.name} is not installed.", "make system-bench")
        await here.call("launch", app=self.app_id, hidden=True, files=[])
        await here.call("freeze", app=self.app_id)
        if self._rung is DensityRung.WARM:
            return
        await here.apply(Freeze(here.ghost))
        if self._rung is DensityRung.PARKED:
            outcome = await here.apply(ReclaimMemory(here.ghost))
            self._park_s.append(outcome.duration_s)

    def _groups(self) -> list[GroupMemory]:
        return [group_memory(here.engine.endpoint(here.ghost).agent_uid) for here in self.desks]

    def _step(self, zram_before: int, available_before: int) -> Step:
        groups = self._groups()
        held = sum((held_by(group.pids) for group in groups), Held())
        return Step(
            len(self.desks),
            held.processes,
            held.pss_bytes,
            held.swap_pss_bytes,
            max(0, (zram_bytes() or 0) - zram_before),
            sum(group.kernel_bytes for group in groups),
            available_before - available_bytes(),
        )

    async def _watch(self, seconds: float) -> tuple[float, float]:
        pids = [pid for group in await asyncio.to_thread(self._groups) for pid in group.pids]
        before, begin_s = cpu_s_of(pids), time.monotonic()
        await asyncio.sleep(seconds)
        used_s = sum(cpu_s - before.get(pid, cpu_s) for pid, cpu_s in cpu_s_of(pids).items())
        return time.monotonic() - begin_s, used_s


async def _wake(here: Desk, app_id: AppId, app: BenchApp, how: CallBack) -> Wake:
    ghost, called_back_s = here.ghost, 0.0
    if how is CallBack.BEFORE:
        called_back_s = (await here.apply(CallBackMemory(ghost))).duration_s
    begin_s = time.monotonic()
    after = asyncio.create_task(here.apply(CallBackMemory(ghost, Priority.PERSON))) if how is CallBack.AFTER else None
    await here.apply(SetLimits(ghost, Resources(), Priority.PERSON))  # as on a claim
    await here.apply(Thaw(ghost))
    async with await here.watch() as screen:
        first_frame_s = time.monotonic() - begin_s
        recording, seen = screen.record(), screen.large_updates
        await here.call("show", app=app_id)
        if not await screen.wait_until(lambda: screen.large_updates > seen, _WINDOW_TIMEOUT_S):
            raise BenchError(f"{app.name} was to be shown and nothing appeared.")
        await screen.wait_quiet(_QUIET_S, _WINDOW_TIMEOUT_S)
        screen.stop_recording()
        settled = screen.picture()
        window = window_of(recording.before, settled)
        painted_s = window and painted_at(recording.before, recording.updates, settled, window)
        if window is None or not painted_s:
            raise BenchError(f"{app.name} never had its whole window on the screen.")
        key_s = await _first_key(screen, app)
    if after is not None:
        called_back_s = (await after).duration_s
    await here.apply(Freeze(ghost))
    return Wake(how, first_frame_s, painted_s - begin_s, key_s, called_back_s)


async def _first_key(screen: RfbClient, app: BenchApp) -> float | None:
    without, recording, pressed_s = screen.picture(), screen.record(), time.monotonic()
    screen.press(*app.key)
    await screen.wait_quiet(_QUIET_S, _WINDOW_TIMEOUT_S)
    screen.stop_recording()
    after = screen.picture()
    for chord in app.undo:
        screen.press(*chord)
        await asyncio.sleep(0.05)
    await screen.wait_quiet(_QUIET_S, _WINDOW_TIMEOUT_S)
    window = window_of(without, after)
    if window is None:
        return None
    with contextlib.suppress(ValueError):
        answered_s = answered_at(without, recording.updates, after, screen.picture(), window, pressed_s)
        return None if answered_s is None else answered_s - pressed_s
    return None
