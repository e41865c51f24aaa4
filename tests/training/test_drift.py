"""Drift: quiet on what was promised, quick on what changed, and never upset by odd numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.training.drift import DriftWatch, population_stability, reference_shares

REFERENCE = {"mail": 0.5, "editor": 0.3}


def _watched(losses: np.ndarray, apps: list[str], promised: float = 1.5) -> DriftWatch:
    watch = DriftWatch(promised, REFERENCE)
    for loss, app in zip(losses, apps, strict=True):
        watch.observe(app, float(loss))
    return watch


def _apps(rng: np.random.Generator, count: int, shares: tuple[float, float, float]) -> list[str]:
    return [str(app) for app in rng.choice(["mail", "editor", "rare"], size=count, p=shares)]


@pytest.mark.parametrize("seed", range(5))
def test_what_was_promised_raises_no_alarm_in_a_hundred_thousand_steps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    losses = rng.gamma(0.6, 2.5, 100_000)  # mean 1.5 nats and a long tail, as losses have
    report = _watched(losses, _apps(rng, 100_000, (0.5, 0.3, 0.2))).report()
    assert not report.drifted
    assert report.stability < 0.01
    assert "holds" in report.words


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_rises_is_found_within_some_thousand_steps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    losses = np.concatenate((rng.gamma(0.6, 2.5, 20_000), rng.gamma(0.6, 2.5, 5_000) + 0.4))
    report = _watched(losses, _apps(rng, 25_000, (0.5, 0.3, 0.2))).report()
    assert report.loss_drifted
    assert "Train again" in report.words


def test_a_loss_that_falls_is_no_drift() -> None:
    assert not _watched(np.full(30_000, 0.2), ["mail"] * 15_000 + ["editor"] * 15_000).report().loss_drifted


def test_a_new_application_that_takes_over_is_found_by_the_shares_alone() -> None:
    rng = np.random.default_rng(1)
    report = _watched(np.full(20_000, 1.5), _apps(rng, 20_000, (0.1, 0.1, 0.8))).report()
    assert report.use_moved and not report.loss_drifted
    assert "other applications" in report.words


def test_without_steps_nothing_is_claimed() -> None:
    report = DriftWatch(1.0, REFERENCE).report()
    assert math.isnan(report.loss) and math.isnan(report.stability)
    assert not report.drifted


def test_the_index_is_zero_for_equal_shares_and_the_textbook_value_for_others() -> None:
    assert population_stability({"a": 0.25, "b": 0.75}, {"a": 25.0, "b": 75.0}) == pytest.approx(0.0, abs=1e-9)
    expected = (0.5 - 0.25) * math.log(0.5 / 0.25) + (0.5 - 0.75) * math.log(0.5 / 0.75)
    assert population_stability({"a": 0.25, "b": 0.75}, {"a": 1.0, "b": 1.0}) == pytest.approx(expected, abs=1e-3)


def test_applications_of_few_people_are_not_named() -> None:
    shares = reference_shares({"mail": (60, 9), "secret": (40, 2)})
    assert shares == {"mail": 0.6}


@given(st.lists(st.tuples(st.sampled_from(["mail", "editor", "x", ""]), st.floats(allow_nan=True)), max_size=200))
def test_any_numbers_give_a_report_with_bounded_figures(steps: list[tuple[str, float]]) -> None:
    watch = DriftWatch(1.0, REFERENCE)
    for app, loss in steps:
        watch.observe(app, loss)
    report = watch.report()
    assert report.steps == sum(not math.isnan(loss) for _, loss in steps)
    assert report.steps == 0 or 0.0 <= report.loss <= 13.8 + 1e-9
    assert report.climb >= 0.0
