"""Same-page merging (kernel: admin-guide/mm/ksm.rst) of ghosts that are nobody's yet.

Merged pages are a side channel: whoever writes to one can tell by the time it takes that somebody else has the same.
So only ghosts without an owner are merged, whose memory holds nothing of anybody. They are started with
PR_SET_MEMORY_MERGE (Linux 6.4; across exec from 6.10), which every process of the desktop inherits, and ksmd scans for
seconds after a ghost was built, then stops. Only a process itself can take the setting back: the agent does when its
desktop is bound, and so every application has it off; Xvnc and the window manager never do. So once a ghost that was
merged is bound, nothing is scanned until it is gone: what its owner writes takes its page out, and nothing goes in.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.engines.local.processes import PROC
from ghostdesk.engines.protocol import Ability

ABILITY = "same-page merging"
KSM = Path("/sys/kernel/mm/ksm")
PR_SET_MEMORY_MERGE, PR_GET_MEMORY_MERGE = 67, 68
_LAUNCH = "import ctypes,os,sys; ctypes.CDLL(None).prctl(67,1,0,0,0); os.execvp(sys.argv[1],sys.argv[1:])"
LAUNCHER = ("/usr/bin/python3", "-I", "-S", "-c", _LAUNCH)
"""Prepended to a command, has it and all its children merged; where the kernel has no such call nothing happens."""
SCAN_AT_MOST_S = 20.0
SCANS = 3
"""ksmd merges a page once it has seen it unchanged twice."""
PAGES_TO_SCAN, SLEEP_MS = "2000", "20"
"""100,000 pages a second at most: some tenths of a core, for seconds."""
_LOOK_EVERY_S = 0.02


def problem(ksm: Path = KSM) -> str:
    """Why merging cannot be had here, or an empty string."""
    if not (ksm / "run").exists():
        return "the kernel has no KSM"
    if not os.access(ksm / "run", os.W_OK):
        return "only root may have ksmd scan"
    if (ksm / "run").read_text().strip() != "0":
        return "ksmd runs for somebody else, and would go on when a ghost is bound"
    if ctypes.CDLL(None).prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) < 0:
        return "the kernel is older than 6.4 and cannot merge a whole process"
    return ""


def ability(wanted: bool, ksm: Path = KSM) -> tuple[Ability, ...]:
    """How it stands with merging, where it is wanted."""
    if not wanted:
        return ()
    why_not = problem(ksm)
    detail = why_not or "ghosts that are nobody's yet, while none that was merged has an owner"
    return (Ability(ABILITY, not why_not, detail, "Set parking.same_page_merging = false." if why_not else ""),)


def merged_pids(pids: Iterable[int]) -> list[int]:
    """Those whose memory ksmd would merge, by /proc/PID/ksm_stat; all of them where the kernel does not tell."""
    found = []
    for pid in pids:
        try:
            text = (PROC / str(pid) / "ksm_stat").read_text()
        except FileNotFoundError:
            if (PROC / str(pid)).exists():
                found.append(pid)
            continue
        except OSError:
            continue
        if "ksm_merge_any" not in text or "ksm_merge_any: yes" in text:
            found.append(pid)
    return found


@dataclass(frozen=True, slots=True)
class Scan:
    """What one run of ksmd brought."""

    duration_s: float
    shared_pages: int
    """Pages that several places are mapped to now."""
    saved_pages: int
    """Places that need no page of their own any more."""
    why_not: str = ""


def scan(stop: Callable[[], bool], ksm: Path = KSM, at_most_s: float = SCAN_AT_MOST_S) -> Scan:
    """Have ksmd go over everything `SCANS` times, then stop it, and leave its settings as they were.

    One that somebody else keeps running is left alone. What is merged stays merged when it stops. `stop` ends it early.
    """
    names = ("run", "pages_to_scan", "sleep_millisecs")
    before = {name: (ksm / name).read_text().strip() for name in names}
    if before["run"] != "0":
        return Scan(0.0, *_pages(ksm), "ksmd runs for somebody else")
    begin_s, first = time.monotonic(), _number(ksm / "full_scans")
    try:
        (ksm / "pages_to_scan").write_text(PAGES_TO_SCAN)
        (ksm / "sleep_millisecs").write_text(SLEEP_MS)
        (ksm / "run").write_text("1")
        while _number(ksm / "full_scans") - first <= SCANS and time.monotonic() - begin_s < at_most_s:
            if stop():
                break
            time.sleep(_LOOK_EVERY_S)
    finally:
        for name in names:
            (ksm / name).write_text(before[name])
    return Scan(time.monotonic() - begin_s, *_pages(ksm))


class Merger:
    """Scans, but never while a ghost that was merged has an owner, or is getting one.

    Args:
        owned: whether such a ghost lives.
    """

    def __init__(self, owned: Callable[[], bool], ksm: Path = KSM) -> None:
        self._owned, self._ksm = owned, ksm
        self._scanning = threading.Lock()
        self._binding = 0
        self._closed = False

    def scan(self) -> Scan:
        """One run of ksmd, or why there is none."""
        with self._scanning:
            if self._stop() or self._owned():
                return Scan(0.0, 0, 0, "a ghost that was merged has an owner")
            return scan(self._stop, self._ksm)

    @contextlib.contextmanager
    def binding(self) -> Iterator[None]:
        """Held while a ghost gets its owner: a scan that is under way has ended, and none begins."""
        self._binding += 1
        try:
            with self._scanning:
                yield
        finally:
            self._binding -= 1

    def close(self) -> None:
        """End a scan that is under way; none follows."""
        self._closed = True

    def _stop(self) -> bool:
        return self._closed or self._binding > 0


def _pages(ksm: Path) -> tuple[int, int]:
    return _number(ksm / "pages_shared"), _number(ksm / "pages_sharing")


def _number(path: Path) -> int:
    return int(path.read_text())
