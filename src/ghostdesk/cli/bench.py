"""`ghostdesk bench`: measure launches, sign-ins and idle ghosts on this machine, for real."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.status import Status

from ghostdesk.bench.host import Provenance, this_host
from ghostdesk.bench.idle import run_idle_bench
from ghostdesk.bench.launch import run_launch_bench
from ghostdesk.bench.render import Report, table, to_json
from ghostdesk.bench.rungs import BENCH_APPS, BenchApp, Rung
from ghostdesk.bench.signin import run_sign_in_bench
from ghostdesk.cli.accounts import link_for
from ghostdesk.cli.bench_forecast import forecast
from ghostdesk.cli.bench_plan import plan
from ghostdesk.cli.bench_pool import BenchPool, GatedPlane
from ghostdesk.cli.common import ConfigOption, JsonOption, err, out, settings_of
from ghostdesk.config import Settings
from ghostdesk.engines.local.zram import zram_swap
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.server.app import STATIC_DIR, create_app
from ghostdesk.server.guard import local_origins
from ghostdesk.server.serve import bind, serve
from ghostdesk.store.protocol import StoredUser
from ghostdesk.wiring import Ghostdesk, assemble, open_settings_store

app = typer.Typer(no_args_is_help=True, help="Measure, on this machine, with real desktops and applications.")
USER = UserId("bench")
app.command()(forecast)
app.command()(plan)
Progress = Callable[[str], None]
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
    chosen = _chosen_apps(apps)
    wanted = tuple(_rung(name) for name in rungs.split(",") if name) or tuple(Rung)

    async def work(desk: Ghostdesk, progress: Progress, origin: Provenance) -> Report:
        return await run_launch_bench(
            desk.engine, desk.hub, origin, apps=chosen, rounds=rounds, rungs=wanted, progress=progress
        )

    _report(_with_engine(settings_of(config), zram_mib, work), plot, as_json=as_json)


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

    _report(_with_engine(settings_of(config), zram_mib, work), plot, as_json=as_json)


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

    _report(_with_engine(settings_of(config), 0, work), plot, as_json=as_json)


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


def _chosen_apps(names: str) -> tuple[BenchApp, ...]:
    wanted = [n.strip().lower() for n in names.split(",") if n.strip()]
    chosen = tuple(a for a in BENCH_APPS if not wanted or any(w in a.name.lower() for w in wanted))
    if not chosen:
        raise ConfigError(f"No application is called {names!r}.", "Names: " + ", ".join(a.name for a in BENCH_APPS))
    return chosen


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


Work = Callable[[Ghostdesk, Progress, Provenance], Any]


def _with_engine(settings: Settings, zram_mib: int, work: Work) -> Report:
    """Run `work` on a ghostdesk of its own, in folders of its own, and leave nothing behind."""
    command = shlex.join(["ghostdesk", *sys.argv[1:]])
    origin = this_host(date=datetime.now(UTC).date().isoformat(), command=command)
    with _own_folders(settings) as own, err.status("starting") as status:
        try:
            return asyncio.run(_run(own, zram_mib, work, origin, status))
        except asyncio.CancelledError:
            err.print("stopped; what the benchmark had started is gone")
            sys.exit(143)


async def _run(settings: Settings, zram_mib: int, work: Work, origin: Provenance, status: Status) -> Report:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # what was started is cleaned up
    store = open_settings_store(settings)
    store.put_user(StoredUser(USER, "Benchmark"))
    desk = assemble(settings, store, plane_type=GatedPlane)
    try:
        with _swap(zram_mib):
            await desk.start(ticking=False)
            try:
                report: Report = await work(desk, status.update, origin)
            finally:
                await desk.stop(keep_ghosts=False)
        return report
    finally:
        store.close()


@contextlib.contextmanager
def _swap(zram_mib: int) -> Iterator[None]:
    if zram_mib <= 0:
        yield
        return
    try:
        stack = contextlib.ExitStack()
        stack.enter_context(zram_swap(zram_mib * 2**20))
    except OSError as error:
        err.print(f"[yellow]without compressed swap:[/] {error}. Parked ghosts keep their memory in this run.")
        yield
        return
    with stack:
        yield


@contextlib.contextmanager
def _own_folders(settings: Settings) -> Iterator[Settings]:
    with (
        tempfile.TemporaryDirectory(prefix="ghostdesk-bench-", dir="/var/tmp") as state,
        tempfile.TemporaryDirectory(prefix="ghostdesk-bench-", dir="/tmp") as run,
    ):
        for folder in (state, run):
            Path(folder).chmod(0o711)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        yield replace(
            settings,
            state=replace(settings.state, directory=Path(state), run_directory=Path(run)),
            server=replace(settings.server, host="127.0.0.1", port=port, tls_certificate=None, tls_key=None),
            pool=replace(settings.pool, floor=0, ceiling=max(settings.pool.ceiling, 20)),
        )


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
