"""The lines of an iCalendar text that say when (RFC 5545, section 3.1), and no others.

Titles, descriptions, places, guests and attachments are dropped here, before anything is parsed: what was never taken
in cannot leak, and a megabyte of attachment costs nothing.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from ghostdesk.telemetry.calendars.errors import CalendarError

MAX_BYTES = 20_000_000
"""A larger calendar is refused: ten busy years of one person without attachments are below 10 MB."""
MAX_ENTRIES = 50_000
_MAX_ENTRY_CHARS = 100_000
_ENTRY_NAMES = frozenset(
    {
        "UID", "DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID", "SEQUENCE", "STATUS",
        "TRANSP", "X-MICROSOFT-CDO-BUSYSTATUS", "X-MICROSOFT-CDO-ALLDAYEVENT",
    }
)  # fmt: skip
BOOKING_MARK = "GHOSTDESK"
BOOKING_AMOUNTS = {
    "CPU-CORES": "cpu_cores",
    "MEMORY-BYTES": "memory_bytes",
    "GPU-SHARE": "gpu_share",
    "NETWORK-BYTES-PER-S": "network_bytes_per_s",
    "STORAGE-BYTES-PER-S": "storage_bytes_per_s",
}
BOOKING_WORDS = ("DESKTOPS", "DEPARTMENT", "USERS", "APPS", *BOOKING_AMOUNTS)
BOOKING_LINES = frozenset({"SUMMARY", "CATEGORIES", *(f"X-{BOOKING_MARK}-{word}" for word in BOOKING_WORDS)})
"""What matters further in an operator's calendar that books desktops (see `calendars.bookings`)."""
_ZONE_NAMES = frozenset(
    {"BEGIN", "END", "TZID", "X-LIC-LOCATION", "DTSTART", "TZOFFSETFROM", "TZOFFSETTO", "RRULE", "RDATE", "TZNAME"}
)
_NAME = re.compile(r"[A-Za-z0-9-]+")
_PACKED = {b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "packed with gzip", b"\xfd7zXZ": "packed with xz"}
_NO_CALENDAR = "Export the calendar as iCalendar (.ics), with BEGIN:VCALENDAR in its first line."

Block = tuple[str, ...]
"""Unfolded content lines of one component, without its BEGIN and END."""


@dataclass(frozen=True, slots=True)
class CalendarLines:
    """What a calendar says of time.

    Args:
        entries: the lines of each VEVENT.
        zones: the lines of each VTIMEZONE, with those of its parts.
        timezone: X-WR-TIMEZONE, the zone of times that name none; empty when not given.
        cancelled: whether the whole text calls its entries off (METHOD:CANCEL).
        skipped: entries that are cut off, too long or beyond `MAX_ENTRIES`.
    """

    entries: tuple[Block, ...]
    zones: tuple[Block, ...] = ()
    timezone: str = ""
    cancelled: bool = False
    skipped: int = 0


def decode_calendar(data: bytes) -> str:
    """The text of a calendar in UTF-8, UTF-16 (with its mark) or, where it is neither, Windows' western code page.

    Raises:
        CalendarError: it is larger than `MAX_BYTES`, packed, or not text.
    """
    if len(data) > MAX_BYTES:
        raise too_large()
    for magic, what in _PACKED.items():
        if data.startswith(magic):
            raise CalendarError(f"The calendar is {what}.", "Unpack it first, and give the .ics file in it.")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data[:4096]:
        raise CalendarError("The file is no text.", _NO_CALENDAR)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def too_large() -> CalendarError:
    """The error for a calendar beyond `MAX_BYTES`."""
    return CalendarError(
        f"The calendar is larger than {MAX_BYTES / 1e6:.0f} MB.", "Export a shorter period, or without attachments."
    )


def split_calendar(text: str, further: frozenset[str] = frozenset()) -> CalendarLines:
    """Take out the lines that matter; never fails for single bad lines or entries.

    Args:
        text: the calendar.
        further: names of lines of entries that matter as well, where an operator's calendar books desktops.

    Raises:
        CalendarError: the text is no iCalendar at all.
    """
    splitter = _Splitter(_ENTRY_NAMES | further)
    name, kept = "", list[str]()
    for physical in io.StringIO(text, newline=None):
        line = physical.rstrip("\n")
        if line[:1] in (" ", "\t"):
            if kept:
                kept.append(line[1:])
            continue
        if kept:
            splitter.take(name, "".join(kept))
        found = _NAME.match(line)
        name = found.group().upper() if found else ""
        kept = [line] if splitter.wants(name) else []
    if kept:
        splitter.take(name, "".join(kept))
    return splitter.result()


def without_identity(lines: CalendarLines, series_of: Callable[[str], str]) -> str:
    """The same as iCalendar text with each UID replaced by `series_of` of it: what is kept of a file handed in."""
    out = ["BEGIN:VCALENDAR"]
    if lines.timezone:
        out.append(f"X-WR-TIMEZONE:{lines.timezone}")
    if lines.cancelled:
        out.append("METHOD:CANCEL")
    for zone in lines.zones:
        out += ["BEGIN:VTIMEZONE", *zone, "END:VTIMEZONE"]
    for entry in lines.entries:
        out.append("BEGIN:VEVENT")
        out += [f"UID:{series_of(_value(line))}" if line[:3].upper() == "UID" else line for line in entry]
        out.append("END:VEVENT")
    out.append("END:VCALENDAR\n")
    return "\n".join(out)


def booked_only(lines: CalendarLines) -> CalendarLines:
    """The same without entries that book nothing, and whose series books nothing: of those nothing is kept."""
    marked = {_uid(entry) or entry for entry in lines.entries if any(BOOKING_MARK in line.upper() for line in entry)}
    return replace(lines, entries=tuple(entry for entry in lines.entries if (_uid(entry) or entry) in marked))


def _uid(entry: Block) -> str:
    return next((_value(line) for line in entry if line[:3].upper() == "UID"), "")


def _value(line: str) -> str:
    return line.partition(":")[2].strip()


class _Splitter:
    """Follows BEGIN and END, and keeps what is wanted where it is wanted."""

    def __init__(self, entry_names: frozenset[str]) -> None:
        self._entry_names = entry_names
        self._entries: list[Block] = []
        self._zones: list[Block] = []
        self._open: list[str] | None = None
        self._open_kind = ""
        self._chars = 0
        self._depth = 0
        """How many components are open inside the entry or zone that is being taken in."""
        self._timezone = ""
        self._cancelled = False
        self._skipped = 0
        self._is_calendar = False

    def wants(self, name: str) -> bool:
        """Whether a line with this name matters here."""
        if name in ("BEGIN", "END"):
            return True
        if self._open is None:
            return name in ("X-WR-TIMEZONE", "METHOD")
        if self._open_kind == "VEVENT":
            return self._depth == 0 and name in self._entry_names
        return name in _ZONE_NAMES

    def take(self, name: str, line: str) -> None:
        """One whole line."""
        if name == "BEGIN":
            self._begin(_value(line).upper(), line)
        elif name == "END":
            self._end(_value(line).upper(), line)
        elif name == "X-WR-TIMEZONE":
            self._timezone = _value(line)[:100]
        elif name == "METHOD":
            self._cancelled |= _value(line).upper() == "CANCEL"
        else:
            self._keep(line)

    def _begin(self, kind: str, line: str) -> None:
        if kind == "VCALENDAR":
            self._is_calendar = True
        if kind in ("VEVENT", "VTIMEZONE", "VCALENDAR"):
            self._give_up()
            if kind != "VCALENDAR":
                self._open, self._open_kind, self._chars, self._depth = [], kind, 0, 0
        elif self._open is not None:
            self._depth += 1
            if self._open_kind == "VTIMEZONE":
                self._keep(line)

    def _end(self, kind: str, line: str) -> None:
        if self._open is None:
            return
        if kind == self._open_kind:
            self._close()
        elif kind == "VCALENDAR":
            self._give_up()
        else:
            self._depth = max(0, self._depth - 1)
            if self._open_kind == "VTIMEZONE":
                self._keep(line)

    def _keep(self, line: str) -> None:
        self._chars += len(line)
        if self._open is not None and self._chars <= _MAX_ENTRY_CHARS:
            self._open.append(line)

    def _close(self) -> None:
        blocks = self._entries if self._open_kind == "VEVENT" else self._zones
        if self._chars > _MAX_ENTRY_CHARS or len(blocks) >= MAX_ENTRIES:
            self._give_up()
            return
        blocks.append(tuple(self._open or ()))
        self._open = None

    def _give_up(self) -> None:
        """The entry that was being taken in is no whole one."""
        if self._open is not None and self._open_kind == "VEVENT":
            self._skipped += 1
        self._open = None

    def result(self) -> CalendarLines:
        """All that was taken in."""
        self._give_up()
        if not self._is_calendar:
            raise CalendarError("The text is no iCalendar.", _NO_CALENDAR)
        return CalendarLines(tuple(self._entries), tuple(self._zones), self._timezone, self._cancelled, self._skipped)
