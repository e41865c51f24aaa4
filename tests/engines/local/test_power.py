"""Watts out of counters and sensors: wraps are made good, lies are not believed, and the model says that it is one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.local.power import (
    LEAST_INTERVAL_S,
    Covers,
    EnergyCounter,
    PowerLine,
    Sample,
    assumed_line,
    counter_power,
    judge,
    most_w,
    rapl_power,
)

LIMIT_W = 500.0
LINE = PowerLine(40.0, 120.0, "given")
RANGE_UJ = 262_143_328_850


def counter(energy_uj: int, time_s: float, name: str = "package-0", range_uj: int = RANGE_UJ) -> EnergyCounter:
    return EnergyCounter(name, energy_uj, range_uj, time_s)


def read(before: int, after: int, passed_s: float = 2.0, range_uj: int = RANGE_UJ) -> tuple[float | None, str]:
    return counter_power(counter(before, 10.0, range_uj=range_uj), counter(after, 10.0 + passed_s), LIMIT_W)


@given(
    st.integers(0, RANGE_UJ),
    st.floats(0.1, LIMIT_W - 1),
    st.floats(LEAST_INTERVAL_S + 0.01, 300.0),
)
def test_a_wrap_changes_nothing(start_uj: int, watts: float, passed_s: float) -> None:
    end_uj = (start_uj + round(watts * passed_s * 1e6)) % RANGE_UJ
    found, problem = read(start_uj, end_uj, passed_s)
    assert problem == ""
    assert found == pytest.approx(watts, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (read(100, 100), "stuck at 100 uJ for 2 s"),
        (read(0, 2_000_000_000), "1000 W is beyond what the machine can draw (500 W)"),
        (read(0, 50_000_000, 0.1), "read again too soon"),
        (read(0, 50_000_000, -5.0), "read again too soon"),
        (read(0, 50_000_000, 3600.0), "it can wrap more than once"),
        (counter_power(counter(900, 0.0, range_uj=0), counter(100, 2.0, range_uj=0), LIMIT_W), "went back from 900"),
        (counter_power(counter(900, 0.0, range_uj=500), counter(100, 0.9, range_uj=500), LIMIT_W), "went back"),
        # After a sleep the counter starts anew: that looks like a wrap of nearly the whole range.
        (read(1_000_000, 900_000), "beyond what the machine can draw"),
    ],
)
def test_what_a_counter_cannot_have_done_is_no_reading(found: tuple[float | None, str], said: str) -> None:
    assert found[0] is None
    assert said in found[1]


def zones(time_s: float, **microjoules: int) -> list[EnergyCounter]:
    names = {"p0": "package-0", "p1": "package-1", "core": "package-0/core", "dram": "package-0/dram", "psys": "psys"}
    return [counter(energy, time_s, names[name]) for name, energy in microjoules.items()]


def test_packages_and_memory_count_and_cores_do_not_count_twice() -> None:
    before = zones(0.0, p0=0, p1=0, core=0, dram=0)
    sample = rapl_power(before, zones(1.0, p0=60_000_000, p1=40_000_000, core=50_000_000, dram=5_000_000), LIMIT_W)
    assert (sample.power_w, sample.covers, sample.problem) == (105.0, Covers.PROCESSORS, "")


def test_the_platform_counts_when_it_is_not_less_than_its_parts() -> None:
    before = zones(0.0, p0=0, psys=0)
    whole = rapl_power(before, zones(1.0, p0=60_000_000, psys=90_000_000), LIMIT_W)
    assert (whole.power_w, whole.covers) == (90.0, Covers.HOST)
    liar = rapl_power(before, zones(1.0, p0=60_000_000, psys=9_000_000), LIMIT_W)
    assert (liar.power_w, liar.covers) == (60.0, Covers.PROCESSORS)
    assert "psys: 9 W is less than its parts draw (60 W)" in liar.problem


def test_a_zone_that_vanishes_or_sticks_is_told() -> None:
    before = zones(0.0, p0=0, p1=0, dram=0)
    gone = rapl_power(before, zones(1.0, p0=60_000_000, dram=1_000_000), LIMIT_W)
    assert gone.power_w == 61.0
    assert gone.problem == "package-1: gone"
    stuck = rapl_power(before, zones(1.0, p0=60_000_000, p1=0, dram=1_000_000), LIMIT_W)
    assert stuck.power_w is None
    assert "package-1: stuck" in stuck.problem
    no_memory = rapl_power(before, zones(1.0, p0=60_000_000, p1=1, dram=0), LIMIT_W)
    assert no_memory.source == "RAPL packages"


def host(watts: float | None, source: str = "IPMI", problem: str = "") -> Sample:
    return Sample(source, Covers.HOST, watts, problem)


def processors(watts: float) -> Sample:
    return Sample("RAPL packages", Covers.PROCESSORS, watts)


GPU = Sample("1 GPU(s)", Covers.GPUS, 70.0)


def test_the_whole_hosts_sensor_comes_first() -> None:
    reading = judge([processors(60.0), host(180.0), GPU], LINE, 0.5, LIMIT_W)
    assert (reading.power_w, reading.source, reading.modelled, reading.problem) == (180.0, "IPMI", False, "")


def test_parts_are_named_as_parts() -> None:
    reading = judge([processors(60.0), GPU], LINE, 0.5, LIMIT_W)
    assert (reading.power_w, reading.modelled) == (130.0, False)
    assert reading.source == "RAPL packages + 1 GPU(s) (not the rest of the host)"


def test_without_sensors_the_model_says_that_it_is_one() -> None:
    reading = judge([], LINE, 0.5, LIMIT_W)
    assert (reading.power_w, reading.modelled, reading.problem) == (80.0, True, "")
    assert reading.source == "model (given: 40 W idle, 120 W busy)"
    with_gpu = judge([GPU], LINE, 0.5, LIMIT_W)
    assert (with_gpu.power_w, with_gpu.modelled) == (150.0, True)


@pytest.mark.parametrize("watts", [math.nan, math.inf, -3.0, 65_535.0, 0.0])
def test_a_sensor_that_lies_is_named_and_the_model_answers(watts: float) -> None:
    reading = judge([host(watts)], LINE, 0.0, LIMIT_W)
    assert (reading.power_w, reading.modelled) == (40.0, True)
    assert "IPMI" in reading.problem and "cannot be true" in reading.problem


def test_sensors_that_disagree_are_not_believed() -> None:
    apart = judge([host(100.0), host(300.0, "Redfish")], LINE, 0.5, LIMIT_W)
    assert (apart.power_w, apart.modelled) == (80.0, True)
    assert apart.problem == "IPMI says 100 W and Redfish 300 W: neither is believed"
    near = judge([host(180.0), host(200.0, "Redfish")], LINE, 0.5, LIMIT_W)
    assert (near.power_w, near.problem) == (180.0, "")
    less_than_parts = judge([host(50.0), processors(160.0)], LINE, 0.5, LIMIT_W)
    assert (less_than_parts.power_w, less_than_parts.modelled) == (160.0, False)
    assert less_than_parts.problem == "IPMI: 50 W is less than its parts draw (160 W)"


def test_a_silent_sensors_reason_is_passed_on() -> None:
    assert judge([host(None, problem="no answer")], LINE, 0.0, LIMIT_W).problem == "IPMI: no answer"


@given(
    st.lists(
        st.builds(
            Sample,
            st.sampled_from(["a", "b"]),
            st.sampled_from(list(Covers)),
            st.none() | st.floats(allow_nan=True, allow_infinity=True),
        ),
        max_size=5,
    ),
    st.floats(allow_nan=True),
)
def test_whatever_sensors_say_there_is_a_believable_answer(samples: list[Sample], use: float) -> None:
    reading = judge(samples, LINE, use, LIMIT_W)
    assert 0 < reading.power_w <= LIMIT_W * (1 + len(samples)) + LINE.busy_w
    assert reading.source
    assert reading.modelled == reading.source.startswith("model")


def test_the_model_is_a_line_between_idle_and_busy() -> None:
    assert [LINE.power_w(use) for use in (-1.0, 0.0, 0.25, 1.0, 9.0, math.nan)] == [40, 40, 60, 120, 120, 40]
    small, large = assumed_line(2), assumed_line(64)
    assert 0 < small.idle_w < small.busy_w < large.busy_w
    assert "assumed for 64 cores" in large.source
    assert large.busy_w < most_w(64, 0) < most_w(64, 1)
