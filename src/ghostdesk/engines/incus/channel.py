"""A program inside an instance, its input and output over the API's websockets (rest-api, "/1.0/instances/NAME/exec").

Over https this is as safe as every other call: the same certificates, the same port, and any member of a cluster passes
it on to the one that the instance is on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import WebSocketException

from ghostdesk.engines.incus.api import IncusApi, instance_path
from ghostdesk.engines.incus.errors import Unreachable
from ghostdesk.engines.incus.render import INSIDE_UID
from ghostdesk.kernel.errors import EngineError

BLOCK_BYTES = 64 * 1024
_OPEN_WITHIN_S = 10.0
_FDS = ("0", "1", "2", "control")


class Channel:
    """What goes in and what comes out. Use `opened`."""

    def __init__(self, lines: dict[str, ClientConnection]) -> None:
        self._lines = lines

    async def write(self, block: bytes) -> None:
        """Into its standard input."""
        await self._lines["0"].send(block)

    async def blocks(self) -> AsyncIterator[bytes]:
        """From its standard output, until it ends."""
        with contextlib.suppress(WebSocketException):
            async for message in self._lines["1"]:
                if isinstance(message, str):  # the end is told by a text without content
                    return
                yield message

    async def close(self) -> None:
        """End its input, and with it the program."""
        for line in self._lines.values():
            with contextlib.suppress(WebSocketException, OSError):
                await line.close()


async def opened(api: IncusApi, instance: str, command: Sequence[str]) -> Channel:
    """Start a program as the desktop's user; raises what the API raises, and `Unreachable`."""
    body = {
        "command": list(command), "wait-for-websocket": True, "interactive": False, "user": INSIDE_UID,
        "group": INSIDE_UID, "environment": {"HOME": "/home/user"}, "cwd": "/",
    }  # fmt: skip
    told = await api.begin("POST", instance_path(instance, "/exec"), body)
    try:
        operation, secrets = str(told["id"]), dict(told["metadata"]["fds"])
        paths = {fd: f"/1.0/operations/{quote(operation)}/websocket?secret={quote(secrets[fd])}" for fd in _FDS}
    except (KeyError, TypeError):
        raise EngineError(
            f"{api.address} starts programs in another way than expected.", "Use Incus 6 or LXD 5."
        ) from None
    lines: dict[str, ClientConnection] = {}
    try:
        async with asyncio.timeout(_OPEN_WITHIN_S):
            for fd, path in paths.items():
                lines[fd] = await _line(api, path)
    except (TimeoutError, OSError, WebSocketException) as error:
        await Channel(lines).close()
        said = str(error) or "it took too long"
        raise Unreachable(f"{api.address} does not open a way into {instance}: {said}.", "It is tried again.") from None
    return Channel(lines)


async def _line(api: IncusApi, path: str) -> ClientConnection:
    options: dict[str, Any] = {"max_size": None, "compression": None, "ping_interval": None, "close_timeout": 1.0}
    if api.address.startswith("/"):
        return await unix_connect(api.address, uri=f"ws://server{path}", **options)
    where = "wss" + api.address.removeprefix("https").rstrip("/") + path
    return await connect(where, ssl=api.tls(), proxy=None, **options)
