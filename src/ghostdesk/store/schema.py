"""The tables as they are now, in SQLAlchemy Core for any database; `steps` is the way to them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

metadata = MetaData()
_ROW = BigInteger().with_variant(Integer(), "sqlite")  # only INTEGER counts up by itself in SQLite

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

events = Table(
    "events",
    metadata,
    Column("id", _ROW, primary_key=True),
    Column("key", LargeBinary(21), nullable=False, unique=True),
    Column("time_s", Double, nullable=False),
    Column("kind", String, nullable=False),
    Column("user", String),
    Column("app", String),
    Column("desktop", String),
    Column("value", Double),
    Column("detail", String),
    Column("source", String, nullable=False),
)
Index("events_by_time", events.c.time_s, events.c.id)
_of_users = events.c.user.is_not(None)
Index("events_by_user", events.c.user, events.c.time_s, sqlite_where=_of_users, postgresql_where=_of_users)

imports = Table(
    "imports",
    metadata,
    Column("digest", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("lines", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("bad_lines", BigInteger, nullable=False),
    Column("complete", Boolean, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("user", String, primary_key=True),
    Column("display_name", String, nullable=False),
    Column("role", String, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("job_role", String, nullable=False, server_default=""),
    Column("department", String, nullable=False, server_default=""),
)

sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("token_digest", LargeBinary, primary_key=True),
    Column("user", String, ForeignKey("users.user", ondelete="CASCADE"), nullable=False),
    Column("expires_s", Double, nullable=False),
)

web_sessions = Table(
    "web_sessions",
    metadata,
    Column("token_digest", LargeBinary, primary_key=True),
    Column("user", String, ForeignKey("users.user", ondelete="CASCADE"), nullable=False, index=True),
    Column("expires_s", Double, nullable=False),
)

claims = Table(
    "claims",
    metadata,
    Column("ghost", String, primary_key=True),
    Column("user", String, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("since_s", Double, nullable=False),
    Column("destroyed", Boolean, nullable=False),
)
"""A destroyed ghost's row stays, so that a late writer cannot claim it again: ghost ids are never used twice."""
Index("claims_alive", claims.c.ghost, sqlite_where=~claims.c.destroyed, postgresql_where=~claims.c.destroyed)

launches = Table(
    "launches",
    metadata,
    Column("id", _ROW, primary_key=True),
    Column("time_s", Double, nullable=False),
    Column("user", String, nullable=False),
    Column("what", String, nullable=False),
    Column("path", String, nullable=False),
    Column("duration_s", Double, nullable=False),
    Column("reason", String, nullable=False),
)
Index("launches_by_time", launches.c.time_s)
Index("launches_by_user", launches.c.user, launches.c.time_s)

audit = Table(
    "audit",
    metadata,
    Column("id", _ROW, primary_key=True),
    Column("time_s", Double, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("reason", String, nullable=False),
)

consents = Table(
    "consents",
    metadata,
    Column("user", String, primary_key=True),
    Column("source", String, primary_key=True),
    Column("allowed", Boolean, nullable=False),
    Column("since_s", Double, nullable=False),
)
Index("consents_by_time", consents.c.since_s)

places = Table(
    "places",
    metadata,
    Column("user", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("latitude_cell", Integer),
    Column("longitude_cell", Integer),
)
"""Cells are whole numbers (see `profiles.location`), so that nothing finer can be kept."""

modes = Table(
    "modes",
    metadata,
    Column("user", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("apps", String, nullable=False),
    Column("file_types", String, nullable=False),
    Column("resources", String, nullable=False),
)
"""Lists and amounts are JSON."""

calendars = Table(
    "calendars",
    metadata,
    Column("owner", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("location", String, nullable=False),
    Column("username", String, nullable=False),
    Column("synced_s", Double),
    Column("problem", String, nullable=False),
)
"""`owner` is a user, or empty for calendars that hold for everyone."""

busy_times = Table(
    "busy_times",
    metadata,
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

prepared = Table(
    "prepared",
    metadata,
    Column("id", _ROW, primary_key=True),
    Column("time_s", Double, nullable=False),
    Column("user", String, nullable=False),
    Column("what", String, nullable=False),
    Column("reason", String, nullable=False),
)
Index("prepared_by_user", prepared.c.user, prepared.c.id)

deletions = Table(
    "deletions",
    metadata,
    Column("user", String, primary_key=True),
    Column("source", String, primary_key=True),
    Column("time_s", Double, nullable=False),
)
"""What a person deleted last, and when; events from before it are never taken again. `source` is "all" for everything.
"""
Index("deletions_by_time", deletions.c.time_s)


bookings = Table(
    "bookings",
    metadata,
    Column("number", _ROW, primary_key=True),
    Column("source", String, nullable=False),
    Column("name", String, nullable=False),
    Column("start_s", Double, nullable=False),
    Column("end_s", Double, nullable=False),
    Column("desktops", BigInteger, nullable=False),
    Column("department", String, nullable=False),
    Column("users", String, nullable=False),
    Column("apps", String, nullable=False),
    Column("resources", String, nullable=False),
)
"""Classes that are booked. `source` is the calendar that a booking comes from, or empty; lists and amounts are JSON."""
Index("bookings_by_end", bookings.c.end_s)
