"""Reads ActivityWatch's own JSON export: which application was in front, and when its user was there.

Titles, addresses and file names, which an export holds too, are never looked at (content is not recorded).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from ghostdesk.kernel.ids import UserId
from ghostdesk.telemetry.events import EventKind, UsageEvent
from ghostdesk.telemetry.importers.cleaning import clean_app, clean_user, parse_time_s
from ghostdesk.telemetry.importers.json_stream import JsonBroken, JsonCursor
from ghostdesk.telemetry.importers.protocol import BadLine, Parsed, ReadOptions, TextSource

_WINDOW, _AFK = "currentwindow", "afkstatus"
_PRESENCE = {"afk": EventKind.IDLE, "not-afk": EventKind.ACTIVE}
_BUCKET_WORDS = frozenset({"type", "hostname"})
_EVENT_WORDS = frozenset({"timestamp", "duration", "data"})


class ActivityWatchImporter:
    """Exports of all buckets, of one bucket, lists of either, and bare lists of events.

    Buckets of types other than ``currentwindow`` and ``afkstatus`` are passed over. Events are counted from 1, in the
    order of the file, as JSON has no lines to speak of.
    """

    name = "activitywatch"

    def sniff(self, head: str) -> bool:
        """JSON that soon mentions buckets, or events with a timestamp."""
        start = head.lstrip()
        return start.startswith(("{", "[")) and any(
            f'"{word}"' in head for word in ("buckets", "timestamp", "hostname")
        )

    def read(self, source: TextSource, options: ReadOptions) -> Iterator[Parsed]:
        """Each event of a window watcher becomes `APP_FOCUS`, each of an AFK watcher `ACTIVE` or `IDLE`."""
        walk = _Walk(JsonCursor(source.chunks()), options)
        try:
            yield from walk.top()
        except JsonBroken as error:
            yield BadLine(walk.count + 1, f"reading ends here: {error}")


@dataclass
class _Bucket:
    """What is known of the bucket that is being read; `type` often comes first, but may come last."""

    words: dict[str, object] = field(default_factory=dict)
    waiting: list[tuple[int, object]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.words.keys() >= _BUCKET_WORDS


class _Walk:
    def __init__(self, cursor: JsonCursor, options: ReadOptions) -> None:
        self._cursor = cursor
        self._options = options
        self.count = 0

    def top(self) -> Iterator[Parsed]:
        """The whole text."""
        if self._cursor.peek() == "[":
            for _ in self._cursor.walk_items():
                yield from self._object()
        else:
            yield from self._object()
        if self._cursor.peek():
            raise JsonBroken("there is more text behind the end")

    def _object(self) -> Iterator[Parsed]:
        """An export, a bucket, or an event that stands alone."""
        bucket = _Bucket()
        for key in self._cursor.walk_keys():
            if key == "buckets":
                yield from self._buckets()
            elif key == "events":
                yield from self._events(bucket)
            elif key in _BUCKET_WORDS or key in _EVENT_WORDS:
                bucket.words[key] = self._cursor.value()
            else:
                self._cursor.value()
        yield from self._rest(bucket)
        if "timestamp" in bucket.words:
            self.count += 1
            yield from self._parsed(self.count, bucket.words, bucket)

    def _buckets(self) -> Iterator[Parsed]:
        if self._cursor.peek() == "[":
            for _ in self._cursor.walk_items():
                yield from self._object()
        else:
            for _key in self._cursor.walk_keys():
                yield from self._object()

    def _events(self, bucket: _Bucket) -> Iterator[Parsed]:
        if self._cursor.peek() != "[":
            self._cursor.value()  # an export without its events has null here
            return
        if bucket.complete:
            yield from self._rest(bucket)
        for _ in self._cursor.walk_items():
            value = self._cursor.value()
            self.count += 1
            if bucket.complete:
                yield from self._parsed(self.count, value, bucket)
            else:
                bucket.waiting.append((self.count, _slim(value)))

    def _rest(self, bucket: _Bucket) -> Iterator[Parsed]:
        """Events that stood before what they need to be understood."""
        for number, event in bucket.waiting:
            yield from self._parsed(number, event, bucket)
        bucket.waiting.clear()

    def _parsed(self, number: int, event: object, bucket: _Bucket) -> Iterator[Parsed]:
        try:
            parsed = _usage_event(event, bucket.words, self._options)
        except (ValueError, OverflowError) as error:
            yield BadLine(number, str(error))
        else:
            if parsed is not None:
                yield number, parsed


def _slim(event: object) -> object:
    """Only what will be used, so that waiting events take little memory and hold no content."""
    if not isinstance(event, dict):
        return None
    data = event.get("data")
    kept = {key: data[key] for key in ("app", "status") if key in data} if isinstance(data, dict) else data
    return {"timestamp": event.get("timestamp"), "duration": event.get("duration"), "data": kept}


def _usage_event(event: object, bucket: dict[str, object], options: ReadOptions) -> UsageEvent | None:
    """The event, or None for types that are passed over; raises `ValueError` with a reason."""
    if not isinstance(event, dict):
        raise ValueError("the event is not an object")
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    type_ = bucket.get("type") or (_WINDOW if "app" in data else _AFK if data.get("status") in _PRESENCE else None)
    if type_ not in (_WINDOW, _AFK):
        return None
    time_s = parse_time_s(_text(event.get("timestamp"), "timestamp"), options.timezone)
    user = _user(bucket.get("hostname"), options)
    source = ActivityWatchImporter.name
    if type_ == _WINDOW:
        app = clean_app(_text(data.get("app"), "app"))
        return UsageEvent(time_s, EventKind.APP_FOCUS, user, app, value=_dwell_s(event.get("duration")), source=source)
    status = _text(data.get("status"), "status")
    if status not in _PRESENCE:
        raise ValueError(f"status {status[:40]!r} is neither afk nor not-afk")
    return UsageEvent(time_s, _PRESENCE[status], user, source=source)


def _user(hostname: object, options: ReadOptions) -> UserId:
    """Whose computer it was: the user given for the host, else the one given for all, else the host's name."""
    name = hostname if isinstance(hostname, str) else ""
    if name in options.users:
        return options.users[name]
    return options.user or clean_user(name)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} is missing or no text")
    return value


def _dwell_s(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError("duration is not a number of seconds")
    return float(value)
