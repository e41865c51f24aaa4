"""The store in a PostgreSQL database, for more than one control plane: several may read and write, one of them plans.

Needs the extra `postgres` (psycopg 3). Every call is one transaction. Writers follow one another, as in SQLite: what a
call looked up (who deleted their data, who refused what) still holds when it writes, whatever others do meanwhile.
Readers never wait.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ghostdesk.kernel.errors import ConfigError, Conflict, StoreError
from ghostdesk.store.event_rows import EVENT_COLUMNS, EVERYTHING, SOURCE_OF_KIND, EventRow
from ghostdesk.store.migrations import migrate
from ghostdesk.store.schema import metadata
from ghostdesk.store.sql import SqlStore
from ghostdesk.store.steps import STEPS, Step

_WRITER_LOCK = 0x67686F73  # "ghos"
_PLANNER_LOCK = 0x67686F74
_APPLICATION = "ghostdesk"
_STATEMENT_TIMEOUT_MS = 15_000
_CONNECT_TIMEOUT_S = 10
_LEAVING_S = 2.0
_FREED_SOON = ("tcp_keepalives_idle = 1", "tcp_keepalives_interval = 1", "tcp_keepalives_count = 2")
"""The server asks the planner's machine whether it lives: one that vanished loses its turn within 3 s."""
_GIVEN_UP_SOON = {"keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3, "tcp_user_timeout": 5000}
"""The same the other way: no call waits for a server's machine that vanished (libpq: "Connection Parameters")."""
_REWRITTEN_BYTES = 64 * 1024 * 1024
_COLUMNS = ", ".join(f'"{name}"' for name in EVENT_COLUMNS)
_STAGE = (
    f"CREATE TEMP TABLE IF NOT EXISTS incoming ON COMMIT DELETE ROWS AS SELECT {_COLUMNS} "  # noqa: S608
    "FROM events WITH NO DATA"
)
"""Once a connection: a new table for each second's events would fill PostgreSQL's catalogue."""
_COPY = f"COPY incoming ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"
_TYPES = ("bytea", "float8", *["text"] * 4, "float8", *["text"] * 2)
_SOURCES = ", ".join(f"('{kind}', '{source}')" for kind, source in SOURCE_OF_KIND.items())
_MERGE = f"""
INSERT INTO events ({_COLUMNS}) SELECT {_COLUMNS} FROM incoming AS new
LEFT JOIN (VALUES {_SOURCES}) AS told (told_kind, told_source) ON told_kind = kind
WHERE NOT EXISTS (
  SELECT FROM deletions AS gone WHERE gone."user" = new."user" AND new.time_s <= gone.time_s
  AND (gone.source = '{EVERYTHING}' OR gone.source = COALESCE(told_source, ''))
) AND NOT EXISTS (
  SELECT FROM consents AS choice WHERE choice."user" = new."user" AND choice.source = told_source AND NOT choice.allowed
)
ON CONFLICT (key) DO NOTHING
"""  # noqa: S608 - our own names
"""What is new and permitted (`event_rows.permitted`, in one statement)."""


class PostgresStore(SqlStore):
    """`Store` in a PostgreSQL database.

    Args:
        address: "postgresql://USER@HOST/NAME"; a password belongs in ~/.pgpass or PGPASSFILE, never in the address.
        steps: the way to the newest version.
        as_it_is: leave its version alone, whatever it is; then only `SqlMigrations` may be asked.

    Raises:
        ConfigError: the address is wrong, holds a password, or psycopg is not installed.
        StoreError: the database cannot be reached, or is newer than this program.
    """

    def __init__(self, address: str, *, steps: Sequence[Step] = STEPS, as_it_is: bool = False) -> None:
        self._engine = _engine(address)
        self._steps = steps
        self.name = self._engine.url.render_as_string(hide_password=True)
        if as_it_is:
            return
        try:
            with self._writing() as connection:
                migrate(connection, steps)
        except BaseException:
            self._engine.dispose()
            raise

    def check(self) -> None:
        """See that the database answers; PostgreSQL checks its own pages."""
        with self._reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Let go of the connections. Calls after this open them again."""
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._told(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._told(), self._engine.begin() as connection:
            self._lock(connection)
            yield connection

    @staticmethod
    def _lock(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER_LOCK})

    def _insert(self, table: Table) -> Any:
        return postgresql.insert(table)

    @contextmanager
    def _taking_in(self, rows: Sequence[EventRow]) -> Iterator[tuple[Connection, Callable[[], int]]]:
        """By COPY into a table of this connection, for which nobody waits, and from there what is new."""
        with self._told(), self._engine.begin() as connection:
            if rows:
                self._stage(connection, rows)
            self._lock(connection)
            yield connection, lambda: connection.exec_driver_sql(_MERGE).rowcount if rows else 0

    @staticmethod
    def _stage(connection: Connection, rows: Sequence[EventRow]) -> None:
        connection.exec_driver_sql(_STAGE)
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for row in rows:
                copy.write_row(row)

    def _alone(self, connection: Connection) -> None:
        others = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = :name AND pid <> pg_backend_pid()"
        )
        deadline_s = time.monotonic() + _LEAVING_S
        while count := connection.execute(others, {"name": _APPLICATION}).scalar_one():
            if time.monotonic() > deadline_s:
                raise Conflict(
                    f"{count} other connections of ghostdesk use {self.name}.",
                    "Stop every ghostdesk that runs with it.",
                )
            time.sleep(0.05)  # one that was just closed is still seen for a moment
            connection.execute(text("SELECT pg_stat_clear_snapshot()"))

    def _forget_deleted(self) -> None:
        """Clear deleted rows from the tables' files: small tables are rewritten, large ones vacuumed.

        PostgreSQL cannot overwrite rows as it deletes them. VACUUM FULL leaves nothing behind but locks its table, so a
        large one gets a plain VACUUM, after which the space is used again by what comes next. The write-ahead log, and
        backups made from it, hold what they hold until they are recycled.
        """
        with self._told(), self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("SET statement_timeout = 0")
            try:
                there = set(inspect(connection).get_table_names())
                for table in (one for one in metadata.sorted_tables if one.name in there):
                    size = text("SELECT pg_total_relation_size(:name)")
                    small = int(connection.execute(size, {"name": table.name}).scalar_one()) <= _REWRITTEN_BYTES
                    connection.exec_driver_sql(f"VACUUM {'FULL ' if small else ''}{table.name}")
            finally:
                connection.exec_driver_sql(f"SET statement_timeout = {_STATEMENT_TIMEOUT_MS}")

    def planner_turn(self) -> PlannerTurn:
        """The right to plan, which one process at a time may hold."""
        return PlannerTurn(self._engine)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn the database's errors into ours: cause and mend."""
        try:
            yield
        except DBAPIError as error:
            raise told_error(self.name, error) from error
        except PoolTimeout as error:
            raise StoreError(
                f"All connections to {self.name} are busy.", "Something holds them for long: see pg_stat_activity."
            ) from error


class PlannerTurn:
    """The right to plan: an advisory lock of one connection (PostgreSQL: "Advisory Locks").

    The server takes it back when that connection ends, however it ends: a planner that was killed makes way at once.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def take(self) -> bool:
        """Try to take it; whether this process has it now. Raises `StoreError` when the database cannot be reached."""
        if self.holds():
            return True
        try:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            if connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _PLANNER_LOCK}).scalar():
                for setting in _FREED_SOON:
                    connection.exec_driver_sql(f"SET {setting}")
                self._connection = connection
                return True
            connection.close()
        except DBAPIError as error:
            raise told_error("of the planner's turn", error) from error
        return False

    def holds(self) -> bool:
        """Whether it is still ours: the connection that holds it answers. Once it broke, stop planning."""
        if self._connection is None:
            return False
        try:
            self._connection.execute(text("SELECT 1"))
            return True
        except DBAPIError:
            self._drop()
            return False

    def give_back(self) -> None:
        """Let another have it."""
        if self._connection is not None:
            with contextlib.suppress(DBAPIError):
                self._connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _PLANNER_LOCK})
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(DBAPIError):
                self._connection.invalidate()
                self._connection.close()
            self._connection = None


def _engine(address: str) -> Engine:
    try:
        url = make_url(address).set(drivername="postgresql+psycopg")
    except ArgumentError:
        raise ConfigError(f"{address!r} is no address of a database.", 'Write "postgresql://USER@HOST/NAME".') from None
    if url.password:
        raise ConfigError(
            "The database's address holds a password.", "Put it into ~/.pgpass, or a file that PGPASSFILE names."
        )
    options = f"-c statement_timeout={_STATEMENT_TIMEOUT_MS}"
    try:
        return create_engine(
            url,
            pool_pre_ping=True,
            pool_size=8,
            connect_args={
                "connect_timeout": _CONNECT_TIMEOUT_S,
                "options": options,
                "application_name": _APPLICATION,
                **_GIVEN_UP_SOON,
            },
        )
    except ImportError:
        raise ConfigError(
            "psycopg is not installed, which PostgreSQL needs.", "Run: pip install 'ghostdesk[postgres]'"
        ) from None


def told_error(name: str, error: DBAPIError) -> StoreError:
    """What a database's error means, with the mend (PostgreSQL: "Error Codes", by class)."""
    state = str(getattr(error.orig, "sqlstate", "") or "")
    words = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no reason given"
    for prefix, (cause, mend) in _WORDS.items():
        if state.startswith(prefix):
            return StoreError(f"The database {name} {cause}: {words}.", mend)
    if "does not exist" in words and not state:
        return StoreError(f"The database {name} does not exist: {words}.", _WORDS["3D"][1])
    if not state or error.connection_invalidated:
        return StoreError(f"The database {name} cannot be reached: {words}.", "Is it running, and the address right?")
    return StoreError(f"The database {name} refused the work ({state}): {words}.", "See the log of PostgreSQL.")


_WORDS = {
    "08": ("cannot be reached", "Is it running, and the address right?"),
    "28": ("refuses us", "Check the user, pg_hba.conf and ~/.pgpass."),
    "3D": ("does not exist", "Make it with createdb."),
    "42501": ("gives us too few rights", "GRANT them to the user of the address."),
    "53100": ("has no disk space left; nothing was half-written", "Free some space and try again."),
    "53300": ("has no connection left", "Raise max_connections, or run fewer replicas."),
    "55P03": ("was locked for too long", "See pg_stat_activity for what holds it, and try again."),
    "57014": ("took too long", "See pg_stat_activity for what holds it, and try again."),
    "57P": ("is shutting down or starting", "Try again in a moment."),
}
