"""The control plane's end of every agent's socket: who may speak, what is called, what is reported.

Fills `engines.protocol.AgentLink`. Each ghost has a socket of its own; whoever connects must run under the ghost's uid
(`SO_PEERCRED`, unix(7)) and show the ghost's credential within `HELLO_LIMIT_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import socket
import struct
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ghostdesk.agent import wire
from ghostdesk.control.agent_check import AGENT_SOURCES, Allowance, BadEvent, checked_event
from ghostdesk.control.agent_connection import Connection, lost
from ghostdesk.engines.protocol import AgentEvents, Endpoint
from ghostdesk.ghosts.commands import AgentCommand, CloseApp, HideApp, LaunchHidden, Outcome, ShowApp, TellBound
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import AgentError, EngineError, GhostdeskError
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.telemetry.events import TelemetrySource

HELLO_LIMIT_S = 5.0
EVENTS_PER_S = 200.0
CALL_LIMIT_S = 5.0
LIMITS_S = {"launch": 140.0, "show": 35.0, "catalogue": 15.0}
"""Longer than the agent's own limits for a window (120 s hidden, else 30), so that its better reason is heard."""
_PEER = struct.Struct("3i")


@dataclass
class _Line:
    """What the hub keeps of one ghost."""

    endpoint: Endpoint
    server: asyncio.Server | None = None
    connection: Connection | None = None
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    allowance: Allowance = field(default_factory=lambda: Allowance(EVENTS_PER_S))
    bound: dict[str, Any] | None = None
    refused: int = 0
    dropped_events: int = 0


class AgentHub:
    """Talks to the agents of all ghosts.

    Args:
        events: receives usage events and lost agents.
        sources: what agents may report.
        sample_every_s: how often they sample resources, in seconds.
        clock: for the times of events.
    """

    def __init__(
        self,
        events: AgentEvents,
        *,
        sources: Collection[TelemetrySource],
        sample_every_s: float,
        clock: Clock,
    ) -> None:
        self._events = events
        self._sources = frozenset(sources)
        self._sample_every_s = sample_every_s
        self._clock = clock
        self._lines: dict[GhostId, _Line] = {}
        self.sources_of: Callable[[UserId], Collection[TelemetrySource]] = lambda _user: frozenset(TelemetrySource)
        """What may be recorded of a person, beside what `sources` allows; set when the parts are put together."""
        self._tasks: set[asyncio.Task[Any]] = set()

    # AgentLink

    async def connect(self, ghost: GhostId, endpoint: Endpoint) -> None:
        """Listen for the ghost's agent, if not listening already. Raises `AgentError` when that cannot be."""
        line = self._lines.get(ghost)
        if line is not None and line.endpoint == endpoint:
            return
        if line is not None:
            await self.disconnect(ghost)
        line = self._lines[ghost] = _Line(endpoint)
        try:
            listener = listen(endpoint)
        except OSError as problem:
            del self._lines[ghost]
            raise AgentError(
                f"The socket for ghost {ghost}'s agent cannot be made: {problem.strerror or problem}.",
                "Check the run directory's path (at most 107 bytes), its permissions and free space.",
            ) from None

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # asyncio.streams (3.11) logs an error when this task is cancelled, as happens when the loop ends.
            with contextlib.suppress(asyncio.CancelledError):
                await self._accept(ghost, line, reader, writer)

        line.server = await asyncio.start_unix_server(accept, sock=listener, limit=wire.MAX_LINE_BYTES)

    async def wait_connected(self, ghost: GhostId, timeout_s: float) -> None:
        """Wait until the agent has shown its credential; raises `AgentError` after `timeout_s`."""
        line = self._line(ghost)
        try:
            async with asyncio.timeout(timeout_s):
                await line.connected.wait()
        except TimeoutError:
            hint = f" ({line.refused} connections were refused)" if line.refused else ""
            raise AgentError(
                f"The agent of ghost {ghost} did not connect within {timeout_s:g} s{hint}.",
                "Look at the agent's messages in the ghost's log; the ghost will be replaced.",
            ) from None

    async def apply(self, command: AgentCommand) -> Outcome:
        """Have the agent do it; failures come back in the outcome."""
        since_s = time.perf_counter()
        try:
            method, params = wire_call(command)
            if isinstance(command, TellBound):
                self._line(command.ghost).bound = params
                await self._tell_sources(command.ghost)
            result = await self.call(command.ghost, method, params, LIMITS_S.get(method, CALL_LIMIT_S))
        except GhostdeskError as error:
            return Outcome(command, error, time.perf_counter() - since_s)
        facts: dict[str, float | str] = {
            name: value for name, value in result.items() if isinstance(value, int | float | str)
        }
        return Outcome(command, None, time.perf_counter() - since_s, facts)

    async def disconnect(self, ghost: GhostId) -> None:
        """Stop listening for it. The receiver is not told: it asked for this."""
        line = self._lines.pop(ghost, None)
        if line is None:
            return
        if line.server is not None:
            line.server.close()
        if line.connection is not None:
            line.connection.close("the control plane stopped listening to it")
        with contextlib.suppress(OSError):
            Path(line.endpoint.agent_path).unlink()

    # Beyond AgentLink

    def connected(self, ghost: GhostId) -> bool:
        """Whether the ghost's agent is connected now."""
        line = self._lines.get(ghost)
        return line is not None and line.connected.is_set()

    async def call(
        self, ghost: GhostId, method: str, params: dict[str, Any] | None = None, timeout_s: float = CALL_LIMIT_S
    ) -> dict[str, Any]:
        """Call a method of `agent/wire.py`. Raises `AgentError`; `NotFound` for an application that is not there."""
        connection = self._line(ghost).connection
        if connection is None:
            raise lost(ghost, "its agent is not connected")
        return await connection.call(method, params or {}, timeout_s)

    async def catalogue(self, ghost: GhostId) -> Sequence[dict[str, Any]]:
        """The applications that can be started there: id, name, categories, icon, mime_types."""
        return _list_of_objects(await self.call(ghost, "catalogue", {}, LIMITS_S["catalogue"]), "apps")

    async def listing(self, ghost: GhostId) -> Sequence[dict[str, Any]]:
        """The applications that run there: app, state, pids."""
        return _list_of_objects(await self.call(ghost, "list"), "apps")

    async def set_sources(self, sources: Collection[TelemetrySource], sample_every_s: float | None = None) -> None:
        """Change what all agents may report, from now on; agents that cannot be reached learn it when they connect."""
        self._sources = frozenset(sources)
        if sample_every_s is not None:
            self._sample_every_s = sample_every_s
        ghosts = [ghost for ghost, line in self._lines.items() if line.connection is not None]
        await asyncio.gather(*(self._tell_sources(ghost) for ghost in ghosts), return_exceptions=True)

    async def retell(self, user: UserId) -> None:
        """The person's choices changed: tell the agents of their desktops what to collect from now on."""
        ghosts = [g for g, line in self._lines.items() if line.bound is not None and line.bound.get("user") == user]
        await asyncio.gather(*(self._tell_sources(ghost) for ghost in ghosts), return_exceptions=True)

    async def close(self) -> None:
        """Stop listening to all."""
        for ghost in list(self._lines):
            await self.disconnect(ghost)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Inside

    def _line(self, ghost: GhostId) -> _Line:
        try:
            return self._lines[ghost]
        except KeyError:
            raise lost(ghost, "nobody listens for its agent") from None

    async def _accept(
        self, ghost: GhostId, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if (task := asyncio.current_task()) is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if not await self._trusted(ghost, line, reader, writer):
            line.refused += 1
            writer.close()
            return
        connection = Connection(ghost, reader, writer, lambda message: self._event(ghost, line, message))
        older, line.connection = line.connection, connection
        if older is not None:
            older.close("the agent connected anew")
        writer.write(wire.encode({"type": "welcome"}))
        line.connected.set()
        self._spawn(self._retell(ghost, line))
        await connection.serve()
        if line.connection is connection:
            line.connection = None
            line.connected.clear()
            if self._lines.get(ghost) is line:
                self._events.on_agent_lost(ghost)

    async def _trusted(
        self, ghost: GhostId, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        peer: socket.socket = writer.get_extra_info("socket")
        _, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid != line.endpoint.agent_uid:
            return False
        try:
            async with asyncio.timeout(HELLO_LIMIT_S):
                hello = wire.decode(await reader.readline())
        except (TimeoutError, ValueError, OSError, wire.WireError):
            return False
        token = hello.get("token")
        return (
            hello["type"] == "hello"
            and hello.get("version") == wire.VERSION
            and hello.get("ghost") == ghost
            and isinstance(token, str)
            and hmac.compare_digest(token.encode(), line.endpoint.agent_token.encode())
        )

    def _event(self, ghost: GhostId, line: _Line, message: wire.Message) -> None:
        now_s = self._clock.now_s()
        if not line.allowance.take(now_s):
            line.dropped_events += 1
            return
        try:
            event = checked_event(message, ghost, now_s, self._allowed(line))
        except BadEvent:
            line.dropped_events += 1
            return
        if event is not None:
            self._events.on_usage(ghost, event)

    async def _retell(self, ghost: GhostId, line: _Line) -> None:
        """An agent that started anew knows neither its sources nor that it is bound: tell it again."""
        with contextlib.suppress(EngineError):
            await self._tell_sources(ghost)
            if line.bound is not None:
                await self.call(ghost, "bound", line.bound)

    def _allowed(self, line: _Line) -> frozenset[TelemetrySource]:
        """What this ghost's agent may report: what the operator and the person it belongs to both allow."""
        allowed = self._sources & AGENT_SOURCES
        return allowed if line.bound is None else allowed & frozenset(self.sources_of(UserId(line.bound["user"])))

    async def _tell_sources(self, ghost: GhostId) -> None:
        enabled = sorted(source.value for source in self._allowed(self._line(ghost)))
        await self.call(ghost, "sources", {"enabled": enabled, "sample_every_s": self._sample_every_s})

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def listen(endpoint: Endpoint) -> socket.socket:
    """Make the ghost's listening socket, mode 0600, owned by the agent's uid; a stale one is removed first."""
    path = Path(endpoint.agent_path)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        listener.bind(str(path))
        path.chmod(0o600)  # before `listen`, nobody can connect: there is no moment with wider rights
        if endpoint.agent_uid != os.geteuid():
            os.chown(path, endpoint.agent_uid, -1)
        listener.listen(4)
    except OSError:
        listener.close()
        raise
    return listener


def wire_call(command: AgentCommand) -> tuple[str, dict[str, Any]]:
    """The method and parameters that stand for a command."""
    match command:
        case LaunchHidden(app=app):
            return "launch", {"app": app, "hidden": True, "files": []}
        case ShowApp(app=app):
            return "show", {"app": app}
        case HideApp(app=app):
            return "hide", {"app": app, "freeze": True, "unmap": False}
        case CloseApp(app=app):
            return "close", {"app": app}
        case TellBound(user=user):
            return "bound", {"user": user, "files": []}


def _list_of_objects(result: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = result.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
