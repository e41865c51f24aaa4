"""`ghostdesk doctor`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ghostdesk.cli.common import ConfigOption, JsonOption, err, out, print_json, settings_of
from ghostdesk.config import Settings
from ghostdesk.doctor.report import Finding, Report, State, Verdict
from ghostdesk.doctor.steps import Say
from ghostdesk.engines.protocol import Ability
from ghostdesk.wiring.doctor import examine

_DOING = {
    "start": "starting the engine",
    "leftovers": "looking for what a killed doctor left",
    "room": "looking at the host",
    "build": "building a test desktop",
    "picture": "waiting for its picture",
    "agent": "waiting for its agent",
    "key": "typing",
    "home": "attaching a home",
    "limits": "changing its limits",
    "freeze": "freezing it",
    "park": "pushing its memory out",
    "wake": "waking it",
    "destroy": "destroying it",
    "leave": "leaving the engine",
}
_SAID = {
    Verdict.WELL: "[green]well:[/] desktops run here",
    Verdict.PARTLY: "[yellow]partly:[/] desktops run here, and something that should work does not",
    Verdict.BROKEN: "[red]broken:[/] desktops cannot be had here",
}
_MARKS = {State.WELL: "[green]well[/]", State.FAILED: "[red]failed[/]", State.SKIPPED: "[dim]left out[/]"}


def doctor(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    desktop: Annotated[
        bool, typer.Option("--desktop/--no-desktop", help="Whether to build a test desktop, the only real proof.")
    ] = True,
    patience_s: Annotated[
        float, typer.Option(min=1.0, max=3600.0, help="Seconds that each wait may take before it counts as failed.")
    ] = 60.0,
) -> None:
    """Check the engine and the host end to end, and say what is missing and how to mend it.

    A test desktop is built, watched until it is painted, typed into, put to sleep, woken and destroyed, each step
    timed. It has its own folders and names: a ghostdesk that runs is not disturbed. What a doctor that was killed left
    is removed by the next one, or by `ghostdesk clean`.

    Exit status: 0 all is well; 1 desktops cannot be had; 2 a wrong option; 3 desktops run, something else failed.
    """
    settings = settings_of(config)
    with err.status("starting") as status:
        report = asyncio.run(
            _examine(settings, lambda step: status.update(f"{_DOING.get(step, step)} …"), desktop, patience_s)
        )
    if as_json:
        print_json(_plain(report))
    else:
        _print(report)
    raise typer.Exit(report.exit_code)


async def _examine(settings: Settings, say: Say, desktop: bool, patience_s: float) -> Report:
    task = asyncio.create_task(examine(settings, say, desktop=desktop, patience_s=patience_s))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None  # the desktop has been destroyed


def _plain(report: Report) -> dict[str, object]:
    return {
        "verdict": report.verdict.value,
        "engine": report.engine,
        "steps": [asdict(one) for one in report.findings],
        "abilities": list(report.abilities),
    }


def _print(report: Report) -> None:
    if report.abilities:
        out.print(_ability_table(report.abilities))
    out.print(_step_table(report.findings))
    for one in report.findings:
        if one.state is State.FAILED:
            out.print(Text.assemble((f"{one.step} failed: ", "bold red"), one.cause))
            if one.mend:
                out.print(Text.assemble(("mend: ", "bold green"), one.mend))
    out.print(f"{_SAID[report.verdict]} (engine {report.engine})")


def _step_table(findings: Sequence[Finding]) -> Table:
    table = Table("step", "", "ms", "seen")
    for one in findings:
        took = "" if one.state is State.SKIPPED else f"{one.duration_s * 1000:.0f}"
        table.add_row(one.step, _MARKS[one.state], took, Text(one.detail or one.code))
    return table


def _ability_table(abilities: Sequence[Ability]) -> Table:
    table = Table("ability", "here", "detail", "mend")
    for a in abilities:
        table.add_row(a.name, "[green]yes[/]" if a.available else "[yellow]no[/]", a.detail, a.mend)
    return table
