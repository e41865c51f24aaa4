"""Figures of recordings: by hand, and for any recording."""

from datetime import UTC
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.replay.history import Window
from ghostdesk.replay.metrics import (
    CostModel,
    busiest_week_s,
    calendar,
    mean_count,
    measure,
    phase_s,
    timeline,
    waits,
)
from ghostdesk.replay.recorder import NEVER, Phase, Recording

DAY_S = 86_400.0
MONDAY_S = 1_735_516_800.0  # 2024-12-30, 00:00 UTC
WINDOW = Window(MONDAY_S, MONDAY_S + DAY_S)
MODEL = CostModel(
    ghost_memory_gib=2.0, boot_cores=1.0, idle_cores=0.5, watts_per_gib=1.0, watts_per_core=10.0,
    price_per_ghost_hour=1.0, price_per_gib_hour=0.1, price_per_kwh=100.0,
)  # fmt: skip


def _recording(
    changes: list[tuple[float, Phase, Phase]], starts: list[tuple[float, float, bool]] = (),  # type: ignore[assignment]
) -> Recording:  # fmt: skip
    changes = sorted(changes, key=lambda one: one[0])
    return Recording(
        MONDAY_S + np.array([one[0] for one in changes], dtype=np.float64),
        np.array([int(one[1]) for one in changes], dtype=np.int64),
        np.array([int(one[2]) for one in changes], dtype=np.int64),
        MONDAY_S + np.array([one[0] for one in starts], dtype=np.float64),
        MONDAY_S + np.array([one[1] for one in starts], dtype=np.float64),
        MONDAY_S + np.array([one[1] for one in starts], dtype=np.float64),
        np.array([one[2] for one in starts], dtype=np.int64),
    )


def test_one_ghost_and_one_person_by_hand() -> None:
    """Made for an hour, ready for three, then taken; a second person waits an hour for one that is made for them."""
    recording = _recording(
        [
            (0.0, Phase.GONE, Phase.BOOTING), (3600.0, Phase.BOOTING, Phase.READY),
            (14_400.0, Phase.READY, Phase.ACTIVE), (18_000.0, Phase.ACTIVE, Phase.DRAINING),
            (14_400.0, Phase.GONE, Phase.BOOTING), (18_000.0, Phase.BOOTING, Phase.READY),
            (18_000.0, Phase.READY, Phase.ACTIVE),
        ],
        [(14_400.0, 14_401.0, True), (14_400.0, 18_000.0, False)],
    )  # fmt: skip
    found = measure(recording, WINDOW, MODEL, UTC)
    assert (found.starts, found.found, found.missed, found.refused, found.hit_rate) == (2, 1, 1, 0, 0.5)
    assert (found.idle_ghost_hours, found.booting_ghost_hours) == (4.0, 1.0), "the second one's hour is not idle"
    assert (found.memory_gib_hours, found.cpu_core_hours) == (8.0, 2.5)
    assert found.energy_kwh == pytest.approx((8.0 + 25.0) / 1000.0)
    assert found.money == pytest.approx(4.0 + 0.8 + 3.3)
    assert (found.boots, found.evictions) == (2, 0)
    assert found.missed_wait.p50_s == 3600.0
    assert [(m.month, m.starts, m.found) for m in found.months] == [("2024-12", 2, 1)]
    assert found.heat_starts[0][4] == 2
    assert found.heat_missed[0][4] == 1


def test_an_unused_ghost_is_an_eviction_and_a_refused_start_has_no_wait() -> None:
    recording = _recording(
        [(0.0, Phase.GONE, Phase.BOOTING), (60.0, Phase.BOOTING, Phase.READY), (120.0, Phase.READY, Phase.DRAINING)],
        [(130.0, NEVER, False)],
    )
    found = measure(recording, WINDOW, MODEL, UTC)
    assert (found.evictions, found.refused, found.missed) == (1, 1, 0)
    assert np.isnan(found.wait.p50_s)


def test_what_lies_outside_of_the_window_does_not_count() -> None:
    recording = _recording(
        [(-7200.0, Phase.GONE, Phase.READY), (2 * DAY_S, Phase.READY, Phase.DRAINING)],
        [(-10.0, -9.0, True), (DAY_S, DAY_S + 1.0, False)],
    )
    found = measure(recording, WINDOW, MODEL, UTC)
    assert (found.starts, found.boots, found.evictions) == (0, 0, 0)
    assert found.idle_ghost_hours == 24.0
    assert np.isnan(found.hit_rate)


PHASES = st.sampled_from([Phase.BOOTING, Phase.READY, Phase.WARM, Phase.PARKED, Phase.ACTIVE, Phase.DRAINING])


@st.composite
def _lives(draw: st.DrawFn) -> Recording:
    """Any number of ghosts that come, change and go."""
    changes: list[tuple[float, Phase, Phase]] = []
    for _ in range(draw(st.integers(0, 5))):
        times = sorted(draw(st.lists(st.floats(-DAY_S, 2 * DAY_S), min_size=2, max_size=6, unique=True)))
        phases = [Phase.GONE, *(draw(PHASES) for _ in times[1:]), Phase.GONE]
        changes += [(t, a, b) for t, a, b in zip(times, phases, phases[1:], strict=False) if a != b]
    return _recording(changes)


@given(_lives())
def test_time_is_neither_lost_nor_made(recording: Recording) -> None:
    """Hours of all phases are the hours that ghosts exist; a week's picture has the same area as the sum."""
    spent = {phase: phase_s(recording, WINDOW, phase) for phase in Phase if phase is not Phase.GONE}
    assert all(one >= -1e-3 for one in spent.values())
    assert sum(spent.values()) == pytest.approx(-phase_s(recording, WINDOW, Phase.GONE), abs=1e-3)
    edges = WINDOW.judge_s + np.arange(25) * 3600.0
    for phase, whole_s in spent.items():
        assert mean_count(recording, phase, edges).sum() * 3600.0 == pytest.approx(whole_s, abs=1e-2)


@given(st.lists(st.floats(0.0, 1e5), min_size=1, max_size=50))
def test_percentiles_do_not_fall(wait_s: list[float]) -> None:
    found = waits(np.array(wait_s))
    assert found.p50_s <= found.p95_s <= found.p99_s <= max(wait_s)
    assert min(wait_s) - 1e-6 <= found.mean_s <= max(wait_s) + 1e-6


def test_local_hours_follow_the_clock_change() -> None:
    """In Berlin 2025-03-30 has no 02:00."""
    before, after = 1_743_296_399.0, 1_743_296_400.0
    weekday, hour, month = calendar(np.array([before, after]), ZoneInfo("Europe/Berlin"))
    assert (weekday.tolist(), hour.tolist(), month) == ([6, 6], [1, 3], ["2025-03", "2025-03"])


def test_the_busiest_week_and_its_picture() -> None:
    start_s = MONDAY_S + np.array([0.0, 8 * DAY_S, 9 * DAY_S, 9 * DAY_S + 60.0])
    window = Window(MONDAY_S, MONDAY_S + 21 * DAY_S)
    monday_s = busiest_week_s(start_s, window, UTC)
    assert monday_s == MONDAY_S + 7 * DAY_S
    recording = _recording([(0.0, Phase.GONE, Phase.READY)], [(9 * DAY_S, 9 * DAY_S, True), (9 * DAY_S, NEVER, False)])
    week = timeline(recording, monday_s, window)
    assert len(week.starts) == 672
    assert (sum(week.starts), sum(week.missed), set(week.ready)) == (2, 1, {1.0})
    short = timeline(recording, monday_s, Window(MONDAY_S, monday_s + 3600.0))
    assert len(short.starts) == 4
