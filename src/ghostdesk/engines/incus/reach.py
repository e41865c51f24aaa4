"""Desktops on machines whose files we do not see: their sockets, here, over the API. See docs/designs/0004.

For each ghost there are the two sockets that every ghost has, in a folder of this machine. Behind the screen's, each
connection starts a relay in the instance that connects to the screen there. For the agent's, a relay in the instance
takes the agent's connection, and what it says is handed to the control plane's socket here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.exceptions import WebSocketException

from ghostdesk.engines.both_ways import until_one_ends
from ghostdesk.engines.incus.api import IncusApi
from ghostdesk.engines.incus.backoff import Backoff
from ghostdesk.engines.incus.channel import BLOCK_BYTES, Channel, opened
from ghostdesk.kernel.errors import EngineError, GhostdeskError
from ghostdesk.kernel.ids import GhostId

log = logging.getLogger(__name__)
RELAY = "/opt/ghostdesk/incus/relay.py"
_COMMAND = ("/usr/bin/python3", "-I", "-S", RELAY)
_STEADY_S = 10.0


@dataclass
class _Way:
    """One ghost's sockets here."""

    instance: str
    folder: Path
    server: asyncio.Server | None = None
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)


class Reach:
    """Opens and closes the ways to ghosts."""

    def __init__(self, api: IncusApi) -> None:
        self._api = api
        self._ways: dict[GhostId, _Way] = {}

    async def open(self, ghost: GhostId, instance: str, folder: Path) -> None:
        """Have `rfb.sock` in this folder lead to the ghost's screen, and its agent come to `agent.sock` there."""
        if ghost in self._ways:
            return
        way = self._ways[ghost] = _Way(instance, folder)
        path = folder / "rfb.sock"
        path.unlink(missing_ok=True)
        way.server = await asyncio.start_unix_server(lambda r, w: self._screen(way, r, w), path)
        path.chmod(0o600)
        self._spawn(way, self._agent(way))

    async def close(self, ghost: GhostId) -> None:
        """Close the ways to it."""
        way = self._ways.pop(ghost, None)
        if way is None:
            return
        if way.server is not None:
            way.server.close()
        tasks = list(way.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Close all."""
        for ghost in list(self._ways):
            await self.close(ghost)

    def _spawn(self, way: _Way, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        way.tasks.add(task)
        task.add_done_callback(way.tasks.discard)

    async def _screen(self, way: _Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        way.tasks.add(task)
        try:
            channel = await opened(self._api, way.instance, [*_COMMAND, "connect", "/run/ghost/rfb.sock"])
            await joined(channel, reader, writer)
        except GhostdeskError as error:
            log.info("the screen of %s: %s", way.instance, error)
        finally:
            way.tasks.discard(task)
            writer.close()

    async def _agent(self, way: _Way) -> None:
        """One connection of the agent after another, for ever."""
        backoff, failures = Backoff(tries=1_000_000, longest_s=5.0, budget_s=float("inf")), 0
        while True:
            began_s = time.monotonic()
            try:
                channel = await opened(self._api, way.instance, [*_COMMAND, "listen", "/run/ghost/agent.sock"])
                await _handed_over(channel, way.folder / "agent.sock")
            except (EngineError, OSError) as error:
                log.debug("the agent of %s: %s", way.instance, error)
            failures = 0 if time.monotonic() - began_s > _STEADY_S else failures + 1
            await asyncio.sleep(backoff.pause_s(max(failures, 1), 0.0, 1.0) or 0.0)


async def _handed_over(channel: Channel, path: Path) -> None:
    """When the agent says something, connect to the control plane's socket and go between the two."""
    blocks = channel.blocks()
    try:
        first = await anext(blocks, b"")
        if not first:
            return
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(first)
            await joined(channel, reader, writer)
        finally:
            writer.close()
    finally:
        await channel.close()


async def joined(channel: Channel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Go between the two until one ends; the other is ended then."""

    async def outward() -> None:
        with contextlib.suppress(ConnectionError, WebSocketException):
            async for block in channel.blocks():
                writer.write(block)
                await writer.drain()

    async def inward() -> None:
        with contextlib.suppress(ConnectionError, WebSocketException):
            while block := await reader.read(BLOCK_BYTES):
                await channel.write(block)

    try:
        await until_one_ends(outward(), inward())
    finally:
        await channel.close()
