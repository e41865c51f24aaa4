"""The benchmarks run for real, with few rounds: what they find is looked at for sense, never for speed."""

import shutil
from pathlib import Path

import pytest

from ghostdesk.bench import plot, render
from ghostdesk.bench.host import this_host
from ghostdesk.bench.idle import IdleRung, run_idle_bench
from ghostdesk.bench.launch import run_launch_bench
from ghostdesk.bench.launch_report import LaunchReport
from ghostdesk.bench.rungs import BENCH_APPS, BenchApp, Rung
from ghostdesk.control.agent_hub import AgentHub
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.kernel.ids import AppId

HERE = this_host(date="2026-01-02", command="pytest")
pytestmark = pytest.mark.desktop


def terminal() -> BenchApp:
    if not shutil.which("lxterminal"):
        pytest.skip("lxterminal is not installed")
    return BENCH_APPS[0]


async def test_a_real_launch_bench_gives_figures_a_plot_and_json(
    bench_host: tuple[LocalEngine, AgentHub], tmp_path: Path
) -> None:
    engine, hub = bench_host
    absent = BenchApp("Nothing", (AppId("no-such-application"),))
    rungs = (Rung.CACHED, Rung.FROZEN_KEPT)
    report = await run_launch_bench(engine, hub, HERE, apps=[terminal(), absent], rounds=2, rungs=rungs)
    assert [m.reason for m in report.missing if m.app == "Nothing"] == ["is not installed"]
    for rung in rungs:
        painted = report.painted("LXTerminal", rung)
        assert painted is not None, report.missing
        assert painted.minimum > 0
    assert report.key("LXTerminal", Rung.FROZEN_KEPT) is not None, report.missing
    ratio = report.speed_up(Rung.CACHED, Rung.FROZEN_KEPT)
    assert ratio is not None and ratio > 0  # how large is the host's business
    again = render.from_json(render.to_json(report))
    assert isinstance(again, LaunchReport) and again == report
    assert all(file.stat().st_size > 1000 for file in plot.save(report, tmp_path / "launch"))
    assert not [ghost for ghost in await engine.observe() if ghost.alive]


async def test_a_real_idle_bench_says_what_a_ghost_holds(bench_host: tuple[LocalEngine, AgentHub]) -> None:
    engine, hub = bench_host
    rungs = (IdleRung.READY, IdleRung.FROZEN)
    terminal()
    report = await run_idle_bench(engine, hub, HERE, ghosts=1, seconds=0.5, apps=[AppId("lxterminal")], rungs=rungs)
    ready, frozen = report.samples
    assert (ready.rung, frozen.rung) == rungs
    assert ready.processes >= 3 and ready.pss_bytes > 1_000_000
    assert frozen.processes > ready.processes
    assert frozen.cpu_s == 0.0
