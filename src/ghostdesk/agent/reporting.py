"""The only way out for what the agent sees: checks that reporting is allowed, and lets only facts of use through.

The words for kinds and sources are those of `ghostdesk.telemetry.events`; they are written out here, since importing
that module (dataclasses and hashing) would cost every desktop 4 MiB. A test compares the two.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

SOURCE_OF = {
    "app-launch": "applications",
    "app-exit": "applications",
    "app-focus": "focus",
    "active": "focus",
    "idle": "focus",
    "microphone": "microphone",
    "camera": "camera",
    "file-opened": "files",
    "cpu": "resources",
    "memory": "resources",
    "network": "resources",
    "storage": "resources",
}
SOURCES = frozenset(SOURCE_OF.values())


class Reporter:
    """Reports events once the desktop has an owner, from the sources that are switched on.

    Args:
        send: takes one message for the control plane.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self.bound = False
        self.enabled: frozenset[str] = SOURCES

    def wants(self, source: str) -> bool:
        """Whether this source may report now."""
        return self.bound and source in self.enabled

    def set_sources(self, names: Iterable[str]) -> None:
        """Switch on exactly these; unknown names are passed over."""
        self.enabled = frozenset(names) & SOURCES

    def report(
        self,
        kind: str,
        *,
        app: str | None = None,
        value: float | None = None,
        detail: str | None = None,
        time_s: float | None = None,
    ) -> None:
        """Report one event; dropped unless its source is switched on and the desktop is bound."""
        if self.wants(SOURCE_OF[kind]):
            when_s = time.time() if time_s is None else time_s
            self._send({"type": "event", "kind": kind, "time_s": when_s, "app": app, "value": value, "detail": detail})
