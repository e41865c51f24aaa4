"""The host's conditions: from files of a made-up host, from rubbish, and from this very machine under load."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghostdesk.engines.local.conditions import ConditionsReader
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.testing import numbers_of

MEMINFO = "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 250 kB\nBuffers: 1 kB\nCached: 9 kB\nActive: 1 kB\n\
Inactive: 1 kB\nShmem: 1 kB\nSReclaimable: 1 kB\nSlab: 1 kB\nSwapTotal: 400 kB\nSwapFree: 100 kB\n"
NET = "Inter-| Receive | Transmit\n face |bytes\n  eth0: {into} 1 0 0 0 0 0 0 {out} 1 0 0 0 0 0 0\n"
PSI = "some avg10={some:.2f} avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"


@dataclass
class MadeUpHost:
    """Files like the kernel's, and clocks, that a test sets."""

    root: Path
    now: list[float] = field(default_factory=lambda: [1e9, 50.0])

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*") if path.is_file())

    def put(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def reader(self) -> ConditionsReader:
        return ConditionsReader(
            self.root, proc=self.root / "proc", sys=self.root / "sys",
            wall_s=lambda: self.now[0], passed_s=lambda: self.now[1],
        )  # fmt: skip

    def pass_s(self, passed_s: float, clock_s: float | None = None) -> None:
        self.now[0] += passed_s if clock_s is None else clock_s
        self.now[1] += passed_s


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeUpHost]:
    made = MadeUpHost(tmp_path)
    for resource, some in (("cpu", 40.0), ("memory", 5.0), ("io", 7.5)):
        made.put(f"proc/pressure/{resource}", PSI.format(some=some))
    made.put("proc/meminfo", MEMINFO)
    made.put("proc/vmstat", "pswpin 0\npswpout 0\nallocstall_dma 1\nallocstall_normal 4\noom_kill 2\n")
    made.put("proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 100 0 100 800 0 0 0 0 0 0\n")
    made.put("proc/net/dev", NET.format(into=1000, out=500))
    number = tmp_path.stat().st_dev
    disk = f"{os.major(number)}:{os.minor(number)}"
    made.put("sys/devices/sda/dev", disk)
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / f"sys/dev/block/{disk}").symlink_to(tmp_path / "sys/devices/sda")
    made.put("proc/diskstats", "   8       0 sda 1 0 8 4 1 0 8 4 0 1000 8 0 0 0 0 0 0\n")
    made.put("sys/block/zram0/mm_stat", "9 9 4096 0 0\n")
    (tmp_path / "sys/class/net/eth0/device").mkdir(parents=True)
    made.put("sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "3\n")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "proc"))
    yield made


def test_a_first_reading_has_levels_and_no_rates(host: MadeUpHost) -> None:
    told = host.reader().read()
    assert told.problems == () and told.faults == ()
    assert (told.cpu_pressure, told.memory_pressure, told.io_pressure) == (0.4, 0.05, 0.075)
    assert (told.memory_bytes, told.memory_available_bytes) == (1000 * 1024, 250 * 1024)
    assert (told.swap_bytes, told.swap_free_bytes, told.zram_memory_bytes) == (400 * 1024, 100 * 1024, 4096)
    assert (told.cpu_share, told.disk_busy_share, told.network_in_bytes_per_s) == (0.0, 0.0, 0.0)
    assert told.disk_bytes >= told.disk_free_bytes > 0


def test_rates_are_since_the_reading_before(host: MadeUpHost) -> None:
    reader = host.reader()
    reader.read()
    host.pass_s(10.0)
    host.put("proc/stat", "cpu  400 0 100 1500 0 0 0 0 0 0\n")
    host.put("proc/net/dev", NET.format(into=6000, out=700))
    host.put("proc/diskstats", "   8       0 sda 1 0 8 4 1 0 8 4 0 3500 8 0 0 0 0 0 0\n")
    told = reader.read()
    assert told.cpu_share == pytest.approx(0.3)
    assert (told.network_in_bytes_per_s, told.network_out_bytes_per_s) == (500.0, 20.0)
    assert told.disk_busy_share == pytest.approx(0.25)


def test_counters_that_go_back_give_no_rate(host: MadeUpHost) -> None:
    reader = host.reader()
    reader.read()
    host.pass_s(10.0)
    host.put("proc/stat", "cpu  1 0 1 8 0 0 0 0 0 0\n")
    host.put("proc/diskstats", "   8       0 sda 1 0 8 4 1 0 8 4 0 0 8 0 0 0 0 0 0\n")
    host.put("proc/vmstat", "oom_kill 0\n")
    told = reader.read()
    assert (told.cpu_share, told.disk_busy_share, told.faults) == (0.0, 0.0, ())


def test_faults_are_told_once(host: MadeUpHost) -> None:
    reader = host.reader()
    reader.read()
    host.pass_s(5.0)
    host.put("proc/vmstat", "allocstall_dma 1\nallocstall_normal 90\noom_kill 5\n")
    host.put("sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "4\n")
    assert {fault.code: fault.text for fault in reader.read().faults} == {
        "oom-kill": "the kernel killed 3 processes for want of memory",
        "hot": "the processor slows down for heat",
    }
    host.pass_s(5.0)
    assert reader.read().faults == ()


def test_a_process_that_reached_its_own_limit_is_not_the_hosts_fault(host: MadeUpHost) -> None:
    reader = host.reader()
    reader.read()
    host.put("proc/vmstat", "allocstall_dma 1\nallocstall_normal 4\noom_kill 3\n")
    (fault,) = reader.read().faults
    assert (fault.code, fault.text) == ("limit-kill", "the kernel killed a process at a memory limit of its own")


@pytest.mark.parametrize(("clock_s", "words"), [(3605.0, "forward by 3600 s"), (-95.0, "back by 100 s")])
def test_a_clock_that_is_set_is_told_and_rates_are_right(host: MadeUpHost, clock_s: float, words: str) -> None:
    reader = host.reader()
    reader.read()
    host.pass_s(5.0, clock_s)
    host.put("proc/diskstats", "   8       0 sda 1 0 8 4 1 0 8 4 0 3500 8 0 0 0 0 0 0\n")
    told = reader.read()
    assert [fault.code for fault in told.faults] == ["clock-set"] and words in told.faults[0].text
    assert told.disk_busy_share == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("f_flag", "f_bavail", "f_favail", "code"),
    [(os.ST_RDONLY, 9, 9, "read-only"), (0, 0, 9, "disk-full"), (0, 9, 0, "disk-full")],
)
def test_a_disk_that_takes_nothing_is_a_fault(
    host: MadeUpHost, monkeypatch: pytest.MonkeyPatch, f_flag: int, f_bavail: int, f_favail: int, code: str
) -> None:
    found = SimpleNamespace(
        f_flag=f_flag, f_bavail=f_bavail, f_favail=f_favail, f_files=9, f_frsize=1, f_blocks=9, f_bfree=9
    )
    monkeypatch.setattr(os, "statvfs", lambda _path: found)
    assert [fault.code for fault in host.reader().read().faults] == [code]


def test_files_that_are_absent_are_named_and_the_rest_is_told(host: MadeUpHost) -> None:
    for path in ("proc/pressure", "sys/class/net"):
        shutil.rmtree(host.root / path)
    for path in ("proc/vmstat", "proc/diskstats"):
        (host.root / path).unlink()
    (host.root / "sys/block/zram0/mm_stat").unlink()
    told = host.reader().read()
    named = " ".join(told.problems)
    for word in ("pressure", "work of the disk", "network cards", "killed processes"):
        assert word in named
    assert "psi=1" in named  # the mend
    assert (told.cpu_pressure, told.memory_available_bytes) == (0.0, 250 * 1024)


def test_one_pressure_file_that_is_absent_leaves_the_others(host: MadeUpHost) -> None:
    (host.root / "proc/pressure/io").unlink()
    told = host.reader().read()
    assert (told.cpu_pressure, told.io_pressure) == (0.4, 0.0)
    assert any("io pressure" in problem for problem in told.problems)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    rubbish=st.one_of(st.binary(max_size=120), st.sampled_from([b"nan", b"-7", b"9" * 5000, b"inf inf inf"])),
)
def test_rubbish_in_any_file_is_survived(host: MadeUpHost, data: st.DataObject, rubbish: bytes) -> None:
    """A reading before, one of rubbish, one after: numbers stay finite, and shares are shares."""
    reader = host.reader()
    reader.read()
    path = data.draw(st.sampled_from(host.files))
    before = path.read_bytes()
    for content in (rubbish, before):
        host.pass_s(5.0)
        path.write_bytes(content)
        assert_sane(reader.read())


def assert_sane(told: HostConditions) -> None:
    for name, value in numbers_of(told):
        assert 0.0 <= value < float("inf"), name
        assert not name.endswith(("_share", "_pressure")) or value <= 1.0, name
    assert told.memory_available_bytes <= told.memory_bytes


def test_this_host_under_load_shows_it() -> None:
    """More tasks than processors for a moment: the kernel's own count of waiting grows, and so does the use."""
    if not Path("/proc/pressure/cpu").exists():
        pytest.skip("this kernel tells no pressure")
    reader = ConditionsReader(Path("/tmp"))
    waited_s = total_of(reader.read(), "cpu")
    with multiprocessing.get_context("spawn").Pool(2 * len(os.sched_getaffinity(0))) as pool:
        pool.map_async(burn, [1.5] * 2 * len(os.sched_getaffinity(0)))
        deadline_s = time.monotonic() + 20.0
        while total_of(told := reader.read(), "cpu") - waited_s < 0.3:
            assert time.monotonic() < deadline_s, "no task waited for a processor"
            time.sleep(0.1)
    assert_sane(told)


def total_of(told: HostConditions, resource: str) -> float:
    return next(one.some_total_s for one in told.pressures if one.resource == resource)


def burn(duration_s: float) -> None:
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        pass
