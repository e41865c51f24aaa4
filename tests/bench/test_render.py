"""Reports that are made up here, and marked so, are written and read back."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from ghostdesk.bench import plot, render
from ghostdesk.bench.host import Provenance, cpu_name, this_host
from ghostdesk.bench.idle import IdleReport, IdleRung, IdleSample, SwapHeld
from ghostdesk.bench.launch_report import LaunchReport, LaunchSample, Missing
from ghostdesk.bench.rungs import EXEC_RUNGS, Rung
from ghostdesk.bench.signin import SignInCondition, SignInMissing, SignInReport, SignInSample

MADE_UP = Provenance("Some CPU", 2, 4 << 30, "Linux 6", "2026-01-02", "ghostdesk bench launch", synthetic=True)
PAINTED_S = dict(zip(Rung, (2.0, 1.0, 0.05, 0.06, 0.01, 0.01, 0.02, 0.15, 0.1), strict=True))


def launch_report() -> LaunchReport:
    samples = tuple(
        LaunchSample(app, rung, number, PAINTED_S[rung] * number, None if rung in EXEC_RUNGS else 0.03)
        for number in (1, 2, 3)
        for app in ("Editor", "Browser")
        for rung in Rung
    )
    missing = (Missing("Editor", Rung.PARKED, 3, "did not come"), Missing("Mail", None, None, "is not installed"))
    return LaunchReport(MADE_UP, 3, tuple(Rung), samples, missing)


def idle_report() -> IdleReport:
    samples = tuple(
        IdleSample(rung, f"g{n}", 60.0, 12, 40_000_000 + n, 1000 * n, 0.02) for rung in IdleRung for n in range(3)
    )
    return IdleReport(MADE_UP, 3, 60.0, ("org.xfce.mousepad",), samples, (SwapHeld(IdleRung.PARKED, 9_000_000),))


def sign_in_report() -> SignInReport:
    samples = tuple(
        SignInSample(condition, number, 0.1, 0.15, 0.04, 0.02, None, condition is SignInCondition.PRECONNECTED)
        for number in (1, 2)
        for condition in SignInCondition
    )
    return SignInReport(MADE_UP, "Chromium 1", 2, samples, (SignInMissing(SignInCondition.WARM, 2, "fell over"),))


REPORTS = [launch_report(), idle_report(), sign_in_report()]


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.schema)
def test_a_report_comes_back_from_its_json(report: render.Report) -> None:
    text = render.to_json(report)
    assert render.from_json(text) == report
    data = json.loads(text)
    assert data["schema"] == report.schema
    assert data["provenance"]["synthetic"] is True
    assert data["summary"]


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema": "other/1"}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="schemas"):
        render.from_json(text)


def shown(report: render.Report) -> str:
    console = Console(width=220, record=True, file=io.StringIO())
    console.print(render.table(report))
    return console.export_text()


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.schema)
def test_a_table_says_where_its_figures_come_from_and_what_is_missing(report: render.Report) -> None:
    text = " ".join(shown(report).split())
    assert "SYNTHETIC" in text
    assert "Some CPU, 2 cores, 4 GiB, Linux 6; 2026-01-02; ghostdesk bench launch" in text
    if not isinstance(report, IdleReport):
        assert "missing:" in text


def test_the_launch_table_gives_medians_p95_and_the_ratio() -> None:
    report = launch_report()
    assert report.speed_up(Rung.COLD, Rung.FROZEN_KEPT) == pytest.approx(200)
    text = shown(report)
    assert "4,000 (6,000)" in text
    assert "takes 200 times as long" in text


def test_a_rung_that_was_not_measured_is_a_dash_and_no_ratio() -> None:
    report = launch_report()
    report = replace(report, samples=tuple(s for s in report.samples if s.rung is not Rung.COLD))
    assert report.speed_up(Rung.COLD, Rung.FROZEN_KEPT) is None
    assert render.from_json(render.to_json(report)) == report
    assert " - " in shown(report)


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.schema)
def test_plots_are_written_as_pictures(report: render.Report, tmp_path: Path) -> None:
    png, svg = plot.save(report, tmp_path / "figure.png")
    assert svg.read_text().startswith("<?xml")
    with Image.open(png) as picture:
        assert picture.width > 800
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 4


def test_the_host_is_named() -> None:
    assert cpu_name("processor: 0\nmodel name\t: Fast CPU 9\n") == "Fast CPU 9"
    assert cpu_name("")
    here = this_host(date="2026-01-02", command="x")
    assert here.cores >= 1
    assert here.memory_bytes > 0
    assert "SYNTHETIC" not in here.line()
