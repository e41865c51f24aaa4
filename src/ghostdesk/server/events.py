"""Server-sent events: what a user's page must know, pushed as it happens."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator

from ghostdesk.control.service import DesktopService, Notice
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import UserId
from ghostdesk.server.auth import Authenticator, Identity
from ghostdesk.server.errors import TooMany

log = logging.getLogger("ghostdesk.server.events")

HEARTBEAT_S = 10.0
"""How often a quiet stream says that it lives, and how late it may notice that its session has ended."""
STREAMS_PER_USER = 16
_HELD = 64


class EventStreams:
    """Turns the service's notices into event streams.

    Args:
        service: where notices come from.
        authenticator: asked again at each heartbeat, so that a stream does not outlive its session.
        stopping: set when the server stops, which ends every stream.
    """

    def __init__(self, service: DesktopService, authenticator: Authenticator, stopping: asyncio.Event) -> None:
        self._service = service
        self._authenticator = authenticator
        self._stopping = stopping
        self._open: Counter[UserId] = Counter()

    def admit(self, identity: Identity) -> None:
        """Raises `TooMany` when the user's pages hold too many streams."""
        if self._open[identity.user] >= STREAMS_PER_USER:
            raise TooMany("Too many pages are open.", "Close some of them.", HEARTBEAT_S)

    async def of(self, identity: Identity, cookie: str | None) -> AsyncIterator[str]:
        """The stream of one page."""
        self._open[identity.user] += 1
        queue: asyncio.Queue[Notice | None] = asyncio.Queue(_HELD)
        tasks = [asyncio.create_task(self._pump(identity.user, queue)), asyncio.create_task(self._stop(queue))]
        try:
            yield "retry: 2000\n\n"
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        notice = await queue.get()
                except TimeoutError:
                    if await self._ended(cookie):
                        yield "event: signed-out\ndata: {}\n\n"
                        return
                    yield ": still here\n\n"
                    continue
                if notice is None:
                    return
                yield f"event: notice\ndata: {json.dumps(dataclasses.asdict(notice))}\n\n"
        finally:
            self._open[identity.user] -= 1
            self._open += Counter()  # forget users without streams
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, user: UserId, queue: asyncio.Queue[Notice | None]) -> None:
        try:
            async for notice in self._service.notices(user):
                await queue.put(notice)
        except Exception:
            log.exception("notices for %s ended", user)
        await queue.put(None)  # the page asks for a new stream

    async def _stop(self, queue: asyncio.Queue[Notice | None]) -> None:
        await self._stopping.wait()
        await queue.put(None)

    async def _ended(self, cookie: str | None) -> bool:
        try:
            return await self._authenticator.who(cookie) is None
        except GhostdeskError:  # a database that is away for a while signs nobody out
            return False
