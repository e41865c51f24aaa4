"""Pushing a frozen ghost's memory out to swap, and calling it back ahead of a wake."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ghostdesk.engines.local.processes import PROC

_SYS_PROCESS_MADVISE = 440
MADV_WILLNEED, MADV_PAGEOUT = 3, 21
_IOV_MAX = 512
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def swap_total_bytes(swaps: str | None = None) -> int:
    """How much swap the host has (proc(5), /proc/swaps)."""
    text = (PROC / "swaps").read_text() if swaps is None else swaps
    return sum(int(line.split()[2]) * 1024 for line in text.splitlines()[1:] if line.strip())


def anonymous_ranges(maps: str) -> Iterator[tuple[int, int]]:
    """Start and length in bytes of the private memory that has no file behind it, from /proc/PID/maps."""
    for line in maps.splitlines():
        parts = line.split(maxsplit=5)
        name = parts[5] if len(parts) > 5 else ""
        if "p" not in parts[1] or parts[4] != "0" or name in {"[vvar]", "[vdso]", "[vsyscall]", "[vvar_vclock]"}:
            continue
        start, _, end = parts[0].partition("-")
        yield int(start, 16), int(end, 16) - int(start, 16)


def advise(pid: int, advice: int) -> int:
    """Give `advice` on all anonymous memory of a process (process_madvise(2)).

    Returns:
        How many bytes the kernel took the advice for; 0 when the process is gone or out of reach.
    """
    try:
        ranges = list(anonymous_ranges((PROC / str(pid) / "maps").read_text()))
        handle = os.pidfd_open(pid)
    except OSError:
        return 0
    done = 0
    try:
        for first in range(0, len(ranges), _IOV_MAX):
            part = ranges[first : first + _IOV_MAX]
            vectors = (_IoVec * len(part))(*(_IoVec(start, length) for start, length in part))
            result = _libc.syscall(_SYS_PROCESS_MADVISE, handle, vectors, ctypes.c_size_t(len(part)), advice, 0)
            done += max(0, result)
    finally:
        os.close(handle)
    return done


def swapped_bytes(pids: Iterable[int]) -> int:
    """How much of these processes is in swap now (/proc/PID/status, VmSwap)."""
    total = 0
    for pid in pids:
        try:
            status = (PROC / str(pid) / "status").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmSwap:"))
    return total


def reclaim_by_file(path: Path, text: str) -> None:
    """Write to `memory.reclaim` or `memory.force_empty`; that not everything could be reclaimed is no error."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError:
        pass  # EAGAIN, EBUSY: what was possible is done
    finally:
        os.close(descriptor)
