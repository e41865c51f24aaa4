"""Same-page merging (kernel: admin-guide/mm/ksm.rst) of ghosts that are nobody's yet.

Merged pages are a side channel: whoever writes to one can tell by the time it takes that somebody else has the same.
So only ghosts without an owner are merged, whose memory holds nothing of anybody. They are started with
PR_SET_MEMORY_MERGE (Linux 6.4; across exec from 6.10), which every process of the desktop inherits. When the ghost is
bound, each of its processes is made to call prctl(PR_SET_MEMORY_MERGE, 0), which takes its merged pages apart again:
only the process itself can do that, and Xvnc, which holds the person's screen, does not, so it is done from outside
with ptrace(2), before the home is attached. ksmd scans for seconds after a ghost was built, then stops.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.engines.local.processes import PROC
from ghostdesk.engines.protocol import Ability
from ghostdesk.kernel.errors import EngineError

ABILITY = "same-page merging"
KSM = Path("/sys/kernel/mm/ksm")
PR_SET_MEMORY_MERGE, PR_GET_MEMORY_MERGE = 67, 68
_SYS_PRCTL = 157
_LAUNCH = "import ctypes,os,sys; ctypes.CDLL(None).prctl(67,1,0,0,0); os.execvp(sys.argv[1],sys.argv[1:])"
LAUNCHER = ("/usr/bin/python3", "-I", "-S", "-c", _LAUNCH)
"""Prepended to a command, has it and all its children merged; where the kernel has no such call nothing happens."""
SCAN_AT_MOST_S = 20.0
SCANS = 3
"""ksmd merges a page once it has seen it unchanged twice."""
PAGES_TO_SCAN, SLEEP_MS = "2000", "20"
"""100,000 pages a second at most: some tenths of a core, for seconds."""
_ROUNDS = 4
_STOP_TIMEOUT_S = 0.5


def problem(ksm: Path = KSM, machine: str = platform.machine()) -> str:
    """Why merging cannot be had here, or an empty string."""
    if not (ksm / "run").exists():
        return "the kernel has no KSM"
    if not os.access(ksm / "run", os.W_OK):
        return "only root may have ksmd scan"
    if machine != "x86_64":
        return f"ending it from outside is not written for {machine}"
    if ctypes.CDLL(None).prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) < 0:
        return "the kernel is older than 6.4 and cannot merge a whole process"
    return ""


def ability(wanted: bool, ksm: Path = KSM) -> tuple[Ability, ...]:
    """How it stands with merging, where it is wanted."""
    if not wanted:
        return ()
    why_not = problem(ksm)
    detail = why_not or "ghosts that are nobody's yet; ends for a ghost when it is bound"
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


def end_merging(processes: Callable[[], Iterable[int]]) -> int:
    """Have every process end its merging, and those that it starts meanwhile; how many did.

    Args:
        processes: the ghost's pids, asked anew each round. None of them may be frozen.

    Raises:
        EngineError: one of them is still merged.
    """
    ended = 0
    for _ in range(_ROUNDS):
        merged = merged_pids(processes())
        if not merged:
            return ended
        # In a thread of its own: should a process not stop in time, the thread's end lets it go (ptrace(2)).
        done: list[int] = []
        thread = threading.Thread(target=_end_each, args=(merged, done), name="end-merging")
        thread.start()
        thread.join()
        ended += len(done)
    if left := merged_pids(processes()):
        raise EngineError(f"{len(left)} processes of the desktop cannot end same-page merging.", "It is destroyed.")
    return ended


def _end_each(pids: Iterable[int], done: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            if call_inside(pid, _SYS_PRCTL, (PR_SET_MEMORY_MERGE, 0, 0, 0, 0)) == 0:
                done.append(pid)


@dataclass(frozen=True, slots=True)
class Scan:
    """What one run of ksmd brought."""

    duration_s: float
    shared_pages: int
    """Pages that several places are mapped to now."""
    saved_pages: int
    """Places that need no page of their own any more."""
    why_not: str = ""


def scan(stop: threading.Event, ksm: Path = KSM, at_most_s: float = SCAN_AT_MOST_S) -> Scan:
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
            if stop.wait(0.1):
                break
    finally:
        for name in names:
            (ksm / name).write_text(before[name])
    return Scan(time.monotonic() - begin_s, *_pages(ksm))


def _pages(ksm: Path) -> tuple[int, int]:
    return _number(ksm / "pages_shared"), _number(ksm / "pages_sharing")


def _number(path: Path) -> int:
    return int(path.read_text())


_SEIZE, _INTERRUPT, _GETREGS, _SETREGS, _STEP, _DETACH = 0x4206, 0x4207, 12, 13, 9, 17
_WALL = 0x40000000
_SYSCALL = b"\x0f\x05"
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


_REGISTERS = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss"
_REGISTERS += " fs_base gs_base ds es fs gs"


class _Registers(ctypes.Structure):
    """user_regs_struct of x86-64 (sys/user.h)."""

    _fields_ = [(name, ctypes.c_ulonglong) for name in _REGISTERS.split()]


def _ptrace(request: int, pid: int, data: object = None) -> None:
    pointer = ctypes.cast(ctypes.pointer(data), ctypes.c_void_p) if isinstance(data, ctypes.Structure) else data
    if _libc.ptrace(request, pid, None, pointer) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def call_inside(pid: int, number: int, arguments: tuple[int, ...]) -> int:
    """Have a running process make one system call, between two of its own instructions, and go on as it was.

    x86-64 only; the process is stopped meanwhile (ptrace(2): PTRACE_SEIZE, one single step over a `syscall`
    instruction of its own).

    Returns:
        What the call returned.

    Raises:
        OSError: the process is gone, frozen, traced by somebody else, or out of reach.
    """
    _ptrace(_SEIZE, pid)
    deliver = 0
    try:
        _ptrace(_INTERRUPT, pid)
        _wait_stopped(pid)
        registers = _Registers()
        _ptrace(_GETREGS, pid, registers)
        calling = _Registers.from_buffer_copy(registers)
        calling.rip = _syscall_instruction(pid, int(registers.rip))
        calling.rax, calling.orig_rax = number, 2**64 - 1  # no call of its own is to be restarted now
        for name, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), arguments, strict=False):
            setattr(calling, name, value)
        _ptrace(_SETREGS, pid, calling)
        try:
            _ptrace(_STEP, pid)
            stopped_by = _wait_stopped(pid)
            deliver = 0 if stopped_by == signal.SIGTRAP else stopped_by
            _ptrace(_GETREGS, pid, calling)
        finally:
            with contextlib.suppress(OSError):
                _ptrace(_SETREGS, pid, registers)
        return ctypes.c_longlong(calling.rax).value
    finally:
        with contextlib.suppress(OSError):
            _ptrace(_DETACH, pid, deliver)


def _wait_stopped(pid: int) -> int:
    deadline_s = time.monotonic() + _STOP_TIMEOUT_S
    while time.monotonic() < deadline_s:
        found, status = os.waitpid(pid, os.WNOHANG | _WALL)
        if found == pid:
            if os.WIFSTOPPED(status):
                return os.WSTOPSIG(status)
            raise ProcessLookupError(f"process {pid} ended")
        time.sleep(0.0001)
    raise TimeoutError(f"process {pid} did not stop")


def _syscall_instruction(pid: int, next_instruction: int) -> int:
    """Where in the process a `syscall` stands: the one it waits in, or the kernel's own, in its vdso."""
    with (PROC / str(pid) / "mem").open("rb", buffering=0) as memory:
        with contextlib.suppress(OSError):
            if os.pread(memory.fileno(), 2, next_instruction - 2) == _SYSCALL:
                return next_instruction - 2
        for line in (PROC / str(pid) / "maps").read_text().splitlines():
            if line.endswith("[vdso]"):
                start, _, end = line.split()[0].partition("-")
                code = os.pread(memory.fileno(), int(end, 16) - int(start, 16), int(start, 16))
                if (at := code.find(_SYSCALL)) >= 0:
                    return int(start, 16) + at
    raise OSError("no system call instruction found")
