"""`ghostdesk evaluate files` as an operator meets it."""

from __future__ import annotations

import io
import json
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from ghostdesk.cli import main
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.prefetch.file_history import FileOpened
from ghostdesk.store.file_histories import FileHistories


def ghostdesk(*words: str) -> tuple[int, str, str]:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(out), redirect_stderr(err):
        patched.setattr(sys, "argv", ["ghostdesk", *words])
        patched.setenv("COLUMNS", "160")
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


def test_a_synthetic_log_is_judged_and_called_synthetic(tmp_path: Path) -> None:
    log, report = tmp_path / "files.csv", tmp_path / "report.json"
    made = (
        "simulate",
        "history",
        str(tmp_path / "h.csv"),
        "--users",
        "3",
        "--days",
        "30",
        "--files",
        str(log),
        "--json",
    )
    assert ghostdesk(*made)[0] == 0
    code, out, err = ghostdesk("evaluate", "files", str(log), "--budgets", "1", "--json", str(report))
    assert code == 0, err
    assert "The log says that it is synthetic." in out
    rates = {one["way"]: one for one in json.loads(report.read_text())["rates"]}
    assert rates["nothing"]["hit_rate"] == 0.0
    assert rates["clairvoyant bound"]["hit_rate"] >= rates["ghostdesk"]["hit_rate"] > 0.0
    assert rates["clairvoyant bound"]["wasted_share"] == 0.0


def test_what_the_service_keeps_is_judged_without_a_name(tmp_path: Path) -> None:
    settings = tmp_path / "ghostdesk.toml"
    settings.write_text(f"[state]\ndirectory = '{tmp_path}/s'\n")
    code, _, err = ghostdesk("evaluate", "files", "--config", str(settings))
    assert (code, "has learnt of no opened files" in err) == (1, True)
    now_s = time.time()
    opens = [FileOpened(now_s - day * 86_400, AppId("writer"), "telltale.txt", 10) for day in range(20, 0, -1)]
    FileHistories(tmp_path / "s/file-history").append(UserId("ada"), opens)
    code, out, err = ghostdesk("evaluate", "files", "--config", str(settings), "--json", str(tmp_path / "r.json"))
    assert code == 0, err
    assert "of people who agree" in out
    assert "telltale" not in out + (tmp_path / "r.json").read_text()


def test_budgets_that_are_no_sizes_are_refused(tmp_path: Path) -> None:
    for text in ("", "x", "0", "-1", "nan", "1,inf"):
        code, _, err = ghostdesk("evaluate", "files", str(tmp_path / "f.csv"), f"--budgets={text}")
        assert (code, "is no list of sizes" in err) == (1, True), text
