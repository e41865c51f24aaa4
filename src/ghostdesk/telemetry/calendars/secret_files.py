"""What calendars need kept and the database must not hold: passwords, secret addresses, and files handed in.

One file each, readable by the owner of the control plane alone. Names of calendars are digested in the file names.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Collection
from pathlib import Path

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import UserId
from ghostdesk.telemetry.calendars.lines import MAX_BYTES

_EVERYONE = "everyone"
_KEY_BYTES = 32
KINDS = ("password", "address", "text")


class SecretFiles:
    """Small secrets in a folder of mode 0700, in files of mode 0600.

    Args:
        directory: made when it is first written to, such as ``<state>/secrets``.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, user: UserId | None, calendar: str, kind: str, value: str) -> None:
        """Keep a value for a calendar; `kind` is one of `KINDS`.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        path = self._path(user, calendar, kind)
        try:
            self._make(path.parent)
            _write(path, value.encode())
        except OSError as error:
            raise ConfigError(
                f"{path.parent} cannot be written to: {error.strerror}.", "Run as the owner of the state directory."
            ) from None

    def get(self, user: UserId | None, calendar: str, kind: str) -> str | None:
        """A value, or None when there is none.

        Raises:
            ConfigError: the file can be read by others, is a link, or cannot be read.
        """
        data = _read(self._path(user, calendar, kind))
        return None if data is None else data.decode(errors="replace")

    def delete(self, user: UserId | None, calendar: str) -> None:
        """Remove all that is kept for a calendar."""
        for kind in KINDS:
            self._path(user, calendar, kind).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it is not empty, or not there
            self._folder(user).rmdir()

    def forget(self, user: UserId) -> None:
        """Remove all that is kept for a person."""
        shutil.rmtree(self._folder(user), ignore_errors=True)

    def keep_only(self, calendars: Collection[tuple[UserId | None, str]], before_s: float) -> int:
        """Remove what belongs to no calendar that is left, and was written before `before_s`; returns how many files.

        What was written later may be of a calendar that is being added.
        """
        wanted = {self._path(user, calendar, kind) for user, calendar in calendars for kind in KINDS}
        gone = 0
        for path in [*self._directory.glob("users/*/*"), *self._directory.glob(f"{_EVERYONE}/*")]:
            with contextlib.suppress(OSError):
                if path not in wanted and path.lstat().st_mtime < before_s:
                    path.unlink()
                    gone += 1
        return gone

    def series_key(self) -> bytes:
        """32 random bytes, made once, for `series_digest`: digests cannot be tried out without this file."""
        path = self._directory / "series.key"
        if (known := _read(path)) is not None and len(known) == _KEY_BYTES:
            return known
        try:
            self._make(path.parent)
            _write(path, secrets.token_bytes(_KEY_BYTES))
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be written: {error.strerror}.", "Run as the owner of the state directory."
            ) from None
        return _read(path) or b""

    def _make(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)

    def _folder(self, user: UserId | None) -> Path:
        return self._directory / _EVERYONE if user is None else self._directory / "users" / user

    def _path(self, user: UserId | None, calendar: str, kind: str) -> Path:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is none of {KINDS}")
        digest = hashlib.blake2b(calendar.encode(errors="surrogatepass"), digest_size=16).hexdigest()
        return self._folder(user) / f"{digest}.{kind}"


def _write(path: Path, data: bytes) -> None:
    """All or nothing, and never readable by others, not even for a moment."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _read(path: Path) -> bytes | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.", "Run as the owner of the state directory."
        ) from None
    with os.fdopen(handle, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise ConfigError(f"{path} can be read by others.", f"Set it right: chmod 600 {path}.")
        return file.read(2 * MAX_BYTES)
