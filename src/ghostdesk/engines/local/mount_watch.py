"""Which files are opened on mounts of remote homes, and by which process.

File systems in user space (sshfs, rclone) have no handles by which `home_watch` could tell folders apart. But such a
mount is one person's alone, so that the whole of it can be marked: the kernel hands over a descriptor of each file that
is opened, and its name is read from there. Renaming and removal are not heard; what is gone is noticed when it is read
ahead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ghostdesk.engines.local.home_watch import EVENT, READ_BYTES, HomeEvent, fanotify_group, fanotify_mark
from ghostdesk.kernel.ids import UserId

_CLOEXEC, _NONBLOCK, _UNLIMITED_MARKS = 0x1, 0x2, 0x20
_MARK_ADD, _MARK_REMOVE, _MARK_FILESYSTEM = 0x1, 0x2, 0x100
_OPEN = 0x20
INSIDE = "/home/user/"
"""Where a ghost has its home: the kernel tells names as the process that opened the file has them."""


class MountWatch:
    """Hears of files on mounts from `add` to `remove`. Raises `OSError`: not root, or no fanotify."""

    def __init__(self) -> None:
        self._fd = fanotify_group(_CLOEXEC | _NONBLOCK | _UNLIMITED_MARKS)
        self._homes: dict[int, tuple[UserId, Path]] = {}

    def add(self, user: UserId, home: Path) -> None:
        """Watch a home that is a mount of its own; raises `OSError` where it cannot be watched."""
        self.remove(user)
        device = home.stat().st_dev
        fanotify_mark(self._fd, _MARK_ADD | _MARK_FILESYSTEM, _OPEN, home)
        self._homes[device] = (user, home)

    def remove(self, user: UserId) -> None:
        """Watch it no more."""
        for device, (owner, home) in list(self._homes.items()):
            if owner == user:
                del self._homes[device]
                try:
                    fanotify_mark(self._fd, _MARK_REMOVE | _MARK_FILESYSTEM, _OPEN, home)
                except OSError:
                    continue  # it is unmounted, and the mark went with it

    def read(self) -> Iterator[HomeEvent]:
        """What was opened since the last read, but for what we opened."""
        own = os.getpid()
        while True:
            try:
                data = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue  # a file that could not be opened for us to look at
            place = 0
            while place + EVENT.size <= len(data):
                length, _, _, _, _, descriptor, pid = EVENT.unpack_from(data, place)
                place += max(length, EVENT.size)
                if descriptor < 0:
                    continue
                try:
                    found = self._named(descriptor, pid) if pid != own else None
                finally:
                    os.close(descriptor)
                if found is not None:
                    yield found

    def close(self) -> None:
        """Hear nothing more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _named(self, descriptor: int, pid: int) -> HomeEvent | None:
        """The event, unless the file is hidden or lies in a hidden folder."""
        try:
            known = self._homes.get(os.fstat(descriptor).st_dev)
            name = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - it names a file of another's mounts
        except OSError:
            return None
        if known is None or name.endswith(" (deleted)"):
            return None
        user, home = known
        for prefix in (INSIDE, f"{home}/"):
            path = name.removeprefix(prefix)
            if path != name and not any(part.startswith(".") for part in path.split("/")):
                return HomeEvent(user, "opened", path, "", pid)
        return None
