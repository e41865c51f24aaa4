"""Resource limits and priorities as cgroup files and values: pure, for both kinds of cgroup.

How a ghost yields to people, and a claim lifts it, with one write a file:

| | a ghost | somebody's desktop |
|---|---|---|
| `cpu.idle` (Linux 5.15) | 1: runs only where nobody else wants to, and is preempted at once | 0 |
| CPU weight, where there is no `cpu.idle` | the lowest | by its limit, or by the host's cores without one |
| I/O weight (BFQ, io.cost) | the lowest | the default |
| I/O class (`prio.class`; else ioprio_set(2), see `io_priority`) | idle | as the processes ask |
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ghostdesk.kernel.resources import MIB, Priority, Resources

CPU_PERIOD_US = 100_000
"""The kernel's own, in every new group."""
HIGH_SHARE = 0.9
"""Where v2 begins to slow and reclaim, as a share of the hard limit, so that a desktop slows before it is killed."""
V1_UNLIMITED, V2_UNLIMITED = "-1", "max"
MEMORY_FLOOR_BYTES = 4 * MIB
"""No desktop lives below this; a limit of a few bytes is a slip and would only kill it."""


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A whole disk, by its numbers (the kernel throttles disks, not partitions)."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}:{self.minor}"


@dataclass(frozen=True, slots=True)
class LimitFile:
    """One value for one file of a group.

    Args:
        controller: which controller's file it is.
        name: the file.
        value: what is written.
        enforces: the resource whose limit it is; empty for weights and hints, which need not exist.
        only_without: a file in whose presence this one is left alone (it would be refused, or say the same).
    """

    controller: str
    name: str
    value: str
    enforces: str = ""
    only_without: str = ""


def checked(limits: Resources, cores: float, memory_bytes: float) -> tuple[Resources, dict[str, str]]:
    """Limits that this machine can mean: what is beyond it is cut to it.

    Returns:
        The limits, and for each resource that was cut a sentence that says so.

    Raises:
        ValueError: an amount is below zero.
    """
    cut: dict[str, str] = {}
    for name, amount in zip(("cpu", "memory", "gpu", "network", "storage"), limits.as_tuple(), strict=True):
        if amount < 0:
            raise ValueError(f"the {name} limit {amount:g} is below zero")
    if limits.cpu_cores > cores:
        cut["cpu"] = f"cpu: {limits.cpu_cores:g} cores cut to the {cores:g} of this machine"
        limits = replace(limits, cpu_cores=cores)
    if limits.memory_bytes > memory_bytes:
        asked = f"{limits.memory_bytes / MIB:.0f} MiB" if math.isfinite(limits.memory_bytes) else "endless memory"
        cut["memory"] = f"memory: {asked} cut to the {memory_bytes / MIB:.0f} MiB of this machine"
        limits = replace(limits, memory_bytes=memory_bytes)
    elif 0 < limits.memory_bytes < MEMORY_FLOOR_BYTES:
        cut["memory"] = f"memory: {limits.memory_bytes:.0f} bytes raised to {MEMORY_FLOOR_BYTES // MIB} MiB"
        limits = replace(limits, memory_bytes=float(MEMORY_FLOOR_BYTES))
    # No machine moves an endless number of bytes a second: without a limit says the same.
    endless = {
        name: 0.0 for name in ("network_bytes_per_s", "storage_bytes_per_s") if math.isinf(getattr(limits, name))
    }
    return replace(limits, **endless), cut


def _quota_us(limits: Resources) -> int:
    return max(1000, round(limits.cpu_cores * CPU_PERIOD_US))


def v2_limits(
    limits: Resources, device: BlockDevice | None, priority: Priority, host_cores: float
) -> Iterator[LimitFile]:
    """CPU and storage for cgroup v2 (kernel: cgroup-v2.rst); a zero amount means no limit. Memory: `v2_memory`."""
    quota = f"{_quota_us(limits)} {CPU_PERIOD_US}" if limits.cpu_cores else f"{V2_UNLIMITED} {CPU_PERIOD_US}"
    yield LimitFile("cpu", "cpu.max", quota, "cpu")
    if priority is Priority.GHOST:
        yield LimitFile("cpu", "cpu.weight", "1", only_without="cpu.idle")
        yield LimitFile("cpu", "cpu.idle", "1")
    else:
        yield LimitFile("cpu", "cpu.idle", "0")
        weight = min(10_000, max(1, round((limits.cpu_cores or host_cores) * 100)))
        yield LimitFile("cpu", "cpu.weight", str(weight))
    low = priority is Priority.GHOST
    yield LimitFile("io", "io.weight", "default 1" if low else "default 100")
    yield LimitFile("io", "io.bfq.weight", "1" if low else "100")
    yield LimitFile("io", "io.prio.class", "idle" if low else "no-change")
    if device is not None:
        rate = int(limits.storage_bytes_per_s) or V2_UNLIMITED
        yield LimitFile("io", "io.max", f"{device} rbps={rate} wbps={rate}", "storage")


def v1_limits(
    limits: Resources, device: BlockDevice | None, priority: Priority, host_cores: float
) -> Iterator[LimitFile]:
    """The same for cgroup v1 (kernel: blkio-controller.rst; scheduler/sched-bwc.rst). Memory: `v1_memory`."""
    quota = str(_quota_us(limits)) if limits.cpu_cores else V1_UNLIMITED
    yield LimitFile("cpu", "cpu.cfs_quota_us", quota, "cpu")
    if priority is Priority.GHOST:
        yield LimitFile("cpu", "cpu.shares", "2", only_without="cpu.idle")
        yield LimitFile("cpu", "cpu.idle", "1")
    else:
        yield LimitFile("cpu", "cpu.idle", "0")
        shares = min(262_144, max(2, round((limits.cpu_cores or host_cores) * 1024)))
        yield LimitFile("cpu", "cpu.shares", str(shares))
    low = priority is Priority.GHOST
    yield LimitFile("blkio", "blkio.weight", "10" if low else "500", only_without="blkio.bfq.weight")
    yield LimitFile("blkio", "blkio.bfq.weight", "1" if low else "100")
    yield LimitFile("blkio", "blkio.prio.class", "idle" if low else "no-change")
    if device is not None:
        rate = int(limits.storage_bytes_per_s)
        for name in ("read", "write"):
            yield LimitFile("blkio", f"blkio.throttle.{name}_bps_device", f"{device} {rate}", "storage")


def v1_memory(limits: Resources, now_bytes: int) -> Iterator[LimitFile]:
    """Memory for v1 (kernel: cgroup-v1/memory.rst), in the order that the kernel takes.

    Memory and swap together are held to twice the limit: so a desktop can be parked as a whole, but cannot fill the
    host's swap. The sum may never be below the limit on memory alone, hence the order.

    Args:
        limits: wanted.
        now_bytes: `memory.limit_in_bytes` as it is.
    """
    memory = int(limits.memory_bytes)
    hard = LimitFile("memory", "memory.limit_in_bytes", str(memory) if memory else V1_UNLIMITED, "memory")
    both = LimitFile("memory", "memory.memsw.limit_in_bytes", str(2 * memory) if memory else V1_UNLIMITED)
    soft = str(int(memory * HIGH_SHARE)) if memory else V1_UNLIMITED
    rising = memory == 0 or memory >= now_bytes
    yield from (both, hard) if rising else (hard, both)
    yield LimitFile("memory", "memory.soft_limit_in_bytes", soft)


def v2_memory(limits: Resources) -> Iterator[LimitFile]:
    """Memory for v2: slowed and reclaimed from nine tenths on, and swap held to as much again."""
    memory = int(limits.memory_bytes)
    yield LimitFile("memory", "memory.high", str(int(memory * HIGH_SHARE)) if memory else V2_UNLIMITED, "memory")
    yield LimitFile("memory", "memory.max", str(memory) if memory else V2_UNLIMITED, "memory")
    yield LimitFile("memory", "memory.swap.max", str(memory) if memory else V2_UNLIMITED)
