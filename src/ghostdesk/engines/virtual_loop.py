"""An event loop without a world outside: no sockets, no threads, no real timers.

It knows when nobody has anything left to do, which an ordinary loop does not tell, and costs a fraction of one.
`engines.virtual_time.run_virtual` uses it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import Any, TypeVar

_T = TypeVar("_T")
log = logging.getLogger(__name__)


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs callbacks, futures and tasks. Whatever needs the outside raises `NotImplementedError`, as the base does.

    `when_idle` is called when no callback is left; it answers whether it made one. Ctrl-C ends the run at once.
    """

    def __init__(self) -> None:
        self.when_idle: Callable[[], bool] = lambda: False
        self._ready: deque[tuple[Context, Callable[..., object], tuple[Any, ...]]] = deque()
        self._running = self._closed = self._interrupted = False

    def run_until_complete(self, future: Any) -> Any:
        """Run until it is done, and give its result; raises `RuntimeError` when nothing could ever end it."""
        task = asyncio.ensure_future(future, loop=self)
        before = asyncio._get_running_loop()
        if before is not None:
            raise RuntimeError("another event loop runs in this thread")
        asyncio._set_running_loop(self)
        self._running = True
        try:
            with self._ctrl_c_between_callbacks():
                self._turn(task)
            return task.result()
        finally:
            self._running = False
            asyncio._set_running_loop(None)

    @contextmanager
    def _ctrl_c_between_callbacks(self) -> Iterator[None]:
        """Ctrl-C in the midst of a task would be that task's failure; between two it is the end of the run."""
        main = threading.current_thread() is threading.main_thread()
        if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return

        def pressed(_number: int, _frame: object) -> None:
            self._interrupted = True

        signal.signal(signal.SIGINT, pressed)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _turn(self, task: asyncio.Future[Any]) -> None:
        ready, pop = self._ready, self._ready.popleft
        while not task.done():
            if self._interrupted:
                raise KeyboardInterrupt
            while ready:
                context, callback, args = pop()
                try:
                    context.run(callback, *args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.call_exception_handler({"message": f"{callback} failed", "exception": error})
            if not task.done() and not self.when_idle() and not ready:
                raise RuntimeError("nobody has anything left to do, and yet the work is not done")

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> None:
        """Call it after those that were asked for before. There is no handle to cancel it by: nothing here does."""
        self._ready.append((context if context is not None else copy_context(), callback, args))

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, _T], **options: Any) -> asyncio.Task[_T]:  # type: ignore[override]
        """A task of this loop."""
        return asyncio.Task(coro, loop=self, **options)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Log what nobody awaited."""
        log.error("%s", context.get("message"), exc_info=context.get("exception"))

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """Whether it runs now."""
        return self._running

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """Cancel what is left, and let it end."""
        for task in asyncio.all_tasks(self):
            task.cancel()
        asyncio._set_running_loop(self)
        try:
            while self._ready:
                context, callback, args = self._ready.popleft()
                context.run(callback, *args)
        finally:
            asyncio._set_running_loop(None)
            self._closed = True
