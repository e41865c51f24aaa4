"""Migrations: forward, once, all or nothing, and never by an older program."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection

from ghostdesk.kernel.errors import StoreError
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.protocol import StoredUser
from ghostdesk.store.schema import metadata
from ghostdesk.store.sqlite import SqliteStore, open_store
from ghostdesk.store.steps import STEPS, Step
from ghostdesk.telemetry.consent import Consent
from ghostdesk.telemetry.events import EventKind, TelemetrySource

ADA = UserId("ada")


def add_column(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE audit ADD COLUMN ghost VARCHAR")


def fail(connection: Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE half_done (x INTEGER)")
    raise StoreError("The step failed.", "Nothing to do.")


def only(forward: Callable[[Connection], None]) -> Step:
    """A step that is never undone."""
    return Step("a test's", forward, lambda _connection: None)


def version(store: SqliteStore) -> object:
    with store._reading() as connection:
        return connection.exec_driver_sql("SELECT version FROM schema_version").scalar_one()


def test_an_older_database_is_brought_forward_with_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    old = SqliteStore(path)
    old.put_user(StoredUser(UserId("ada"), "Ada"))
    assert version(old) == len(STEPS)
    old.close()
    for _ in range(2):  # the second opening has nothing to do
        new = SqliteStore(path, steps=(*STEPS, only(add_column)))
        assert version(new) == len(STEPS) + 1
        assert new.user(UserId("ada")) is not None
        with new._reading() as connection:
            connection.exec_driver_sql("SELECT ghost FROM audit")
        new.close()


def test_a_step_that_fails_leaves_the_old_database(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    SqliteStore(path).close()
    with pytest.raises(StoreError, match="step failed"):
        SqliteStore(path, steps=(*STEPS, only(fail)))
    store = SqliteStore(path)
    assert version(store) == len(STEPS)
    with store._reading() as connection:
        assert not connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE name = 'half_done'").all()
    store.close()


def test_a_newer_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    SqliteStore(path, steps=(*STEPS, only(add_column))).close()
    before = path.read_bytes()
    for repair in (False, True):
        with pytest.raises(StoreError, match="newer ghostdesk") as caught:
            open_store(path, now_s=0.0, repair=repair)
        assert "Install the newer" in caught.value.mend
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.db"]


def shape(path: Path) -> dict[str, object]:
    """Every table's columns, keys and indices, as SQLite tells them; the order of columns does not count."""
    connection = sqlite3.connect(path)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found: dict[str, object] = {}
    for name in names:
        columns = {row[1:] for row in connection.execute(f"PRAGMA table_info('{name}')")}
        others = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE tbl_name = ? AND type != 'table' AND sql IS NOT NULL", (name,)
        )
        keys = set(connection.execute(f"PRAGMA foreign_key_list('{name}')"))
        found[name] = (columns, set(others), keys)
    connection.close()
    return found


def test_the_steps_lead_to_the_tables_as_they_are_now(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "steps.db").close()
    SqliteStore(tmp_path / "now.db", steps=[only(lambda c: metadata.create_all(c, checkfirst=False))]).close()
    assert shape(tmp_path / "steps.db") == shape(tmp_path / "now.db")


def version_1(path: Path) -> sqlite3.Connection:
    """A database that version 1 wrote, with a row in each table."""
    connection = sqlite3.connect(path)
    connection.executescript((Path(__file__).parent / "version_1.sql").read_text())
    return connection


def rows_of(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - names of our own tables


def test_the_first_step_makes_what_version_1_made(tmp_path: Path) -> None:
    version_1(tmp_path / "real.db").close()
    SqliteStore(tmp_path / "step.db", steps=STEPS[:1]).close()
    assert shape(tmp_path / "step.db") == shape(tmp_path / "real.db")


def test_a_database_of_version_1_keeps_every_row_and_takes_the_new(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    old = version_1(path)
    tables = [name for name in shape(path) if name != "schema_version"]
    before = {name: rows_of(old, name) for name in tables}
    old.close()
    store = open_store(path, now_s=0.0)
    assert version(store) == len(STEPS) == 3
    assert store.user(ADA) == StoredUser(ADA, "Ada", "operator")
    assert [e.kind for e in store.events()] == [EventKind.SIGN_IN, EventKind.APP_LAUNCH, EventKind.DESKTOP_STATE]
    store.put_user(StoredUser(ADA, "Ada", "operator", job_role="teacher", department="physics"))
    store.put_consent(Consent(ADA, TelemetrySource.PLACE, True, 5.0))
    assert store.consents(ADA) == [Consent(ADA, TelemetrySource.PLACE, True, 5.0)]
    found = store.user(ADA)
    assert found is not None and (found.job_role, found.department) == ("teacher", "physics")
    store.close()
    new = sqlite3.connect(path)
    for name in tables:
        rows = [row[: len(before[name][0])] for row in rows_of(new, name)]
        assert sorted(rows, key=repr) == sorted(before[name], key=repr)
    new.close()
