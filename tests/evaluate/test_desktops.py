"""`ghostdesk evaluate desktops`: the model by hand, the command on good and bad files, and the real set where it is."""

from __future__ import annotations

import json
import lzma
import os
from pathlib import Path

import numpy as np
import pytest
from row_histories import DAY_S, START_S, busy_house, row
from typer.testing import CliRunner

from ghostdesk.allocator.policies.catalogue import ROW_FAMILIES, families
from ghostdesk.cli import app
from ghostdesk.cli.evaluate_desktops import desktop_tables
from ghostdesk.evaluate.arrivals_reading import ArrivalHistory, read_arrival_history
from ghostdesk.evaluate.desktops import DesktopPoint, evaluate_desktops, interpolated_cold
from ghostdesk.evaluate.desktops_world import RowWorld
from ghostdesk.kernel.errors import ConfigError, ImportFileError

DATA = Path(os.environ.get("GHOSTDESK_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
STATES = DATA / "desktop-sessions" / "states-2013-2016.csv.xz"

# Uses at 00:05-00:15, 00:25-00:35 and 05:00-05:10: gaps of 10 minutes, and of 4 hours 25 minutes.
BY_HAND = [row("a", [(300, 900), (1_500, 2_100), (18_000, 18_600)])]


def test_the_model_by_hand() -> None:
    """Keep alive 60 minutes in slots of ten: the second start is warm, the third is cold."""
    policies = [setting.make() for setting in families()["keep-alive"].settings if setting.label == "60 min"]
    (kept,) = RowWorld(BY_HAND, 600, 0.0).judge(policies)
    assert (kept.sessions, kept.cold) == (3, 2)
    # 900-1500; then 2100-2400, and the six slots whose middle is idle for an hour at most: they begin at 2400 to 5400.
    assert kept.idle_s == 600 + 300 + 6 * 600


def test_always_on_and_the_bound_by_hand() -> None:
    always, bound = (families()[name].settings[0].make() for name in ("always-on", "clairvoyant-rows"))
    on, least = RowWorld(BY_HAND, 600, 0.0).judge([always, bound])
    assert (on.cold, on.idle_s) == (1, 600 + 15_900)
    # 900-1200 is the rest of a slot, 1200-1500 is held for the start in it; 2100-2400 is a rest, and so on.
    assert (least.cold, least.idle_s) == (1, 600 + 300)


def test_only_the_judged_part_counts() -> None:
    (late,) = RowWorld(BY_HAND, 600, START_S + 3_600.0).judge([families()["always-on"].settings[0].make()])
    assert (late.sessions, late.cold, late.idle_s) == (1, 0, 18_000 - 3_600)


def test_curves_are_read_between_their_settings_and_not_beyond() -> None:
    points = [DesktopPoint("a", 0.3, 50.0, None, None), DesktopPoint("b", 0.1, 150.0, None, None)]
    assert interpolated_cold(points, 100.0) == pytest.approx(0.2)
    assert interpolated_cold(points, 160.0) is None
    assert interpolated_cold([], 100.0) is None


def test_the_table_is_as_it_was() -> None:
    chosen = [families()[name] for name in ("keep-alive", "always-on", "clairvoyant-rows")]
    history = ArrivalHistory(busy_house(4, 20), "desktop", (10,))
    report = evaluate_desktops(history, chosen, 600, train_until_s=START_S + 5 * DAY_S)
    points, compared = desktop_tables(report)
    cells = [[str(cell) for cell in column.cells] for column in points.columns]
    golden = Path(__file__).parent / "golden" / "desktops.txt"
    text = "\n".join(" | ".join(line) for line in zip(*cells, strict=True)) + "\n"
    if os.environ.get("GHOSTDESK_WRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
    assert [str(cell) for cell in compared.columns[0].cells] == [family.title for family in chosen]


def write_log(path: Path, rows: int = 3, days: int = 12) -> Path:
    """A state log of a small house, with the times that only the log's own zone explains."""
    events = []
    for one in busy_house(rows, days):
        for start_s, end_s in zip(one.start_s.tolist(), one.end_s.tolist(), strict=True):
            events += [(start_s, one.name, "in-use"), (end_s, one.name, "available")]
    lines = [f"{name},{state},{np.datetime64(int(t), 's')}".replace("T", " ") for t, name, state in sorted(events)]
    path.write_text("\n".join(["desktop,state,time", *lines, ""]))
    return path


def test_the_command_on_a_file_never_seen(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv")
    arguments = ["evaluate", "desktops", str(log), "--json", "-", "--policies", "always-on,keep-alive,hazard-table"]
    done = CliRunner().invoke(app, [*arguments, "--lead-s", "60", "--lead-spread", "0.3"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)["report"]
    assert report["noun"] == "desktop" and report["slot_minutes"] == 10.0 and report["lead_s"] == 60.0
    assert [curve["name"] for curve in report["curves"]] == ["keep-alive", "hazard-table", "always-on"]
    kept, table, always = report["curves"]
    assert kept["points"][0]["cold"] >= kept["points"][-1]["cold"]
    assert always["points"][0]["cold"] == 0.0
    assert len(table["cold_at"]) == len(report["compared_minutes"]) == 2


def test_people_are_rows_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lines = [
        f"u{user},{int(START_S + day * DAY_S + 32_400 + rng.integers(3_600))},{120 * user}"
        for day in range(40) for user in range(3)
    ]  # fmt: skip
    path = tmp_path / "activity.csv"
    path.write_text("\n".join(["user,utc,tz_min", *lines, ""]))
    history = read_arrival_history(path)
    report = evaluate_desktops(history, [families()["crowd-rows"], families()["always-on"]], 3_600)
    assert report.noun == "user" and report.sessions == 24
    cold = [point.cold for point in report.curves[0].points]
    assert cold[-1] < 0.5 and all(0.0 <= one <= 1.0 for one in cold)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\x00\xff\x13 rubbish \n\n\x01", ""),
        (b"desktop,state,time\n", "no rows"),
        (b"desktop,state,time\nd1,available,2016-01-01 08:00:00\n", "no session"),
        (b"name,colour\na,red\n", "columns"),
    ],
)
def test_bad_files_are_refused_with_cause_and_mend(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    done = CliRunner().invoke(app, ["evaluate", "desktops", str(path)])
    assert done.exit_code == 1
    assert isinstance(done.exception, (ImportFileError, SystemExit))
    assert said in (str(done.exception) + done.output)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--policies", "magic"], "no policy magic"),
        (["--train-until", "soon"], "is no date"),
        (["--timezone", "Mars/Base"], "no time zone"),
        (["--slot-minutes", "7"], "cannot be had"),
        (["--lead-s", "inf"], "finite"),
        (["--train-until", "2090-01-01"], "too short"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, options: list[str], said: str) -> None:
    log = write_log(tmp_path / "log.csv", days=3)
    done = CliRunner().invoke(app, ["evaluate", "desktops", str(log), "--policies", "always-on", *options])
    assert done.exit_code == 1
    assert isinstance(done.exception, (ConfigError, ImportFileError, SystemExit))
    assert said in (str(done.exception) + done.output)


def test_every_row_family_tells_where_it_comes_from() -> None:
    names = [family.name for family in ROW_FAMILIES]
    assert len(set(names)) == len(names)
    assert all(family.source and family.title and family.settings for family in ROW_FAMILIES)


@pytest.mark.skipif(not STATES.exists(), reason="the real data is not here")
def test_on_real_desktops_ours_beats_the_hazard_table(tmp_path: Path) -> None:
    """The first weeks of the recorded log alone: the whole is a benchmark, not a test."""
    path = tmp_path / "first.csv"
    with lzma.open(STATES, "rt", encoding="utf-8") as whole, path.open("w", encoding="utf-8") as part:
        for _ in range(36_000):
            part.write(whole.readline())
    history = read_arrival_history(path)
    chosen = [families()[name] for name in ("hazard-table", "crowd-rows")]
    table, ours = evaluate_desktops(history, chosen, 600).curves
    minutes = [point.idle_minutes for point in table.points]
    compared = [m for m in (30.0, 50.0, 70.0) if minutes[0] < m < minutes[-1]]
    assert compared
    for at in compared:
        cold, floor = interpolated_cold(ours.points, at), interpolated_cold(table.points, at)
        assert cold is not None and floor is not None and cold < floor
