"""`ghostdesk bench contention`: a person's desktop alone, and while ghosts warm beside it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from ghostdesk.bench.contention import ContentionReport, Phase, run_contention_bench
from ghostdesk.bench.host import Provenance
from ghostdesk.cli.bench_running import Progress, with_engine
from ghostdesk.cli.common import ConfigOption, JsonOption, out, print_json, settings_of
from ghostdesk.kernel.ids import app_id
from ghostdesk.wiring import Ghostdesk, pool_policy


def contention(
    ghosts: Annotated[int, typer.Option(min=1, max=200, help="How many ghosts warm beside the person.")] = 20,
    keys: Annotated[int, typer.Option(min=10, help="Keys pressed alone, before and after.")] = 100,
    app: Annotated[str, typer.Option(help="What each ghost launches, hidden.")] = "libreoffice-writer",
    most_s: Annotated[float, typer.Option(min=10, help="Most seconds that warming may take.")] = 600.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """From a key to its pixels on a desktop in use: alone, and while ghosts are built and warmed beside it.

    Ghosts get the limits that the settings give them. They yield to people; this shows how well.
    """
    settings = settings_of(config)
    launched = app_id(app)

    async def work(desk: Ghostdesk, progress: Progress, origin: Provenance) -> ContentionReport:
        limits = pool_policy(settings).ghost_limits
        return await run_contention_bench(
            desk.engine,
            desk.hub,
            origin,
            limits=limits,
            ghosts=ghosts,
            keys=keys,
            app=launched,
            most_s=most_s,
            progress=progress,
        )

    report = with_engine(settings, 0, work)
    if as_json:
        print_json(_json(report))
    else:
        _show(report)


def _json(report: ContentionReport) -> dict[str, Any]:
    phases = {
        str(each.phase): {
            "summary": asdict(each.summary) if each.summary else None,
            "median_ratio": report.ratio(each.phase, lambda s: s.median),
            "p95_ratio": report.ratio(each.phase, lambda s: s.p95),
        }
        for each in report.typed
    }
    return asdict(report) | {"summary": phases}


def _show(report: ContentionReport) -> None:
    table = Table(
        "from a key to its pixels", "keys", "median", "95th", "slowest", "median, ratio", "95th, ratio", "load"
    )
    for each in report.typed:
        summary = each.summary
        if summary is None:
            continue
        ratios = (report.ratio(each.phase, lambda s: s.median), report.ratio(each.phase, lambda s: s.p95))
        table.add_row(
            str(each.phase),
            f"{summary.n}" + (f" ({each.lost} lost)" if each.lost else ""),
            *(f"{value * 1e3:.1f} ms" for value in (summary.median, summary.p95, summary.maximum)),
            *("" if each.phase is Phase.ALONE or ratio is None else f"{ratio:.2f}" for ratio in ratios),
            f"{each.load[0]:.1f}-{each.load[1]:.1f}",
        )
    out.print(table)
    warm = [each for each in report.warmed if not each.problem]
    out.print(f"{len(warm)} of {report.ghosts} ghosts warm, with {report.app}, after {report.warming_s:.1f} s.")
    for ghost in report.warmed:
        if ghost.problem:
            out.print(f"[yellow]not warm:[/] {ghost.ghost}: {ghost.problem}", soft_wrap=True)
    out.print(report.provenance.line(), soft_wrap=True, style="dim")
