"""A fleet on Incus or LXD: from nothing to a painted desktop, and the control loop's tick over many instances.

Instances for the ticks are real ones of the server, made from the same image with the same limits, but their first
process only sleeps: 200 whole desktops would need more memory than a machine for development has, and what a tick costs
does not depend on what runs inside. The reports say so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ghostdesk.bench.desk import BenchError
from ghostdesk.bench.painted import Window, painted_at
from ghostdesk.bench.rfb import RfbClient
from ghostdesk.engines.incus.api import IncusApi, instance_path
from ghostdesk.engines.incus.engine import IncusEngine
from ghostdesk.engines.incus.render import POOL, instance_name, instance_request
from ghostdesk.ghosts.commands import Build, Destroy
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import MIB, Resources

Progress = Callable[[str], None]
AT_ONCE = 6
_STAND_IN = "lxc.init.cmd = /bin/sleep infinity"
_SMALL = Resources(cpu_cores=0.1, memory_bytes=64.0 * MIB)
_QUIET_S = 1.0


@dataclass(frozen=True, slots=True)
class Clone:
    """One new desktop: seconds until its screen answered, and until it was painted; the member that it is on."""

    answers_s: float
    painted_s: float
    member: str


@dataclass(frozen=True, slots=True)
class Ticks:
    """Seconds of each tick over so many instances, and of reading them alone; how many members they are on."""

    instances: int
    members: int
    made_in_s: float
    observe_s: tuple[float, ...]
    tick_s: tuple[float, ...]


async def measure_clones(
    engine: IncusEngine, template: DesktopTemplate, limits: Resources, rounds: int, progress: Progress
) -> list[Clone]:
    """Build a desktop, see it painted, destroy it; so many times, one after the other."""
    clones = []
    for number in range(rounds):
        progress(f"desktop {number + 1} of {rounds}")
        ghost = GhostId(f"bench{number}")
        began_s = time.monotonic()
        outcome = await engine.apply(Build(ghost, template, limits))
        if outcome.error is not None:
            raise outcome.error
        answers_s = time.monotonic() - began_s
        try:
            painted_s = await painted_after(engine.endpoint(ghost).rfb_path, began_s)
        finally:
            await engine.apply(Destroy(ghost))
        clones.append(Clone(answers_s, painted_s, str(outcome.facts.get("location", ""))))
    return clones


async def painted_after(rfb_path: str, began_s: float) -> float:
    """Seconds from `began_s` until 98 % of the screen was as it is once it is quiet."""
    async with await RfbClient.connect(rfb_path) as screen:
        first_s = time.monotonic()
        recording = screen.record()
        if not await screen.wait_quiet(_QUIET_S, 60.0):
            raise BenchError("The desktop's screen did not become quiet within a minute.")
        settled = screen.picture()
        width, height = screen.size
        try:
            at_s = painted_at(recording.before, recording.updates, settled, Window(0, 0, width, height))
        except ValueError:  # it was painted when we came
            at_s = first_s
    if at_s is None or int(settled.max()) == int(settled.min()):
        raise BenchError("The desktop's screen stayed empty.")
    return at_s - began_s


async def make_instances(
    engine: IncusEngine, api: IncusApi, template: DesktopTemplate, count: int, progress: Progress
) -> float:
    """Real instances whose first process sleeps, as the engine would make them; the seconds that it took.

    They have the engine's mark and names, so `engine.stop(keep_ghosts=False)` removes them.
    """
    slots, done = asyncio.Semaphore(AT_ONCE), 0
    began_s = time.monotonic()

    async def make(number: int) -> None:
        nonlocal done
        ghost = GhostId(f"stand{number}")
        body = instance_request(engine.plan, ghost, template, _SMALL)
        body["config"]["raw.lxc"] = _STAND_IN
        del body["devices"]["run"]
        async with slots:
            await api.change("POST", "/1.0/instances", body)
            state = {"action": "start", "timeout": 30}
            await api.change("PUT", instance_path(instance_name(engine.plan.pool, ghost), "/state"), state)
        done += 1
        progress(f"{done} of {count} instances (their first process sleeps)")

    await asyncio.gather(*(make(number) for number in range(count)))
    return time.monotonic() - began_s


async def measure_ticks(
    engine: IncusEngine, api: IncusApi, tick: Callable[[], Awaitable[object]], rounds: int, made_in_s: float
) -> Ticks:
    """Time the tick, and the reading of the instances alone, so many times each, in turn."""
    observed, ticks = [], []
    for _ in range(rounds):
        began_s = time.monotonic()
        seen = await engine.observe()
        observed.append(time.monotonic() - began_s)
        began_s = time.monotonic()
        await tick()
        ticks.append(time.monotonic() - began_s)
        await asyncio.sleep(1.0)  # as between ticks: what is read beside the loop goes on
    listed = await api.get("/1.0/instances", recursion="1")
    ours = [one for one in listed if (one.get("config") or {}).get(POOL) == engine.plan.pool]
    members = {str(one.get("location", "")) for one in ours}
    return Ticks(len(seen), len(members), made_in_s, tuple(observed), tuple(ticks))
