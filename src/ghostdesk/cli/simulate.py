"""`ghostdesk simulate`: what is made up, and says so."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ghostdesk.cli.common import JsonOption, err, out, print_json
from ghostdesk.cli.simulate_calibration import calibrate, check
from ghostdesk.cli.simulate_fleet import fleet
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.synthetic.calendars import write_calendars
from ghostdesk.replay.synthetic.desktops import SyntheticDesktops
from ghostdesk.replay.synthetic.desktops_csv import write_states
from ghostdesk.replay.synthetic.scenarios import TAUGHT, parse_scenario
from ghostdesk.replay.workload import SyntheticWorkload
from ghostdesk.replay.workload_csv import write_workload

app = typer.Typer(
    no_args_is_help=True,
    help="""Make up histories, where there are none yet, or to see what costs what; and run the control loop over
thousands of simulated hosts with faults (`fleet`).

Nobody in them exists: every name says "synthetic". They have the figures of recorded sets (`check` shows how closely).

Examples:

    ghostdesk simulate history made-up.csv --users 200 --days 60 --scenario class:13:00:30

    ghostdesk simulate states desktops.csv --desktops 150 --days 364

    ghostdesk simulate fleet --hosts 2000 --users 100000 --faults some --minutes 2""",
)
app.command("calibrate")(calibrate)
app.command("check")(check)
app.command("fleet")(fleet)


@app.command("history")
def history(
    file: Annotated[Path, typer.Argument(help="CSV file to write.", show_default=False)],
    users: Annotated[int, typer.Option(help="People.")] = 1000,
    days: Annotated[int, typer.Option(help="Days, from Monday, 2024-12-30 on.")] = 60,
    events_a_day: Annotated[float, typer.Option(help="Events a person and day, of all kinds.")] = 50.0,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal files.")] = 0,
    scenario: Annotated[
        list[str] | None,
        typer.Option(help="What else happens; may be given again. `ghostdesk simulate list` shows them."),
    ] = None,
    rhythm: Annotated[
        str, typer.Option(help="recorded: hours as spread as in a recorded set; office: most begin at about 8:30.")
    ] = "recorded",
    files: Annotated[
        Path | None, typer.Option(help="Also write which files were opened, to this CSV file.", show_default=False)
    ] = None,
    calendars: Annotated[
        Path | None,
        typer.Option(
            help="Also write everybody's calendar (.ics), and the terms, into this folder.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a SYNTHETIC history that `ghostdesk import` and `ghostdesk train` read.

    Nobody in it exists: every event and every name says "synthetic". It serves to measure cost and to try things; how
    good a forecast is can only be told from real people's history.
    """
    if files is not None and files.absolute() == file.absolute():
        raise ConfigError("--files names the file of the history itself.", "Give another file.")
    scenarios = tuple(parse_scenario(one) for one in scenario or ())
    workload = SyntheticWorkload(users, days, events_a_day, seed, scenarios, rhythm)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn())
    written_calendars = 0
    with Progress(*columns, console=err, disable=as_json) as bar:
        task = bar.add_task("writing", total=users, told="")
        written = write_workload(
            workload,
            file,
            lambda people, events: bar.update(task, completed=people, told=f"{events:,} events"),
            files,
        )
        if calendars is not None:
            task = bar.add_task("calendars", total=users, told="")
            written_calendars = write_calendars(
                workload.agenda, calendars, lambda people: bar.update(task, completed=people)
            )
    if as_json:
        print_json({"written": written, "calendars": calendars, "calendar_files": written_calendars})
        return
    _say(f"{written.path}: {written.events:,} synthetic events of {written.users:,} people who do not exist")
    if written.files_path is not None:
        _say(f"{written.files_path}: {written.files_opened:,} synthetic openings of files that do not exist")
    if calendars is not None:
        _say(f"{calendars}: {written_calendars:,} files of synthetic calendars, holidays and terms")


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False)


@app.command("list")
def list_scenarios(as_json: JsonOption = False) -> None:
    """What can be made to happen with `--scenario`, and how it is written. Scenarios go together as you like."""
    if as_json:
        print_json([{"written": one, "example": example, "does": does} for one, example, does in TAUGHT])
        return
    table = Table("written", "for example", "what happens")
    for row in TAUGHT:
        table.add_row(*(Text(cell) for cell in row))  # what may be left out is in brackets, as markup is
    out.print(table)
    out.print("Times are UTC, dates those of the history: it begins on Monday, 2024-12-30.")


@app.command("states")
def states(
    file: Annotated[Path, typer.Argument(help="CSV file to write.", show_default=False)],
    desktops: Annotated[int, typer.Option(help="Shared desktops.")] = 150,
    days: Annotated[int, typer.Option(help="Days, from Monday, 2024-12-30 on.")] = 364,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal files.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Write the SYNTHETIC state log of shared desktops: desktop,state,time, and a column that says it is synthetic.

    Visitors come by hour of week, term and holiday, in clusters, as in a recorded set; each takes the seat they prefer,
    one that was just left, or another. `ghostdesk import` and `ghostdesk evaluate arrivals` read it.
    """
    with nullcontext() if as_json else err.status("seating visitors"):
        written = write_states(SyntheticDesktops(desktops, days, seed), file)
    if as_json:
        print_json(written)
    else:
        _say(
            f"{written.path}: {written.rows:,} synthetic changes of state of {written.desktops:,} desktops that do not "
            f"exist; {written.starts:,} starts, and {written.turned_away:,} visitors found no seat"
        )
