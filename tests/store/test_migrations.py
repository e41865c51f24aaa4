"""Versions of the database, forward and back, with what is in it, on SQLite and on PostgreSQL."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, inspect, select

from ghostdesk.allocator.bookings import Booking
from ghostdesk.kernel.errors import ConfigError, Conflict, StoreError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.profiles.modes import Mode
from ghostdesk.store.migrations import SchemaState
from ghostdesk.store.protocol import StoredUser
from ghostdesk.store.sql import SqlStore
from ghostdesk.store.steps import STEPS, Step
from ghostdesk.telemetry.consent import Consent
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent

OpenWith = Callable[..., SqlStore]
ADA, BOB = UserId("ada"), UserId("bob")
SIGN_IN = UsageEvent(10.0, EventKind.SIGN_IN, ADA)


def filled(open_with: OpenWith) -> SqlStore:
    """A database of the newest version, with something in every step's tables and columns."""
    store = open_with()
    store.put_user(StoredUser(ADA, "Ada", "operator", job_role="teacher", department="physics"))
    store.put_user(StoredUser(BOB, "Bob"))
    store.add_events([SIGN_IN])
    store.put_consent(Consent(BOB, TelemetrySource.PLACE, False, 5.0))
    store.put_mode(ADA, Mode("lecture", (AppId("writer"),), (), Resources(cpu_cores=2.0)))
    store.delete_personal_data(BOB, None, 20.0)
    store.put_booking(Booking("exam", 1000.0, 2000.0, 3))
    second = store.put_booking(Booking("lab", 3000.0, 4000.0, 2))
    assert second.number == 2
    return store


def contents(store: SqlStore) -> dict[str, Any]:
    """Every row of every table, with the tables' columns."""
    with store._reading() as connection:
        tables = MetaData()
        tables.reflect(connection)
        return {
            table.name: sorted(repr(dict(row)) for row in connection.execute(select(table)).mappings())
            for table in tables.sorted_tables
        }


def shape(store: SqlStore) -> dict[str, Any]:
    with store._reading() as connection:
        look = inspect(connection)
        return {
            name: (
                sorted((str(c["name"]), str(c["type"]), c["nullable"]) for c in look.get_columns(name)),
                sorted(str(index["name"]) for index in look.get_indexes(name)),
            )
            for name in look.get_table_names()
        }


def test_back_to_each_version_and_forward_again_keeps_every_row(open_with: OpenWith, tmp_path: Path) -> None:
    store = filled(open_with)
    before, newest = contents(store), shape(store)
    for version in range(len(STEPS) - 1, 0, -1):
        kept = tmp_path / f"kept-{version}.jsonl"
        done = store.downgrade(version, dump_to=kept)
        assert (done.before, done.after, done.dump) == (len(STEPS), version, str(kept))
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        old = open_with(as_it_is=True)
        assert old.schema_report().version == version
        assert old.schema_report().state is SchemaState.OLDER
        assert not [name for name in STEPS[version].tables.tables if name in shape(old)]
        untouched = {name for step in STEPS[:version] for name in step.tables.tables} - {"schema_version", "users"}
        assert {n: rows for n, rows in contents(old).items() if n in untouched} == {n: before[n] for n in untouched}
        back = old.upgrade(kept)
        assert (back.before, back.after) == (version, len(STEPS))
        assert back.restored == sum(loss.rows for loss in done.lost) > 0
        assert contents(old) == before
        assert shape(old) == newest
        old.close()
    assert store.put_booking(Booking("next", 5000.0, 6000.0, 1)).number == 3, "numbers count on"
    store.close()


def test_an_older_program_works_with_what_it_was_given_back(open_with: OpenWith, tmp_path: Path) -> None:
    store = filled(open_with)
    store.downgrade(1, drop=True)
    store.close()
    fresh = open_with(steps=STEPS[:1])
    assert fresh.schema_report().state is SchemaState.CURRENT
    assert fresh.claims() == [] and fresh.count_events() == 1
    with fresh._reading() as connection:
        names = {column["name"] for column in inspect(connection).get_columns("users")}
    assert names == {"user", "display_name", "role", "disabled"}
    fresh.close()
    again = open_with()
    assert [user.user for user in again.users()] == [ADA, BOB]
    assert again.bookings() == [] and again.consents() == []
    again.close()


def test_what_would_be_lost_is_named_and_nothing_goes(open_with: OpenWith) -> None:
    store = filled(open_with)
    before = contents(store)
    with pytest.raises(Conflict) as refused:
        store.downgrade(1)
    for said in ("1 rows of consents", "2 rows of bookings", "1 rows of users (job_role, department)", "deletions"):
        assert said in refused.value.cause
    assert "--dump" in refused.value.mend and "--drop" in refused.value.mend
    assert contents(store) == before
    store.close()


def test_a_database_with_nothing_to_lose_goes_back_unasked(open_with: OpenWith) -> None:
    store = open_with()
    store.put_user(StoredUser(ADA, "Ada"))
    assert store.downgrade(2).lost == ()
    assert store.schema_report().version == 2
    store.close()


@pytest.mark.parametrize("to", [0, -1, len(STEPS) + 1])
def test_a_version_that_is_none_is_refused(open_with: OpenWith, to: int) -> None:
    store = open_with()
    with pytest.raises(StoreError, match="cannot be brought back"):
        store.downgrade(to, drop=True)
    store.close()


def test_a_newer_database_is_refused_with_the_way_back(open_with: OpenWith) -> None:
    def add_column(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE audit ADD COLUMN ghost VARCHAR")

    def drop_column(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE audit DROP COLUMN ghost")

    further = (*STEPS, Step("newer", add_column, drop_column))
    newer = open_with(steps=further)
    newer.add_audit(1.0, "ada", "did", "it", "")
    newer.close()
    looking = open_with(as_it_is=True)
    for use in (open_with, looking.upgrade):
        with pytest.raises(StoreError, match="newer ghostdesk") as refused:
            use()
        assert f"database downgrade --to {len(STEPS)}" in refused.value.mend
    report = looking.schema_report()
    assert (report.version, report.known, report.state) == (len(STEPS) + 1, len(STEPS), SchemaState.NEWER)
    with pytest.raises(StoreError, match="newer ghostdesk"):
        looking.downgrade(1, drop=True)
    looking.close()
    again = open_with(steps=further)
    again.downgrade(len(STEPS))
    again.close()
    older = open_with()
    assert older.schema_report().state is SchemaState.CURRENT
    with older._reading() as connection:
        assert connection.exec_driver_sql("SELECT actor FROM audit").scalars().all() == ["ada"]
    older.close()


def test_a_step_back_that_fails_leaves_all_as_it_was(open_with: OpenWith, tmp_path: Path) -> None:
    def fail(connection: Connection) -> None:
        connection.exec_driver_sql("DROP TABLE bookings")
        raise StoreError("The step failed.", "Nothing to do.")

    filled(open_with).close()
    broken = Step("booked classes", STEPS[2].forward, fail, STEPS[2].tables)
    store = open_with(steps=(*STEPS[:2], broken))
    before = contents(store)
    with pytest.raises(StoreError, match="step failed"):
        store.downgrade(1, dump_to=tmp_path / "kept")
    assert contents(store) == before
    assert not (tmp_path / "kept").exists(), "its name is free for the next try"
    store.close()


def test_a_dump_that_cannot_be_written_stops_the_way_back(open_with: OpenWith, tmp_path: Path) -> None:
    store = filled(open_with)
    before = contents(store)
    (tmp_path / "there").write_text("mine")
    for path, said in ((tmp_path / "there", "is there already"), (tmp_path / "no" / "folder", "cannot be written")):
        with pytest.raises(ConfigError, match=said):
            store.downgrade(1, dump_to=path)
    assert (tmp_path / "there").read_text() == "mine"
    assert contents(store) == before
    store.close()


def test_a_dump_goes_back_only_where_it_came_from_and_only_whole(open_with: OpenWith, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    store = filled(open_with)
    store.downgrade(1, dump_to=kept)
    text = kept.read_text()
    lines = text.splitlines(keepends=True)
    for bad in ("".join(lines[:-1]), "".join(lines[:3] + lines[4:]), "no json", "", "[1]\n", json.dumps({"a": 1})):
        (tmp_path / "bad").write_text(bad)
        with pytest.raises(ConfigError, match="no whole dump"):
            store.upgrade(tmp_path / "bad")
    with pytest.raises(ConfigError, match="cannot be read"):
        store.upgrade(tmp_path / "nowhere")
    assert store.schema_report().version == 1, "nothing was brought forward"
    store.upgrade()
    with pytest.raises(Conflict, match="taken between versions 1 and 3"):
        store.upgrade(kept)
    store.close()
