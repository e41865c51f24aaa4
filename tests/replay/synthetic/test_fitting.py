"""The search for settings."""

import math
from dataclasses import replace

import pytest

from ghostdesk.replay.synthetic.fitting import SETTINGS, fit, misfit
from ghostdesk.replay.synthetic.parameters import shipped


def test_misfit_counts_what_both_have_in_units_of_what_is_allowed() -> None:
    measured = {"apps": 20.0, "top_1_share": 0.4, "sequences": 60.0, "hour_of_week": [0.5, 0.5], "only_here": 1.0}
    assert misfit(measured, {"apps": 20.0, "top_1_share": 0.4, "sequences": 1.0, "hour_of_week": [1.0, 0.0]}) == 0.0
    assert misfit(measured, {"apps": 25.0, "top_1_share": 0.4}) == pytest.approx(0.5)
    assert misfit(measured, {"apps": 1e9, "top_1_share": 0.4}) == pytest.approx(8.0)  # one that is far off is not all


def test_a_setting_that_is_far_off_is_moved_nearer_and_no_other_groups() -> None:
    off = replace(shipped(), fitted={**shipped().fitted, "start_spread_hours": 0.3, "long_break_chance": 0.7})
    told = list[float]()
    found = fit(off, "people", rounds=4, seed=1, tell=lambda _, best: told.append(best))
    assert len(told) == 4 and told == sorted(told, reverse=True) and told[-1] < told[0] + 1e-9
    changed = {name for name, value in found.fitted.items() if value != off.fitted[name]}
    assert changed and changed <= set(SETTINGS["people"])
    assert 0.0 <= found.fitted["long_break_chance"] <= 1.0 and math.isfinite(found.fitted["start_spread_hours"])
