"""Going between two ends of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


async def until_one_ends(*ways: Coroutine[None, None, None]) -> None:
    """Carry all ways at once until one has ended, however it did; the others are ended then."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
