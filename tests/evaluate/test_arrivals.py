"""`evaluate arrivals` on whole files: every kind, odd ones, and the recorded ones where they are at hand."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from ghostdesk.cli.evaluate_arrivals import arrivals
from ghostdesk.evaluate.arrivals import MIXTURE, ArrivalReport, evaluate_arrivals
from ghostdesk.evaluate.arrivals_reading import ArrivalHistory, read_arrival_history
from ghostdesk.evaluate.arrivals_timeline import RowUse
from ghostdesk.kernel.errors import ConfigError, ImportFileError

NOW_S = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
DATA = Path(os.environ.get("GHOSTDESK_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
ACTIVITY = DATA / "user-activity" / "activity.csv.xz"
FIRST = datetime(2025, 1, 6, tzinfo=UTC)


def activity_file(folder: Path, days: int = 90, users: int = 4) -> Path:
    """People who come on working days at nine, give or take; some do not come."""
    generator = np.random.default_rng(8)
    lines = ["user,utc,tz_min"]
    for user in range(users):
        for day in range(days):
            if day % 7 < 5 and generator.random() < 0.8:
                moment = FIRST + timedelta(days=day, hours=9, minutes=int(generator.integers(0, 50)))
                lines += [f"u{user},{int(moment.timestamp()) + extra},0" for extra in (0, 900, 3000)]
    path = folder / "activity.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def states_file(folder: Path) -> Path:
    lines = ["desktop,state,time"]
    for desktop in range(3):
        for day in range(60):
            for hour, state in (
                (7, "restarted"),
                (8 + desktop, "in-use"),
                (12, "available"),
                (14, "in-use"),
                (16, "offline"),
            ):
                moment = FIRST + timedelta(days=day, hours=hour, minutes=(day * 7) % 20)
                lines.append(f"d{desktop},{state},{moment:%Y-%m-%d %H:%M:%S}")
    path = folder / "states.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def report_of(path: Path, minutes: int = 60) -> ArrivalReport:
    return evaluate_arrivals(read_arrival_history(path, now_s=NOW_S), minutes * 60)


def test_habits_are_found_and_the_mixture_is_best(tmp_path: Path) -> None:
    report = report_of(activity_file(tmp_path, days=200))
    losses = {score.name: score.log_loss for score in report.scores}
    assert losses["hour of week"] < 0.7 * losses["base rate"]
    assert losses[MIXTURE] <= min(losses.values()) * 1.02
    ours = next(score for score in report.scores if score.name == MIXTURE)
    assert ours.calibration_error < 0.02
    assert sum(report.weights.values()) == pytest.approx(1.0)


def test_state_logs_are_keyed_by_desktop(tmp_path: Path) -> None:
    report = report_of(states_file(tmp_path), 10)
    assert (report.noun, report.rows) == ("desktop", 3)
    assert report.scores[0].log_loss < 0.5 * report.scores[-1].log_loss
    assert {cost.policy for cost in report.policies} >= {"keep alive 20 min", "hybrid histogram, range 4 h"}
    assert all(0.0 <= cost.cold <= 1.0 and cost.idle_minutes >= 0.0 for cost in report.policies)


def test_events_end_sessions_with_sign_outs(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    lines = ["user,time,event,app"]
    for day in range(60):
        morning = FIRST + timedelta(days=day, hours=9)
        lines += [f"a,{morning.isoformat()},sign-in,", f"a,{(morning + timedelta(minutes=5)).isoformat()},sign-out,"]
        lines.append(f"a,{(morning + timedelta(minutes=30)).isoformat()},app-focus,editor")
    path.write_text("\n".join(lines) + "\n")
    history = read_arrival_history(path, now_s=NOW_S)
    assert len(history.rows[0].start_s) == 120
    assert report_of(path).sessions > 0


def test_local_time_comes_from_the_zone(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("user,time,event\na,2025-03-29 09:00,sign-in\na,2025-03-31 09:00,sign-in\n")  # summer time between
    row = read_arrival_history(path, ZoneInfo("Europe/Berlin"), now_s=NOW_S).rows[0]
    assert row.offset_s.tolist() == [3600.0, 7200.0]
    assert np.diff(row.start_s).tolist() == [2 * 86_400.0 - 3600.0]


def test_rows_out_of_order_or_twice_change_nothing(tmp_path: Path) -> None:
    path = activity_file(tmp_path)
    header, *lines = path.read_text().splitlines()
    mixed = tmp_path / "mixed.csv"
    order = np.random.default_rng(9).permutation(len(lines) * 2) % len(lines)
    mixed.write_text("\n".join([header, *(lines[i] for i in order)]) + "\n")
    one, other = report_of(path), report_of(mixed)
    assert sorted(s.log_loss for s in one.scores) == pytest.approx(sorted(s.log_loss for s in other.scores), rel=1e-6)


def test_a_broken_clock_is_left_out_and_said(tmp_path: Path) -> None:
    path = activity_file(tmp_path)
    with path.open("a") as file:
        file.write("u0,86400,0\n")  # 1970
    history = read_arrival_history(path, now_s=NOW_S)
    assert any("broken clock" in note for note in history.notes)
    assert min(float(row.start_s[0]) for row in history.rows) > 1e9
    assert report_of(path).rows == 4


@pytest.mark.parametrize(
    "text",
    [
        "user,utc,tz_min\na,1700000000,0\n",
        "desktop,state,time\nd,available,2025-01-01 00:00:00\nd,in-use,2025-01-02 00:00:00\n",
    ],
)
def test_one_event_is_a_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "short.csv"
    path.write_text(text)
    with pytest.raises(ImportFileError, match=r"too short|holds no session"):
        report_of(path)


def test_a_log_without_use_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "idle.csv"
    path.write_text("desktop,state,time\nd,available,2025-01-01 00:00:00\nd,offline,2025-01-02 00:00:00\n")
    with pytest.raises(ImportFileError, match="nobody ever arrived"):
        read_arrival_history(path, now_s=NOW_S)


def test_always_in_use_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "busy.csv"
    path.write_text("desktop,state,time\n" + "".join(f"d,in-use,2025-01-{day:02d} 00:00:00\n" for day in range(1, 29)))
    with pytest.raises(ImportFileError, match="no desktop had an idle slot"):
        report_of(path)


def test_one_user_is_scored_without_intervals(tmp_path: Path) -> None:
    report = report_of(activity_file(tmp_path, users=1))
    assert report.rows == 1
    assert report.scores[0].log_loss_interval is None


def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(arrivals)
    return app


def test_command_prints_tables_and_writes_json(tmp_path: Path) -> None:
    path, target = activity_file(tmp_path), tmp_path / "out.json"
    found = CliRunner().invoke(command(), [str(path), "--train-until", "2025-03-01", "--json", str(target)])
    assert found.exit_code == 0, found.output
    assert "A session starts in the next 60 minutes" in found.output
    assert "hybrid histogram, range 4 h" in found.output
    slots = json.loads(target.read_text())["slots"]
    assert {score["name"] for score in slots[0]["scores"]} >= {MIXTURE, "base rate", "weekday rule"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--train-until", "yesterday"], "no date"),
        (["--timezone", "Middle/Earth"], "no time zone"),
        (["--slot-minutes", "7"], "cannot be had"),
    ],
)
def test_wrong_options_are_clear_errors(tmp_path: Path, options: list[str], words: str) -> None:
    found = CliRunner().invoke(command(), [str(activity_file(tmp_path, days=20)), *options])
    assert isinstance(found.exception, ConfigError)
    assert words in str(found.exception)


@pytest.mark.skipif(not ACTIVITY.exists(), reason=f"recorded data is not at hand: {ACTIVITY.name}")
def test_recorded_activity_the_mixture_beats_every_simple_predictor() -> None:
    history = read_arrival_history(ACTIVITY)
    since_s = datetime(2021, 1, 1, tzinfo=UTC).timestamp()
    rows = []
    for row in history.rows:
        late = row.start_s >= since_s
        rows.append(RowUse(row.name, row.start_s[late], row.end_s[late], row.offset_s[late], row.until_s))
    busiest = sorted(rows, key=lambda row: -len(row.start_s))[:40]
    report = evaluate_arrivals(ArrivalHistory(busiest, history.noun, history.slot_minutes), 4 * 3600)
    losses = {score.name: score.log_loss for score in report.scores}
    simple = {name: lost for name, lost in losses.items() if name != MIXTURE and "," not in name}
    assert losses[MIXTURE] < min(simple.values()), losses
    assert losses[MIXTURE] < 1.005 * min(losses.values()), losses  # the corrected ones are members of the mixture
    ours = next(score for score in report.scores if score.name == MIXTURE)
    assert ours.calibration_error < 0.02
