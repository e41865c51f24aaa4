"""Sequences of applications: order, splits, and what is known around each step."""

from datetime import UTC, date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ghostdesk.evaluate.sequences import read_app_history, sequences_of_events, situations
from ghostdesk.evaluate.tables import DataKind
from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.telemetry.events import EventKind, UsageEvent


def file(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "history"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_split_is_taken_as_it_is_and_each_draw_alone(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "user,draw,split,position,app,day",
        "u,1,test,0,c,2014-05-31",
        "u,1,train,1,a,2014-05-29",
        "u,1,train,0,a,2014-05-29",
        "u,2,train,0,z,2014-05-29",
        "u,2,test,0,z,2014-05-30",
        "u,2,test,0,z,2014-05-30",
    )
    history = read_app_history(path)
    first, second = history.sequences
    assert history.kind is DataKind.SPLIT_APPS
    assert (first.apps, first.test_from, first.draw) == (("a", "a", "c"), 2, "1")
    assert (second.apps, second.test_from, second.draw) == (("z", "z"), 1, "2")
    assert (history.notes.duplicates, history.notes.out_of_order) == (1, 2)
    assert first.training().apps == ("a", "a")
    assert first.training().days == (date(2014, 5, 29).toordinal(),) * 2


def test_times_drop_repeats_and_hold_back_the_last_fifth(tmp_path: Path) -> None:
    rows = [f"u,2022-12-12 10:00:{n:02},{app}" for n, app in enumerate("aabbabcabcab")]
    history = read_app_history(file(tmp_path, "user,time,app", *rows[6:], *rows[:6], rows[0]))
    (one,) = history.sequences
    assert "".join(one.apps) == "ababcabcab"
    assert one.test_from == 8
    assert history.notes.out_of_order == 2
    assert history.notes.duplicates == 1


def test_a_user_with_one_event_is_left_out_and_said(tmp_path: Path) -> None:
    rows = [f"u,{n},{app}" for n, app in enumerate("ababab")]
    history = read_app_history(file(tmp_path, "user,time,app", *rows, "lonely,5,a", "still,5,a", "still,6,a"))
    assert [one.user for one in history.sequences] == ["u"]
    assert history.users_left_out == 2
    with pytest.raises(ImportFileError, match="nothing to be foretold"):
        read_app_history(file(tmp_path, "user,time,app", "lonely,5,a"))
    with pytest.raises(ImportFileError, match="nothing to be foretold"):
        read_app_history(file(tmp_path, "user,split,app", "u,train,a"))


def test_an_unknown_split_is_a_bad_row(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="'later' is neither train nor test"):
        read_app_history(file(tmp_path, "user,split,app", "u,train,a", "u,later,a"))


def test_usage_events_are_launches_and_focus_only(tmp_path: Path) -> None:
    history = read_app_history(
        file(
            tmp_path,
            "user,time,event,app,value",
            "ada,1000,sign-in,,",
            "ada,1001,app-launch,gimp,",
            "ada,1002,app-focus,gimp,30",
            "ada,1032,app-focus,mousepad,5",
            "ada,1033,microphone,,1",
        )
    )
    assert history.kind is DataKind.EVENTS
    assert history.sequences[0].apps == ("gimp", "mousepad")


def test_events_of_the_store_make_sequences() -> None:
    user = UserId("ada")
    events = [UsageEvent(t, EventKind.APP_FOCUS, user=user, app=AppId("ab"[t % 2]), value=3.0) for t in range(10)]
    (one,) = sequences_of_events(events, UTC).sequences
    assert (len(one.apps), one.test_from) == (10, 8)
    assert list(situations(one))[5].dwell_s == 3.0
    with pytest.raises(ImportFileError, match="holds no application"):
        sequences_of_events([], UTC)


def test_activitywatch_exports_are_read_too(tmp_path: Path) -> None:
    events = ",".join(
        f'{{"timestamp":"2024-01-01T10:{n:02}:00+00:00","duration":30,"data":{{"app":"{app}","title":"t"}}}}'
        for n, app in enumerate("abab")
    )
    bucket = f'{{"id":"w","type":"currentwindow","client":"aw-watcher-window","hostname":"pc","events":[{events}]}}'
    history = read_app_history(file(tmp_path, f'{{"buckets":{{"w":{bucket}}}}}'))
    assert history.sequences[0].apps == ("a", "b", "a", "b")


def test_situations_know_the_local_clock_the_gap_and_the_session(tmp_path: Path) -> None:
    rows = ["u,2024-06-03T08:00:00Z,a", "u,2024-06-03T08:30:00Z,b", "u,2024-06-03T23:30:00Z,a"]
    (one,) = read_app_history(file(tmp_path, "user,time,app", *rows), ZoneInfo("Europe/Berlin")).sequences
    first, second, third = situations(one)
    assert (first.hour, first.weekday, first.gap_s, first.session_position) == (10.0, 0, None, 0)
    assert (second.hour, second.gap_s, second.session_position) == (10.5, 1800.0, 1)
    assert (third.hour, third.weekday, third.session_position) == (1.5, 1, 0)


def test_days_without_a_clock_give_weekday_and_position(tmp_path: Path) -> None:
    rows = ["u,train,a,2024-06-03", "u,train,b,2024-06-03", "u,test,a,2024-06-04"]
    (one,) = read_app_history(file(tmp_path, "user,split,app,day", *rows)).sequences
    assert [(s.hour, s.weekday, s.session_position, s.gap_s) for s in situations(one)] == [
        (None, 0, 0, None), (None, 0, 1, None), (None, 1, 0, None),
    ]  # fmt: skip
