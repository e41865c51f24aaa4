"""The kernel's file events through one descriptor.

Debian 12's watchdog (2.2.1) does not tell of files being opened, and needs three threads that wake each second; this is
the same `inotify(7)` without them.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

OPENED = 0x00000020
CLOSED = 0x00000008 | 0x00000010
CREATED = 0x00000100
MOVED_IN = 0x00000080
IS_FOLDER = 0x40000000
ONLY_FOLDER = 0x01000000
_NO_LINKS = 0x02000000
_HEAD = struct.Struct("iIII")


class Inotify:
    """Watches files and folders. Raises `OSError` when the kernel gives no more watches."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return int(self._fd)

    def add(self, path: str, events: int) -> int:
        """Watch a path (links are not followed); returns the watch's number."""
        watch = self._libc.inotify_add_watch(self._fd, os.fsencode(path), events | _NO_LINKS)
        if watch < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")
        return int(watch)

    def read(self) -> Iterator[tuple[int, int, str]]:
        """What has happened: watch, events, name within the folder."""
        try:
            block = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        offset = 0
        while offset + _HEAD.size <= len(block):
            watch, events, _, length = _HEAD.unpack_from(block, offset)
            name = block[offset + _HEAD.size : offset + _HEAD.size + length].rstrip(b"\0")
            yield watch, events, os.fsdecode(name)
            offset += _HEAD.size + length

    def close(self) -> None:
        """Give it back."""
        os.close(self._fd)
