"""What files people opened: one private file of the host for each person, and nowhere else.

Names of files tell much of a person, so they never reach the database, its backups or an event (docs/designs/0003). A
line of JSON for each happening, appended; written anew, without what is too old or gone, when it has grown by half.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ghostdesk.kernel.errors import StoreError
from ghostdesk.kernel.ids import UserId, app_id, user_id
from ghostdesk.prefetch.file_history import (
    MOST_OPENS,
    FileEvent,
    FileHistory,
    FileOpened,
    FileRemoved,
    FileRenamed,
    checked_path,
)

_SUFFIX = ".jsonl"
_MOST_LINES = MOST_OPENS + MOST_OPENS // 2
_MOST_BYTES = _MOST_LINES * 4096


class FileHistories:
    """Files of mode 0600 in a folder of mode 0700.

    Args:
        directory: made when it is first written to, such as ``<state>/file-history``.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, user: UserId, now_s: float) -> FileHistory:
        """What is known of a person, bounded; a line that is damaged is passed over.

        Raises:
            StoreError: the file cannot be read, is a link, or can be read by others.
        """
        history, lines = FileHistory(), 0
        for line in self._lines(user):
            lines += 1
            with contextlib.suppress(ValueError, KeyError, TypeError):
                history.apply(_event(json.loads(line)))
        history.bound(now_s)
        if lines > _MOST_LINES or lines > 2 * len(history.opens) + 100:
            with contextlib.suppress(StoreError):  # it is shorter next time
                self.replace(user, history)
        return history

    def append(self, user: UserId, events: Sequence[FileEvent]) -> None:
        """Add happenings; raises `StoreError` when they cannot be written."""
        if not events:
            return
        with _clear_errors(self._path(user)):
            self._make()
            handle = os.open(
                self._path(user), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            with os.fdopen(handle, "rb+", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                # a crash may have cut the last line short
                torn = end > 0 and os.pread(file.fileno(), 1, end - 1) != b"\n"
                file.write((b"\n" if torn else b"") + _text(events))

    def replace(self, user: UserId, history: FileHistory) -> None:
        """Write the file anew, whole or not at all; raises `StoreError`."""
        path = self._path(user)
        with _clear_errors(path):
            self._make()
            part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_text(history.opens))
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def forget(self, user: UserId) -> None:
        """Remove all that is kept of a person; raises `StoreError` when it is still there."""
        with _clear_errors(self._path(user)):
            self._path(user).unlink(missing_ok=True)
            for part in self._directory.glob(f".{user}{_SUFFIX}.*"):
                part.unlink(missing_ok=True)

    def users(self) -> tuple[UserId, ...]:
        """Whoever has a file."""
        found = []
        for path in self._directory.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(ValueError):
                found.append(user_id(path.name.removesuffix(_SUFFIX)))
        return tuple(sorted(found))

    def keep_only(self, allowed: Callable[[UserId], bool]) -> tuple[UserId, ...]:
        """Remove the files of all others; returns whose went."""
        gone = tuple(user for user in self.users() if not allowed(user))
        for user in gone:
            self.forget(user)
        return gone

    def records(self, user: UserId, now_s: float) -> Iterator[dict[str, Any]]:
        """A person's openings for their export, oldest first; raises `StoreError`."""
        for one in self.load(user, now_s).opens:
            yield {"time_s": one.time_s, "app": one.app, "path": one.path, "size_bytes": one.size_bytes}

    def _lines(self, user: UserId) -> Iterator[str]:
        path = self._path(user)
        with _clear_errors(path):
            try:
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            except FileNotFoundError:
                return
            with os.fdopen(handle, "rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                if not stat.S_ISREG(mode) or mode & 0o077:
                    raise StoreError(f"{path} can be read by others.", f"Set it right: chmod 600 {path}.")
                yield from file.read(_MOST_BYTES).decode(errors="replace").splitlines()

    def _make(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)

    def _path(self, user: UserId) -> Path:
        return self._directory / f"{user_id(user)}{_SUFFIX}"


@contextlib.contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path} cannot be used: {error.strerror}.", "See that its folder is there, yours, and not full."
        ) from None


def _text(events: Iterable[FileEvent]) -> bytes:
    return b"".join(json.dumps(_record(one), separators=(",", ":")).encode() + b"\n" for one in events)


def _record(event: FileEvent) -> dict[str, Any]:
    if isinstance(event, FileOpened):
        return {"t": round(event.time_s, 3), "app": event.app, "path": event.path, "size": event.size_bytes}
    if isinstance(event, FileRenamed):
        return {"t": round(event.time_s, 3), "path": event.path, "renamed": event.new_path}
    return {"t": round(event.time_s, 3), "removed": event.path}


def _event(record: dict[str, Any]) -> FileEvent:
    """Raises `ValueError`, `KeyError` or `TypeError` for what is none."""
    time_s = float(record["t"])
    if "removed" in record:
        return FileRemoved(time_s, checked_path(record["removed"]))
    if "renamed" in record:
        return FileRenamed(time_s, checked_path(record["path"]), checked_path(record["renamed"]))
    return FileOpened(time_s, app_id(record["app"]), checked_path(record["path"]), max(int(record["size"]), 0))
