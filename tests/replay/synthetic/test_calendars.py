"""Calendars of people who do not exist: ghostdesk reads them, and they say what the events show."""

from collections import defaultdict
from datetime import UTC
from pathlib import Path

import pytest

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.synthetic.calendars import ORGANISATION, TERMS, write_calendars
from ghostdesk.replay.synthetic.scenarios import DAY_S, FIRST_DAY_S, parse_scenario
from ghostdesk.replay.workload import SyntheticWorkload
from ghostdesk.telemetry.calendars.days import parse_terms
from ghostdesk.telemetry.calendars.entries import BusyTime
from ghostdesk.telemetry.calendars.lines import decode_calendar, split_calendar
from ghostdesk.telemetry.calendars.reading import read_calendar
from ghostdesk.telemetry.events import EventKind

WORKLOAD = SyntheticWorkload(
    25, 42, 30.0, 3, (parse_scenario("class:13:00:10:wed"), parse_scenario("holiday:2025-01-15"))
)


def read(path: Path) -> tuple[BusyTime, ...]:
    lines = split_calendar(decode_calendar(path.read_bytes()))
    found = read_calendar([lines], FIRST_DAY_S, FIRST_DAY_S + 42 * DAY_S, timezone=UTC, key=b"k" * 32)
    assert not found.skipped and not found.unknown_zones
    return found.times


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calendars") / "new"
    assert write_calendars(WORKLOAD.agenda, path) == 27
    return path


def test_every_meeting_of_the_events_is_in_the_calendar(folder: Path) -> None:
    meetings = attended = 0
    for index in range(WORKLOAD.users):
        user = WORKLOAD.person(index).user
        busy = [one for one in read(folder / f"{user}.ics") if one.kind == "busy"]
        meetings += len(busy)
        for event in WORKLOAD.events_of(index):
            if event.kind is EventKind.MICROPHONE:
                assert any(one.start_s <= event.time_s <= one.end_s for one in busy), (user, event)
                attended += event.value == 1.0
    assert 0.25 * meetings < attended < meetings


def test_nobody_works_while_they_are_out_of_office_and_classes_are_in_the_calendar(folder: Path) -> None:
    away_days, days_of_class = 0, defaultdict[str, int](int)
    for index in range(WORKLOAD.users):
        user = WORKLOAD.person(index).user
        times = read(folder / f"{user}.ics")
        away = [one for one in times if one.kind == "away"]
        away_days += sum(int((one.end_s - one.start_s) / DAY_S) for one in away)
        for event in WORKLOAD.events_of(index):
            assert not any(one.start_s <= event.time_s < one.end_s for one in away)
        for one in times:
            if one.end_s - one.start_s == 5_400.0 and one.start_s % DAY_S == 13 * 3600.0:
                days_of_class[user] += 1
    assert away_days > 0
    holidays = sum(day % 7 == 2 for day in WORKLOAD.holidays)
    assert list(days_of_class.values()) == [6 - holidays] * 10


def test_holidays_and_terms_are_there_and_everything_is_marked(folder: Path) -> None:
    times = read(folder / ORGANISATION)
    assert {int((one.start_s - FIRST_DAY_S) // DAY_S) for one in times} == WORKLOAD.holidays
    assert 16 in WORKLOAD.holidays and all(one.all_day and one.kind == "free" for one in times)
    assert parse_terms((folder / TERMS).read_text())
    for path in folder.iterdir():
        assert path.name.startswith("synthetic-")
        for line in path.read_text().splitlines():
            if line.startswith("UID:"):
                assert line.startswith("UID:synthetic-") and line.endswith("@synthetic.invalid")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_calendars(WORKLOAD.agenda, tmp_path / "file")
