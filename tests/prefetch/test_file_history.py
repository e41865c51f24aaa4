"""What counts as a person's opening of a file, and how a history follows renaming, removal and age."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId
from ghostdesk.prefetch.file_history import (
    MOST_AGE_S,
    MOST_OPENS,
    FileHistory,
    FileOpened,
    FileRemoved,
    FileRenamed,
    OpenFilter,
    checked_path,
)

WRITER, READER = AppId("writer"), AppId("reader")


def opened(path: str, time_s: float = 0.0, app: AppId = WRITER) -> FileOpened:
    return FileOpened(time_s, app, path, 10)


def names(history: FileHistory) -> list[str]:
    return [one.path for one in history.opens]


@pytest.mark.parametrize("path", ["", "/etc/passwd", "a//b", "a/../b", "../b", "./a", "a/.", "a\0b", "x" * 1025, "a/"])
def test_paths_that_could_lead_out_of_a_home_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="a path is"):
        checked_path(path)


def test_names_that_are_no_text_are_kept_as_they_are() -> None:
    assert checked_path("b\udce9b\udce9.txt") == "b\udce9b\udce9.txt"


def test_a_renamed_folder_renames_what_is_in_it_and_nothing_else() -> None:
    history = FileHistory([opened("a/x"), opened("a/y/z"), opened("ab")])
    history.apply(FileRenamed(1.0, "a", "b/c"))
    assert names(history) == ["b/c/x", "b/c/y/z", "ab"]


def test_saving_by_renaming_a_new_file_onto_the_old_keeps_the_old_ones_past() -> None:
    history = FileHistory([opened("letter"), opened("letter.new")])
    history.apply(FileRenamed(1.0, "letter.new", "letter"))
    assert names(history) == ["letter", "letter"]


def test_what_is_removed_leaves_no_name() -> None:
    history = FileHistory([opened("a/x"), opened("a"), opened("ab")])
    history.apply(FileRemoved(1.0, "a"))
    assert names(history) == ["ab"]


def test_it_is_bounded_in_number_and_age() -> None:
    history = FileHistory()
    for number in range(2 * MOST_OPENS):
        history.apply(opened(f"f{number}", float(number)))
    assert len(history.opens) <= MOST_OPENS + MOST_OPENS // 4
    history.bound(MOST_AGE_S + 2 * MOST_OPENS - 3)
    assert names(history) == [f"f{2 * MOST_OPENS - 3}", f"f{2 * MOST_OPENS - 2}", f"f{2 * MOST_OPENS - 1}"]


def taken(events: list[FileOpened], now_s: float) -> list[str]:
    found = OpenFilter()
    for one in events:
        found.add(one)
    return [one.path for one in found.take(now_s)]


def test_few_files_are_a_persons_and_many_of_one_folder_at_once_are_not() -> None:
    few = [opened(f"Documents/{n}", n * 0.1) for n in range(8)]
    many = [opened(f"Pictures/{n}", n * 0.1) for n in range(30)]
    assert taken(few, 10.0) == [one.path for one in few]
    assert taken(many, 10.0) == []
    assert taken([opened(f"Pictures/{n}", n * 5.0) for n in range(30)], 1000.0) != []  # one after the other: a person


def test_an_opening_waits_until_it_is_known_whether_it_was_a_listing() -> None:
    waiting = OpenFilter()
    waiting.add(opened("a", 0.0))
    assert list(waiting.take(1.9)) == []
    assert [one.path for one in waiting.take(2.0)] == ["a"]
    assert list(waiting.take(9.0)) == []


def test_the_same_file_again_within_a_minute_is_the_same_work_but_not_for_another_application() -> None:
    events = [opened("a", 0.0), opened("a", 30.0), opened("a", 30.0, READER), opened("a", 61.0)]
    assert [(one, 0) for one in taken(events, 100.0)] == [("a", 0)] * 3


def test_what_waits_follows_a_renaming() -> None:
    waiting = OpenFilter()
    waiting.add(opened("letter.tmp", 0.0))
    waiting.rename(FileRenamed(0.5, "letter.tmp", "letter"))
    assert [one.path for one in waiting.take(5.0)] == ["letter"]


paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
events = st.one_of(
    st.builds(opened, paths),
    st.builds(FileRenamed, st.just(0.0), paths, paths),
    st.builds(FileRemoved, st.just(0.0), paths),
)


@given(st.lists(events, max_size=30))
def test_names_stay_names_beneath_the_home_whatever_happens(
    happened: list[FileOpened | FileRenamed | FileRemoved],
) -> None:
    history = FileHistory()
    for event in happened:
        history.apply(event)
        assert [checked_path(one.path) for one in history.opens] == names(history)
        if isinstance(event, FileRemoved):
            assert event.path not in names(history)
