"""Events as rows of the database, and which of them may be written at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from ghostdesk.kernel.errors import StoreError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.store.schema import consents, deletions
from ghostdesk.telemetry.events import SOURCE_OF, EventKind, UsageEvent

_LAST_SECOND = (1 << 40) - 1
_USERS_AT_ONCE = 500
EVERYTHING = "all"
"""Stands for all sources in the table of deletions."""
EVENT_COLUMNS = ("key", "time_s", "kind", "user", "app", "desktop", "value", "detail", "source")
EventRow = tuple[bytes, float, str, str | None, str | None, str | None, float | None, str | None, str]
SOURCE_OF_KIND = {kind.value: source.value for kind, source in SOURCE_OF.items()}


def stored_key(event: UsageEvent) -> bytes:
    """The event's key behind its time in whole seconds (5 bytes), so that a log's keys lie close together in the index.

    With scattered keys alone each batch of a large import would rewrite nearly every page of the index. The time is
    rounded as `UsageEvent.key` rounds it, so that equal events keep equal keys.
    """
    second = min(max(int(round(event.time_s, 3)), 0), _LAST_SECOND)
    return second.to_bytes(5, "big") + event.key()


def event_row(event: UsageEvent) -> EventRow:
    """The event in the order of `EVENT_COLUMNS`."""
    return (
        stored_key(event),
        event.time_s,
        event.kind.value,
        event.user,
        event.app,
        event.desktop,
        event.value,
        event.detail,
        event.source,
    )


def event_of(row: Row[Any]) -> UsageEvent:
    """The event that a row of the table of events is; raises `StoreError` for one that cannot be understood."""
    _, _, time_s, kind, user, app, desktop, value, detail, source = tuple(row)
    try:
        return UsageEvent(
            time_s, EventKind(kind), user, None if app is None else AppId(app), desktop, value, detail, source
        )
    except (ValueError, TypeError) as error:
        raise StoreError(
            f"Event {row.id} in the database cannot be understood: {error}.",
            "A newer ghostdesk may have written it, or the file is damaged: install the newer one, or check the file.",
        ) from None


def permitted(connection: Connection, rows: Sequence[EventRow]) -> Sequence[EventRow]:
    """The rows that may be written: not from before their user's deletion, not of a source that the user refused.

    Looked up within the writing transaction, so that no batch that was under way while somebody deleted their data
    brings it back, from wherever it comes (the running service, an import, another process).
    """
    users = sorted({UserId(row[3]) for row in rows if row[3] is not None})
    deleted: dict[tuple[str, str], float] = {}
    refused: set[tuple[str, str]] = set()
    for start in range(0, len(users), _USERS_AT_ONCE):
        some = users[start : start + _USERS_AT_ONCE]
        for row in connection.execute(select(deletions).where(deletions.c.user.in_(some))):
            deleted[row.user, row.source] = row.time_s
        query = select(consents).where(consents.c.user.in_(some), ~consents.c.allowed)
        refused.update((row.user, row.source) for row in connection.execute(query))
    return [row for row in rows if _may_stay(row, deleted, refused)] if deleted or refused else rows


def _may_stay(row: EventRow, deleted: dict[tuple[str, str], float], refused: Iterable[tuple[str, str]]) -> bool:
    user = row[3]
    if user is None:
        return True
    source = SOURCE_OF_KIND.get(row[2], "")
    before_s = max(deleted.get((user, EVERYTHING), float("-inf")), deleted.get((user, source), float("-inf")))
    return row[1] > before_s and (user, source) not in refused
