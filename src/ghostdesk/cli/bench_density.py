"""`ghostdesk bench density`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ghostdesk.bench.density import DensityReport, DensityRung, run_density_bench
from ghostdesk.bench.density_report import table, to_json
from ghostdesk.bench.host import Provenance
from ghostdesk.cli.bench_running import Progress, chosen_apps, with_engine
from ghostdesk.cli.common import ConfigOption, JsonOption, err, out, settings_of
from ghostdesk.config import Settings
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.resources import MIB
from ghostdesk.wiring import Ghostdesk


def density(
    ghosts: Annotated[int, typer.Option(min=2, help="How many ghosts of each rung to build, one after another.")] = 6,
    parked: Annotated[int, typer.Option(min=0, help="How many of them parked; 0 as the others.")] = 0,
    rungs: Annotated[str, typer.Option(help="Comma-separated: ready, warm, frozen, parked; all by default.")] = "",
    app: Annotated[str, typer.Option(help="The application that is launched in each.")] = "writer",
    seconds: Annotated[float, typer.Option(min=1, help="How long to watch each rung's CPU use.")] = 60.0,
    wakes: Annotated[int, typer.Option(min=0, help="How many parked ghosts to wake of each kind.")] = 5,
    zram_mib: Annotated[int, typer.Option(min=0, help="Compressed swap to set up, in MiB; 0 uses the host's.")] = 16384,
    algorithm: Annotated[str, typer.Option(help="What it compresses with.")] = "auto",
    swap_file_mib: Annotated[int, typer.Option(min=0, help="A swap file to set up behind it, in MiB.")] = 0,
    save: Annotated[Path | None, typer.Option(help="Also write the JSON to this file.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many ghosts of each rung fit in 16 GiB, from real ones; and how fast parked ones wake.

    The aim of the project: `--rungs parked --parked 100` within 4 GiB, and no measurable CPU.
    """
    settings = settings_of(config)
    own = replace(
        settings.parking,
        zram_bytes=float(zram_mib * MIB),
        zram_algorithm=algorithm,
        swap_file_bytes=float(swap_file_mib * MIB),
    )
    counts = [(rung, parked or ghosts if rung is DensityRung.PARKED else ghosts) for rung in _rungs(rungs)]
    chosen = chosen_apps(app)[0]

    async def work(desk: Ghostdesk, progress: Progress, origin: Provenance) -> DensityReport:
        for ability in desk.swap:
            if not ability.available:
                err.print(f"[yellow]without {ability.name}:[/] {ability.detail} {ability.mend}")
        swap = "; ".join(a.detail for a in desk.swap if a.available) or "the host's own swap"
        return await run_density_bench(
            desk.engine,
            desk.hub,
            origin,
            app=chosen,
            swap=swap,
            counts=counts,
            seconds=seconds,
            wakes=wakes,
            progress=progress,
        )

    report = with_engine(_with_parking(settings, own, max(count for _, count in counts)), 0, work)
    if save is not None:
        save.write_text(to_json(report))
    if as_json:
        typer.echo(to_json(report))
    else:
        out.print(table(report))


def _with_parking(settings: Settings, parking: object, ceiling: int) -> Settings:
    return replace(settings, parking=parking, pool=replace(settings.pool, ceiling=ceiling))  # type: ignore[arg-type]


def _rungs(names: str) -> tuple[DensityRung, ...]:
    wanted = [name.strip().lower() for name in names.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in tuple(DensityRung)]:
        raise ConfigError(f"There is no rung {unknown[0]!r}.", "Rungs: " + ", ".join(DensityRung))
    return tuple(rung for rung in DensityRung if not wanted or rung in wanted)
