"""Files that are whole or not there: written beside their place, flushed to the disk, and moved there in one step."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ghostdesk.kernel.errors import ConfigError, Conflict


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step; raises `ConfigError` with cause and mend when the disk refuses."""
    beside = path.with_name(f".{path.name}.new")
    with told(path):
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder, so that a file that was moved there is there after a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner may enter; it is returned."""
    with told(path):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn the system's refusals into a `ConfigError` that names the place."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise ConfigError(
            f"{path} cannot be written: {'the disk is full' if full else error.strerror}.",
            "Free some space, and run the command again: it goes on where it was."
            if full
            else "Check the rights of its folder, or set state.directory to a folder you can write to.",
        ) from error


@contextlib.contextmanager
def sole_user(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock file; raises `Conflict` when another process holds it."""
    with told(lock):
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"Another ghostdesk {what}.", "Wait for it to end, or stop it.") from None
        yield
    finally:
        os.close(handle)
