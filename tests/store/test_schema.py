"""Migrations: forward, once, all or nothing, and never by an older program."""

from pathlib import Path

import pytest
from sqlalchemy import Connection

from ghostdesk.kernel.errors import StoreError
from ghostdesk.kernel.ids import UserId
from ghostdesk.store.protocol import StoredUser
from ghostdesk.store.sqlite import SqliteStore, open_store
from ghostdesk.store.steps import STEPS


def add_column(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE audit ADD COLUMN ghost VARCHAR")


def fail(connection: Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE half_done (x INTEGER)")
    raise StoreError("The step failed.", "Nothing to do.")


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
        new = SqliteStore(path, steps=(*STEPS, add_column))
        assert version(new) == len(STEPS) + 1
        assert new.user(UserId("ada")) is not None
        with new._reading() as connection:
            connection.exec_driver_sql("SELECT ghost FROM audit")
        new.close()


def test_a_step_that_fails_leaves_the_old_database(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    SqliteStore(path).close()
    with pytest.raises(StoreError, match="step failed"):
        SqliteStore(path, steps=(*STEPS, fail))
    store = SqliteStore(path)
    assert version(store) == len(STEPS)
    with store._reading() as connection:
        assert not connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE name = 'half_done'").all()
    store.close()


def test_a_newer_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    SqliteStore(path, steps=(*STEPS, add_column)).close()
    before = path.read_bytes()
    for repair in (False, True):
        with pytest.raises(StoreError, match="newer ghostdesk") as caught:
            open_store(path, now_s=0.0, repair=repair)
        assert "Install the newer" in caught.value.mend
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.db"]
