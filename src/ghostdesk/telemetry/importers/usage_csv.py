"""Reads usage as CSV: events ``user,time,event,app``, foreground ``user,time,app``, activity ``user,utc,tz_min``."""

from __future__ import annotations

from collections.abc import Iterator

from ghostdesk.kernel.ids import AppId
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.importers.cleaning import (
    clean_app,
    clean_desktop,
    clean_mime,
    clean_user,
    clean_word,
    parse_time_s,
)
from ghostdesk.telemetry.importers.protocol import BadLine, Parsed, ReadOptions, TextSource
from ghostdesk.telemetry.importers.rows import header_columns, read_table

_KINDS = {kind.value: kind for kind in EventKind}
_NEEDS_APP = frozenset({EventKind.APP_LAUNCH, EventKind.APP_FOCUS, EventKind.APP_EXIT})
_NEEDS_VALUE = frozenset({EventKind.CPU, EventKind.MEMORY, EventKind.NETWORK, EventKind.STORAGE})


class UsageCsvImporter:
    """CSV with a header line. Columns may stand in any order; columns with other names are passed over."""

    name = "csv"

    def sniff(self, head: str) -> bool:
        """A header with ``time`` and one of ``app`` and ``event``, or with ``user``, ``utc`` and ``tz_min``."""
        columns, _ = header_columns(head.split("\n", 1)[0])
        return _missing(frozenset(columns)) is None

    def read(self, source: TextSource, options: ReadOptions) -> Iterator[Parsed]:
        """One event a line."""
        places, rows = read_table(source)
        if (missing := _missing(frozenset(places))) is not None:
            yield BadLine(1, missing)
            return
        reader = _ActivityRows(places, options) if "time" not in places else _EventRows(places, options)
        for row in rows:
            if isinstance(row, BadLine):
                yield row
                continue
            number, fields = row
            try:
                yield number, reader.event(fields)
            except ValueError as error:
                yield BadLine(number, str(error))


def _missing(columns: frozenset[str]) -> str | None:
    """What the header lacks, or None."""
    if {"user", "utc", "tz_min"} <= columns or ("time" in columns and columns & {"app", "event"}):
        return None
    return "the header must name the columns user,time,event,app or user,time,app or user,utc,tz_min"


class _EventRows:
    def __init__(self, places: dict[str, int], options: ReadOptions) -> None:
        self._options = options
        self._time = places["time"]
        self._user = places.get("user")
        self._event = places.get("event")
        self._app = places.get("app")
        self._desktop = places.get("desktop")
        self._value = places.get("value")
        self._detail = places.get("detail")

    def event(self, fields: list[str]) -> UsageEvent:
        """The event of one row; raises `ValueError` with a reason."""
        app_text = _field(fields, self._app)
        kind = _kind(_field(fields, self._event), app_text)
        app: AppId | None = clean_app(app_text) if app_text else None
        if app is None and kind in _NEEDS_APP:
            raise ValueError(f"{kind.value} needs an app")
        value_text = _field(fields, self._value)
        if not value_text and kind in _NEEDS_VALUE:
            raise ValueError(f"{kind.value} needs a value")
        desktop, detail = _field(fields, self._desktop), _field(fields, self._detail)
        user_text = _field(fields, self._user)
        shared = kind is EventKind.DESKTOP_STATE and not user_text
        return UsageEvent(
            time_s=parse_time_s(fields[self._time], self._options.timezone),
            kind=kind,
            user=None if shared else clean_user(user_text, self._options.users, self._options.user),
            app=app,
            desktop=clean_desktop(desktop) if desktop else None,
            value=_value(value_text) if value_text else None,
            detail=_detail(detail, kind),
            source=UsageCsvImporter.name,
        )


class _ActivityRows:
    """Signs of life without a program: ``tz_min`` is checked and then dropped, as `utc` says all about the moment."""

    def __init__(self, places: dict[str, int], options: ReadOptions) -> None:
        self._options = options
        self._user, self._utc, self._zone = places["user"], places["utc"], places["tz_min"]

    def event(self, fields: list[str]) -> UsageEvent:
        """The event of one row; raises `ValueError` with a reason."""
        try:
            zone_min = float(fields[self._zone])
        except ValueError:
            raise ValueError(f"tz_min {fields[self._zone][:40]!r} is not a number of minutes") from None
        if not -24 * 60 <= zone_min <= 24 * 60:
            raise ValueError(f"tz_min {zone_min:g} is more than a day")
        return UsageEvent(
            time_s=parse_time_s(fields[self._utc], self._options.timezone),
            kind=EventKind.ACTIVE,
            user=clean_user(fields[self._user], self._options.users, self._options.user),
            source=UsageCsvImporter.name,
        )


def _field(fields: list[str], place: int | None) -> str:
    return "" if place is None else fields[place].strip()


def _kind(text: str, app_text: str) -> EventKind:
    if not text and app_text:
        return EventKind.APP_FOCUS  # a log of the window in front
    kind = _KINDS.get(text.lower())
    if kind is None:
        raise ValueError(f"event {text[:40]!r} is unknown" if text else "the event is empty, and there is no app")
    return kind


def _value(text: str) -> float:
    try:
        return float(text)  # infinities and NaN are refused by UsageEvent
    except ValueError:
        raise ValueError(f"value {text[:40]!r} is not a number") from None


def _detail(text: str, kind: EventKind) -> str | None:
    if kind is EventKind.FILE_OPENED:
        return clean_mime(text)
    return clean_word(text) if text else None
