"""The observer: an RFB client that notes when pixels reach the outside, the closest thing to what a person sees."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

from ghostdesk.bench import rfb_wire as wire
from ghostdesk.bench.rfb_screen import Patch, Pixels, Screen, Update, shake_hands
from ghostdesk.bench.rfb_wire import RfbError

SMALL_PX = 2000
"""Updates up to this many pixels (a blinking caret, a spinner, a clock) do not disturb the quiet."""


class Recording:
    """Updates in order of arrival, kept until a budget of bytes is used up."""

    def __init__(self, before: Pixels, budget_bytes: int) -> None:
        self.before = before
        self.updates: list[Update] = []
        self.complete = True
        """False once the budget was used up: what came later is not here."""
        self._left_bytes = budget_bytes

    def add(self, time_s: float, patches: Sequence[Patch]) -> None:
        """Keep a copy of an update."""
        self._left_bytes -= sum(patch.pixels.nbytes for patch in patches)
        if self._left_bytes < 0:
            self.complete = False
            return
        kept = tuple(Patch(patch.x, patch.y, patch.pixels.copy()) for patch in patches)
        self.updates.append(Update(time_s, kept))


class RfbClient:
    """Watches one desktop over its unix socket, asking for changes without pause, and sends keys and pointer.

    Use as `async with await RfbClient.connect(path) as screen:`. Waits raise `RfbError` once the connection is gone.
    """

    def __init__(
        self, screen: Screen, writer: asyncio.StreamWriter, name: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._screen, self._writer, self._clock = screen, writer, clock
        self._recording: Recording | None = None
        self._failure: RfbError | None = None
        self._news = asyncio.Event()
        self._last_change_s = clock()
        self.updates_seen = 0
        """Those with pixels: servers may begin with one that only tells the screen's layout."""
        self.large_updates = 0
        """Those of more than `SMALL_PX` pixels."""
        self._task = asyncio.create_task(self._pump())

    @classmethod
    async def connect(cls, path: str, timeout_s: float = 10.0) -> RfbClient:
        """Connect, shake hands and start to watch; raises `RfbError`."""
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_unix_connection(path, limit=1024 * 1024)
                try:
                    screen, name = await shake_hands(reader, writer)
                except BaseException:
                    writer.close()
                    raise
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            raise RfbError(f"The desktop's screen did not answer: {error or 'timed out'}.") from None
        client = cls(screen, writer, name)
        try:
            if not await client.wait_until(lambda: client.updates_seen > 0, timeout_s):
                raise RfbError("The desktop's screen sent no picture.")
        except BaseException:
            await client.close()
            raise
        return client

    async def __aenter__(self) -> RfbClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; may be called twice."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._screen.size

    def picture(self) -> Pixels:
        """A copy of what is on the screen now."""
        return self._screen.pixels.copy()

    def live(self) -> Pixels:
        """What is on the screen, not copied: look, do not keep."""
        return self._screen.pixels

    def record(self, budget_bytes: int = 512 * 1024 * 1024) -> Recording:
        """Start a recording (an earlier one ends); memory for its pixels is bounded by `budget_bytes`."""
        self._recording = Recording(self.picture(), budget_bytes)
        return self._recording

    def stop_recording(self) -> None:
        """Record no more."""
        self._recording = None

    def press(self, *keysyms: int) -> None:
        """Press keys down together and let them go in the other order: a letter, or a chord such as Alt and F."""
        down = b"".join(wire.key_event(key, down=True) for key in keysyms)
        up = b"".join(wire.key_event(key, down=False) for key in reversed(keysyms))
        self._writer.write(down + up)

    def point(self, x: int, y: int, buttons: int = 0) -> None:
        """Move the pointer to x, y (pixels), with these buttons held."""
        self._writer.write(wire.pointer_event(x, y, buttons))

    async def resize(self, width: int, height: int, timeout_s: float = 5.0) -> None:
        """Have another screen size; raises `RfbError` when the server refuses or does not answer."""
        refused = self._screen.refused_resizes
        wire.check_size(width, height)
        self._writer.write(wire.set_desktop_size(width, height, self._screen.screen_id, self._screen.screen_flags))
        done = await self.wait_until(
            lambda: self.size == (width, height) or self._screen.refused_resizes > refused, timeout_s
        )
        if not done or self.size != (width, height):
            raise RfbError(f"The server did not change its screen to {width}x{height}.")

    async def wait_until(self, true: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `true()` after some update; False after `timeout_s`."""
        deadline_s = self._clock() + timeout_s
        while not true():
            left_s = deadline_s - self._clock()
            if left_s <= 0:
                return False
            if not await self._wait_news(left_s) and self._clock() >= deadline_s:
                return true()
        return True

    async def wait_quiet(self, quiet_s: float, timeout_s: float) -> bool:
        """Wait until nothing larger than `SMALL_PX` has changed for `quiet_s`."""
        deadline_s = self._clock() + timeout_s
        begin_s = self._clock()
        while True:
            now_s = self._clock()
            ripe_s = max(begin_s, self._last_change_s) + quiet_s
            if now_s >= ripe_s:
                return True
            if now_s >= deadline_s:
                return False
            await self._wait_news(min(ripe_s, deadline_s) - now_s)

    async def _wait_news(self, timeout_s: float) -> bool:
        if self._failure:
            raise self._failure
        self._news.clear()
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                await self._news.wait()
        except TimeoutError:
            return False
        if self._failure:
            raise self._failure
        return True

    async def _pump(self) -> None:
        try:
            self._writer.write(wire.update_request(*self.size, incremental=False))
            while True:
                size = self.size
                patches = await self._screen.read_message()
                if patches is None:
                    continue
                self._take(self._clock(), patches)
                self._writer.write(wire.update_request(*self.size, incremental=self.size == size))
        except RfbError as error:
            self._failure = error
        except (OSError, asyncio.IncompleteReadError):
            self._failure = RfbError("The desktop's screen closed the connection.")
        finally:
            self._news.set()

    def _take(self, time_s: float, patches: tuple[Patch, ...]) -> None:
        self.updates_seen += bool(patches)
        if self._recording is not None and patches:
            self._recording.add(time_s, patches)
        if sum(patch.pixels.size for patch in patches) > SMALL_PX:
            self.large_updates += 1
            self._last_change_s = time_s
        self._news.set()
