"""State logs with everything odd that logs have: named, counted, mended by the rule that the finding states."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.evaluate.arrivals_reading import ArrivalHistory, read_arrival_history
from ghostdesk.evaluate.state_log import AWAY_S, GAP_S, LONGEST_S, Finding, desktop_uses
from ghostdesk.kernel.errors import ImportFileError

STATES = ("in-use", "available", "offline", "asleep")
DAY_S = 86_400.0


def uses(*rows: tuple[str, str, float]) -> tuple[dict[str, list[tuple[float, float]]], dict[str, Finding]]:
    """Start and end of each desktop's uses, and the findings by code, of rows in any order."""
    rows = tuple(sorted(rows, key=lambda row: row[2]))
    names = sorted({row[0] for row in rows})
    found, findings = desktop_uses(
        names,
        np.array([names.index(row[0]) for row in rows], dtype=np.int64),
        np.array([STATES.index(row[1]) for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows]),
        STATES,
    )
    told = {use.name: list(zip(use.start_s.tolist(), use.end_s.tolist(), strict=True)) for use in found}
    return told, {finding.code: finding for finding in findings}


def history(tmp_path: Path, text: str, zone: str = "UTC") -> ArrivalHistory:
    path = tmp_path / "log.csv"
    path.write_text(text)
    return read_arrival_history(path, ZoneInfo(zone) if zone != "UTC" else UTC)


def test_a_plain_log_has_no_findings() -> None:
    told, findings = uses(("d", "available", 0.0), ("d", "in-use", 10.0), ("d", "available", 60.0))
    assert (told, findings) == ({"d": [(10.0, 60.0)]}, {})


def test_in_use_told_again_is_one_use() -> None:
    told, findings = uses(
        ("d", "in-use", 10.0), ("d", "in-use", 20.0), ("d", "available", 60.0), ("d", "available", 70.0)
    )
    assert told == {"d": [(10.0, 60.0)]}
    assert (findings["overlap"].count, findings["told-again"].count) == (1, 1)


def test_a_use_of_no_length_is_a_start_all_the_same() -> None:
    told, findings = uses(
        ("d", "in-use", 10.0), ("d", "available", 10.0), ("d", "in-use", 60.0), ("d", "offline", 90.0)
    )
    assert told == {"d": [(10.0, 11.0), (60.0, 90.0)]}
    assert findings["no-length"].count == 1


def test_starts_of_one_second_are_one() -> None:
    told, findings = uses(
        ("d", "in-use", 10.0), ("d", "available", 10.0), ("d", "in-use", 10.0), ("d", "offline", 90.0)
    )
    assert told == {"d": [(10.0, 90.0)]}
    assert "1 of one desktop and second count once" in findings["no-length"].rule


def test_a_state_that_never_ends_ends_with_the_log() -> None:
    told, findings = uses(("d", "in-use", 10.0), ("e", "available", 500.0))
    assert told["d"] == [(10.0, 500.0)]
    assert findings["never-ends"].count == 1


def test_a_state_that_never_ends_is_cut_after_a_day() -> None:
    told, _ = uses(("d", "in-use", 10.0), *(("e", "available", day * DAY_S) for day in range(1, 9)))
    assert told["d"] == [(10.0, 10.0 + LONGEST_S)]


def test_a_use_beyond_a_gap_of_the_log_ends_where_the_gap_begins() -> None:
    told, findings = uses(
        ("d", "in-use", 10.0), ("e", "available", 100.0), ("e", "in-use", 200.0 + GAP_S),
        ("d", "available", 300.0 + GAP_S), ("e", "available", 400.0 + GAP_S),
    )  # fmt: skip
    assert told == {"d": [(10.0, 100.0)], "e": [(200.0 + GAP_S, 400.0 + GAP_S)]}
    assert findings["gap"].count == 1
    assert "1 uses" in findings["gap"].rule


def test_machines_that_appear_vanish_and_come_back_are_counted() -> None:
    steady = [("s", "available", day * DAY_S) for day in range(100)]
    told, findings = uses(
        *steady, ("late", "in-use", 50 * DAY_S), ("late", "available", 51 * DAY_S), ("late", "available", 99 * DAY_S),
        ("gone", "available", 0.0), ("back", "available", 0.0), ("back", "available", AWAY_S + 99.0),
        ("back", "offline", 75 * DAY_S),
    )  # fmt: skip
    assert (findings["appears"].count, findings["vanishes"].count) == (1, 1)
    assert findings["away"].count == 3  # "late" once, "back" twice
    assert told["gone"] == []


def test_states_that_nobody_knows_are_named() -> None:
    told, findings = uses(("d", "in-use", 10.0), ("d", "asleep", 60.0))
    assert told == {"d": [(10.0, 60.0)]}
    assert "asleep" in findings["unknown-state"].what


def test_long_uses_are_taken_as_told_and_counted() -> None:
    steady = [("s", "available", day * DAY_S) for day in range(5)]
    told, findings = uses(*steady, ("d", "in-use", 0.0), ("d", "available", 3 * DAY_S))
    assert told["d"] == [(0.0, 3 * DAY_S)]
    assert findings["long-use"].count == 1


BACK = """desktop,state,time
a,in-use,2016-10-30 01:30:00
a,available,2016-10-30 02:10:00
b,in-use,2016-10-30 02:50:00
b,available,2016-10-30 02:05:00
a,in-use,2016-10-30 02:20:00
a,available,2016-10-30 03:20:00
"""


def test_an_hour_that_the_clock_repeats_is_told_apart_by_the_order_of_the_file(tmp_path: Path) -> None:
    read = history(tmp_path, BACK, "Europe/Berlin")
    begun = {row.name: [datetime.fromtimestamp(t, UTC).strftime("%H:%M") for t in row.start_s] for row in read.rows}
    assert begun == {"a": ["23:30", "01:20"], "b": ["00:50"]}
    ended = {row.name: [datetime.fromtimestamp(t, UTC).strftime("%H:%M") for t in row.end_s] for row in read.rows}
    assert ended == {"a": ["00:10", "02:20"], "b": ["01:05"]}
    (finding,) = (f for f in read.findings if f.code == "repeated-hour")
    assert finding.count == 4
    assert finding.sentence() in read.notes


def test_a_clock_without_a_zone_that_goes_back_is_named(tmp_path: Path) -> None:
    read = history(tmp_path, BACK)
    assert {"clock-back"} <= {finding.code for finding in read.findings}
    assert any("goes back (first by 45 min" in note for note in read.notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("desktop,state,time\n", "no rows"),
        ("a,b\n1,2\n", "lacks columns"),
        ("desktop,state,time\nd,available,2016-01-01 00:00:00\n", "nobody ever arrived"),
        ("desktop,state,time\nd,in-use,yesterday\n", "cannot be read"),
    ],
)
def test_files_that_say_nothing_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ImportFileError, match=said):
        history(tmp_path, text)


rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(STATES),
        st.integers(0, 400_000).map(float),
    ),
    min_size=1,
    max_size=40,
)


@given(rows)
def test_whatever_the_log_says_uses_are_in_order_and_apart(log: list[tuple[str, str, float]]) -> None:
    told, findings = uses(*log)
    for spans in told.values():
        for start_s, end_s in spans:
            assert end_s > start_s
        for (_, end_s), (start_s, _) in pairwise(spans):
            assert start_s >= end_s
    assert all(finding.count > 0 and finding.rule for finding in findings.values())


@given(rows)
def test_every_change_to_in_use_is_a_start(log: list[tuple[str, str, float]]) -> None:
    seconds = {(desktop, time_s) for desktop, _, time_s in log}
    log = [
        (d, next(s for d2, s, t2 in log if (d2, t2) == (d, t)), t) for d, t in sorted(seconds, key=lambda one: one[1])
    ]
    changes, before = 0, dict[str, str]()
    for desktop, state, _ in log:
        changes += state == "in-use" and before.get(desktop) != "in-use"
        before[desktop] = state
    told, _ = uses(*log)
    assert sum(len(spans) for spans in told.values()) == changes
