"""`ghostdesk evaluate pool`: what every policy's warm pool would have cost."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ghostdesk.allocator.policies.catalogue import POOL_FAMILIES
from ghostdesk.allocator.policies.choosing import live_families
from ghostdesk.cli.common import date_s, err, out, zone_named
from ghostdesk.evaluate.arrivals_reading import ArrivalHistory, read_arrival_history
from ghostdesk.evaluate.json_out import check_folder, write_json
from ghostdesk.evaluate.pool import PoolOptions, PoolReport, evaluate_pool
from ghostdesk.evaluate.processes import usable_cores
from ghostdesk.kernel.errors import ConfigError

_LONGEST_LEAD_S = 86_400.0


def pool(
    file: Annotated[Path, typer.Argument(help="CSV (plain or compressed) or parquet.", show_default=False)],
    train_until: Annotated[
        str,
        typer.Option(help="Learn from what lies before this date (2016-01-01), judge the rest; else the last fifth."),
    ] = "",
    train_days: Annotated[float, typer.Option(min=0.0, help="How much of that policies see, at most.")] = 365.0,
    policies: Annotated[str, typer.Option(help="Comma-separated names of policies; all by default.")] = "",
    lead_s: Annotated[float, typer.Option(help="Seconds until a ghost that is begun is ready (mean).")] = 120.0,
    lead_spread: Annotated[
        float, typer.Option(min=0.0, max=2.0, help="Standard deviation of the logarithm of that time.")
    ] = 0.0,
    timezone: Annotated[str, typer.Option(help="Zone of times that name none, and of the local clock.")] = "UTC",
    seed: Annotated[int, typer.Option(min=0, help="Of the drawn lead times.")] = 0,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0 takes every core.")] = 0,
    json_to: Annotated[
        Path | None,
        typer.Option("--json", help="Write everything, each month too, to this file; - is standard output."),
    ] = None,
) -> None:
    """What each policy would have cost, had everybody shared one warm pool: misses against idle ghost-hours.

    The columns say what the file is: `desktop,state,time` (a start is a change to `in-use`), `user,utc,tz_min`,
    `user,time,event` or `user,time,app` (a start is a session's first sign of life). A start takes any ready ghost;
    one that finds none is a miss. A ghost takes --lead-s to get ready, idle meanwhile; one that is taken is replaced at
    once. Policies are asked every minute, see only what came before, and go on learning.

    **Reading the table**: compare policies at equal misses, never by single rows; the second table does so, against
    the static pool. Settings are the policy's own range. The clairvoyant bound knows every start just long enough
    before it comes.
    """
    zone = zone_named(timezone)
    until_s = date_s(train_until, zone, "--train-until")
    chosen = _chosen(policies)
    if not 0.0 < lead_s <= _LONGEST_LEAD_S or not math.isfinite(lead_spread) or not math.isfinite(train_days):
        raise ConfigError("--lead-s has to be above 0 and a day at most.", "Give seconds, such as 120.")
    check_folder(json_to)
    with err.status(f"reading {file}"):
        history = read_arrival_history(file, zone)
    options = PoolOptions(until_s, train_days, lead_s, lead_spread, seed, zone, jobs or usable_cores())
    report = _judged(history, chosen, options)
    console = err if str(json_to) == "-" else out
    console.print(pool_table(report))
    console.print(compared_table(report))
    for sentence in (*pool_sentences(report), *history.notes):
        console.print(sentence, markup=False, highlight=False)
    if json_to is not None:
        write_json({"source": str(file), "notes": history.notes, "pool": report}, json_to, sys.stdout)


def pool_table(report: PoolReport) -> Table:
    """Each policy's settings, their misses and idle ghost-hours."""
    table = Table(title=f"Warm pool for all {report.noun}s together", title_justify="left")
    for heading in ("policy", "setting"):
        table.add_column(heading)
    for heading in ("misses %", "idle ghost-hours", "boots"):
        table.add_column(heading, justify="right")
    for curve in report.curves:
        for place, point in enumerate(curve.points):
            last = place == len(curve.points) - 1
            table.add_row(
                curve.title if place == 0 else "", point.setting, f"{point.misses_pct:.2f}",
                f"{point.idle_hours:,.0f}", f"{point.cost.boots:,}", end_section=last,
            )  # fmt: skip
    table.add_row("clairvoyant bound", "-", "0.00", f"{report.clairvoyant_hours:,.0f}", f"{report.starts:,}")
    return table


def compared_table(report: PoolReport) -> Table:
    """Every policy at the same misses."""
    table = Table(title=f"At {report.miss_share:.0%} misses", title_justify="left")
    table.add_column("policy")
    table.add_column("idle ghost-hours", justify="right")
    table.add_column("less idle than static", justify="right")
    for curve in report.curves:
        table.add_row(curve.title, _number(curve.idle_hours_at), _percent(curve.less_idle))
    table.add_row("clairvoyant bound (no misses)", _number(report.clairvoyant_hours), _percent(report.clairvoyant_less))
    return table


def pool_sentences(report: PoolReport) -> list[str]:
    """What goes with the tables."""
    spread = f", spread {report.lead_spread:g}" if report.lead_spread else ""
    return [
        f"{report.starts:,} starts in {report.hours:,.0f} hours were judged, after {report.trained_days:,.0f} days of "
        f"learning; a ghost takes {report.lead_s:g} s{spread}. A dash: the policy's settings do not reach that share."
    ]


def _judged(history: ArrivalHistory, chosen: Sequence[str], options: PoolOptions) -> PoolReport:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task("minutes x settings", total=None)
        return evaluate_pool(
            history, chosen, options, lambda done, whole: bar.update(task, completed=done, total=whole)
        )


def _chosen(policies: str) -> list[str]:
    names = [name.strip() for name in policies.split(",") if name.strip()]
    if unknown := sorted(set(names) - set(live_families())):
        raise ConfigError(f"There is no policy {', '.join(unknown)}.", f"Policies: {', '.join(live_families())}.")
    return names or [family.name for family in POOL_FAMILIES]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
