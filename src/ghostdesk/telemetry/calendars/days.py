"""Days that are different for everybody: public holidays of a country, and the terms of a school or university."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date, datetime, timedelta, tzinfo
from datetime import time as time_of_day

from ghostdesk.telemetry.calendars.entries import BusyTime
from ghostdesk.telemetry.calendars.errors import CalendarError

_START_NAMES = frozenset({"start", "startdate", "start_date", "from", "begin"})
_END_NAMES = frozenset({"end", "enddate", "end_date", "to", "until"})
_FORMATS = ("%Y-%m-%d", "%m/%d/%y", "%m/%d/%Y", "%d.%m.%Y", "%Y%m%d")
_FIRST_YEAR, _LAST_YEAR = 1990, 2100
_MAX_TERM_DAYS = 366
_MAX_CHARS = 1_000_000


def check_region(region: str) -> str:
    """A country and, after a dash, its subdivision ("DE-BY", "FR"), in the library's spelling.

    Raises:
        CalendarError: no holidays are known for it.
    """
    import holidays  # takes a while, and most commands do not need it

    country, _, subdivision = region.strip().upper().partition("-")
    known = holidays.list_supported_countries(include_aliases=True)
    if country not in known:
        raise CalendarError(
            f"No public holidays are known for {region[:20]!r}.", "Give a country's two letters, such as DE, or DE-BY."
        )
    subdivisions = {name.upper(): name for name in known[country]}
    if subdivision and subdivision not in subdivisions:
        names = ", ".join(sorted(known[country])) or "none"
        raise CalendarError(
            f"{country} has no subdivision {subdivision[:20]!r} with holidays of its own.", f"Known: {names}."
        )
    return f"{country}-{subdivisions[subdivision]}" if subdivision else country


def public_holidays(region: str, since_s: float, until_s: float, timezone: tzinfo) -> tuple[BusyTime, ...]:
    """Public holidays in ``[since_s, until_s)``, each from local midnight to local midnight.

    Args:
        region: see `check_region`.
        since_s, until_s: the window (UTC seconds).
        timezone: whose midnights.

    Raises:
        CalendarError: no holidays are known for the region, or for these years.
    """
    import holidays

    country, _, subdivision = check_region(region).partition("-")
    first, last = datetime.fromtimestamp(since_s, timezone).date(), datetime.fromtimestamp(until_s, timezone).date()
    years = range(first.year, last.year + 1)
    days = sorted(day for day in holidays.country_holidays(country, subdiv=subdivision or None, years=years))
    if not days:
        raise CalendarError(
            f"No public holidays are known for {region} in {first.year} to {last.year}.",
            "Is this machine's date right?",
        )
    times = (_days(day, day, "holiday", timezone) for day in days)
    return tuple(time for time in times if time.start_s < until_s and time.end_s > since_s)


def parse_terms(text: str) -> tuple[tuple[date, date], ...]:
    """First and last days of terms, from CSV with a header that names a start and an end; other columns are not kept.

    Days are written 2026-10-12, 12.10.2026, or in the American order 10/12/26.

    Raises:
        CalendarError: a column is missing; a day, its year or the order of days is wrong (with the line's number).
    """
    if len(text) > _MAX_CHARS:
        raise CalendarError("The file of terms is larger than 1 MB.", "One line a term is meant.")
    rows = csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""))
    try:
        columns = [name.strip().lower() for name in next(rows, [])]
        start = next((i for i, name in enumerate(columns) if name in _START_NAMES), None)
        end = next((i for i, name in enumerate(columns) if name in _END_NAMES), None)
        if start is None or end is None:
            raise CalendarError("The file of terms names no start and end.", "Begin it with a line: start,end,name")
        found = tuple(_terms(rows, start, end))
    except csv.Error as error:
        raise CalendarError(f"The file of terms is no CSV: {error}.", "Begin it with a line: start,end,name") from None
    if not found:
        raise CalendarError("The file of terms has no term.", "Write one line a term, such as 2026-10-12,2027-02-06")
    return found


def terms(periods: tuple[tuple[date, date], ...], timezone: tzinfo) -> tuple[BusyTime, ...]:
    """Terms as entries of kind "term", from the first day's midnight to that after the last day."""
    return tuple(sorted(_days(first, last, "term", timezone) for first, last in periods))


def _terms(rows: Iterator[list[str]], start: int, end: int) -> Iterator[tuple[date, date]]:
    for number, fields in enumerate(rows, 2):
        if not any(field.strip() for field in fields):
            continue
        if len(fields) <= max(start, end):
            raise _bad(number, "has too few columns")
        first, last = _day(fields[start], number), _day(fields[end], number)
        if last < first:
            raise _bad(number, "ends before it starts")
        if (last - first).days > _MAX_TERM_DAYS:
            raise _bad(number, "lasts longer than a year")
        yield first, last


def _day(text: str, number: int) -> date:
    for pattern in _FORMATS:
        try:
            found = datetime.strptime(text.strip(), pattern).date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
        if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
            raise _bad(number, f"has the year {found.year}")
        return found
    raise _bad(number, f"has {text.strip()[:20]!r} for a day")


def _bad(number: int, what: str) -> CalendarError:
    return CalendarError(f"Line {number} of the terms {what}.", "Write days as 2026-10-12.")


def _days(first: date, last: date, kind: str, timezone: tzinfo) -> BusyTime:
    start = datetime.combine(first, time_of_day(), timezone)
    end = datetime.combine(last + timedelta(days=1), time_of_day(), timezone)
    return BusyTime(start.timestamp(), end.timestamp(), all_day=True, kind=kind)
