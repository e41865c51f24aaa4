"""One trial of the launch benchmark: an application on a rung is asked for; when was its window painted?"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.bench.desk import BenchError, Desk
from ghostdesk.bench.painted import PAINTED_SHARE, Window, answered_at, equal_share, painted_at, window_of
from ghostdesk.bench.rfb import Recording, RfbClient
from ghostdesk.bench.rfb_screen import Pixels
from ghostdesk.bench.rungs import (
    EXEC_RUNGS,
    RECLAIMED_RUNGS,
    RUNNING_RUNGS,
    UNMAPPED_RUNGS,
    WHOLE_GHOST_RUNGS,
    BenchApp,
    Rung,
)
from ghostdesk.ghosts.commands import CallBackMemory, Freeze, ReclaimMemory, Thaw
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import AppId

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
QUIET_EXEC_S, QUIET_WAKE_S = 1.5, 0.4
"""After a start, and after a wake: this long without a change is settled."""
PAINT_TIMEOUT_S = 90.0
WAKE_TIMEOUT_S = 10.0
SAME_PICTURE_S = 3.0
"""A window that has not come back as it was hidden within this is taken as it is when it has settled."""
CLOSE_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Timing:
    """What a trial gave, in seconds.

    Args:
        painted_s: from asking (the call to the agent, or the thaw of the ghost before it) until the window was painted.
        key_s: from the first key, pressed the moment the window was painted, until its echo; None where none was seen.
        window: where the window is.
    """

    painted_s: float
    key_s: float | None
    window: Window


class Stage:
    """One application on one desk, between trials either not running, or on the screen and settled."""

    def __init__(self, here: Desk, screen: RfbClient, app: BenchApp, app_id: AppId) -> None:
        self._desk, self._screen, self._app, self._id = here, screen, app, app_id
        self._shown: tuple[Pixels, Window] | None = None

    async def trial(self, rung: Rung) -> Timing:
        """Run one; raises `BenchError` and whatever engine, agent or screen raise."""
        if rung in EXEC_RUNGS:
            return await self._exec(rung)
        if self._shown is None:
            await self._exec(Rung.CACHED)
        return await self._wake(rung)

    async def close(self) -> None:
        """End the application; the next trial starts from nothing. Raises `RfbError` when the screen is gone."""
        self._shown = None
        with contextlib.suppress(GhostdeskError, TimeoutError):
            await self._desk.apply(Thaw(self._desk.ghost))
            await self._desk.call("close", app=self._id)
            # An application that asks whether to save is ended by the agent after some seconds; started again before
            # that, many hand the request to the process that is about to end.
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                while self._id in await self._desk.running():  # noqa: ASYNC110
                    await asyncio.sleep(0.1)  # the agent has no word for "it ended"
        await self._screen.wait_quiet(QUIET_WAKE_S, 5.0)

    async def _exec(self, rung: Rung) -> Timing:
        return await self.start(drop_page_cache if rung is Rung.COLD else None)

    async def start(self, prepare: Callable[[], Awaitable[None]] | None = None) -> Timing:
        """Start the application anew, after `prepare` and half a second; raises as `trial` does."""
        await self.close()
        await self._rest_pointer()
        if prepare is not None:
            await prepare()
            await asyncio.sleep(0.5)
        recording = self._screen.record()
        seen = self._screen.large_updates
        begin_s = time.monotonic()
        await self._desk.call("launch", app=self._id, hidden=False, files=[])
        if not await self._screen.wait_until(lambda: self._screen.large_updates > seen, PAINT_TIMEOUT_S):
            raise BenchError(f"{self._app.name} was started and nothing appeared within {PAINT_TIMEOUT_S:.0f} s.")
        await self._screen.wait_quiet(QUIET_EXEC_S, PAINT_TIMEOUT_S)
        self._screen.stop_recording()
        settled = self._screen.picture()
        window = window_of(recording.before, settled)
        if window is None or not recording.complete:
            raise BenchError(f"{self._app.name} left no settled window on the screen.")
        painted_s = painted_at(recording.before, recording.updates, settled, window)
        if painted_s is None:
            raise BenchError(f"{self._app.name} never had 98 % of its settled window on the screen.")
        await self._press_all(self._app.prepare)
        self._shown = settled, window
        return Timing(painted_s - begin_s, None, window)

    async def _wake(self, rung: Rung) -> Timing:
        assert self._shown is not None
        settled, window = self._screen.picture(), self._shown[1]
        await self._hide(rung, settled, window)
        recording = self._screen.record()
        begin_s = time.monotonic()
        show = asyncio.create_task(self._show(rung))
        try:
            same = await self._screen.wait_until(
                lambda: equal_share(self._screen.live(), settled, window) >= PAINTED_SHARE, SAME_PICTURE_S
            )
            pressed_s = time.monotonic()
            if same:
                self._screen.press(*self._app.key)
            path = await show
        finally:
            show.cancel()
        if path == "cold":
            raise BenchError(f"{self._app.name} was started anew instead of shown.")
        await self._screen.wait_quiet(QUIET_WAKE_S, WAKE_TIMEOUT_S)
        self._screen.stop_recording()
        if not same:
            return self._otherwise(recording, begin_s, window)
        painted_s = painted_at(recording.before, recording.updates, settled, window)
        if painted_s is None:
            raise BenchError(f"{self._app.name} came back, but not in what was recorded.")
        after = self._screen.picture()
        await self._press_all(self._app.undo)
        key_s = answered_at(settled, recording.updates, after, self._screen.picture(), window, pressed_s)
        return Timing(painted_s - begin_s, None if key_s is None else key_s - pressed_s, window)

    def _otherwise(self, recording: Recording, begin_s: float, old: Window) -> Timing:
        """The window is back, but elsewhere or with another picture: timed against what it settled as; no key."""
        settled = self._screen.picture()
        window = window_of(recording.before, settled)
        if window is None or 2 * window.area_px < old.area_px:
            raise BenchError(f"{self._app.name} did not come back whole.")
        painted_s = painted_at(recording.before, recording.updates, settled, window)
        if painted_s is None:
            raise BenchError(f"{self._app.name} never had 98 % of its settled window on the screen.")
        self._shown = settled, window
        return Timing(painted_s - begin_s, None, window)

    async def _hide(self, rung: Rung, settled: Pixels, window: Window) -> None:
        """Leave the screen, then freeze and reclaim as the rung says."""
        ghost = self._desk.ghost
        await self._desk.call("hide", app=self._id, freeze=rung not in RUNNING_RUNGS, unmap=rung in UNMAPPED_RUNGS)
        await self._screen.wait_quiet(QUIET_WAKE_S, WAKE_TIMEOUT_S)
        if equal_share(self._screen.live(), settled, window) >= PAINTED_SHARE:
            raise BenchError(f"{self._app.name} was told to hide and is still on the screen.")
        if rung in WHOLE_GHOST_RUNGS:
            await self._desk.apply(Freeze(ghost))
        if rung in RECLAIMED_RUNGS:
            await self._desk.apply(ReclaimMemory(ghost))
        if rung is Rung.PARKED_CALLED_BACK:
            await self._desk.apply(CallBackMemory(ghost))
        await asyncio.sleep(0.2)

    async def _show(self, rung: Rung) -> str:
        if rung in WHOLE_GHOST_RUNGS:
            await self._desk.apply(Thaw(self._desk.ghost))
        return str((await self._desk.call("show", app=self._id)).get("path"))

    async def _press_all(self, chords: tuple[tuple[int, ...], ...]) -> None:
        for chord in chords:
            self._screen.press(*chord)
            await asyncio.sleep(0.05)
        await self._screen.wait_quiet(QUIET_WAKE_S, WAKE_TIMEOUT_S)

    async def _rest_pointer(self) -> None:
        """Put the pointer where it hovers over nothing: the desktop's left edge."""
        self._screen.point(0, self._screen.size[1] // 2)
        await self._screen.wait_quiet(QUIET_WAKE_S, 5.0)


def can_drop_page_cache() -> bool:
    """Whether this process may empty the host's page cache."""
    try:
        with DROP_CACHES.open("w"):
            return True
    except OSError:
        return False


async def drop_page_cache() -> None:
    """Write back and drop the whole host's page cache, so that the next start reads from disk; needs root."""

    def drop() -> None:
        os.sync()
        DROP_CACHES.write_text("3\n")

    await asyncio.to_thread(drop)
