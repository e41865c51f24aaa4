"""History is kept as long as the operator says."""

from pathlib import Path

import pytest
from control_world import START_S, World

from ghostdesk.control.retention import age_out_every
from ghostdesk.kernel.errors import StoreError


async def test_old_events_go_and_a_failing_store_is_asked_again(tmp_path: Path) -> None:
    world, asked = World(tmp_path), []

    def age_out(before_s: float) -> int:
        asked.append(before_s)
        if len(asked) == 1:
            raise StoreError("The database is busy.", "Try again.")
        return 3

    import asyncio

    task = asyncio.ensure_future(age_out_every(age_out, world.journal, world.clock, 10.0, every_s=3600.0))
    await world.clock.run_until(START_S + 2.5 * 3600.0)
    assert [round(before_s - START_S) for before_s in asked] == [600 - 864_000, 4200 - 864_000, 7800 - 864_000]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    world.close()


async def test_without_a_retention_everything_is_kept(tmp_path: Path) -> None:
    world = World(tmp_path)
    await age_out_every(lambda _before_s: 1 // 0, world.journal, world.clock, 0.0)
    world.close()
