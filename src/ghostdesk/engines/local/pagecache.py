"""Bringing a template's files into the page cache, from the list of what the first ghost had mapped."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ghostdesk.engines.local.beneath import NotOpened
from ghostdesk.engines.local.processes import PROC
from ghostdesk.engines.local.records import write_atomically
from ghostdesk.engines.local.residency import resident_bytes
from ghostdesk.engines.local.safe_open import open_plain
from ghostdesk.kernel.ids import TemplateId
from ghostdesk.prefetch.launch_set import TouchedFile

_FROM_HOST = ("/usr/", "/lib/", "/etc/", "/opt/", "/var/cache/", "/var/lib/")
SAMPLED_FILES = 300
"""Enough to tell within a few points how much of a set is there."""


def mapped_files(pids: Iterable[int]) -> list[str]:
    """Files of the host that these processes have mapped: programs, libraries, fonts, caches."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in (PROC / str(pid) / "maps").read_text().splitlines():
                parts = line.split(maxsplit=5)
                if len(parts) == 6 and parts[5].startswith(_FROM_HOST) and not parts[5].endswith(" (deleted)"):
                    found.add(parts[5])
    return sorted(found)


def list_path(state_dir: Path, template: TemplateId) -> Path:
    """Where the template's list is kept."""
    return state_dir / "filesets" / f"{''.join(c if c.isalnum() or c in '-_' else '_' for c in template)}.json"


def save_list(path: Path, files: Iterable[str]) -> None:
    """Keep a list of files."""
    path.parent.mkdir(mode=0o755, exist_ok=True)
    write_atomically(path, json.dumps(list(files)), 0o644)


def load_list(path: Path) -> list[str]:
    """A list that was kept; empty when there is none."""
    try:
        return [str(name) for name in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        return []


def prefetch(files: Iterable[str]) -> tuple[int, int]:
    """Ask the kernel to read files into the page cache (posix_fadvise(2)); returns how many, and their bytes. What is
    gone, a link or no regular file is left out."""
    count = total = 0
    for name in files:
        with contextlib.suppress(NotOpened, OSError):
            descriptor = open_plain(name)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
                total += os.fstat(descriptor).st_size
                count += 1
            finally:
                os.close(descriptor)
    return count, total


def resident_share(files: Sequence[TouchedFile], most: int = SAMPLED_FILES) -> float:
    """How much of these files' ranges is in memory, 0 to 1, judged by at most `most` of them, evenly chosen.

    What is gone or changed counts as there: it cannot be loaded. 1 for no files. Needs root: of files that are not
    ours to write the kernel does not tell.
    """
    step = max(1, len(files) // most)
    there = wanted = 0
    for file in files[::step]:
        try:
            descriptor = open_plain(file.path)
        except NotOpened:
            continue
        try:
            if os.fstat(descriptor).st_mtime_ns != file.mtime_ns:
                continue
            wanted += file.touched_bytes
            there += sum(min(resident_bytes(descriptor, start, end), end - start) for start, end in file.ranges)
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return there / wanted if wanted else 1.0
