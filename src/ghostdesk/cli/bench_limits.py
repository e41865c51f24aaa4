"""`ghostdesk bench limits`: what each resource's limit holds, and how soon a claim lifts it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from ghostdesk.bench.host import Provenance
from ghostdesk.bench.limits import RESOURCES, LimitsReport, Loaded, run_limits_bench
from ghostdesk.bench.stats import Summary
from ghostdesk.cli.bench_running import Progress, with_engine
from ghostdesk.cli.common import ConfigOption, JsonOption, out, print_json, settings_of
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.resources import MIB
from ghostdesk.wiring import Ghostdesk


def limits(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each resource, of about four seconds.")] = 5,
    only: Annotated[str, typer.Option(help="Comma-separated resources; all by default.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """CPU, memory, network and storage of a real ghost: under its limit, without, and how soon a claim lifts it.

    Loads run inside the ghost. It is frozen and claimed, and the time is taken from the claim until the load runs as
    fast as it does without a limit. Needs root.
    """
    settings = settings_of(config)
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := sorted(set(wanted) - set(RESOURCES)):
        raise ConfigError(f"There is no resource {unknown[0]!r}.", f"Resources: {', '.join(RESOURCES)}.")

    async def work(desk: Ghostdesk, progress: Progress, origin: Provenance) -> LimitsReport:
        folder = desk.settings.state.directory / "load"
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        return await run_limits_bench(
            desk.engine, desk.hub, origin, folder=folder, rounds=rounds, only=wanted, progress=progress
        )

    report = with_engine(settings, 0, work)
    if as_json:
        print_json(_json(report))
    else:
        _show(report)


def _json(report: LimitsReport) -> dict[str, Any]:
    def summed(resource: str, name: str) -> dict[str, Any] | None:
        summary = report.of(resource, lambda each: getattr(each, name))
        return asdict(summary) if summary else None

    names = ("limited", "lifted", "set_s", "thaw_s", "ready_s")
    summary = {resource: {name: summed(resource, name) for name in names} for resource in report.resources()}
    return asdict(report) | {"summary": summary}


def _show(report: LimitsReport) -> None:
    table = Table("resource", "limit", "under it", "lifted", "set", "thaw", "claim to all of it: median (slowest)", "n")
    for resource in report.resources():
        one = next(each for each in report.loaded if each.resource == resource)

        def amount(summary: Summary | None, one: Loaded = one) -> str:
            return "-" if summary is None else _amount(summary.median, one)

        set_s, thaw_s = report.of(resource, lambda e: e.set_s), report.of(resource, lambda e: e.thaw_s)
        ready = report.of(resource, lambda e: e.ready_s)
        table.add_row(
            resource,
            _amount(one.limit, one),
            amount(report.of(resource, lambda e: e.limited)),
            amount(report.of(resource, lambda e: e.lifted)),
            *("-" if summary is None else f"{summary.median * 1e3:.1f} ms" for summary in (set_s, thaw_s)),
            "-" if ready is None else f"{ready.median * 1e3:.1f} ms ({ready.maximum * 1e3:.1f})",
            f"{ready.n if ready else 0}",
        )
    out.print(table)
    out.print("Medians. Memory: what a process could hold, and until it held 24 MiB beyond the old limit.")
    for name, why in report.missing:
        out.print(f"[yellow]not measured:[/] {name}: {why}", soft_wrap=True)
    out.print(report.provenance.line(), soft_wrap=True, style="dim")


def _amount(value: float, one: Loaded) -> str:
    if one.unit == "cores":
        return f"{value:.2f} cores"
    return f"{value / MIB:.0f} MiB" if one.resource == "memory" else f"{value / 1e6:.1f} MB/s"
