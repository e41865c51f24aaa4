"""`ghostdesk evaluate desktops`: what every policy would have cost, one desktop at a time."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ghostdesk.allocator.policies.catalogue import ROW_FAMILIES
from ghostdesk.allocator.policies.seam import PolicyFamily
from ghostdesk.cli.common import date_s, err, out, zone_named
from ghostdesk.cli.evaluate_arrivals import SLOTS
from ghostdesk.evaluate.arrivals_reading import ArrivalHistory, read_arrival_history
from ghostdesk.evaluate.desktops import DesktopReport, evaluate_desktops
from ghostdesk.evaluate.desktops_world import Lead
from ghostdesk.evaluate.json_out import check_folder, write_json
from ghostdesk.kernel.errors import ConfigError


def desktops(
    file: Annotated[Path, typer.Argument(help="CSV (plain or compressed) or parquet.", show_default=False)],
    train_until: Annotated[
        str,
        typer.Option(help="Learn from what lies before this date (2016-01-01), judge the rest; else the last fifth."),
    ] = "",
    policies: Annotated[str, typer.Option(help="Comma-separated names of policies; all by default.")] = "",
    lead_s: Annotated[float, typer.Option(min=0.0, help="Seconds until a desktop that is begun is ready.")] = 0.0,
    lead_spread: Annotated[
        float, typer.Option(min=0.0, max=2.0, help="Standard deviation of the logarithm of that time.")
    ] = 0.0,
    slot_minutes: Annotated[
        int, typer.Option(min=0, help="Policies are asked every so many minutes; 0 is 10 for desktops, 60 for people.")
    ] = 0,
    timezone: Annotated[str, typer.Option(help="Zone of times that name none, and of people's clocks.")] = "UTC",
    seed: Annotated[int, typer.Option(min=0, help="Of the drawn lead times.")] = 1,
    json_to: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this file; - is standard output.")
    ] = None,
) -> None:
    """What each policy would have cost, had it kept every desktop ready by itself: cold starts against idle minutes.

    The columns say what the file is: `desktop,state,time` (a desktop is a row), `user,utc,tz_min`, `user,time,event` or
    `user,time,app` (a user is a row, with a desktop of their own). Every policy lives through the whole file in order,
    sees only what came before, and goes on learning; only what lies after --train-until is judged.

    **Reading the table**: *cold* is the share of starts whose desktop was not ready just then; *idle* is the time that
    desktops were ready, or getting so, and not used, for each start. Compare policies at equal cost: the last table
    has everybody's cold starts at the same idle minutes. The clairvoyant bound knows the future: nobody can be better.
    """
    zone = zone_named(timezone)
    until_s = date_s(train_until, zone, "--train-until")
    chosen = chosen_families(policies, ROW_FAMILIES)
    if not (math.isfinite(lead_s) and math.isfinite(lead_spread)):
        raise ConfigError("--lead-s and --lead-spread have to be finite.", "Give seconds, such as 75.")
    check_folder(json_to)
    history = read_arrival_history(file, zone)
    minutes = slot_minutes or history.slot_minutes[0]
    if minutes not in SLOTS:
        allowed = ", ".join(str(length) for length in SLOTS)
        raise ConfigError(f"Slots of {minutes} minutes cannot be had.", f"Give one of {allowed}.")
    report = _judged(history, chosen, minutes * 60, until_s, Lead(lead_s, lead_spread, seed))
    console = err if str(json_to) == "-" else out
    for table in desktop_tables(report):
        console.print(table)
    for sentence in [*desktop_sentences(report), *history.notes]:
        console.print(sentence, markup=False, highlight=False)
    if json_to is not None:
        whole = {"source": str(file), "notes": history.notes, "findings": history.findings, "report": report}
        write_json(whole, json_to, sys.stdout)


def chosen_families(names: str, known: Sequence[PolicyFamily]) -> list[PolicyFamily]:
    """The families of those comma-separated names, all for none; raises `ConfigError`."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = sorted(set(wanted) - {family.name for family in known})
    if unknown:
        allowed = ", ".join(family.name for family in known)
        raise ConfigError(f"There is no policy {', '.join(unknown)} for desktops.", f"Policies: {allowed}.")
    return [family for family in known if not wanted or family.name in wanted]


def _judged(
    history: ArrivalHistory, families: Sequence[PolicyFamily], slot_s: int, until_s: float | None, lead: Lead
) -> DesktopReport:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task("living through the history", total=None)

        def show(done: int, whole: int) -> None:
            bar.update(task, completed=done, total=whole)

        return evaluate_desktops(history, families, slot_s, train_until_s=until_s, lead=lead, progress=show)


def desktop_tables(report: DesktopReport) -> list[Table]:
    """What a person reads of a report."""
    return [_points(report), _compared(report)]


def desktop_sentences(report: DesktopReport) -> list[str]:
    """What goes with the tables."""
    spread = f", spread {report.lead_spread:g}" if report.lead_spread else ""
    lead = f"{report.lead_s:g} s until one is ready{spread}" if report.lead_s else "no time until one is ready"
    return [
        f"{report.sessions:,} starts of {report.rows:,} {report.noun}s were judged; decisions every "
        f"{report.slot_minutes:g} minutes, {lead}. A row's very first use is cold under every policy."
    ]


def _points(report: DesktopReport) -> Table:
    table = Table(title=f"Keeping each {report.noun} ready by itself", title_justify="left")
    table.add_column("policy")
    table.add_column("setting")
    for column in ("cold %", "idle min a session", "best month", "worst month"):
        table.add_column(column, justify="right")
    for curve in report.curves:
        for place, point in enumerate(curve.points):
            table.add_row(
                "" if place else curve.title,
                point.label,
                _percent(point.cold),
                f"{point.idle_minutes:.0f}",
                _percent(point.best_month_cold),
                _percent(point.worst_month_cold),
                end_section=place + 1 == len(curve.points),
            )
    return table


def _compared(report: DesktopReport) -> Table:
    table = Table(title="Cold % at the same idle minutes a session", title_justify="left")
    table.add_column("policy")
    for minutes in report.compared_minutes:
        table.add_column(str(minutes), justify="right")
    for curve in report.curves:
        table.add_row(curve.title, *(_percent(cold) for cold in curve.cold_at))
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100.0 * share:.1f}"
