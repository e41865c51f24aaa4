"""The agent's end of the control socket: connects, says hello, and for ever tries again."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from ghostdesk.agent import wire
from ghostdesk.agent.loop import Loop

FIRST_RETRY_S = 0.1
LAST_RETRY_S = 0.5
MAX_KEPT_EVENTS = 1000
"""Events kept while the control plane is away; the oldest go first."""


class Link:
    """Sends and receives lines.

    Args:
        path: the control plane's socket.
        hello: makes the first message; called anew for each connection, as the credential may have been replaced.
        on_call: takes each call.
    """

    def __init__(
        self, loop: Loop, path: str, hello: Callable[[], dict[str, Any]], on_call: Callable[[dict[str, Any]], None]
    ) -> None:
        self._loop = loop
        self._path = path
        self._hello = hello
        self._on_call = on_call
        self._socket: socket.socket | None = None
        self._welcome = False
        self._in = bytearray()
        self._skipping = False
        self._out = bytearray()
        self._kept: deque[dict[str, Any]] = deque(maxlen=MAX_KEPT_EVENTS)
        self._retry_s = FIRST_RETRY_S

    def connect(self) -> None:
        """Connect now, or keep trying."""
        attempt = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            attempt.connect(self._path)
            attempt.setblocking(False)
            self._socket, self._welcome = attempt, False
            self._in.clear()
            self._out[:] = wire.encode(self._hello())
        except OSError:
            attempt.close()
            self._socket = None
            self._later()
            return
        self._flush()

    def event(self, message: dict[str, Any]) -> None:
        """Report an event, now or when the control plane is back."""
        if self._welcome:
            self._send(message)
        else:
            self._kept.append(message)

    def reply(self, number: Any, result: dict[str, Any]) -> None:
        """Answer a call."""
        self._send({"type": "reply", "id": number, "result": result})

    def refuse(self, number: Any, code: str, text: str) -> None:
        """Answer a call that failed."""
        self._send({"type": "reply", "id": number, "error": {"code": code, "message": text[:500]}})

    def _send(self, message: dict[str, Any]) -> None:
        if self._socket is not None and len(self._out) < wire.MAX_LINE_BYTES * 2:
            self._out += wire.encode(message)
            self._flush()

    def _flush(self) -> None:
        if self._socket is None:
            return
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._lost()
            return
        self._loop.watch(self._socket, self._ready, write=bool(self._out))

    def _ready(self) -> None:
        if self._out:
            self._flush()
        if self._socket is None:
            return
        try:
            block = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            block = b""
        if not block:
            self._lost()
            return
        self._in += block
        self._lines()

    def _lines(self) -> None:
        while (end := self._in.find(b"\n")) >= 0:
            line = bytes(self._in[:end])
            del self._in[: end + 1]
            if self._skipping:
                self._skipping = False
            else:
                self._line(line)
        if len(self._in) > wire.MAX_LINE_BYTES:
            if not self._skipping:
                self.refuse(None, "too-long", f"A line is longer than {wire.MAX_LINE_BYTES} bytes")
            self._skipping = True
            self._in.clear()

    def _line(self, line: bytes) -> None:
        try:
            message = wire.decode(line)
        except wire.WireError as problem:
            self.refuse(None, "malformed", str(problem))
            return
        if message["type"] == "welcome":
            self._welcome, self._retry_s = True, FIRST_RETRY_S
            while self._kept:
                self._send(self._kept.popleft())
        elif message["type"] == "call":
            self._on_call(message)

    def close(self) -> None:
        """End the connection and do not try again."""
        if self._socket is not None:
            self._loop.forget(self._socket)
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket, self._welcome, self._skipping = None, False, False
        self._out.clear()

    def _lost(self) -> None:
        self.close()
        self._later()

    def _later(self) -> None:
        self._loop.later(self._retry_s, self.connect)
        self._retry_s = min(self._retry_s * 1.5, LAST_RETRY_S)
