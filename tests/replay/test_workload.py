"""The synthetic history: what it promises, and that it says what it is."""

from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import pytest

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.workload import FIRST_DAY_S, MEETING_APP, SyntheticWorkload
from ghostdesk.replay.workload_csv import write_workload
from ghostdesk.telemetry.events import EventKind
from ghostdesk.telemetry.importers.opening import HistoryFile
from ghostdesk.telemetry.importers.protocol import BadLine, ReadOptions
from ghostdesk.telemetry.importers.usage_csv import UsageCsvImporter

WORKLOAD = SyntheticWorkload(users=30, days=28, events_a_day=50.0, seed=7)


def test_equal_seeds_give_equal_histories_and_other_seeds_others() -> None:
    first = list(islice(WORKLOAD.events(), 3000))
    assert first == list(islice(SyntheticWorkload(30, 28, 50.0, 7).events(), 3000))
    assert first != list(islice(SyntheticWorkload(30, 28, 50.0, 8).events(), 3000))


def test_one_person_is_the_same_alone_and_in_a_larger_crowd() -> None:
    assert list(WORKLOAD.events_of(3)) == list(SyntheticWorkload(500, 28, 50.0, 7).events_of(3))


def test_each_persons_events_are_in_order_and_marked_as_synthetic() -> None:
    for index in range(5):
        events = list(WORKLOAD.events_of(index))
        assert all(one.time_s <= later.time_s for one, later in pairwise(events))
        assert all(event.source == "synthetic" and (event.user or "").startswith("synthetic-") for event in events)
        assert events[0].time_s >= FIRST_DAY_S and events[-1].time_s < FIRST_DAY_S + 29 * 86_400


def test_there_are_about_as_many_events_as_asked_for_and_of_all_kinds() -> None:
    events = list(WORKLOAD.events())
    assert 0.85 < len(events) / (30 * 28 * 50.0) < 1.15
    kinds = Counter(event.kind for event in events)
    for kind in (EventKind.SIGN_IN, EventKind.SIGN_OUT, EventKind.APP_LAUNCH, EventKind.APP_FOCUS, EventKind.CPU,
                 EventKind.MEMORY, EventKind.NETWORK, EventKind.FILE_OPENED, EventKind.MICROPHONE):  # fmt: skip
        assert kinds[kind] > 20, kind


def test_weekends_and_holidays_are_quiet() -> None:
    assert WORKLOAD.holidays
    a_day = Counter(int((event.time_s - FIRST_DAY_S) // 86_400) for event in WORKLOAD.events())
    working = [a_day[day] for day in range(28) if day % 7 < 5 and day not in WORKLOAD.holidays]
    quiet = [a_day[day] for day in range(28) if day % 7 >= 5 or day in WORKLOAD.holidays]
    assert max(quiet) < min(working)


def test_people_of_a_department_share_applications_and_the_microphone_is_on_in_meetings() -> None:
    people = list(WORKLOAD.people())
    apps = [{event.app for event in WORKLOAD.events_of(i) if event.app} for i in range(30)]
    alike, other = [], []
    for i in range(30):
        for j in range(i):
            share = len(apps[i] & apps[j]) / len(apps[i] | apps[j])
            (alike if people[i].department == people[j].department else other).append(share)
    assert sum(alike) / len(alike) > sum(other) / len(other) + 0.1
    before = [
        one.app for one, later in pairwise(WORKLOAD.events()) if later.kind is EventKind.MICROPHONE and later.value == 1
    ]
    assert before and set(before) == {MEETING_APP}


def test_the_importer_reads_every_line_that_is_written(tmp_path: Path) -> None:
    small = SyntheticWorkload(4, 7, 40.0, 1)
    path = tmp_path / "history.csv"
    written = write_workload(small, path)
    with HistoryFile(path) as file:
        read = list(UsageCsvImporter().read(file, ReadOptions()))
    assert not [one for one in read if isinstance(one, BadLine)]
    wanted = list(small.events())
    assert written.events == len(read) == len(wanted)
    for got, event in zip(read, wanted, strict=True):
        assert not isinstance(got, BadLine)
        assert (got[1].time_s, got[1].kind, got[1].user, got[1].app, got[1].value, got[1].detail) == (
            event.time_s, event.kind, event.user, event.app, event.value, event.detail,
        )  # fmt: skip
    assert all(line.startswith("synthetic,") for line in path.read_text().splitlines()[1:])


@pytest.mark.parametrize(
    "sizes", [(0, 1, 5.0, 0), (1, 0, 5.0, 0), (1, 1, 0.0, 0), (1, 1, float("nan"), 0), (1, 1, 5.0, -1)]
)
def test_impossible_sizes_are_refused(sizes: tuple[int, int, float, int]) -> None:
    with pytest.raises(ConfigError):
        SyntheticWorkload(*sizes)


def test_a_file_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        write_workload(SyntheticWorkload(1, 1), tmp_path / "missing" / "history.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_workload(SyntheticWorkload(1, 1), tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
