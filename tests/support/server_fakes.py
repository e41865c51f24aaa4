"""Fakes for the server's two seams (store and control plane) and helpers to serve an application for real."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI

from ghostdesk.control.capacity_views import BookingView, CapacityView, InfeasibleView, RoomView
from ghostdesk.control.context_view import ContextView, GateChange, GaugeView, LinkView
from ghostdesk.control.service import (
    AbilityView,
    ActionView,
    AppView,
    DesktopHandle,
    ForecastView,
    GhostView,
    Notice,
    StatusView,
)
from ghostdesk.kernel.conditions import ClientLink, HostConditions, HostFault
from ghostdesk.kernel.errors import GhostdeskError, NotAllowed, NotFound
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.server.serve import bind, serve
from ghostdesk.store.protocol import LaunchRecord, StoredUser

T = TypeVar("T")

PRESSED = ContextView(
    gate="paused",
    gate_code="memory",
    gate_text="Warming is paused: memory pressure is 23 %; this begins at 20 % and ends below 10 %.",
    gate_since_s=1.7e9,
    notes=("Warming is paused: memory pressure is 23 %; this begins at 20 % and ends below 10 %. Waiting: 2 steps.",),
    changes=(GateChange(1.7e9, "Warming is paused: memory pressure is 23 %."),),
    gauges=(
        GaugeView("cpu", "CPU pressure", 0.12, 0.0, "steady", 0.4, 0.6, 0.9, None),
        GaugeView("memory", "memory pressure", 0.23, 0.04, "rises", 0.05, 0.1, 0.2, None),
        GaugeView("disk", "disk in use", 0.91, 0.01, "rises", 0.9, 0.93, 0.97, 360.0),
    ),
    links=(
        LinkView(UserId("ada"), GhostId("g0"), "good", "round trip 18 ms", 0.02, 0.018, None, 0.0, 9000, 1.7e9),
        LinkView(UserId("ben"), GhostId("g1"), "slow", "round trip 300 ms", 0.4, 0.3, 90e3, 0.4, 9000, 1.7e9),
    ),
    conditions=HostConditions(
        1.7e9, load=1.5, memory_bytes=8e9, memory_available_bytes=3e9, swap_bytes=4e9, swap_free_bytes=3e9,
        disk_bytes=1e11, disk_free_bytes=9e9, problems=("heat cannot be read: no such file",),
        faults=(HostFault("oom-kill", "the kernel killed a process for want of memory"),),
    ),
)  # fmt: skip


class MemoryAccounts:
    """The part of the store that the server uses, in memory."""

    def __init__(self) -> None:
        self.accounts: dict[UserId, StoredUser] = {}
        self.links: dict[bytes, tuple[UserId, float]] = {}
        self.sessions: dict[bytes, tuple[UserId, float]] = {}
        self.audit: list[tuple[str, str, str]] = []
        self.broken: GhostdeskError | None = None

    def add_audit(self, time_s: float, actor: str, action: str, subject: str, reason: str) -> None:
        self.audit.append((actor, action, reason))

    def put_user(self, user: StoredUser) -> None:
        self.accounts[user.user] = user

    def user(self, user: UserId) -> StoredUser | None:
        return self.accounts.get(user)

    def put_sign_in_link(self, token_digest: bytes, user: UserId, expires_s: float) -> None:
        self.links[token_digest] = (user, expires_s)

    def take_sign_in_link(self, token_digest: bytes, now_s: float) -> UserId | None:
        user, expires_s = self.links.pop(token_digest, (None, 0.0))
        return user if expires_s > now_s else None

    def put_web_session(self, token_digest: bytes, user: UserId, expires_s: float) -> None:
        self.sessions[token_digest] = (user, expires_s)

    def web_session(self, token_digest: bytes, now_s: float) -> UserId | None:
        if self.broken is not None:
            raise self.broken
        user, expires_s = self.sessions.get(token_digest, (None, 0.0))
        if user is None or expires_s <= now_s or self.accounts[user].disabled:
            return None
        return user

    def delete_web_sessions(self, user: UserId, token_digest: bytes | None = None) -> int:
        gone = [d for d, (u, _) in self.sessions.items() if u == user and token_digest in (None, d)]
        for digest in gone:
            del self.sessions[digest]
        return len(gone)


class FakeDesktops:
    """A control plane whose desktops are whatever listens on the sockets that `make` returns.

    `make(ghost)` gives the path of an RFB socket; `destroy(ghost)` ends it; `start(ghost, app)` starts an application.
    """

    def __init__(
        self,
        make: Callable[[GhostId], str],
        destroy: Callable[[GhostId], None] = lambda _: None,
        start: Callable[[GhostId, AppId], None] = lambda _g, _a: None,
    ) -> None:
        self._make, self._destroy, self._start = make, destroy, start
        self.sockets: dict[GhostId, str] = {}
        self.owned: dict[UserId, DesktopHandle] = {}
        self.viewers: list[tuple[str, GhostId]] = []
        self.links: list[tuple[UserId, GhostId, ClientLink]] = []
        self.subscribers: dict[UserId, list[asyncio.Queue[Notice]]] = {}
        self.apps: list[AppView] = []
        self.launched: list[tuple[UserId, AppId]] = []
        self.records: list[LaunchRecord] = []
        self.prepares = True
        self.fail_open: GhostdeskError | None = None
        self._made = 0

    def _own(self, user: UserId, *, active: bool) -> DesktopHandle:
        held = self.owned.get(user)
        if held is None:
            ghost = GhostId(f"g{self._made}")
            self._made += 1
            self.sockets[ghost] = self._make(ghost)
            held = DesktopHandle(ghost, 1, False, "warm", 0.004, "You often start at this time.")
        if active and not held.active:
            held = DesktopHandle(held.ghost, held.generation + 1, True, held.path, 0.004, held.reason)
        self.owned[user] = held
        return held

    async def prepare_desktop(self, user: UserId) -> DesktopHandle | None:
        return self._own(user, active=False) if self.prepares or user in self.owned else None

    async def open_desktop(self, user: UserId) -> DesktopHandle:
        if self.fail_open is not None:
            raise self.fail_open
        return self._own(user, active=True)

    async def launch(self, user: UserId, app: AppId) -> LaunchRecord:
        held = self.owned.get(user)
        if held is None or not held.active:
            raise NotFound("You have no open desktop.", "Open one first.")
        if app not in {view.app for view in self.apps}:
            raise NotFound(f"There is no application {app!r}.", "Choose another.")
        self._start(held.ghost, app)
        self.launched.append((user, app))
        record = LaunchRecord(1.7e9, user, app, "shown", 0.009, "It was started beforehand.")
        self.records.insert(0, record)
        return record

    async def catalogue(self, user: UserId) -> Sequence[AppView]:
        return self.apps

    async def end_session(self, user: UserId) -> None:
        self.end(user, "You ended it.")

    def end(self, user: UserId, why: str) -> None:
        held = self.owned.pop(user, None)
        if held is not None:
            del self.sockets[held.ghost]
            self.tell(user, Notice("lost", why, held))
            self._destroy(held.ghost)

    def tell(self, user: UserId, notice: Notice) -> None:
        for queue in self.subscribers.get(user, []):
            queue.put_nowait(notice)

    def rfb_path(self, user: UserId, ghost: GhostId, generation: int) -> str:
        if ghost not in self.sockets:
            raise NotFound("This desktop has ended.", "Open a new one.")
        held = self.owned.get(user)
        if held is None or held.ghost != ghost or held.generation != generation:
            raise NotAllowed("This desktop is not yours.")
        return self.sockets[ghost]

    async def viewer_connecting(self, ghost: GhostId) -> None:
        self.viewers.append(("connecting", ghost))

    def link_measured(self, user: UserId, ghost: GhostId, link: ClientLink) -> None:
        self.links.append((user, ghost, link))

    async def viewer_left(self, ghost: GhostId) -> None:
        self.viewers.append(("left", ghost))

    async def notices(self, user: UserId) -> AsyncIterator[Notice]:
        queue: asyncio.Queue[Notice] = asyncio.Queue()
        self.subscribers.setdefault(user, []).append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self.subscribers[user].remove(queue)

    def status(self) -> StatusView:
        ghosts = tuple(
            GhostView(h.ghost, "active" if h.active else "warm", user, (), None, 1.7e9, 96 << 20, 1.25, h.reason)
            for user, h in self.owned.items()
        )
        spare = GhostView(GhostId("spare0"), "ready", None, (), None, 1.7e9, 61 << 20, 0.5, "The pool holds two.")
        return StatusView(
            now_s=1.7e9 + 90,
            ghosts=(*ghosts, spare),
            plan=(ActionView("build", "spare1", "Arrivals within 20 s: 2 at 99 %."),),
            infeasible=(
                InfeasibleView(
                    "a warm desktop for ben",
                    "No room: it needs 900 MB more memory.",
                    "memory",
                    "memory_bytes",
                    1.5e9,
                    0.6e9,
                ),
            ),
            launches=tuple(self.records),
            abilities=(
                AbilityView("freeze", True, "cgroup v2", ""),
                AbilityView("compressed swap", False, "there is no zram device", "modprobe zram"),
            ),
            capacity=CapacityView(
                (
                    RoomView("cpu_cores", 2.0, 8.0, 3.0, 1.0, 0.0, 0.4, 4.0),
                    RoomView("memory_bytes", 12e9, 12e9, 1.5e9, 0.5e9, 5e9, 2.4e9, 4.6e9),
                    RoomView("gpu_share", 0.0, 0.0, 0.0, 0.0, 0.0, None, 0.0),
                    RoomView("network_bytes_per_s", 0.0, None, 3e6, 0.0, 0.0, None, None),
                ),
                5,
                40,
                2,
                18,
                2e8,
                (
                    BookingView(
                        7, "Physics 2b", "physics", 1.7e9 + 600, 1.7e9 + 4200, 20, 2, 18, "held", "by-hand.ics"
                    ),
                    BookingView(8, "<b>Chess</b>", "anybody", 1.7e9 + 90000, 1.7e9 + 93600, 8, 0, 8, "booked", ""),
                ),
            ),
            pool_target=2,
            pool_reason="Two spare desktops cover the arrivals of the next 20 s.",
            context=PRESSED,
            forecasts=ForecastView(
                "0003",
                steps=900,
                loss_nats=1.9,
                loss_before_nats=1.2,
                hit_rate=0.4,
                half_hours=90,
                drifted=True,
                words="The next application is forecast worse than before.",
                mend="Train again: `ghostdesk train`.",
            ),
        )


class BackgroundLoop:
    """An event loop in a thread, so that tests that block (a browser's driver) can talk to a server."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test server", daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float = 60.0) -> T:
        return self.start(work).result(timeout_s)

    def call(self, function: Callable[..., T], *args: Any) -> T:
        async def work() -> T:
            return function(*args)

        return self.run(work())

    async def _hang_up(self) -> None:
        """A browser may have connected in the very moment in which its server ended: nobody else closes that socket."""
        for transport in list(getattr(self.loop, "_transports", {}).values()):
            transport.abort()
        await asyncio.sleep(0.01)

    def close(self) -> None:
        self.run(self._hang_up())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


def free_port() -> int:
    """A port that nobody has now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def served(app: FastAPI, port: int, **options: Any) -> AsyncIterator[str]:
    """Serve `app` on loopback while the block runs; gives its base address."""
    stop, started = asyncio.Event(), asyncio.Event()
    listener = bind("127.0.0.1", port, tls=False)
    task = asyncio.create_task(
        serve(app, "127.0.0.1", port, listener=listener, stop=stop, on_started=started.set, **options)
    )
    try:
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if task.done():
            await task
        yield f"http://127.0.0.1:{port}"
    finally:
        stop.set()
        await task


def built_page() -> Path | None:
    """The built page, if `npm run build` has been run."""
    static = Path(__file__).parents[2] / "src/ghostdesk/server/static"
    return static if (static / "index.html").is_file() else None
