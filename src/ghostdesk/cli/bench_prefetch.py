"""`ghostdesk bench prefetch`."""

from __future__ import annotations

from typing import Annotated

import typer

from ghostdesk.bench.host import Provenance
from ghostdesk.bench.prefetch import run_prefetch_bench
from ghostdesk.bench.prefetch_report import PrefetchReport, table, to_json
from ghostdesk.cli.bench_running import Progress, chosen_apps, with_engine
from ghostdesk.cli.common import ConfigOption, JsonOption, out, settings_of
from ghostdesk.wiring import Ghostdesk

_APPS = "mousepad,evince,libreoffice,gimp,firefox,chromium"


def prefetch(
    rounds: Annotated[int, typer.Option(min=1, help="Launches under each condition.")] = 5,
    apps: Annotated[str, typer.Option(help="Comma-separated names; those that are not installed are named.")] = _APPS,
    slow_iops: Annotated[int, typer.Option(min=0, help="Reads a second of the slow disk; 0 leaves it out.")] = 150,
    slow_rounds: Annotated[int, typer.Option(min=0, help="Rounds that are done on the slow disk, too.")] = 1,
    record_warm: Annotated[
        bool, typer.Option("--record-warm", help="Record a launch whose files were cached, not one from the disk.")
    ] = False,
    limit_s: Annotated[
        float, typer.Option(min=0, help="Begin no launch later than so many seconds after the start; 0 for no limit.")
    ] = 0.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Launches from a cold disk, from a cold disk after a prefetch of the recorded set, and from a warm page cache.

    Empties the whole host's page cache again and again: not on a host in use. Needs root.
    """

    async def work(desk: Ghostdesk, progress: Progress, origin: Provenance) -> PrefetchReport:
        return await run_prefetch_bench(
            desk.engine,
            desk.hub,
            origin,
            apps=chosen_apps(apps),
            rounds=rounds,
            slow_reads_per_s=slow_iops,
            slow_rounds=slow_rounds,
            record_warm=record_warm,
            limit_s=limit_s,
            progress=progress,
        )

    report: PrefetchReport = with_engine(settings_of(config), 0, work)
    if as_json:
        typer.echo(to_json(report))
    else:
        out.print(table(report))
