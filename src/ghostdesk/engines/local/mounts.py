"""Mounts by system call: the home slot, id-mapped attachment, and taking everything down again.

glibc 2.36 has no wrappers that Python can reach for the new mount calls, hence the numbers, which are the same on
every architecture (asm-generic/unistd.h).
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from ghostdesk.kernel.errors import EngineError

_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_ATTR_NOSUID, _ATTR_NODEV, _ATTR_IDMAP = 0x2, 0x4, 0x00100000
_MS_BIND, _MS_SHARED = 4096, 1 << 20
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _MountAttr(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def bind_shared(folder: Path) -> None:
    """Bind a folder on itself and make that mount shared, so that what is mounted below it later reaches the ghost."""
    path = os.fsencode(folder)
    _checked(_libc.mount(path, path, None, ctypes.c_ulong(_MS_BIND), None), f"bind {folder}")
    _checked(_libc.mount(None, path, None, ctypes.c_ulong(_MS_SHARED), None), f"share {folder}")


def attach_plain(source: Path, target: Path) -> None:
    """Mount `source` on `target` with its ids as they are, without set-uid programs or devices; raises `OSError`."""
    _attach(source, target, _MountAttr(_ATTR_NOSUID | _ATTR_NODEV, 0, 0, 0))


def attach_idmapped(source: Path, target: Path, userns_fd: int) -> None:
    """Mount `source` on `target` with its ids mapped by a user namespace, without set-uid programs or devices.

    The id that a file has on disk is read as an id inside the namespace: with a namespace that maps 1000 to 210003,
    files of uid 1000 on disk appear to the host, and to that ghost, as files of uid 210003 (mount_setattr(2)).

    Raises:
        OSError: the kernel (before 5.12), the file system or the rights do not allow it.
    """
    _attach(source, target, _MountAttr(_ATTR_IDMAP | _ATTR_NOSUID | _ATTR_NODEV, 0, 0, userns_fd))


def _attach(source: Path, target: Path, attributes: _MountAttr) -> None:
    tree = _checked(
        _libc.syscall(
            _SYS_OPEN_TREE,
            _AT_FDCWD,
            ctypes.c_char_p(os.fsencode(source)),
            ctypes.c_uint(_OPEN_TREE_CLONE | os.O_CLOEXEC),
        ),
        f"open_tree {source}",
    )
    try:
        _checked(
            _libc.syscall(
                _SYS_MOUNT_SETATTR,
                tree,
                ctypes.c_char_p(b""),
                ctypes.c_uint(_AT_EMPTY_PATH),
                ctypes.byref(attributes),
                ctypes.c_size_t(ctypes.sizeof(attributes)),
            ),
            "mount_setattr",
        )
        _checked(
            _libc.syscall(
                _SYS_MOVE_MOUNT,
                tree,
                ctypes.c_char_p(b""),
                _AT_FDCWD,
                ctypes.c_char_p(os.fsencode(target)),
                ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
            ),
            f"move_mount {target}",
        )
    finally:
        os.close(tree)


def unescape(text: str) -> str:
    """A path as /proc/self/mountinfo writes it, with its octal escapes undone."""
    return text.encode("latin-1", "surrogateescape").decode("unicode_escape") if "\\" in text else text


def mounted_under(folder: Path, mountinfo: str | None = None) -> list[Path]:
    """Every mount point at or below a folder, the latest first (the order in which they must be taken down)."""
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text()
    real = os.path.realpath(folder)
    points = [unescape(line.split()[4]) for line in mountinfo.splitlines()]
    return [Path(point) for point in reversed(points) if point == real or point.startswith(real + "/")]


def unmount_all_under(folder: Path) -> None:
    """Take down every mount at or below a folder; raises `EngineError` when one stays.

    Detached rather than unmounted: a dying process may still hold a file for a moment.
    """
    for _ in range(8):
        points = mounted_under(folder)
        if not points:
            return
        for point in points:
            result = _libc.umount2(os.fsencode(point), _MNT_DETACH | _UMOUNT_NOFOLLOW)
            if result < 0 and ctypes.get_errno() not in {errno.EINVAL, errno.ENOENT}:
                raise EngineError(
                    f"{point} cannot be unmounted: {os.strerror(ctypes.get_errno())}.", "Unmount it by hand."
                )
    raise EngineError(f"Something is still mounted under {folder}.", f"Look at it with: findmnt -R {folder}")
