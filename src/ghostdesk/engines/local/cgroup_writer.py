"""Writing limits and priorities into a ghost's groups, and saying what this host does not enforce."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from ghostdesk.engines.local.cgroup_limits import (
    HIGH_SHARE,
    BlockDevice,
    LimitFile,
    v1_limits,
    v1_memory,
    v2_limits,
    v2_memory,
)
from ghostdesk.engines.local.cgroups import Cgroups
from ghostdesk.engines.local.cpu_pins import choose, format_cpus, parse_cpus
from ghostdesk.kernel.errors import EngineError
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import Priority, Resources

_DEVICE_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.EOPNOTSUPP})


class GroupGone(EngineError):
    """A group of the ghost's is not there any more, though the ghost is."""


class CgroupWriter:
    """Applies CPU, memory and storage limits, and the priority.

    Args:
        cgroups: the groups.
        find_disk: the disk that homes are on, found anew at each call.
        host_cores: cores of this machine.
    """

    def __init__(self, cgroups: Cgroups, find_disk: Callable[[], BlockDevice | None], host_cores: float) -> None:
        self._cgroups, self._find_disk, self._host_cores = cgroups, find_disk, host_cores
        self._v2 = cgroups.trees.mode == "v2"
        self._there: dict[str, bool] = {}
        """Which files groups have: the kernel's business, the same for all groups of a controller."""
        self._pins = threading.Lock()

    def apply(self, ghost: GhostId, limits: Resources, priority: Priority) -> dict[str, str]:
        """Write them: memory last, as lowering it may take long or fail, and then the rest is done.

        Returns:
            Why each limit that was asked for is not enforced; empty when all are.

        Raises:
            GroupGone: a group vanished. Make it anew and call again.
            EngineError: the kernel refused a limit; the one before stays in force, and nothing was killed.
        """
        if self._cgroups.trees.mode == "none":
            return {name: "no control groups that we may write" for name, amount in _asked(limits) if amount}
        if gone := [root for root in self._cgroups.roots() if not self._cgroups.group(root, ghost).is_dir()]:
            raise GroupGone(f"The cgroup of ghost {ghost} below {gone[0]} has vanished.")
        disk = self._find_disk()
        rules = v2_limits if self._v2 else v1_limits
        problems = self._write_all(ghost, rules(limits, disk, priority, self._host_cores))
        if self._cgroups.trees.pin:
            self._pin(ghost, limits)
        problems |= self._memory(ghost, limits)
        missing: dict[str, str] = {}
        for name, amount in _asked(limits):
            if amount and name == "storage" and disk is None:
                missing[name] = "the homes are on no disk that can be limited"
            elif amount and name in problems:
                missing[name] = problems[name]
        return missing

    def _memory(self, ghost: GhostId, limits: Resources) -> dict[str, str]:
        root = self._cgroups.root_of("memory")
        if root is None:
            return {"memory": "no memory controller that we may write"}
        group = self._cgroups.group(root, ghost)
        if not self._v2:
            now = _number(group / "memory.limit_in_bytes")
            return self._write_all(ghost, v1_memory(limits, now))
        _make_room(group, int(limits.memory_bytes))
        return self._write_all(ghost, v2_memory(limits))

    def _pin(self, ghost: GhostId, limits: Resources) -> None:
        """Pin a whole number of cores; one desktop at a time, so that two do not choose the same."""
        root = self._cgroups.root_of("cpuset")
        if root is None:
            return
        with self._pins:
            group = self._cgroups.group(root, ghost)
            allowed = _cpus(root, "cpuset.effective_cpus", "cpuset.cpus.effective")
            taken = [
                cores
                for path in self._cgroups.groups(root).values()
                if path != group and (cores := _cpus(path, "cpuset.cpus")) and cores != allowed
            ]
            chosen = choose(limits.cpu_cores, allowed, taken)
            self._write_all(ghost, [LimitFile("cpuset", "cpuset.cpus", format_cpus(chosen))])

    def _write_all(self, ghost: GhostId, files: Iterable[LimitFile]) -> dict[str, str]:
        """Write each; returns why a resource's limit was not written."""
        problems: dict[str, str] = {}
        for file in files:
            root = self._cgroups.root_of(file.controller)
            if root is None:
                problem = f"no {file.controller} controller that we may write"
            elif file.only_without and self._has(self._cgroups.group(root, ghost) / file.only_without):
                continue
            elif not self._has(self._cgroups.group(root, ghost) / file.name):
                problem = f"this kernel has no {file.name}"
            else:
                problem = _write_one(self._cgroups.group(root, ghost), file)
            if problem and file.enforces:
                problems.setdefault(file.enforces, problem)
        return problems

    def _has(self, path: Path) -> bool:
        if path.name not in self._there or not self._there[path.name]:
            self._there[path.name] = path.exists()
        return self._there[path.name]


def _asked(limits: Resources) -> list[tuple[str, float]]:
    return [("cpu", limits.cpu_cores), ("memory", limits.memory_bytes), ("storage", limits.storage_bytes_per_s)]


def _write_one(group: Path, file: LimitFile) -> str:
    """Write one file; returns why it could not be, where that is this host's way; raises what is an error."""
    try:
        _write(group / file.name, file.value)
        return ""
    except OSError as error:
        if not group.is_dir():
            raise GroupGone(f"The cgroup {group} has vanished.") from error
        if error.errno in _DEVICE_GONE and ":" in file.value:
            return f"the disk {file.value.split()[0]} is gone, or cannot be limited"
        if not file.enforces:
            return str(error.strerror)  # a weight or a hint: this kernel has another way, or none
        if isinstance(error, FileNotFoundError):
            return f"{file.name} is not there"
        if error.errno == errno.EBUSY:
            raise _in_use(file.value) from error
        raise EngineError(f"{file.name} = {file.value} was refused: {error.strerror}.") from error


def _in_use(wanted: str) -> EngineError:
    return EngineError(
        f"The memory limit {wanted} is below what the desktop uses, and it cannot be pushed out. The one before stays.",
        "Raise the limit, add swap (zram), or destroy the desktop.",
    )


def _make_room(group: Path, wanted_bytes: int) -> None:
    """Before v2's hard limit is lowered, push out what is above it: the kernel would kill for it otherwise.

    Raises:
        EngineError: it cannot be pushed out; nothing was changed.
    """
    if not wanted_bytes or _number(group / "memory.current") <= wanted_bytes:
        return
    before = _read(group / "memory.high").strip() or "max"
    with contextlib.suppress(OSError):
        _write(group / "memory.high", str(int(wanted_bytes * HIGH_SHARE)))  # reclaims, and slows what would grow
    if (left := _number(group / "memory.current") - wanted_bytes) > 0:
        with contextlib.suppress(OSError):  # EAGAIN: what was possible is done
            _write(group / "memory.reclaim", str(left))
    if _number(group / "memory.current") > wanted_bytes:
        with contextlib.suppress(OSError):
            _write(group / "memory.high", before)
        raise _in_use(str(wanted_bytes))


def _cpus(group: Path, *names: str) -> frozenset[int]:
    for name in names:
        if text := _read(group / name).strip():
            return parse_cpus(text)
    return frozenset()


def _number(path: Path) -> int:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    # Never O_CREAT: in a cgroup tree a file that is not there means a controller that is not there.
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
