"""Reads iCalendar text (RFC 5545) into busy times, with icalendar and recurring-ical-events; bounded in every way."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from ghostdesk.telemetry.calendars.digests import series_digest
from ghostdesk.telemetry.calendars.entries import BusyTime
from ghostdesk.telemetry.calendars.lines import Block, CalendarLines
from ghostdesk.telemetry.calendars.series import Entry, UnreadableEntry, occurrences, parse_entry
from ghostdesk.telemetry.calendars.zones import Zones, named_zone

MAX_BUSY_TIMES = 20_000
_BUDGET_S = 20.0
_MAX_WINDOW_S = 800 * 86_400.0
_MARGIN_DAYS = 10
"""An entry that does not repeat, with all its dates this long before or after the window, is passed over unparsed."""
_DATE = re.compile(r"[:,](\d{8})")


@dataclass(frozen=True, slots=True)
class CalendarReading:
    """What a calendar gave.

    Args:
        times: its busy times that overlap the window, in order.
        entries: how many entries it had.
        skipped: why entries were left out, and how many for each reason.
        unknown_zones: time zones that nobody knows; times in them were read as local.
    """

    times: tuple[BusyTime, ...]
    entries: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    unknown_zones: int = 0

    def describe_problem(self) -> str:
        """A sentence or two on what could not be read; empty when all was well."""
        return problem_text(f"of {self.entries} entries could not be read", self.skipped, self.unknown_zones)


def problem_text(of_them: str, skipped: Mapping[str, int], unknown_zones: int) -> str:
    """How many "of them" were passed over for which reasons, and how many time zones nobody knows; "" for none."""
    said = []
    if skipped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
        said.append(f"{sum(skipped.values())} {of_them}: {reasons}.")
    if unknown_zones:
        said.append(f"{unknown_zones} time zones are unknown; times in them were read as local.")
    return " ".join(said)


def read_calendar(
    texts: Iterable[CalendarLines],
    since_s: float,
    until_s: float,
    *,
    timezone: tzinfo,
    key: bytes,
    elapsed_s: Callable[[], float] = time.monotonic,
) -> CalendarReading:
    """The busy times of a calendar that overlap ``[since_s, until_s)``.

    Args:
        texts: the calendar; several where a server gives each entry as a text of its own.
        since_s, until_s: the window (UTC seconds); 800 days at most.
        timezone: zone of times that name none, and of whole days.
        key: for `series_digest`, at most 64 bytes.
        elapsed_s: a clock for the budget of 20 s, after which the rest is skipped.

    Raises:
        ValueError: the window is empty or too long.
    """
    if not 0 < until_s - since_s <= _MAX_WINDOW_S:
        raise ValueError("the window must be longer than nothing and at most 800 days")
    reader = _Reader(since_s, until_s, key, elapsed_s)
    for text in texts:
        reader.read(text, timezone)
    return reader.result()


class _Reader:
    def __init__(self, since_s: float, until_s: float, key: bytes, elapsed_s: Callable[[], float]) -> None:
        self._since_s, self._until_s = since_s, until_s
        self._key, self._elapsed_s = key, elapsed_s
        self._deadline_s = elapsed_s() + _BUDGET_S
        margin = timedelta(days=_MARGIN_DAYS)
        self._first_day = f"{datetime.fromtimestamp(since_s, UTC) - margin:%Y%m%d}"
        self._last_day = f"{datetime.fromtimestamp(until_s, UTC) + margin:%Y%m%d}"
        self._times: set[BusyTime] = set()
        self._skipped: Counter[str] = Counter()
        self._unknown_zones: set[str] = set()
        self._entries = 0

    def read(self, text: CalendarLines, timezone: tzinfo) -> None:
        """Add what one text holds."""
        self._entries += len(text.entries) + text.skipped
        if text.skipped:
            self._skipped["cut off or too long"] += text.skipped
        if text.cancelled:
            return
        zones = Zones((named_zone(text.timezone) if text.timezone else None) or timezone, text.zones)
        for uid, entries in self._by_uid(text.entries, zones).items():
            if self._late():
                self._skipped["left when the time was up"] += len(entries)
                continue
            digest = series_digest(uid, self._key) if isinstance(uid, str) else ""
            self._add(entries, digest, zones)
        self._unknown_zones |= zones.unknown

    def _by_uid(self, blocks: Sequence[Block], zones: Zones) -> dict[object, list[Entry]]:
        found: dict[object, list[Entry]] = {}
        for block in blocks:
            if self._far_away(block):
                continue
            if self._late():
                self._skipped["left when the time was up"] += 1
                continue
            try:
                entry = parse_entry(block, zones)
            except UnreadableEntry as error:
                self._skipped[error.reason] += 1
                continue
            found.setdefault(entry.uid or object(), []).append(entry)
        return found

    def _far_away(self, block: Block) -> bool:
        days: list[str] = []
        for line in block:
            name = line[:13].upper()
            if name.startswith(("RRULE", "RDATE", "DURATION")) or "THISANDFUTURE" in line.upper():
                return False
            if name.startswith(("DTSTART", "DTEND", "RECURRENCE-ID")):
                days += _DATE.findall(line)
        return bool(days) and (max(days) < self._first_day or min(days) > self._last_day)

    def _add(self, entries: Sequence[Entry], digest: str, zones: Zones) -> None:
        try:
            for start_s, end_s, all_day, kind in self._within(
                occurrences(entries, self._since_s, self._until_s, zones)
            ):
                if len(self._times) >= MAX_BUSY_TIMES:
                    self._skipped["beyond the first 20,000 busy times"] += 1
                    return
                self._times.add(BusyTime(start_s, end_s, all_day, digest, kind))
        except UnreadableEntry as error:
            self._skipped[error.reason] += len(entries)

    def _within(self, found: Iterable[tuple[float, float, bool, str]]) -> Iterator[tuple[float, float, bool, str]]:
        for start_s, end_s, all_day, kind in found:
            overlaps = start_s < self._until_s and (end_s > self._since_s or start_s == end_s >= self._since_s)
            if overlaps:
                yield start_s, end_s, all_day, kind

    def _late(self) -> bool:
        return self._elapsed_s() > self._deadline_s

    def result(self) -> CalendarReading:
        """All that was read."""
        return CalendarReading(tuple(sorted(self._times)), self._entries, dict(self._skipped), len(self._unknown_zones))
