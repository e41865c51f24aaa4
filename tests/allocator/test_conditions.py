"""Levels and trends: robust to odd readings, void after the clock was set back, and right about when it gets short."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.allocator.conditions import GAUGES, WINDOW_S, ConditionHistory, Trend
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.resources import GIB

SHARES = st.floats(0.0, 1.0)
ROW = {gauge.code: row for row, gauge in enumerate(GAUGES)}


def told(**values: float) -> HostConditions:
    return HostConditions(0.0, **values)


def after(levels: list[float], every_s: float = 5.0) -> Trend:
    """The trend of CPU pressure after these levels."""
    history = ConditionHistory()
    for step, level in enumerate(levels):
        history = history.add(told(cpu_pressure=level), step * every_s)
    return history.trends()[ROW["cpu"]]


def test_without_readings_all_is_calm() -> None:
    assert ConditionHistory().trends() == (Trend(),) * len(GAUGES)


def test_one_odd_reading_changes_no_level() -> None:
    assert after([0.1, 0.1, 0.1, 0.1, 1.0]).level == 0.1
    assert after([0.1, 0.1, 0.1, 1.0, 1.0]).level == 1.0


def test_a_rise_is_found_though_a_fifth_of_the_readings_is_wild() -> None:
    rnd = random.Random(4)
    levels = [0.2 + 0.001 * step * 5.0 for step in range(60)]
    wild = [rnd.random() if rnd.random() < 0.2 else level for level in levels]
    assert after(levels).slope_per_s == pytest.approx(0.001)
    assert after(wild).slope_per_s == pytest.approx(0.001, rel=0.25)


def test_noise_has_no_trend() -> None:
    rnd = random.Random(5)
    assert after([0.3 + rnd.uniform(-0.1, 0.1) for _ in range(200)]).slope_per_s == 0.0


def test_a_trend_needs_half_the_window() -> None:
    assert after([0.01 * step for step in range(29)]).slope_per_s == 0.0
    assert after([0.01 * step for step in range(32)]).slope_per_s > 0.0


@given(st.lists(st.tuples(st.floats(0.0, 400.0), SHARES), min_size=1, max_size=120))
def test_memory_stays_bounded_and_levels_are_shares(steps: list[tuple[float, float]]) -> None:
    history, now_s = ConditionHistory(), 1e9
    for wait_s, level in steps:
        now_s += wait_s
        history = history.add(told(cpu_pressure=level), now_s)
        assert len(history.samples) <= 62
        assert all(now_s - WINDOW_S <= sample.time_s <= now_s for sample in history.samples)
        assert all(0.0 <= trend.level <= 1.0 for trend in history.trends())
    assert history.samples[-1].levels[ROW["cpu"]] == steps[-1][1]


def test_readings_of_a_moment_count_once() -> None:
    history = ConditionHistory()
    for step in range(400):
        history = history.add(told(cpu_pressure=0.1), step * 0.25)
    assert 15 <= len(history.samples) <= 25


def test_a_clock_that_was_set_back_voids_what_is_in_the_future() -> None:
    history = ConditionHistory()
    for time_s in (1000.0, 1005.0, 1010.0):
        history = history.add(told(cpu_pressure=0.9), time_s)
    history = history.add(told(cpu_pressure=0.1), 500.0)
    assert [sample.time_s for sample in history.samples] == [500.0]
    assert history.trends()[ROW["cpu"]].level == 0.1


def test_it_is_told_when_it_gets_short() -> None:
    trend = Trend(0.7, 0.0005)
    assert trend.until_s(0.9) == pytest.approx(400.0)
    assert trend.in_s(100.0) == pytest.approx(0.75)
    assert trend.until_s(0.6) == 0.0
    assert Trend(0.7, -0.001).until_s(0.9) is None
    assert Trend(0.7, -0.001).in_s(100.0) == 0.7


@pytest.mark.parametrize(
    ("values", "code", "level"),
    [
        ({"memory_bytes": 10 * GIB, "memory_available_bytes": GIB}, "memory-use", 0.9),
        ({"memory_bytes": 1024 * GIB, "memory_available_bytes": 64 * GIB}, "memory-use", 0.0),
        ({"disk_bytes": 10e9, "disk_free_bytes": 1e9}, "disk", 0.9),
        ({"disk_bytes": 10e12, "disk_free_bytes": 15e9}, "disk", 0.9),
        ({"swap_bytes": 100.0, "swap_free_bytes": 25.0}, "swap", 0.75),
        ({"swap_bytes": 0.0}, "swap", 0.0),
    ],
)
def test_what_is_in_use(values: dict[str, float], code: str, level: float) -> None:
    assert GAUGES[ROW[code]].read(told(**values)) == pytest.approx(level)
