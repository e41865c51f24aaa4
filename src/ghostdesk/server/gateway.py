"""The relay between a browser and its desktop: bytes both ways, to the socket that the control plane names, no other.

A stream is admitted twice: at the upgrade by origin and session (`guard`), then by its first message, a one-use
ticket. What comes from the desktop is never parsed here, so a hostile desktop has nothing to attack but the browser's
own sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from enum import Enum

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect

from ghostdesk.kernel.errors import GhostdeskError, NotAllowed
from ghostdesk.server.auth import Authenticator, Identity
from ghostdesk.server.measured_socket import MeasuredLink
from ghostdesk.server.streams import Admitted, StreamHost

log = logging.getLogger("ghostdesk.server.gateway")

CHUNK_BYTES = 128 * 1024
"""Most bytes that are relayed in one message; also what the relay may hold of a desktop that a slow browser delays."""
TICKET_WAIT_S = 5.0
TICKET_MAX_CHARS = 1024
CONNECT_WAIT_S = 5.0
STREAMS_PER_USER = 8
RECHECK_SESSION_EVERY_S = 10.0


class Close(Enum):
    """How a stream ends: WebSocket close code and reason. The page acts on the code."""

    TICKET_REFUSED = (4401, "ticket refused")
    GHOST_GONE = (4404, "ghost gone")
    DESKTOP_ENDED = (4410, "desktop ended")
    TOO_MANY = (4429, "too many streams")
    SIGNED_OUT = (4403, "signed out")
    CUT = (4412, "desktop cut the connection")
    """The desktop lives but dropped this viewer: the page connects anew."""
    NOT_BINARY = (1003, "binary only")
    DONE = (1000, "")


class Gateway:
    """Admits and relays streams.

    Args:
        host: takes tickets, names the socket of a ghost, and is told when viewers come and go.
        authenticator: asked again now and then whether a stream's session still holds.
    """

    def __init__(self, host: StreamHost, authenticator: Authenticator) -> None:
        self._host = host
        self._authenticator = authenticator
        self._streams: dict[asyncio.Event, Identity] = {}

    def sign_out(self, session: bytes) -> None:
        """Cut the streams of a web session and void its tickets."""
        self._host.revoke(session)
        for signed_out, identity in self._streams.items():
            if identity.session == session:
                signed_out.set()

    async def stream(self, socket: WebSocket, identity: Identity, cookie: str | None) -> None:
        """Serve one browser until it or the desktop ends the stream."""
        await socket.accept()
        if sum(1 for other in self._streams.values() if other.user == identity.user) >= STREAMS_PER_USER:
            await _close(socket, Close.TOO_MANY)
            return
        signed_out = asyncio.Event()
        self._streams[signed_out] = identity
        try:
            secret = await self._ticket(socket)
            if secret is None:
                await _close(socket, Close.TICKET_REFUSED)
                return
            await _close(socket, await self._view(socket, secret, identity, signed_out, cookie))
        except WebSocketDisconnect:
            pass
        finally:
            del self._streams[signed_out]

    async def _ticket(self, socket: WebSocket) -> str | None:
        """The first message must be ``{"ticket": ...}``."""
        try:
            async with asyncio.timeout(TICKET_WAIT_S):
                text = await socket.receive_text()
            secret = json.loads(text)["ticket"] if len(text) <= TICKET_MAX_CHARS else None
        except (TimeoutError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return secret if isinstance(secret, str) else None

    async def _view(
        self, socket: WebSocket, secret: str, identity: Identity, signed_out: asyncio.Event, cookie: str | None
    ) -> Close:
        """Connect to the ghost and relay; `left` follows every `connecting`."""
        try:
            admitted = await self._host.admit(secret, identity.user, identity.session)
        except GhostdeskError as error:
            return Close.TICKET_REFUSED if isinstance(error, NotAllowed) else Close.GHOST_GONE
        try:
            await self._host.connecting(admitted.ghost)
            reader, writer = await _connect(admitted.path)
        except (GhostdeskError, OSError, TimeoutError) as error:
            log.warning("ghost %s cannot be reached: %s", admitted.ghost, error)
            await self._left(admitted)
            return Close.GHOST_GONE
        self._measure(socket, admitted)
        try:
            await socket.send_text('{"ok":true}')
            how = await self._relay(socket, reader, writer, signed_out, cookie)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            await self._left(admitted)
        if how is Close.DESKTOP_ENDED and await _answers(admitted.path):
            return Close.CUT
        return how

    def _measure(self, socket: WebSocket, admitted: Admitted) -> None:
        """From now on the host hears what the line to this browser is like."""
        link = getattr(socket.state, "link", None)
        if isinstance(link, MeasuredLink):
            link.listener = lambda told: self._host.measured(admitted.user, admitted.ghost, told)
            link.tell(asyncio.get_running_loop().time())

    async def _left(self, admitted: Admitted) -> None:
        try:
            await self._host.left(admitted.ghost)
        except GhostdeskError as error:
            log.info("ghost %s is gone already: %s", admitted.ghost, error)

    async def _relay(
        self,
        socket: WebSocket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        signed_out: asyncio.Event,
        cookie: str | None,
    ) -> Close:
        """Copy until one side ends; the first task to end says how the stream is closed."""
        tasks = [
            asyncio.create_task(_to_browser(reader, socket)),
            asyncio.create_task(_to_desktop(socket, writer)),
            asyncio.create_task(self._until_signed_out(signed_out, cookie)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        ended = [result for task, result in zip(tasks, results, strict=True) if task in done]
        for result in ended:
            if isinstance(result, BaseException):
                raise result
        return next(result for result in ended if isinstance(result, Close))

    async def _until_signed_out(self, signed_out: asyncio.Event, cookie: str | None) -> Close:
        """A stream does not outlive its session, however the session ends."""
        while True:
            try:
                async with asyncio.timeout(RECHECK_SESSION_EVERY_S):
                    await signed_out.wait()
                return Close.SIGNED_OUT
            except TimeoutError:
                with contextlib.suppress(GhostdeskError):  # a database that is away for a while cuts nobody off
                    if await self._authenticator.who(cookie) is None:
                        return Close.SIGNED_OUT


async def _connect(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(CONNECT_WAIT_S):
        return await asyncio.open_unix_connection(path, limit=CHUNK_BYTES)


async def _answers(path: str) -> bool:
    """Whether the desktop still listens: tells a desktop that ended from one that only dropped us."""
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_unix_connection(path)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _to_browser(reader: asyncio.StreamReader, socket: WebSocket) -> Close:
    """The send waits while the browser is slow, then the reader fills and the desktop's own socket waits too."""
    try:
        while data := await reader.read(CHUNK_BYTES):
            await socket.send_bytes(data)
    except OSError:
        pass
    return Close.DESKTOP_ENDED


async def _to_desktop(socket: WebSocket, writer: asyncio.StreamWriter) -> Close:
    """What a browser sends is read only as fast as the desktop takes it."""
    while True:
        message = await socket.receive()
        if message["type"] != "websocket.receive":
            return Close.DONE
        data = message.get("bytes")
        if data is None:
            return Close.NOT_BINARY
        try:
            writer.write(data)
            await writer.drain()
        except OSError:
            return Close.DESKTOP_ENDED


async def _close(socket: WebSocket, how: Close) -> None:
    """Say why; a browser that has gone already does not hear it."""
    code, reason = how.value
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.close(code, reason)
