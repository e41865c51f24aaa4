"""`ghostdesk evaluate curves`: score the forecasts of CPU, memory, network and disk."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ghostdesk.cli.common import err, out
from ghostdesk.evaluate.curves import CurveReport, evaluate_curves
from ghostdesk.evaluate.curves_hours import hourly_usage
from ghostdesk.evaluate.json_out import write_json
from ghostdesk.evaluate.readers import read_resources
from ghostdesk.profiles.resource_curves.training import CurveTraining


def curves(
    file: Annotated[Path, typer.Argument(help="CSV (plain or compressed) or parquet.", show_default=False)],
    resource: Annotated[
        list[str] | None, typer.Option("--resource", help="Only this column; may be given again.")
    ] = None,
    unseen: Annotated[
        int,
        typer.Option(
            min=0,
            help="Also train without some machines and score on those, in so many folds (each takes as long again).",
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the training; the same seed gives the same scores.")] = 0,
    json_to: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this file; - is standard output.")
    ] = None,
) -> None:
    """How much CPU, memory, network and disk the next 12 hours take: quantile loss and coverage of every predictor.

    The file has the columns `vm,time_s` (seconds) and any amounts that are used, such as `cpu_pct`, `mem_used_mib` or
    `net_rx_kib_s`; each is scored by itself. Samples become hourly means. The last 9 days (30 % of a shorter history)
    are scored from every hour on, and the model learns from what came before, of all machines.

    *Loss* is the weighted quantile loss: 0 is perfect, smaller is better, and a machine counts by what it uses.
    *Interval* is a 95 % bootstrap interval of it, machines drawn.
    *Inside %* is how often the truth lay within the 50, 80 and 95 % intervals; the nearer to those, the better.
    Machines that idle at exactly 0 sit on an interval's edge: they count in part under *split %*.
    """
    with err.status(f"reading {file}"):
        usage = hourly_usage(read_resources(file), tuple(resource or ()))
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        reports = evaluate_curves(
            usage,
            options=CurveTraining(seed=seed),
            folds=unseen,
            progress=lambda what, share: bar.update(task, description=what, completed=share),
        )
    console = err if str(json_to) == "-" else out
    for report in reports:
        console.print(_table(report))
    for note in dict.fromkeys((*usage.notes, *(f"{r.resource}: {note}" for r in reports for note in r.notes))):
        console.print(note, markup=False, highlight=False)
    if json_to is not None:
        write_json({"file": str(file), "notes": usage.notes, "resources": reports}, json_to, sys.stdout)


def _table(report: CurveReport) -> Table:
    table = Table(
        title=f"{report.resource}: {report.machines:,} machines, {report.forecasts:,} forecasts of 12 h",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("predictor", no_wrap=True)
    for heading in ("loss", "interval", "inside %", "split %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in report.scores:
        interval = f"{one.interval.low:.3f}-{one.interval.high:.3f}" if one.interval else "-"
        name = f"[bold]{one.predictor}[/]" if one.predictor.startswith("ghostdesk") else one.predictor
        table.add_row(
            name,
            f"{one.weighted_quantile_loss:.3f}",
            interval,
            "/".join(f"{100 * share:.0f}" for share in one.coverage),
            "/".join(f"{100 * share:.0f}" for share in one.coverage_ties_split),
        )
    return table
