"""Who opens which file through a ghost's own mounts (fanotify(7)), by ctypes: the standard library has no binding.

Only mounts of the ghost's own mount namespace are marked, never a file system or a mount of ours. The kernel hands over
a descriptor of each file that is opened, and closing a descriptor drops every POSIX lock that this process holds on
that file (fcntl(2)). Heard of on the whole file system, our own database would be among those files: it would lose its
locks, another process would take itself for the last user of the write-ahead log and remove it, and what is committed
afterwards would be lost.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import select
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CLOEXEC, _NONBLOCK, _CLASS_NOTIF = 0x1, 0x2, 0x0
_MARK_ADD, _MARK_MOUNT = 0x1, 0x10
_OPEN, _ON_DIRECTORY, _OVERFLOW = 0x20, 0x4000_0000, 0x4000
_AT_FDCWD = -100
_ESCAPED = re.compile(r"\\([0-7]{3})")
_EVENT = struct.Struct("=IBBHQii")
_READ_BYTES = 64 * 1024
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]
_libc.fanotify_init.argtypes = [ctypes.c_uint, ctypes.c_uint]


@dataclass(frozen=True, slots=True)
class Opened:
    """One open.

    Args:
        pid: by which process, as this process's PID namespace counts.
        path: its name as that process's mounts have it; "" where it has none any more.
        device, inode: which file it is.
        folder: whether it is a folder.
    """

    pid: int
    path: str
    device: int
    inode: int
    folder: bool


class OpenWatch:
    """Hears of every open through some mounts of a process, from its making until it is closed.

    Args:
        pid: any process of the ghost. Of one that sees our mounts nothing is heard.
        beneath: the mounts at or beneath these folders, as the ghost names them, with a slash at their end.

    Raises:
        OSError: not root, the kernel has no fanotify, or the process is gone or has no mounts of its own.
    """

    def __init__(self, pid: int, beneath: tuple[str, ...]) -> None:
        self.lost = False
        """Whether the kernel's queue overflowed: some opens were not seen."""
        self._fd = open_group()
        try:
            for place in _mounts(pid, beneath):
                self._mark(f"/proc/{pid}/root{place}")
        except OSError:
            self.close()
            raise

    def _mark(self, place: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # another mount lies over it
            flags = _MARK_ADD | _MARK_MOUNT
            _checked(_libc.fanotify_mark(self._fd, flags, _OPEN | _ON_DIRECTORY, _AT_FDCWD, os.fsencode(place)))

    def wait(self, timeout_s: float) -> bool:
        """Wait for events; whether there are any."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))

    def read(self) -> Iterator[Opened]:
        """Everything that was opened since the last read."""
        while True:
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return
            place = 0
            while place + _EVENT.size <= len(data):
                length, _, _, _, mask, descriptor, pid = _EVENT.unpack_from(data, place)
                place += max(length, _EVENT.size)
                if mask & _OVERFLOW:
                    self.lost = True
                if descriptor < 0:
                    continue
                try:
                    if pid != os.getpid():
                        yield _opened(descriptor, pid)
                finally:
                    os.close(descriptor)

    def close(self) -> None:
        """Hear nothing more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_group() -> int:
    """A descriptor to hear through. Raises `OSError` for who is not root, or has no such kernel."""
    return _checked(_libc.fanotify_init(_CLOEXEC | _NONBLOCK | _CLASS_NOTIF, os.O_RDONLY | os.O_CLOEXEC))


def _mounts(pid: int, beneath: tuple[str, ...]) -> list[str]:
    """Where the process has mounts of its own there. Raises `OSError` when it has none, or is gone."""
    process = Path(f"/proc/{pid}")
    if (process / "ns/mnt").stat().st_ino == Path("/proc/self/ns/mnt").stat().st_ino:
        raise OSError(errno.EXDEV, f"process {pid} has no mounts of its own")
    places = [line.split()[4] for line in (process / "mountinfo").read_text().splitlines()]
    found = [_ESCAPED.sub(lambda one: chr(int(one[1], 8)), p) for p in places if f"{p}/".startswith(beneath)]
    if not found:
        raise OSError(errno.ENOENT, f"process {pid} has no mounts beneath {', '.join(beneath)}")
    return found


def _opened(descriptor: int, pid: int) -> Opened:
    status = os.fstat(descriptor)
    try:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        path = ""
    gone = path.endswith(" (deleted)") or not path.startswith("/")
    folder = stat.S_ISDIR(status.st_mode)  # the event itself does not say
    return Opened(pid, "" if gone else path, status.st_dev, status.st_ino, folder)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
