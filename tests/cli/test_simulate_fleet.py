"""`ghostdesk simulate fleet`, as an operator meets it."""

import json
from pathlib import Path

import pytest

from ghostdesk.cli import main

FEW = ["simulate", "fleet", "--hosts", "3", "--users", "30", "--minutes", "0.5", "--desktops-a-host", "20"]


def _run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["ghostdesk", *words])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_a_small_fleet_with_faults_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "fleet.html"
    assert _run([*FEW, "--faults", "some,lost=0.1", "--report", str(picture), "--json"], monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["simulated"] is True and found["leaks"] == found["double_owners"] == 0 and found["converged"]
    assert found["ticks"] > 3 and found["tick_median_s"] > 0 and found["memory_bytes"] > 1e6
    assert "Simulated:" in picture.read_text()


def test_people_read_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run([*FEW, "--faults", "none"], monkeypatch) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Simulated:" in told and "leaks" in told and "virtual" in told


def test_no_rest_is_a_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["simulate", "fleet", "--hosts", "1", "--users", "60", "--minutes", "20", "--desktops-a-host", "2"]
    assert _run([*words, "--calm-s", "20", "--tick-s", "20", "--faults", "none", "--json"], monkeypatch) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["converged"] and "people wait" in found["odd"]


@pytest.mark.parametrize("wrong", [["--faults", "plenty"], ["--hosts", "0"], ["--report", "/nonexistent/x.html"]])
def test_bad_input_says_cause_and_mend(
    wrong: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run([*FEW, "--faults", "none", *wrong], monkeypatch) == 1
    told = capsys.readouterr().err
    assert "error:" in told and "mend:" in told
