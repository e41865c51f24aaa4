"""One series of a calendar: its entries with the same UID, and the occurrences they make together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as time_of_day
from typing import Any

import recurring_ical_events
from icalendar import Calendar, Event
from icalendar.prop import vDDDLists, vDDDTypes

from ghostdesk.telemetry.calendars.lines import Block
from ghostdesk.telemetry.calendars.rules import rule_problem
from ghostdesk.telemetry.calendars.zones import Zones

_MARGIN = timedelta(days=8)
"""Asked for beyond the window, as whole days and shifted rests of a series may reach into it."""
_MAX_DATES = 10_000
_MAX_RULES = 5
_MATTERS = ("DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID")

Occurrence = tuple[float, float, bool, str]
"""Start and end (UTC seconds), whether it covers whole days, and the kind (see `BusyTime`)."""


class UnreadableEntry(Exception):
    """An entry that has to be left out; `reason` goes with a count ("3 without a start")."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Entry:
    """One VEVENT.

    Args:
        event: as the library has it, all times with their zones.
        uid: its UID; may be empty.
        replaces: the occurrence that it takes the place of (RECURRENCE-ID), if it is no series of its own.
        and_later: whether it also moves all later ones (RANGE=THISANDFUTURE).
        kind: "busy", "free" or "away"; empty when it is cancelled.
        sequence: revision; of two for the same occurrence the higher counts.
    """

    event: Event
    uid: str
    replaces: date | None
    and_later: bool
    kind: str
    sequence: int


def parse_entry(block: Block, zones: Zones) -> Entry:
    """Read the lines of a VEVENT.

    Raises:
        UnreadableEntry: it has no start, ends before it starts, or a property that matters is broken.
    """
    try:
        event = Event.from_ical("\r\n".join(("BEGIN:VEVENT", *block, "END:VEVENT")))
        if any(name in (None, *_MATTERS) for name, _ in event.errors):
            raise UnreadableEntry("with a broken date or rule")
        if "DTSTART" not in event:
            raise UnreadableEntry("without a start")
        _settle(event, zones)
        replaces = event.pop("RECURRENCE-ID", None)
        return Entry(
            event,
            str(event.get("UID", ""))[:1000],
            None if replaces is None else _local(replaces.dt, replaces.params, zones),
            replaces is not None and str(replaces.params.get("RANGE", "")).upper() == "THISANDFUTURE",
            _kind(event),
            int(event.pop("SEQUENCE", 0)),
        )
    except UnreadableEntry:
        raise
    except Exception:  # the library raises nearly anything for a broken entry
        raise UnreadableEntry("with a broken date or rule") from None


def occurrences(entries: Sequence[Entry], since_s: float, until_s: float, zones: Zones) -> Iterator[Occurrence]:
    """All occurrences of a series in and around a window.

    Raises:
        UnreadableEntry: its rule is broken or repeats without bounds.
    """
    window = datetime.fromtimestamp(since_s, UTC) - _MARGIN, datetime.fromtimestamp(until_s, UTC) + _MARGIN
    by_revision = sorted(entries, key=lambda entry: entry.sequence)
    masters = [entry for entry in by_revision if entry.replaces is None]
    replacements = list({entry.replaces: entry for entry in by_revision if entry.replaces is not None}.values())
    if masters and masters[-1].kind:
        rests = _rests(replacements, zones.default)
        for start, end in _expanded(masters[-1], replacements, window):
            yield from _moved(_span(start, end, masters[-1], zones.default), rests)
    for entry in replacements:
        if entry.kind:
            yield _span(entry.event["DTSTART"].dt, _end(entry.event), entry, zones.default)


def _rests(replacements: Sequence[Entry], zone: tzinfo) -> list[tuple[float, Occurrence]]:
    """From when on the rest of the series is as which replacement (RANGE=THISANDFUTURE), in order."""
    return sorted(
        (_seconds(entry.replaces, zone), _span(entry.event["DTSTART"].dt, _end(entry.event), entry, zone))
        for entry in replacements
        if entry.and_later and entry.replaces is not None
    )


def _moved(occurrence: Occurrence, rests: Sequence[tuple[float, Occurrence]]) -> Iterator[Occurrence]:
    """The occurrence where the latest replacement before it puts it; nothing where that cancels the rest."""
    start_s = occurrence[0]
    for from_s, (first_s, last_s, all_day, kind) in rests:
        if start_s > from_s:
            moved_s = start_s + first_s - from_s
            occurrence = moved_s, moved_s + last_s - first_s, all_day, kind
    if occurrence[3]:
        yield occurrence


def _expanded(
    master: Entry, replacements: Sequence[Entry], window: tuple[datetime, datetime]
) -> list[tuple[date, date]]:
    event = master.event
    _check_bounds(event, window[1])
    if "RRULE" not in event and "RDATE" not in event and not replacements:
        return [(event["DTSTART"].dt, _end(event))]
    try:
        _exclude(event, [entry.replaces for entry in replacements if entry.replaces is not None])
        calendar = Calendar()
        calendar.add_component(event)
        found = recurring_ical_events.of(calendar).between(*window)
        return [(one["DTSTART"].dt, one["DTEND"].dt) for one in found]
    except Exception:  # the library raises nearly anything for a broken rule
        raise UnreadableEntry("with a rule that cannot be followed") from None


def _exclude(event: Event, when: Sequence[date]) -> None:
    """Add exceptions: the library matches replacements by day only, exceptions by the moment."""
    all_day = not isinstance(event["DTSTART"].dt, datetime)
    exact = [d.date() if all_day and isinstance(d, datetime) else d for d in when]
    if exact:
        known = [one.dt for lists in _listed(event, "EXDATE") for one in lists.dts]
        event["EXDATE"] = vDDDLists([*known, *exact])


def _check_bounds(event: Event, end: datetime) -> None:
    dates = sum(len(lists.dts) for name in ("RDATE", "EXDATE") for lists in _listed(event, name))
    rules = _listed(event, "RRULE")
    if dates > _MAX_DATES or len(rules) > _MAX_RULES:
        raise UnreadableEntry("with too many dates or rules")
    start = event["DTSTART"].dt
    begin = datetime(start.year, start.month, start.day, tzinfo=UTC)
    for rule in rules:
        if problem := rule_problem(rule, begin, end):
            raise UnreadableEntry(f"with {problem}")


def _settle(event: Event, zones: Zones) -> None:
    """Give each time its zone, and each rule an end of the kind that its start has."""
    for name in ("DTSTART", "DTEND"):
        if name in event:
            event[name] = vDDDTypes(_local(event[name].dt, event[name].params, zones))
    start, end = event["DTSTART"].dt, _end(event)
    if isinstance(start, datetime) and not isinstance(end, datetime):
        event["DTEND"] = vDDDTypes(datetime.combine(end, time_of_day(), start.tzinfo))
    if _seconds(_end(event), zones.default) < _seconds(start, zones.default):
        raise UnreadableEntry("that end before they start")
    for name in ("RDATE", "EXDATE"):
        if lists := _listed(event, name):
            event[name] = vDDDLists([_local(one.dt, of.params, zones) for of in lists for one in of.dts])
    for rule in _listed(event, "RRULE"):
        if rule.get("UNTIL"):
            rule["UNTIL"] = [_until(rule["UNTIL"][0], start)]


def _listed(event: Event, name: str) -> list[Any]:
    value = event.get(name, [])
    return value if isinstance(value, list) else [value]


def _local(when: Any, params: Any, zones: Zones) -> Any:
    """A date as it is; a time with its zone; a period (of RDATE) with both ends so."""
    if isinstance(when, tuple):
        first, last = when
        begin = _local(first, params, zones)
        return begin, begin + last if isinstance(last, timedelta) else _local(last, params, zones)
    if not isinstance(when, datetime):
        return when
    if when.tzinfo is not None and when.utcoffset() == timedelta(0) and "TZID" not in params:
        return when.replace(tzinfo=UTC)
    name = params.get("TZID")
    zone = zones.find(str(name)) if name else zones.default
    return _in_zone(when.replace(tzinfo=None), zone)


def _in_zone(when: datetime, zone: tzinfo) -> datetime:
    localize = getattr(zone, "localize", None)  # zones that a calendar defines are pytz's
    placed: datetime = localize(when) if localize is not None else when.replace(tzinfo=zone)
    return placed


def _until(until: date, start: date) -> date:
    """RFC 5545 wants the end of a rule in UTC where the start has a zone; what is written often is a day or local."""
    if not isinstance(start, datetime):
        return until.date() if isinstance(until, datetime) else until
    zone = start.tzinfo or UTC
    if not isinstance(until, datetime):
        until = _in_zone(datetime.combine(until, time_of_day(23, 59, 59)), zone)
    elif until.tzinfo is None:
        until = _in_zone(until, zone)
    return until.astimezone(UTC)


def _end(event: Event) -> date:
    """DTEND, or DTSTART and DURATION; a whole day, or a moment, where neither is given (RFC 5545, section 3.6.1)."""
    start: date = event["DTSTART"].dt
    end: date | None = event["DTEND"].dt if "DTEND" in event else None
    if end is None and "DURATION" in event:
        end = start + event["DURATION"].dt
    if end is None or (end <= start and not isinstance(start, datetime) and not isinstance(end, datetime)):
        end = start if isinstance(start, datetime) else start + timedelta(days=1)
    return end


def _span(start: date, end: date, entry: Entry, zone: tzinfo) -> Occurrence:
    all_day = not isinstance(start, datetime)
    if all_day and not isinstance(end, datetime) and end <= start:
        end = start + timedelta(days=1)
    marked = str(entry.event.get("X-MICROSOFT-CDO-ALLDAYEVENT", "")).upper() == "TRUE"
    return _seconds(start, zone), _seconds(end, zone), all_day or marked, entry.kind


def _seconds(when: date, zone: tzinfo) -> float:
    if not isinstance(when, datetime):
        when = datetime.combine(when, time_of_day(), zone)
    try:
        return when.timestamp()
    except OverflowError:  # the last day of the year 9999 in a zone west of Greenwich
        return when.replace(tzinfo=UTC).timestamp()


def _kind(event: Event) -> str:
    if str(event.get("STATUS", "")).upper() == "CANCELLED":
        return ""
    status = str(event.get("X-MICROSOFT-CDO-BUSYSTATUS", "")).upper()
    if status == "OOF":
        return "away"
    free = status == "FREE" or str(event.get("TRANSP", "")).upper() == "TRANSPARENT"
    return "free" if free else "busy"
