"""Control groups: chosen from the host's mounts, written as the kernel's documents say, and frozen for real.

The v2 resource files are tested on a tree of plain files that is called `fake`: hosts that hold the controllers in v1
have no such files. Freezing is tested on the real trees of this host.
"""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from ghostdesk.engines.local.cgroup_limits import BlockDevice, block_device_of, v1_limits, v2_limits
from ghostdesk.engines.local.cgroups import Cgroups, Hierarchies, detect
from ghostdesk.kernel.errors import ConfigError, EngineError
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import MIB, NOTHING, Resources

G1 = GhostId("g1")
SYSTEMD = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "37 31 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
)
HYBRID = V1 + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def anywhere(_: Path) -> bool:
    return True


def fake_v2(folder: Path) -> Path:
    """A tree of plain files in the shape of cgroup2, with what the kernel would make in `ghostdesk-t` and `g1`."""
    (folder / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    for group in (folder, folder / "ghostdesk-t", folder / "ghostdesk-t/g1"):
        group.mkdir(exist_ok=True)
        names = (
            "cgroup.subtree_control cgroup.procs cgroup.threads cgroup.freeze memory.max memory.high cpu.max cpu.weight"
        )
        for name in f"{names} io.max pids.max memory.current memory.reclaim".split():
            (group / name).write_text("")
        (group / "cgroup.controllers").write_text("cpu io memory pids\n")
        (group / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    return folder


@pytest.mark.parametrize(
    ("mountinfo", "want", "mode"),
    [
        (HYBRID, "auto", "hybrid"),
        (HYBRID, "v1", "v1"),
        (HYBRID, "none", "none"),
        (V1, "auto", "v1"),
        ("", "auto", "none"),
        (SYSTEMD, "none", "none"),
    ],
)
def test_the_mode_follows_the_mounts(mountinfo: str, want: str, mode: str) -> None:
    found = detect(mountinfo, want, anywhere)
    assert found.mode == mode
    assert found.detail
    if mode == "hybrid":
        assert found.unified == Path("/sys/fs/cgroup/unified")
        assert found.v1["memory"] == Path("/sys/fs/cgroup/memory")
        assert found.v1["cpu"] == found.v1["cpuacct"]
        assert "freezer" not in found.v1


def test_a_v2_host_with_controllers_is_v2(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    (folder / "cgroup.controllers").write_text("cpu memory")
    escaped = str(folder).replace(" ", "\\040")
    found = detect(f"30 23 0:26 / {escaped} rw shared:4 - cgroup2 cgroup2 rw\n", "auto")
    assert (found.mode, found.unified) == ("v2", folder)


@pytest.mark.parametrize(("mountinfo", "want"), [("", "v2"), ("", "v1"), (V1, "hybrid"), (HYBRID, "v3")])
def test_what_the_host_has_not_is_refused(mountinfo: str, want: str) -> None:
    with pytest.raises(ConfigError, match="cgroup_mode"):
        detect(mountinfo, want, anywhere)


def test_without_the_right_to_write_there_is_none() -> None:
    assert detect(HYBRID, "auto", lambda _: False).mode == "none"


def test_limits_as_files() -> None:
    some = Resources(cpu_cores=1.5, memory_bytes=1000 * MIB, storage_bytes_per_s=5e6)
    disk = BlockDevice(8, 0)
    assert {name: value for _, name, value in v2_limits(some, disk)} == {
        "memory.high": str(900 * MIB),
        "memory.max": str(1000 * MIB),
        "cpu.max": "150000 100000",
        "cpu.weight": "150",
        "io.max": "8:0 rbps=5000000 wbps=5000000",
    }
    assert {name: value for _, name, value in v1_limits(some, disk)} == {
        "memory.limit_in_bytes": str(1000 * MIB),
        "memory.soft_limit_in_bytes": str(900 * MIB),
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "150000",
        "cpu.shares": "1536",
        "blkio.throttle.read_bps_device": "8:0 5000000",
        "blkio.throttle.write_bps_device": "8:0 5000000",
    }
    assert {name: value for _, name, value in v2_limits(NOTHING, None)} == {
        "memory.high": "max", "memory.max": "max", "cpu.max": "max 100000", "cpu.weight": "100",
    }  # fmt: skip


def test_a_disk_and_not_its_partition_is_throttled(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    disk, part = tmp_path / "sda", tmp_path / "sda/sda1"
    part.mkdir(parents=True)
    (disk / "dev").write_text("8:0\n")
    (part / "dev").write_text("8:1\n")
    (part / "partition").write_text("1\n")
    table = tmp_path / "block"
    table.mkdir()
    assert block_device_of(tmp_path, table) is None
    (table / f"{os.major(number)}:{os.minor(number)}").symlink_to(part)
    assert block_device_of(tmp_path, table) == BlockDevice(8, 0)


def test_fake_v2_tree_gets_limits_and_delegation(tmp_path: Path) -> None:
    root = fake_v2(tmp_path)
    groups = Cgroups(Hierarchies("v2", root), "ghostdesk-t", BlockDevice(8, 0))
    groups.prepare()
    assert (root / "cgroup.subtree_control").read_text() == "+pids"  # a plain file keeps only the last of four writes
    groups.create(G1, os.geteuid())
    assert groups.set_limits(G1, Resources(cpu_cores=2, memory_bytes=100 * MIB, storage_bytes_per_s=1e6)) == []
    group = root / "ghostdesk-t/g1"
    assert (group / "memory.max").read_text() == str(100 * MIB)
    assert (group / "cpu.max").read_text() == "200000 100000"
    assert (group / "io.max").read_text() == "8:0 rbps=1000000 wbps=1000000"
    assert (group / "pids.max").read_text() == "4096"
    assert groups.entrances(G1) == [group / "desk/cgroup.procs"]
    assert groups.freezing(G1) == group
    (group / "memory.current").write_text("12345\n")
    (group / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert groups.use(G1) == (12345, 2.5)
    assert groups.reclaim_file(G1) == (group / "memory.reclaim", "12345")
    assert groups.set_limits(G1, Resources(network_bytes_per_s=1e6)) == ["network"]


def test_a_missing_controller_is_named(tmp_path: Path) -> None:
    root = fake_v2(tmp_path)
    (root / "ghostdesk-t/g1/memory.max").unlink()
    (root / "ghostdesk-t/g1/memory.high").unlink()
    groups = Cgroups(Hierarchies("v2", root), "ghostdesk-t")
    assert groups.set_limits(G1, Resources(cpu_cores=1, memory_bytes=1, storage_bytes_per_s=1)) == ["memory", "storage"]
    nothing = Cgroups(Hierarchies("none"), "ghostdesk-t")
    assert nothing.set_limits(G1, Resources(cpu_cores=1)) == ["cpu"]
    with pytest.raises(EngineError):
        nothing.freeze(G1)


@pytest.fixture
def sleeper(tmp_path: Path) -> object:
    with subprocess.Popen(["sleep", "100"]) as process:
        yield process
        process.kill()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/wchan").read_text()


@pytest.mark.parametrize("mode", ["v2", "hybrid", "v1"])
def test_real_freezing(mode: str, tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    try:
        trees = detect(Path("/proc/self/mountinfo").read_text(), mode)
    except ConfigError as error:
        pytest.skip(str(error))
    parent = f"ghostdesk-{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]}"
    groups = Cgroups(trees, parent)
    try:
        groups.prepare()
    except EngineError as error:
        pytest.skip(str(error))
    groups.create(G1, os.geteuid())
    for entrance in groups.entrances(G1):
        entrance.write_text(str(sleeper.pid))
    assert groups.pids(G1) == {sleeper.pid}
    assert groups.ghosts() == {"g1"}
    assert not groups.frozen(G1)
    groups.freeze(G1)
    groups.freeze(G1)
    assert groups.frozen(G1)
    groups.thaw(G1)
    assert not groups.frozen(G1)
    with pytest.raises(EngineError, match="cannot be removed"):
        groups.remove(G1)
    sleeper.kill()
    sleeper.wait()
    groups.remove(G1)
    groups.remove(G1)
    groups.remove_parent()
    assert groups.ghosts() == set()
