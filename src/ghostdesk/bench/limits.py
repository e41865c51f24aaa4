"""`ghostdesk bench limits`: each resource under load, limited, then lifted by a claim; and how soon all of it is there.

The load runs inside a real ghost and notes how much it has done by when. After some time the ghost is frozen, as warm
ghosts are, and claimed: full limits with a person's priority, then the thaw. *Ready* is the first moment from which on
the load runs at nine tenths or more of the speed that it has without a limit, over a short stretch that begins there.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.bench.desk import Desk, Hub, desk
from ghostdesk.bench.host import Provenance
from ghostdesk.bench.inside import Event, Load, load, memory_of
from ghostdesk.bench.stats import Summary, summarise
from ghostdesk.engines.protocol import Engine
from ghostdesk.ghosts.commands import Freeze, SetLimits, Thaw
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import GhostId, TemplateId
from ghostdesk.kernel.resources import MIB, NOTHING, Priority, Resources

SCHEMA = "ghostdesk.bench.limits/1"
FULL_SHARE = 0.9
_TEMPLATE = DesktopTemplate(TemplateId("bench"))
_SETTLE_S, _LIMITED_S, _LIFTED_S = 0.7, 1.5, 1.2

_CPU = """
while True:
    for _ in range(3000): pass
    note(time.thread_time())
"""
_NETWORK = """
import socket
way, host, port = sys.argv[1:]
peer = socket.create_connection((host, int(port)), 10)
peer.sendall(way.encode())
total, block = 0, bytes(65536)
while True:
    total += len(peer.recv(65536)) if way == "D" else peer.send(block)
    note(total)
"""
_STORAGE = """
import mmap
block, total = mmap.mmap(-1, 65536), 0
try:
    out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600)
except OSError:
    out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_DSYNC, 0o600)
while True:
    total += os.pwrite(out, block, total % (64 << 20))
    note(total)
"""
_MEMORY = """
held = []
for line in sys.stdin:
    for _ in range(int(line)):
        held.append(b"x" * (1 << 20))
        print(len(held), flush=True)
"""
"""Told how many MiB more to hold, again and again; says each that it holds."""
RESOURCES = ("cpu", "memory", "network out", "network in", "storage")
_NEAR, _BEYOND = 8, 24
"""MiB: the load is taken this near to the limit before the claim, and this far beyond it after."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One round of one resource.

    Args:
        resource: "cpu", "memory", "network out", "network in" or "storage".
        round: from 1.
        limit: what the ghost was allowed, in `unit` a second (memory: bytes).
        limited, lifted: how much the load did a second under the limit and without; for memory what it could hold.
        unit: "cores" or "bytes".
        set_s, thaw_s: how long the claim's two commands took.
        ready_s: from the claim until all of it was there, as the load itself saw it; None where that was not seen.
    """

    resource: str
    round: int
    limit: float
    limited: float
    lifted: float
    unit: str
    set_s: float
    thaw_s: float
    ready_s: float | None


@dataclass(frozen=True)
class LimitsReport:
    """Everything that one run found; `missing` says what could not be measured and why."""

    provenance: Provenance
    rounds: int
    loaded: tuple[Loaded, ...]
    missing: tuple[tuple[str, str], ...] = ()
    schema: str = SCHEMA

    def of(self, resource: str, value: Callable[[Loaded], float | None]) -> Summary | None:
        """A figure of each round of a resource, summed up."""
        found = (value(each) for each in self.loaded if each.resource == resource)
        return summarise(one for one in found if one is not None)

    def resources(self) -> tuple[str, ...]:
        """What was measured, in order."""
        return tuple(dict.fromkeys(each.resource for each in self.loaded))


def rate_between(events: Sequence[Event], begin_s: float, end_s: float) -> float:
    """How much a second was done between two moments; events are (seconds, amount so far)."""
    if end_s <= begin_s:
        return 0.0
    return (_amount_at(events, end_s) - _amount_at(events, begin_s)) / (end_s - begin_s)


def _amount_at(events: Sequence[Event], time_s: float) -> float:
    """Amount done by a moment, between two events in proportion."""
    place = bisect.bisect_right(events, (time_s, float("inf")))
    if place == 0:
        return events[0][1] if events else 0.0
    if place == len(events):
        return events[-1][1]
    (before_s, before), (after_s, after) = events[place - 1], events[place]
    return before + (after - before) * (time_s - before_s) / (after_s - before_s) if after_s > before_s else after


def ready_at(events: Sequence[Event], claim_s: float, full_rate: float, stretch_s: float) -> float | None:
    """The first moment from the claim on that begins a stretch at full speed; None where there is none.

    Args:
        events: (seconds, amount so far), in order.
        claim_s: when it was claimed.
        full_rate: amount a second without a limit.
        stretch_s: how long the speed must hold; longer than the gaps between events.
    """
    last_s = events[-1][0] if events else claim_s
    starts = [claim_s, *(at_s for at_s, _ in events if at_s >= claim_s)]
    for start_s in starts:
        if start_s + stretch_s > last_s:
            return None
        if rate_between(events, start_s, start_s + stretch_s) >= FULL_SHARE * full_rate:
            return start_s
    return None


@dataclass(frozen=True)
class _Kind:
    """How a resource is loaded."""

    name: str
    limits: Resources
    limit: float
    unit: str
    code: str
    arguments: tuple[str, ...]
    stretch_s: float


async def run_limits_bench(
    engine: Engine,
    hub: Hub,
    provenance: Provenance,
    *,
    folder: Path,
    rounds: int = 5,
    only: Collection[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> LimitsReport:
    """Load each resource in a real ghost, limited and lifted, `rounds` times.

    Args:
        engine, hub: started; a ghost named `benchlimits` is built and destroyed.
        provenance: where and when, see `host.this_host`.
        folder: on the disk that homes are on; a file of 64 MiB is written there.
        rounds: of each resource.
        only: names of resources; all when empty.
        progress: told each step in a few words.

    Raises:
        BenchError: loads cannot be put into ghosts here.
        GhostdeskError: the ghost cannot be built.
    """
    loaded: list[Loaded] = []
    missing: list[tuple[str, str]] = []
    async with desk(engine, hub, GhostId("benchlimits"), _TEMPLATE, in_use=True) as here, _peer() as (host, port):
        if not host:
            missing.append(("network", "this host has no address but loopback's, which ghosts may not reach"))
        for kind in _kinds(host, port, folder):
            if only and kind.name not in only:
                continue
            for number in range(1, rounds + 1):
                progress(f"{kind.name}: round {number} of {rounds}")
                try:
                    told = await here.apply(SetLimits(here.ghost, kind.limits, Priority.PERSON))
                    if "not_limited" in told.facts:
                        missing.append((kind.name, str(told.facts.get("not_limited_why", told.facts["not_limited"]))))
                        break
                    measure = _memory_round if kind.name == "memory" else _round
                    loaded.append(await measure(here, kind, number))
                except (GhostdeskError, OSError) as error:
                    missing.append((kind.name, str(error)))
                    await here.apply(Thaw(here.ghost))
    return LimitsReport(provenance, rounds, tuple(loaded), tuple(missing))


def _kinds(host: str, port: int, folder: Path) -> Iterator[_Kind]:
    yield _Kind("cpu", Resources(cpu_cores=0.2), 0.2, "cores", _CPU, (), 0.05)
    yield _Kind("memory", Resources(memory_bytes=256 * MIB), 256 * MIB, "bytes", _MEMORY, (), 0.0)
    for name, way in (("network out", "U"), ("network in", "D")):
        if host:
            network = Resources(network_bytes_per_s=2e6)
            yield _Kind(name, network, 2e6, "bytes", _NETWORK, (way, host, str(port)), 0.05)
    storage = Resources(storage_bytes_per_s=4 * MIB)
    yield _Kind("storage", storage, 4 * MIB, "bytes", _STORAGE, (str(folder / "load"),), 0.05)


async def _claim(here: Desk) -> tuple[float, float, float]:
    """As the control plane claims a frozen ghost; when it began, and how long both commands took."""
    begin_s = time.monotonic()
    await here.apply(SetLimits(here.ghost, NOTHING, Priority.PERSON))
    set_s = time.monotonic()
    await here.apply(Thaw(here.ghost))
    return begin_s, set_s - begin_s, time.monotonic() - set_s


async def _become_ghost(here: Desk, kind: _Kind) -> None:
    """Until here it had a person's priority, so that what held it was the limit and not what else the machine does."""
    await here.apply(SetLimits(here.ghost, kind.limits, Priority.GHOST))
    await here.apply(Freeze(here.ghost))
    await asyncio.sleep(0.1)


async def _round(here: Desk, kind: _Kind, number: int) -> Loaded:
    uid = here.engine.endpoint(here.ghost).agent_uid
    async with load(uid, kind.code, kind.arguments) as running:
        await asyncio.sleep(_SETTLE_S)
        begin_s = time.monotonic()
        await asyncio.sleep(_LIMITED_S)
        frozen_s = time.monotonic()
        await _become_ghost(here, kind)
        claim_s, set_s, thaw_s = await _claim(here)
        await asyncio.sleep(_LIFTED_S)
        events = await running.stop()
    limited = rate_between(events, begin_s, frozen_s)
    lifted = rate_between(events, claim_s + _LIFTED_S / 2, claim_s + _LIFTED_S)
    at_s = ready_at(events, claim_s, lifted, kind.stretch_s)
    # What was under way may make up for the claim's own time; nothing is said to be there before that has passed.
    ready_s = None if at_s is None else max(at_s - claim_s, set_s + thaw_s)
    return Loaded(kind.name, number, kind.limit, limited, lifted, kind.unit, set_s, thaw_s, ready_s)


async def _memory_round(here: Desk, kind: _Kind, number: int) -> Loaded:
    """How much a process gets under the limit (the kernel ends it when it asks for more), and how soon after the claim
    another one, taken near to the limit before, holds what is beyond it."""
    uid = here.engine.endpoint(here.ghost).agent_uid
    async with load(uid, _MEMORY) as greedy:
        await greedy.say(str(4 * int(kind.limit) // MIB))
        limited = await _held(greedy, 4 * int(kind.limit) // MIB)
    async with load(uid, _MEMORY) as running:
        near = (int(kind.limit) - memory_of(uid)) // MIB - _NEAR
        await running.say(str(near))
        await _held(running, near)
        await _become_ghost(here, kind)
        claim_s, set_s, thaw_s = await _claim(here)
        await running.say(str(_NEAR + _BEYOND))
        lifted = await _held(running, near + _NEAR + _BEYOND)
        ready_s = time.monotonic() - claim_s
    enough = lifted >= near + _NEAR + _BEYOND
    return Loaded(
        kind.name, number, kind.limit, float(limited * MIB), float(lifted * MIB), kind.unit, set_s, thaw_s,
        ready_s if enough else None,
    )  # fmt: skip


async def _held(running: Load, wanted: int) -> int:
    """Wait until it holds so many MiB; fewer where it was ended on the way."""
    held = 0
    while held < wanted and (line := await asyncio.wait_for(running.listen(), 60)):
        held = int(line)
    return held


class _Peer:
    """Another machine, as far as a ghost can tell: takes and sends as much as it can."""

    def __init__(self, address: str) -> None:
        self._listener = socket.create_server((address, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=_talk, args=(connection,), daemon=True).start()

    def close(self) -> None:
        """Take no more connections; those that are open end with their other side."""
        self._listener.close()


def _talk(connection: socket.socket) -> None:
    block = bytes(256 * 1024)
    with connection, contextlib.suppress(OSError):
        if connection.recv(1) == b"D":
            while True:
                connection.sendall(block)
        while connection.recv(len(block)):
            pass


@asynccontextmanager
async def _peer() -> AsyncIterator[tuple[str, int]]:
    """Address and port of a peer on this host, by an address that ghosts may reach; ("", 0) where there is none."""
    address = own_address()
    if not address:
        yield "", 0
        return
    peer = _Peer(address)
    try:
        yield address, peer.port
    finally:
        peer.close()


def own_address() -> str:
    """An address of this host that is not loopback's, "" without one; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address (RFC 5737)
        except OSError:
            return ""
        return str(probe.getsockname()[0])
