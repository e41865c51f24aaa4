"""Foreseen wakes are called back in the order of their probability; a person who waits goes before all of them."""

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace

from ghostdesk.engines.local import engine as local
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.records import GhostRecord
from ghostdesk.ghosts.commands import CallBackMemory
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import Priority


class Watched(LocalEngine):
    """An engine whose call-backs wait until they are let go; it notes who began, in which order."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, folder)
        self.began: list[str] = []
        self.go_on = threading.Event()

    def _living(self, ghost: GhostId) -> GhostRecord:
        return GhostRecord(ghost, "plain", "isolated", 1)

    def _call_back(self, record: GhostRecord, thawed: threading.Event) -> dict[str, float | str]:
        self.began.append(record.ghost)
        assert self.go_on.wait(10)
        return {"called_back_bytes": 1.0}


class Thawed(Watched):
    """One whose call-back goes on until a thaw ends it."""

    called = threading.Event()

    def _call_back(self, record: GhostRecord, thawed: threading.Event) -> dict[str, float | str]:
        self.called.set()
        assert thawed.wait(10)
        return {"called_back_bytes": 0.0}


async def until(engine: Watched, count: int) -> None:
    async with asyncio.timeout(10):
        while len(engine.began) < count:  # noqa: ASYNC110 - it is begun in a thread
            await asyncio.sleep(0.005)


async def test_the_likeliest_first_and_the_person_before_them(tmp_path: Path) -> None:
    engine = Watched(tmp_path)
    foreseen = [asyncio.create_task(engine.apply(CallBackMemory(GhostId(f"g{n}")))) for n in range(5)]
    await until(engine, local.CALL_BACKS_AT_ONCE)
    waiting = asyncio.create_task(engine.apply(CallBackMemory(GhostId("person"), Priority.PERSON)))
    await until(engine, local.CALL_BACKS_AT_ONCE + 1)
    assert engine.began == ["g0", "g1", "person"], "the others wait"
    engine.go_on.set()
    outcomes = await asyncio.gather(waiting, *foreseen)
    assert all(outcome.ok for outcome in outcomes)
    assert engine.began[3:] == ["g2", "g3", "g4"]
    await engine.stop(keep_ghosts=True)


async def test_a_ghost_that_is_gone_is_said_and_holds_nobody_up(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path, tmp_path)
    for _ in range(2 * local.CALL_BACKS_AT_ONCE):
        outcome = await engine.apply(CallBackMemory(GhostId("gone")))
        assert not outcome.ok
    await engine.stop(keep_ghosts=True)


async def test_a_thaw_ends_what_was_begun_before_it(tmp_path: Path) -> None:
    engine = Thawed(tmp_path)
    groups = SimpleNamespace(kind="v2", thaw=lambda _ghost: None)
    engine._started = SimpleNamespace(cgroups=groups)  # type: ignore[assignment]
    foreseen = asyncio.create_task(engine.apply(CallBackMemory(GhostId("g0"))))
    async with asyncio.timeout(10):
        await asyncio.to_thread(engine.called.wait)
        assert engine._thawed.keys() == {"g0"}
        engine._thaw(engine._living(GhostId("g0")))
        assert (await foreseen).facts == {"called_back_bytes": 0.0}
    assert not engine._thawed
    await engine.stop(keep_ghosts=True)
