"""The database that settings name, the right to plan with it, and the lock of the one control plane on its folders."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ghostdesk.config import Settings
from ghostdesk.control.turn import Turn
from ghostdesk.kernel.errors import ConfigError, NotFound, StoreError
from ghostdesk.store.protocol import Store
from ghostdesk.store.sql import SqlStore
from ghostdesk.store.sqlite import SqliteStore, find_damage, open_store


class InUse(ConfigError):
    """Another control plane holds the folders."""


def store_path(settings: Settings) -> Path:
    """Where the embedded database is."""
    return settings.state.directory / "ghostdesk.db"


def open_settings_store(settings: Settings, *, repair: bool = False) -> Store:
    """Open the database, making its folder; see `store.sqlite.open_store` for `repair` and errors."""
    if settings.state.database:
        from ghostdesk.store.postgres import PostgresStore

        return PostgresStore(settings.state.database)
    path = store_path(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    except OSError as error:
        raise ConfigError(
            f"{path.parent} cannot be made: {error.strerror}.", "Set state.directory to a folder you can write to."
        ) from None
    return open_store(path, now_s=time.time(), repair=repair)


@contextlib.contextmanager
def open_as_it_is(settings: Settings) -> Iterator[tuple[str, SqlStore]]:
    """The database with its name, in whatever version it is, for those who look after versions alone.

    Raises:
        NotFound: there is none yet.
        StoreError: it is damaged, or cannot be opened.
    """
    store: SqlStore
    if settings.state.database:
        from ghostdesk.store.postgres import PostgresStore

        store = shared = PostgresStore(settings.state.database, as_it_is=True)
        name, close = shared.name, shared.close
    else:
        path = store_path(settings)
        if not path.exists():
            raise NotFound(f"There is no database {path} yet.", "`ghostdesk run` makes it.")
        if (problem := find_damage(path)) is not None:
            raise StoreError(f"The database {path} is damaged: {problem}.", "See `ghostdesk run --repair`.")
        store = embedded = SqliteStore(path, as_it_is=True)
        name, close = str(path), embedded.close
    try:
        yield name, store
    finally:
        close()


def planner_turn(store: Store) -> Turn | None:
    """The right to plan, where the database is shared; None where it is a file of this machine's own."""
    make: Callable[[], Turn] | None = getattr(store, "planner_turn", None)
    return None if make is None else make()


@contextlib.contextmanager
def sole_control_plane(run_dir: Path) -> Iterator[None]:
    """Hold the lock that says that one control plane runs on these folders; raises `InUse` when another does."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        if (
            (found := run_dir.lstat()).st_uid != os.geteuid()
            or not stat.S_ISDIR(found.st_mode)
            or found.st_mode & 0o022
        ):
            raise ConfigError(
                f"{run_dir} is not ours alone: somebody else made it, or may write to it.",
                "Remove it, or set state.run_directory to a folder of your own.",
            )
        handle = os.open(run_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"{run_dir} cannot be used: {error.strerror}.", "Set state.run_directory to a folder you can write to."
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise InUse(
            f"Another ghostdesk already runs with {run_dir}.",
            "Stop it, or give this one its own state.directory, state.run_directory and server.port.",
        ) from None
    try:
        yield
    finally:
        os.close(handle)
