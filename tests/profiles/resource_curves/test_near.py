"""The next minutes: another forecast has as much say as it earned."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.forecast import LEVELS
from ghostdesk.profiles.resource_curves.near import NEAR_S, NearWeights

ADA = UserId("ada")


def around(middle: float, spread: float = 0.2) -> np.ndarray:
    """Quantiles of two resources."""
    return np.tile(middle * (1.0 + spread * (np.array(LEVELS) - 0.5)), (2, 1))


def lived(near: NearWeights, other: float, curve: float, actual: float, times: int = 60, start_s: float = 0.0) -> None:
    for hour in range(times):
        now_s = start_s + 3600.0 * hour
        near.foretell(ADA, now_s, around(other), around(curve))
        near.observe(ADA, 0, now_s + 30.0, actual * 0.9)
        near.observe(ADA, 0, now_s + 60.0, actual * 1.1)
    near.observe(ADA, 0, start_s + 3600.0 * times, actual)


def test_before_it_was_judged_it_has_no_say() -> None:
    near = NearWeights(2)
    lived(near, other=1.0, curve=3.0, actual=1.0, times=10)
    assert near.judged.tolist() == [10.0, 0.0]
    assert near.weights().tolist() == [0.0, 0.0]


def test_the_better_forecast_wins_for_the_resource_that_it_knows() -> None:
    near = NearWeights(2)
    lived(near, other=1.0, curve=3.0, actual=1.0)
    assert near.weights()[0] > 0.95
    assert near.weights()[1] == 0.0  # never measured, so never judged
    worse = NearWeights(2)
    lived(worse, other=3.0, curve=1.0, actual=1.0)
    assert worse.weights()[0] < 0.05


def test_it_changes_sides_when_the_other_turns_bad() -> None:
    near = NearWeights(2)
    lived(near, other=1.0, curve=3.0, actual=1.0)
    lived(near, other=9.0, curve=1.0, actual=1.0, times=150, start_s=1e6)
    assert near.weights()[0] < 0.05


def test_what_comes_late_or_from_before_judges_nothing_and_forgetting_drops_what_is_pending() -> None:
    near = NearWeights(2)
    near.foretell(ADA, 1000.0, around(1.0), around(2.0))
    near.observe(ADA, 0, 900.0, 5.0)
    near.observe(ADA, 0, 1001.0 + NEAR_S, 5.0)
    assert near.judged.tolist() == [0.0, 0.0]
    near.foretell(ADA, 5000.0, around(1.0), around(2.0))
    near.observe(ADA, 0, 5001.0, 1.0)
    near.forget(ADA)
    near.observe(ADA, 0, 6000.0, 1.0)
    assert near.judged.tolist() == [0.0, 0.0]


def test_a_forecast_that_is_no_number_is_not_judged() -> None:
    near = NearWeights(2)
    near.foretell(ADA, 0.0, np.full((2, len(LEVELS)), np.nan), around(1.0))
    near.observe(ADA, 0, 10.0, 1.0)
    near.observe(ADA, 0, 1000.0, 1.0)
    assert near.judged.tolist() == [0.0, 0.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e15), st.floats(0, 1e15), st.floats(0, 1e15)), max_size=60))
def test_weights_are_shares_whatever_comes(lives: list[tuple[float, float, float]]) -> None:
    near = NearWeights(2)
    for number, (other, curve, actual) in enumerate(lives):
        lived(near, other, curve, actual, times=1, start_s=1e5 * number)
    weights = near.weights()
    assert weights == pytest.approx(np.clip(weights, 0.0, 1.0))
