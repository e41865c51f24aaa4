"""The density report as a table and as JSON."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ghostdesk.bench.density import CallBack, DensityReport, DensityRung, RungSeries
from ghostdesk.bench.density_fit import Cost
from ghostdesk.bench.stats import Summary
from ghostdesk.kernel.resources import GIB, MIB

MEMORY_BYTES = 16 * GIB
TITLE: dict[DensityRung, str] = {
    DensityRung.READY: "ready",
    DensityRung.WARM: "warm",
    DensityRung.FROZEN: "warm, all frozen",
    DensityRung.PARKED: "parked",
}


def to_json(report: DensityReport) -> str:
    """Every step and wake, in bytes and seconds, and what follows from them."""
    data: dict[str, Any] = {"schema": report.schema}
    data |= TypeAdapter(DensityReport).dump_python(report, mode="json")
    data["summary"] = [
        {
            "rung": series.rung,
            "measured": cost.up_to,
            "marginal_bytes": cost.marginal_bytes,
            "shared_bytes": cost.shared_bytes,
            "fit_in_16_gib": cost.fit_in(MEMORY_BYTES),
            "cpu_share": series.cpu_s / series.window_s,
        }
        for series in report.series
        if (cost := series.cost) is not None
    ]
    return json.dumps(data, indent=2) + "\n"


def from_json(text: str) -> DensityReport:
    """Read a report back; raises `ValueError` for anything else."""
    data = json.loads(text)
    if not isinstance(data, dict) or data.pop("schema", "") != DensityReport.schema:
        raise ValueError(f"not a density report; its schema would be {DensityReport.schema}")
    data.pop("summary", None)
    report: DensityReport = TypeAdapter(DensityReport).validate_python(data)
    return report


def table(report: DensityReport) -> RenderableType:
    """The report for a terminal."""
    parts: list[RenderableType] = [_rungs(report), *(_steps(each) for each in report.series if len(each.steps) > 2)]
    if report.wakes:
        parts.append(_wakes(report))
    failed = [f"missing: {series.rung}: {why}" for series in report.series for why in series.failed]
    notes = [Text(note, style="yellow") for note in (*failed, *(f"missing: {why}" for why in report.missing))]
    end = f"* extrapolated from the straight line. {report.app}; {report.swap}. {report.provenance.line()}"
    return Group(*parts, *notes, Text(end, style="dim"))


def _rungs(report: DensityReport) -> Table:
    grid = _grid("What one more ghost takes (a straight line through the steps)", "rung")
    for title in ("measured", "MiB each", "shared MiB", "in 16 GiB *", "CPU % of all"):
        grid.add_column(title, justify="right")
    for series in report.series:
        cost = series.cost
        cpu = f"{100 * series.cpu_s / series.window_s:.2f}"
        count = str(series.steps[-1].ghosts if series.steps else 0)
        grid.add_row(TITLE[series.rung], count, *(_figures(cost) if cost else ("-", "-", "-")), cpu)
    return grid


def _figures(cost: Cost) -> tuple[str, str, str]:
    fit = cost.fit_in(MEMORY_BYTES)
    return f"{cost.marginal_bytes / MIB:.1f}", f"{cost.shared_bytes / MIB:.0f}", f"{fit:,}"


def _steps(series: RungSeries) -> Table:
    grid = _grid(f"All {series.rung} ghosts together, MiB", "ghosts")
    for title in ("RAM", "PSS", "zram", "kernel", "swapped", "MemAvailable fell"):
        grid.add_column(title, justify="right")
    for step in series.steps:
        amounts = (
            step.ram_bytes, step.pss_bytes, step.zram_bytes, step.kernel_bytes, step.swap_pss_bytes,
            step.available_lost_bytes,
        )  # fmt: skip
        grid.add_row(str(step.ghosts), *(f"{amount / MIB:,.0f}" for amount in amounts))
    return grid


def _wakes(report: DensityReport) -> Table:
    grid = _grid("Waking a parked ghost, ms: median (maximum)", "pages")
    for title in ("first frame", "painted", "key to echo", "call-back", "n"):
        grid.add_column(title, justify="right")
    for how in CallBack:
        first = report.wake(how, lambda wake: wake.first_frame_s)
        if first is not None:
            grid.add_row(
                how,
                _ms(first),
                _ms(report.wake(how, lambda wake: wake.painted_s)),
                _ms(report.wake(how, lambda wake: wake.key_s)),
                _ms(report.wake(how, lambda wake: wake.called_back_s)),
                str(first.n),
            )
    return grid


def _grid(title: str, first: str) -> Table:
    grid = Table(title=title, title_justify="left", title_style="bold")
    grid.add_column(first, no_wrap=True)
    return grid


def _ms(summary: Summary | None) -> str:
    return "-" if summary is None else f"{1e3 * summary.median:.0f} ({1e3 * summary.maximum:.0f})"
