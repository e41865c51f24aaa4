"""`evaluate curves` on whole files: sane ones, odd ones, and the recorded ones where they are at hand."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from ghostdesk.cli.evaluate_curves import curves
from ghostdesk.evaluate.curves import MODEL, UNSEEN, CurveReport, evaluate_curves, levels_around, scored_hours
from ghostdesk.evaluate.curves_hours import HourlyUsage, hourly_usage
from ghostdesk.evaluate.metrics import weighted_quantile_loss
from ghostdesk.evaluate.readers import read_resources
from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.profiles.forecast import LEVELS
from ghostdesk.profiles.resource_curves.experts import SIMPLE
from ghostdesk.profiles.resource_curves.training import CurveTraining, train_curves

DATA = Path(os.environ.get("GHOSTDESK_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
RECORDED = DATA / "resource-usage" / "vms-2013-08.parquet"
QUICK = CurveTraining(members=1, rows=2000, epochs=2)
START = 1_600_000_200
EVERY_S = 1800


def rows_of(machines: int = 4, days: int = 20, seed: int = 0) -> list[str]:
    """Made up: every half hour, busy by day and quiet by night."""
    rng = np.random.default_rng(seed)
    lines = []
    for machine in range(machines):
        for step in range(days * 86_400 // EVERY_S):
            time_s = START + step * EVERY_S
            busy = 8 <= time_s // 3600 % 24 < 18
            lines.append(f"vm{machine},{time_s},{(20 if busy else 2) * rng.gamma(9, 0.11):.3f},{rng.gamma(2, 50):.1f}")
    return lines


def file_of(folder: Path, lines: list[str], header: str = "vm,time_s,cpu_pct,mem_used_mib") -> Path:
    path = folder / "usage.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def reports_of(path: Path, **options) -> list[CurveReport]:
    return evaluate_curves(hourly_usage(read_resources(path)), options=QUICK, **options)


def test_every_predictor_is_scored_on_every_resource(tmp_path):
    cpu, memory = reports_of(file_of(tmp_path, rows_of()))
    assert (cpu.resource, memory.resource) == ("cpu_pct", "mem_used_mib")
    assert {one.predictor for one in cpu.scores} == {MODEL, *(p.name for p in SIMPLE)}
    losses = [one.weighted_quantile_loss for one in cpu.scores]
    assert losses == sorted(losses)
    assert cpu.machines == 4
    assert cpu.forecasts == 4 * (cpu.scored_hours - 11)
    by_name = {one.predictor: one for one in cpu.scores}
    assert by_name["same-hour quantiles, 7 days"].weighted_quantile_loss < 0.3
    assert by_name["persistence"].weighted_quantile_loss > 0.5
    assert by_name[MODEL].interval is not None


def test_means_are_of_the_hour_and_gaps_stay_gaps(tmp_path):
    lines = ["a,3600,1", "a,3900,3", "a,10800,7", "b,7200,5"]
    usage = hourly_usage(read_resources(file_of(tmp_path, lines, "vm,time_s,cpu_pct")))
    found = usage.amounts["cpu_pct"]
    assert usage.first_hour == 1
    assert found.shape == (2, 3)
    assert found[0, [0, 2]].tolist() == [2.0, 7.0]
    assert np.isnan(found[[0, 1, 1], [1, 0, 2]]).all()
    assert found[1, 1] == 5.0


def test_the_score_is_that_of_a_model_that_never_saw_the_scored_days(tmp_path):
    usage = hourly_usage(read_resources(file_of(tmp_path, rows_of())))
    hourly, first_hour = usage.amounts["cpu_pct"], usage.first_hour
    split = usage.hours - scored_hours(usage.hours)
    model = train_curves(hourly[:, :split], first_hour, QUICK)
    actual, found = [], []
    for origin in range(split, usage.hours - 11):
        hour = np.full(len(hourly), (first_hour + origin) % 168, dtype=np.float64)
        found.append(model.quantiles(hourly[:, origin - 168 : origin], hour))
        actual.append(hourly[:, origin : origin + 12])
    deciles = [LEVELS.index(level / 10) for level in range(1, 10)]
    expected = weighted_quantile_loss(np.array(actual), np.array(found)[..., deciles])
    report = evaluate_curves(usage, options=QUICK)[0]
    scored = next(one for one in report.scores if one.predictor == MODEL)
    assert scored.weighted_quantile_loss == pytest.approx(expected, rel=1e-6)


def test_unseen_machines_are_forecast_by_models_of_others(tmp_path):
    report = reports_of(file_of(tmp_path, rows_of()), folds=2)[0]
    unseen = next(one for one in report.scores if one.predictor == UNSEEN)
    assert 0 < unseen.weighted_quantile_loss < 0.5


@pytest.mark.parametrize(
    "odd",
    ["one machine", "constant", "zeros", "gaps", "a late machine", "a short history", "a wrong clock", "negative"],
)
def test_odd_histories_are_scored_or_said_to_be_odd(tmp_path, odd):
    lines = rows_of()
    expected_note = ""
    match odd:
        case "one machine":
            lines = rows_of(machines=1)
        case "constant":
            lines += [f"still,{START + step * 3600},5,5" for step in range(480)]
        case "zeros":
            lines = [f"{','.join(line.split(',')[:2])},0,1" for line in lines]
        case "gaps":
            lines = [line for i, line in enumerate(lines) if (i // 40) % 3]
        case "a late machine":
            lines += [line.replace("vm0", "new") for line in lines if line.startswith("vm0")][-100:]
        case "a short history":
            lines = rows_of(days=4)
        case "a wrong clock":
            lines.append(f"vm0,{START + 200 * 86_400},1,1")
            expected_note = "1 rows lie more than 14 days from the rest"
        case "negative":
            lines.append(f"vm0,{START + 60},-4,1")
            expected_note = "1 amounts of cpu_pct are negative"
    usage = hourly_usage(read_resources(file_of(tmp_path, lines)))
    assert any(expected_note in note for note in usage.notes) or not expected_note
    for report in evaluate_curves(usage, options=QUICK):
        assert report.forecasts > 0
        for one in report.scores:
            zeros = odd == "zeros" and report.resource == "cpu_pct"
            assert math.isnan(one.weighted_quantile_loss) == zeros
            assert all(0.0 <= share <= 1.0 for share in (*one.coverage, *one.coverage_ties_split))


@pytest.mark.parametrize(
    ("lines", "header", "says"),
    [
        (["a,1,x"] * 3, "vm,time_s,cpu_pct", "cannot be read"),
        (["a,1,2"], "user,time,cpu_pct", "lacks columns"),
        ([], "vm,time_s,cpu_pct", "no rows"),
        (["a,1,2"], "vm,time_s,cores", "no column of numbers"),
        ([f"a,{i * 3600},2" for i in range(40)], "vm,time_s,cpu_pct", "40 hours"),
    ],
)
def test_a_file_that_cannot_be_scored_says_why(tmp_path, lines, header, says):
    with pytest.raises(ImportFileError, match=says):
        reports_of(file_of(tmp_path, lines, header))


def test_a_resource_that_is_not_there_is_named(tmp_path):
    rows = read_resources(file_of(tmp_path, rows_of(machines=1, days=4)))
    with pytest.raises(ImportFileError, match="tea"):
        hourly_usage(rows, ("tea",))


def test_a_value_on_a_bound_counts_in_part():
    quantiles = np.array([[0.0] * 5 + [1.0] * 4 + [2.0] * 4], dtype=np.float32)
    low, high = levels_around(np.array([0.0], np.float32), quantiles)
    assert (low[0], high[0]) == (0.0, LEVELS[5])
    low, high = levels_around(np.array([1.5], np.float32), quantiles)
    assert (low[0], high[0]) == (LEVELS[8], LEVELS[9])
    low, high = levels_around(np.array([9.0], np.float32), quantiles)
    assert (low[0], high[0]) == (LEVELS[-1], 1.0)


def test_the_command_prints_tables_and_writes_json(tmp_path):
    path = file_of(tmp_path, rows_of(machines=2, days=8))
    app = typer.Typer()
    app.command()(curves)
    to = tmp_path / "scores.json"
    shown = CliRunner().invoke(app, [str(path), "--resource", "cpu_pct", "--json", str(to)])
    assert shown.exit_code == 0, shown.output
    assert "ghostdesk" in shown.output
    assert "last-24-h quantiles" in shown.output
    written = json.loads(to.read_text())
    assert [one["resource"] for one in written["resources"]] == ["cpu_pct"]
    assert {"weighted_quantile_loss", "coverage", "interval"} <= written["resources"][0]["scores"][0].keys()


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded resource usage is not at hand")
@pytest.mark.parametrize("resource", ["cpu_pct", "mem_used_mib", "net_rx_kib_s"])
def test_recorded_machines_are_forecast_better_than_by_any_simple_predictor(resource):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(RECORDED, columns=["vm", "time_s", resource])
    machine = np.unique(table["vm"].to_numpy(zero_copy_only=False), return_inverse=True)[1]
    hour = table["time_s"].to_numpy() // 3600
    shape = (int(machine.max()) + 1, int(hour.max() - hour.min()) + 1)
    cell = machine * shape[1] + (hour - hour.min())
    size = shape[0] * shape[1]
    count = np.bincount(cell, minlength=size)
    total = np.bincount(cell, weights=table[resource].to_numpy().astype(float), minlength=size)
    with np.errstate(invalid="ignore"):
        hourly = (total / count).reshape(shape).astype(np.float32)
    usage = HourlyUsage(tuple(map(str, range(shape[0]))), int(hour.min()), {resource: hourly}, ())
    report = evaluate_curves(usage, options=CurveTraining(members=1, rows=12_000))[0]
    by_name = {one.predictor: one for one in report.scores}
    simple = min(by_name[p.name].weighted_quantile_loss for p in SIMPLE)
    assert by_name[MODEL].weighted_quantile_loss < 0.97 * simple
    for nominal, inside in zip((0.5, 0.8, 0.95), by_name[MODEL].coverage_ties_split, strict=True):
        assert inside == pytest.approx(nominal, abs=0.05)
