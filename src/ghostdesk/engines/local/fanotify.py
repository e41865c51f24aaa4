"""Who opens which file on a whole file system (fanotify(7)), by ctypes: the standard library has no binding.

A mark on the file system, not on the mount, is what sees opens inside ghosts, whose mounts are their own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CLOEXEC, _NONBLOCK, _CLASS_NOTIF = 0x1, 0x2, 0x0
_MARK_ADD, _MARK_FILESYSTEM = 0x1, 0x100
_OPEN, _ON_DIRECTORY, _OVERFLOW = 0x20, 0x4000_0000, 0x4000
_AT_FDCWD = -100
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
        mount: on which mount (the first number in /proc/PID/mountinfo): of whose mount namespace, even when the process
            has ended.
    """

    pid: int
    path: str
    device: int
    inode: int
    folder: bool
    mount: int


class OpenWatch:
    """Hears of every open on the file systems of some folders, from its making until it is closed.

    Args:
        folders: any on each file system that matters.

    Raises:
        OSError: not root, or the kernel has no fanotify.
    """

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self.lost = False
        """Whether the kernel's queue overflowed: some opens were not seen."""
        self._fd = _checked(_libc.fanotify_init(_CLOEXEC | _NONBLOCK | _CLASS_NOTIF, os.O_RDONLY | os.O_CLOEXEC))
        try:
            devices = set()
            for folder in folders:
                with contextlib.suppress(FileNotFoundError):
                    device = folder.stat().st_dev
                    if device not in devices:
                        self._mark(folder)
                    devices.add(device)
        except OSError:
            self.close()
            raise

    def _mark(self, folder: Path) -> None:
        flags = _MARK_ADD | _MARK_FILESYSTEM
        _checked(_libc.fanotify_mark(self._fd, flags, _OPEN | _ON_DIRECTORY, _AT_FDCWD, os.fsencode(folder)))

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


def _opened(descriptor: int, pid: int) -> Opened:
    status = os.fstat(descriptor)
    try:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        path = ""
    gone = path.endswith(" (deleted)") or not path.startswith("/")
    folder = stat.S_ISDIR(status.st_mode)  # the event itself does not say
    return Opened(pid, "" if gone else path, status.st_dev, status.st_ino, folder, _mount_of(descriptor))


def _mount_of(descriptor: int) -> int:
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines():
        if line.startswith("mnt_id:"):
            return int(line.split()[1])
    return -1


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
