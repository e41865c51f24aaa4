"""What the host says of memory: what is available, and what the kernel holds for a ghost's cgroup."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ghostdesk.bench.processes import pids_of_uid

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class GroupMemory:
    """A ghost's memory cgroup.

    Args:
        pids: every process in it, its way out to the network too, whatever uid that has.
        kernel_bytes: page tables, stacks, slab and sockets that are charged to it; 0 where nothing counts them.
    """

    pids: tuple[int, ...]
    kernel_bytes: int


def available_bytes(meminfo: str | None = None) -> int:
    """MemAvailable (proc(5))."""
    text = (_PROC / "meminfo").read_text() if meminfo is None else meminfo
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable:")), 0)


def group_memory(uid: int) -> GroupMemory:
    """The cgroup that the processes of this uid are in; just the processes where there is none."""
    own = pids_of_uid(uid)
    groups = {found for pid in own[:1] if (found := _memory_group(pid)) is not None}
    if not groups:
        return GroupMemory(own, 0)
    group = groups.pop()
    pids = set(own)
    for path in [group / "cgroup.procs", *group.glob("**/cgroup.procs")]:
        pids |= {int(pid) for pid in path.read_text().split()}
    return GroupMemory(tuple(sorted(pids)), _kernel_bytes(group))


def _kernel_bytes(group: Path) -> int:
    try:
        return int((group / "memory.kmem.usage_in_bytes").read_text())
    except (OSError, ValueError):
        pass
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("kernel ")), 0)


def _memory_group(pid: int) -> Path | None:
    """Where the process's memory is counted: v1's memory controller, else v2, there above the "desk"."""
    try:
        lines = (_PROC / str(pid) / "cgroup").read_text().splitlines()
        mounts = (_PROC / "self/mounts").read_text().splitlines()
    except OSError:
        return None
    v1 = next((line.split(":", 2)[2] for line in lines if "memory" in line.split(":", 2)[1].split(",")), None)
    if v1 is not None:
        point = next(
            (m.split()[1] for m in mounts if m.split()[2] == "cgroup" and "memory" in m.split()[3].split(",")), ""
        )
        found = Path(point) / v1.lstrip("/")
        return found if point and v1 != "/" and found.is_dir() else None
    v2 = next((line.split(":", 2)[2] for line in lines if line.startswith("0::")), "/")
    point = next((m.split()[1] for m in mounts if m.split()[2] == "cgroup2"), "")
    found = Path(point) / v2.lstrip("/")
    found = found.parent if found.name in {"desk", "net"} else found
    return found if point and v2 != "/" and (found / "memory.stat").exists() else None
