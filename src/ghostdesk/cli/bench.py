"""`ghostdesk bench`: measure launches, sign-ins and idle ghosts on this machine, for real."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer

from ghostdesk.bench.host import Provenance
from ghostdesk.bench.idle import run_idle_bench
from ghostdesk.bench.launch import run_launch_bench
from ghostdesk.bench.render import Report, table, to_json
from ghostdesk.bench.rungs import Rung
from ghostdesk.bench.signin import run_sign_in_bench
from ghostdesk.cli.accounts import link_for
from ghostdesk.cli.bench_clones import clones
from ghostdesk.cli.bench_contention import contention
from ghostdesk.cli.bench_density import density
from ghostdesk.cli.bench_files import files
from ghostdesk.cli.bench_fleet import fleet
from ghostdesk.cli.bench_forecast import forecast
from ghostdesk.cli.bench_ingest import ingest
from ghostdesk.cli.bench_limits import limits
from ghostdesk.cli.bench_plan import plan
from ghostdesk.cli.bench_pool import BenchPool, GatedPlane
from ghostdesk.cli.bench_prefetch import prefetch
from ghostdesk.cli.bench_running import USER, Progress, chosen_apps, with_engine
from ghostdesk.cli.common import ConfigOption, JsonOption, err, out, settings_of
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import AppId
from ghostdesk.server.app import STATIC_DIR, create_app
from ghostdesk.server.guard import local_origins
from ghostdesk.server.serve import bind, serve
from ghostdesk.wiring import Ghostdesk

app = typer.Typer(no_args_is_help=True, help="Measure, on this machine, with real desktops and applications.")
app.command()(clones)
app.command()(density)
app.command()(files)
app.command()(fleet)
app.command()(forecast)
app.command()(ingest)
app.command()(plan)
app.command()(prefetch)
app.command()(contention)
app.command()(limits)
PlotOption = Annotated[Path | None, typer.Option(help="Also draw it: PATH.png and PATH.svg (needs the bench extra).")]
SwapOption = Annotated[
    int, typer.Option("--zram-mib", help="Compressed swap to set up for the run, in MiB; 0 uses what the host has.")
]


@app.command()
def launch(
    rounds: Annotated[int, typer.Option(min=1, help="Trials of each rung.")] = 10,
    apps: Annotated[str, typer.Option(help="Comma-separated names; all that are installed by default.")] = "",
    rungs: Annotated[str, typer.Option(help="Comma-separated rungs; all by default.")] = "",
    zram_mib: SwapOption = 4096,
    plot: PlotOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """From asking for an application until its whole window is painted, rung by rung of the ladder.

    Cold starts empty the whole host's page cache: not on a host in use.
    """
    chosen = chosen_apps(apps)
    wanted = tuple(_rung(name) for name in rungs.split(",") if name) or tuple(Rung)

    async def work(desk: Ghostdesk, progress: Progress, origin: Provenance) -> Report:
        return await run_launch_bench(
            desk.engine, desk.hub, origin, apps=chosen, rounds=rounds, rungs=wanted, progress=progress
        )

    _report(with_engine(settings_of(config), zram_mib, work), plot, as_json=as_json)


@app.command()
def idle(
    ghosts: Annotated[int, typer.Option(min=1, help="How many idle ghosts.")] = 10,
    seconds: Annotated[float, typer.Option(min=1, help="How long to watch each rung.")] = 60.0,
    zram_mib: SwapOption = 4096,
    plot: PlotOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What idle ghosts hold in each rung: memory (PSS), swap and CPU."""

    async def work(desk: Ghostdesk, progress: Progress, origin: Provenance) -> Report:
        return await run_idle_bench(desk.engine, desk.hub, origin, ghosts=ghosts, seconds=seconds, progress=progress)

    _report(with_engine(settings_of(config), zram_mib, work), plot, as_json=as_json)


@app.command()
def signin(
    rounds: Annotated[int, typer.Option(min=1, help="Presses of each kind.")] = 10,
    app_id: Annotated[list[str] | None, typer.Option("--app", help="Applications of the warm ghost.")] = None,
    plot: PlotOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """From pressing "Open desktop" in a real Chromium until the desktop is painted and takes a key."""
    warm = tuple(AppId(a) for a in (app_id or ["org.xfce.mousepad", "lxterminal"]))

    async def work(desk: Ghostdesk, progress: Progress, origin: Provenance) -> Report:
        assert isinstance(desk.plane, GatedPlane)
        pool = BenchPool(desk.plane, USER, warm)
        async with _serving(desk):
            return await run_sign_in_bench(
                lambda: link_for(desk.settings, desk.store, USER), pool, origin, rounds=rounds, progress=progress
            )

    _report(with_engine(settings_of(config), 0, work), plot, as_json=as_json)


@app.command("all")
def run_all(
    rounds: Annotated[int, typer.Option(min=1)] = 10,
    folder: Annotated[Path, typer.Option(help="Where JSON and plots go.")] = Path("build/bench"),
    config: ConfigOption = None,
) -> None:
    """Every benchmark, one after the other; JSON and plots go to build/bench."""
    folder.mkdir(parents=True, exist_ok=True)
    launch(rounds=rounds, plot=folder / "launch", config=config)
    signin(rounds=rounds, plot=folder / "signin", config=config)
    idle(plot=folder / "idle", config=config)


def _rung(name: str) -> Rung:
    try:
        return Rung(name.strip())
    except ValueError:
        raise ConfigError(f"There is no rung {name!r}.", "Rungs: " + ", ".join(Rung)) from None


def _report(report: Report, plot: Path | None, *, as_json: bool) -> None:
    if as_json:
        typer.echo(to_json(report))
    else:
        out.print(table(report))
    if plot is not None:
        from ghostdesk.bench.plot import save

        plot.parent.mkdir(parents=True, exist_ok=True)
        plot.with_suffix(".json").write_text(to_json(report))
        err.print("drawn: " + ", ".join(str(p) for p in save(report, plot)))


@contextlib.asynccontextmanager
async def _serving(desk: Ghostdesk) -> AsyncIterator[None]:
    server = desk.settings.server
    page = create_app(
        desk.plane,
        desk.store,
        origins=local_origins(server.host, server.port, tls=False),
        web_session_life_s=server.web_session_life_s,
        ticket_life_s=server.ticket_life_s,
        clock=desk.clock,
        static_dir=STATIC_DIR,
    )
    stop = asyncio.Event()
    serving = asyncio.create_task(
        serve(page, server.host, server.port, listener=bind(server.host, server.port, tls=False), stop=stop)
    )
    try:
        yield
    finally:
        stop.set()
        await serving
