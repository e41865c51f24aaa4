"""Hit rates and wasted bytes by hand, and logs that are wrong."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import pytest

from ghostdesk.evaluate.files import evaluate_files, sessions_of
from ghostdesk.evaluate.files_reading import FileLog, read_file_log
from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.kernel.ids import AppId
from ghostdesk.prefetch.choose_files import FileBudget
from ghostdesk.prefetch.file_history import FileOpened

DAY_S = 86_400.0
HEADER = "user,time,app,path,size_bytes\n"


def opened(path: str, time_s: float, size_bytes: int = 100) -> FileOpened:
    return FileOpened(time_s, AppId("writer"), path, size_bytes)


def daily(days: int) -> list[FileOpened]:
    """Every day the same two files, and one that is new."""
    return [
        opened(path, day * DAY_S + at * 60)
        for day in range(days)
        for at, path in enumerate(("daily", "report", f"new-{day}"))
    ]


def test_sessions_part_where_nothing_was_opened_for_half_an_hour() -> None:
    opens = [opened("a", 0.0), opened("b", 1800.0), opened("c", 3601.0)]
    assert [[one.path for one in session] for session in sessions_of(opens)] == [["a", "b"], ["c"]]


def test_hits_and_waste_of_the_rules_by_hand() -> None:
    report = evaluate_files(FileLog({"ada": daily(20)}), [FileBudget(500)], UTC)
    scores = {score.way: score for score in report.scores}
    for score in scores.values():
        assert (score.sessions, score.opens, score.known) == (4, 12, 8)
    nothing, bound = scores["nothing"], scores["clairvoyant bound"]
    assert (nothing.hits, nothing.loaded_bytes, nothing.wasted_bytes) == (0, 0, 0)
    assert (bound.hits, bound.loaded_bytes, bound.wasted_bytes) == (12, 1200, 0)
    recent = scores["most recent 5"]  # the two, and three of the files that never come again
    assert (recent.hits, recent.loaded_bytes, recent.wasted_bytes) == (8, 2000, 1200)
    ours = scores["ghostdesk"]
    assert ours.hits == 8
    assert ours.wasted_bytes < recent.wasted_bytes


def test_no_way_exceeds_its_budget() -> None:
    report = evaluate_files(FileLog({"ada": daily(10)}), [FileBudget(150), FileBudget(0)], UTC)
    for score in report.scores:
        assert score.loaded_bytes <= score.budget_bytes * score.sessions
    assert all(score.hits == 0 for score in report.scores if score.budget_bytes == 0)


def test_a_reopened_file_is_no_hit_of_anybody() -> None:
    opens = [opened("a", day * DAY_S + at) for day in range(10) for at in (0.0, 600.0)]
    report = evaluate_files(FileLog({"ada": opens}), [FileBudget(1000)], UTC)
    assert {(score.sessions, score.opens) for score in report.scores} == {(2, 2)}


def test_a_recorded_log_is_read_and_says_what_it_left_out(tmp_path: Path) -> None:
    log = tmp_path / "files.csv"
    log.write_text(
        f"source,{HEADER}synthetic,ada,2026-01-05T09:00:00,writer,/home/a.txt,5\nsynthetic,ada,1767600000,w,../x,5\n"
        "synthetic,,1767600000,w,x,5\nsynthetic,bob,later,w,x,5\nsynthetic,bob,1767600000,w,x,-1\nsynthetic,bob,1767600000,w,x\n"
    )
    found = read_file_log(log, UTC)
    assert {user: [one.path for one in opens] for user, opens in found.people.items()} == {"ada": ["home/a.txt"]}
    assert found.source == "synthetic"
    assert found.notes[0].startswith("5 of 6 rows were left out: line 3: ")


@pytest.mark.parametrize("text", ["user,time,app,path\nada,1,w,x\n", HEADER, f"{HEADER}ada,x,w,x,1\n", "\x00\x01"])
def test_what_is_no_log_of_files_is_named(tmp_path: Path, text: str) -> None:
    log = tmp_path / "files.csv"
    log.write_text(text)
    with pytest.raises(ImportFileError):
        read_file_log(log, UTC)
