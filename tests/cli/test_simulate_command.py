"""`ghostdesk simulate`, as somebody without a history meets it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ghostdesk.cli import main


def _simulate(*words: object) -> "subprocess.CompletedProcess[str]":
    command, wide = [sys.executable, "-m", "ghostdesk", "simulate", *map(str, words)], {**os.environ, "COLUMNS": "160"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=wide)


def test_a_history_with_everything(tmp_path: Path) -> None:
    words = ["--users", 20, "--days", 10, "--events-a-day", 20, "--scenario", "class:13:00:5", "--scenario",
             "fire-drill:2025-01-02T11:00", "--files", tmp_path / "f.csv", "--calendars", tmp_path / "c",
             "--json"]  # fmt: skip
    done = _simulate("history", tmp_path / "h.csv", *words)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["written"]["source"] == "synthetic" and found["calendar_files"] == 22
    rows = (tmp_path / "f.csv").read_text().splitlines()
    assert rows[0] == "source,user,time,app,path,size_bytes" and len(rows) == found["written"]["files_opened"] + 1
    assert all(row.startswith("synthetic,synthetic-") and "/synthetic/synthetic-" in row for row in rows[1:])
    opened = sum(",file-opened," in row for row in (tmp_path / "h.csv").read_text().splitlines())
    assert opened == len(rows) - 1 > 20
    again = _simulate("history", tmp_path / "again.csv", *words[:-5], "--json")
    assert again.returncode == 0 and (tmp_path / "again.csv").read_bytes() == (tmp_path / "h.csv").read_bytes()


def test_scenarios_are_taught_and_a_state_log_is_written(tmp_path: Path) -> None:
    taught = json.loads(_simulate("list", "--json").stdout)
    assert [one["example"] for one in taught][1] == "monday-storm"
    told = _simulate("list")
    assert told.returncode == 0 and "fire-drill:" in told.stdout and "MINUTES]" in told.stdout
    done = _simulate("states", tmp_path / "s.csv", "--desktops", 5, "--days", 7, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["source"] == "synthetic"


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("history", "h.csv", "--scenario", "flood"), "no scenario 'flood'"),
        (("history", "h.csv", "--days", 5, "--scenario", "holiday:2025-05-01"), "lies outside the history"),
        (("history", "h.csv", "--rhythm", "waltz"), "no rhythm 'waltz'"),
        (("history", "h.csv", "--files", "h.csv"), "the history itself"),
        (("history", "missing/h.csv", "--users", 1), "cannot be written"),
        (("states", "missing/s.csv", "--desktops", 1, "--days", 1), "cannot be written"),
        (("calibrate",), "nothing to measure"),
        (("calibrate", "--activity", "/etc/hostname"), "hostname"),
        (("calibrate", "--states", "s.csv", "--states-until", "never"), "is no date"),
        (("check", "--figures", "/etc/hostname"), "no figures of the simulator"),
        (("check", "--figures", "/nonexistent"), "cannot be read"),
    ],
)
def test_mistakes_are_told_with_a_mend_and_leave_nothing(
    tmp_path: Path, words: tuple[object, ...], cause: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ghostdesk", "simulate", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 1 and cause in said and "mend:" in said
    assert not list(tmp_path.iterdir())
