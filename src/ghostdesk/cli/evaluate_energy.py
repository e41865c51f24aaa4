"""`ghostdesk evaluate energy`: what a fleet of shared desktops would have drawn, had it slept."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ghostdesk.allocator.energy_model import HostPowerModel
from ghostdesk.allocator.policies.choosing import chosen_setting
from ghostdesk.cli.common import date_s, err, out, zone_named
from ghostdesk.evaluate.energy import EnergyReport, evaluate_energy
from ghostdesk.evaluate.energy_lines import EnergyLine
from ghostdesk.evaluate.energy_lives import EnergyAssumptions
from ghostdesk.evaluate.energy_log import DesktopTimes, desktop_times
from ghostdesk.evaluate.json_out import check_folder, write_json
from ghostdesk.evaluate.processes import usable_cores
from ghostdesk.evaluate.readers import read_states
from ghostdesk.kernel.errors import ConfigError


def energy(
    file: Annotated[
        Path, typer.Argument(help="State log: `desktop,state,time`, plain or compressed.", show_default=False)
    ],
    train_until: Annotated[
        str, typer.Option(help="Learn from what lies before this date (2016-01-01), judge the rest; else a fifth.")
    ] = "",
    until: Annotated[str, typer.Option(help="Judge until this date.")] = "",
    train_days: Annotated[float, typer.Option(min=0.0, help="How much of that policies see, at most.")] = 180.0,
    slots: Annotated[int, typer.Option(min=2, help="Desktops that a server holds.")] = 16,
    idle_w: Annotated[float, typer.Option(min=0.0, help="Watts of a server that is awake and idle.")] = 120.0,
    busy_w: Annotated[float, typer.Option(min=0.0, help="Watts of a server with every core in use.")] = 240.0,
    suspended_w: Annotated[float, typer.Option(min=0.0, help="Watts of a server that sleeps.")] = 12.0,
    wake_time_s: Annotated[float, typer.Option(min=0.0, help="Seconds until a server that is woken can serve.")] = 60.0,
    lead_s: Annotated[float, typer.Option(min=1.0, help="Seconds until a new ghost is ready on it.")] = 120.0,
    policy: Annotated[str, typer.Option(help="Says how many ghosts to hold, as in `ghostdesk replay`.")] = "",
    sensitivity: Annotated[bool, typer.Option(help="Try other assumptions, too.")] = True,
    timezone: Annotated[str, typer.Option(help="Zone of times that name none.")] = "UTC",
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0 takes every core.")] = 0,
    json_to: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this file; - is standard output.")
    ] = None,
) -> None:
    """Kilowatt-hours of a fleet of desktops against always on, with the starts that found nothing ready. Modelled.

    *Always on*: every desktop of the log is on all the time that it was not offline; hosted desktops then need as many
    servers at each minute as hold them, and no more. Two worlds are judged: desktops hosted on servers, where the
    pool's policy says how many ghosts wait and a server's wake time is part of its lead time; and physical desktops,
    each its own PC. A miss is a start that does not find a ready desktop within half a second.

    All watts and times are assumptions: they are printed, and can be given. The last table says how much hangs on them.
    """
    zone = zone_named(timezone)
    train_until_s, until_s = date_s(train_until, zone, "--train-until"), date_s(until, zone, "--until")
    assumed = EnergyAssumptions()
    if policy:
        chosen_setting(policy)
        assumed = replace(assumed, pool_policy=policy)
    try:
        server = HostPowerModel(
            "server", idle_w, busy_w, suspended_w, assumed.server.suspend_time_s, wake_time_s,
            min(max(assumed.server.transition_w, idle_w), max(busy_w, idle_w)), source=assumed.server.source,
        )  # fmt: skip
    except ValueError as error:
        raise ConfigError(f"Such a server cannot be: {error}.", "Give --suspended-w <= --idle-w <= --busy-w.") from None
    if server != assumed.server:
        server = replace(server, source="given")
    assumed = replace(assumed, server=server, slots=slots, lead_s=lead_s)
    check_folder(json_to)
    times, notes = _read(file, zone)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task("fleets x minutes", total=1.0)
        report = evaluate_energy(
            times, assumed, train_until_s=train_until_s, until_s=until_s, train_days=train_days,
            sensitivity=sensitivity, jobs=jobs or usable_cores(), notes=notes,
            progress=lambda share: bar.update(task, completed=share),
        )  # fmt: skip
    console = err if str(json_to) == "-" else out
    for table in energy_tables(report):
        console.print(table)
    for sentence in (*energy_sentences(report), *report.notes):
        console.print(sentence, markup=False, highlight=False)
    if json_to is not None:
        write_json({"source": str(file), "report": report}, json_to, sys.stdout)


def _read(file: Path, zone: tzinfo) -> tuple[list[DesktopTimes], list[str]]:
    with err.status(f"reading {file}"):
        return desktop_times(read_states(file, zone))


def energy_tables(report: EnergyReport) -> list[Table]:
    """What a person reads of a report."""
    assumed = report.assumptions
    tables = [
        _lines(f"Hosted on {report.servers} servers of {assumed.slots} desktops (modelled)", "servers", report.hosted),
        _lines(f"Physical: {report.desktops} PCs (modelled)", "PCs", report.seats, assumed.patience_s),
    ]
    if report.sensitivity:
        table = Table(title="Hosted, under other assumptions: share saved against always on", title_justify="left")
        table.add_column("assumption")
        for heading in ("stay, saved", "moved, saved", "moved, misses %"):
            table.add_column(heading, justify="right")
        for one in report.sensitivity:
            still = "-" if one.saved is None else f"{one.saved:.1%}"
            table.add_row(one.what, still, f"{one.saved_moving:.1%}", f"{100.0 * one.miss_share:.2f}")
        tables.append(table)
    if report.seat_sensitivity:
        title = "Physical, people take a seat that is awake, under other assumptions: share saved"
        table = Table(title=title, title_justify="left")
        table.add_column("assumption")
        for heading in ("uses as told", f"over {assumed.forgotten_after_s / 3600:g} h left open"):
            table.add_column(heading, justify="right")
        for seat in report.seat_sensitivity:
            table.add_row(seat.what, f"{seat.saved:.1%}", f"{seat.saved_left_open:.1%}")
        tables.append(table)
    return tables


def _lines(title: str, hosts: str, lines: Sequence[EnergyLine], patience_s: float | None = None) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("how")
    headings = ["kWh", "saved", "of all awake", "misses %", f"{hosts} awake", "wakes", "moves"]
    if patience_s is not None:
        headings = ["kWh", "saved", "misses %", f"over {patience_s:g} s %", f"{hosts} awake", "wakes"]
    for heading in headings:
        table.add_column(heading, justify="right")
    for one in lines:
        cells = [f"{one.energy_kwh:,.0f}", f"{one.saved:.1%}"]
        if patience_s is None:
            cells.append("-" if one.saved_of_all is None else f"{one.saved_of_all:.1%}")
        cells.append(f"{100.0 * one.miss_share:.2f}")
        if patience_s is not None:
            cells.append(f"{100.0 * one.beyond_patience:.2f}")
        cells += [f"{one.hosts_awake:.1f}", f"{one.wakes:,}"]
        if patience_s is None:
            cells.append(f"{one.moves:,}")
        table.add_row(one.name, *cells)
    return table


def energy_sentences(report: EnergyReport) -> list[str]:
    """What goes with the tables."""
    assumed = report.assumptions
    share = report.use_hours / report.on_hours if report.on_hours else 0.0
    return [
        f"{report.starts:,} starts in {report.days:,.0f} days were judged, after {report.trained_days:,.0f} days of "
        f"learning. Desktops were on for {report.on_hours:,.0f} h and in use for {share:.1%} of that: what sleeps only "
        f"while it is not in use can save {1.0 - share:.1%} at most, less what sleep itself draws.",
        "Were uses left open after "
        + ", ".join(
            f"{cut_h:g} h ({hours / max(report.on_hours, 1e-9):.1%} in use)" for cut_h, hours in report.left_open
        )
        + ", they would be in use for so much less.",
        "Saved is against always on: as many servers at each minute as hold the desktops that are on. Of all awake: "
        "against every server of the fleet awake all the time.",
        f"A miss is a start whose desktop is not ready within {assumed.expectation_s:g} s (the page's promise for a "
        "ready ghost).",
        "Assumed, not measured: " + "; ".join((_model(assumed.server), _model(assumed.seat), *_others(assumed))) + ".",
    ]


def _model(model: HostPowerModel) -> str:
    return (
        f"a {model.host_type} draws {model.idle_w:g} W idle, {model.busy_w:g} W busy, {model.suspended_w:g} W asleep, "
        f"{model.transition_w:g} W for {model.suspend_time_s:g} s to fall asleep and {model.wake_time_s:g} s to wake "
        f"({model.source})"
    )


def _others(assumed: EnergyAssumptions) -> list[str]:
    rules = assumed.rules
    return [
        f"{assumed.slots} desktops in use keep {assumed.active_use:.0%} of a server's cores busy, idle ones "
        f"{assumed.idle_use:.0%}; a PC's {assumed.seat_active_use:.0%} and {assumed.seat_idle_use:.0%}",
        f"a ghost takes {assumed.lead_s:g} s; ghosts by {assumed.pool_policy}, room by "
        f"{assumed.room_policy}, awake seats by {assumed.seat_policy}",
        f"{rules.min_awake} server is always awake; one is emptied after {rules.settle_s:g} s of room to spare "
        f"({rules.spare_slots} desktops more than foreseen), and stays awake for {rules.min_on_s:g} s once woken",
        f"moving a desktop takes {assumed.move_energy_j / 1000.0:g} kJ; a server holds {assumed.parked_a_server} "
        f"parked desktops, the room of one desktop {assumed.parked_a_slot}",
        "screens and terminals are left out on both sides",
    ]
