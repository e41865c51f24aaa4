"""What can be made to happen in a synthetic organisation, and the words that ask for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from ghostdesk.kernel.errors import ConfigError

DAY_S = 86_400.0
FIRST_DAY_S = 1_735_516_800.0
"""Monday, 2024-12-30 00:00 UTC: weeks begin with the history."""
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CLASS_S = 5_400.0
DRILL_MINUTES = 20
_MOST_PEOPLE = 1_000_000
_HELP = "`ghostdesk simulate list` shows how each is written."


@dataclass(frozen=True, slots=True)
class ClassScenario:
    """So many have a class of 90 minutes at that second of the day, on these weekdays (0 is Monday)."""

    start_s: int
    people: int
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class MondayStorm:
    """On Mondays nearly everybody comes, and within a quarter of an hour."""


@dataclass(frozen=True, slots=True)
class HolidayScenario:
    """A day, counted from the history's first, on which hardly anybody works."""

    day: int


@dataclass(frozen=True, slots=True)
class FireDrill:
    """Everybody leaves at once at `at_s` (from the history's first midnight), and is back at once so much later."""

    at_s: float
    minutes: int = DRILL_MINUTES


@dataclass(frozen=True, slots=True)
class NewStaff:
    """So many people have their first day on that day, counted from the history's first."""

    people: int
    day: int


Scenario = ClassScenario | MondayStorm | HolidayScenario | FireDrill | NewStaff

TAUGHT: tuple[tuple[str, str, str], ...] = (
    ("class:HH:MM:PEOPLE[:DAYS]", "class:13:00:30:tue,thu",
     "PEOPLE sign in for a class at that time (UTC), on Monday to Friday or on DAYS; it is in their calendars."),
    ("monday-storm", "monday-storm", "On Mondays nearly everybody comes, within a quarter of an hour."),
    ("holiday:DATE", "holiday:2025-05-01", "Hardly anybody works on that day."),
    ("fire-drill:DATETHH:MM[/MINUTES]", "fire-drill:2025-03-04T10:30/20",
     "Everybody leaves at that time (UTC) at once, and comes back at once after 20 or so many minutes."),
    ("new-staff:PEOPLE:DATE", "new-staff:50:2025-02-03",
     "The last PEOPLE of the organisation have their first day then; nothing is known of them before."),
)  # fmt: skip
"""How each is written, an example, and what it does."""


def parse_scenario(text: str) -> Scenario:
    """Read one scenario, as `TAUGHT` shows them; raises `ConfigError`, which says what is wrong with it."""
    name, _, rest = text.strip().partition(":")
    readers: dict[str, Callable[[str], Scenario]] = {
        "class": _class,
        "holiday": _holiday,
        "fire-drill": _fire_drill,
        "new-staff": _new_staff,
    }
    if name == "monday-storm":
        if rest:
            raise ConfigError(f"Scenario {text[:60]!r}: monday-storm takes nothing after it.", _HELP)
        return MondayStorm()
    if name not in readers:
        known = ", ".join(sorted([*readers, "monday-storm"]))
        raise ConfigError(f"There is no scenario {name[:30]!r}.", f"Scenarios: {known}. {_HELP}")
    try:
        return readers[name](rest)
    except ValueError as error:
        raise ConfigError(f"Scenario {text[:60]!r}: {error}.", _HELP) from None


def check_scenarios(scenarios: Sequence[Scenario], users: int, days: int) -> None:
    """Raises `ConfigError` where they do not fit an organisation of that size, or lie outside its history."""
    joined = 0
    for one in scenarios:
        match one:
            case ClassScenario(people=people) if people > users:
                raise ConfigError(f"A class of {people:,} cannot be had of {users:,} people.", "Give more --users.")
            case HolidayScenario(day=day) | NewStaff(day=day) if not 0 <= day < days:
                raise _outside(day, days)
            case FireDrill(at_s=at_s) if not 0 <= at_s < days * DAY_S:
                raise _outside(int(at_s // DAY_S), days)
            case NewStaff(people=people):
                joined += people
    if joined > users:
        raise ConfigError(f"{joined:,} of {users:,} people cannot be new.", "Give more --users.")


def _outside(day: int, days: int) -> ConfigError:
    first, last, asked = (datetime.fromtimestamp(FIRST_DAY_S + d * DAY_S, UTC).date() for d in (0, days - 1, day))
    return ConfigError(
        f"{asked} lies outside the history, which goes from {first} to {last}.", "Give another date, or more --days."
    )


def _class(rest: str) -> ClassScenario:
    found = re.fullmatch(r"(\d{1,2}):(\d{2}):(\d{1,7})(?::(.*))?", rest, re.ASCII)
    if found is None:
        raise ValueError("a class is written class:HH:MM:PEOPLE, with :mon,wed after it for some days only")
    start_s = _second_of_day(found[1], found[2])
    if start_s + CLASS_S > DAY_S - 3_600:
        raise ValueError("a class lasts 90 minutes and must end by 23:00")
    if start_s < 5 * 3_600:
        raise ValueError("nobody has a class before 05:00")
    if found[4] is None:
        return ClassScenario(start_s, _people(found[3]))
    days = [word.strip().lower() for word in found[4].split(",")]
    if unknown := [word for word in days if word not in WEEKDAYS]:
        raise ValueError(f"{unknown[0]!r} is no day; days are {', '.join(WEEKDAYS)}")
    return ClassScenario(start_s, _people(found[3]), tuple(sorted({WEEKDAYS.index(word) for word in days})))


def _holiday(rest: str) -> HolidayScenario:
    return HolidayScenario(_day(rest))


def _fire_drill(rest: str) -> FireDrill:
    found = re.fullmatch(r"(.{10})[T ](\d{1,2}):(\d{2})(?:/(\d{1,3}))?", rest, re.ASCII)
    if found is None:
        raise ValueError("a fire drill is written fire-drill:2025-03-04T10:30, with /20 after it for 20 minutes")
    minutes = DRILL_MINUTES if found[4] is None else int(found[4])
    if not 2 <= minutes <= 240:
        raise ValueError("a fire drill lasts 2 to 240 minutes")
    return FireDrill(_day(found[1]) * DAY_S + _second_of_day(found[2], found[3]), minutes)


def _new_staff(rest: str) -> NewStaff:
    count, _, day = rest.partition(":")
    if not re.fullmatch(r"\d{1,7}", count, re.ASCII):
        raise ValueError("new staff are written new-staff:PEOPLE:DATE")
    return NewStaff(_people(count), _day(day))


def _people(text: str) -> int:
    count = int(text)
    if not 1 <= count <= _MOST_PEOPLE:
        raise ValueError(f"{count:,} people; give 1 to 1,000,000")
    return count


def _second_of_day(hour: str, minute: str) -> int:
    if int(hour) > 23 or int(minute) > 59:
        raise ValueError(f"{hour}:{minute} is no time of day")
    return int(hour) * 3_600 + int(minute) * 60


def _day(text: str) -> int:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        raise ValueError(f"{text[:20]!r} is no date such as 2025-05-01")
    try:
        return (date.fromisoformat(text) - datetime.fromtimestamp(FIRST_DAY_S, UTC).date()).days
    except ValueError:
        raise ValueError(f"{text!r} is no day of the calendar") from None
