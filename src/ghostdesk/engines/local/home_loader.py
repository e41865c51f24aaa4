"""A small program that reads likely files of one home, so that they are at hand: in the page cache, or in whatever
cache a remote home's mount has.

A process of its own, under the home's uid: what a hostile home holds is met with its owner's rights and no more, and a
server that does not answer holds up nobody, since a process can be left behind. It has the lowest priorities.
`python -m ghostdesk.engines.local.home_loader` reads one JSON object from standard input (`Order`) and writes one to
standard output (`Report`).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ghostdesk.engines.local.beneath import NotOpened, data_ranges, open_beneath, open_home
from ghostdesk.engines.local.io_priority import set_thread
from ghostdesk.kernel.resources import Priority

CHUNK_BYTES = 1024 * 1024
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Order:
    """What to load.

    Args:
        home: the home's folder.
        files: paths beneath it, most wanted first.
        most_bytes: in all.
        largest_bytes: a larger file is left out.
        limit_s: most time to take.
        uid: to act as; None as the home's owner. Only root can change it.
    """

    home: str
    files: Sequence[str]
    most_bytes: float
    largest_bytes: float
    limit_s: float = 60.0
    uid: int | None = None


@dataclass
class Report:
    """What came of it.

    Args:
        loaded: path and bytes read, in order.
        skipped: path and reason, as `NotOpened` has it, or too-large, budget.
        duration_s: how long it took.
        stopped: why it ended early: "", "time", "told", "no-home".
    """

    loaded: list[tuple[str, int]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    duration_s: float = 0.0
    stopped: str = ""


def load(home: int, order: Order, told: Callable[[], bool] = lambda: False) -> Report:
    """Read the files beneath `home`, in their order, within the budget and the time."""
    report, begun_s, left_bytes = Report(), time.monotonic(), order.most_bytes
    buffer = memoryview(bytearray(CHUNK_BYTES))

    def go_on() -> bool:
        if told():
            report.stopped = report.stopped or "told"
        elif time.monotonic() - begun_s > order.limit_s:
            report.stopped = report.stopped or "time"
        return not report.stopped

    for path in order.files:
        if not go_on():
            break
        try:
            handle, status = open_beneath(home, path)
        except NotOpened as refused:
            report.skipped.append((path, refused.reason))
            continue
        try:
            if status.st_size > order.largest_bytes:
                report.skipped.append((path, "too-large"))
                continue
            ranges = data_ranges(handle, status.st_size)
            if sum(end - start for start, end in ranges) > left_bytes:
                report.skipped.append((path, "budget"))
                continue
            read_bytes = _read(handle, ranges, buffer, go_on)
            left_bytes -= read_bytes
            report.loaded.append((path, read_bytes))
        except OSError:
            report.skipped.append((path, "unreadable"))
        finally:
            os.close(handle)
    report.duration_s = time.monotonic() - begun_s
    return report


def _read(handle: int, ranges: Sequence[tuple[int, int]], buffer: memoryview, go_on: Callable[[], bool]) -> int:
    """Chunk by chunk, so that a stop holds at once; a file that was cut short meanwhile ends early."""
    done = 0
    for start, end in ranges:
        os.posix_fadvise(handle, start, end - start, os.POSIX_FADV_WILLNEED)
        for place in range(start, end, CHUNK_BYTES):
            if not go_on():
                return done
            done += os.preadv(handle, [buffer[: min(CHUNK_BYTES, end - place)]], place)
    return done


def lowest_priority() -> None:
    """Last in line for the processor and the disk (its idle class), first to go when memory ends."""
    os.nice(19)
    set_thread(Priority.GHOST)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def become(uid: int) -> None:
    """Give up root for good, for a uid and the group of that number, as homes have; nothing where we are not root."""
    if os.geteuid() == 0 and uid != 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def main() -> None:
    """Carry out the order on standard input."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    lowest_priority()
    order = Order(**json.loads(sys.stdin.buffer.read()))
    told = False

    def end(_number: int, _frame: object) -> None:
        nonlocal told
        told = True

    signal.signal(signal.SIGTERM, end)
    try:
        home = open_home(order.home)
        become(os.fstat(home).st_uid if order.uid is None else order.uid)
        report = load(home, order, lambda: told)
    except OSError:
        report = Report(stopped="no-home")
    sys.stdout.write(json.dumps(asdict(report)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
