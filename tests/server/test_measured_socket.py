"""Lines to browsers, measured by the real server: round trips of pings, and a browser that reads slowly."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from ghostdesk.kernel.ids import GhostId, UserId

ADA = UserId("ada")


async def settled(truth: Any) -> None:
    """Wait until `truth()` holds."""
    for _ in range(500):
        if truth():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


async def test_the_service_hears_of_the_round_trip_and_of_what_was_relayed(world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("ghostdesk.server.measured_socket.MEASURE_EVERY_S", 0.05)
    async with world.served(), world.signed_in(ADA) as client:
        handle = await world.opened(client)
        async with world.stream(client, await world.ticket(client, handle)) as socket:
            await socket.send(b"x" * 5000)
            got = b""
            while len(got) < 5000:
                got += await socket.recv()
            await settled(lambda: any(link.relayed_bytes >= 5000 for _, _, link in world.service.links))
    user, ghost, link = world.service.links[-1]
    assert (user, ghost) == (ADA, GhostId("g0"))
    assert 0.0 < link.rtt_best_s <= 5.0 and link.rtt_s > 0.0
    assert link.relayed_bytes == 5000, "the desktop's bytes, not the control messages"


async def test_a_browser_that_reads_slowly_shows_what_its_line_carries(world: Any, monkeypatch: Any) -> None:
    """It reads in small gulps with pauses: the desktop waits for the line, and throughput is told."""

    async def torrent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()

    world.peers.handler = torrent
    monkeypatch.setattr("ghostdesk.server.measured_socket.MEASURE_EVERY_S", 0.1)
    async with world.served(), world.signed_in(ADA) as client:
        handle = await world.opened(client)
        ticket = await world.ticket(client, handle)
        async with world.socket(client, max_queue=1, close_timeout=0.2, ping_interval=None) as socket:
            await socket.send(json.dumps({"ticket": ticket}))

            def told() -> list[Any]:
                return [link for _, _, link in world.service.links if link.bytes_per_s is not None]

            for _ in range(4000):
                await socket.recv()
                if told():
                    break
                await asyncio.sleep(0.002)
            link = told()[-1]
            assert link.bytes_per_s > 0 and link.waiting_share > 0


async def test_a_socket_without_a_meter_is_relayed_all_the_same(world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("ghostdesk.server.gateway.MeasuredLink", type("Other", (), {}))
    async with world.served(), world.signed_in(ADA) as client:
        handle = await world.opened(client)
        async with world.stream(client, await world.ticket(client, handle)) as socket:
            await socket.send(b"RFB")
            assert await socket.recv() == b"RFB"
    assert world.service.links == []
