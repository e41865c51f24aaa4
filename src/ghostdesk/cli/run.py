"""`ghostdesk run` and `clean`."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.logging import RichHandler

from ghostdesk.allocator.conditions_gate import GateState
from ghostdesk.cli.accounts import OPERATOR, base_url, link_for
from ghostdesk.cli.common import ConfigOption, err, out, settings_of
from ghostdesk.config import Settings
from ghostdesk.engines.protocol import DESKTOPS
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.server.app import STATIC_DIR, create_app
from ghostdesk.server.guard import PublicAddress, local_origins
from ghostdesk.server.serve import bind, serve
from ghostdesk.server.static import load_page
from ghostdesk.store.protocol import Store, StoredUser
from ghostdesk.wiring import (
    Ghostdesk,
    assemble,
    load_engine,
    open_settings_store,
    parking_swap,
    planner_turn,
    sole_control_plane,
)
from ghostdesk.wiring.doctor import sweep

_POOL_PATIENCE_S = 60.0


def run(
    config: ConfigOption = None,
    keep_desktops: Annotated[
        bool, typer.Option("--keep-desktops", help="On stop, leave desktops running for the next start to take over.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Set a damaged database aside (it is kept) and start with a new one.")
    ] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "warning",
) -> None:
    """Start ghostdesk: fill the pool of ghosts, serve the page, and print a one-time sign-in address."""
    handler = RichHandler(console=err, show_path=False, rich_tracebacks=False)
    logging.basicConfig(level=log_level.upper(), handlers=[handler], format="%(message)s")
    settings = settings_of(config)
    if not load_page(STATIC_DIR):
        raise ConfigError("The page has not been built.", "Run `make setup-run`, or `npm ci && npm run build` in web/.")
    if settings.state.database:
        asyncio.run(_shared(settings, keep_desktops=keep_desktops))
        return
    with sole_control_plane(settings.state.run_directory):
        asyncio.run(_run(settings, keep_desktops=keep_desktops, repair=repair))


async def _shared(settings: Settings, *, keep_desktops: bool) -> None:
    """Where the database is shared, this may be one of several."""
    from ghostdesk.cli.run_shared import run_shared

    store = open_settings_store(settings)
    turn = planner_turn(store)
    assert turn is not None
    await run_shared(settings, store, turn, keep_desktops=keep_desktops)


def stop_on_signals() -> asyncio.Event:
    """Set by SIGINT and SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _run(settings: Settings, *, keep_desktops: bool, repair: bool) -> None:
    started_s = time.monotonic()
    server = settings.server
    stop = stop_on_signals()
    store = open_settings_store(settings, repair=repair)
    listener = bind(server.host, server.port, tls=server.tls_certificate is not None)
    if store.user(OPERATOR) is None:
        store.put_user(StoredUser(OPERATOR, "Operator", "operator"))
    desk = assemble(settings, store)
    page = create_app(
        desk.plane,
        store,
        origins=origins_of(settings),
        web_session_life_s=server.web_session_life_s,
        ticket_life_s=server.ticket_life_s,
        clock=desk.clock,
    )
    try:
        with err.status("starting") as status:
            await desk.start(lambda text: status.update(f"{text} …"))
            say_abilities(desk)
            await fill(desk, stop, status.update)
        serving = asyncio.create_task(
            serve(
                page, server.host, server.port, server.tls_certificate, server.tls_key,
                listener=listener, stop=stop, on_started=lambda: say_ready(settings, store, desk, started_s),
            )
        )  # fmt: skip
        await serving
    finally:
        listener.close()
        with err.status("stopping: ending desktops" if not keep_desktops else "stopping: desktops go on"):
            await desk.stop(keep_ghosts=keep_desktops)
            store.close()
        err.print("stopped.")


def origins_of(settings: Settings) -> frozenset[str]:
    """Loopback's own addresses, and those that the operator says browsers use."""
    server = settings.server
    host = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host  # noqa: S104
    own = local_origins(host, server.port, tls=server.tls_certificate is not None)
    public = frozenset(origin.rstrip("/") for origin in server.public_origins)
    try:
        PublicAddress(public)
    except ValueError as error:
        raise ConfigError(f"server.public_origins: {error}.", 'For example: ["https://desks.example.org"].') from None
    return own | public


async def fill(desk: Ghostdesk, stop: asyncio.Event, say: Callable[[str], None]) -> None:
    """Wait for the floor, with progress; a pool that cannot be built is said and does not stop the page."""
    floor, deadline_s = desk.loop.policy.floor, time.monotonic() + _POOL_PATIENCE_S
    while desk.ready_ghosts() + desk.recovered.active < floor and not stop.is_set():
        gate = desk.loop.observer.gate
        problem = gate.text if gate.state is GateState.PAUSED else desk.plane.status().problem
        if problem or time.monotonic() > deadline_s:
            err.print(f"[yellow]warning:[/] the pool is not full yet: {problem or 'builds take long here'}")
            err.print("         ghostdesk goes on and keeps trying; `ghostdesk doctor` says what is missing.")
            return
        say(f"filling the pool: {desk.ready_ghosts()} of {floor} ghosts ready")
        await asyncio.sleep(0.05)


def say_abilities(desk: Ghostdesk) -> None:
    """What this host cannot do, and what was found."""
    for ability in (*desk.swap, *desk.engine.abilities()):
        if not ability.available:
            err.print(f"[yellow]without {ability.name}:[/] {ability.detail} [dim]{ability.mend}[/]")
    found = desk.recovered
    if found.kept:
        err.print(f"took over {found.kept} desktops that still ran ({found.active} in use)")


def say_ready(settings: Settings, store: Store, desk: Ghostdesk, started_s: float) -> None:
    """The address, and the operator's way in."""
    seconds = time.monotonic() - started_s
    err.print(f"[green]ready[/] in {seconds:.1f} s: {desk.ready_ghosts()} ghosts wait on {base_url(settings)}")
    minutes = settings.server.sign_in_link_life_s / 60
    err.print(f"Sign in once, within {minutes:.0f} minutes, at:")
    typer.echo(link_for(settings, store, OPERATOR))
    err.print("[dim]Others: ghostdesk user add NAME, then ghostdesk sign-in-link NAME. Stop with Ctrl-C.[/]")


def clean(config: ConfigOption = None) -> None:
    """Remove every desktop, mount, cgroup and socket that a killed ghostdesk left behind. Homes and history stay."""
    settings = settings_of(config)
    with sole_control_plane(settings.state.run_directory):
        removed = asyncio.run(_clean(settings))
    removed += asyncio.run(sweep(settings, lambda text: err.print(f"[yellow]warning:[/] {text}")))
    out.print(f"removed {removed} desktops and all that was theirs; homes and history are untouched")


async def _clean(settings: Settings) -> int:
    engine = load_engine(settings)
    await engine.start()
    found = await engine.observe()
    if any(a.name == DESKTOPS and not a.available for a in engine.abilities()) and not found:
        raise ConfigError("Desktops cannot run here, and none were found.", "`ghostdesk doctor` says why.")
    await engine.stop(keep_ghosts=False)
    if left := parking_swap(settings).take_down():
        err.print(f"[yellow]warning:[/] swap of ours is still there: {left}")
    return len(found)
