"""Writes the calendars that drive a synthetic organisation, as iCalendar files (RFC 5545) that ghostdesk reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from icalendar import Calendar, Event

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.synthetic.agenda import MOST_MEETINGS, Agenda
from ghostdesk.replay.synthetic.people import SOURCE, People, user_name
from ghostdesk.replay.synthetic.scenarios import CLASS_S, DAY_S, FIRST_DAY_S, WEEKDAYS

ORGANISATION = f"{SOURCE}-organisation.ics"
TERMS = f"{SOURCE}-terms.csv"
_BLOCK = 1_000
_STAMP = datetime.fromtimestamp(FIRST_DAY_S, UTC)


def write_calendars(agenda: Agenda, folder: Path, progress: Callable[[int], None] | None = None) -> int:
    """Write a file of each person's meetings, classes and absences, one of everybody's holidays and the terms.

    Args:
        agenda: what to write.
        folder: made where it is missing; files of the same names are replaced.
        progress: called with the number of people written so far.

    Returns:
        How many files.

    Raises:
        ConfigError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ORGANISATION).write_bytes(organisation_calendar(agenda))
        (folder / TERMS).write_text(terms_csv(agenda), encoding="utf-8")
        for first in range(0, agenda.users, _BLOCK):
            index = np.arange(first, min(first + _BLOCK, agenda.users))
            for number, text in zip(index.tolist(), person_calendars(agenda, index), strict=True):
                (folder / f"{user_name(number)}.ics").write_bytes(text)
            if progress is not None:
                progress(int(index[-1]) + 1)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}.", "Give another folder.") from None
    return agenda.users + 2


def organisation_calendar(agenda: Agenda) -> bytes:
    """Holidays, as whole days that keep nobody busy; and fire drills, of which nobody is told before, are not in it."""
    calendar = _calendar("Synthetic organisation")
    for day in sorted(agenda.holidays):
        event = _event(f"{SOURCE}-holiday-{day}", "Synthetic holiday")
        event.add("dtstart", _date(day))
        event.add("dtend", _date(day + 1))
        event.add("transp", "TRANSPARENT")
        calendar.add_component(event)
    return bytes(calendar.to_ical())


def terms_csv(agenda: Agenda) -> str:
    """Terms, as `ghostdesk calendar add --everyone --terms` reads them."""
    rows = [f"{SOURCE}-term-{n},{_date(a)},{_date(b)}" for n, (a, b) in enumerate(agenda.terms)]
    return "\n".join(["name,start,end", *rows, ""])


def person_calendars(agenda: Agenda, index: np.ndarray) -> Iterator[bytes]:
    """The calendar of each of these people, in order."""
    people = People.of(agenda.seed, index)
    meetings, away, first = agenda.meetings(people), agenda.away(index), agenda.first_days(index)
    lessons = [(one, np.isin(index, members)) for one, members in agenda.classes]
    for row, number in enumerate(index.tolist()):
        calendar, user = _calendar(f"Synthetic calendar of {user_name(number)}"), user_name(number)
        for series in range(MOST_MEETINGS):
            if meetings.invited[row, series]:
                _add_series(
                    calendar, agenda, f"{user}-meeting-{series}", "Synthetic meeting", int(first[row]),
                    (int(meetings.weekday[row, series]),), float(meetings.start_s[row, series]),
                    float(meetings.length_s[row, series]),
                )  # fmt: skip
        for which, (one, takes_part) in enumerate(lessons):
            if takes_part[row]:
                _add_series(
                    calendar, agenda, f"{user}-class-{which}", "Synthetic class", int(first[row]), one.weekdays,
                    float(one.start_s), CLASS_S,
                )  # fmt: skip
        for week in range(0, agenda.days, 7):
            if away[row, week]:
                event = _event(f"{user}-away-{week // 7}", "Synthetic absence")
                event.add("dtstart", _date(week))
                event.add("dtend", _date(week + 5))
                event.add("x-microsoft-cdo-busystatus", "OOF")
                calendar.add_component(event)
        yield bytes(calendar.to_ical())


def _add_series(
    calendar: Any, agenda: Agenda, uid: str, title: str, first_day: int, weekdays: tuple[int, ...], start_s: float,
    length_s: float,
) -> None:  # fmt: skip
    """A weekly series from a person's first day to the history's last, holidays excepted."""
    days = [day for day in range(first_day, agenda.days) if day % 7 in weekdays]
    if not days:
        return
    event = _event(uid, title)
    event.add("dtstart", _moment(days[0], start_s))
    event.add("dtend", _moment(days[0], start_s + length_s))
    by_day = [WEEKDAYS[day][:2].upper() for day in weekdays]
    event.add("rrule", {"freq": "weekly", "byday": by_day, "until": _moment(days[-1], start_s)})
    off = [_moment(day, start_s) for day in days if day in agenda.holidays]
    if off:
        event.add("exdate", off)
    calendar.add_component(event)


def _calendar(name: str) -> Any:
    calendar = Calendar()
    calendar.add("prodid", f"-//ghostdesk//{SOURCE}//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", name)
    return calendar


def _event(uid: str, title: str) -> Any:
    event = Event()
    event.add("uid", f"{uid if uid.startswith(SOURCE) else f'{SOURCE}-{uid}'}@{SOURCE}.invalid")
    event.add("dtstamp", _STAMP)
    event.add("summary", title)
    return event


def _moment(day: int, second: float) -> datetime:
    return datetime.fromtimestamp(FIRST_DAY_S + day * DAY_S + second, UTC)


def _date(day: int) -> date:
    return _STAMP.date() + timedelta(days=day)
