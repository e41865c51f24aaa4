"""A small event loop: file descriptors and timers in one thread. asyncio would cost each ghost 8 MiB more."""

from __future__ import annotations

import heapq
import itertools
import selectors
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

Callback = Callable[[], None]


class Timer:
    """A call that is due later; `cancel` makes it void."""

    __slots__ = ("call",)

    def __init__(self, call: Callback) -> None:
        self.call: Callback | None = call

    def cancel(self) -> None:
        """Never call it."""
        self.call = None


class Loop:
    """Waits for descriptors and timers and calls back. A callback that fails is reported and the loop goes on."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._before_wait: list[Callback] = []
        self._running = False

    def watch(self, fd: Any, call: Callback, *, write: bool = False) -> None:
        """Call when `fd` can be read, or (with `write`) written; replaces an earlier watch of the same descriptor."""
        self.forget(fd)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        self._selector.register(fd, events, call)

    def forget(self, fd: Any) -> None:
        """Stop watching `fd`; no harm when it is not watched."""
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            return

    def later(self, delay_s: float, call: Callback) -> Timer:
        """Call once, `delay_s` seconds from now."""
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._count), timer))
        return timer

    def before_wait(self, call: Callback) -> None:
        """Call each time before the loop sleeps: for libraries that read ahead, as Xlib does."""
        self._before_wait.append(call)

    def run(self) -> None:
        """Go on until `stop`."""
        self._running = True
        while self._running:
            for call in self._before_wait:
                self._guarded(call)
            for key, _ in self._selector.select(self._wait_s() if self._running else 0):
                self._guarded(key.data)
            self._call_due()

    def stop(self) -> None:
        """Leave `run` soon."""
        self._running = False

    def _wait_s(self) -> float | None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _call_due(self) -> None:
        now_s = time.monotonic()
        while self._timers and self._timers[0][0] <= now_s:
            timer = heapq.heappop(self._timers)[2]
            if timer.call is not None:
                self._guarded(timer.call)

    @staticmethod
    def _guarded(call: Callback) -> None:
        try:
            call()
        except Exception:
            # One broken window or file must not end the agent. The text stays on this machine's error output.
            traceback.print_exc(file=sys.stderr)
