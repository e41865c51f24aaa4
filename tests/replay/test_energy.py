"""Energy of a replayed fleet: by hand, and always marked as modelled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.allocator.energy_model import SERVER
from ghostdesk.replay.energy import ACTIVE_USE, DESKTOPS_A_SERVER, fleet_energy
from ghostdesk.replay.history import Window
from ghostdesk.replay.metrics import CostModel
from ghostdesk.replay.recorder import Phase, Recording

HOUR = 3_600.0
WINDOW = Window(0.0, 24 * HOUR)
NO_TIMES = np.zeros(0)
NONE = np.zeros(0, dtype=np.int64)


def recording(*changes: tuple[float, Phase, Phase]) -> Recording:
    return Recording(
        np.array([one[0] for one in changes]),
        np.array([int(one[1]) for one in changes], dtype=np.int64),
        np.array([int(one[2]) for one in changes], dtype=np.int64),
        NO_TIMES, NO_TIMES, NO_TIMES, NONE,
    )  # fmt: skip


def test_one_desktop_in_use_for_six_hours_of_a_day() -> None:
    told = recording((9 * HOUR, Phase.GONE, Phase.ACTIVE), (15 * HOUR, Phase.ACTIVE, Phase.GONE))
    found = fleet_energy([(told, WINDOW)], 1, CostModel())
    share_w, work_w = SERVER.idle_w / DESKTOPS_A_SERVER, ACTIVE_USE * SERVER.slope_w / DESKTOPS_A_SERVER
    asleep_w = SERVER.suspended_w / DESKTOPS_A_SERVER
    assert found.always_on_kwh == pytest.approx((24 * share_w + 6 * work_w) / 1000)
    assert found.as_run_kwh == pytest.approx((6 * share_w + 18 * asleep_w + 6 * work_w) / 1000)
    assert found.saved_share == pytest.approx(1 - found.as_run_kwh / found.always_on_kwh)
    assert found.modelled
    assert "assumed" in found.model


def test_too_many_ghosts_cost_more_than_always_on() -> None:
    ghosts = [(0.0, Phase.GONE, Phase.READY)] * 5
    assert fleet_energy([(recording(*ghosts), WINDOW)], 1, CostModel()).saved_share < 0.0


def test_parts_come_to_the_whole() -> None:
    told = recording((9 * HOUR, Phase.GONE, Phase.ACTIVE), (15 * HOUR, Phase.ACTIVE, Phase.GONE))
    halves = [(told, Window(0.0, 12 * HOUR)), (told, Window(12 * HOUR, 24 * HOUR))]
    whole, parts = fleet_energy([(told, WINDOW)], 3, CostModel()), fleet_energy(halves, 3, CostModel())
    assert parts.as_run_kwh == pytest.approx(whole.as_run_kwh)
    assert parts.always_on_kwh == pytest.approx(whole.always_on_kwh)


@given(st.lists(st.floats(0.0, 23.0 * HOUR), max_size=8), st.integers(0, 8))
def test_nothing_is_saved_beyond_what_sleep_itself_draws(starts_s: list[float], desktops: int) -> None:
    told = recording(*((start_s, Phase.GONE, Phase.ACTIVE) for start_s in sorted(starts_s)))
    found = fleet_energy([(told, WINDOW)], desktops, CostModel())
    assert found.saved_share <= 1 - SERVER.suspended_w / SERVER.idle_w + 1e-9
