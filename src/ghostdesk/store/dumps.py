"""What a downgrade takes away, kept in a file from which an upgrade can put it back: lines of JSON.

The first line says which versions it lies between, then comes a line for each row, and the last says how many there
were, so that a file that was cut short is known.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from sqlalchemy import ColumnElement, Connection, Table, bindparam, column, func, select, table

from ghostdesk.kernel.errors import ConfigError, StoreError
from ghostdesk.store.steps import AddedColumns, Step

FORMAT = "ghostdesk.database-dump/1"
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Dump:
    """A dump that is whole: a database of version `below` took it as it came from `above`."""

    path: Path
    below: int
    above: int
    rows: int


@dataclass(frozen=True, slots=True)
class Loss:
    """What a downgrade takes away: rows of a table that goes, or of one whose columns go."""

    what: str
    rows: int


def losses(connection: Connection, steps: Sequence[Step]) -> list[Loss]:
    """What is in the tables and columns that these steps brought."""
    found = []
    for step in steps:
        for gone in step.tables.sorted_tables:
            if gone.name != "schema_version":
                found.append(Loss(gone.name, connection.scalar(select(func.count()).select_from(gone)) or 0))
        for added in step.columns:
            rows = sum(1 for _ in _filled(connection, added))
            found.append(Loss(f"{added.table} ({', '.join(added.columns)})", rows))
    return [loss for loss in found if loss.rows]


def write_dump(connection: Connection, steps: Sequence[Step], path: Path, below: int, above: int) -> Dump:
    """Write what these steps brought to a new file that its owner alone may read, on disk when this returns.

    Raises:
        ConfigError: the file is there already, or cannot be written.
    """
    with _new_file(path) as file:
        _line(file, {"format": FORMAT, "below": below, "above": above})
        rows = 0
        for step in steps:
            for one in step.tables.sorted_tables:
                if one.name == "schema_version":
                    continue
                for row in connection.execute(select(one).order_by(*one.primary_key)).mappings():
                    _line(file, {"table": one.name, "row": {str(name): _told(value) for name, value in row.items()}})
                    rows += 1
            for added in step.columns:
                for values in _filled(connection, added):
                    _line(file, {"columns_of": added.table, "row": values})
                    rows += 1
        _line(file, {"rows": rows})
    return Dump(path, below, above, rows)


def read_dump(path: Path) -> Dump:
    """Look through a dump; raises `ConfigError` for what is none, or is not whole."""
    wrong = ConfigError(f"{path} is no whole dump of a downgrade.", "Give the file that `database downgrade` wrote.")
    try:
        lines = _lines(path)
        head = next(lines)
        if head["format"] != FORMAT:
            raise wrong
        count, told = -1, None
        for line in lines:
            count, told = count + 1, line.get("rows")
        if told != count:
            raise wrong
        return Dump(path, int(head["below"]), int(head["above"]), count)
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
        raise wrong from None


def restore(connection: Connection, steps: Sequence[Step], dump: Dump) -> int:
    """Put a dump's rows into the tables that these steps have just made again; returns how many.

    Columns of an account that is gone by now stay away.

    Raises:
        StoreError: a row does not fit.
    """
    tables = {one.name: one for step in steps for one in step.tables.sorted_tables}
    added = {one.table: one for step in steps for one in step.columns}
    waiting: dict[str, list[dict[str, Any]]] = {}
    restored = 0
    lines = _lines(dump.path)
    next(lines)
    for line in lines:
        if "table" in line:
            name = line["table"]
            if name not in tables:
                raise StoreError(f"{dump.path} holds a table {name!r} that this database does not get.", "")
            rows = waiting.setdefault(name, [])
            rows.append({column: _value(value) for column, value in line["row"].items()})
            if len(rows) >= _ROWS_AT_ONCE:
                connection.execute(tables[name].insert(), rows)
                rows.clear()
            restored += 1
        elif "columns_of" in line:
            restored += _put_columns(connection, added[line["columns_of"]], line["row"])
    for name, rows in waiting.items():
        if rows:
            connection.execute(tables[name].insert(), rows)
    for name in waiting:
        _count_on(connection, tables[name])
    return restored


def _put_columns(connection: Connection, added: AddedColumns, row: dict[str, Any]) -> int:
    names = (added.key, *added.columns)
    place = table(added.table, *(column(name) for name in names))
    put = place.update().where(place.c[added.key] == bindparam("the_key"))
    values = {name: row[name] for name in added.columns}
    return connection.execute(put.values(**values), {"the_key": row[added.key]}).rowcount


def _count_on(connection: Connection, restored: Table) -> None:
    """PostgreSQL's sequences do not see numbers that were given; SQLite counts on from the highest by itself."""
    if connection.dialect.name != "postgresql" or restored.autoincrement_column is None:
        return
    name = restored.autoincrement_column.name
    highest = connection.scalar(select(func.max(restored.c[name])))
    if highest is not None:
        connection.execute(select(func.setval(func.pg_get_serial_sequence(restored.name, name), highest)))


def _filled(connection: Connection, added: AddedColumns) -> Iterator[dict[str, Any]]:
    """Rows in which one of the added columns holds something."""
    names = (added.key, *added.columns)
    wanted: list[ColumnElement[Any]] = [column(name) for name in names]
    query = select(*wanted).select_from(table(added.table)).order_by(column(added.key))
    for row in connection.execute(query).mappings():
        if any(row[name] not in ("", None) for name in added.columns):
            yield dict(row)


def _told(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def _value(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


def _line(file: TextIO, record: dict[str, Any]) -> None:
    file.write(json.dumps(record, separators=(",", ":")) + "\n")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Give a file that you may read.") from None


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path} is there already.", "Give the name of a new file.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.", "Give another file.") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror}.", "Free some space, or give another.") from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise
