"""Application launches, focus with dwell time, exits, and whether anybody is there."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from ghostdesk.agent.loop import Loop, Timer
from ghostdesk.agent.reporting import Reporter
from ghostdesk.kernel.ids import AppId

IDLE_AFTER_S = 180.0
LOOK_EVERY_S = 5.0
MIN_DWELL_S = 0.05


class Usage:
    """Turns what happens to windows into usage events.

    Args:
        idle_s: how long ago the last key, click or move was, in seconds.
    """

    def __init__(self, loop: Loop, reporter: Reporter, idle_s: Callable[[], float]) -> None:
        self._loop = loop
        self._reporter = reporter
        self._idle_s = idle_s
        self._timer: Timer | None = None
        self._present = False
        self._app: AppId | None = None
        self._since_s = 0.0
        self._foreign: set[AppId] = set()

    def start(self) -> None:
        """The desktop has an owner: begin to look whether they are there."""
        if self._timer is None:
            self._since_s = time.time()
            self._timer = self._loop.later(LOOK_EVERY_S, self._look)

    def launched(self, app: AppId, path: str, duration_s: float) -> None:
        """The user started an application: `path` "shown" or "cold" is reported, "raised" is no launch."""
        if path != "raised":
            now_s = time.time()
            self._reporter.report(
                "app-launch", app=app, detail=path, value=round(duration_s, 6), time_s=now_s - duration_s
            )

    def exited(self, app: AppId) -> None:
        """Its last process ended."""
        self._reporter.report("app-exit", app=app)

    def foreign_window(self, app: AppId) -> None:
        """A window of an application that was not started through us, say from a terminal."""
        if app not in self._foreign:
            self._foreign.add(app)
            self._reporter.report("app-launch", app=app, detail="cold")

    def foreign_exit(self, app: AppId) -> None:
        """Its last window went."""
        if app in self._foreign:
            self._foreign.discard(app)
            self._reporter.report("app-exit", app=app)

    def focused(self, app: AppId | None) -> None:
        """The focus is now with `app`, or with nothing we know: report how long it was where it was."""
        if app == self._app:
            return
        self._end_dwell(time.time())
        self._app, self._since_s = app, time.time()

    def trouble(self, text: str) -> None:
        """Something that no call can be answered with. Only to this machine's error output: it may name things."""
        print(text, file=sys.stderr)  # noqa: T201

    def _end_dwell(self, now_s: float) -> None:
        dwell_s = now_s - self._since_s
        if self._app is not None and dwell_s >= MIN_DWELL_S:
            self._reporter.report("app-focus", app=self._app, value=round(dwell_s, 3), time_s=self._since_s)

    def _look(self) -> None:
        self._timer = self._loop.later(LOOK_EVERY_S, self._look)
        if not self._reporter.wants("focus"):
            return
        idle_s = self._idle_s()
        now_s = time.time()
        if self._present and idle_s >= IDLE_AFTER_S:
            self._present = False
            self._end_dwell(now_s - idle_s)
            self._reporter.report("idle", time_s=now_s - idle_s)
        elif not self._present and idle_s < LOOK_EVERY_S * 2:
            self._present = True
            self._since_s = now_s
            self._reporter.report("active", time_s=now_s - idle_s)
