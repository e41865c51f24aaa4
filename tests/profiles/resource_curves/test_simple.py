"""The simple predictors: what each says of a series whose future is known, and of rubbish."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ghostdesk.profiles.forecast import LEVELS
from ghostdesk.profiles.resource_curves.experts import EXPERTS, SIMPLE, expert_quantiles
from ghostdesk.profiles.resource_curves.mean_of_three import MeanOfThree
from ghostdesk.profiles.resource_curves.model import CurveModel
from ghostdesk.profiles.resource_curves.persistence import Persistence
from ghostdesk.profiles.resource_curves.persistence_residuals import PersistenceResiduals
from ghostdesk.profiles.resource_curves.quantiles import last_known, quantiles_of
from ghostdesk.profiles.resource_curves.recent_hours import RecentHours
from ghostdesk.profiles.resource_curves.same_hour import SameHour
from ghostdesk.profiles.resource_curves.seasonal_naive import SeasonalNaive
from ghostdesk.profiles.resource_curves.seasonal_steps import SeasonalSteps

MEDIAN = LEVELS.index(0.5)
DAILY = np.tile(np.arange(24, dtype=np.float32), 7)[None]
"""A week in which each hour holds its own number: the next hour is hour 0."""

windows = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.just(168)),
    elements=st.one_of(st.just(float("nan")), st.just(0.0), st.floats(0, 2.0**40, width=32)),
    fill=st.one_of(st.just(float("nan")), st.just(0.0), st.just(3.5)),
)


@settings(max_examples=60, deadline=None)
@given(windows, st.sampled_from([1, 12, 13, 48]))
def test_every_forecast_rises_along_the_levels_and_is_never_negative(window, horizon_h):
    known = ~np.isnan(window).all(axis=1)
    for predictor in (*SIMPLE, *EXPERTS):
        found = predictor.quantiles(window, horizon_h)
        assert found.shape == (len(window), horizon_h, len(LEVELS))
        assert np.isfinite(found[known]).all(), predictor.name
        assert np.isnan(found[~known]).all(), predictor.name
        assert (found[known] >= 0).all(), predictor.name
        slack = 1e-5 * np.abs(found[known]).max(initial=0.0)  # float32: a * (1 - s) + b * s
        assert (np.diff(found[known], axis=-1) >= -slack).all(), predictor.name
    assert np.isfinite(expert_quantiles(window, horizon_h)).all()
    assert (np.diff(CurveModel.untrained().quantiles(window, np.zeros(len(window)), horizon_h), axis=-1) >= 0).all()


@given(hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-1e6, 1e6, width=32)), st.integers(0, 10))
def test_quantiles_with_missing_values_are_those_of_the_rest(values, missing):
    with_gaps = np.concatenate([values, np.full(missing, np.nan, dtype=np.float32)])
    expected = np.quantile(values.astype(np.float64), LEVELS)
    assert quantiles_of(with_gaps) == pytest.approx(expected, rel=1e-4, abs=1e-2 + 1e-6 * float(np.abs(values).max()))


def test_the_last_known_value_skips_gaps():
    window = np.array([[1.0, 2.0, np.nan], [np.nan, np.nan, np.nan]], dtype=np.float32)
    assert last_known(window)[0] == 2.0
    assert np.isnan(last_known(window)[1])


def test_persistence_repeats_the_last_hour():
    assert (Persistence().quantiles(DAILY) == 23.0).all()


def test_seasonal_naive_repeats_yesterday_also_past_a_day():
    found = SeasonalNaive().quantiles(DAILY, 48)
    assert found[0, :, MEDIAN].tolist() == [*range(24), *range(24)]


def test_same_hour_quantiles_know_each_hour_and_last_day_quantiles_do_not():
    assert SameHour().quantiles(DAILY)[0, :, MEDIAN].tolist() == list(range(12))
    assert SameHour(7, spread_h=1).quantiles(DAILY)[0, 5, [0, -1]].tolist() == [4.0, 6.0]
    assert RecentHours(24).quantiles(DAILY)[0, :, MEDIAN].tolist() == [11.5] * 12


def test_residual_quantiles_widen_with_the_lead():
    walk = np.abs(100 + np.cumsum(np.random.default_rng(0).standard_normal((1, 168)), axis=1)).astype(np.float32)
    found = PersistenceResiduals().quantiles(walk)
    width = found[0, :, LEVELS.index(0.9)] - found[0, :, LEVELS.index(0.1)]
    assert width[11] > 1.5 * width[0]


def test_seasonal_steps_follow_the_day_from_the_present_level():
    found = SeasonalSteps().quantiles(DAILY + 5.0)[0, :, MEDIAN]
    assert found.tolist() == [28.0 - 23.0 + hour for hour in range(12)]


def test_the_mean_of_three_is_their_mean():
    parts = [SameHour(), RecentHours(), PersistenceResiduals()]
    expected = sum(part.quantiles(DAILY) for part in parts) / 3
    assert MeanOfThree().quantiles(DAILY) == pytest.approx(expected)


def test_gaps_fall_back_on_what_is_known():
    window = np.full((1, 168), np.nan, dtype=np.float32)
    window[0, 10] = 7.0
    for predictor in (*SIMPLE, *EXPERTS):
        assert (predictor.quantiles(window) == 7.0).all(), predictor.name
