"""What /proc says of the desktop's processes. Reading it directly costs 4 MiB less than psutil in each ghost."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Stat:
    """A line of /proc/<pid>/stat: `state` is one letter, `cpu_ticks` is user and system time."""

    state: str
    parent: int
    session: int
    cpu_ticks: int


def all_pids() -> list[int]:
    """Every process that can be seen from here."""
    return [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]


def stat(pid: int) -> Stat | None:
    """The process's state, or None when it is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_bytes().decode(errors="replace")
    except OSError:
        return None
    fields = text[text.rfind(")") + 2 :].split()  # the name may hold spaces and brackets
    return Stat(fields[0], int(fields[1]), int(fields[3]), int(fields[11]) + int(fields[12]))


def cpu_ticks(pids: list[int]) -> int:
    """CPU time of all `pids` together, in ticks."""
    return sum(found.cpu_ticks for pid in pids if (found := stat(pid)))


def owned_by_me(pid: int) -> bool:
    """Whether the process runs under this user."""
    try:
        return (PROC / str(pid)).stat().st_uid == os.geteuid()
    except OSError:
        return False


def environment_value(pid: int, name: str) -> str | None:
    """The value of one variable that the process was started with; None when absent or unreadable."""
    try:
        block = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    prefix = name.encode() + b"="
    for entry in block.split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode(errors="replace")
    return None


def memory_bytes(pid: int) -> int:
    """Proportional memory of the process; its unshared resident memory where that may not be read."""
    try:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        fields = (PROC / str(pid) / "statm").read_text().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * PAGE_BYTES


def storage_bytes(pid: int) -> int:
    """Bytes that the process had read from and written to storage; 0 where that may not be read."""
    try:
        text = (PROC / str(pid) / "io").read_text()
    except OSError:
        return 0
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    return int(fields.get("read_bytes", 0)) + int(fields.get("write_bytes", 0))


def network_bytes() -> int:
    """Bytes through all interfaces of this network namespace but the loopback, both ways."""
    total = 0
    try:
        lines = (PROC / "net/dev").read_text().splitlines()[2:]
    except OSError:
        return 0
    for line in lines:
        name, _, numbers = line.partition(":")
        fields = numbers.split()
        if name.strip() != "lo" and len(fields) > 8:
            total += int(fields[0]) + int(fields[8])
    return total


def open_files(pid: int) -> list[str]:
    """Targets of the process's open descriptors; empty where they may not be read."""
    folder = PROC / str(pid) / "fd"
    found = []
    try:
        links = list(folder.iterdir())
    except OSError:
        return []
    for link in links:
        try:
            found.append(str(link.readlink()))
        except OSError:
            continue
    return found
