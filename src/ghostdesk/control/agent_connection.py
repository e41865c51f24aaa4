"""One authenticated connection to an agent: calls with ids and time limits, and the reading of replies and events."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import Any

from ghostdesk.agent import wire
from ghostdesk.kernel.errors import AgentError, NotFound
from ghostdesk.kernel.ids import GhostId

MAX_BAD_LINES = 20
"""After so many lines that are not ours, the agent is broken or hostile: the connection ends."""


class Connection:
    """Speaks `wire` over one stream.

    Args:
        on_event: takes each event message, unchecked.
    """

    def __init__(
        self,
        ghost: GhostId,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_event: Callable[[wire.Message], None],
    ) -> None:
        self.ghost = ghost
        self._reader = reader
        self._writer = writer
        self._on_event = on_event
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ended = "the connection to the agent ended"
        self.open = True

    async def call(self, method: str, params: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Call and wait for the reply. Raises `AgentError` (`NotFound` for an unknown application)."""
        if not self.open:
            raise lost(self.ghost, self._ended)
        number = next(self._ids)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            async with asyncio.timeout(timeout_s):
                # Not `drain` after the write: a frozen agent reads nothing, and the time limit must still hold.
                self._writer.write(wire.encode({"type": "call", "id": number, "method": method, "params": params}))
                return await future
        except TimeoutError:
            raise AgentError(
                f"The agent of ghost {self.ghost} did not answer {method!r} within {timeout_s:g} s.",
                "It may be frozen: thaw the ghost first. A ghost whose agent stays silent is replaced.",
            ) from None
        finally:
            self._waiting.pop(number, None)

    async def serve(self) -> None:
        """Read until the connection ends."""
        bad = 0
        try:
            while bad < MAX_BAD_LINES:
                line = await self._reader.readline()
                if not line:
                    break
                try:
                    self._take(wire.decode(line))
                except wire.WireError:
                    bad += 1
        except (ValueError, OSError):
            # readline raises ValueError for a line beyond the limit: such a peer has lost our language.
            pass
        finally:
            self.close("the connection to the agent ended")

    def close(self, why: str) -> None:
        """End it; calls under way fail with `why`."""
        if self.open:
            self.open, self._ended = False, why
            with contextlib.suppress(OSError, RuntimeError):
                self._writer.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(lost(self.ghost, why))

    def _take(self, message: wire.Message) -> None:
        if message["type"] == "event":
            self._on_event(message)
        elif message["type"] == "reply":
            number = message.get("id")
            future = self._waiting.get(number) if isinstance(number, int) else None
            if future is None or future.done():
                return
            if isinstance(result := message.get("result"), dict):
                future.set_result(result)
            else:
                future.set_exception(refused(self.ghost, message.get("error")))


def lost(ghost: GhostId, why: str) -> AgentError:
    """The error for a connection that is not there."""
    return AgentError(f"Ghost {ghost}: {why}.", "The agent connects again by itself; a ghost that is gone is replaced.")


def refused(ghost: GhostId, error: object) -> AgentError | NotFound:
    """The error that an agent's refusal stands for. What it says is cut short and freed of control characters."""
    fields = error if isinstance(error, dict) else {}
    said = "".join(c for c in str(fields.get("message", ""))[:300] if c.isprintable())
    code = str(fields.get("code", ""))
    if code == "unknown-app":
        return NotFound(f"{said}.", "Choose one from the desktop's catalogue, or install it in the template.")
    mends = {
        "no-window": "Start it again; if that fails, look at its own messages in a terminal on that desktop.",
        "not-running": "Show it: that starts it.",
        "cannot-start": "Mend its .desktop file or install its program.",
    }
    return AgentError(f"The agent of ghost {ghost} refused: {said or 'no reason given'}.", mends.get(code, ""))
