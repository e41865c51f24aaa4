"""Time zones as calendars name them: IANA names, Windows names, prefixed names, and definitions of their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from icalendar import Timezone
from icalendar.windows_to_olson import WINDOWS_TO_OLSON

from ghostdesk.telemetry.calendars.lines import Block
from ghostdesk.telemetry.calendars.rules import rule_problem

_LAST_TRANSITION = datetime(2039, 1, 1, tzinfo=UTC)
"""The library expands definitions up to 2038."""
_MAX_PARTS = 100
"""Parts of definitions in use; one that never matches takes a fifth of a second."""


def named_zone(name: str) -> tzinfo | None:
    """The zone of an IANA name, a Windows name, or a name that ends in one ("/mozilla.org/2005/Europe/Berlin")."""
    name = name.strip().strip('"').strip("/")
    if (olson := WINDOWS_TO_OLSON.get(name)) is not None:
        name = olson
    parts = name.split("/")
    for tail in (name, "/".join(parts[-2:]), "/".join(parts[-3:])):
        try:
            return ZoneInfo(tail)
        except (KeyError, ValueError, OSError):  # OSError: "Europe" is a folder
            continue
    return None


class Zones:
    """The zones of one calendar. Definitions of one calendar never reach another.

    Args:
        default: zone of times that name none.
        blocks: the calendar's VTIMEZONE components.
    """

    def __init__(self, default: tzinfo, blocks: Sequence[Block] = ()) -> None:
        self.default = default
        self.unknown: set[str] = set()
        self._blocks = {_property(block, "TZID"): block for block in blocks}
        self._found: dict[str, tzinfo] = {}
        self._parts = 0

    def find(self, name: str) -> tzinfo:
        """The zone called `name`; the default, and a note in `unknown`, when nobody knows it."""
        if name not in self._found:
            self._found[name] = named_zone(name) or self._defined(name) or self._lost(name)
        return self._found[name]

    def _lost(self, name: str) -> tzinfo:
        self.unknown.add(name)
        return self.default

    def _defined(self, name: str) -> tzinfo | None:
        block = self._blocks.get(name)
        if block is None:
            return None
        if (zone := named_zone(_property(block, "X-LIC-LOCATION") or "-")) is not None:
            return zone
        self._parts += sum(line.upper().startswith("BEGIN") for line in block)
        return _zone_of(block) if self._parts <= _MAX_PARTS else None


def _property(block: Block, name: str) -> str:
    for line in block:
        head, _, value = line.partition(":")
        if head.partition(";")[0].upper() == name:
            return value.strip()
    return ""


def _zone_of(block: Block) -> tzinfo | None:
    """The zone that a VTIMEZONE defines; None for one that is broken or endless.

    Its TZID is left out while the library parses it: the library keeps every named definition for all later calendars
    of the process, and the first to define a name would define it for everybody.
    """
    text = "\r\n".join(("BEGIN:VTIMEZONE", *(x for x in block if not x.upper().startswith("TZID")), "END:VTIMEZONE"))
    try:
        definition = Timezone.from_ical(text)
        if not all(_bounded(part) for part in definition.subcomponents):
            return None
        definition["TZID"] = "defined by the calendar"
        zone = definition.to_tz()
        return zone if isinstance(zone, tzinfo) else None
    except Exception:  # the library raises nearly anything for a broken definition
        return None


def _bounded(part: Any) -> bool:
    """Whether a part's transitions can be counted quickly; an end after 2038 is taken away, as the library has its own.

    Zones change once a year, so nothing but yearly rules is followed.
    """
    rules = part.get("RRULE", [])
    for rule in rules if isinstance(rules, list) else [rules]:
        if rule.get("UNTIL") and _date(rule["UNTIL"][0]) >= _LAST_TRANSITION.date():
            del rule["UNTIL"]
        start = part["DTSTART"].dt.replace(tzinfo=UTC)
        if rule.get("FREQ") != ["YEARLY"] or rule.get("COUNT", [0])[0] > 1_000 or "BYHOUR" in rule:
            return False
        if start.year < 1600 or rule_problem(rule, start, _LAST_TRANSITION):
            return False
    return True


def _date(when: date) -> date:
    return when.date() if isinstance(when, datetime) else when
