"""The density benchmark runs for real, with few ghosts: what it finds is looked at for sense, never for speed."""

import shutil

import pytest

from ghostdesk.bench.density import CallBack, DensityRung, run_density_bench
from ghostdesk.bench.host import this_host
from ghostdesk.bench.rungs import BENCH_APPS
from ghostdesk.control.agent_hub import AgentHub
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.zram import zram_swap
from ghostdesk.kernel.errors import MissingRequirement
from ghostdesk.kernel.resources import MIB

pytestmark = pytest.mark.desktop


async def test_parked_ghosts_hold_less_and_wake(bench_host: tuple[LocalEngine, AgentHub]) -> None:
    engine, hub = bench_host
    if not shutil.which("lxterminal"):
        pytest.skip("lxterminal is not installed")
    counts = ((DensityRung.READY, 2), (DensityRung.PARKED, 3))
    try:
        with zram_swap(1024 * MIB):
            report = await run_density_bench(
                engine, hub, this_host(date="2026-01-02", command="pytest"),
                app=BENCH_APPS[0], swap="1 GiB of zram", counts=counts, seconds=1.0, wakes=1,
            )  # fmt: skip
    except MissingRequirement as error:
        pytest.skip(str(error))
    ready, parked = report.series
    assert [step.ghosts for step in parked.steps] == [1, 2, 3]
    assert not parked.failed and len(parked.park_s) == 3
    assert ready.cost is not None and ready.cost.up_to == 2
    last = parked.steps[-1]
    assert last.swap_pss_bytes > 30 * MIB > 0 < last.zram_bytes < last.swap_pss_bytes
    assert parked.cpu_s / parked.window_s < 0.05
    assert not report.missing, report.missing
    assert {wake.how for wake in report.wakes} == set(CallBack)
    assert all(0 < wake.first_frame_s < wake.painted_s for wake in report.wakes)
    assert not [ghost for ghost in await engine.observe() if ghost.alive]
