"""Calendar entries as forecasts need them: when, and which series; never a title, a place or a guest."""

from __future__ import annotations

from dataclasses import dataclass

from ghostdesk.kernel.ids import UserId


@dataclass(frozen=True, slots=True, order=True)
class BusyTime:
    """One occurrence of a calendar's entry.

    Args:
        start_s, end_s: UTC seconds; of an all-day entry the local midnights.
        all_day: whether it covers whole days.
        series: a keyed digest of the entry's UID, equal for all occurrences of a series; it cannot be read back.
        kind: "busy", "free", "away" (out of office), "holiday" or "term".
    """

    start_s: float
    end_s: float
    all_day: bool = False
    series: str = ""
    kind: str = "busy"


@dataclass(frozen=True, slots=True)
class CalendarSource:
    """Where a person's (or, with no user, everybody's) calendar comes from.

    Args:
        user: whose; None for holidays and terms that hold for everyone.
        name: what its owner calls it.
        kind: "file" (an iCalendar text that was handed in), "caldav", "url", "holidays" (a country's) or "terms".
        location: the address, or the country and region ("DE-BY"); empty for a file.
        username: of a CalDAV account; its password is kept apart from the database.
        synced_s: when it was last read with success.
        problem: why the last reading failed; empty when all is well.
    """

    user: UserId | None
    name: str
    kind: str
    location: str = ""
    username: str = ""
    synced_s: float | None = None
    problem: str = ""
