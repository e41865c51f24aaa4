"""I/O priorities of processes (ioprio_set(2)): ghosts read and write when nobody else wants the disk.

The kernel's `prio.class` files say the same for a cgroup, but few kernels have them. mq-deadline (since Linux 5.14) and
BFQ serve the idle class last; a disk without a scheduler serves all alike.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable, Iterator

from ghostdesk.engines.local.processes import PROC
from ghostdesk.kernel.resources import Priority

_NUMBERS = {"x86_64": (251, 252), "aarch64": (30, 31), "riscv64": (30, 31), "armv7l": (314, 315), "ppc64le": (273, 274)}
"""ioprio_set and ioprio_get have no wrapper in glibc, and a number of their own on each architecture."""
_WHO_PROCESS, _WHO_USER = 1, 3
_CLASS_SHIFT = 13
_CLASS: dict[Priority, int] = {Priority.GHOST: 3 << _CLASS_SHIFT, Priority.PERSON: 2 << _CLASS_SHIFT | 4}
"""Idle; and best effort in the middle, which is what a process has that asked for nothing."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def supported() -> bool:
    """Whether this architecture's call numbers are known."""
    return os.uname().machine in _NUMBERS


def _set(who: int, number: int, value: int) -> bool:
    numbers = _NUMBERS.get(os.uname().machine)
    return numbers is not None and int(_libc.syscall(numbers[0], who, number, value)) == 0


def set_thread(priority: Priority) -> bool:
    """Give this thread, and what it starts from now on, that priority; False when it is refused."""
    return _set(_WHO_PROCESS, 0, _CLASS[priority])


def of_thread(thread: int = 0) -> int:
    """A thread's I/O priority as the kernel writes it; 0 of this thread's own id. -1 where it cannot be told."""
    numbers = _NUMBERS.get(os.uname().machine)
    return -1 if numbers is None else int(_libc.syscall(numbers[1], _WHO_PROCESS, thread))


def io_class(thread: int) -> int:
    """A thread's class: 0 none, 2 best effort, 3 idle; -1 where it cannot be told."""
    value = of_thread(thread)
    return value if value < 0 else value >> _CLASS_SHIFT


@contextlib.contextmanager
def with_priority(priority: Priority) -> Iterator[None]:
    """What this thread starts within, and its descendants, have this priority from their first moment."""
    before = of_thread()
    _set(_WHO_PROCESS, 0, _CLASS[priority])
    try:
        yield
    finally:
        _set(_WHO_PROCESS, 0, max(before, 0))


def set_for_user(uid: int, priority: Priority) -> bool:
    """Give every thread of a uid this priority; False when it is refused or the uid has none.

    Twice: a thread that starts while the kernel goes through them has what its parent had before.
    """
    _set(_WHO_USER, uid, _CLASS[priority])
    return _set(_WHO_USER, uid, _CLASS[priority])


def set_for_processes(pids: Iterable[int], priority: Priority) -> bool:
    """The same for every thread of these processes, where all desktops share one uid; False when none took it."""
    done = False
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in (PROC / str(pid) / "task").iterdir():
                done |= _set(_WHO_PROCESS, int(entry.name), _CLASS[priority])
    return done
