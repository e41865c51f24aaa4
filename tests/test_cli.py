"""The command line as an operator meets it: help that teaches, JSON for scripts, errors with cause and mend."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


def _ghostdesk(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    config = folder / "ghostdesk.toml"
    config.write_text(f"[state]\ndirectory = '{folder}/s'\nrun_directory = '{folder}/r'\n[server]\nport = 1\n")
    command = [sys.executable, "-m", "ghostdesk", *words]
    if words[-1] != "--help":
        command += ["--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ)


@pytest.mark.parametrize("command", ["run", "doctor", "import", "status", "forecast", "user", "bench", "clean"])
def test_every_command_has_help(tmp_path: Path, command: str) -> None:
    done = _ghostdesk(tmp_path, command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_doctor_says_what_this_host_can_do() -> None:
    with tempfile.TemporaryDirectory(prefix="gd", dir="/tmp") as name:
        done = _ghostdesk(Path(name), "doctor", "--json", "--no-desktop")
    told = json.loads(done.stdout)
    found = {a["name"]: a for a in told["abilities"]}
    assert {"cgroups", "freeze", "network", "gpu"} <= set(found)
    assert all(a["mend"] or a["available"] or a["name"] == "gpu" for a in found.values())
    steps = {step["step"]: step for step in told["steps"]}
    assert "build" not in steps
    works = steps["start"]["state"] == "well"
    assert done.returncode == (0 if works else 1)
    assert works or (steps["start"]["cause"] and steps["start"]["mend"])


def test_accounts_and_links(tmp_path: Path) -> None:
    assert _ghostdesk(tmp_path, "user", "add", "alice", "--name", "Alice A.").returncode == 0
    listed = json.loads(_ghostdesk(tmp_path, "user", "list", "--json").stdout)
    assert [(u["user"], u["display_name"], u["disabled"]) for u in listed] == [("alice", "Alice A.", False)]
    assert "#sign-in=" in _ghostdesk(tmp_path, "sign-in-link", "alice").stdout
    assert _ghostdesk(tmp_path, "user", "disable", "alice").returncode == 0
    refused = _ghostdesk(tmp_path, "sign-in-link", "alice")
    assert refused.returncode == 1
    assert "disabled" in refused.stderr


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("user", "add", "../etc"), "no user id"),
        (("sign-in-link", "nobody"), "no user 'nobody'"),
        (("status",), "No ghostdesk answers"),
        (("import", "/nonexistent.csv"), "nonexistent.csv"),
        (("import", "--format", "tarot", "/etc/hostname"), "no format 'tarot'"),
        (("bench", "launch", "--apps", "nonsense"), "No application is called"),
        (("bench", "launch", "--rungs", "nonsense"), "no rung"),
        (("bench", "density", "--rungs", "nonsense"), "no rung"),
        (("bench", "density", "--app", "nonsense"), "No application is called"),
    ],
)
def test_mistakes_are_told_with_a_mend_and_without_a_traceback(
    tmp_path: Path, words: tuple[str, ...], cause: str
) -> None:
    _ghostdesk(tmp_path, "user", "add", "operator", "--operator")
    done = _ghostdesk(tmp_path, *words)
    assert done.returncode == 1
    assert cause in " ".join(done.stderr.split())
    assert "mend:" in done.stderr
    assert "Traceback" not in done.stderr


def test_import_then_forecast(tmp_path: Path) -> None:
    history = tmp_path / "h.csv"
    history.write_text("user,time,event,app\nalice,1760000000,app-launch,editor\nalice,soon,app-launch,editor\n")
    done = _ghostdesk(tmp_path, "import", str(history), "--json")
    report = json.loads(done.stdout)[0]
    assert (report["new_events"], report["bad_total"], report["bad_lines"][0]["line"]) == (1, 1, 3)
    assert json.loads(_ghostdesk(tmp_path, "import", str(history), "--json").stdout)[0]["new_events"] == 0
    curve = json.loads(_ghostdesk(tmp_path, "forecast", "alice", "--json").stdout)
    assert curve["user"] == "alice"
    assert all(0 <= p <= 1 for p in curve["presence"])


def test_a_run_folder_that_somebody_else_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r").chmod(0o777)
    done = _ghostdesk(tmp_path, "run")
    assert done.returncode == 1
    assert "is not ours alone" in " ".join(done.stderr.split())
