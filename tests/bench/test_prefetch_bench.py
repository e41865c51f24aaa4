"""The prefetch benchmark: its report by hand-made figures, its slow disk, and one real run that empties no cache."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from ghostdesk.bench import prefetch as bench
from ghostdesk.bench.desk import BenchError
from ghostdesk.bench.host import this_host
from ghostdesk.bench.prefetch_report import (
    Condition,
    Load,
    PrefetchReport,
    RecordedSet,
    Trial,
    table,
    to_json,
    whole_windows,
)
from ghostdesk.bench.rungs import BENCH_APPS
from ghostdesk.bench.slow_disk import slow_disk
from ghostdesk.control.agent_hub import AgentHub
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.simulated import SimulatedEngine, SimulatedHost
from ghostdesk.engines.virtual_time import QueueClock
from ghostdesk.kernel.ids import AppId
from ghostdesk.kernel.resources import MIB

HERE = this_host(date="2026-01-02", command="pytest")


def test_the_report_compares_with_the_warm_page_cache() -> None:
    times = {Condition.COLD: (3.0, 5.0), Condition.PREFETCHED: (1.1, 1.0), Condition.WARM: (1.0, 1.0)}
    trials = [Trial("App", c, n, t, 100) for c, pair in times.items() for n, t in enumerate(pair, 1)]
    loads = (Load("App", Condition.PREFETCHED, 1, 0.5, 10 * MIB, 3, {"changed": 1}),)
    report = PrefetchReport(
        HERE, 2, 0, "cold", (0.1, 0.2), (RecordedSet("App", 5, 2, 20 * MIB, 1),), tuple(trials), loads
    )
    assert report.ratio("App", Condition.COLD) == 4.0
    assert report.ratio("App", Condition.PREFETCHED) == pytest.approx(1.05)
    assert report.ratio("App", Condition.SLOW_COLD) is None
    found = json.loads(to_json(report))
    rows = {row["condition"]: row for row in found["summary"]}
    assert rows["prefetched"]["ratio_to_warm"] == pytest.approx(1.05)
    assert rows["prefetched"]["loading_s"]["median"] == 0.5
    assert (found["schema"], found["provenance"]["command"]) == ("ghostdesk.bench.prefetch/1", "pytest")
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table(report))
    text = console.export_text()
    assert "4,000 (3,000-5,000); x4.00" in text and "n = 2" in text


def test_a_splash_that_stood_still_is_no_window() -> None:
    whole = [Trial("App", Condition.COLD, n, 1.0, 1000) for n in (1, 2)]
    splash = Trial("App", Condition.WARM, 1, 0.1, 300)
    good, bad = whole_windows([*whole, splash])
    assert good == whole
    assert [(gap.condition, gap.round) for gap in bad] == [("warm", 1)]
    assert whole_windows([]) == ([], [])


async def test_an_engine_that_cannot_prefetch_is_told_so() -> None:
    engine = SimulatedEngine(SimulatedHost(QueueClock(0.0)))
    with pytest.raises(BenchError, match="need root"):
        await bench.run_prefetch_bench(engine, AgentHub.__new__(AgentHub), HERE)


def test_the_slow_disk_is_slow_for_one_desktop_and_for_us_and_then_as_before() -> None:
    blkio = Path("/sys/fs/cgroup/blkio")
    if os.geteuid() != 0 or not (blkio / "cgroup.procs").exists():
        pytest.skip("needs root, and the blkio controller of cgroup v1")
    uid, group = 219_998, blkio / f"gd-test-{os.getpid()}"
    drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]
    group.mkdir()
    with subprocess.Popen([*drop, "cat"], stdin=subprocess.PIPE) as desktop:
        try:
            while Path(f"/proc/{desktop.pid}").stat().st_uid != uid:  # it takes the rights off first
                pass
            with pytest.raises(BenchError, match="control group of its own"), slow_disk(uid, 100):
                pass
            (group / "cgroup.procs").write_text(str(desktop.pid))
            before = Path("/proc/self/cgroup").read_text()
            try:
                slowed = slow_disk(uid, 100)
                with slowed:
                    assert (group / "blkio.throttle.read_iops_device").read_text().split()[1] == "100"
                    assert "ghostdesk-bench-slow" in Path("/proc/self/cgroup").read_text()
            except BenchError as problem:
                pytest.skip(str(problem))
            assert (group / "blkio.throttle.read_iops_device").read_text() == ""
            assert Path("/proc/self/cgroup").read_text() == before
            assert not (blkio / "ghostdesk-bench-slow").exists()
        finally:
            desktop.kill()
            desktop.wait()
            for _ in range(100):
                with contextlib.suppress(OSError):
                    group.rmdir()
                    break


@pytest.mark.desktop
async def test_a_real_launch_is_recorded_through_the_agent_and_loaded(
    bench_host: tuple[LocalEngine, AgentHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("lxterminal"):
        pytest.skip("lxterminal is not installed")
    engine, hub = bench_host
    if engine.prefetcher is None or engine.prefetcher.cannot_record:
        pytest.skip("launches cannot be recorded here")

    async def keep_the_page_cache() -> None:
        """The host's page cache is everybody's, while tests run."""

    monkeypatch.setattr(bench, "drop_page_cache", keep_the_page_cache)
    report = await bench.run_prefetch_bench(
        engine, hub, HERE, apps=BENCH_APPS[:1], rounds=1, slow_reads_per_s=0, conditions=[Condition.PREFETCHED]
    )
    assert report.painted("LXTerminal", Condition.PREFETCHED) is not None, report.missing
    (load,) = report.loads
    assert load.skipped == {} or load.stopped
    found = engine.prefetcher.sets.of(AppId("lxterminal"))
    assert found is not None and os.path.realpath("/usr/bin/lxterminal") in {file.path for file in found.files}
    assert report.sets[0].files == len(found.files) > 20
