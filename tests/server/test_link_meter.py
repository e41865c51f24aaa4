"""What is told of a line: smoothed round trips, and throughput of the time alone in which the line was waited for."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.server.link_meter import LinkMeter


def saturate(meter: LinkMeter, bytes_per_s: float, start_s: float, duration_s: float, taken: int = 0) -> int:
    """A desktop that always has something to send: the socket has room for a moment in every half second."""
    now_s = start_s
    while now_s < start_s + duration_s:
        meter.full(taken, now_s)
        meter.free(now_s + 0.48)
        taken += int(bytes_per_s * 0.5)
        now_s += 0.5
    return taken


def test_nothing_is_told_before_the_first_round_trip() -> None:
    meter = LinkMeter()
    saturate(meter, 1e6, 0.0, 5.0)
    assert meter.reading(5.0) is None


def test_round_trips_are_smoothed_and_the_best_is_kept() -> None:
    meter = LinkMeter()
    for rtt_s in (0.1, 0.02, 0.1):
        meter.round_trip(rtt_s)
    told = meter.reading(0.0)
    assert told is not None
    assert (told.rtt_best_s, told.rtt_s) == (0.02, pytest.approx(0.09 + 0.01 / 8))
    assert told.bytes_per_s is None, "it was never the bottleneck"


def test_throughput_is_what_the_socket_took_between_two_fillings() -> None:
    meter = LinkMeter()
    meter.round_trip(0.1)
    taken = saturate(meter, 200e3, 0.0, 10.0)
    told = meter.reading(10.0)
    assert told is not None and told.bytes_per_s == pytest.approx(200e3)
    assert 0.2 < told.waiting_share < 0.35, "ten of the last thirty seconds"
    saturate(meter, 50e3, 10.0, 60.0, taken)  # it got worse, and what was before fades
    told = meter.reading(70.0)
    assert told is not None and told.bytes_per_s == pytest.approx(50e3, rel=0.6)
    assert told.waiting_share > 0.75


def test_a_time_in_which_there_was_nothing_to_send_tells_nothing() -> None:
    meter = LinkMeter()
    meter.round_trip(0.1)
    for second in range(0, 600, 60):  # full for a moment, then a minute of quiet
        meter.full(second * 1000, float(second))
        meter.free(second + 0.5)
    told = meter.reading(600.0)
    assert told is not None and told.bytes_per_s is None and told.waiting_share < 0.05


def test_a_socket_that_stays_full_is_waited_for() -> None:
    meter = LinkMeter()
    meter.round_trip(0.1)
    meter.full(5000, 10.0)
    told = meter.reading(40.0)
    assert told is not None and told.waiting_share == 1.0


STEPS = st.lists(st.tuples(st.booleans(), st.integers(-5, 2**40), st.floats(-1e6, 1e9)), max_size=40)


@given(STEPS)
def test_whatever_the_clock_and_the_socket_do_figures_are_finite(steps: list[tuple[bool, int, float]]) -> None:
    meter = LinkMeter()
    meter.round_trip(0.05)
    for full, taken, now_s in steps:
        if full:
            meter.full(taken, now_s)
        else:
            meter.free(now_s)
    told = meter.reading(0.0)
    assert told is not None and 0.0 <= told.waiting_share <= 1.0
    assert told.bytes_per_s is None or (math.isfinite(told.bytes_per_s) and told.bytes_per_s >= 0.0)
