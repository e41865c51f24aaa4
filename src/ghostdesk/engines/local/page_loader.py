"""A small program that brings parts of files into the page cache, at the lowest priority, and ends when told to.

A process of its own, so that its work never holds up the control plane (threads would share its interpreter), and so
that it can be ended at any moment, even while it waits for a disk. `python -m ghostdesk.engines.local.page_loader`
reads one JSON object from standard input (`Order`) and writes one to standard output (`Loaded`) when it is done, out of
budget, out of room, or told to end (SIGTERM, or its parent gone).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ghostdesk.engines.local.beneath import NotOpened
from ghostdesk.engines.local.io_priority import set_thread
from ghostdesk.engines.local.residency import resident_bytes
from ghostdesk.engines.local.safe_open import open_plain
from ghostdesk.kernel.resources import Priority
from ghostdesk.prefetch.room import pressure_of, room_bytes

CHUNK_BYTES = 1024 * 1024
LOOK_EVERY_BYTES = 8 * CHUNK_BYTES
"""The room that is left is looked at after so much was read."""
LOOK_EVERY_S = 0.5
THREADS = 8
"""Requests under way at once: enough to keep a disk's queue filled with small reads."""
MOST_ENTRIES = 300
"""Folders with more entries are listed, and their entries not looked at."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to load.

    Args:
        files: path, size in bytes, modification time in ns, and ranges (start, end) in bytes, most wanted first.
        folders: to be listed.
        links: names to be looked up.
        budget_bytes: most to read from the disk.
        bytes_per_s: most to read in a second; 0 as fast as it goes.
        reserve_bytes: memory to be left free of new page cache (see `prefetch.room.room_bytes`).
        most_pressure: share of time in which tasks waited for memory (PSI, 10 s) from which to stop.
    """

    files: Sequence[tuple[str, int, int, Sequence[tuple[int, int]]]]
    folders: Sequence[str] = ()
    links: Sequence[str] = ()
    budget_bytes: float = 0.0
    bytes_per_s: float = 0.0
    reserve_bytes: float = 0.0
    most_pressure: float = 0.1


@dataclass
class Loaded:
    """What came of it.

    Args:
        read_bytes: read from the disk.
        resident_bytes: were there already.
        files: files of which anything was read.
        names: files and folders that were looked up.
        skipped: how many entries were left out, by reason.
        duration_s: how long it took.
        stopped: why it ended early: "", "told", "budget", "room", "pressure".
    """

    read_bytes: int = 0
    resident_bytes: int = 0
    files: int = 0
    names: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    duration_s: float = 0.0
    stopped: str = ""


class Job:
    """One order being carried out, by several threads."""

    def __init__(self, order: Order, host: Callable[[], tuple[float, float]] | None = None) -> None:
        self._order = order
        self._host = host or (lambda: look_at_host(order.reserve_bytes))
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._skipped: Counter[str] = Counter()
        self._looked_bytes = 0
        self._begun_s = time.monotonic()
        self.loaded = Loaded()

    def stop(self, why: str) -> None:
        """Read nothing more; the first reason stays."""
        self.loaded.stopped = self.loaded.stopped or why
        self._ended.set()

    def run(self, threads: int = THREADS) -> Loaded:
        """Names first, since nothing can be read before its name was found; then the ranges, in order."""
        self._look()
        with ThreadPoolExecutor(threads, initializer=lowest_priority) as pool:
            listed = dict.fromkeys(self._order.folders)
            self._all(pool, self._list, [name for name in self._above() if name not in listed])
            self._all(pool, self._list_and_look, listed)
            self._all(pool, self._look_up, self._order.links)
            good = [entry for entry in self._all(pool, self._check, self._order.files) if entry is not None]
            self._all(pool, self._read, good)
        self.loaded.skipped = dict(self._skipped)
        self.loaded.duration_s = time.monotonic() - self._begun_s
        return self.loaded

    def _all(self, pool: ThreadPoolExecutor, work: Callable[..., object], entries: Iterable[object]) -> list[object]:
        return list(pool.map(work, entries))

    def _above(self) -> list[str]:
        """The folders above everything: names are found in them, and looked for in vain."""
        names = (*self._order.folders, *(str(entry[0]) for entry in self._order.files))
        return sorted({str(above) for name in names for above in Path(name).parents if name.startswith("/")})

    def _list_and_look(self, folder: str) -> None:
        """Who lists a folder mostly goes on to look at what is in it."""
        self._list(folder, most_entries=MOST_ENTRIES)

    def _list(self, folder: str, most_entries: int = 0) -> None:
        if self.loaded.stopped:
            return
        try:
            handle = open_plain(folder, folder=True)
        except NotOpened as refused:
            if most_entries:  # else it was not asked for by name
                self._skip(refused.reason)
            return
        try:
            entries = os.listdir(handle)  # noqa: PTH208 - a descriptor
            if len(entries) <= most_entries:
                for entry in entries:
                    os.stat(entry, dir_fd=handle, follow_symlinks=False)
            self._count(names=1)
        except OSError:
            self._skip("refused")
        finally:
            os.close(handle)

    def _look_up(self, link: str) -> None:
        if self.loaded.stopped:
            return
        with contextlib.suppress(OSError):
            os.lstat(link)
            self._count(names=1)

    def _check(self, entry: tuple[str, int, int, Sequence[tuple[int, int]]]) -> object:
        """Look the name up; the entry, if it is still the file that was recorded."""
        if self.loaded.stopped:
            return None
        path, size, mtime_ns, _ = entry
        try:
            handle = open_plain(path)
        except NotOpened as refused:
            self._skip(refused.reason)
            return None
        try:
            status = os.fstat(handle)
        finally:
            os.close(handle)
        self._count(names=1)
        if (status.st_size, status.st_mtime_ns) != (size, mtime_ns):
            self._skip("changed")
            return None
        return entry

    def _read(self, entry: tuple[str, int, int, Sequence[tuple[int, int]]]) -> None:
        if self.loaded.stopped:
            return
        try:
            handle = open_plain(entry[0])
        except NotOpened as refused:
            self._skip(refused.reason)
            return
        try:
            before = self.loaded.read_bytes
            for start, end in entry[3]:
                self._read_range(handle, start, min(end, entry[1]))
            if self.loaded.read_bytes > before:
                self._count(files=1)
        except OSError:
            self._skip("unreadable")
        finally:
            os.close(handle)

    def _read_range(self, handle: int, start: int, end: int) -> None:
        """Chunk by chunk, so that a stop or a budget holds at once."""
        buffer = bytearray(CHUNK_BYTES)
        for place in range(start, end, CHUNK_BYTES):
            length = min(CHUNK_BYTES, end - place)
            there = min(length, resident_bytes(handle, place, place + length))
            missing = length - there
            self._count(resident=there)
            if not missing:
                continue
            if not self._may_read(missing):
                return
            os.posix_fadvise(handle, place, length, os.POSIX_FADV_WILLNEED)
            os.preadv(handle, [memoryview(buffer)[:length]], place)

    def _may_read(self, wanted: int) -> bool:
        """Take `wanted` bytes from the budget, waiting for one's turn under the rate."""
        with self._lock:
            if self.loaded.stopped:
                return False
            if self.loaded.read_bytes + wanted > self._order.budget_bytes:
                self.stop("budget")
                return False
            self.loaded.read_bytes += wanted
            self._looked_bytes += wanted
            if self._looked_bytes >= LOOK_EVERY_BYTES:
                self._look()
            ahead_s = 0.0
            if self._order.bytes_per_s > 0:
                ahead_s = self.loaded.read_bytes / self._order.bytes_per_s - (time.monotonic() - self._begun_s)
        if ahead_s > 0:
            self._ended.wait(ahead_s)
        return not self.loaded.stopped

    def look_every(self, every_s: float, alive: Callable[[], bool]) -> None:
        """Look at the host again and again (slow disks take long over few bytes), and end when nobody waits for us."""
        while not self._ended.wait(every_s):
            if not alive():
                self.stop("told")
            with self._lock:
                self._look()

    def _look(self) -> None:
        """Stop when the page cache of others would have to give way, or memory is under pressure."""
        self._looked_bytes = 0
        room, pressure = self._host()
        if room < LOOK_EVERY_BYTES:
            self.stop("room")
        elif pressure > self._order.most_pressure:
            self.stop("pressure")

    def _skip(self, reason: str) -> None:
        with self._lock:
            self._skipped[reason] += 1

    def _count(self, *, names: int = 0, files: int = 0, resident: int = 0) -> None:
        with self._lock:
            self.loaded.names += names
            self.loaded.files += files
            self.loaded.resident_bytes += resident


def look_at_host(reserve_bytes: float) -> tuple[float, float]:
    """Room for new page cache in bytes, and the share of time in which tasks waited for memory."""
    room = room_bytes(Path("/proc/meminfo").read_text(), reserve_bytes)
    try:
        pressure = pressure_of(Path("/proc/pressure/memory").read_text())
    except OSError:  # a kernel without PSI
        pressure = 0.0
    return room, pressure


def lowest_priority() -> None:
    """Put this thread into the idle class of the disk's scheduler (ioprio_set(2)); the disk serves it last."""
    set_thread(Priority.GHOST)


def main() -> None:
    """Carry out the order on standard input."""
    os.nice(19)
    lowest_priority()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # rather this than a desktop
    parent = os.getppid()
    table = json.loads(sys.stdin.buffer.read())
    job = Job(Order(**table))

    def end(_number: int, _frame: object) -> None:
        job.stop("told")

    signal.signal(signal.SIGTERM, end)

    look = threading.Thread(target=job.look_every, args=(LOOK_EVERY_S, lambda: os.getppid() == parent), daemon=True)
    look.start()
    sys.stdout.write(json.dumps(asdict(job.run())) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
