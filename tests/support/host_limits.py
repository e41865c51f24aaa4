"""What the kernel says of a process: its limits, read from the control groups it is in, whoever made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ghostdesk.kernel.resources import Resources

_ENDLESS_BYTES = 1 << 60


def limits_of_process(pid: int, ours: Callable[[str], bool]) -> Resources:
    """CPU and memory that its groups allow; 0 for no limit.

    Args:
        pid: the process.
        ours: whether a group of this name is one that the engine made: limits further up are the machine's own.
    """
    cores: list[float] = []
    memory: list[float] = []
    for group in _groups_of(pid, ours):
        for name, found, read in (
            ("cpu.max", cores, _quota),
            ("cpu.cfs_quota_us", cores, lambda text: max(0.0, float(text)) / 100_000),
            ("memory.max", memory, _bytes),
            ("memory.limit_in_bytes", memory, _bytes),
        ):
            if (group / name).exists() and (amount := read((group / name).read_text())):
                found.append(amount)
    return Resources(cpu_cores=min(cores, default=0.0), memory_bytes=min(memory, default=0.0))


def _quota(text: str) -> float:
    quota, period = text.split()
    return 0.0 if quota == "max" else float(quota) / float(period)


def _bytes(text: str) -> float:
    amount = 0.0 if text.strip() == "max" else float(text)
    return 0.0 if amount >= _ENDLESS_BYTES else amount


def _mounts() -> dict[str, Path]:
    """Where each v1 controller is mounted, and "" for v2."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        point = Path(before.split(" ")[4])
        if kind == "cgroup2":
            found.setdefault("", point)
        elif kind == "cgroup":
            for name in options.split(","):
                found.setdefault(name, point)
    return found


def _groups_of(pid: int, ours: Callable[[str], bool]) -> Iterator[Path]:
    mounts = _mounts()
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller not in mounts:
                continue
            parts = path.strip("/").split("/")
            for depth in range(len(parts), 0, -1):
                if any(ours(part) for part in parts[:depth]):
                    yield mounts[controller] / "/".join(parts[:depth])
