"""`ghostdesk simulate`: what is made up, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ghostdesk.cli.common import JsonOption, err, out, print_json
from ghostdesk.replay.workload import SyntheticWorkload
from ghostdesk.replay.workload_csv import write_workload

app = typer.Typer(no_args_is_help=True, help="Make up histories, for measuring what training and forecasting cost.")


@app.callback()
def _group() -> None:
    """Keeps `history` a command of its own while it is the only one."""


@app.command("history")
def history(
    file: Annotated[Path, typer.Argument(help="CSV file to write.", show_default=False)],
    users: Annotated[int, typer.Option(help="People.")] = 1000,
    days: Annotated[int, typer.Option(help="Days, from a Monday on.")] = 60,
    events_a_day: Annotated[float, typer.Option(help="Events a person and day, of all kinds.")] = 50.0,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal files.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Write a SYNTHETIC history that `ghostdesk import` and `ghostdesk train` read.

    Nobody in it exists: every event and every name says "synthetic". It serves to measure cost; how good a forecast is
    can only be told from real people's history.
    """
    workload = SyntheticWorkload(users, days, events_a_day, seed)
    columns = (TextColumn("writing"), BarColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=as_json) as bar:
        task = bar.add_task("", total=users, told="")
        written = write_workload(
            workload, file, lambda people, events: bar.update(task, completed=people, told=f"{events:,} events")
        )
    if as_json:
        print_json(written)
    else:
        out.print(f"{written.path}: {written.events:,} synthetic events of {written.users:,} people who do not exist")
