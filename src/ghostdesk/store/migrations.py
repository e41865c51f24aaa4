"""Bringing a database forward to the version that this program knows, and back to one that an older program knows.

Everything happens inside the caller's transaction: a step that fails leaves the database as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Connection, inspect, select

from ghostdesk.kernel.errors import Conflict, StoreError
from ghostdesk.store.dumps import Dump, Loss, losses, read_dump, restore, write_dump
from ghostdesk.store.schema import schema_version
from ghostdesk.store.sql_access import SqlAccess
from ghostdesk.store.steps import STEPS, Step


class SchemaState(StrEnum):
    """How a database stands to this program."""

    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"


@dataclass(frozen=True, slots=True)
class SchemaReport:
    """The version that a database has, and the newest that this program knows, with the name of each step."""

    version: int
    known: int
    state: SchemaState
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Migrated:
    """What was done: from which version to which; what went, and into which file; how many rows came back."""

    before: int
    after: int
    lost: tuple[Loss, ...] = ()
    dump: str = ""
    restored: int = 0


def version_of(connection: Connection) -> int:
    """The database's version, 0 for an empty one; raises `StoreError` when it belongs to another program."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return 0
    if schema_version.name not in tables:
        raise StoreError("The database belongs to another program.", "Give another file or state folder.")
    return connection.scalar(select(schema_version.c.version)) or 0


def migrate(connection: Connection, steps: Sequence[Step] = STEPS, dump: Dump | None = None) -> Migrated:
    """Bring the database to the newest version, inside the caller's transaction.

    Args:
        connection: in a transaction that no other writer can come between.
        steps: all that this program knows.
        dump: what a downgrade took away, to be put back on the way.

    Raises:
        StoreError: a newer ghostdesk wrote it, it belongs to another program, or the dump does not belong to it.
    """
    before = version_of(connection)
    _refuse_newer(before, len(steps))
    if dump is not None and (dump.below != before or dump.above > len(steps)):
        raise Conflict(
            f"{dump.path} was taken between versions {dump.below} and {dump.above}; the database has {before} "
            f"and comes to {len(steps)}.",
            "A dump goes back only into the database that it was taken from, by the upgrade that follows.",
        )
    if before < len(steps):
        _let_it_take_its_time(connection)
    restored = 0
    for number, step in enumerate(steps[before:], start=before + 1):
        step.forward(connection)
        if dump is not None and number == dump.above:
            restored = restore(connection, steps[before:number], dump)
    _note(connection, before, len(steps))
    return Migrated(before, len(steps), restored=restored)


def downgrade(
    connection: Connection, to: int, *, dump_to: Path | None, drop: bool, steps: Sequence[Step] = STEPS
) -> Migrated:
    """Bring the database back to version `to`, inside the caller's transaction.

    Args:
        connection: in a transaction that no other writer can come between.
        to: the version wanted, 1 at least.
        dump_to: where to keep what goes; written, and on disk, before anything goes.
        drop: whether it may go without being kept.
        steps: all that this program knows.

    Raises:
        Conflict: something would be lost, and neither was given.
        StoreError: there is no such version, or the database is not one that this program knows.
        ConfigError: the dump cannot be written.
    """
    before = version_of(connection)
    _refuse_newer(before, len(steps))
    if not 1 <= to <= before:
        raise StoreError(
            f"The database cannot be brought back to version {to}: it has {before}.",
            f"Give --to a version from 1 to {before}; `ghostdesk database show` lists them.",
        )
    undone = steps[to:before]
    _let_it_take_its_time(connection)
    lost = tuple(losses(connection, undone))
    if lost and dump_to is None and not drop:
        named = ", ".join(f"{loss.rows} rows of {loss.what}" for loss in lost)
        raise Conflict(
            f"Version {to} has no place for {named}.",
            "Give --dump FILE to keep them for the next upgrade, or --drop to lose them for good.",
        )
    if dump_to is not None:
        write_dump(connection, undone, dump_to, to, before)
    try:
        for step in reversed(undone):
            step.back(connection)
        _note(connection, before, to)
    except BaseException:
        if dump_to is not None:
            dump_to.unlink(missing_ok=True)  # nothing went, and the name is free for the next try
        raise
    return Migrated(before, to, lost, str(dump_to) if dump_to is not None else "")


class SqlMigrations(SqlAccess):
    """The part of the SQL store that looks after its own version."""

    _steps: Sequence[Step] = STEPS

    def _alone(self, connection: Connection) -> None:
        """Raise `Conflict` when another program of ours uses the database."""

    def close(self) -> None:
        """Let go of the database."""
        raise NotImplementedError

    def schema_report(self) -> SchemaReport:
        """The version it has; a newer one is told, not refused."""
        with self._reading() as connection:
            version = version_of(connection)
        known = len(self._steps)
        state = SchemaState.CURRENT
        if version != known:
            state = SchemaState.NEWER if version > known else SchemaState.OLDER if version else SchemaState.EMPTY
        return SchemaReport(version, known, state, tuple(step.name for step in self._steps))

    def upgrade(self, dump: Path | None = None) -> Migrated:
        """Bring it to the newest version, putting back what a downgrade kept in `dump`; see `migrate` for errors."""
        found = None if dump is None else read_dump(dump)
        with self._writing() as connection:
            return migrate(connection, self._steps, found)

    def downgrade(self, to: int, *, dump_to: Path | None = None, drop: bool = False) -> Migrated:
        """Bring it back to an older version; see `downgrade` for errors. Nothing else of ours may use it."""
        with self._writing() as connection:
            self._alone(connection)
            done = downgrade(connection, to, dump_to=dump_to, drop=drop, steps=self._steps)
        self._forget_deleted()
        return done


def _refuse_newer(version: int, known: int) -> None:
    if version > known:
        raise StoreError(
            f"The database was written by a newer ghostdesk (its schema is {version}, this one knows {known}).",
            f"Install the newer ghostdesk again; with it, `ghostdesk database downgrade --to {known}` makes the "
            "database fit for this one. Or give another state folder.",
        )


def _note(connection: Connection, before: int, after: int) -> None:
    if before == 0:
        connection.execute(schema_version.insert().values(version=after))
    elif before != after:
        connection.execute(schema_version.update().values(version=after))


def _let_it_take_its_time(connection: Connection) -> None:
    """A step over a large table takes longer than any other statement may."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
