"""`ghostdesk bench clones`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter
from rich.table import Table

from ghostdesk.bench.clones import CLONED, ClonesReport, Trial, Way, in_words, make_image, run_trials
from ghostdesk.bench.host import Provenance
from ghostdesk.cli.bench_running import Progress, with_engine
from ghostdesk.cli.common import ConfigOption, JsonOption, err, out, settings_of
from ghostdesk.engines.local.clones import FOLDER
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import AppId
from ghostdesk.wiring import Ghostdesk


def clones(
    rounds: Annotated[int, typer.Option(min=1, help="How many desktops each way.")] = 5,
    app_id: Annotated[str, typer.Option(help="The application that is in them.")] = "org.xfce.mousepad",
    zram_mib: Annotated[int, typer.Option(min=0, help="Compressed swap to park in; 0 uses the host's.")] = 1024,
    save: Annotated[Path | None, typer.Option(help="Also write the JSON to this file.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """A desktop with an application: booted, cloned from an image, woken from swap, woken as an image; and its memory.

    Needs root and CRIU 4.1 or later (scripts/setup-criu).
    """
    settings = settings_of(config)
    settings = replace(settings, engine=replace(settings.engine, ghosts_yield=False))
    load = os.getloadavg()[0]
    app, found = AppId(app_id), list[Trial]()
    missing: list[str] = []

    async def without(desk: Ghostdesk, progress: Progress, origin: Provenance) -> Provenance:
        trials, failed = await run_trials(
            desk.engine, desk.hub, app, [way for way in Way if way not in CLONED], rounds, progress
        )
        found.extend(trials)
        missing.extend(failed)
        return origin

    async def with_clones(desk: Ghostdesk, progress: Progress, _: Provenance) -> tuple[float, int]:
        if not isinstance(desk.engine, LocalEngine):
            raise ConfigError("Clones are the local engine's.", 'Set engine.name = "local".')
        progress("making the image")
        images = desk.settings.state.directory / FOLDER
        made = await make_image(desk.engine, images, desk.engine.clones.made)
        ways = [way for way in Way if way in CLONED]
        trials, failed = await run_trials(desk.engine, desk.hub, app, ways, rounds, progress)
        found.extend(trials)
        missing.extend(failed)
        return made

    plain = replace(settings, engine=replace(settings.engine, clones="off"))
    origin = with_engine(plain, zram_mib, without)
    cloning = replace(settings, engine=replace(settings.engine, clones="park", clone_apps=(app_id,)))
    image_s, image_bytes = with_engine(cloning, 0, with_clones)
    loads = (round(load, 1), round(os.getloadavg()[0], 1))
    report = ClonesReport(origin, app_id, tuple(found), image_s, image_bytes, loads, tuple(missing))
    text = TypeAdapter(ClonesReport).dump_json(report, indent=1).decode()
    if save is not None:
        save.write_text(text)
    if as_json:
        typer.echo(text)
        return
    out.print(drawn(report))
    for each in report.missing:
        err.print(f"[yellow]no figure:[/] {each}")


def drawn(report: ClonesReport) -> Table:
    """The report as a table."""
    table = Table(title=f"A desktop with {report.app} for somebody", caption=report.provenance.line())
    heads = ("", "answers, ms", "painted, ms", "app shown, ms", "PSS, MiB", "parked, MiB")
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number == 0 else "right")
    for row in in_words(report):
        table.add_row(*row)
    table.add_section()
    size = f"{report.image_bytes / 2**20:.0f} on disk"
    table.add_row("the image", f"{report.image_s * 1000:.0f}", "", "", "", size)
    table.add_row("load before, after", *("" for _ in heads[2:]), f"{report.loads[0]:.0f}, {report.loads[1]:.0f}")
    return table
