"""Pushing the memory of single processes out to swap, and calling it back ahead of a wake."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ghostdesk.engines.local.processes import PROC
from ghostdesk.engines.local.smaps import Area, parse_smaps

_SYS_PROCESS_MADVISE = 440
MADV_WILLNEED, MADV_PAGEOUT = 3, 21
_IOV_MAX = 512
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SCRATCH_BYTES = 1 << 20
"""How much is read at a time when pages are called back; what is read is thrown away."""
_PAGE_SWAPPED, _PAGE_PRESENT = np.uint64(1 << 62), np.uint64(1 << 63)
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.process_vm_readv.restype = ctypes.c_ssize_t


class _IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


@dataclass(frozen=True, slots=True)
class Swaps:
    """What /proc/swaps says (proc(5)), in bytes."""

    total_bytes: int = 0
    used_bytes: int = 0

    @property
    def free_bytes(self) -> int:
        """What still fits."""
        return max(0, self.total_bytes - self.used_bytes)


def swaps(text: str | None = None) -> Swaps:
    """All swap of the host together."""
    text = (PROC / "swaps").read_text() if text is None else text
    rows = [line.split() for line in text.splitlines()[1:] if line.strip()]
    # A file's name may hold blanks, so count from the end of the line.
    return Swaps(sum(int(row[-3]) for row in rows) * 1024, sum(int(row[-2]) for row in rows) * 1024)


def swap_total_bytes(text: str | None = None) -> int:
    """How much swap the host has."""
    return swaps(text).total_bytes


def areas_of(pid: int) -> list[Area]:
    """The mappings of a process; none when it is gone or out of reach."""
    try:
        return parse_smaps((PROC / str(pid) / "smaps").read_text(errors="replace"))
    except OSError:
        return []


def to_page_out(areas: Iterable[Area]) -> list[tuple[int, int]]:
    """Start and length of what can go to swap: private memory, written pages of files, and shared memory.

    Mappings without such a page are left out: advice on them would drop files that other desktops need.
    """
    return [
        (area.start, area.length_bytes)
        for area in areas
        if area.anonymous_bytes > 0 or (area.shmem and area.resident_bytes > 0)
    ]


def page_out(pid: int) -> int:
    """Push what a process alone maps out to swap (process_madvise(2), MADV_PAGEOUT); how many bytes took the advice.

    The kernel passes over pages that several processes map; those go by way of the cgroup (`reclaim`).
    """
    return advise(pid, MADV_PAGEOUT, to_page_out(areas_of(pid)))


def advise(pid: int, advice: int, ranges: Sequence[tuple[int, int]]) -> int:
    """Give `advice` on these ranges of a process (process_madvise(2)).

    Returns:
        How many bytes the kernel took the advice for; 0 when the process is gone or out of reach.
    """
    try:
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


def swapped_runs(entries: NDArray[np.uint64]) -> list[tuple[int, int]]:
    """First page and number of pages of each run that is in swap.

    Args:
        entries: one /proc/PID/pagemap entry a page (kernel: admin-guide/mm/pagemap.rst).
    """
    swapped = ((entries & _PAGE_SWAPPED) != 0) & ((entries & _PAGE_PRESENT) == 0)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], swapped, [False])).astype(np.int8)))
    return [(int(first), int(end - first)) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def call_back(pid: int, stop: Callable[[], bool] = lambda: False) -> int:
    """Fetch a process's pages from swap, and map them, so that it meets no fault when it runs on; `stop` ends it early.

    Private pages are read (process_vm_readv(2)): the advice MADV_WILLNEED would fetch them only into the swap cache,
    where each still costs a fault, and would pass over written pages of files. Shared memory gets the advice.

    Returns:
        How many bytes were fetched; 0 when the process is gone or out of reach.
    """
    areas = [area for area in areas_of(pid) if area.swap_bytes > 0]
    shared = [area for area in areas if area.shmem]
    advise(pid, MADV_WILLNEED, [(area.start, area.length_bytes) for area in shared])
    done = sum(area.swap_bytes for area in shared)
    with contextlib.suppress(OSError), (PROC / str(pid) / "pagemap").open("rb", buffering=0) as pagemap:
        for area in areas:
            if area.private and area.readable and not stop():
                pages = area.length_bytes // PAGE_BYTES
                raw = os.pread(pagemap.fileno(), pages * 8, area.start // PAGE_BYTES * 8)
                runs = swapped_runs(np.frombuffer(raw[: len(raw) // 8 * 8], dtype=np.uint64))
                ranges = [(area.start + first * PAGE_BYTES, count * PAGE_BYTES) for first, count in runs]
                done += _touch(pid, ranges, stop)
    return done


def _touch(pid: int, ranges: Sequence[tuple[int, int]], stop: Callable[[], bool]) -> int:
    """Read these ranges of a process into nowhere; a page that cannot be read ends its part."""
    scratch = ctypes.create_string_buffer(_SCRATCH_BYTES)
    done = 0
    for part in _parts(ranges):
        if stop():
            break
        remote = (_IoVec * len(part))(*(_IoVec(start, length) for start, length in part))
        local = _IoVec(ctypes.addressof(scratch), _SCRATCH_BYTES)
        got = _libc.process_vm_readv(
            pid, ctypes.byref(local), ctypes.c_ulong(1), remote, ctypes.c_ulong(len(part)), ctypes.c_ulong(0)
        )
        done += max(0, got)
    return done


def _parts(ranges: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """The ranges, cut and grouped so that each group fits the scratch buffer and one call."""
    part: list[tuple[int, int]] = []
    room = _SCRATCH_BYTES
    for first, whole in ranges:
        start = first
        while start < first + whole:
            taken = min(first + whole - start, room)
            part.append((start, taken))
            start, room = start + taken, room - taken
            if room == 0 or len(part) == _IOV_MAX:
                yield part
                part, room = [], _SCRATCH_BYTES
    if part:
        yield part


def swapped_bytes(pids: Iterable[int]) -> int:
    """How much of these processes is in swap now (/proc/PID/status, VmSwap); shared memory is not counted."""
    total = 0
    for pid in pids:
        try:
            status = (PROC / str(pid) / "status").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmSwap:"))
    return total
