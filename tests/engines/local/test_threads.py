"""Whoever gives up on a thread waits for its end; what has not begun does not begin."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ghostdesk.engines.local.threads import to_its_end


async def test_a_cancelled_caller_waits_for_the_thread() -> None:
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        go_on.wait(60)
        ended.set()

    with ThreadPoolExecutor(1) as pool:
        task = asyncio.create_task(to_its_end(pool, work))
        await asyncio.to_thread(began.wait, 60)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()


async def test_what_waits_for_a_free_thread_is_never_begun() -> None:
    go_on, begun = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(go_on.wait, 60)
        task = asyncio.create_task(to_its_end(pool, begun.set))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
    assert not begun.is_set()


async def test_what_it_gives_and_raises_comes_back() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert await to_its_end(pool, lambda: 3) == 3
        with pytest.raises(ZeroDivisionError):
            await to_its_end(pool, lambda: 1 / 0)
