"""`ghostdesk replay` as an operator meets it: good files, bad ones, and mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STATES = "desktop,state,time\n" + "".join(
    f"d{desktop},{state},2025-01-{day:02d} {hour:02d}:{minute:02d}:00\n"
    for day in range(6, 20)
    for hour in (8, 10, 13)
    for desktop in range(4)
    for state, minute in (("in-use", desktop), ("available", 40 + desktop))
)
PEOPLE = "user,utc,tz_min\n" + "".join(
    f"u{user},{1_736_150_400 + day * 86_400 + user * 600 + sign * 1200},60\n"
    for day in range(14)
    for user in range(5)
    for sign in range(4)
)
ACTIVITYWATCH = json.dumps(
    {
        "buckets": {
            "aw-watcher-window_x": {
                "type": "currentwindow",
                "hostname": "x",
                "events": [
                    {
                        "timestamp": f"2025-01-{day:02d}T09:00:00+00:00",
                        "duration": 600.0,
                        "data": {"app": "Mail", "title": "private"},
                    }
                    for day in range(6, 20)
                ],
            }
        }
    }
)


def _environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "160"}


def _replay(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    config = folder / "ghostdesk.toml"
    config.write_text(f"[state]\ndirectory = '{folder}/s'\nrun_directory = '{folder}/r'\n[server]\nport = 1\n")
    command = [sys.executable, "-m", "ghostdesk", *words, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=_environment())


def _file(folder: Path, text: str, name: str = "history.csv") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_state_log_gives_a_table_a_page_and_json(tmp_path: Path) -> None:
    page, told = tmp_path / "report.html", tmp_path / "report.json"
    done = _replay(
        tmp_path, "replay", _file(tmp_path, STATES), "--policies", "static:1,static:4", "--jobs", "1",
        "--html", str(page), "--json", str(told), "--price-per-ghost-hour", "0.05", "--lead-s", "60", "--measured",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "simulated" in done.stdout
    assert 'policy = "static:4"' in done.stdout
    report = json.loads(told.read_text())
    assert report["noun"] == "desktop"
    assert [point["setting"] for point in report["points"]] == ["static:1", "static:4"]
    assert report["points"][1]["figures"]["hit_rate"] == 1.0
    assert report["figures"]["lead_s"] == 60.0
    assert report["figures_from"].startswith("measured")
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert not list(tmp_path.glob(".*")), "nothing half-written is left"


def test_people_and_json_on_standard_output(tmp_path: Path) -> None:
    done = _replay(
        tmp_path, "replay", _file(tmp_path, PEOPLE), "--policies", "static:5", "--json", "-", "--from", "2025-01-08",
        "--train-until", "2025-01-12", "--until", "2025-01-18",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["noun"] == "user"
    assert report["judged_from"].startswith("2025-01-12")
    assert report["points"][0]["figures"]["starts"] == 30


def test_an_activitywatch_export(tmp_path: Path) -> None:
    export = _file(tmp_path, ACTIVITYWATCH, "export.json")
    done = _replay(tmp_path, "replay", export, "--policies", "static:1", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["points"][0]["figures"]["starts"] >= 10
    assert "private" not in done.stdout + done.stderr


def test_what_was_imported_is_replayed_from_the_store(tmp_path: Path) -> None:
    assert _replay(tmp_path, "import", _file(tmp_path, STATES)).returncode == 0
    done = _replay(tmp_path, "replay", "--policies", "static:4", "--json", "-")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["noun"], report["source"]) == ("desktop", "ghostdesk's own store")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "empty"),
        ("\x00\x01\x02rubbish", ""),
        ("name,colour\nann,red\n", "column"),
        ("desktop,state,time\nd1,available,2025-01-06 08:00:00\n", "holds no session"),
        ('{"buckets": {}}', "no rows"),
    ],
    ids=["empty", "binary", "another table", "nobody came", "empty export"],
)
def test_files_that_hold_no_history(tmp_path: Path, text: str, cause: str) -> None:
    done = _replay(tmp_path, "replay", _file(tmp_path, text))
    assert done.returncode == 1
    assert cause in " ".join(done.stderr.split())
    assert "mend:" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_line_is_a_history_of_one_start(tmp_path: Path) -> None:
    one = "desktop,state,time\nd1,in-use,2025-01-06 08:00:00\nd1,available,2025-01-06 09:00:00\n"
    done = _replay(tmp_path, "replay", _file(tmp_path, one), "--policies", "static:1", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["points"][0]["figures"]["starts"] == 1


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("--from", "2025-01-10", "--until", "2025-01-09"), "--from lies at or after --until"),
        (("--from", "2031-01-01"), "No session starts in that time"),
        (("--train-until", "2031-01-01"), "No session starts after --train-until"),
        (("--from", "soon"), "is no date"),
        (("--policies", "tarot"), "There is no policy 'tarot'"),
        (("--policies", "static:99999"), "does not say which static pool"),
        (("--policies", ","), "--policies names none"),
        (("--timezone", "Mars/Olympus"), "no time zone"),
        (("--html", "/nonexistent/report.html"), "cannot be written there"),
        (("--json", "/"), "cannot be written there"),
    ],
)
def test_mistakes_are_told_with_a_mend(tmp_path: Path, words: tuple[str, ...], cause: str) -> None:
    done = _replay(tmp_path, "replay", _file(tmp_path, STATES), *words)
    assert done.returncode == 1
    assert cause in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    done = _replay(tmp_path, "replay", str(tmp_path / "none.csv"))
    assert done.returncode == 1
    assert "none.csv" in done.stderr


def _let_work(pid: int, cpu_s: float) -> None:
    """Wait until a process has worked for so long; processor time, so that a busy machine does not matter."""
    ticks = os.sysconf("SC_CLK_TCK")
    for _ in range(600):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if (int(fields[11]) + int(fields[12])) / ticks >= cpu_s:
            return
        time.sleep(0.1)
    raise AssertionError("it never got to work")


def test_ctrl_c_leaves_what_was_there(tmp_path: Path) -> None:
    long = _file(
        tmp_path, "user,utc,tz_min\n" + "".join(f"u{n % 50},{1_600_000_000 + n * 500},0\n" for n in range(60_000))
    )
    page = tmp_path / "report.html"
    page.write_text("before")
    # tests that run in the background inherit an ignored Ctrl-C
    command = ["env", "--default-signal=INT", sys.executable, "-m", "ghostdesk", "replay", long, "--jobs", "1"]
    command += ["--html", str(page)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()) as running:
        _let_work(running.pid, 5.0)
        running.send_signal(signal.SIGINT)
        out, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert b"Traceback" not in told
    assert b"Choose" not in out
    assert page.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "report.html"]
