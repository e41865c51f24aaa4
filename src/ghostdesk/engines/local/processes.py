"""Processes seen from the host: who is alive, who descends from whom, and ending them without hitting a reused pid."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_STATE, _PPID, _UTIME, _STIME, _START, _RSS = 0, 1, 11, 12, 19, 21
"""Places in /proc/PID/stat, counted from the field after the name (proc(5))."""
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of the process table.

    Args:
        pid: its id.
        parent: its parent's.
        state: the letter of /proc/PID/stat: "T" is stopped, "Z" a zombie.
        start_ticks: its start time in clock ticks since boot.
        cpu_s: CPU seconds it used.
        private_bytes: resident memory less what is shared with files and others.
    """

    pid: int
    parent: int
    state: str
    start_ticks: int
    cpu_s: float
    private_bytes: int


def boot_id() -> str:
    """What tells this boot of the host from every other."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def read_process(pid: int) -> Process | None:
    """The process as it is now; None when there is none."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
        shared = int((PROC / str(pid) / "statm").read_text().split()[2])
    except (OSError, IndexError):
        return None
    rest = text[text.rindex(")") + 2 :].split()
    return Process(
        pid,
        int(rest[_PPID]),
        rest[_STATE],
        int(rest[_START]),
        (int(rest[_UTIME]) + int(rest[_STIME])) / TICKS_A_SECOND,
        max(0, int(rest[_RSS]) - shared) * PAGE_BYTES,
    )


def all_processes() -> list[Process]:
    """The whole process table."""
    found = (read_process(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdecimal())
    return [process for process in found if process is not None]


def descendants(root: int, table: Sequence[Process] | None = None) -> list[Process]:
    """`root` and everything below it.

    A ghost's orphans are adopted by the first process of its PID namespace, so for that process this is the ghost.
    """
    table = all_processes() if table is None else table
    children: dict[int, list[Process]] = {}
    for process in table:
        children.setdefault(process.parent, []).append(process)
    found = [process for process in table if process.pid == root]
    for process in found:
        found.extend(children.get(process.pid, ()))
    return found


def is_alive(pid: int, start_ticks: int) -> bool:
    """Whether the very process that had this pid and start time still runs (a zombie does not)."""
    process = read_process(pid) if pid > 0 else None
    return process is not None and process.start_ticks == start_ticks and process.state not in "ZX"


def reap(pid: int) -> None:
    """Collect a child that ended, if it is ours; harmless for any other pid."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def send(pid: int, start_ticks: int, number: signal.Signals) -> bool:
    """Signal the very process that had this pid and start time; False when it is gone."""
    try:
        handle = os.pidfd_open(pid)
    except (ProcessLookupError, OSError):
        return False
    try:
        # The handle pins the process, so after this check the signal cannot reach a successor.
        if not is_alive(pid, start_ticks):
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def kill_and_wait(pid: int, start_ticks: int, timeout_s: float = 5.0) -> bool:
    """End the process with SIGKILL and wait until it is gone; True when it is."""
    try:
        handle = os.pidfd_open(pid) if pid > 0 else -1
    except OSError:
        return True
    if handle < 0:
        return True
    try:
        if not is_alive(pid, start_ticks):
            return True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))
    finally:
        os.close(handle)
        reap(pid)


def stop_all(root: int, rounds: int = 20) -> list[tuple[int, int]]:
    """Stop `root`'s descendants with SIGSTOP, until a whole round finds no one new.

    Returns:
        Pid and start time of those that were stopped here; those that had been stopped before are left out, so that
        `continue_all` does not wake an application that was frozen on its own.
    """
    stopped: dict[int, int] = {}
    for _ in range(rounds):
        fresh = [p for p in descendants(root) if p.pid != root and p.pid not in stopped and p.state not in "TtZX"]
        if not fresh:
            break
        for process in fresh:
            if send(process.pid, process.start_ticks, signal.SIGSTOP):
                stopped[process.pid] = process.start_ticks
    return list(stopped.items())


def continue_all(stopped: Iterable[tuple[int, int]]) -> None:
    """Let processes stopped by `stop_all` run on."""
    for pid, start_ticks in stopped:
        send(pid, start_ticks, signal.SIGCONT)


def with_argument(argument: str) -> list[Process]:
    """Processes that were started with exactly this word on their command line."""
    word = os.fsencode(argument)
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if word in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(read_process(int(entry.name)))
    return [process for process in found if process is not None]


def uids_in_use() -> set[int]:
    """The real owners of every process on the host."""
    found = set()
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                found.add(entry.stat().st_uid)
    return found
