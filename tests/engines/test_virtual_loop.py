"""Virtual time on a loop that knows when it is idle."""

import asyncio

import pytest

from ghostdesk.engines.virtual_loop import VirtualLoop
from ghostdesk.engines.virtual_time import QueueClock, Stuck, run_virtual


def test_sleepers_wake_in_order_and_time_ends_where_it_was_asked_to() -> None:
    async def main(clock: QueueClock) -> tuple[list[str], float]:
        seen: list[str] = []

        async def one(name: str, delay_s: float) -> None:
            await clock.sleep(delay_s)
            for _ in range(100):  # more turns than an ordinary loop is given
                await asyncio.sleep(0)
            seen.append(f"{name} {clock.now_s():g}")

        tasks = [asyncio.create_task(one(name, delay)) for name, delay in (("b", 2.0), ("a", 1.0), ("c", 2.0))]
        clock.call_at(1.5, lambda: seen.append("called"))
        await clock.run_until(3.0)
        assert all(task.done() for task in tasks)
        return seen, clock.now_s()

    assert run_virtual(main) == (["a 1", "called", "b 2", "c 2"], 3.0)


def test_work_gets_as_much_time_as_it_takes_and_hanging_is_seen() -> None:
    async def main(clock: QueueClock) -> float:
        async def work() -> str:
            await clock.sleep(5.0)
            return "done"

        assert await clock.run(work()) == "done"
        with pytest.raises(Stuck):
            await clock.run(asyncio.Event().wait())
        return clock.now_s()

    assert run_virtual(main, 100.0) == 105.0


def test_a_cancelled_sleeper_does_not_move_time() -> None:
    async def main(clock: QueueClock) -> float:
        task = asyncio.create_task(clock.sleep(10.0))
        await asyncio.sleep(0)
        assert clock.sleeping() == 1
        task.cancel()
        await clock.run_until(20.0)
        with pytest.raises(ValueError, match="cannot go back"):
            await clock.run_until(1.0)
        return clock.now_s()

    assert run_virtual(main) == 20.0


def test_a_callback_that_fails_is_logged_and_errors_come_out(caplog: pytest.LogCaptureFixture) -> None:
    async def main(clock: QueueClock) -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await clock.run_until(1.0)
        raise LookupError("out")

    with pytest.raises(LookupError):
        run_virtual(main)
    assert "ZeroDivisionError" in caplog.text


def test_a_main_that_waits_for_nothing_ever_is_no_endless_loop() -> None:
    loop = VirtualLoop()  # type: ignore[abstract]
    with pytest.raises(RuntimeError, match="nobody has anything left to do"):
        loop.run_until_complete(asyncio.Event().wait())
    loop.close()
    assert loop.is_closed()


def test_ctrl_c_ends_the_run() -> None:
    async def main(clock: QueueClock) -> None:
        def pressed() -> None:
            raise KeyboardInterrupt

        clock.call_at(1.0, pressed)
        await clock.run_until(2.0)

    with pytest.raises(KeyboardInterrupt):
        run_virtual(main)
