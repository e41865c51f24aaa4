"""An application over fakes, and clients for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from server_fakes import FakeDesktops, MemoryAccounts, free_port, served
from websockets.asyncio.client import ClientConnection, connect

from ghostdesk.control.service import AppView
from ghostdesk.kernel.clock import VirtualClock
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.server.app import create_app
from ghostdesk.server.auth import make_sign_in_link
from ghostdesk.store.protocol import StoredUser

ADA, BEN, OLA = UserId("ada"), UserId("ben"), UserId("ola")
PAGE = "<!doctype html><title>page</title>"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A desktop that says everything back."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@dataclass
class Peers:
    """Desktops that are plain sockets in this very process."""

    folder: Path
    handler: Handler = echo
    servers: dict[GhostId, asyncio.Server] = field(default_factory=dict)

    async def start(self, ghost: GhostId) -> None:
        path = str(self.folder / f"{ghost}.rfb")
        self.servers[ghost] = await asyncio.start_unix_server(self.handler, path)

    async def stop(self, ghost: GhostId) -> None:
        server = self.servers.pop(ghost)
        server.close()
        (self.folder / f"{ghost}.rfb").unlink(missing_ok=True)

    def path(self, ghost: GhostId) -> str:
        return str(self.folder / f"{ghost}.rfb")


@dataclass
class World:
    """Everything a test of the server needs."""

    app: FastAPI
    service: FakeDesktops
    store: MemoryAccounts
    clock: VirtualClock
    peers: Peers
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A browser without a session; give header names with underscores, `origin=""` leaves the origin out."""
        sent = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        sent |= {name.replace("_", "-").title(): value for name, value in headers.items()}
        kept = {name: value for name, value in sent.items() if value}
        transport = httpx.ASGITransport(app=self.app, client=("127.0.0.1", 40000))
        return httpx.AsyncClient(transport=transport, base_url=self.url, headers=kept)

    def token(self, user: UserId) -> str:
        link = make_sign_in_link(self.store, user, self.url, 60.0, self.clock.now_s())  # type: ignore[arg-type]
        return link.partition("#sign-in=")[2]

    @contextlib.asynccontextmanager
    async def signed_in(self, user: UserId, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        async with self.client(**headers) as client:
            answer = await client.post("/api/session", json={"token": self.token(user)}, headers={"Origin": self.url})
            assert answer.status_code == 200, answer.text
            yield client

    async def opened(self, client: httpx.AsyncClient) -> dict[str, Any]:
        """Open a desktop for that client's user, with a socket behind it."""
        handle: dict[str, Any] = (await client.post("/api/desktop/open")).json()
        if GhostId(handle["ghost"]) not in self.peers.servers:
            await self.peers.start(GhostId(handle["ghost"]))
        return handle

    async def ticket(self, client: httpx.AsyncClient, handle: dict[str, Any]) -> str:
        wanted = {"ghost": handle["ghost"], "generation": handle["generation"]}
        answer = await client.post("/api/desktop/ticket", json=wanted)
        assert answer.status_code == 200, answer.text
        ticket: str = answer.json()["ticket"]
        return ticket

    def socket(self, client: httpx.AsyncClient | None, *, origin: str | None = None, **options: Any) -> connect:
        """A WebSocket to the stream, as that client's browser would open it."""
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items()) if client else ""
        headers = {"Cookie": cookies} if cookies else {}
        address = f"ws://127.0.0.1:{self.port}/api/desktop/stream"
        settings: dict[str, Any] = {"additional_headers": headers, "origin": origin or self.url, "proxy": None}
        return connect(address, **(settings | options))

    @contextlib.asynccontextmanager
    async def stream(self, client: httpx.AsyncClient, ticket: str) -> AsyncIterator[ClientConnection]:
        """A stream that was let in."""
        async with self.socket(client) as socket:
            await socket.send(json.dumps({"ticket": ticket}))
            assert json.loads(await socket.recv()) == {"ok": True}
            yield socket

    def served(self, **options: Any) -> contextlib.AbstractAsyncContextManager[str]:
        return served(self.app, self.port, **options)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text(PAGE)
    (static / "assets/main-ABC.js").write_text("//" + "x" * 4000)
    (tmp_path / "s").mkdir()
    peers = Peers(tmp_path / "s")
    service = FakeDesktops(peers.path)
    service.apps = [AppView(AppId("editor"), "<b>Editor</b>", ("Utility",))]
    store = MemoryAccounts()
    store.put_user(StoredUser(ADA, "Ada"))
    store.put_user(StoredUser(BEN, "Ben"))
    store.put_user(StoredUser(OLA, "Ola", "operator"))
    clock, port = VirtualClock(1000.0), free_port()
    app = create_app(
        service,
        store,  # type: ignore[arg-type]
        origins=[f"http://127.0.0.1:{port}"],
        web_session_life_s=3600.0,
        ticket_life_s=20.0,
        clock=clock,
        static_dir=static,
    )
    yield World(app, service, store, clock, peers, port)
    for ghost in list(peers.servers):
        await peers.stop(ghost)
