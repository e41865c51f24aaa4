"""`ghostdesk simulate fleet`: the real control loop over thousands of simulated hosts, with faults."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ghostdesk.cli.common import JsonOption, err, out, print_json
from ghostdesk.engines.simulated_faults import parse_faults
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.replay.fleet.report import render_fleet
from ghostdesk.replay.fleet.run import FleetRun, FleetSetup
from ghostdesk.replay.fleet.world import simulate_fleet

_HIDDEN = ("statement", "people", "faults", "violations", "simulated")


def fleet(
    hosts: Annotated[int, typer.Option(help="Simulated hosts.")] = 200,
    users: Annotated[int, typer.Option(help="Synthetic people.")] = 10_000,
    faults: Annotated[
        str,
        typer.Option(help="What goes wrong: none, some, many, or shares such as some,lost=0.1,host_back_s=30."),
    ] = "some",
    minutes: Annotated[float, typer.Option(help="Virtual minutes in which people come and things go wrong.")] = 10.0,
    tick_s: Annotated[float, typer.Option(help="Virtual seconds between two ticks.")] = 5.0,
    desktops_a_host: Annotated[int, typer.Option(help="Desktops that each host has room for.")] = 50,
    calm_s: Annotated[
        float, typer.Option(help="Virtual seconds that the loop may take to come to rest afterwards.")
    ] = 1800.0,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal runs.")] = 0,
    report: Annotated[
        Path | None, typer.Option(help="Also write a picture (HTML) to this file.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the REAL control loop, planner and recovery over SIMULATED hosts and people, in virtual time, with faults.

    It begins at the height of a morning, as after a restart: those who are at work have their desktops, others come and
    go. Hosts die or are cut off, calls are slow, refused or half-done, and answers are lost or come late. At every tick
    it is checked that nothing is leaked, no desktop has two owners, nobody has two desktops, no home is in two, and no
    host is overfull. Then people and faults end, and the loop must come to rest. Exit status 1 when any of it fails.

    Examples:

        ghostdesk simulate fleet --report fleet.html

        ghostdesk simulate fleet --hosts 2000 --users 100000 --faults many --minutes 2 --json
    """
    setup = FleetSetup(
        hosts, users, desktops_a_host=desktops_a_host, faults=parse_faults(faults), minutes=minutes, calm_s=calm_s,
        tick_s=tick_s, seed=seed,
    )  # fmt: skip
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"), TimeElapsedColumn())
    with _without_warnings(), Progress(*columns, console=err, disable=as_json) as bar:
        task = bar.add_task("simulating", total=1.0, told="taking over what runs")
        run = simulate_fleet(setup, lambda share, told: bar.update(task, completed=share, told=told))
    if report is not None:
        try:
            report.write_text(render_fleet(run), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{report} cannot be written: {error.strerror}.", "Name another file.") from error
    if as_json:
        print_json(run.summary() | {"told": [one.text for one in run.violations]})
    else:
        _show(run, report)
    if not run.well:
        raise typer.Exit(1)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Every fault that is met would be told: they are meant, and counted."""
    log = logging.getLogger("ghostdesk")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _show(run: FleetRun, report: Path | None) -> None:
    figures = run.summary()
    table = Table("simulated", "", show_header=False)
    for name, value in figures.items():
        if name not in _HIDDEN:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            table.add_row(name.replace("_", " "), f"{value:,}" if number else str(value))
    for name in ("people", "faults", "violations"):
        value = figures[name]
        assert isinstance(value, dict)
        table.add_row(name, ", ".join(f"{key}: {count:,}" for key, count in value.items()) or "none")
    out.print(table)
    for one in run.violations[:10]:
        out.print(f"VIOLATED {one.code}: {one.text}", markup=False)
    if report is not None:
        out.print(f"{report}: the picture", markup=False)
    out.print(str(figures["statement"]), markup=False)
