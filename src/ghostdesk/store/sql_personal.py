"""The personal part of the SQL store (see `store.personal.PersonalStore`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, case, delete, func, select

from ghostdesk.kernel.errors import GhostdeskError, NotFound, StoreError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import Resources
from ghostdesk.profiles.location import Place
from ghostdesk.profiles.modes import Mode
from ghostdesk.store.event_rows import EVERYTHING, event_of
from ghostdesk.store.personal import MOST_PREPARED, Deletion, EventCount, Preparation
from ghostdesk.store.schema import (
    bookings,
    busy_times,
    calendars,
    consents,
    deletions,
    events,
    launches,
    modes,
    places,
    prepared,
)
from ghostdesk.store.sql_access import SqlAccess
from ghostdesk.telemetry.calendars.entries import BusyTime, CalendarSource
from ghostdesk.telemetry.consent import Consent, kinds_of
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent

T = TypeVar("T")
_PAGE_ROWS = 5_000
_DEFINED = {
    TelemetrySource.PLACE: (places.c.user,),
    TelemetrySource.MODE: (modes.c.user,),
    TelemetrySource.CALENDAR: (calendars.c.owner, busy_times.c.owner),
}
"""For each source the columns that say whose rows are: what a person defined for it."""


class SqlPersonal(SqlAccess):
    """Consents, places, modes, calendars, reasons and deletions."""

    # consents

    def put_consent(self, consent: Consent) -> None:
        """Keep a person's choice for one source."""
        values = asdict(consent) | {"source": consent.source.value}
        put = self._insert(consents).values(values)
        changed = {name: put.excluded[name] for name in ("allowed", "since_s")}
        self._execute(put.on_conflict_do_update(index_elements=[consents.c.user, consents.c.source], set_=changed))

    def consents(self, user: UserId | None = None, *, since_s: float | None = None) -> Sequence[Consent]:
        """Choices of one person, or of everyone; sources that this version does not know are left out."""
        query = select(consents).order_by(consents.c.user, consents.c.source)
        if user is not None:
            query = query.where(consents.c.user == user)
        if since_s is not None:
            query = query.where(consents.c.since_s >= since_s)
        return [
            Consent(row.user, TelemetrySource(row.source), row.allowed, row.since_s)
            for row in self._all(query)
            if row.source in frozenset(TelemetrySource)
        ]

    # places and modes

    def put_place(self, user: UserId, place: Place) -> None:
        """Add or change a place."""
        latitude, longitude = place.cell if place.cell is not None else (None, None)
        put = self._insert(places).values(
            user=user, name=place.name, kind=place.kind, latitude_cell=latitude, longitude_cell=longitude
        )
        changed = {name: put.excluded[name] for name in ("kind", "latitude_cell", "longitude_cell")}
        self._execute(put.on_conflict_do_update(index_elements=[places.c.user, places.c.name], set_=changed))

    def places(self, user: UserId) -> Sequence[Place]:
        """A person's places, by name."""
        rows = self._all(select(places).where(places.c.user == user).order_by(places.c.name))
        return [_place(row) for row in rows]

    def delete_place(self, user: UserId, name: str) -> bool:
        """Remove a place and every event that names it; returns whether it was there."""
        gone = delete(places).where(places.c.user == user, places.c.name == name)
        return self._delete_named(user, EventKind.PLACE, name, gone)

    def put_mode(self, user: UserId, mode: Mode) -> None:
        """Add or change a mode."""
        put = self._insert(modes).values(
            user=user,
            name=mode.name,
            apps=json.dumps(mode.apps),
            file_types=json.dumps(mode.file_types),
            resources=json.dumps(asdict(mode.resources), allow_nan=False),
        )
        changed = {name: put.excluded[name] for name in ("apps", "file_types", "resources")}
        self._execute(put.on_conflict_do_update(index_elements=[modes.c.user, modes.c.name], set_=changed))

    def modes(self, user: UserId) -> Sequence[Mode]:
        """A person's modes, by name."""
        return [_mode(row) for row in self._all(select(modes).where(modes.c.user == user).order_by(modes.c.name))]

    def all_modes(self) -> Mapping[UserId, Sequence[Mode]]:
        """Everyone's modes."""
        found: dict[UserId, list[Mode]] = {}
        for row in self._all(select(modes).order_by(modes.c.user, modes.c.name)):
            found.setdefault(UserId(row.user), []).append(_mode(row))
        return found

    def delete_mode(self, user: UserId, name: str) -> bool:
        """Remove a mode and every event that names it; returns whether it was there."""
        return self._delete_named(
            user, EventKind.MODE, name, delete(modes).where(modes.c.user == user, modes.c.name == name)
        )

    def _delete_named(self, user: UserId, kind: EventKind, name: str, gone: Any) -> bool:
        named = delete(events).where(events.c.user == user, events.c.kind == kind.value, events.c.detail == name)
        with self._writing() as connection:
            found = connection.execute(gone).rowcount > 0
            connection.execute(named)
        self._forget_deleted()
        return found

    # calendars

    def put_calendar(self, calendar: CalendarSource) -> None:
        """Add or change a calendar."""
        values = asdict(calendar)
        put = self._insert(calendars).values(owner=values.pop("user") or "", **values)
        changed = {name: put.excluded[name] for name in ("kind", "location", "username", "synced_s", "problem")}
        self._execute(put.on_conflict_do_update(index_elements=[calendars.c.owner, calendars.c.name], set_=changed))

    def update_calendar(self, calendar: CalendarSource) -> bool:
        """Change a calendar that is there; returns whether it was."""
        values = {name: value for name, value in asdict(calendar).items() if name not in ("user", "name")}
        owner, name = calendar.user or "", calendar.name
        change = calendars.update().where(calendars.c.owner == owner, calendars.c.name == name)
        return self._execute(change.values(values)) > 0

    def calendars(self, user: UserId | None = None) -> Sequence[CalendarSource]:
        """A person's calendars; without a user all there are, with those that hold for everyone."""
        query = select(calendars).order_by(calendars.c.owner, calendars.c.name)
        if user is not None:
            query = query.where(calendars.c.owner == user)
        return [
            CalendarSource(_owner(r), r.name, r.kind, r.location, r.username, r.synced_s, r.problem)
            for r in self._all(query)
        ]

    def delete_calendar(self, user: UserId | None, name: str) -> bool:
        """Remove a calendar with its busy times and bookings; returns whether it was there."""
        owner = user or ""
        with self._writing() as connection:
            query = delete(calendars).where(calendars.c.owner == owner, calendars.c.name == name)
            found = connection.execute(query).rowcount > 0
            _delete_busy_times(connection, owner, name)
            if user is None:
                connection.execute(delete(bookings).where(bookings.c.source == name))
        self._forget_deleted()
        return found

    def replace_busy_times(self, user: UserId | None, calendar: str, times: Sequence[BusyTime]) -> None:
        """Put these in the place of all that was known of the calendar.

        Raises:
            NotFound: the calendar was deleted, perhaps while it was being read; nothing is written.
        """
        owner = user or ""
        rows = [asdict(time) | {"owner": owner, "calendar": calendar} for time in times]
        query = select(calendars.c.name).where(calendars.c.owner == owner, calendars.c.name == calendar)
        with self._writing() as connection:
            if connection.execute(query).first() is None:
                raise NotFound(f"There is no calendar {calendar!r}.", "Add it first.")
            _delete_busy_times(connection, owner, calendar)
            if rows:
                connection.execute(self._insert(busy_times), rows)

    def busy_times(
        self, since_s: float, until_s: float, user: UserId | None = None
    ) -> Iterator[tuple[UserId | None, BusyTime]]:
        """Entries that overlap ``[since_s, until_s)`` with whose they are, in order of start; read page by page."""
        query = select(busy_times).where(busy_times.c.start_s < until_s, busy_times.c.end_s > since_s)
        query = query.order_by(busy_times.c.start_s, busy_times.c.id).limit(_PAGE_ROWS)
        if user is not None:
            query = query.where(busy_times.c.owner == user)
        page = query
        while rows := self._all(page):
            for row in rows:
                yield _owner(row), BusyTime(row.start_s, row.end_s, row.all_day, row.series, row.kind)
            last = rows[-1]
            later = (busy_times.c.start_s > last.start_s) | (busy_times.c.id > last.id)
            page = query.where(busy_times.c.start_s >= last.start_s, later)

    def busy_time_counts(self, user: UserId) -> Mapping[str, int]:
        """How many entries each of a person's calendars has, by its name."""
        query = select(busy_times.c.calendar, func.count()).where(busy_times.c.owner == user)
        rows = self._all(query.group_by(busy_times.c.calendar))
        return {str(name): int(count) for name, count in (tuple(row) for row in rows)}

    # why things were prepared

    def add_preparation(self, preparation: Preparation) -> None:
        """Remember why something was prepared; the oldest beyond `MOST_PREPARED` of the user go."""
        user = preparation.user
        newest = select(prepared.c.id).where(prepared.c.user == user).order_by(prepared.c.id.desc())
        oldest_kept = newest.offset(MOST_PREPARED - 1).limit(1)
        with self._writing() as connection:
            connection.execute(self._insert(prepared).values(asdict(preparation)))
            kept_from = connection.scalar(oldest_kept)
            if kept_from is not None:
                connection.execute(delete(prepared).where(prepared.c.user == user, prepared.c.id < kept_from))

    def preparations(self, user: UserId, limit: int = MOST_PREPARED) -> Sequence[Preparation]:
        """The latest first."""
        query = select(prepared).where(prepared.c.user == user).order_by(prepared.c.id.desc()).limit(limit)
        return [Preparation(row.time_s, row.user, row.what, row.reason) for row in self._all(query)]

    # what is stored, and its end

    def event_counts(self, user: UserId) -> Sequence[EventCount]:
        """What is stored of a user, by kind."""
        query = select(events.c.kind, func.count(), func.min(events.c.time_s), func.max(events.c.time_s))
        rows = self._all(query.where(events.c.user == user).group_by(events.c.kind).order_by(events.c.kind))
        return [EventCount(EventKind(kind), *rest) for kind, *rest in (tuple(row) for row in rows)]

    def last_event(self, user: UserId, kind: EventKind) -> UsageEvent | None:
        """The latest event of a kind."""
        query = select(events).where(events.c.user == user, events.c.kind == kind.value)
        row = self._first(query.order_by(events.c.time_s.desc(), events.c.id.desc()).limit(1))
        return None if row is None else event_of(row)

    def delete_personal_data(self, user: UserId, source: TelemetrySource | None, now_s: float) -> int:
        """Remove what was recorded of a user, and see that it cannot come back (see `PersonalStore`)."""
        put = self._insert(deletions).values(
            user=user, source=EVERYTHING if source is None else source.value, time_s=now_s
        )
        latest = case((deletions.c.time_s > put.excluded.time_s, deletions.c.time_s), else_=put.excluded.time_s)
        put = put.on_conflict_do_update(index_elements=[deletions.c.user, deletions.c.source], set_={"time_s": latest})
        gone = delete(events).where(events.c.user == user)
        if source is not None:
            gone = gone.where(events.c.kind.in_([kind.value for kind in kinds_of(source)]))
        with self._writing() as connection:
            connection.execute(put)
            deleted = connection.execute(gone).rowcount
            connection.execute(delete(prepared).where(prepared.c.user == user))
            if source in (None, TelemetrySource.APPLICATIONS):
                connection.execute(delete(launches).where(launches.c.user == user))
            for of, columns in _DEFINED.items():
                for column in columns if source in (None, of) else ():
                    connection.execute(delete(column.table).where(column == user))
        self._forget_deleted()
        return deleted

    def deletions(self, since_s: float | None = None) -> Sequence[Deletion]:
        """What people deleted; with `since_s` only what was deleted then or later."""
        query = select(deletions).order_by(deletions.c.time_s)
        if since_s is not None:
            query = query.where(deletions.c.time_s >= since_s)
        known = {source.value: source for source in TelemetrySource} | {EVERYTHING: None}
        return [Deletion(row.user, known[row.source], row.time_s) for row in self._all(query) if row.source in known]

    def lift_deletions(self, user: UserId) -> int:
        """Let events from before the user's deletions be taken again; returns how many deletions were lifted."""
        return self._execute(delete(deletions).where(deletions.c.user == user))


def _delete_busy_times(connection: Connection, owner: str, calendar: str) -> None:
    connection.execute(delete(busy_times).where(busy_times.c.owner == owner, busy_times.c.calendar == calendar))


def _owner(row: Row[Any]) -> UserId | None:
    return UserId(row.owner) if row.owner else None


def _place(row: Row[Any]) -> Place:
    cell = None if row.latitude_cell is None or row.longitude_cell is None else (row.latitude_cell, row.longitude_cell)
    return _understood(lambda: Place(row.name, row.kind, cell), "place", row.name)


def _mode(row: Row[Any]) -> Mode:
    def made() -> Mode:
        apps = tuple(AppId(app) for app in json.loads(row.apps))
        return Mode(row.name, apps, tuple(json.loads(row.file_types)), Resources(**json.loads(row.resources)))

    return _understood(made, "mode", row.name)


def _understood(make: Callable[[], T], what: str, name: str) -> T:
    """What `make` gives; raises `StoreError` for a row that this version cannot read."""
    try:
        return make()
    except (ValueError, TypeError, GhostdeskError) as error:
        raise StoreError(
            f"The {what} {name!r} in the database cannot be understood: {error}",
            "Delete it and define it again; a newer ghostdesk may have written it.",
        ) from None
