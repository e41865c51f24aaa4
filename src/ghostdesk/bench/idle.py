"""`ghostdesk bench idle`: what idle ghosts hold in each rung: memory, swap and CPU."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum

from ghostdesk.bench.desk import BenchError, Desk, Hub, desk
from ghostdesk.bench.host import Provenance
from ghostdesk.bench.processes import cpu_s_of, held_by, pids_of_uid, zram_bytes
from ghostdesk.bench.stats import Summary, summarise
from ghostdesk.engines.protocol import Engine
from ghostdesk.ghosts.commands import AttachHome, Freeze, ReclaimMemory
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId

SCHEMA = "ghostdesk.bench.idle/1"
_TEMPLATE = DesktopTemplate(TemplateId("bench"))


class IdleRung(StrEnum):
    """What the ghosts are while they are watched."""

    READY = "ready"
    """Booted, generic, running."""
    WARM = "warm"
    """A home attached, the applications launched, hidden and frozen; the desktop itself runs."""
    FROZEN = "frozen"
    """As warm, and the whole ghost is frozen."""
    PARKED = "parked"
    """As frozen, and its anonymous memory was reclaimed to swap."""


@dataclass(frozen=True, slots=True)
class IdleSample:
    """One ghost over `window_s` seconds in one rung; memory is read at the end of them."""

    rung: IdleRung
    ghost: str
    window_s: float
    processes: int
    pss_bytes: int
    swap_pss_bytes: int
    cpu_s: float

    @property
    def cpu_share(self) -> float:
        """CPU used, as a share of one core."""
        return self.cpu_s / self.window_s


@dataclass(frozen=True, slots=True)
class SwapHeld:
    """What all ghosts of the run together took in zram, compressed, in bytes."""

    rung: IdleRung
    zram_bytes: int


@dataclass(frozen=True)
class IdleReport:
    """Everything that one run of the idle benchmark found."""

    provenance: Provenance
    ghosts: int
    seconds: float
    apps: tuple[str, ...]
    samples: tuple[IdleSample, ...]
    swap: tuple[SwapHeld, ...] = ()
    schema: str = SCHEMA

    def of(self, rung: IdleRung, value: Callable[[IdleSample], float]) -> Summary | None:
        """A figure of each ghost in a rung, summed up."""
        return summarise(value(sample) for sample in self.samples if sample.rung is rung)


async def run_idle_bench(
    engine: Engine,
    hub: Hub,
    provenance: Provenance,
    *,
    ghosts: int = 10,
    seconds: float = 60.0,
    apps: Sequence[AppId] = (AppId("org.xfce.mousepad"), AppId("lxterminal")),
    rungs: Sequence[IdleRung] = tuple(IdleRung),
    progress: Callable[[str], None] = lambda _: None,
) -> IdleReport:
    """Watch `ghosts` idle ghosts for `seconds` in each rung, climbing from ready to parked with the same ghosts.

    A ghost's processes are those of its own uid. Raises `BenchError` where ghosts have no uid of their own, and what
    the engine and the agents raise: a ghost that cannot be brought to a rung makes the comparison worthless.
    """
    samples: list[IdleSample] = []
    swap: list[SwapHeld] = []
    zram_before_bytes = zram_bytes()
    async with AsyncExitStack() as stack:
        desks = []
        for number in range(ghosts):
            progress(f"building ghost {number + 1} of {ghosts}")
            desks.append(await stack.enter_async_context(desk(engine, hub, GhostId(f"idle{number}"), _TEMPLATE)))
        for rung in IdleRung:
            progress(f"{rung}: bringing {ghosts} ghosts there")
            for here in desks:
                await _bring(here, rung, apps)
            if rung not in rungs:
                continue
            await asyncio.sleep(min(10.0, seconds))
            progress(f"{rung}: watching for {seconds:.0f} s")
            samples.extend(await _watch(desks, rung, seconds))
            zram_now_bytes = zram_bytes()
            if zram_before_bytes is not None and zram_now_bytes is not None:
                swap.append(SwapHeld(rung, max(0, zram_now_bytes - zram_before_bytes)))
    return IdleReport(provenance, ghosts, seconds, tuple(apps), tuple(samples), tuple(swap))


async def _bring(here: Desk, rung: IdleRung, apps: Sequence[AppId]) -> None:
    """One rung on from the one before."""
    if rung is IdleRung.WARM:
        user = UserId(f"bench-{here.ghost}")
        await here.apply(AttachHome(here.ghost, user))
        await here.call("bound", user=str(user), files=[])
        for app in apps:
            await here.call("launch", app=app, hidden=True, files=[])
            await here.call("freeze", app=app)
    elif rung is IdleRung.FROZEN:
        await here.apply(Freeze(here.ghost))
    elif rung is IdleRung.PARKED:
        await here.apply(ReclaimMemory(here.ghost))


async def _watch(desks: Sequence[Desk], rung: IdleRung, seconds: float) -> list[IdleSample]:
    uids = {here.ghost: here.engine.endpoint(here.ghost).agent_uid for here in desks}
    if os.getuid() in uids.values():
        raise BenchError(
            "The ghosts run under this user's own uid, so their processes cannot be told apart.", "Run as root."
        )
    before = {ghost: cpu_s_of(pids_of_uid(uid)) for ghost, uid in uids.items()}
    begin_s = time.monotonic()
    await asyncio.sleep(seconds)
    samples = []
    for ghost, uid in uids.items():
        pids = pids_of_uid(uid)
        window_s = time.monotonic() - begin_s
        used_s = sum(cpu_s - before[ghost].get(pid, 0.0) for pid, cpu_s in cpu_s_of(pids).items())
        held = held_by(pids)
        samples.append(IdleSample(rung, ghost, window_s, held.processes, held.pss_bytes, held.swap_pss_bytes, used_s))
    return samples
