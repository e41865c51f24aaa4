"""Opening files of a home by names that its owner may have made hostile (openat2(2), Linux 5.6 and later)."""

from __future__ import annotations

import ctypes
import errno
import os
import stat

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_REASONS = {
    errno.ENOENT: "deleted",
    errno.ENOTDIR: "deleted",
    errno.ELOOP: "link",
    errno.EXDEV: "outside",
    errno.EACCES: "refused",
    errno.EPERM: "refused",
    errno.ENOSYS: "unsupported",
    errno.ENAMETOOLONG: "bad-name",
    errno.EINVAL: "bad-name",
}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class NotOpened(Exception):
    """A file is not opened; `reason` is a stable word: deleted, link, outside, refused, not-a-file, bad-name, busy,
    private, unsupported, unreadable."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _How(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def open_home(path: str | os.PathLike[str]) -> int:
    """A descriptor of a home, to find files beneath; it needs no right to read the home. Raises `OSError`."""
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def find_beneath(home: int, path: str) -> tuple[int, os.stat_result]:
    """A descriptor that can do nothing (O_PATH) of a regular file beneath `home`, and its status. Raises `NotOpened`.

    No part of the path may be a symbolic link, and none leads out of the home. The driver of a device, the other end of
    a FIFO and a lease's holder are never woken, since nothing is opened yet.
    """
    handle = _openat2(home, path, os.O_PATH)
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise NotOpened("not-a-file")
    return handle, status


def open_folder_beneath(home: int, path: str) -> int:
    """A descriptor for listing the folder `path` beneath `home` ("." is the home itself). Raises `NotOpened`."""
    return _openat2(home, path, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK)


def open_beneath(home: int, path: str) -> tuple[int, os.stat_result]:
    """A descriptor for reading the regular file `path` beneath `home`, and its status. Raises `NotOpened`.

    It is the very file that was looked at: it is opened through its own descriptor, so that a name swapped meanwhile
    changes nothing. Its access time stays where its owner (or root) opens it.
    """
    handle, status = find_beneath(home, path)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    try:
        try:
            opened = os.open(f"/proc/self/fd/{handle}", flags | os.O_NOATIME)
        except PermissionError:
            opened = os.open(f"/proc/self/fd/{handle}", flags)
    except BlockingIOError:
        raise NotOpened("busy") from None  # somebody holds a lease
    except OSError as error:
        raise NotOpened(_REASONS.get(error.errno or 0, "unreadable")) from None
    finally:
        os.close(handle)
    return opened, status


def _openat2(home: int, path: str, flags: int) -> int:
    if "\0" in path or not path:
        raise NotOpened("bad-name")
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
    how = _How(flags | os.O_CLOEXEC, 0, resolve)
    name = ctypes.c_char_p(os.fsencode(path))
    handle = _libc.syscall(_SYS_OPENAT2, home, name, ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how)))
    if handle < 0:
        raise NotOpened(_REASONS.get(ctypes.get_errno(), "unreadable"))
    return int(handle)


def data_ranges(handle: int, size_bytes: int) -> list[tuple[int, int]]:
    """Where a file has data (start, end): the holes of a sparse file are not worth a page of memory."""
    ranges: list[tuple[int, int]] = []
    place = 0
    while place < size_bytes:
        try:
            start = os.lseek(handle, place, os.SEEK_DATA)
            end = min(os.lseek(handle, start, os.SEEK_HOLE), size_bytes)
        except OSError as error:
            if error.errno != errno.ENXIO:  # no more data; else the file system cannot tell
                ranges.append((place, size_bytes))
            break
        if start >= size_bytes or end <= place:
            break
        ranges.append((start, end))
        place = end
    return ranges
