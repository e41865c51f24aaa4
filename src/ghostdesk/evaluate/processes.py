"""Work side by side, in processes of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from ghostdesk.kernel.errors import ConfigError

SPAWN = multiprocessing.get_context("spawn")
"""A fresh process each, as forking one with threads (a progress bar, BLAS) may hang. Queues and arrays come from it."""


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


@contextmanager
def worker_processes(
    workers: int, working: str, mend: str, begin: Callable[..., None] | None = None, given: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """So many processes; on leaving, work that has not begun is dropped and the rest waited for.

    Args:
        workers: how many.
        working, mend: what they do ("scoring"), and what helps, for the error.
        begin, given: what each calls first, and with what.

    Raises:
        ConfigError: one was ended from outside.
    """
    executor = ProcessPoolExecutor(workers, SPAWN, initializer=_begin, initargs=(begin, given))
    try:
        yield executor
    except BrokenProcessPool:
        raise ConfigError(f"A {working} process was ended from outside, likely for lack of memory.", mend) from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _begin(begin: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches every process; one message is enough
    if begin is not None:
        begin(*given)
