"""The store in one SQLite file: opening, checking, setting a damaged file aside, and errors that say what to do."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, bindparam, create_engine, event
from sqlalchemy.dialects.sqlite import dialect, insert
from sqlalchemy.exc import DBAPIError

from ghostdesk.kernel.errors import StoreError
from ghostdesk.store.event_rows import EVENT_COLUMNS, EventRow, permitted
from ghostdesk.store.migrations import migrate
from ghostdesk.store.schema import events
from ghostdesk.store.sql import SqlStore
from ghostdesk.store.steps import STEPS, Step

_BUSY_TIMEOUT_S = 15.0
_FULL_CHECK_BYTES = 256 * 1024 * 1024
"""Up to this size every page is checked at opening (a second or so); a larger file only after an unclean end."""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PIECE_ROWS = 10_000
_ADD_EVENTS = str(
    insert(events)
    .values({name: bindparam(name) for name in EVENT_COLUMNS})
    .on_conflict_do_nothing(index_elements=[events.c.key])
    .compile(dialect=dialect())
)
_COMPANIONS = ("", "-wal", "-shm", "-journal")


class DamagedDatabase(StoreError):
    """The file is no sound SQLite database."""


class SqliteStore(SqlStore):
    """`Store` in a SQLite file. Any number of threads and processes may use the file at once.

    Open it with `open_store`, which checks the file first. In write-ahead mode readers never wait; writers wait for
    each other up to 15 s. Every commit reaches the disk before the call returns.

    Args:
        path: the file; made, readable by its owner alone, when it is not there.
        set_aside: where `open_store` put a damaged predecessor, for the caller to tell.
        steps: the way to the newest version.
        as_it_is: leave its version alone, whatever it is; then only `SqlMigrations` may be asked.

    Raises:
        StoreError: the file cannot be opened, is damaged, or is newer than this program.
    """

    def __init__(
        self, path: Path, *, set_aside: Path | None = None, steps: Sequence[Step] = STEPS, as_it_is: bool = False
    ) -> None:
        self.path = path
        self._steps = steps
        self.set_aside = set_aside
        _make_private(path)
        self._engine = _engine(path)
        self._writer = self._engine.execution_options(ghostdesk_writes=True)
        if as_it_is:
            return
        try:
            with self._writing() as connection:
                migrate(connection, steps)
        except BaseException:
            self._engine.dispose()
            raise

    def check(self) -> None:
        """Read every page; raises `StoreError` when the database is damaged. It is left as it is."""
        with self._reading() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if found != "ok":
            raise _damaged(self.path, str(found))

    def close(self) -> None:
        """Let go of the file. Calls after this open it again."""
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _told(self.path), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with _told(self.path), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _taking_in(self, rows: Sequence[EventRow]) -> Iterator[tuple[Connection, Callable[[], int]]]:
        with self._writing() as connection:
            yield connection, lambda: self._insert_events(connection, permitted(connection, rows))

    def _insert_events(self, connection: Connection, rows: Sequence[EventRow]) -> int:
        """Past SQLAlchemy's handling of parameters, which alone would take longer than the database does."""
        added = 0
        for start in range(0, len(rows), _PIECE_ROWS):
            piece = list(rows[start : start + _PIECE_ROWS])
            added += connection.exec_driver_sql(_ADD_EVENTS, piece, {"preserve_rowcount": True}).rowcount
        return added

    def _forget_deleted(self) -> None:
        """Deleted rows are overwritten (secure_delete); this empties the write-ahead log, where they may still be."""
        with _told(self.path), closing(self._engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()


def open_store(path: Path, *, now_s: float, repair: bool = False) -> SqliteStore:
    """Open the database at `path`, or make it.

    Args:
        path: the file.
        now_s: the present time, for the name of a file that is set aside.
        repair: what to do with a damaged file: False raises and leaves it as it is; True moves it, with its companions,
            to ``NAME.corrupt-YYYYmmddTHHMMSSZ`` (nothing is ever deleted), and starts an empty database; the store's
            `set_aside` then says where the old one is. Only the control plane repairs, as no other may have it open.

    Raises:
        StoreError: the file is damaged and `repair` is off, or it cannot be opened at all.
    """
    try:
        if (problem := find_damage(path)) is not None:
            raise _damaged(path, problem)
        return SqliteStore(path)
    except DamagedDatabase:
        if not repair:
            raise
    return SqliteStore(path, set_aside=_set_aside(path, now_s))


def find_damage(path: Path) -> str | None:
    """What is wrong with the file, in SQLite's words, or None. Changes nothing in it.

    A file that is not there, or empty, is sound. Raises `StoreError` when it cannot be read at all.
    """
    if not path.exists() or path.stat().st_size == 0:
        return None
    with _told(path):
        try:
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S)
            try:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                if not _needs_full_check(path):
                    return None
                found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
                return None if found == "ok" else found
            finally:
                connection.close()
        except UnicodeDecodeError as error:  # text, or even SQLite's own message, is no longer UTF-8
            return str(error)
        except sqlite3.Error as error:
            if _code(error) in _DAMAGED:
                return str(error)
            raise


def _needs_full_check(path: Path) -> bool:
    log = Path(f"{path}-wal")
    return path.stat().st_size <= _FULL_CHECK_BYTES or (log.exists() and log.stat().st_size > 0)


def _set_aside(path: Path, now_s: float) -> Path:
    """Move the file and its companions out of the way; returns its new name."""
    stamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while any(Path(f"{aside}{end}").exists() for end in _COMPANIONS):
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    try:
        for end in reversed(_COMPANIONS):  # the main file last: cut short, the next opening finds it and goes on
            if Path(f"{path}{end}").exists():
                Path(f"{path}{end}").rename(f"{aside}{end}")
    except OSError as error:
        raise StoreError(
            f"The damaged database {path} cannot be moved aside: {error.strerror}.", "Move it away by hand."
        ) from None
    return aside


def _make_private(path: Path) -> None:
    """The file holds what people did: its owner alone may read it. SQLite gives its companions the same rights.

    One that is there is not opened: closing it would drop the locks that another store of this process has on it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise StoreError(
            f"The database {path} cannot be opened: {error.strerror}.", "Check the state folder and its rights."
        ) from None


def _engine(path: Path) -> Engine:
    url = URL.create("sqlite+pysqlite", database=str(path))
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _on_begin, not guessed by the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}").close()


def _on_begin(connection: Connection) -> None:
    """A writer takes the lock at once: taking it later could fail when another writer came between."""
    writes = connection.get_execution_options().get("ghostdesk_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn the database's errors into ours: cause and mend."""
    try:
        yield
    except DBAPIError as error:
        raise _told_error(path, error.orig) from error
    except sqlite3.Error as error:
        raise _told_error(path, error) from error
    except UnicodeDecodeError as error:
        raise _damaged(path, str(error)) from error


def _told_error(path: Path, error: BaseException | None) -> StoreError:
    code = _code(error)
    if code in _DAMAGED:
        return _damaged(path, str(error))
    cause, mend = _WORDS.get(code, (f"refused the work ({error})", "See the log, and report it if it stays."))
    return StoreError(f"The database {path} {cause}.", mend)


def _code(error: BaseException | None) -> int:
    """SQLite's primary result code; extended codes hold it in their lowest byte."""
    return (getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & 0xFF


def _damaged(path: Path, problem: str) -> DamagedDatabase:
    return DamagedDatabase(
        f"The database {path} is damaged: {problem.splitlines()[-1] if problem else 'unknown'}.",
        "Start with `ghostdesk run --repair`: it sets the file aside under another name (deleting nothing) and begins "
        "a new one; `sqlite3 FILE .recover` gets back what can be read.",
    )


_WORDS = {
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full; nothing was half-written", "Free some space and try again."),
    sqlite3.SQLITE_BUSY: ("was locked by another program for too long", "Find out what holds it, and try again."),
    sqlite3.SQLITE_LOCKED: ("was locked by another program for too long", "Find out what holds it, and try again."),
    sqlite3.SQLITE_READONLY: ("may not be written", "Check the rights of the file and its folder."),
    sqlite3.SQLITE_PERM: ("may not be opened", "Check the rights of the file and its folder."),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "Check that its folder is there and may be written."),
    sqlite3.SQLITE_IOERR: ("cannot be read or written: the disk reports an error", "Check the disk and its space."),
}
