"""Resource limits as cgroup files and values: pure, for both kinds of cgroup."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.kernel.resources import Resources

CPU_PERIOD_US = 100_000
HIGH_SHARE = 0.9
"""Where v2 begins to slow and reclaim, as a share of the hard limit, so that a desktop slows before it is killed."""


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A whole disk, by its numbers (the kernel throttles disks, not partitions)."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}:{self.minor}"


def block_device_of(path: Path, sys: Path = Path("/sys/dev/block")) -> BlockDevice | None:
    """The disk that holds `path`; None when it is on none (tmpfs, overlay, btrfs)."""
    number = path.stat().st_dev
    entry = sys / f"{os.major(number)}:{os.minor(number)}"
    if not entry.exists():
        return None
    whole = entry.resolve()
    if (whole / "partition").exists():
        whole = whole.parent
    major, _, minor = (whole / "dev").read_text().strip().partition(":")
    return BlockDevice(int(major), int(minor))


def v2_limits(limits: Resources, device: BlockDevice | None) -> Iterator[tuple[str, str, str]]:
    """(controller, file, value) for cgroup v2 (kernel: cgroup-v2.rst); a zero amount means no limit."""
    memory = int(limits.memory_bytes)
    yield "memory", "memory.high", str(int(memory * HIGH_SHARE)) if memory else "max"
    yield "memory", "memory.max", str(memory) if memory else "max"
    quota_us = max(1000, round(limits.cpu_cores * CPU_PERIOD_US))
    yield "cpu", "cpu.max", f"{quota_us} {CPU_PERIOD_US}" if limits.cpu_cores else f"max {CPU_PERIOD_US}"
    yield "cpu", "cpu.weight", str(min(10_000, max(1, round(limits.cpu_cores * 100)))) if limits.cpu_cores else "100"
    if device is not None:
        rate = int(limits.storage_bytes_per_s) or "max"
        yield "io", "io.max", f"{device} rbps={rate} wbps={rate}"


def v1_limits(limits: Resources, device: BlockDevice | None) -> Iterator[tuple[str, str, str]]:
    """The same for cgroup v1 (kernel: cgroup-v1/memory.rst, blkio-controller.rst; scheduler/sched-bwc.rst)."""
    memory = int(limits.memory_bytes)
    yield "memory", "memory.limit_in_bytes", str(memory) if memory else "-1"
    yield "memory", "memory.soft_limit_in_bytes", str(int(memory * HIGH_SHARE)) if memory else "-1"
    quota_us = max(1000, round(limits.cpu_cores * CPU_PERIOD_US))
    yield "cpu", "cpu.cfs_period_us", str(CPU_PERIOD_US)
    yield "cpu", "cpu.cfs_quota_us", str(quota_us) if limits.cpu_cores else "-1"
    yield "cpu", "cpu.shares", str(min(262_144, max(2, round(limits.cpu_cores * 1024)))) if limits.cpu_cores else "1024"
    if device is not None:
        rate = int(limits.storage_bytes_per_s)
        for name in ("read", "write"):
            yield "blkio", f"blkio.throttle.{name}_bps_device", f"{device} {rate}"


def no_limits(limits: Resources, device: BlockDevice | None) -> Iterator[tuple[str, str, str]]:  # noqa: ARG001
    """What can be limited without any cgroup: nothing."""
    return iter(())
