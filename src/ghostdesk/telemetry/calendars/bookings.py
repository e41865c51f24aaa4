"""Which entries of an operator's calendar book desktops, and what they say.

An entry is a booking when one of its CATEGORIES is ``GHOSTDESK``, or when it has the property ``X-GHOSTDESK-DESKTOPS``.
What it asks for stands in properties of that kind, or (as few calendar programs let people write properties) in further
categories of the form ``GHOSTDESK-NAME=VALUE``:

    X-GHOSTDESK-DESKTOPS:25             or  GHOSTDESK-DESKTOPS=25
    X-GHOSTDESK-DEPARTMENT:physics      or  GHOSTDESK-DEPARTMENT=physics
    X-GHOSTDESK-USERS:ada,ben
    X-GHOSTDESK-APPS:libreoffice-writer
    X-GHOSTDESK-CPU-CORES:2             and -MEMORY-BYTES, -GPU-SHARE, -NETWORK-BYTES-PER-S, -STORAGE-BYTES-PER-S

Of all other entries nothing is kept.
"""

from __future__ import annotations

import math
import re
import time as clock
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final

from ghostdesk.kernel.ids import AppId, UserId, app_id, user_id
from ghostdesk.kernel.resources import Resources
from ghostdesk.telemetry.calendars.lines import (
    BOOKING_AMOUNTS,
    BOOKING_MARK,
    BOOKING_WORDS,
    Block,
    CalendarLines,
    booked_only,
)
from ghostdesk.telemetry.calendars.reading import problem_text
from ghostdesk.telemetry.calendars.series import Entry, UnreadableEntry, occurrences, parse_entry
from ghostdesk.telemetry.calendars.zones import Zones, named_zone

MOST_BOOKINGS: Final = 2_000
_MOST_NAME_CHARS: Final = 80
_BUDGET_S: Final = 20.0
_WITHIN_DAY: Final = re.compile(r"RRULE.*FREQ=(SECOND|MINUTE|HOUR)LY", re.IGNORECASE)
"""No class begins several times an hour, and following such a rule takes long."""


@dataclass(frozen=True, slots=True)
class BookedTime:
    """One occurrence of a booking, as the calendar has it; `desktops` is None where it does not say how many."""

    name: str
    start_s: float
    end_s: float
    desktops: int | None = None
    department: str = ""
    users: frozenset[UserId] = frozenset()
    apps: tuple[AppId, ...] = ()
    each: Resources = Resources()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True)
class BookingReading:
    """What a calendar books.

    Args:
        times: in order of start.
        entries: how many entries are bookings.
        skipped: why bookings were left out, and how many for each reason.
        unknown_zones: time zones that nobody knows; times in them were read as local.
    """

    times: tuple[BookedTime, ...]
    entries: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    unknown_zones: int = 0

    def describe_problem(self) -> str:
        """A sentence or two on what could not be read; empty when all was well."""
        return problem_text(f"of {self.entries} bookings were left out", self.skipped, self.unknown_zones)


def read_bookings(
    texts: Iterable[CalendarLines],
    since_s: float,
    until_s: float,
    *,
    timezone: tzinfo,
    elapsed_s: Callable[[], float] = clock.monotonic,
) -> BookingReading:
    """All bookings of a calendar that overlap ``[since_s, until_s)``.

    Args:
        texts: split with the further `BOOKING_LINES`.
        since_s, until_s: the window (UTC seconds).
        timezone: zone of times that name none.
        elapsed_s: a clock for the budget of 20 s, after which the rest is skipped.
    """
    deadline_s = elapsed_s() + _BUDGET_S
    found: set[BookedTime] = set()
    skipped: Counter[str] = Counter()
    entries, unknown = 0, set[str]()
    for text in texts:
        if text.cancelled:
            continue
        zones = Zones((named_zone(text.timezone) if text.timezone else None) or timezone, text.zones)
        for series in _marked_series(booked_only(text).entries, zones, skipped):
            entries += len(series)
            if elapsed_s() > deadline_s:
                skipped["left when the time was up"] += len(series)
                continue
            try:
                for time in _times(series, since_s, until_s, zones, skipped):
                    if len(found) >= MOST_BOOKINGS:
                        skipped["beyond the first 2,000"] += 1
                        break
                    found.add(time)
            except UnreadableEntry as error:
                skipped[error.reason] += len(series)
        unknown |= zones.unknown
    times = tuple(sorted(found, key=lambda time: (time.start_s, time.end_s, time.name)))
    return BookingReading(times, entries, dict(skipped), len(unknown))


def _marked_series(blocks: Sequence[Block], zones: Zones, skipped: Counter[str]) -> list[list[Entry]]:
    """Entries of the same UID of which one at least is a booking."""
    series: dict[object, list[Entry]] = {}
    marked: set[object] = set()
    for block in blocks:
        try:
            if any(_WITHIN_DAY.match(line) for line in block):
                raise UnreadableEntry("that repeat within the day")
            entry = parse_entry(block, zones)
        except UnreadableEntry as error:
            skipped[error.reason] += 1
            continue
        key = entry.uid or object()
        series.setdefault(key, []).append(entry)
        if _told(entry) is not None:
            marked.add(key)
    return [entries for key, entries in series.items() if key in marked]


def _times(
    series: Sequence[Entry], since_s: float, until_s: float, zones: Zones, skipped: Counter[str]
) -> Iterable[BookedTime]:
    """Each occurrence with what its own entry says, or else what the series says."""
    masters = [entry for entry in series if entry.replaces is None] or list(series)
    usual = next((told for entry in reversed(masters) if (told := _told(entry)) is not None), None)
    own = {
        start_s: told
        for entry in series
        if entry.replaces is not None and (told := _told(entry)) is not None
        for start_s, *_ in occurrences([entry], since_s, until_s, zones)
    }
    for start_s, end_s, *_ in occurrences(series, since_s, until_s, zones):
        told = own.get(start_s, usual)
        if told is None or start_s >= until_s or end_s <= since_s:
            continue
        try:
            yield _booked(told, start_s, end_s)
        except ValueError as error:
            skipped[str(error)] += 1


def _told(entry: Entry) -> dict[str, str] | None:
    """What the entry says by word; None when it is no booking."""
    event = entry.event
    categories = [str(one) for value in _listed(event.get("CATEGORIES")) for one in getattr(value, "cats", [value])]
    told: dict[str, str] = {}
    is_marked = False
    for category in categories:
        name, _, value = category.strip().partition("=")
        name = name.strip().upper()
        if name == BOOKING_MARK:
            is_marked = True
        elif name.startswith(f"{BOOKING_MARK}-") and name.removeprefix(f"{BOOKING_MARK}-") in BOOKING_WORDS:
            told[name.removeprefix(f"{BOOKING_MARK}-")] = value.strip()
    for word in BOOKING_WORDS:
        values = [str(value) for value in _listed(event.get(f"X-{BOOKING_MARK}-{word}"))]
        if values:
            told[word] = ",".join(values)
    if not is_marked and "DESKTOPS" not in told:
        return None
    name = "".join(c for c in str(event.get("SUMMARY", "")) if c.isprintable()).strip()[:_MOST_NAME_CHARS].strip()
    return told | {"NAME": name or "a class"}


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _booked(told: Mapping[str, str], start_s: float, end_s: float) -> BookedTime:
    """Raises `ValueError` with what is wrong, as it goes with a count ("2 with a number of desktops ...")."""
    desktops = None
    if told.get("DESKTOPS"):
        try:
            desktops = int(told["DESKTOPS"])
        except ValueError:
            raise ValueError("with a number of desktops that is none") from None
    try:
        users = frozenset(user_id(name) for name in _names(told.get("USERS", "")))
        apps = tuple(app_id(name) for name in _names(told.get("APPS", "")))
    except ValueError:
        raise ValueError("with a bad user or application id") from None
    return BookedTime(
        told["NAME"], start_s, end_s, desktops, told.get("DEPARTMENT", ""), users, apps,
        Resources(**{name: _amount(told[word]) for word, name in BOOKING_AMOUNTS.items() if told.get(word)}),
    )  # fmt: skip


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.replace("\\,", ",").split(",") if name.strip()]


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not (math.isfinite(amount) and amount > 0):
        raise ValueError("with an amount that is not above 0")
    return amount
