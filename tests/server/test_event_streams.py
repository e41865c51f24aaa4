"""Server-sent events over a real connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from ghostdesk.control.service import DesktopHandle, Notice
from ghostdesk.kernel.ids import GhostId, UserId

ADA, BEN = UserId("ada"), UserId("ben")


async def frames(response: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    """(event, data) of each frame; comments are ("", text)."""
    text = ""
    async for piece in response.aiter_text():
        text += piece
        while "\n\n" in text:
            frame, _, text = text.partition("\n\n")
            lines = dict(line.partition(": ")[::2] for line in frame.splitlines())
            if "data" in lines:
                yield lines["event"], json.loads(lines["data"])
            else:
                yield "", frame


async def subscribed(world: Any, user: UserId = ADA) -> None:
    for _ in range(500):
        if world.service.subscribers.get(user):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the stream did not subscribe")


def real_client(world: Any, client: httpx.AsyncClient) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=world.url, cookies=client.cookies, timeout=10, trust_env=False)


async def stream_of(world: Any, stack: contextlib.AsyncExitStack) -> httpx.Response:
    """A stream of Ada's page; the first call starts the server."""
    if not world.store.sessions:
        await stack.enter_async_context(world.served())
    ada = await stack.enter_async_context(world.signed_in(ADA))
    browser = await stack.enter_async_context(real_client(world, ada))
    return await stack.enter_async_context(browser.stream("GET", "/api/events"))


async def test_notices_reach_their_user_alone(world: Any) -> None:
    handle = DesktopHandle(GhostId("g7"), 3, False, "warm", 0.0, "You often start now.")
    async with world.served(), world.signed_in(ADA) as ada, real_client(world, ada) as browser:
        async with browser.stream("GET", "/api/events") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            await subscribed(world)
            world.service.tell(BEN, Notice("message", "for Ben"))
            world.service.tell(ADA, Notice("prepared", "line\nbreak", handle))
            got = frames(response)
            assert await anext(got) == ("", "retry: 2000")
            event, notice = await anext(got)
            assert event == "notice"
            assert (notice["kind"], notice["text"], notice["handle"]["ghost"]) == ("prepared", "line\nbreak", "g7")
        for _ in range(500):
            if not world.service.subscribers[ADA]:
                break
            await asyncio.sleep(0.01)
        assert world.service.subscribers[ADA] == []


async def test_a_quiet_stream_beats_and_ends_with_its_session(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ghostdesk.server.events.HEARTBEAT_S", 0.05)
    async with contextlib.AsyncExitStack() as stack:
        response = await stream_of(world, stack)
        got = frames(response)
        await anext(got)
        assert await anext(got) == ("", ": still here")
        world.store.delete_web_sessions(ADA)
        world.clock.advance(5.0)
        rest = [frame async for frame in got]
    assert rest[-1] == ("signed-out", {})


async def test_a_stop_of_the_server_ends_streams(world: Any) -> None:
    async with world.signed_in(ADA) as ada, real_client(world, ada) as browser:
        async with world.served():
            response = await browser.send(browser.build_request("GET", "/api/events"), stream=True)
            await subscribed(world)
        assert [frame async for frame in frames(response)] == [("", "retry: 2000")]
        await response.aclose()


async def test_a_user_holds_only_so_many(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ghostdesk.server.events.STREAMS_PER_USER", 1)
    async with contextlib.AsyncExitStack() as stack:
        await stream_of(world, stack)
        await subscribed(world)
        second = await stream_of(world, stack)
        assert second.status_code == 429
