"""A replica serves people while another process plans: both in this one process, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_fakes import FakeDesktops, MemoryAccounts, free_port, served
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ghostdesk.control.service import AppView, Notice
from ghostdesk.kernel.clock import VirtualClock
from ghostdesk.kernel.conditions import ClientLink
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.server import replica as replica_module
from ghostdesk.server.app import Serving, SharedApps
from ghostdesk.server.auth import make_sign_in_link
from ghostdesk.server.planner_side import SILENT_S, RemoteViewers, planner_listener
from ghostdesk.server.serve import serve
from ghostdesk.store.protocol import StoredUser

ADA, OLA = UserId("ada"), UserId("ola")


@dataclass
class Pair:
    """A planner and a replica of it, each with its page's port."""

    folder: Path
    store: MemoryAccounts
    clock: VirtualClock
    service: FakeDesktops
    ports: tuple[int, int]
    planner: SharedApps
    replica: SharedApps
    viewers: RemoteViewers | None = None
    desktops: list[asyncio.Server] = field(default_factory=list)

    def url(self, which: int) -> str:
        return f"http://127.0.0.1:{self.ports[which]}"

    @contextlib.asynccontextmanager
    async def signed_in(self, user: UserId, which: int) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"Origin": self.url(which)}
        async with httpx.AsyncClient(base_url=self.url(which), headers=headers, timeout=30, trust_env=False) as client:
            link = make_sign_in_link(self.store, user, self.url(which), 60.0, self.clock.now_s())  # type: ignore[arg-type]
            answer = await client.post("/api/session", json={"token": link.partition("#sign-in=")[2]})
            assert answer.status_code == 200, answer.text
            yield client

    async def opened(self, client: httpx.AsyncClient) -> dict[str, Any]:
        handle: dict[str, Any] = (await client.post("/api/desktop/open")).json()
        path = self.service.sockets[GhostId(handle["ghost"])]
        if not Path(path).exists():
            self.desktops.append(await asyncio.start_unix_server(_echo, path))
        return handle

    async def ticket(self, client: httpx.AsyncClient, handle: dict[str, Any]) -> str:
        wanted = {"ghost": handle["ghost"], "generation": handle["generation"]}
        return str((await client.post("/api/desktop/ticket", json=wanted)).json()["ticket"])

    def socket(self, client: httpx.AsyncClient, which: int) -> connect:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        address = self.url(which).replace("http", "ws") + "/api/desktop/stream"
        return connect(address, additional_headers={"Cookie": cookie}, origin=self.url(which), proxy=None)  # type: ignore[arg-type]

    @contextlib.asynccontextmanager
    async def planning(self, apps: SharedApps) -> AsyncIterator[None]:
        """`apps` plans while the block runs; at its end it is gone at once, as if killed."""
        stop = asyncio.Event()
        with planner_listener(self.folder / "planner.sock") as listener:
            peers, self.viewers = await apps.take_over(self.service)
            task = asyncio.create_task(serve(peers, "", 0, listener=listener, stop=stop))
            try:
                yield
            finally:
                stop.set()
                await task


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def settled(truth: Any) -> None:
    for _ in range(1000):
        if truth():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


async def said_back(socket: ClientConnection, words: bytes) -> bool:
    await socket.send(words)
    return await asyncio.wait_for(socket.recv(), 20) == words


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    (tmp_path / "index.html").write_text("<!doctype html><title>page</title>")
    store, clock = MemoryAccounts(), VirtualClock(1000.0)
    store.put_user(StoredUser(ADA, "Ada"))
    store.put_user(StoredUser(OLA, "Ola", "operator"))
    service = FakeDesktops(lambda ghost: str(tmp_path / f"{ghost}.rfb"))
    service.apps = [AppView(AppId("editor"), "Editor", ("Utility",))]
    ports = (free_port(), free_port())
    made = [
        SharedApps(
            Serving(store, frozenset({f"http://127.0.0.1:{port}"}), 3600.0, 20.0, clock, tmp_path),  # type: ignore[arg-type]
            tmp_path / "planner.sock",
        )
        for port in ports
    ]
    found = Pair(tmp_path, store, clock, service, ports, *made)
    async with served(made[0].public, ports[0]), served(made[1].public, ports[1]):
        telling = asyncio.create_task(made[1].stand_by())
        yield found
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
    for server in found.desktops:
        server.close()
    for apps in made:
        await apps.close()


async def test_a_person_is_served_by_each_replica_with_one_session_and_one_desktop(pair: Pair) -> None:
    async with pair.planning(pair.planner), pair.signed_in(ADA, 1) as ada:
        assert (await ada.get("/")).status_code == 200
        assert (await ada.get("/api/me")).json()["user"] == "ada"
        handle = await pair.opened(ada)
        assert handle["active"] and handle["path"] == "warm"
        assert [app["app"] for app in (await ada.get("/api/apps")).json()] == ["editor"]
        launched = await ada.post("/api/apps/editor/launch")
        assert launched.json()["path"] == "shown"
        at_planner = httpx.AsyncClient(base_url=pair.url(0), headers={"Origin": pair.url(0)}, cookies=ada.cookies)
        async with at_planner:
            assert (await at_planner.post("/api/desktop/open")).json()["ghost"] == handle["ghost"]
            ticket = await pair.ticket(at_planner, handle)
        async with pair.socket(ada, 1) as socket:
            await socket.send(json.dumps({"ticket": ticket}))
            assert json.loads(await socket.recv()) == {"ok": True}
            assert await said_back(socket, b"x" * 5000)
            assert ("connecting", GhostId(handle["ghost"])) in pair.service.viewers
        await settled(lambda: ("left", GhostId(handle["ghost"])) in pair.service.viewers)


async def test_what_is_refused_is_refused_through_a_replica_too(pair: Pair) -> None:
    async with pair.planning(pair.planner), pair.signed_in(ADA, 1) as ada:
        headers = {"Origin": pair.url(1)}
        async with httpx.AsyncClient(base_url=pair.url(1), headers=headers) as stranger:
            assert (await stranger.post("/api/desktop/open")).status_code == 401
            forged = {replica_module.IDENTITY: '{"user":"ola","display_name":"","role":"operator","session":""}'}
            assert (await stranger.get("/api/status", headers=forged)).status_code == 401
        assert (await ada.get("/api/status")).status_code == 403
        assert (await ada.get("/api/status", headers=forged)).status_code == 403, "what a browser says does not count"
        assert (await ada.post("/api/desktop/open", headers={"Origin": "http://evil.example"})).status_code == 403
        answer = await ada.post("/api/apps/no.such/launch")
        assert answer.status_code == 404 and answer.json()["error"]["cause"]
        pair.service.fail_open = NotFound("No desktop can be had.", "Wait.")
        failed = await ada.post("/api/desktop/open")
        assert (failed.status_code, failed.json()["error"]["mend"]) == (404, "Wait.")
        pair.service.fail_open = None
        handle = await pair.opened(ada)
        ticket = await pair.ticket(ada, handle)
        async with pair.signed_in(OLA, 1) as ola, pair.socket(ola, 1) as socket:
            await socket.send(json.dumps({"ticket": ticket}))
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 4401, "somebody else's ticket"
        async with pair.signed_in(OLA, 1) as ola:
            assert (await ola.get("/api/status")).status_code == 200


async def test_the_planner_ends_and_the_replica_takes_over_without_cutting_a_stream(pair: Pair) -> None:
    async with pair.signed_in(ADA, 1) as ada:
        async with contextlib.AsyncExitStack() as stack:
            async with pair.planning(pair.planner):
                handle = await pair.opened(ada)
                ticket = await pair.ticket(ada, handle)
                socket = await stack.enter_async_context(pair.socket(ada, 1))
                await socket.send(json.dumps({"ticket": ticket}))
                await socket.recv()
                assert await said_back(socket, b"before")
            assert await said_back(socket, b"while nobody plans")
            assert (await ada.get("/api/me")).status_code == 200
            pair.service.viewers.clear()
            asking = asyncio.create_task(ada.post("/api/desktop/open"))
            await asyncio.sleep(0.3)
            assert not asking.done(), "it waits for a planner"
            async with pair.planning(pair.replica):
                answer = await asking
                assert (answer.status_code, answer.json()["ghost"]) == (200, handle["ghost"])
                assert pair.service.viewers == [("connecting", GhostId(handle["ghost"]))], "the stream is known"
                assert await said_back(socket, b"after")
            pair.service.viewers.clear()
        await settled(lambda: pair.service.viewers == [("left", GhostId(handle["ghost"]))])


async def test_notices_pass_and_a_stream_of_them_ends_with_its_planner(pair: Pair) -> None:
    async with pair.signed_in(ADA, 1) as ada:
        lines: list[str] = []

        async def follow() -> None:
            async with ada.stream("GET", "/api/events") as answer:
                async for line in answer.aiter_lines():
                    lines.append(line)

        async with pair.planning(pair.planner):
            following = asyncio.create_task(follow())
            await settled(lambda: pair.service.subscribers.get(ADA))
            pair.service.tell(ADA, Notice("message", "hello"))
            await settled(lambda: any("hello" in line for line in lines))
        await asyncio.wait_for(following, 20)  # it ends cleanly: the page asks for another


async def test_without_a_planner_a_request_is_told_to_come_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_module, "PATIENCE_S", 0.3)
    async with pair.signed_in(ADA, 1) as ada:
        answer = await ada.post("/api/desktop/open")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no-planner")
        async with pair.socket(ada, 1) as socket:
            await socket.send(json.dumps({"ticket": "x" * 43}))
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 4404


async def test_a_replica_that_falls_silent_looks_at_nothing_any_more(pair: Pair) -> None:
    viewers, seen = RemoteViewers(pair.service, pair.clock), pair.service.viewers
    ghost = GhostId("g0")
    await viewers.hear("r1", Counter({ghost: 2}))
    await viewers.hear("r1", Counter({ghost: 2}))
    assert seen == [("connecting", ghost)] * 2, "the same word twice changes nothing"
    await viewers.hear("r2", Counter({ghost: 1}))
    assert viewers.replicas() == 2
    pair.clock.advance(SILENT_S / 2)
    await viewers.hear("r2", Counter({ghost: 1}))
    pair.clock.advance(SILENT_S / 2 + 1)
    seen.clear()
    await viewers.forget_silent()
    assert seen == [("left", ghost)] * 2
    assert viewers.replicas() == 0


async def test_lines_to_browsers_reach_the_planner(pair: Pair) -> None:
    line = ClientLink(5.0, 0.02, 0.018, None, 0.1, 900)
    async with pair.planning(pair.planner):
        pair.replica._streams.measured(ADA, GhostId("g0"), line)
        await settled(lambda: (ADA, GhostId("g0"), line) in pair.service.links)


async def test_only_our_own_user_may_ask_the_planner(pair: Pair) -> None:
    async with pair.planning(pair.planner):
        path = pair.folder / "planner.sock"
        assert path.stat().st_mode & 0o777 == 0o600
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://planner") as client:
            assert (await client.get("/api/status")).status_code == 403
            assert (await client.get("/api/status", headers={replica_module.IDENTITY: "[1]"})).status_code == 403
            assert (await client.post("/internal/admit", json={"secret": "x"})).status_code == 422
    assert not path.exists()
