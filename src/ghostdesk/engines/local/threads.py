"""Work in threads, which cannot be stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


async def to_its_end(pool: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
    """Do the work in a thread; who gives up waits for its end, or two would be at work on one thing."""
    job = pool.submit(work)
    done = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        while not (job.cancel() or job.done()):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([done])
        raise
