"""Sessions and slots: against a slow reading of the same story, and on logs that are odd."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.evaluate.arrivals_timeline import (
    SESSION_GAP_S,
    RowUse,
    Timeline,
    lonely_times,
    sessions_from_events,
    sessions_from_signs,
    start_counts,
)
from ghostdesk.profiles.arrivals.rows_in_use import DORMANT_S
from ghostdesk.telemetry.events import EventKind

SLOT_S = 600
MONDAY_S = 4 * 86_400.0  # 1970-01-05, 00:00 UTC


def test_signs_of_life_within_two_hours_are_one_session() -> None:
    signs = np.array([0.0, 3600.0, 7200.0, 7200.0 + SESSION_GAP_S])
    use = sessions_from_signs("u", signs, np.zeros(4))
    assert use.start_s.tolist() == [0.0, 14_400.0]
    assert use.end_s.tolist() == [14_400.0, 21_600.0]


def test_a_sign_out_ends_the_session_at_once_and_one_alone_is_none() -> None:
    use = sessions_from_events(
        "u", [(200.0, EventKind.ACTIVE), (0.0, EventKind.APP_FOCUS), (100.0, EventKind.SIGN_OUT)]
    )
    assert use.start_s.tolist() == [0.0, 200.0]
    assert use.end_s.tolist() == [100.0, 200.0 + SESSION_GAP_S]
    alone = sessions_from_events("u", [(5.0, EventKind.SIGN_OUT)])
    assert not len(alone.start_s)
    late = sessions_from_events(
        "u", [(0.0, EventKind.ACTIVE), (50_000.0, EventKind.SIGN_OUT), (60_000.0, EventKind.SIGN_OUT)]
    )
    assert late.end_s.tolist() == [SESSION_GAP_S]


def test_whoever_signed_in_stays_until_they_sign_out_or_for_twelve_hours() -> None:
    hour_s = 3600.0
    use = sessions_from_events(
        "u",
        [
            (0.0, EventKind.SIGN_IN),
            (8 * hour_s, EventKind.SIGN_OUT),
            (24 * hour_s, EventKind.SIGN_IN),
            (48 * hour_s, EventKind.SIGN_IN),
            (51 * hour_s, EventKind.SIGN_IN),
        ],
    )
    assert use.start_s.tolist() == [0.0, 24 * hour_s, 48 * hour_s, 51 * hour_s]
    assert use.end_s.tolist() == [8 * hour_s, 36 * hour_s, 51 * hour_s, 63 * hour_s]


def test_order_of_rows_does_not_matter() -> None:
    times = np.array([50_000.0, 0.0, 20_000.0])
    assert sessions_from_signs("u", times, np.zeros(3)).start_s.tolist() == [0.0, 20_000.0, 50_000.0]


def test_lonely_times_are_a_few_far_from_all_others() -> None:
    year = 366 * 86_400.0
    times = np.append(np.linspace(10 * year, 12 * year, 200), [0.0, 40 * year])
    assert np.flatnonzero(lonely_times(times)).tolist() == [200, 201]
    assert not lonely_times(np.array([0.0, 40 * year])).any()  # nobody can say which is right


sessions = st.lists(st.tuples(st.integers(60, 200_000), st.integers(60, 40_000)), min_size=1, max_size=15)


@settings(max_examples=60, deadline=None)
@given(sessions, st.sampled_from([300, 600, 3600, 7200]), st.integers(-12, 12))
def test_slots_tell_what_a_slow_reading_tells(gaps: list[tuple[int, int]], slot_s: int, offset_h: int) -> None:
    at, starts, ends = MONDAY_S, [], []
    for idle, stay in gaps:
        starts.append(at + idle)
        ends.append(at + idle + stay)
        at = ends[-1]
    use = RowUse("u", np.array(starts), np.array(ends), np.full(len(starts), offset_h * 3600.0), ends[-1])
    line = Timeline([use], slot_s)
    until_s = ends[-1]
    seen = 0
    for chunk in line.chunks(1):
        assert chunk.known.shape[1] % line.block_slots == 0
        for slot in np.flatnonzero(chunk.known[0]).tolist():
            begin = chunk.first_s + slot * slot_s
            come = [i for i, s in enumerate(starts) if begin <= s < begin + slot_s]
            over = [e for s, e in zip(starts, ends, strict=True) if s < begin]
            assert chunk.outcome.started[0, slot] == bool(come)
            assert chunk.block.at_risk[0, slot] == bool(
                over and max(over) <= begin < until_s and begin - max(over) < DORMANT_S
            )
            if over:
                assert chunk.block.idle_s[0, slot] == max(begin - max(over), 0.0)
            used = sum(max(0.0, min(e, begin + slot_s) - max(s, begin)) for s, e in zip(starts, ends, strict=True))
            assert chunk.idle_slot_s[0, slot] == pytest.approx(slot_s - used)
            if come:
                before = ends[come[0] - 1] if come[0] else -np.inf
                assert chunk.outcome.idle_at_start_s[0, slot] == starts[come[0]] - before
            local = (begin + offset_h * 3600.0 - MONDAY_S) % 604_800
            assert chunk.block.week_s[0, slot] == local
            seen += len(come)
    assert seen == len(starts)


def test_counts_of_everyone() -> None:
    rows = [sessions_from_signs(str(i), np.array([10.0 * i, 50_000.0]), np.zeros(2)) for i in range(3)]
    assert start_counts(rows, np.array([0.0, 15.0, 40_000.0, 60_000.0])).tolist() == [2, 1, 3]


@pytest.mark.parametrize("slot_s", [0, -600, 7000, 5 * 3600])
def test_slots_that_do_not_fit_a_day_are_refused(slot_s: int) -> None:
    with pytest.raises(ValueError, match="whole number"):
        Timeline([], slot_s)


def test_nobody_at_all_gives_no_chunk() -> None:
    assert not list(Timeline([], SLOT_S).chunks())
    empty = RowUse("d", np.zeros(0), np.zeros(0), np.zeros(0), -np.inf)
    assert not list(Timeline([empty], SLOT_S).chunks())
