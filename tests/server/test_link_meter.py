"""What is told of a line: smoothed round trips, and throughput of the time alone in which the line was waited for."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.server.link_meter import LinkMeter


def test_nothing_is_told_before_the_first_round_trip() -> None:
    meter = LinkMeter()
    meter.waited(1.0, 10**6, 1.0)
    assert meter.reading(1.0) is None


def test_round_trips_are_smoothed_and_the_best_is_kept() -> None:
    meter = LinkMeter()
    for rtt_s in (0.1, 0.02, 0.1):
        meter.round_trip(rtt_s)
    told = meter.reading(0.0)
    assert told is not None
    assert (told.rtt_best_s, told.rtt_s) == (0.02, pytest.approx(0.09 + 0.01 / 8))
    assert told.bytes_per_s is None, "it was never the bottleneck"


def test_throughput_is_what_was_carried_while_it_was_waited_for() -> None:
    meter = LinkMeter()
    meter.round_trip(0.1)
    for step in range(50):
        meter.waited(0.1, 20_000, 0.1 * step)
    told = meter.reading(5.0)
    assert told is not None and told.bytes_per_s == pytest.approx(200_000)
    assert told.waiting_share == pytest.approx(5.0 / 30.0, rel=0.2)
    for step in range(600):
        meter.waited(0.1, 5_000, 5.0 + 0.1 * step)  # it got worse, and what was before fades
    told = meter.reading(65.0)
    assert told is not None and told.bytes_per_s == pytest.approx(5_000 / 0.1, rel=0.5)


def test_a_moment_tells_no_throughput() -> None:
    meter = LinkMeter()
    meter.round_trip(0.1)
    meter.waited(0.001, 100_000, 1.0)
    told = meter.reading(1.0)
    assert told is not None and told.bytes_per_s is None


@given(st.lists(st.tuples(st.floats(-1.0, 1e6), st.integers(-5, 2**40), st.floats(-1e6, 1e9)), max_size=30))
def test_whatever_the_clock_does_figures_are_finite(waits: list[tuple[float, int, float]]) -> None:
    meter = LinkMeter()
    meter.round_trip(0.05)
    for wait_s, carried, now_s in waits:
        meter.waited(wait_s, carried, now_s)
    told = meter.reading(0.0)
    assert told is not None and 0.0 <= told.waiting_share <= 1.0
    assert told.bytes_per_s is None or (math.isfinite(told.bytes_per_s) and told.bytes_per_s >= 0.0)
