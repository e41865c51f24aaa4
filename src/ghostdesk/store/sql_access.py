"""The ways to reach the database that every part of the SQL store shares."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, Row, Select, Table
from sqlalchemy.dialects import sqlite


class SqlAccess:
    """Transactions, and the few helpers over them."""

    def _reading(self) -> AbstractContextManager[Connection]:
        """A transaction that reads one consistent state."""
        raise NotImplementedError

    def _writing(self) -> AbstractContextManager[Connection]:
        """A transaction that no other writer can come between; committed at its end, undone by an exception."""
        raise NotImplementedError

    def _forget_deleted(self) -> None:
        """Make sure that deleted rows cannot be read back from the database's files."""
        raise NotImplementedError

    def _insert(self, table: Table) -> sqlite.Insert:
        """The database's own insert, which knows `on_conflict_do_update`; PostgreSQL's has the same methods."""
        return sqlite.insert(table)

    def _all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._reading() as connection:
            return connection.execute(query).all()

    def _first(self, query: Select[Any]) -> Row[Any] | None:
        with self._reading() as connection:
            return connection.execute(query).first()

    def _execute(self, statement: Any) -> int:
        with self._writing() as connection:
            return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
