"""Between a ghost's pod and this machine: the unix sockets that gateway and control plane know, carried to the pod.

The pod answers on one port (see `agent/pod.py`, which has the words). It is reached through the API server
(port-forward, so that nothing of the pod is on the network), or straight at the pod's address.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ghostdesk.engines.both_ways import until_one_ends
from ghostdesk.engines.kubernetes.errors import Unreachable
from ghostdesk.kernel.errors import EngineError, GhostdeskError

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)
CHUNK_BYTES = 65_536
ANSWER_WITHIN_S = 10.0
_LISTENS_EVERY_S = 0.25
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


class Stream(Protocol):
    """A connection to a pod's port."""

    async def read(self) -> bytes:
        """The next bytes; none at the end. Raises OSError."""
        ...

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises OSError."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


Dial = Callable[[str], Awaitable[Stream]]
"""Connects to the pod and says a word ("rfb", "agent", "freeze", "thaw"); raises `EngineError` or OSError."""


class TcpStream:
    """Straight to the pod's address."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        """The next bytes; none at the end."""
        return await self._reader.read(CHUNK_BYTES)

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """End it."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class ForwardStream:
    """Through the API server, by its port-forward protocol over WebSocket (v4.channel.k8s.io).

    The first byte of each message is its channel: 0 for data, 1 for an error; the first message of each channel is the
    port's number.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._named: set[int] = set()

    async def read(self) -> bytes:
        """The next bytes; none at the end."""
        import aiohttp

        while True:
            message = await self._socket.receive()
            if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                return b""
            channel, data = message.data[0], bytes(message.data[1:])
            if channel not in self._named:
                self._named.add(channel)
                data = data[2:]
            if channel == 1 and data:
                raise ConnectionError(data.decode(errors="replace").strip())
            if channel == 0 and data:
                return data

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        for start in range(0, len(data), CHUNK_BYTES):
            await self._socket.send_bytes(b"\0" + data[start : start + CHUNK_BYTES])

    async def close(self) -> None:
        """End it."""
        await self._socket.close()


class Opened:
    """A stream whose first bytes were read already."""

    def __init__(self, stream: Stream, first: bytes) -> None:
        self._stream, self._first = stream, first

    async def read(self) -> bytes:
        """The next bytes; none at the end."""
        if self._first:
            first, self._first = self._first, b""
            return first
        return await self._stream.read()

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        await self._stream.write(data)

    async def close(self) -> None:
        """End it."""
        await self._stream.close()


async def say(stream: Stream, token: str, word: str, within_s: float | None = ANSWER_WITHIN_S) -> Stream:
    """Show the credential, say the word and wait for the pod's "ok"; raises `Unreachable`, and closes the stream."""
    try:
        async with asyncio.timeout(within_s):
            await stream.write(f"{token} {word}\n".encode())
            heard = b""
            while len(heard) < 3:
                if not (data := await stream.read()):
                    raise ConnectionError("the pod closed the connection")
                heard += data
        if not heard.startswith(b"ok\n"):
            raise ConnectionError("the pod answers something else")
        return Opened(stream, heard[3:])
    except (OSError, TimeoutError) as error:
        await stream.close()
        raise Unreachable(
            f"The desktop's pod does not answer: {str(error) or 'too late'}.", "Look at the pod's log."
        ) from None
    except BaseException:
        await stream.close()
        raise


class Relay:
    """One ghost's sockets on this machine.

    Args:
        folder: where they are: rfb.sock is made here; on agent.sock the control plane listens.
        dial: to the ghost's pod.
    """

    def __init__(self, folder: Path, dial: Dial) -> None:
        self.folder, self._dial = folder, dial
        self._server: asyncio.AbstractServer | None = None
        self._screens: set[asyncio.Task[None]] = set()
        self._agent: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()
        self._inode = 0

    @property
    def rfb_path(self) -> Path:
        """Where the desktop's screen answers."""
        return self.folder / "rfb.sock"

    @property
    def agent_path(self) -> Path:
        """Where the control plane listens for the agent."""
        return self.folder / "agent.sock"

    async def start(self) -> None:
        """Listen for those who want the screen, and bring the agent to whoever listens for it."""
        await self._listen()
        self._agent = asyncio.create_task(self._bring_agent(self._dial, self._heard))

    async def _listen(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.rfb_path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._viewer, str(self.rfb_path))
        self._inode = self.rfb_path.stat().st_ino

    async def mend(self) -> None:
        """Listen anew where the socket was removed: by another process that used the same folder, say."""
        if not self.rfb_path.exists():
            if self._server is not None:
                self._server.close()
            await self._listen()

    async def switch(self, dial: Dial, within_s: float) -> bool:
        """From now on another pod is the ghost. Where somebody listens for its agent, that one is brought first.

        Returns:
            Whether the new pod's agent is there, or nobody listens for it.
        """
        before, heard = self._agent, asyncio.Event()
        self._dial, self._heard = dial, heard
        self._agent = asyncio.create_task(self._bring_agent(dial, heard))
        there = not self.agent_path.is_socket()
        if not there:
            with contextlib.suppress(TimeoutError):
                there = await asyncio.wait_for(heard.wait(), within_s)
        await _end(before)
        for screen in list(self._screens):  # they show the old pod's
            await _end(screen)
        return there

    async def stop(self, *, remove: bool) -> None:
        """Listen no more; with `remove`, leave nothing."""
        if self._server is not None:
            self._server.close()
        await _end(self._agent)
        for screen in list(self._screens):
            await _end(screen)
        with contextlib.suppress(OSError):
            if self.rfb_path.stat().st_ino == self._inode:  # else another process listens there now
                self.rfb_path.unlink()
        if remove:
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    def _viewer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._show(reader, writer))
        self._screens.add(task)
        task.add_done_callback(self._screens.discard)

    async def _show(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            stream = await self._dial("rfb")
            try:
                await join(stream, reader, writer)
            finally:
                await stream.close()
        except (GhostdeskError, OSError) as error:
            log.info("a connection to the screen in %s ended: %s", self.folder.name, error)
        finally:
            writer.close()

    async def _bring_agent(self, dial: Dial, heard: asyncio.Event) -> None:
        """Wait for the agent in the pod, bring it to the control plane, and so again whenever it is lost."""
        pause_s = _FIRST_PAUSE_S
        while True:
            if not self.agent_path.is_socket():
                await asyncio.sleep(_LISTENS_EVERY_S)
                continue
            try:
                stream = await dial("agent")
                try:
                    if not (first := await stream.read()):
                        raise ConnectionError("the agent left at once")
                    reader, writer = await asyncio.open_unix_connection(str(self.agent_path))
                    heard.set()
                    pause_s = _FIRST_PAUSE_S
                    try:
                        writer.write(first)
                        await join(stream, reader, writer)
                    finally:
                        writer.close()
                finally:
                    await stream.close()
            except (EngineError, OSError) as error:
                log.debug("the agent of %s is not reached: %s", self.folder.name, error)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


async def join(stream: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes both ways until either end closes."""

    async def outwards() -> None:
        while data := await reader.read(CHUNK_BYTES):
            await stream.write(data)

    async def inwards() -> None:
        while data := await stream.read():
            writer.write(data)
            await writer.drain()

    await until_one_ends(outwards(), inwards())


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
