"""Which files are opened, renamed and removed in a home, and by which process (fanotify(7), Linux 5.9 and later).

Only the visible folders of the homes in question are marked, not the file system: nothing else on the host is heard of,
and what an application does in its own hidden folders is no document of the person. Names come with the event, so that
no file is held open.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.engines.local.beneath import NotOpened, open_folder_beneath, open_home
from ghostdesk.kernel.ids import UserId

MAX_FOLDERS = 1000
MAX_DEPTH = 6
_CLOEXEC, _NONBLOCK, _UNLIMITED_MARKS = 0x1, 0x2, 0x20
_REPORT_FID, _REPORT_DIR_FID, _REPORT_NAME = 0x200, 0x400, 0x800
_MARK_ADD, _MARK_REMOVE, _MARK_DONT_FOLLOW, _MARK_ONLYDIR = 0x1, 0x2, 0x4, 0x8
_OPEN, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE, _RENAME = 0x20, 0x40, 0x80, 0x100, 0x200, 0x1000_0000
_ON_CHILD, _ON_DIRECTORY = 0x0800_0000, 0x4000_0000
_WITH_NAME, _OLD_NAME, _NEW_NAME = 2, 10, 12
EVENT, _INFO = struct.Struct("=IBBHQii"), struct.Struct("=BBHQIi")
_HANDLE_BYTES = 128
READ_BYTES = 64 * 1024
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fanotify_init.argtypes = [ctypes.c_uint, ctypes.c_uint]
_libc.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]
Key = tuple[int, bytes]


class _Handle(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * _HANDLE_BYTES)]


@dataclass(frozen=True, slots=True)
class HomeEvent:
    """What happened to a file or folder of a home.

    Args:
        user: whose home.
        what: "opened", "renamed" or "removed".
        path: relative to the home.
        new_path: of what was renamed; "" where it left the watched folders.
        pid: which process did it, as this process's PID namespace counts.
    """

    user: UserId
    what: str
    path: str
    new_path: str
    pid: int


@dataclass(frozen=True, slots=True)
class _Folder:
    user: UserId
    path: str
    """Relative to the home, with a slash at its end; "" for the home itself."""
    depth: int


class HomeWatch:
    """Hears of files in homes from `add` to `remove`.

    Raises:
        OSError: not root, or the kernel has no fanotify with names.
    """

    def __init__(self) -> None:
        flags = _CLOEXEC | _NONBLOCK | _UNLIMITED_MARKS | _REPORT_FID | _REPORT_DIR_FID | _REPORT_NAME
        self._fd = fanotify_group(flags)
        self._folders: dict[Key, _Folder] = {}
        self._homes: dict[UserId, Path] = {}
        self._mask = _OPEN | _RENAME | _CREATE | _DELETE | _ON_CHILD | _ON_DIRECTORY

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd

    def add(self, user: UserId, home: Path) -> None:
        """Watch a home; raises `OSError` where its file system cannot be watched."""
        self.remove(user)
        self._homes[user] = home
        try:
            self._mark(_Folder(user, "", 0))
        except OSError:
            self.remove(user)
            raise

    def remove(self, user: UserId) -> None:
        """Watch it no more. What the kernel still tells of it is passed over."""
        home = self._homes.pop(user, None)
        for key, folder in [one for one in list(self._folders.items()) if one[1].user == user]:
            del self._folders[key]
            if home is not None:
                path = os.fsencode(home / folder.path)
                _libc.fanotify_mark(self._fd, _MARK_REMOVE | _MARK_DONT_FOLLOW, self._mask, -1, path)

    def read(self) -> Iterator[HomeEvent]:
        """What happened since the last read; our own doings are left out."""
        own = os.getpid()
        while True:
            try:
                data = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                return
            place = 0
            while place + EVENT.size <= len(data):
                length, _, _, head, mask, _, pid = EVENT.unpack_from(data, place)
                names = dict(_names(data[place + head : place + length]))
                place += max(length, EVENT.size)
                if pid != own:
                    yield from self._heard(mask, names, pid)

    def close(self) -> None:
        """Hear nothing more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _heard(self, mask: int, names: dict[int, tuple[Key, str]], pid: int) -> Iterator[HomeEvent]:
        if mask & _RENAME:
            old, new = self._place(names.get(_OLD_NAME)), self._place(names.get(_NEW_NAME))
            if new is not None and mask & _ON_DIRECTORY:
                self._follow(new, old)
            if old is not None:
                same = new is not None and new.user == old.user
                yield HomeEvent(old.user, "renamed", old.path, new.path if new is not None and same else "", pid)
            return
        at = self._place(names.get(_WITH_NAME))
        if at is None:
            return
        if mask & _ON_DIRECTORY:
            if mask & _CREATE:
                self._follow(at, None)
            elif mask & _DELETE:
                yield HomeEvent(at.user, "removed", at.path, "", pid)
        elif mask & _DELETE:
            yield HomeEvent(at.user, "removed", at.path, "", pid)
        elif mask & _OPEN:
            yield HomeEvent(at.user, "opened", at.path, "", pid)

    def _place(self, named: tuple[Key, str] | None) -> _Folder | None:
        """Where an event was, unless it is hidden or none of ours."""
        if named is None or named[0] not in self._folders or named[1].startswith(".") or not named[1]:
            return None
        folder = self._folders[named[0]]
        return _Folder(folder.user, folder.path + named[1], folder.depth + 1)

    def _follow(self, new: _Folder, old: _Folder | None) -> None:
        """A folder came, or was renamed: what lies in it is watched under its new name."""
        if old is not None:
            for key, folder in list(self._folders.items()):
                if folder.user == old.user and folder.path.startswith(old.path + "/"):
                    del self._folders[key]
        try:
            self._mark(_Folder(new.user, new.path + "/", new.depth))
        except OSError:
            return  # it is gone again

    def _mark(self, top: _Folder) -> None:
        """Mark a folder and those within; raises `OSError` when the first cannot be, or is gone."""
        home = open_home(self._homes[top.user])
        try:
            room = MAX_FOLDERS - sum(1 for one in list(self._folders.values()) if one.user == top.user)
            waiting = [top]
            for number in range(max(room, 0)):
                if not waiting:
                    return
                try:
                    waiting += self._mark_one(home, waiting.pop(0))
                except OSError:
                    if number == 0:
                        raise
        finally:
            os.close(home)

    def _mark_one(self, home: int, folder: _Folder) -> list[_Folder]:
        """Mark one; returns the folders within. Nothing that the home's owner does leads out of the home."""
        try:
            handle = open_folder_beneath(home, folder.path or ".")
        except NotOpened as refused:
            raise OSError(errno.EACCES, f"a folder of the home cannot be watched: {refused.reason}") from None
        try:
            self._mark_opened(handle)
            self._folders[_key(handle)] = folder
            return _inner(handle, folder) if folder.depth < MAX_DEPTH else []
        finally:
            os.close(handle)

    def _mark_opened(self, handle: int) -> None:
        path = os.fsencode(f"/proc/self/fd/{handle}/.")
        flags = _MARK_ADD | _MARK_ONLYDIR
        if _libc.fanotify_mark(self._fd, flags, self._mask, -1, path) < 0 and ctypes.get_errno() == errno.EINVAL:
            # Linux before 5.17 has no renaming in one event: the old name is gone, the new one new
            self._mask = (self._mask & ~_RENAME) | _MOVED_FROM | _MOVED_TO
        _checked(_libc.fanotify_mark(self._fd, flags, self._mask, -1, path))


def fanotify_group(flags: int) -> int:
    """A descriptor to hear through; raises `OSError` for who is not root, or has no such kernel."""
    return _checked(_libc.fanotify_init(flags, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))


def fanotify_mark(group: int, flags: int, events: int, path: Path) -> None:
    """Add or remove a mark; raises `OSError`."""
    _checked(_libc.fanotify_mark(group, flags, events, -1, os.fsencode(path)))


def _inner(handle: int, folder: _Folder) -> list[_Folder]:
    with os.scandir(handle) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return [
        _Folder(folder.user, f"{folder.path}{name}/", folder.depth + 1)
        for name in sorted(names)
        if not name.startswith(".")
    ]


def _key(handle: int) -> Key:
    """File system and file handle of a folder, as events name it (name_to_handle_at(2))."""
    found, mount = _Handle(size=_HANDLE_BYTES), ctypes.c_int()
    path = f"/proc/self/fd/{handle}/.".encode()
    _checked(_libc.name_to_handle_at(-1, path, ctypes.byref(found), ctypes.byref(mount), 0))
    return os.fstatvfs(handle).f_fsid, bytes(found.data)[: found.size]


def _names(infos: bytes) -> Iterator[tuple[int, tuple[Key, str]]]:
    """Folder and name of each record of an event, by the record's kind."""
    place = 0
    while place + _INFO.size <= len(infos):
        kind, _, length, filesystem, size, _ = _INFO.unpack_from(infos, place)
        if length < _INFO.size:
            return
        body = infos[place + _INFO.size : place + length]
        if kind in (_WITH_NAME, _OLD_NAME, _NEW_NAME):
            yield kind, ((filesystem, body[:size]), os.fsdecode(body[size:].split(b"\0", 1)[0]))
        place += length


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
