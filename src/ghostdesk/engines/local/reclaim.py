"""Pushing a whole ghost out to swap: pass by pass, until the counters say that no more can go.

Two ways, in this order. `process_madvise(MADV_PAGEOUT)` takes the anonymous pages that one process alone maps, which
are nearly all, and leaves the files in the page cache that every other desktop shares. Then the ghost's cgroup takes
the rest (pages that a fork shares, shared memory) and the group's own page cache: `memory.force_empty` (kernel:
cgroup-v1/memory.rst) or `memory.reclaim` (cgroup-v2.rst). Each ends early now and then, so it is asked again.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ghostdesk.engines.local import memory
from ghostdesk.kernel.resources import MIB

SETTLED_BYTES = 256 * 1024
"""What may stay: pages that the kernel holds at the moment, and dirty ones."""
PASSES_AT_MOST = 8
SHARED_FILES_BYTES = 16 * MIB
"""A group that is charged with more mapped files than this was the first to read what all desktops map. Emptying it
would take the files from under them, and they go at no cost anyway when memory runs short."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What a ghost holds at one moment, in bytes.

    Args:
        anonymous_bytes: in RAM, with no file to go back to; shared memory included.
        mapped_file_bytes: files in the page cache that are mapped and charged to the ghost.
        file_bytes: all files in the page cache that are charged to it, the mapped ones too.
        swapped_bytes: in swap, before compression.
        swap_free_bytes: what still fits into the host's swap.
    """

    anonymous_bytes: int
    mapped_file_bytes: int = 0
    file_bytes: int = 0
    swapped_bytes: int = 0
    swap_free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to go on, and why not: a stable code, and text for people."""

    again: bool
    code: str
    text: str


def judge(before: Counters, after: Counters, passes: int) -> Verdict:
    """Whether another pass is worth it, from the counters around the last one. Pure."""
    left = after.anonymous_bytes
    if left <= SETTLED_BYTES:
        return Verdict(False, "all", "all of its memory is in swap")
    kept = f"{left / MIB:.1f} MiB stay in RAM"
    if after.swap_free_bytes < SETTLED_BYTES:
        return Verdict(False, "swap-full", f"the swap is full: {kept}")
    if passes >= PASSES_AT_MOST:
        return Verdict(False, "passes", f"{passes} passes were enough: {kept}")
    if passes > 1 and before.anonymous_bytes - left < SETTLED_BYTES:
        return Verdict(False, "held", f"the kernel holds the rest: {kept}")
    return Verdict(True, "more", kept)


def may_empty(counters: Counters) -> bool:
    """Whether the group's page cache may go too: not where it is charged with files that other desktops map."""
    return counters.mapped_file_bytes <= SHARED_FILES_BYTES


class Group(Protocol):
    """A ghost's memory cgroup; `Cgroups.memory_of` gives one."""

    def counters(self) -> Counters:
        """What it holds."""
        ...

    def reclaim(self, *, files: bool) -> bool:
        """One pass over it, over its page cache too if `files`; False where the kernel has no way to do so."""
        ...


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What came of it, in bytes and seconds."""

    before: Counters
    after: Counters
    passes: int
    verdict: Verdict
    duration_s: float


def reclaim(group: Group, pids: Sequence[int], page_out: Callable[[int], int] = memory.page_out) -> Reclaimed:
    """Push out what these processes and their group hold; the ghost should be frozen. Nothing is ever killed by it."""
    started_s = time.perf_counter()
    first = before = group.counters()
    for pid in pids:
        page_out(pid)
    after, passes = group.counters(), 1
    verdict = judge(before, after, passes)
    while verdict.again:
        before = after
        if not group.reclaim(files=may_empty(after)):
            shared = "the rest is shared between processes or counted with files that other desktops map"
            verdict = Verdict(False, "shared", f"{shared}: {after.anonymous_bytes / MIB:.1f} MiB stay in RAM")
            break
        after, passes = group.counters(), passes + 1
        verdict = judge(before, after, passes)
    if after.file_bytes > SETTLED_BYTES and may_empty(after) and group.reclaim(files=True):
        after, passes = group.counters(), passes + 1
    return Reclaimed(first, after, passes, verdict, time.perf_counter() - started_s)


@dataclass(frozen=True, slots=True)
class V1Group:
    """A group of the v1 memory controller."""

    path: Path

    def counters(self) -> Counters:
        """From memory.stat, whose `rss` leaves shared memory out, as `cache` and `mapped_file` hold it."""
        stat = read_stat(self.path / "memory.stat")
        shmem = stat.get("total_shmem", 0)
        return Counters(
            stat.get("total_rss", 0) + shmem,
            max(0, stat.get("total_mapped_file", 0) - shmem),
            max(0, stat.get("total_cache", 0) - shmem),
            stat.get("total_swap", 0),
            memory.swaps().free_bytes,
        )

    def reclaim(self, *, files: bool) -> bool:
        """`force_empty` knows no difference between files and the rest."""
        return files and write_reclaim(self.path / "memory.force_empty", "0")


@dataclass(frozen=True, slots=True)
class V2Group:
    """A group of the v2 memory controller."""

    path: Path

    def counters(self) -> Counters:
        """From memory.stat and memory.swap.current."""
        stat = read_stat(self.path / "memory.stat")
        shmem = stat.get("shmem", 0)
        try:
            swapped = int((self.path / "memory.swap.current").read_text())
        except (OSError, ValueError):
            swapped = 0
        return Counters(
            stat.get("anon", 0) + shmem,
            max(0, stat.get("file_mapped", 0) - shmem),
            max(0, stat.get("file", 0) - shmem),
            swapped,
            memory.swaps().free_bytes,
        )

    def reclaim(self, *, files: bool) -> bool:
        """`memory.reclaim` of all that it holds, or (Linux 6.16) of what is anonymous alone."""
        stat = read_stat(self.path / "memory.stat")
        anonymous = stat.get("anon", 0) + stat.get("shmem", 0)  # "file" holds shared memory, too
        wanted = f"{stat.get('anon', 0) + stat.get('file', 0)}" if files else f"{anonymous} swappiness=max"
        return write_reclaim(self.path / "memory.reclaim", wanted)


@dataclass(frozen=True, slots=True)
class NoGroup:
    """Where no memory controller counts a ghost: its processes are asked, and there is no second way."""

    pids: tuple[int, ...]

    def counters(self) -> Counters:
        """From each process's mappings."""
        total = Counters(0, swap_free_bytes=memory.swaps().free_bytes)
        for pid in self.pids:
            areas = memory.areas_of(pid)
            total = replace(
                total,
                anonymous_bytes=total.anonymous_bytes + sum(area.anonymous_bytes for area in areas),
                swapped_bytes=total.swapped_bytes + sum(area.swap_bytes for area in areas),
            )
        return total

    def reclaim(self, *, files: bool) -> bool:  # noqa: ARG002 - the protocol's
        """There is none."""
        return False


def read_stat(path: Path) -> dict[str, int]:
    """A memory.stat: name and number a line; empty when the group is gone."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def write_reclaim(path: Path, text: str) -> bool:
    """Ask for it. That not everything could be reclaimed is no error; a kernel without this way is False."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        return error.errno in {errno.EAGAIN, errno.EBUSY, errno.EINTR}  # what was possible is done
    finally:
        os.close(descriptor)
    return True
