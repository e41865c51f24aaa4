"""`ghostdesk evaluate`: score every predictor on a history, with honest, chronological splits."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ghostdesk.cli.common import ConfigOption, err, out, settings_of, zone_named
from ghostdesk.cli.evaluate_arrivals import arrivals
from ghostdesk.cli.evaluate_curves import curves
from ghostdesk.cli.evaluate_desktops import desktops
from ghostdesk.cli.evaluate_energy import energy
from ghostdesk.cli.evaluate_files import files
from ghostdesk.cli.evaluate_pool import pool
from ghostdesk.evaluate.json_out import check_folder, write_json
from ghostdesk.evaluate.next_app import evaluate_next_app
from ghostdesk.evaluate.next_app_methods import methods as own_methods
from ghostdesk.evaluate.next_app_methods import pooled_methods
from ghostdesk.evaluate.next_app_report import limit_sentence, next_app_report, save_reliability_diagram, tables
from ghostdesk.evaluate.sequences import APP_KINDS, AppHistory, AppSequence, read_app_history, sequences_of_events
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import UserId
from ghostdesk.wiring import open_settings_store

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Score every predictor on your own history: trained on what came first, judged on what came later.",
)
app.command("arrivals")(arrivals)
app.command("curves")(curves)
app.command("desktops")(desktops)
app.command("energy")(energy)
app.command("files")(files)
app.command("pool")(pool)


@app.command("next-app")
def next_app(
    file: Annotated[
        Path | None, typer.Argument(help="CSV (plain or compressed) or parquet; the store's own history without one.")
    ] = None,
    methods: Annotated[str, typer.Option(help="Comma-separated names; all by default.")] = "",
    new_users: Annotated[
        bool, typer.Option("--new-users", help="Also everybody's first 20, 100 and 500 steps, from a cold start.")
    ] = False,
    users_limit: Annotated[int, typer.Option(min=0, help="Only the first so many users of the file; 0 is all.")] = 0,
    timezone: Annotated[str, typer.Option(help="Zone of times that name none, and of people's clocks.")] = "UTC",
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0 takes every core.")] = 0,
    json_to: Annotated[
        Path | None, typer.Option("--json", help="Write everything, each user too, to this file; - is standard output.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the reliability diagram: PATH.png and PATH.svg (needs the bench extra).")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Which application comes next: hit rates, MRR, log loss and calibration of every method, side by side.

    The columns say what the file is. `user,split,app` (and `draw`, `position`, `day`): rows of `train` are learnt from,
    rows of `test` are scored, in order. `user,time,app`, or usage events as `ghostdesk import` reads them: immediate
    repeats are dropped, and of each user the last fifth is scored. Every method goes on learning after every step.
    Methods marked * also learn from other people, never from those they are scored on.
    """
    own, pooled = own_methods(), pooled_methods()
    if chosen := [name.strip() for name in methods.split(",") if name.strip()]:
        unknown = sorted(set(chosen) - {*own, *pooled})
        if unknown:
            raise ConfigError(f"There is no method {', '.join(unknown)}.", f"Methods: {', '.join([*own, *pooled])}.")
        own = {name: make for name, make in own.items() if name in chosen}
        pooled = {name: method for name, method in pooled.items() if name in chosen}
    check_folder(json_to)
    check_folder(plot)
    started_s = time.monotonic()
    history = _history(file, zone_named(timezone), config)
    sequences = _first_users(history, users_limit)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("steps x methods", total=None)
        outcome = evaluate_next_app(
            sequences,
            own,
            pooled,
            new_users=new_users,
            jobs=jobs or None,
            progress=lambda done, whole: bar.update(task, completed=done, total=whole),
        )
    report = next_app_report(
        history, sequences, outcome, list(pooled),
        source=str(file) if file else "the store", wall_s=time.monotonic() - started_s,
    )  # fmt: skip
    console = err if str(json_to) == "-" else out
    for table in tables(report):
        console.print(table)
    if report.limit is not None:
        console.print(limit_sentence(report.limit))
    for note in report.notes:
        console.print(note, markup=False, highlight=False)
    if plot is not None:
        for drawn in save_reliability_diagram(report, plot):
            console.print(f"Drawn: {drawn}", markup=False)
    if json_to is not None:
        write_json(report, json_to, sys.stdout)


def _history(file: Path | None, zone: ZoneInfo, config: Path | None) -> AppHistory:
    if file is not None:
        return read_app_history(file, zone)
    store = open_settings_store(settings_of(config))
    try:
        return sequences_of_events(store.events(kinds=APP_KINDS), zone)
    finally:
        store.close()


def _first_users(history: AppHistory, limit: int) -> tuple[AppSequence, ...]:
    if not limit:
        return history.sequences
    users: dict[UserId, None] = {}
    for one in history.sequences:
        users.setdefault(one.user)
    kept = set(list(users)[:limit])
    return tuple(one for one in history.sequences if one.user in kept)
