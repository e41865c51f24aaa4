"""The relay: who gets in, that bytes pass unchanged, and how streams end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from xvnc_desktops import XvncDesktops, missing_programs

from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.server.gateway import STREAMS_PER_USER
from ghostdesk.store.protocol import StoredUser

ADA, BEN = UserId("ada"), UserId("ben")


async def code_after(socket: Any) -> int:
    """The code that a stream is closed with."""
    with pytest.raises(ConnectionClosed):
        while True:
            await asyncio.wait_for(socket.recv(), 10)
    return int(socket.close_code)


async def settled(truth: Any) -> None:
    """Wait until `truth()` holds."""
    for _ in range(500):
        if truth():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


@contextlib.asynccontextmanager
async def open_world(world: Any, user: UserId = ADA) -> AsyncIterator[tuple[Any, dict[str, Any]]]:
    async with world.served(), world.signed_in(user) as client:
        yield client, await world.opened(client)


@contextlib.asynccontextmanager
async def viewed(world: Any) -> AsyncIterator[Any]:
    """Ada's open desktop, and her stream to it."""
    async with contextlib.AsyncExitStack() as stack:
        client, handle = await stack.enter_async_context(open_world(world))
        yield await stack.enter_async_context(world.stream(client, await world.ticket(client, handle)))


async def test_bytes_pass_both_ways_and_the_service_hears_of_viewers(world: Any) -> None:
    async with open_world(world) as (client, handle):
        async with world.stream(client, await world.ticket(client, handle)) as socket:
            assert world.service.viewers == [("connecting", "g0")]
            await socket.send(b"\x00RFB\xff")
            assert await socket.recv() == b"\x00RFB\xff"
        await settled(lambda: world.service.viewers == [("connecting", "g0"), ("left", "g0")])


@pytest.mark.parametrize(
    "first",
    [
        "",
        "null",
        "[]",
        "7",
        '{"ticket": 7}',
        '{"ticket": null}',
        '{"ticket": "made-up"}',
        "{",
        "[" * 900,
        "x" * 5000,
        b"RFB",
    ],
)
async def test_what_is_no_ticket_is_refused(world: Any, first: str | bytes) -> None:
    async with open_world(world) as (client, _), world.socket(client) as socket:
        await socket.send(first)
        assert await code_after(socket) == 4401
    assert world.service.viewers == []


async def test_no_ticket_at_all_is_refused_in_time(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ghostdesk.server.gateway.TICKET_WAIT_S", 0.1)
    async with open_world(world) as (client, _), world.socket(client) as socket:
        assert await code_after(socket) == 4401


async def test_a_ticket_works_once(world: Any) -> None:
    async with open_world(world) as (client, handle):
        ticket = await world.ticket(client, handle)
        async with world.stream(client, ticket):
            pass
        async with world.socket(client) as socket:
            await socket.send(json.dumps({"ticket": ticket}))
            assert await code_after(socket) == 4401


async def test_a_ticket_expires(world: Any) -> None:
    async with open_world(world) as (client, handle):
        ticket = await world.ticket(client, handle)
        world.clock.advance(20.0)
        async with world.socket(client) as socket:
            await socket.send(json.dumps({"ticket": ticket}))
            assert await code_after(socket) == 4401


async def test_a_ticket_is_its_users_and_its_sessions_alone(world: Any) -> None:
    signed_in = world.signed_in
    async with open_world(world) as (client, handle), signed_in(BEN) as ben, signed_in(ADA) as elsewhere:
        for thief in (ben, elsewhere):
            ticket = await world.ticket(client, handle)
            async with world.socket(thief) as socket:
                await socket.send(json.dumps({"ticket": ticket}))
                assert await code_after(socket) == 4401
            async with world.socket(client) as socket:  # a stolen ticket is used up
                await socket.send(json.dumps({"ticket": ticket}))
                assert await code_after(socket) == 4401
        wanted = {"ghost": handle["ghost"], "generation": handle["generation"]}
        assert (await ben.post("/api/desktop/ticket", json=wanted)).status_code == 403
    assert world.service.viewers == []


async def test_a_ticket_of_an_older_generation_is_refused(world: Any) -> None:
    async with world.served(), world.signed_in(ADA) as client:
        before = (await client.post("/api/desktop/prepare")).json()
        ticket = await world.ticket(client, before)
        after = await world.opened(client)
        assert (after["ghost"], after["generation"]) == (before["ghost"], before["generation"] + 1)
        async with world.socket(client) as socket:
            await socket.send(json.dumps({"ticket": ticket}))
            assert await code_after(socket) == 4401
        assert (await client.post("/api/desktop/ticket", json={"ghost": "g0", "generation": 1})).status_code == 403


async def test_tickets_only_for_desktops_that_are(world: Any) -> None:
    async with world.signed_in(ADA) as client:
        for ghost in ("g99", "../../etc/passwd", "G0", ""):
            answer = await client.post("/api/desktop/ticket", json={"ghost": ghost, "generation": 1})
            assert answer.status_code == 404, ghost
        answer = await client.post("/api/desktop/ticket", json={"ghost": "/run/x", "generation": 1, "path": "/run/x"})
        assert answer.status_code == 422


async def test_a_ghost_that_is_gone(world: Any) -> None:
    async with open_world(world) as (client, handle):
        ticket = await world.ticket(client, handle)
        await world.peers.stop(GhostId("g0"))
        async with world.socket(client) as socket:
            await socket.send(json.dumps({"ticket": ticket}))
            assert await code_after(socket) == 4404
        assert world.service.viewers == [("connecting", "g0"), ("left", "g0")]
        ticket = await world.ticket(client, handle)
        world.service.end(ADA, "gone")
        async with world.socket(client) as socket:
            await socket.send(json.dumps({"ticket": ticket}))
            assert await code_after(socket) == 4404


async def test_a_desktop_that_ends_is_told_from_one_that_cuts_the_line(world: Any) -> None:
    async def brief(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    world.peers.handler = brief
    async with open_world(world) as (client, handle):
        async with world.stream(client, await world.ticket(client, handle)) as socket:
            await socket.send(b"x")
            assert await code_after(socket) == 4412
        async with world.stream(client, await world.ticket(client, handle)) as socket:
            await world.peers.stop(GhostId("g0"))
            await socket.send(b"x")
            assert await code_after(socket) == 4410
    await settled(lambda: [what for what, _ in world.service.viewers] == ["connecting", "left"] * 2)


async def test_signing_out_cuts_the_stream_and_voids_tickets(world: Any) -> None:
    async with open_world(world) as (client, handle), world.signed_in(ADA) as elsewhere:
        mine, theirs = await world.ticket(client, handle), await world.ticket(elsewhere, handle)
        async with world.stream(client, mine) as socket, world.stream(elsewhere, theirs) as other:
            await client.delete("/api/session")
            assert await code_after(socket) == 4403
            await other.send(b"still")
            assert await other.recv() == b"still"


async def test_a_stream_does_not_outlive_its_account(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ghostdesk.server.gateway.RECHECK_SESSION_EVERY_S", 0.05)
    async with viewed(world) as socket:
        world.store.put_user(StoredUser(ADA, "Ada", disabled=True))
        world.clock.advance(3.0)
        assert await code_after(socket) == 4403


async def test_a_user_holds_only_so_many_streams(world: Any) -> None:
    async with open_world(world) as (client, handle), contextlib.AsyncExitStack() as stack:
        for _ in range(STREAMS_PER_USER):
            await stack.enter_async_context(world.stream(client, await world.ticket(client, handle)))
        async with world.socket(client) as socket:
            assert await code_after(socket) == 4429


async def test_text_after_the_ticket_ends_the_stream(world: Any) -> None:
    async with viewed(world) as socket:
        await socket.send("text")
        assert await code_after(socket) == 1003


async def test_messages_that_are_too_big_end_the_stream(world: Any) -> None:
    async with open_world(world) as (client, handle):
        async with world.stream(client, await world.ticket(client, handle)) as socket:
            await socket.send(b"x" * (2 * 1024 * 1024))
            assert await code_after(socket) == 1009
        await settled(lambda: world.service.viewers[-1] == ("left", "g0"))


async def test_no_compression_is_agreed(world: Any) -> None:
    async with open_world(world) as (client, _), world.socket(client) as socket:
        assert "sec-websocket-extensions" not in socket.response.headers


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=3000), max_size=6), st.lists(st.binary(min_size=1, max_size=3000), max_size=6))
def test_whatever_a_hostile_desktop_sends_arrives_as_it_is(down: list[bytes], up: list[bytes]) -> None:
    """The gateway parses nothing: any bytes either way, and it neither fails nor changes them."""
    asyncio.run(_pass_through(b"".join(down), b"".join(up)))


async def _pass_through(down: bytes, up: bytes) -> None:
    from ghostdesk.server.gateway import Close, _to_browser, _to_desktop

    class Socket:
        """A WebSocket that keeps what is sent and then hangs up."""

        def __init__(self) -> None:
            self.sent = b""
            self.waiting = [up[i : i + 700] for i in range(0, len(up), 700)]

        async def send_bytes(self, data: bytes) -> None:
            self.sent += data

        async def receive(self) -> dict[str, Any]:
            if self.waiting:
                return {"type": "websocket.receive", "bytes": self.waiting.pop(0)}
            return {"type": "websocket.disconnect", "code": 1000}

    with tempfile.TemporaryDirectory() as folder:
        got = asyncio.get_running_loop().create_future()

        async def desktop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(down)
            writer.write_eof()
            got.set_result(await reader.read())
            writer.close()

        server = await asyncio.start_unix_server(desktop, f"{folder}/s")
        reader, writer = await asyncio.open_unix_connection(f"{folder}/s")
        socket: Any = Socket()
        assert await _to_browser(reader, socket) is Close.DESKTOP_ENDED
        assert await _to_desktop(socket, writer) is Close.DONE
        writer.write_eof()
        assert await got == up
        assert socket.sent == down
        writer.close()
        server.close()


async def test_a_slow_browser_slows_the_desktop_and_fills_no_memory(world: Any) -> None:
    """A browser that reads nothing: the desktop can send what the buffers on the way hold, then it waits."""
    sent = 0

    async def torrent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536

    world.peers.handler = torrent
    async with open_world(world) as (client, handle):
        ticket = await world.ticket(client, handle)
        async with world.socket(client, max_queue=1, close_timeout=0.2) as socket:
            await socket.send(json.dumps({"ticket": ticket}))
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.4)
            assert 0 < sent < 64 * 1024 * 1024
            assert json.loads(await socket.recv()) == {"ok": True}
            while sent == before:  # and it goes on when the browser reads again
                assert set(await socket.recv()) == {ord("x")}


async def test_a_browser_that_vanishes_without_a_word_is_noticed(world: Any) -> None:
    async with world.served(ping_every_s=0.2), world.signed_in(ADA) as client:
        handle = await world.opened(client)
        ticket = json.dumps({"ticket": await world.ticket(client, handle)}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        cookie = f"ghostdesk={client.cookies['ghostdesk']}"
        lines = [
            "GET /api/desktop/stream HTTP/1.1",
            f"Host: 127.0.0.1:{world.port}",
            f"Origin: {world.url}",
            f"Cookie: {cookie}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            "",
            "",
        ]
        writer.write("\r\n".join(lines).encode())
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(bytes([0x81, 0x80 | len(ticket), 0, 0, 0, 0]) + ticket)
        await settled(lambda: world.service.viewers == [("connecting", "g0")])
        await settled(lambda: world.service.viewers[-1] == ("left", "g0"))  # it answered no ping
        writer.close()
        await writer.wait_closed()


async def test_a_stop_of_the_server_closes_streams_cleanly(world: Any) -> None:
    async with world.signed_in(ADA) as client:
        async with world.served():
            handle = await world.opened(client)
            stack = contextlib.AsyncExitStack()
            socket = await stack.enter_async_context(world.stream(client, await world.ticket(client, handle)))
        assert await code_after(socket) == 1012
        await stack.aclose()
        assert world.service.viewers[-1] == ("left", "g0")


@pytest.mark.desktop
async def test_a_real_desktop_shakes_hands_through_the_relay(world: Any) -> None:
    if missing := missing_programs():
        pytest.skip(f"not installed: {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="gd-") as folder:
        desktops = XvncDesktops(Path(folder))
        world.service._make, world.service._destroy = desktops.make, desktops.destroy
        try:
            async with world.served(), world.signed_in(ADA) as client:
                handle = (await client.post("/api/desktop/open")).json()
                async with world.stream(client, await world.ticket(client, handle)) as socket:
                    assert await socket.recv() == b"RFB 003.008\n"
                    await socket.send(b"RFB 003.008\n")
                    assert 1 in (await socket.recv())[1:]  # no password: the folder is the guard
                    await socket.send(b"\x01")
                    assert await socket.recv() == b"\x00\x00\x00\x00"
                    await socket.send(b"\x01")
                    start = await socket.recv()
                    assert (int.from_bytes(start[:2], "big"), int.from_bytes(start[2:4], "big")) == (1280, 800)
                    desktops.desktops[GhostId(handle["ghost"])].stop()
                    assert await code_after(socket) == 4410
        finally:
            desktops.close()
