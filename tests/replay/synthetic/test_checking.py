"""Synthetic histories have the figures of the recorded sets: those that are shipped, and the sets themselves."""

import lzma
import os
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ghostdesk.replay.synthetic.checking import GROUPS, compare, synthetic_figures
from ghostdesk.replay.synthetic.figures_apps import app_figures
from ghostdesk.replay.synthetic.figures_resources import hourly_means, resource_figures
from ghostdesk.replay.synthetic.figures_starts import Figures, start_figures
from ghostdesk.replay.synthetic.measuring import (
    measure_apps,
    measure_desktops,
    measure_people,
    measure_resources,
    read_terms,
)
from ghostdesk.replay.synthetic.parameters import parse_parameters, shipped

DATA = Path(os.environ.get("GHOSTDESK_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
recorded = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded sets are not there")


@cache
def made() -> dict[str, Figures]:
    return synthetic_figures(shipped(), seed=11)  # another than the settings were fitted with


@pytest.mark.parametrize("group", GROUPS)
def test_a_synthetic_history_has_the_shipped_figures(group: str) -> None:
    found = compare({group: shipped().measured[group]}, made())
    assert len(found) >= 4
    wrong = [
        f"{one.name}: {one.measured:.3f} recorded, {one.synthetic:.3f} synthetic" for one in found if not one.agrees
    ]
    assert not wrong


def agree(group: str, measured: Figures, most_wrong: int = 0) -> None:
    found = compare({group: measured}, made())
    wrong = [
        f"{one.name}: {one.measured:.3f} recorded, {one.synthetic:.3f} synthetic" for one in found if not one.agrees
    ]
    assert len(found) >= 4 and len(wrong) <= most_wrong, wrong


@recorded
def test_applications_and_people_agree_with_the_recorded_sets() -> None:
    agree("apps", measure_apps(DATA / "next-app" / "macos-desktops.csv.xz").figures)
    agree("people", measure_people(DATA / "user-activity" / "activity.csv.xz").figures)


@recorded
def test_desktops_agree_with_a_later_year_than_they_were_fitted_to(tmp_path: Path) -> None:
    path = tmp_path / "2016.csv"
    with lzma.open(DATA / "desktop-sessions" / "states-2013-2016.csv.xz", "rt") as whole, path.open("w") as year:
        year.write(next(whole))
        year.writelines(line for line in whole if line.endswith("\n") and ",2016-" in line)
    found = measure_desktops(path, DATA / "desktop-sessions" / "semesters.csv", None)
    agree("desktop-starts", found.figures, most_wrong=1)  # that summer was quieter than those before


@recorded
def test_resources_agree_with_some_of_the_recorded_machines(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(DATA / "resource-usage" / "vms-2013-08.parquet")
    names = table.column("vm").to_pylist()
    kept = set(sorted(set(names))[::3])
    path = tmp_path / "some.parquet"
    parquet.write_table(table.filter([name in kept for name in names]), path)
    agree("resources", measure_resources(path).figures, most_wrong=2)  # a third of the machines


def test_terms_with_a_mistyped_year_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "terms.csv"
    path.write_text("name,start,end\nA,1/9/12,5/2/11\nB,1/14/13,5/8/13\n")
    assert read_terms(path) == ((date(2013, 1, 14), date(2013, 5, 8)),)


def test_figures_of_too_little_are_refused() -> None:
    with pytest.raises(ValueError, match="three weeks"):
        start_figures([])
    with pytest.raises(ValueError, match="1500 steps"):
        app_figures([["a", "b"] * 700])
    with pytest.raises(ValueError, match="60 hours"):
        resource_figures({"cpu": np.full((2, 30), 1.0)})


def test_figures_of_applications_of_known_sequences() -> None:
    found = app_figures([["a", "b"] * 750])
    assert (found["apps"], found["recency_rank_2"], found["hr1_recent"], found["hr1_markov"]) == (
        2.0,
        1498 / 1500,
        1.0,
        1.0,
    )
    assert found["entropy_bits"] == pytest.approx(0.0, abs=0.05)
    with_repeats = app_figures([[app for app in ["a", "b"] * 750 for _ in range(3)]])
    assert with_repeats == found
    rng = np.random.default_rng(1)
    step = np.cumsum(rng.integers(1, 8, 1500)) % 8
    even = app_figures([[str(app) for app in step.tolist()]])
    assert even["entropy_bits"] == pytest.approx(np.log2(7), abs=0.45)
    assert even["recency_rank_2"] == pytest.approx(1 / 7, abs=0.03)
    assert even["zipf_exponent"] == pytest.approx(0.0, abs=0.15)


def test_figures_of_resources_of_known_series() -> None:
    rng, hours = np.random.default_rng(2), 24 * 40
    daily = np.tile(rng.normal(size=24), 40)
    one = np.exp(daily + 0.01 * rng.normal(size=hours))
    found = resource_figures({"cpu": one[None, :], "memory": (1.0 / one)[None, :]})
    assert found["cpu_autocorrelation_24h"] == pytest.approx(1.0, abs=0.05)
    assert found["rank_correlation_cpu_memory"] == pytest.approx(-1.0, abs=0.01)
    noise = resource_figures({"cpu": np.exp(rng.normal(size=(9, hours)))})
    assert noise["cpu_autocorrelation_1h"] == pytest.approx(0.0, abs=0.05)
    means = hourly_means(np.array([0, 0, 1]), np.array([10.0, 20.0, 3700.0]), np.array([1.0, 3.0, 5.0]), 2, 2, 0.0)
    assert means[0, 0] == 2.0 and means[1, 1] == 5.0 and np.isnan(means[0, 1]) and np.isnan(means[1, 0])


def test_what_is_shipped_is_figures_only_and_says_what_of() -> None:
    parameters = shipped()
    assert set(parameters.about) == set(parameters.measured) == set(GROUPS)
    assert all("measured 20" in said for said in parameters.about.values())
    assert len(parameters.table("desktop-starts", "hour_of_week")) == 168
    numbers = [
        value for group in parameters.measured.values() for value in group.values() if not isinstance(value, list)
    ]
    assert np.isfinite(numbers).all() and np.isfinite(list(parameters.fitted.values())).all()
    with pytest.raises(ValueError, match="is missing"):
        parse_parameters('{"measured": {}, "fitted": {}, "about": {}}')


def test_the_starts_of_a_known_process_have_its_dispersion() -> None:
    from ghostdesk.evaluate.arrivals_timeline import RowUse

    rng = np.random.default_rng(3)
    start_s = np.sort(rng.uniform(4 * 86_400, 4 * 86_400 + 40 * 7 * 86_400, 120_000))
    row = RowUse("one", start_s, start_s + 1.0, np.zeros(len(start_s)), float(start_s[-1]))
    found = start_figures([row])
    assert found["dispersion_10_min"] == pytest.approx(1.0, abs=0.08)
    together = np.repeat(np.sort(rng.choice(start_s, 40_000, replace=False)), 3)
    found = start_figures([RowUse("one", together, together + 1.0, np.zeros(len(together)), float(together[-1]))])
    assert found["dispersion_10_min"] == pytest.approx(3.0, abs=0.25)
