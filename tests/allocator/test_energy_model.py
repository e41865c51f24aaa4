"""A host's watts: the line, the break-even time of a sleep, and calibration against readings that lie."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.allocator.energy_model import DESKTOP_PC, HOST_TYPES, SERVER, HostPowerModel, UseReading, calibrated, kwh
from ghostdesk.ghosts.ghost import GhostState
from ghostdesk.kernel.resources import GIB


def readings(idle_w: float, slope_w: float, count: int = 200, noise_w: float = 1.0) -> list[UseReading]:
    rng = np.random.default_rng(3)
    use = rng.uniform(0.0, 1.0, count)
    power_w = idle_w + slope_w * use + rng.normal(0.0, noise_w, count)
    return [UseReading(float(u), float(w)) for u, w in zip(use, power_w, strict=True)]


def test_power_is_a_line_between_idle_and_busy() -> None:
    assert SERVER.power_w(0.0) == SERVER.idle_w
    assert SERVER.power_w(1.0) == SERVER.busy_w
    assert SERVER.power_w(0.5) == (SERVER.idle_w + SERVER.busy_w) / 2
    assert SERVER.power_w(7.0) == SERVER.busy_w
    assert SERVER.power_w(math.nan) == SERVER.idle_w


def test_every_kind_says_where_its_figures_are_from() -> None:
    assert all("assumed" in one.source and not one.measured for one in HOST_TYPES.values())


def test_a_sleep_of_the_break_even_time_costs_as_much_as_staying_idle() -> None:
    for model in (SERVER, DESKTOP_PC):
        asleep_s = model.break_even_s - model.suspend_time_s - model.wake_time_s
        slept_j = model.cycle_energy_j + model.suspended_w * asleep_s
        assert slept_j == pytest.approx(model.idle_w * model.break_even_s)


def test_a_host_that_saves_nothing_asleep_never_breaks_even() -> None:
    assert replace(SERVER, suspended_w=SERVER.idle_w).break_even_s == math.inf


@pytest.mark.parametrize(
    "wrong", [{"idle_w": 300.0}, {"suspended_w": -1.0}, {"busy_w": math.inf}, {"wake_time_s": math.nan}]
)
def test_impossible_watts_and_times_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="server"):
        replace(SERVER, **wrong)


def test_rungs_cost_by_what_they_hold() -> None:
    full = {"memory_bytes": 2.0 * GIB, "cpu_cores": 0.5, "cores": 8.0}
    assert SERVER.rung_w(GhostState.CACHED, **full) == 0.0
    assert SERVER.rung_w(GhostState.PARKED, memory_bytes=0.1 * GIB) < SERVER.rung_w(GhostState.WARM, **full)
    assert SERVER.rung_w(GhostState.WARM, **full) < SERVER.rung_w(GhostState.READY, **full)
    assert SERVER.rung_w(GhostState.READY, **full) == pytest.approx(2 * 0.392 + 120.0 * 0.5 / 8.0)


def test_calibration_finds_the_line() -> None:
    found = calibrated(SERVER, readings(87.0, 55.0))
    assert not found.problem
    assert found.model.measured
    assert found.model.idle_w == pytest.approx(87.0, abs=1.0)
    assert found.model.busy_w == pytest.approx(142.0, abs=1.0)
    assert found.model.wake_time_s == SERVER.wake_time_s


def test_readings_that_lie_are_dropped() -> None:
    lies = [UseReading(0.5, w) for w in (0.0, -4.0, math.nan, 65_535.0, 1e9)] + [
        UseReading(u, 900.0) for u in (0.1, 0.9)
    ]
    found = calibrated(SERVER, [*readings(87.0, 55.0), *lies])
    assert found.dropped >= len(lies)
    assert found.model.idle_w == pytest.approx(87.0, abs=1.0)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ([], "0 sound readings"),
        ([UseReading(0.3, 90.0 + k % 3) for k in range(40)], "hardly moved"),
        (readings(140.0, -50.0), "falls as use grows"),
    ],
)
def test_what_cannot_be_fitted_leaves_the_model_and_says_why(told: list[UseReading], why: str) -> None:
    found = calibrated(SERVER, told)
    assert found.model is SERVER
    assert why in found.problem


@given(
    st.lists(
        st.builds(UseReading, st.floats(allow_nan=True), st.floats(allow_nan=True)) | st.builds(
            UseReading, st.floats(0.0, 1.0), st.floats(1.0, 500.0)), max_size=40)
)  # fmt: skip
def test_calibration_never_breaks_a_model(told: list[UseReading]) -> None:
    found = calibrated(SERVER, told)
    assert isinstance(found.model, HostPowerModel)
    assert found.kept + found.dropped == len(told)
    assert bool(found.problem) != found.model.measured


def test_joules_as_kilowatt_hours() -> None:
    assert kwh(7_200_000.0) == 2.0
