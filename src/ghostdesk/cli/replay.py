"""`ghostdesk replay`: what would ghostdesk have done with my last year?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ghostdesk.cli.common import ConfigOption, RayOption, date_s, err, out, settings_of, zone_named
from ghostdesk.config import Settings
from ghostdesk.control.policy_feed import DECIDE_EVERY_S
from ghostdesk.evaluate.arrivals_events import history_of_events
from ghostdesk.evaluate.arrivals_reading import ArrivalHistory, read_arrival_history
from ghostdesk.evaluate.json_out import check_folder, write_json, write_text
from ghostdesk.evaluate.processes import usable_cores
from ghostdesk.evaluate.sequences import foreign_events
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.history import Sessions, between, sessions_of, window_of
from ghostdesk.replay.metrics import CostModel
from ghostdesk.replay.report import ReplayReport, build_report
from ghostdesk.replay.report_html import render_html
from ghostdesk.replay.run import SETTINGS_A_POLICY, Point, ReplayJob, replay_all
from ghostdesk.replay.run import settings_of as policy_settings
from ghostdesk.replay.world import ReplayFigures
from ghostdesk.training.cluster import Cluster, cluster_or_none
from ghostdesk.wiring import open_settings_store

_PEOPLE_EVERY_S = 300.0
"""Policies that keep ghosts for single people look at all of them each time."""
_SIMULATED = "[yellow]simulated[/]"


HistoryArgument = Annotated[
    Path | None, typer.Argument(help="CSV (plain or compressed) or parquet; without one, ghostdesk's own store.")
]
PoliciesOption = Annotated[
    str,
    typer.Option(help="Separated by commas. `static` is some settings of it, from cheap to dear; `static:5` is one."),
]
TrainUntilOption = Annotated[
    str, typer.Option(help="Learn from what lies before this date, replay the rest; else the first four weeks.")
]
LeadSpreadOption = Annotated[
    float, typer.Option(min=0.0, max=3.0, help="Standard deviation of the logarithm of that time.")
]
MeasuredOption = Annotated[
    bool, typer.Option("--measured", help="Say in the report that --lead-s and --lead-spread were measured.")
]
DecideEveryOption = Annotated[
    float, typer.Option(min=0.0, help="How often the policy is asked; 0: every minute, or for people every 5 minutes.")
]
TargetOption = Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of starts that should find a ready ghost.")]
JsonToOption = Annotated[
    Path | None, typer.Option("--json", help="Write everything to this file; - is standard output.")
]
HtmlToOption = Annotated[Path | None, typer.Option("--html", help="Write the report with its pictures to this file.")]


def replay(
    history: HistoryArgument = None,
    policies: PoliciesOption = "static,ours",
    settings_a_policy: Annotated[
        int, typer.Option(min=1, help="At most so many settings of each.")
    ] = SETTINGS_A_POLICY,
    from_date: Annotated[str, typer.Option("--from", help="Pass over what started before this date.")] = "",
    until: Annotated[str, typer.Option(help="Pass over what started at or after this date.")] = "",
    train_until: TrainUntilOption = "",
    lead_s: Annotated[float, typer.Option(min=0.01, help="Mean seconds until a new ghost is ready.")] = 120.0,
    lead_spread: LeadSpreadOption = 0.0,
    measured: MeasuredOption = False,
    hand_over_s: Annotated[float, typer.Option(min=0.0, help="Seconds to hand a ready ghost over.")] = 0.28,
    destroy_s: Annotated[float, typer.Option(min=0.0, help="Seconds to destroy a used desktop.")] = 5.0,
    ceiling: Annotated[int, typer.Option(min=0, help="Most desktops of all kinds; 0 for no limit.")] = 0,
    builds_at_once: Annotated[int, typer.Option(min=0, help="Most ghosts made at a time; 0 for no limit.")] = 0,
    ghost_memory_gib: Annotated[float, typer.Option(min=0.0, help="Memory of a ghost that waits.")] = 0.25,
    decide_every_s: DecideEveryOption = 0.0,
    price_per_ghost_hour: Annotated[float, typer.Option(min=0.0, help="Price of an idle ghost for an hour.")] = 0.0,
    price_per_gib_hour: Annotated[float, typer.Option(min=0.0, help="Price of a GiB of memory for an hour.")] = 0.0,
    price_per_kwh: Annotated[float, typer.Option(min=0.0, help="Price of a kilowatt-hour.")] = 0.0,
    target_hit_rate: TargetOption = 0.99,
    timezone: Annotated[str, typer.Option(help="Zone of times that name none, and of people's clocks.")] = "",
    seed: Annotated[int, typer.Option(help="Equal seeds give equal build times.")] = 0,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0 for every core (of the cluster).")] = 0,
    ray: RayOption = "",
    json_to: JsonToOption = None,
    html_to: HtmlToOption = None,
    config: ConfigOption = None,
) -> None:
    """What would ghostdesk have done with this history? The control loop itself, in virtual time, for each policy.

    The columns say what the file is: `desktop,state,time` (shared desktops: any ready ghost serves any start),
    `user,utc,tz_min` or `user,time,event` (people, who may have ghosts of their own). No real desktop is started: how
    long things take is assumed, or what you measured and give here.

    Printed are the share of starts that found a ready ghost, how long people waited, and what idle ghosts cost; then
    the cheapest setting that serves `--target-hit-rate`, with the lines for your settings file.
    """
    check_folder(json_to)
    check_folder(html_to)
    chosen = policy_settings([name.strip() for name in policies.split(",") if name.strip()], settings_a_policy)
    if not chosen:
        raise ConfigError("--policies names none.", "Give one or more, such as --policies static.")
    settings = settings_of(config)
    zone_name = timezone or settings.forecast.timezone
    zone = zone_named(zone_name)
    until_s, train_until_s = date_s(until, zone, "--until"), date_s(train_until, zone, "--train-until")
    with err.status(f"reading {history if history is not None else 'the store'}"):
        told = _read(history, zone) if history is not None else _store(settings, zone)
        sessions = between(_sessions(told), date_s(from_date, zone, "--from"), until_s)
    every_s = max(decide_every_s, 1.0) if decide_every_s else (_PEOPLE_EVERY_S if sessions.named else DECIDE_EVERY_S)
    figures = ReplayFigures(
        lead_s, lead_spread, hand_over_s, destroy_s, ceiling, builds_at_once, ghost_memory_gib,
        decide_every_s=every_s, seed=seed,
    )  # fmt: skip
    model = CostModel(
        ghost_memory_gib, price_per_ghost_hour=price_per_ghost_hour,
        price_per_gib_hour=price_per_gib_hour, price_per_kwh=price_per_kwh,
    )  # fmt: skip
    job = ReplayJob(sessions, window_of(sessions, train_until_s, until_s, zone), figures, model, zone_name)
    source = history.name if history is not None else "ghostdesk's own store"
    figures_from = "measured, as the operator says" if measured else "assumed"
    with cluster_or_none(ray) as cluster:
        points = _replayed(job, chosen, jobs or (usable_cores() if cluster is None else cluster.cpus), cluster)
    report = build_report(job, points, source=source, figures_from=figures_from, target_hit_rate=target_hit_rate)
    _tell(report, json_to, html_to)


def _tell(report: ReplayReport, json_to: Path | None, html_to: Path | None) -> None:
    _show(report, to_err=str(json_to) == "-")
    if html_to is not None:
        write_text(render_html(report), html_to)
    if json_to is not None:
        write_json(report, json_to, sys.stdout)


def _replayed(job: ReplayJob, chosen: Sequence[str], jobs: int, cluster: Cluster | None) -> list[Point]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task(f"{len(chosen)} settings", total=1.0)
        return replay_all(job, chosen, jobs, lambda share: bar.update(task, completed=share), cluster)


def _show(report: ReplayReport, *, to_err: bool) -> None:
    console = err if to_err else out
    console.print(f"{_SIMULATED}: {report.statement.partition(': ')[2]}")
    table = Table(
        title=f"{report.judged_from[:10]} to {report.judged_until[:10]}", title_justify="left", box=SIMPLE_HEAD
    )
    table.add_column("policy", overflow="fold")
    for heading in ("found ready", "p95 s", "p99 s", "idle ghost-h", "kWh", "boots", "unused", "fleet kWh", "saved"):
        table.add_column(heading, justify="right", no_wrap=True)
    if report.model.priced:
        table.add_column("money", justify="right")
    for one in report.points:
        f = one.figures
        waits = ("-" if w != w else f"{w:.3g}" for w in (f.wait.p95_s, f.wait.p99_s))  # noqa: PLR0124
        cells = [
            f"{f.hit_rate:.2%}", *waits, f"{f.idle_ghost_hours:,.0f}",
            f"{f.energy_kwh:,.2f}", f"{f.boots:,}", f"{f.evictions:,}",
            f"{one.fleet.as_run_kwh:,.1f}", f"{one.fleet.saved_share:.0%}",
        ]  # fmt: skip
        if report.model.priced:
            cells.append(f"{f.money:,.2f}")
        table.add_row(Text(one.setting), *cells, style="bold" if one.setting == report.advice.setting else "")
    console.print(table)
    fleet = report.points[0].fleet
    console.print(
        f"The fleet's kWh are modelled ({fleet.model}); {fleet.desktops:,} desktops always on: "
        f"{fleet.always_on_kwh:,.1f} kWh.",
        markup=False,
        highlight=False,
    )
    console.print(report.advice.sentence, markup=False, highlight=False)
    console.print(report.advice.settings_lines, markup=False, highlight=False)
    for note in report.notes:
        console.print(note, markup=False, highlight=False)


def _sessions(told: ArrivalHistory) -> Sessions:
    return sessions_of(told.rows, named=told.noun == "user", notes=told.notes)


def _read(history: Path, zone: tzinfo) -> ArrivalHistory:
    """A table, or what an importer knows (an ActivityWatch export)."""
    foreign = foreign_events(history, zone, None)
    if foreign is None:
        return read_arrival_history(history, zone)
    events, notes = foreign
    return history_of_events(events, zone, str(history), notes.sentences())


def _store(settings: Settings, zone: tzinfo) -> ArrivalHistory:
    store = open_settings_store(settings)
    try:
        return history_of_events(store.events(), zone, "ghostdesk's own store")
    finally:
        store.close()
