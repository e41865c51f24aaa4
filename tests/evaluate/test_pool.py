"""`evaluate pool` on whole files: the table, odd files, bad ones, and the recorded one where it is at hand."""

import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from ghostdesk.allocator.policies.adaptive_count import AdaptiveCount
from ghostdesk.allocator.policies.catalogue import POOL_FAMILIES
from ghostdesk.allocator.policies.marginal_value import MarginalValue, TailForecast
from ghostdesk.allocator.policies.static_pool import StaticPool
from ghostdesk.cli.evaluate_pool import compared_table, pool, pool_sentences, pool_table
from ghostdesk.evaluate.arrivals_reading import read_arrival_history
from ghostdesk.evaluate.arrivals_timeline import RowUse
from ghostdesk.evaluate.pool import PoolOptions, evaluate_pool, idle_at
from ghostdesk.evaluate.pool_world import PoolRules, judge, uses_of
from ghostdesk.kernel.errors import ConfigError, ImportFileError

NOW_S = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
DATA = Path(os.environ.get("GHOSTDESK_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
STATES = DATA / "desktop-sessions" / "states-2013-2016.csv.xz"
GOLDEN = Path(__file__).parent / "golden" / "pool_table.txt"
FIRST = datetime(2025, 1, 6, tzinfo=UTC)


def states_file(folder: Path, days: int = 10, desktops: int = 6) -> Path:
    """Synthetic: every desktop is used in the working hours of every day, at times of its own."""
    rng = np.random.default_rng(5)
    lines = ["desktop,state,time"]
    for desktop in range(desktops):
        for day in range(days):
            for hour in (8, 10, 13, 15):
                begin = FIRST + timedelta(days=day, hours=hour, seconds=int(rng.integers(0, 3_600)))
                end = begin + timedelta(minutes=int(rng.integers(10, 50)))
                lines += [
                    f"d{desktop},{state},{t:%Y-%m-%d %H:%M:%S}" for state, t in (("in-use", begin), ("available", end))
                ]
    path = folder / "states.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def text_of(*printed: object) -> str:
    console = Console(width=120, record=True, file=io.StringIO(), color_system=None)
    for one in printed:
        console.print(one)
    return console.export_text()


def test_the_table_is_what_it_was(tmp_path: Path) -> None:
    history = read_arrival_history(states_file(tmp_path), now_s=NOW_S)
    report = evaluate_pool(history, ["on-demand", "static", "hour-quantile"], PoolOptions())
    said = text_of(pool_table(report), compared_table(report), *pool_sentences(report))
    if os.environ.get("GHOSTDESK_WRITE_GOLDEN"):
        GOLDEN.write_text(said, encoding="utf-8")
    assert said == GOLDEN.read_text(encoding="utf-8")


def test_processes_change_nothing_and_progress_ends_at_the_whole(tmp_path: Path) -> None:
    history = read_arrival_history(states_file(tmp_path, days=6), now_s=NOW_S)
    shown: list[tuple[int, int]] = []
    alone = evaluate_pool(history, ["adaptive-count"], PoolOptions(lead_spread=0.3, seed=3))
    spread = evaluate_pool(
        history,
        ["adaptive-count"],
        PoolOptions(lead_spread=0.3, seed=3, jobs=2),
        lambda done, all_: shown.append((done, all_)),
    )
    assert alone == spread
    assert shown[-1][0] <= shown[-1][1] and all(done <= whole for done, whole in shown)


@pytest.mark.parametrize("family", [pytest.param(family, id=family.name) for family in POOL_FAMILIES])
def test_every_policy_runs_on_a_file_with_gaps_overlaps_and_desktops_that_come_and_go(
    tmp_path: Path, family: object
) -> None:
    """Synthetic: weeks without a sign, a use of 18 days, uses of one second, starts at once, a desktop never used."""
    start_s = FIRST.timestamp()
    rows = [
        RowUse("steady", *_uses(start_s + 3_600.0 * np.arange(0, 120, 5.0), 1_800.0)),
        RowUse("after a gap", *_uses(start_s + 86_400.0 * 20 + 600.0 * np.arange(30.0), 1.0)),
        RowUse("never ends", *_uses(np.array([start_s + 86_400.0 * 3]), 86_400.0 * 18)),
        RowUse("all at once", *_uses(start_s + 86_400.0 * 20 + np.zeros(1), 60.0)),
        RowUse("never used", np.zeros(0), np.zeros(0), np.zeros(0), -np.inf),
    ]
    name = next(one.name for one in POOL_FAMILIES if one is family)
    settings = next(one.settings for one in POOL_FAMILIES if one is family)
    rules = PoolRules(start_s, start_s + 86_400.0 * 4, start_s + 86_400.0 * 21, 75.0, 0.3)
    (cost,) = judge([settings[-1].make()], uses_of(rows), rules)
    assert cost.starts == 31 + 4 and 0 <= cost.misses <= cost.starts, name


def _uses(start_s: np.ndarray, use_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    return start_s, start_s + use_s, np.zeros(len(start_s)), float(start_s[-1] + use_s)


def test_people_and_zones_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "activity.csv"
    lines = [f"u{k % 3},{int(FIRST.timestamp()) + 86_400 * (k // 3) + 1_000 * (k % 3)},60" for k in range(90)]
    path.write_text("\n".join(["user,utc,tz_min", *lines]) + "\n")
    report = evaluate_pool(read_arrival_history(path, now_s=NOW_S), ["on-demand"], PoolOptions())
    assert report.noun == "user" and report.curves[0].points[0].misses_pct == 100.0


def test_equal_misses_are_read_off_the_line_and_never_beyond_it() -> None:
    points = [(0.3, 10.0), (0.02, 30.0), (0.0, 50.0), (0.5, 40.0)]
    assert idle_at(points, 0.01) == pytest.approx(40.0)
    assert idle_at(points, 0.02) == pytest.approx(30.0)
    assert idle_at(points[:2], 0.01) is None
    assert idle_at([], 0.01) is None


APP = typer.Typer()
APP.command()(pool)


def run(*arguments: str) -> object:
    return CliRunner().invoke(APP, list(arguments), catch_exceptions=False)


def test_json_tells_each_setting_and_month(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    path = states_file(tmp_path, days=16)
    result = run(str(path), "--policies", "static", "--train-until", "2025-01-20", "--json", str(out), "--jobs", "1")
    assert "Warm pool for all desktops together" in result.output  # type: ignore[attr-defined]
    told = json.loads(out.read_text())["pool"]
    assert [point["setting"] for point in told["curves"][0]["points"]][:3] == ["1", "2", "3"]
    cost = told["curves"][0]["points"][0]["cost"]
    assert cost["months"]["2025-01"] == [cost["starts"], cost["misses"]] and cost["starts"] == told["starts"]
    assert told["clairvoyant_hours"] == pytest.approx(told["starts"] * 3 / 60)


@pytest.mark.parametrize(
    ("text", "options", "error", "cause"),
    [
        ("", (), ImportFileError, "empty"),
        ("a,b\n1,2\n", (), ImportFileError, "lacks columns"),
        ("desktop,state,time\nd1,available,2025-01-06 08:00:00\n", (), ImportFileError, "no session"),
        (None, ("--policies", "oracle"), ConfigError, "There is no policy oracle"),
        (None, ("--lead-s", "0"), ConfigError, "--lead-s"),
        (None, ("--lead-s", "nan"), ConfigError, "--lead-s"),
        (None, ("--train-until", "soon"), ConfigError, "no date"),
        (None, ("--train-until", "2025-12-01"), ImportFileError, "No start is left"),
        (None, ("--timezone", "Mars/Olympus"), ConfigError, "no time zone"),
        (None, ("--json", "/nowhere/at/all.json"), ConfigError, "cannot be written"),
    ],
)
def test_bad_input_gets_a_clear_error(
    tmp_path: Path, text: str | None, options: tuple[str, ...], error: type[Exception], cause: str
) -> None:
    if text is None:
        path = states_file(tmp_path, days=10)
    else:
        path = tmp_path / "bad.csv"
        path.write_text(text)
    with pytest.raises(error, match=cause):
        run(str(path), "--jobs", "1", *options)


@pytest.mark.skipif(not STATES.exists(), reason="the recorded desktop states are not at hand")
def test_on_the_recorded_spring_ours_idles_less_than_the_floor_at_equal_misses() -> None:
    """Three weeks of a term after five: idle is size times hours; ours is below the adaptive negative binomial."""
    uses = uses_of(read_arrival_history(STATES).rows)
    from_s, score_s, until_s = (
        datetime(*day, tzinfo=UTC).timestamp() for day in ((2014, 1, 13), (2014, 2, 17), (2014, 3, 10))
    )
    rules = PoolRules(from_s, score_s, until_s)
    static = judge([StaticPool(3), StaticPool(5)], uses, rules)
    assert static[0].idle_hours == pytest.approx(3 * 21 * 24, rel=1e-6)
    assert 1.8 < static[0].miss_share / static[1].miss_share < 3.5  # 2.7 in the data folder's README
    forecast = TailForecast()
    ours = judge([MarginalValue(rate, forecast) for rate in (0.97, 0.985)], uses, rules)
    floors = judge([AdaptiveCount(quantile) for quantile in (0.95, 0.98, 0.995)], uses, rules)
    mine = idle_at([(cost.miss_share, cost.idle_hours) for cost in ours], 0.02)
    theirs = idle_at([(cost.miss_share, cost.idle_hours) for cost in floors], 0.02)
    assert mine is not None and theirs is not None
    assert mine < 0.98 * theirs
