"""The model: its gradient, what it learns, its form on disk, and what it does with foreign or odd input."""

import dataclasses
import json

import numpy as np
import pytest

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.profiles.forecast import LEVELS
from ghostdesk.profiles.resource_curves.experts import SIMPLE, expert_quantiles
from ghostdesk.profiles.resource_curves.features import FEATURES, features_of
from ghostdesk.profiles.resource_curves.gate import GateShape, forward, gradient, mixed, new_parameters
from ghostdesk.profiles.resource_curves.model import CurveModel
from ghostdesk.profiles.resource_curves.training import CurveTraining, pool_scale_of, train_curves

QUICK = CurveTraining(members=1, rows=3000)


def workdays(series: int, days: int, seed: int = 0) -> np.ndarray:
    """Made up: work from 8 to 18 h at a level of each day, quiet nights; shape (series, hours)."""
    rng = np.random.default_rng(seed)
    hours = np.arange(24 * days)
    busy = ((hours % 24 >= 8) & (hours % 24 < 18)).astype(float)
    level = np.repeat(rng.gamma(4.0, 0.25, (series, days)), 24, axis=1)
    size = rng.lognormal(2.0, 1.0, (series, 1))
    return (size * (0.05 + busy * level) * rng.gamma(20.0, 0.05, (series, hours.size))).astype(np.float32)


def loss(actual: np.ndarray, quantiles: np.ndarray) -> float:
    error = actual[..., None] - quantiles
    levels = np.asarray(LEVELS)
    return float(np.maximum(levels * error, (levels - 1) * error).sum() / np.abs(actual).sum())


def test_the_gradient_is_the_slope_of_the_loss():
    rng = np.random.default_rng(1)
    shape = GateShape(experts=3, hours=2, levels=4, hidden=5, features=6)
    p = {
        name: value.astype(np.float64)
        for name, value in new_parameters(shape, rng, np.zeros(6, np.float32), np.ones(6, np.float32)).items()
    }
    for name in ("hours", "levels", "correction"):
        p[name] = rng.standard_normal(p[name].shape)
    features, experts = rng.standard_normal((7, 6)), rng.gamma(2.0, 1.0, (7, 3, 2, 4))
    slope = rng.standard_normal((7, 2, 4))
    found = gradient(p, forward(p, shape, features, experts, None), experts, slope)
    for name, by in found.items():
        place = tuple(int(rng.integers(n)) for n in p[name].shape)
        ends = []
        for step in (1e-5, -1e-5):
            moved = {**p, name: p[name].copy()}
            moved[name][place] += step
            ends.append(float((forward(moved, shape, features, experts, None).quantiles * slope).sum()))
        assert by[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-6), name


def test_serving_computes_what_training_computed():
    rng = np.random.default_rng(2)
    window = workdays(5, 7)
    features, scale = features_of(window, np.zeros(5), 1.0), np.full(5, 2.0, np.float32)
    experts = expert_quantiles(window)
    shape = GateShape(len(experts), 12, len(LEVELS))
    p = new_parameters(shape, rng, features.mean(axis=0), features.std(axis=0) + np.float32(0.1))
    p["hours"], p["levels"] = p["hours"] * 10, p["levels"] * 10
    trained = forward(p, shape, features, experts.transpose(1, 0, 2, 3) / 2.0, None).quantiles * 2.0
    assert mixed(p, shape, features, experts, scale) == pytest.approx(trained, rel=1e-4, abs=1e-4)


def test_the_trained_model_beats_every_simple_predictor_and_covers():
    hourly = workdays(60, 28)
    model = train_curves(hourly[:, : 24 * 21], 0, CurveTraining(members=1, rows=8000, rate=3e-3, epochs=8))
    origins = range(24 * 21, 24 * 28 - 12, 7)
    window = np.concatenate([hourly[:, o - 168 : o] for o in origins])
    actual = np.concatenate([hourly[:, o : o + 12] for o in origins])
    hour = np.repeat(np.array([o % 168 for o in origins], dtype=np.float64), 60)
    found = model.quantiles(window, hour)
    assert loss(actual, found) < 0.95 * min(loss(actual, p.quantiles(window)) for p in SIMPLE)
    for nominal, low, high in ((0.5, 0.25, 0.75), (0.8, 0.1, 0.9), (0.95, 0.025, 0.975)):
        inside = (actual >= found[..., LEVELS.index(low)]) & (actual <= found[..., LEVELS.index(high)])
        assert inside.mean() == pytest.approx(nominal, abs=0.06)


def test_the_same_seed_trains_the_same_model_and_another_seed_another():
    hourly = workdays(8, 10)
    first, same, other = (
        train_curves(hourly, 0, dataclasses.replace(QUICK, epochs=1, seed=seed)).members[0]["w1"] for seed in (3, 3, 4)
    )
    assert (first == same).all()
    assert (first != other).any()


def test_one_enormous_user_hardly_moves_what_is_forecast_for_the_others():
    hourly = workdays(40, 14)
    poisoned = hourly.copy()
    poisoned[0] = 1e12 * (np.arange(hourly.shape[1]) % 2)
    window, hour = hourly[1:, -168:], np.zeros(39)
    clean = train_curves(hourly, 0, QUICK)
    hit = train_curves(poisoned, 0, QUICK)
    assert hit.pool_scale < 2 * clean.pool_scale
    assert loss(hourly[1:, -12:], hit.quantiles(window, hour)) < 1.5 * loss(
        hourly[1:, -12:], clean.quantiles(window, hour)
    )


@pytest.mark.parametrize(
    "hourly",
    [
        np.zeros((0, 0), np.float32),
        np.zeros((3, 0), np.float32),
        np.full((2, 500), np.nan, np.float32),
        np.ones((1, 30), np.float32),
    ],
)
def test_too_little_history_gives_the_untrained_model(hourly):
    model = train_curves(hourly, 0, QUICK)
    assert model.members == ()
    assert (model.quantiles(np.full((1, 168), 2.0, np.float32), np.zeros(1)) == 2.0).all()


@pytest.mark.parametrize("value", [0.0, 1e-9, 5.0, 1e12])
def test_a_constant_series_is_forecast_as_itself(value):
    hourly = np.full((4, 400), value, np.float32)
    found = train_curves(hourly, 0, QUICK).quantiles(hourly[:, -168:], np.zeros(4))
    assert np.isfinite(found).all()
    assert found[..., LEVELS.index(0.5)] == pytest.approx(value, rel=0.2, abs=1e-4)


def test_a_window_without_anything_gives_nothing():
    hourly = workdays(10, 14)
    model = train_curves(hourly, 0, QUICK)
    assert (model.quantiles(np.full((2, 168), np.nan, np.float32), np.zeros(2)) == 0.0).all()
    assert model.quantiles(np.zeros((0, 168), np.float32), np.zeros(0)).shape == (0, 12, len(LEVELS))


def test_hours_past_the_gate_are_forecast_too():
    hourly = workdays(10, 14)
    found = train_curves(hourly, 0, QUICK).quantiles(hourly[:, -168:], np.zeros(10), 48)
    assert found.shape == (10, 48, len(LEVELS))
    assert (np.diff(found, axis=-1) >= 0).all()


def test_a_stored_model_forecasts_the_same():
    hourly = workdays(10, 14)
    model = train_curves(hourly, 0, QUICK)
    header, arrays = model.to_arrays()
    again = CurveModel.from_arrays(json.loads(json.dumps(header)), arrays)
    window = hourly[:, -168:]
    assert (again.quantiles(window, np.zeros(10)) == model.quantiles(window, np.zeros(10))).all()


def damaged(kind):
    header, arrays = train_curves(workdays(10, 14), 0, dataclasses.replace(QUICK, epochs=1)).to_arrays()
    name = "0.w2"
    match kind:
        case "empty header":
            header = {}
        case "other experts":
            header["experts"] = ["oracle"]
        case "other features":
            header["features"] = FEATURES + 1
        case "no scale":
            header["pool_scale"] = float("nan")
        case "huge":
            header["members"] = 10**9
        case "missing":
            del arrays[name]
        case "cut short":
            arrays[name] = arrays[name][:-1]
        case "not a number":
            arrays[name] = arrays[name] * np.nan
        case "zero deviation":
            arrays["0.deviation"] = arrays["0.deviation"] * 0
    return header, arrays


@pytest.mark.parametrize(
    "kind",
    [
        "empty header", "other experts", "other features", "no scale", "huge",
        "missing", "cut short", "not a number", "zero deviation",
    ],
)  # fmt: skip
def test_a_foreign_or_damaged_model_is_refused(kind):
    header, arrays = damaged(kind)
    with pytest.raises(ConfigError, match="model of usage curves"):
        CurveModel.from_arrays(header, arrays)


def test_the_pool_scale_is_what_is_usual():
    assert pool_scale_of(np.array([[0.0], [1.0], [1.0], [1e12]], np.float32)) < 1e12
    assert pool_scale_of(np.zeros((3, 4), np.float32)) == 1.0
    assert pool_scale_of(np.full((3, 4), np.nan, np.float32)) == 1.0
