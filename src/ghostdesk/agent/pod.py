"""The first process of a ghost in a pod: starts the session, and lets the control plane in to its two sockets.

A pod has a network address and no folder in common with the control plane, so what other engines reach as unix sockets
is reached here over one TCP port. Who connects says one line, the ghost's credential and a word, and is answered with
"ok" or the connection is closed:

    TOKEN rfb\\n       then the connection is the desktop's screen
    TOKEN agent\\n     then, once the agent is there, it is the agent's connection (the agent dials, as everywhere)
    TOKEN freeze\\n    every process of the pod but this one stops; answered when the signals are sent
    TOKEN thaw\\n      they run on

The port is bound to the loopback address where the API server forwards to it, else to all addresses, where a network
policy says who may connect. Standard library only: this runs inside the desktop's image.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from subprocess import Popen
from typing import Any

FIRST_LINE_S = 10.0
MOST_WAITING_AGENTS = 4
_CHUNK_BYTES = 65_536
_END_WITHIN_S = 2.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def signal_everybody(number: int) -> None:
    """Send a signal to every process of this pod but ourselves (kill(2), pid -1); refuses anywhere but in a pod."""
    if os.getpid() != 1:
        raise PermissionError("only the first process of a pod may stop all others")
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, number)


class Doorkeeper:
    """Answers on the port.

    Args:
        run: the folder of the desktop's sockets: rfb.sock is the session's, agent.sock is made here.
        token: the ghost's credential.
        signal_all: sends a signal to every process of the desktop.
    """

    def __init__(self, run: Path, token: str, signal_all: Callable[[int], None] = signal_everybody) -> None:
        self._run, self._token, self._signal_all = run, token, signal_all
        self._agents: asyncio.Queue[Streams] = asyncio.Queue(MOST_WAITING_AGENTS)
        self._servers: list[asyncio.AbstractServer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen, for the control plane and for the agent."""
        agent = self._run / "agent.sock"
        agent.unlink(missing_ok=True)
        self._servers.append(await asyncio.start_unix_server(self._taker(self._agent_came), str(agent)))
        door = await asyncio.start_server(self._taker(self._answer), host, port)
        self._servers.append(door)
        self.port = int(door.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close every connection."""
        for server in self._servers:
            server.close()
        while not self._agents.empty():
            self._agents.get_nowait()[1].close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _taker(
        self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(serve(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return take

    async def _agent_came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._agents.full():  # the agent gave up on the older ones
            self._agents.get_nowait()[1].close()
        self._agents.put_nowait((reader, writer))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(FIRST_LINE_S):
                token, _, word = (await reader.readline()).decode("ascii").rstrip("\n").partition(" ")
            if hmac.compare_digest(token.encode(), self._token.encode()):
                await self._do(word, reader, writer)
        except (OSError, ValueError, TimeoutError) as error:
            print(f"a connection to the pod's port ended: {error}", file=sys.stderr)  # noqa: T201 - the pod's log
        finally:
            writer.close()

    async def _do(self, word: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match word:
            case "rfb":
                there = await asyncio.open_unix_connection(str(self._run / "rfb.sock"))
            case "agent":
                there = await self._agent(reader)
            case "freeze" | "thaw":
                self._signal_all(signal.SIGSTOP if word == "freeze" else signal.SIGCONT)
                writer.write(b"ok\n")
                await writer.drain()
                return
            case _:
                raise ValueError("an unknown word")
        try:
            writer.write(b"ok\n")
            await join((reader, writer), there)
        finally:
            there[1].close()

    async def _agent(self, asking: asyncio.StreamReader) -> Streams:
        """The next agent that is still there; gives up when who asks for it leaves."""
        left = asyncio.ensure_future(asking.read(1))
        try:
            while True:
                waiting = asyncio.ensure_future(self._agents.get())
                done, _ = await asyncio.wait({waiting, left}, return_when=asyncio.FIRST_COMPLETED)
                if waiting not in done:
                    waiting.cancel()
                    raise ConnectionError("who asked for the agent left")
                found = waiting.result()
                if not found[0].at_eof() and not found[1].is_closing():
                    return found
                found[1].close()
        finally:
            left.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await left


async def join(one: Streams, other: Streams) -> None:
    """Carry bytes both ways until either end closes."""

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK_BYTES):
                target.write(data)
                await target.drain()

    ways = {asyncio.ensure_future(carry(one[0], other[1])), asyncio.ensure_future(carry(other[0], one[1]))}
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


def reap(session: int) -> int | None:
    """Collect processes that ended, as a first process must; the session's exit status once it has ended."""
    ended: int | None = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == session:
                ended = os.waitstatus_to_exitcode(status)
    return ended


async def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Serve the port and run the session; returns when the session ends or the pod is told to stop."""
    folder = Path(environment["GHOSTDESK_POD_RUN"])
    token = Path(environment["GHOSTDESK_TOKEN_FILE"]).read_text().strip()
    door = Doorkeeper(folder, token)
    await door.start(environment["GHOSTDESK_POD_HOST"], int(environment["GHOSTDESK_POD_PORT"]))
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    session = Popen(list(command), env=dict(environment), start_new_session=True)  # noqa: ASYNC220 - once, at the start
    status = 0

    def child_ended() -> None:
        nonlocal status
        if (ended := reap(session.pid)) is not None:
            session.returncode = status = ended
            over.set()

    loop.add_signal_handler(signal.SIGCHLD, child_ended)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    child_ended()  # it may have ended before we listened
    try:
        await over.wait()
    finally:
        await door.stop()
        if session.returncode is None:
            os.killpg(session.pid, signal.SIGCONT)
            os.killpg(session.pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                over.clear()
                await asyncio.wait_for(over.wait(), _END_WITHIN_S)
    return abs(status)


def main() -> int:
    """The pod's command: what follows is the session."""
    command = sys.argv[1:] or ["/bin/bash", "/opt/ghostdesk/desktop/session.sh"]
    return asyncio.run(run(command, os.environ))


if __name__ == "__main__":
    sys.exit(main())
