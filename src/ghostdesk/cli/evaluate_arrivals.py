"""`ghostdesk evaluate arrivals`: score the forecasts of when people come."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ghostdesk.cli.common import date_s, err, out, zone_named
from ghostdesk.evaluate.arrivals import BUDGET_MINUTES, MIXTURE, ArrivalReport, evaluate_arrivals
from ghostdesk.evaluate.arrivals_reading import ArrivalHistory, read_arrival_history
from ghostdesk.evaluate.json_out import check_folder, write_json
from ghostdesk.evaluate.metrics import Interval
from ghostdesk.kernel.errors import ConfigError

SLOTS = (5, 10, 15, 20, 30, 60, 120, 240)


def arrivals(
    file: Annotated[Path, typer.Argument(help="CSV (plain or compressed) or parquet.", show_default=False)],
    slot_minutes: Annotated[
        list[int] | None,
        typer.Option(
            help="Foretell starts within so many minutes (5 to 240); may be given again. 10 for desktops, else 60."
        ),
    ] = None,
    train_until: Annotated[
        str,
        typer.Option(help="Train on what lies before this date (2016-01-01), score the rest; else 80 % of each span."),
    ] = "",
    timezone: Annotated[str, typer.Option(help="Zone of times that name none, and of people's clocks.")] = "UTC",
    json_to: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this file; - is standard output.")
    ] = None,
) -> None:
    """When people come: every predictor's chance of a session starting in the next minutes, side by side.

    The columns say what the file is. `user,utc,tz_min` (signs of life): a session is a run with gaps under two hours.
    `desktop,state,time`: a session is a stretch of `in-use`, keyed by desktop. `user,time,event` or `user,time,app`: as
    signs of life, ended by sign-outs too. Scored are the slots that find somebody idle, for at most four weeks;
    everything learns on while it is scored.

    **Reading the tables**: log loss is what surprise costs (lower is better); calibration says how far a forecast of
    30 % is from happening 30 % of the time; the last tables say how many people would have found their desktop cold,
    if each were kept ready for so many unused minutes a session.
    """
    zone = zone_named(timezone)
    until_s = date_s(train_until, zone, "--train-until")
    check_folder(json_to)
    history = read_arrival_history(file, zone)
    lengths = tuple(slot_minutes or history.slot_minutes)
    for minutes in lengths:
        if minutes not in SLOTS:
            allowed = ", ".join(str(length) for length in SLOTS)
            raise ConfigError(f"Slots of {minutes} minutes cannot be had.", f"Give one of {allowed}.")
    reports = [_scored(history, minutes, until_s) for minutes in lengths]
    console = err if str(json_to) == "-" else out
    for report in reports:
        for table in arrival_tables(report):
            console.print(table)
        for sentence in arrival_sentences(report):
            console.print(sentence, markup=False, highlight=False)
    for note in history.notes:
        console.print(note, markup=False, highlight=False)
    if json_to is not None:
        found = {"source": str(file), "notes": history.notes, "findings": history.findings, "slots": reports}
        write_json(found, json_to, sys.stdout)


def _scored(history: ArrivalHistory, minutes: int, until_s: float | None) -> ArrivalReport:
    """One length of slot, with a bar of how far it is."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task(f"slots of {minutes} min", total=None)

        def show(done: int, whole: int) -> None:
            bar.update(task, completed=done, total=whole)

        return evaluate_arrivals(history, minutes * 60, until_s, show)


def arrival_tables(report: ArrivalReport) -> list[Table]:
    """What a person reads of a report."""
    return [_hazards(report), _counts(report), _budgets(report), _policies(report)]


def arrival_sentences(report: ArrivalReport) -> list[str]:
    """What goes with the tables."""
    ours = next(score for score in report.scores if score.name == MIXTURE)
    said = [
        f"{ours.slots:,} slots of {report.rows:,} {report.noun}s were scored; {ours.starts:,} saw a session start, "
        f"where the mixture expected {ours.expected_starts:,.0f}. {report.unscored_starts:,} more starts came in slots "
        f"that were in use before, from a {report.noun} never seen before, or after four idle weeks."
    ]
    singles = [score for score in report.scores if score.name != MIXTURE]
    best = singles[0]
    said.append(
        f"Against the best single predictor ({best.name}) the mixture's log loss is lower by "
        f"{best.log_loss - ours.log_loss:.6f} nats a slot (95 %: {_range(report.better_by[best.name], 6)})."
    )
    return said


def _hazards(report: ArrivalReport) -> Table:
    table = Table(title=f"A session starts in the next {report.slot_minutes:g} minutes", title_justify="left")
    table.add_column("predictor")
    for column in ("log loss", "95 %", "macro", "95 %", "Brier", "calibration error", "AUC", "avg. precision"):
        table.add_column(column, justify="right")
    for one in report.scores:
        table.add_row(
            one.name,
            f"{one.log_loss:.5f}",
            _range(one.log_loss_interval, 5),
            f"{one.log_loss_macro:.5f}",
            _range(one.log_loss_macro_interval, 5),
            f"{one.brier:.5f}",
            f"{one.calibration_error:.2%}",
            f"{one.auc:.3f}",
            f"{one.average_precision:.3f}",
            style="bold" if one.name == MIXTURE else "",
        )
    return table


def _counts(report: ArrivalReport) -> Table:
    table = Table(title="Starts of everyone together, a slot", title_justify="left")
    table.add_column("predictor")
    for column in ("log score", "mean error", "in 50 %", "in 80 %", "in 95 %"):
        table.add_column(column, justify="right")
    for one in report.counts:
        shares = (f"{share:.1%}" for share in one.coverage)
        table.add_row(one.name, f"{one.log_score:.4f}", f"{one.absolute_error:.3f}", *shares)
    return table


def _budgets(report: ArrivalReport) -> Table:
    table = Table(
        title="Cold starts, where a threshold (picked afterwards) allows so many ready but idle minutes a session",
        title_justify="left",
    )
    table.add_column("predictor")
    for minutes in BUDGET_MINUTES:
        table.add_column(str(minutes), justify="right")
    for one in report.budgets:
        cells = ("-" if cold is None else f"{cold:.1%}" for cold in one.cold)
        table.add_row(one.name, *cells, style="bold" if one.name == MIXTURE else "")
    return table


def _policies(report: ArrivalReport) -> Table:
    table = Table(title="Policies with parameters of their own", title_justify="left")
    table.add_column("policy")
    table.add_column("cold starts", justify="right")
    table.add_column("idle minutes a session", justify="right")
    for one in report.policies:
        table.add_row(one.policy, f"{one.cold:.1%}", f"{one.idle_minutes:.0f}")
    return table


def _range(interval: Interval | None, digits: int) -> str:
    return "-" if interval is None else f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"
