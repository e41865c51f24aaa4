"""`ghostdesk run` where the database is shared: each process serves people, and one of them plans."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

from ghostdesk.cli.accounts import OPERATOR, base_url
from ghostdesk.cli.common import err
from ghostdesk.cli.run import fill, origins_of, say_abilities, say_ready, stop_on_signals
from ghostdesk.config import Settings
from ghostdesk.control.system_clock import SystemClock
from ghostdesk.control.turn import ASK_EVERY_S, Turn, await_turn, watch_turn
from ghostdesk.kernel.errors import StoreError
from ghostdesk.server.app import Serving, SharedApps
from ghostdesk.server.planner_side import SOCKET_NAME, RemoteViewers, planner_listener
from ghostdesk.server.serve import bind, serve
from ghostdesk.store.protocol import Store, StoredUser
from ghostdesk.wiring import Ghostdesk, InUse, assemble, sole_control_plane


@dataclass
class _Replica:
    """One of the processes, with what it needs in either role."""

    settings: Settings
    store: Store
    turn: Turn
    apps: SharedApps
    stop: asyncio.Event
    lost: asyncio.Event
    started_s: float

    def on_lost(self) -> None:
        """Another may plan now: stop, and leave the desktops alone."""
        self.lost.set()
        self.stop.set()


async def run_shared(settings: Settings, store: Store, turn: Turn, *, keep_desktops: bool) -> None:
    """Serve people from now on; plan as soon as nobody else does; until told to stop, or the turn is lost.

    Raises:
        StoreError: the turn was lost.
    """
    server = settings.server
    stop = stop_on_signals()
    listener = bind(server.host, server.port, tls=server.tls_certificate is not None)
    if store.user(OPERATOR) is None:
        store.put_user(StoredUser(OPERATOR, "Operator", "operator"))
    serving = Serving(
        store, origins_of(settings), server.web_session_life_s, server.ticket_life_s, SystemClock()
    )  # fmt: skip
    apps = SharedApps(serving, settings.state.run_directory / SOCKET_NAME)
    replica = _Replica(settings, store, turn, apps, stop, asyncio.Event(), time.monotonic())
    page = asyncio.create_task(
        serve(apps.public, server.host, server.port, server.tls_certificate, server.tls_key,
              listener=listener, stop=stop)
    )  # fmt: skip
    page.add_done_callback(lambda _: stop.set())
    telling = asyncio.create_task(apps.stand_by())
    try:
        if not await _take_at_once(turn):
            err.print(f"[green]serving[/] on {base_url(settings)}: another ghostdesk plans, this one stands by.")
        if await await_turn(turn, SystemClock(), stop.is_set, lambda _text: None):
            await _plan(replica, telling, keep_desktops=keep_desktops)
    finally:
        stop.set()
        telling.cancel()
        await asyncio.gather(page, telling, return_exceptions=True)
        await apps.close()
        await asyncio.to_thread(turn.give_back)
        store.close()  # type: ignore[attr-defined,unused-ignore]
        err.print("stopped.")
    if page.exception() is not None:
        await page
    if replica.lost.is_set():
        raise StoreError("The turn to plan was lost: the database did not answer.", "Start again: it will stand by.")


async def _take_at_once(turn: Turn) -> bool:
    with contextlib.suppress(StoreError):
        return await asyncio.to_thread(turn.take)
    return False


async def _plan(replica: _Replica, telling: asyncio.Task[None], *, keep_desktops: bool) -> None:
    """Take the desktops over and plan, until told to stop; this process has the turn."""
    settings, stop = replica.settings, replica.stop
    watch = asyncio.create_task(watch_turn(replica.turn, SystemClock(), replica.on_lost))
    try:
        async with contextlib.AsyncExitStack() as held:
            if not await _folders(held, replica):
                return
            desk = assemble(settings, replica.store)
            viewers: RemoteViewers | None = None
            try:
                await desk.start()
                inner = held.enter_context(planner_listener(settings.state.run_directory / SOCKET_NAME))
                peers, viewers = await replica.apps.take_over(desk.plane)
                telling.cancel()
                beside = [
                    asyncio.create_task(serve(peers, "127.0.0.1", 0, listener=inner, stop=stop)),
                    asyncio.create_task(viewers.watch()),
                ]
                held.push_async_callback(_end, beside)
                say_abilities(desk)
                await fill(desk, stop, lambda _text: None)
                say_ready(settings, replica.store, desk, replica.started_s)
                await stop.wait()
            finally:
                others = viewers is not None and viewers.replicas() > 0
                await _stop(desk, keep=keep_desktops or others or replica.lost.is_set(), others=others)
    finally:
        watch.cancel()


async def _folders(held: contextlib.AsyncExitStack, replica: _Replica) -> bool:
    """Hold the folders' lock. A planner that lost its turn without dying may have it for a moment still."""
    while not replica.stop.is_set():
        try:
            held.enter_context(sole_control_plane(replica.settings.state.run_directory))
            return True
        except InUse:
            await asyncio.sleep(ASK_EVERY_S)
    return False


async def _stop(desk: Ghostdesk, *, keep: bool, others: bool) -> None:
    why = "another ghostdesk takes the desktops over" if others else "desktops go on" if keep else "ending desktops"
    with err.status(f"stopping: {why}"):
        await desk.stop(keep_ghosts=keep)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks[1:]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
