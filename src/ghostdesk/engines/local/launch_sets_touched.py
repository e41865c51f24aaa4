"""Which parts of which files some processes have touched: by their page tables, their maps, and the page cache."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ghostdesk.engines.local.beneath import NotOpened
from ghostdesk.engines.local.processes import PROC
from ghostdesk.engines.local.residency import PAGE_BYTES, resident_ranges
from ghostdesk.engines.local.safe_open import open_plain
from ghostdesk.prefetch.launch_set import LARGEST_FILE_BYTES, MOST_FILES, MOST_FOLDERS, Range, TouchedFile, closed

FROM_HOST = ("/usr/", "/lib/", "/lib64/", "/etc/", "/opt/", "/var/cache/", "/var/lib/")
"""Where packages keep their files. Homes are elsewhere, and other people's business."""
HEAD_BYTES = 64 * 1024
"""The first part of a mapped file is read, not mapped, by whoever looks at its header."""
_PRESENT = np.uint64(1 << 63)
_ENTRY_BYTES = 8


def mapped_ranges(pids: Iterable[int]) -> dict[str, list[Range]]:
    """What of each mapped file of the host these processes have in their page tables (proc(5), /proc/PID/pagemap).

    A page stands there once it was used, or lies within 64 KiB of one that was (fault-around). Files of which nothing
    can be said have no ranges.
    """
    found: dict[str, list[Range]] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            _mapped_by(pid, found)
    return {path: list(closed(ranges, 0, 1 << 30)) for path, ranges in found.items()}


def _mapped_by(pid: int, found: dict[str, list[Range]]) -> None:
    lines = (PROC / str(pid) / "maps").read_text().splitlines()
    try:
        pagemap = (PROC / str(pid) / "pagemap").open("rb", buffering=0)
    except OSError:
        pagemap = None
    with pagemap or contextlib.nullcontext():
        for line in lines:
            parts = line.split(maxsplit=5)
            if len(parts) < 6 or not parts[5].startswith(FROM_HOST) or parts[5].endswith(" (deleted)"):
                continue
            start, end = (int(place, 16) for place in parts[0].split("-"))
            ranges = found.setdefault(parts[5], [])
            if pagemap is None:
                continue
            pagemap.seek(start // PAGE_BYTES * _ENTRY_BYTES)
            entries = np.frombuffer(pagemap.read((end - start) // PAGE_BYTES * _ENTRY_BYTES), dtype=np.uint64)
            ranges.extend(_runs(entries & _PRESENT != 0, int(parts[2], 16)))


def _runs(present: NDArray[np.bool_], offset: int) -> list[Range]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], present, [False])).astype(np.int8))).tolist()
    return [(offset + a * PAGE_BYTES, offset + b * PAGE_BYTES) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def touched_files(
    opened: Mapping[str, tuple[int, int]], mapped: Mapping[str, list[Range]]
) -> tuple[list[TouchedFile], dict[str, int]]:
    """What of each file was touched, in the order of `opened`, then of `mapped`.

    A mapped file counts with the pages that were used, and its head; one that was read, with all that is in memory.

    Args:
        opened: device and inode of each file, by its path inside the ghost.
        mapped: see `mapped_ranges`.

    Returns:
        The files, and how many were left out, by reason: what the ghost calls by that name is not the host's file
        ("another"), it is gone, a link, no regular file, or too large.
    """
    files: list[TouchedFile] = []
    left_out: dict[str, int] = {}
    for path in dict.fromkeys([*opened, *mapped]):
        try:
            if len(files) >= MOST_FILES:
                raise NotOpened("too-many")
            file = _touched(path, opened.get(path), mapped.get(path, []))
        except (NotOpened, OSError) as problem:
            reason = problem.reason if isinstance(problem, NotOpened) else "unreadable"
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        if file.ranges:
            files.append(file)
    return files, left_out


def _touched(path: str, identity: tuple[int, int] | None, mapped: list[Range]) -> TouchedFile:
    handle = open_plain(path)
    try:
        status = os.fstat(handle)
        if identity is not None and identity != (status.st_dev, status.st_ino):
            raise NotOpened("another")
        size = status.st_size
        if size > LARGEST_FILE_BYTES:
            raise NotOpened("too-large")
        ranges = [*mapped, (0, HEAD_BYTES)] if mapped else resident_ranges(handle, size)
        within = ((start, min(end, size)) for start, end in ranges)
        return TouchedFile(path, size, status.st_mtime_ns, closed(within))
    finally:
        os.close(handle)


def listed_folders(opened: Mapping[str, tuple[int, int]]) -> tuple[str, ...]:
    """The folders among those that were opened that are the host's."""
    found = []
    for name, identity in opened.items():
        with contextlib.suppress(NotOpened):
            handle = open_plain(name, folder=True)
            try:
                status = os.fstat(handle)
            finally:
                os.close(handle)
            if identity == (status.st_dev, status.st_ino):
                found.append(name)
    return tuple(found[:MOST_FOLDERS])


def links_to(files: Iterable[TouchedFile]) -> tuple[str, ...]:
    """Symbolic links beside the files that lead to them: libraries are mostly opened by such names."""
    wanted = {file.path for file in files}
    found: list[str] = []
    for folder in sorted({str(Path(path).parent) for path in wanted}):
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            found.extend(
                entry.path for entry in entries if entry.is_symlink() and os.path.realpath(entry.path) in wanted
            )
    return tuple(found[:MOST_FILES])
