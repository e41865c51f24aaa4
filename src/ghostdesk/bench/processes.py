"""What processes hold and use, read from /proc: proportional memory, swap and CPU time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Held:
    """What some processes hold together.

    Args:
        processes: how many there are.
        pss_bytes: resident memory; pages that several processes map are shared out among them.
        swap_pss_bytes: the same of what is in swap, before compression.
    """

    processes: int = 0
    pss_bytes: int = 0
    swap_pss_bytes: int = 0

    def __add__(self, other: Held) -> Held:
        return Held(
            self.processes + other.processes,
            self.pss_bytes + other.pss_bytes,
            self.swap_pss_bytes + other.swap_pss_bytes,
        )


def pids_of_uid(uid: int) -> tuple[int, ...]:
    """Processes of this real user id, as the host sees it."""
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            try:
                status = (entry / "status").read_text(errors="replace")
            except OSError:
                continue
            if _field(status, "Uid:") == uid:
                found.append(int(entry.name))
    return tuple(sorted(found))


def held_by(pids: Iterable[int]) -> Held:
    """Sum of /proc/PID/smaps_rollup; processes that are gone hold nothing. Needs root for other users' processes."""
    total = Held()
    for pid in pids:
        try:
            total += parse_rollup((_PROC / str(pid) / "smaps_rollup").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def parse_rollup(text: str) -> Held:
    """One process's `smaps_rollup` (proc(5)): the lines Pss and SwapPss, in KiB."""
    return Held(1, 1024 * _field(text, "Pss:"), 1024 * _field(text, "SwapPss:"))


def cpu_s_of(pids: Iterable[int]) -> dict[int, float]:
    """CPU seconds, user and system, that each process used since it began; processes that are gone are left out."""
    used = {}
    for pid in pids:
        try:
            stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        used[pid] = parse_cpu_s(stat)
    return used


def parse_cpu_s(stat: str) -> float:
    """CPU seconds out of `/proc/PID/stat`, whose name field may hold spaces and brackets."""
    fields = stat[stat.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def zram_bytes() -> int | None:
    """Memory that all zram devices take on the host, compressed pages and bookkeeping; None without zram."""
    used = [int(path.read_text().split()[2]) for path in Path("/sys/block").glob("zram*/mm_stat")]
    return sum(used) if used else None


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0
