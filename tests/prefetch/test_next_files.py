"""Which files come next: probabilities that hold, and that follow what happens to files."""

from __future__ import annotations

from datetime import UTC

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.ids import AppId
from ghostdesk.prefetch.file_history import FileHistory, FileOpened, FileRemoved, FileRenamed
from ghostdesk.prefetch.next_files import SESSION_GAP_S, LikelyFile, NextFiles

WRITER, READER = AppId("writer"), AppId("reader")
DAY_S = 86_400.0
MONDAY_S = 4 * DAY_S
"""1970-01-05 00:00 UTC."""


def opened(path: str, time_s: float, app: AppId = WRITER) -> FileOpened:
    return FileOpened(time_s, app, path, 1000)


def learnt(*events: FileOpened) -> NextFiles:
    model = NextFiles(UTC)
    for one in events:
        model.apply(one)
    return model


def by_path(likely: tuple[LikelyFile, ...]) -> dict[str, float]:
    return {one.path: one.probability for one in likely}


def test_nothing_is_likely_of_somebody_new() -> None:
    assert NextFiles(UTC).likely(0.0) == ()
    assert NextFiles(UTC).likely(0.0, WRITER) == ()


def test_what_is_opened_every_day_is_likelier_than_what_was_opened_once() -> None:
    events = [opened("once", 0.0), *(opened("daily", day * DAY_S) for day in range(1, 20))]
    found = by_path(learnt(*events).likely(20 * DAY_S))
    assert found["daily"] > 0.5 > found["once"]


def test_an_application_that_starts_is_asked_for_its_own_files() -> None:
    events = [one for day in range(10) for one in (opened("w", day * DAY_S), opened("r", day * DAY_S + 60, READER))]
    model = learnt(*events)
    assert set(by_path(model.likely(11 * DAY_S, READER))) == {"r"}
    assert set(by_path(model.likely(11 * DAY_S))) == {"w", "r"}


def test_the_file_that_usually_follows_is_the_likeliest() -> None:
    events: list[FileOpened] = []
    for day in range(40):
        first, then = ("agenda", "minutes") if day % 2 else ("bill", "ledger")
        events += [opened(first, day * DAY_S), opened(then, day * DAY_S + 300)]
    model = learnt(*events, opened("bill", 41 * DAY_S))
    likely = model.likely(41 * DAY_S + 60, WRITER)
    assert likely[0].path == "ledger"
    assert "bill" not in by_path(likely)  # it is open: nothing is gained by loading it


def test_what_belongs_to_an_hour_is_expected_at_that_hour() -> None:
    events = [
        one
        for day in range(60)
        for one in (opened("mail", MONDAY_S + (day + 1 / 3) * DAY_S), opened("diary", MONDAY_S + (day + 5 / 6) * DAY_S))
    ]
    morning = by_path(learnt(*events).likely(MONDAY_S + 60 * DAY_S + 8 * 3600))
    assert morning["mail"] > morning["diary"]


def test_a_renamed_file_keeps_its_past_and_a_removed_one_is_expected_no_more() -> None:
    model = learnt(*(opened("plan", day * DAY_S) for day in range(10)))
    before = by_path(model.likely(11 * DAY_S))["plan"]
    model.apply(FileRenamed(10 * DAY_S, "plan", "archive/plan-2"))
    assert by_path(model.likely(11 * DAY_S)) == {"archive/plan-2": pytest.approx(before)}
    assert model.knows("archive")
    assert not model.knows("plan")
    model.apply(FileRemoved(10 * DAY_S, "archive"))
    assert model.likely(11 * DAY_S) == ()


def test_saving_by_renaming_keeps_one_file() -> None:
    model = learnt(*(opened("letter", day * DAY_S) for day in range(10)), opened("letter.new", 9 * DAY_S + 30))
    model.apply(FileRenamed(9 * DAY_S + 31, "letter.new", "letter"))
    assert set(by_path(model.likely(11 * DAY_S))) == {"letter"}


def test_a_new_desktop_begins_a_new_session() -> None:
    model = learnt(*(opened("plan", day * DAY_S) for day in range(5)))
    assert model.likely(4 * DAY_S + 60) == ()
    model.end_session()
    assert set(by_path(model.likely(4 * DAY_S + 60))) == {"plan"}


def test_chances_from_elsewhere_raise_what_an_application_opens() -> None:
    events = [opened("rare", 0.0, READER), *(opened(f"f{day % 3}", day * DAY_S) for day in range(1, 40))]
    model = learnt(*events)
    usual, told = (by_path(model.likely(41 * DAY_S, chances=one))["rare"] for one in ({}, {READER: 0.9}))
    assert told > 2 * usual


def test_a_history_read_anew_says_what_was_learnt_step_by_step() -> None:
    events = [opened(f"f{(day * 7) % 5}", day * DAY_S) for day in range(60)]
    stepwise, anew = learnt(*events), NextFiles.of(FileHistory(events), UTC)
    assert anew.likely(61 * DAY_S) == stepwise.likely(61 * DAY_S)


def test_probabilities_are_calibrated_on_a_made_up_person() -> None:
    """Forecasts before a session, of a synthetic person who draws three files a day from a skewed set."""
    draws = np.random.default_rng(3)
    weights = 1.0 / np.arange(1, 21)
    weights /= weights.sum()
    model, said, happened = NextFiles(UTC), [], []
    for day in range(300):
        today = [f"f{n}" for n in draws.choice(20, 3, p=weights)]
        if day > 100:
            for one in model.likely(day * DAY_S):
                said.append(one.probability)
                happened.append(one.path in today)
        for at, path in enumerate(today):
            model.apply(opened(path, day * DAY_S + 120 * at))
    low = np.array(said) < np.median(said)
    for part in (low, ~low):
        assert np.mean(np.array(said)[part]) == pytest.approx(np.mean(np.array(happened)[part]), abs=0.04)


steps = st.tuples(st.sampled_from("abcdef"), st.sampled_from([WRITER, READER]), st.floats(1.0, 3 * SESSION_GAP_S))


@settings(max_examples=30, deadline=None)
@given(st.lists(steps, max_size=40), st.data())
def test_probabilities_are_probabilities_whatever_was_opened(
    walk: list[tuple[str, AppId, float]], data: st.DataObject
) -> None:
    model, time_s = NextFiles(UTC), 0.0
    for path, app, gap_s in walk:
        time_s += gap_s
        model.apply(opened(path, time_s, app))
        if data.draw(st.integers(0, 9)) == 0:
            model.apply(FileRenamed(time_s, path, data.draw(st.sampled_from("abcdef"))))
        if data.draw(st.integers(0, 9)) == 0:
            model.apply(FileRemoved(time_s, data.draw(st.sampled_from("abcdef"))))
    for app_asked in (None, WRITER):
        likely = model.likely(time_s + DAY_S, app_asked)
        assert len({one.path for one in likely}) == len(likely)
        assert all(0.0 < one.probability < 1.0 for one in likely)
        assert [one.probability for one in likely] == sorted((one.probability for one in likely), reverse=True)
