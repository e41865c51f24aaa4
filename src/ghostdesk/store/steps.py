"""The steps that bring an older database forward, and back, each with the tables as they were when it was released.

Once released, a step is never changed, and it never looks at `schema`, which moves on; a test holds their sum equal to
`schema`. `migrations` takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)


@dataclass(frozen=True, slots=True)
class AddedColumns:
    """Columns that a step added to a table that was there; `key` is the table's primary key."""

    table: str
    key: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """The way from one version to the next, and back.

    Args:
        name: what it brings, for people.
        forward: makes it.
        back: takes it away again; what `tables` and `columns` name goes with it.
        tables: the tables that it makes.
        columns: the columns that it adds to others.
    """

    name: str
    forward: Callable[[Connection], None]
    back: Callable[[Connection], None]
    tables: MetaData = field(default_factory=MetaData)
    columns: tuple[AddedColumns, ...] = ()


_ROW = BigInteger().with_variant(Integer(), "sqlite")


def _version_1() -> MetaData:
    tables = MetaData()
    Table("schema_version", tables, Column("version", Integer, primary_key=True))
    events = Table(
        "events",
        tables,
        Column("id", _ROW, primary_key=True),
        Column("key", LargeBinary(21), nullable=False, unique=True),
        Column("time_s", Double, nullable=False),
        Column("kind", String, nullable=False),
        *(Column(name, String) for name in ("user", "app", "desktop")),
        Column("value", Double),
        Column("detail", String),
        Column("source", String, nullable=False),
    )
    Index("events_by_time", events.c.time_s, events.c.id)
    of_users = events.c.user.is_not(None)
    Index("events_by_user", events.c.user, events.c.time_s, sqlite_where=of_users, postgresql_where=of_users)
    Table(
        "imports",
        tables,
        Column("digest", String, primary_key=True),
        Column("name", String, nullable=False),
        *(Column(name, BigInteger, nullable=False) for name in ("lines", "events", "bad_lines")),
        Column("complete", Boolean, nullable=False),
    )
    _accounts_1(tables)
    _ghosts_1(tables)
    return tables


def _accounts_1(tables: MetaData) -> None:
    Table(
        "users",
        tables,
        Column("user", String, primary_key=True),
        Column("display_name", String, nullable=False),
        Column("role", String, nullable=False),
        Column("disabled", Boolean, nullable=False),
    )
    for name, indexed in (("sign_in_links", False), ("web_sessions", True)):
        owner = ForeignKey("users.user", ondelete="CASCADE")
        Table(
            name,
            tables,
            Column("token_digest", LargeBinary, primary_key=True),
            Column("user", String, owner, nullable=False, index=indexed or None),
            Column("expires_s", Double, nullable=False),
        )


def _ghosts_1(tables: MetaData) -> None:
    claims = Table(
        "claims",
        tables,
        Column("ghost", String, primary_key=True),
        Column("user", String, nullable=False),
        Column("generation", BigInteger, nullable=False),
        Column("state", String, nullable=False),
        Column("since_s", Double, nullable=False),
        Column("destroyed", Boolean, nullable=False),
    )
    Index("claims_alive", claims.c.ghost, sqlite_where=~claims.c.destroyed, postgresql_where=~claims.c.destroyed)
    launches = Table(
        "launches",
        tables,
        Column("id", _ROW, primary_key=True),
        Column("time_s", Double, nullable=False),
        *(Column(name, String, nullable=False) for name in ("user", "what", "path")),
        Column("duration_s", Double, nullable=False),
        Column("reason", String, nullable=False),
    )
    Index("launches_by_time", launches.c.time_s)
    Index("launches_by_user", launches.c.user, launches.c.time_s)
    Table(
        "audit",
        tables,
        Column("id", _ROW, primary_key=True),
        Column("time_s", Double, nullable=False),
        *(Column(name, String, nullable=False) for name in ("actor", "action", "subject", "reason")),
    )


def _version_2() -> MetaData:
    """What came with the second version: what belongs to a person beside events."""
    tables = MetaData()
    consents = Table(
        "consents",
        tables,
        Column("user", String, primary_key=True),
        Column("source", String, primary_key=True),
        Column("allowed", Boolean, nullable=False),
        Column("since_s", Double, nullable=False),
    )
    Index("consents_by_time", consents.c.since_s)
    Table(
        "places",
        tables,
        Column("user", String, primary_key=True),
        Column("name", String, primary_key=True),
        Column("kind", String, nullable=False),
        Column("latitude_cell", Integer),
        Column("longitude_cell", Integer),
    )
    Table(
        "modes",
        tables,
        Column("user", String, primary_key=True),
        Column("name", String, primary_key=True),
        *(Column(name, String, nullable=False) for name in ("apps", "file_types", "resources")),
    )
    _calendars_2(tables)
    prepared = Table(
        "prepared",
        tables,
        Column("id", _ROW, primary_key=True),
        Column("time_s", Double, nullable=False),
        *(Column(name, String, nullable=False) for name in ("user", "what", "reason")),
    )
    Index("prepared_by_user", prepared.c.user, prepared.c.id)
    deletions = Table(
        "deletions",
        tables,
        Column("user", String, primary_key=True),
        Column("source", String, primary_key=True),
        Column("time_s", Double, nullable=False),
    )
    Index("deletions_by_time", deletions.c.time_s)
    return tables


def _calendars_2(tables: MetaData) -> None:
    Table(
        "calendars",
        tables,
        Column("owner", String, primary_key=True),
        Column("name", String, primary_key=True),
        *(Column(name, String, nullable=False) for name in ("kind", "location", "username")),
        Column("synced_s", Double),
        Column("problem", String, nullable=False),
    )
    busy_times = Table(
        "busy_times",
        tables,
        Column("id", _ROW, primary_key=True),
        Column("owner", String, nullable=False),
        Column("calendar", String, nullable=False),
        Column("start_s", Double, nullable=False),
        Column("end_s", Double, nullable=False),
        Column("all_day", Boolean, nullable=False),
        Column("series", String, nullable=False),
        Column("kind", String, nullable=False),
    )
    Index("busy_times_by_owner", busy_times.c.owner, busy_times.c.calendar, busy_times.c.start_s)
    Index("busy_times_by_start", busy_times.c.start_s)


def _version_3() -> MetaData:
    """What came with the third version: classes that are booked."""
    tables = MetaData()
    bookings = Table(
        "bookings",
        tables,
        Column("number", _ROW, primary_key=True),
        *(Column(name, String, nullable=False) for name in ("source", "name")),
        *(Column(name, Double, nullable=False) for name in ("start_s", "end_s")),
        Column("desktops", BigInteger, nullable=False),
        *(Column(name, String, nullable=False) for name in ("department", "users", "apps", "resources")),
    )
    Index("bookings_by_end", bookings.c.end_s)
    return tables


_USERS_2 = AddedColumns("users", "user", ("job_role", "department"))


def _to_1(connection: Connection) -> None:
    _version_1().create_all(connection, checkfirst=False)


def _from_1(connection: Connection) -> None:
    _version_1().drop_all(connection, checkfirst=False)


def _to_2(connection: Connection) -> None:
    _version_2().create_all(connection, checkfirst=False)
    for name in _USERS_2.columns:
        connection.exec_driver_sql(f"ALTER TABLE users ADD COLUMN {name} VARCHAR DEFAULT '' NOT NULL")


def _from_2(connection: Connection) -> None:
    for name in _USERS_2.columns:
        connection.exec_driver_sql(f"ALTER TABLE users DROP COLUMN {name}")
    _version_2().drop_all(connection, checkfirst=False)


def _to_3(connection: Connection) -> None:
    _version_3().create_all(connection, checkfirst=False)


def _from_3(connection: Connection) -> None:
    _version_3().drop_all(connection, checkfirst=False)


STEPS: tuple[Step, ...] = (
    Step("events, accounts, claims, launches", _to_1, _from_1, _version_1()),
    Step("people's own: consents, places, modes, calendars, deletions", _to_2, _from_2, _version_2(), (_USERS_2,)),
    Step("booked classes", _to_3, _from_3, _version_3()),
)
"""Step ``n`` brings version ``n`` to ``n + 1``. A new one is put behind the last."""
