"""What is written into groups, and what is told where a file, a disk or a whole group is not there.

Trees of plain files stand for cgroup2 and are called `fake`; the real trees of this host are loaded in
`test_limits_under_load.py`.
"""

from pathlib import Path

import pytest

from ghostdesk.engines.local.cgroup_limits import BlockDevice
from ghostdesk.engines.local.cgroup_writer import CgroupWriter, GroupGone
from ghostdesk.engines.local.cgroups import Cgroups, Hierarchies
from ghostdesk.kernel.errors import EngineError
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import MIB, NOTHING, Priority, Resources

G1 = GhostId("g1")
DISK = BlockDevice(8, 0)
NAMES = (
    *("cpu.max", "cpu.idle", "cpu.weight", "cpuset.cpus", "io.max", "io.weight", "io.prio.class"),
    *("memory.current", "memory.high", "memory.max", "memory.swap.max", "memory.reclaim"),
)


class Disk:
    """A disk that can be taken away."""

    found: BlockDevice | None = DISK

    def __call__(self) -> BlockDevice | None:
        return self.found


@pytest.fixture
def fake_group(tmp_path: Path) -> Path:
    """g1's group in a fake cgroup2 tree."""
    group = tmp_path / "ghostdesk-t.g1"
    group.mkdir(parents=True)
    (tmp_path / "cpuset.cpus.effective").write_text("0-3\n")
    for name in NAMES:
        (group / name).write_text("")
    return group


def writer(tmp_path: Path, find_disk: Disk | None = None, *, pin: bool = False) -> CgroupWriter:
    return CgroupWriter(Cgroups(Hierarchies("v2", tmp_path, pin=pin), "ghostdesk-t"), find_disk or Disk(), 4)


def test_a_ghost_and_then_a_person(fake_group: Path, tmp_path: Path) -> None:
    wanted = Resources(cpu_cores=2, memory_bytes=100 * MIB, storage_bytes_per_s=1e6)
    write = writer(tmp_path)
    assert write.apply(G1, wanted, Priority.GHOST) == {}
    found = {name: (fake_group / name).read_text() for name in NAMES}
    assert found["cpu.max"] == "200000 100000"
    assert found["cpu.idle"] == "1"
    assert found["cpu.weight"] == ""  # a real group refuses a weight while it is idle
    assert found["memory.max"] == str(100 * MIB)
    assert found["io.max"] == "8:0 rbps=1000000 wbps=1000000"
    assert found["io.prio.class"] == "idle"
    assert write.apply(G1, NOTHING, Priority.PERSON) == {}
    found = {name: (fake_group / name).read_text() for name in NAMES}
    assert (found["cpu.max"], found["cpu.idle"], found["cpu.weight"]) == ("max 100000", "0", "400")
    assert (found["memory.high"], found["memory.max"]) == ("max", "max")
    assert found["io.max"] == "8:0 rbps=max wbps=max"


def test_an_older_kernel_gets_the_lowest_weight_instead(fake_group: Path, tmp_path: Path) -> None:
    (fake_group / "cpu.idle").unlink()
    assert writer(tmp_path).apply(G1, Resources(cpu_cores=2), Priority.GHOST) == {}
    assert (fake_group / "cpu.weight").read_text() == "1"


def test_missing_controllers_and_disks_are_named(fake_group: Path, tmp_path: Path) -> None:
    (fake_group / "memory.max").unlink()
    find_disk = Disk()
    write = writer(tmp_path, find_disk)
    wanted = Resources(cpu_cores=1, memory_bytes=100 * MIB, storage_bytes_per_s=1e6)
    assert write.apply(G1, wanted, Priority.GHOST) == {"memory": "this kernel has no memory.max"}
    assert write.apply(G1, Resources(cpu_cores=1), Priority.GHOST) == {}  # no limit is asked for
    find_disk.found = None
    assert set(write.apply(G1, wanted, Priority.GHOST)) == {"memory", "storage"}
    find_disk.found = BlockDevice(9, 1)  # the homes were moved
    write.apply(G1, wanted, Priority.GHOST)
    assert (fake_group / "io.max").read_text().startswith("9:1 ")


def test_without_any_group_all_that_was_asked_for_is_named() -> None:
    nothing = CgroupWriter(Cgroups(Hierarchies("none"), "ghostdesk-t"), Disk(), 4)
    assert set(nothing.apply(G1, Resources(cpu_cores=1, storage_bytes_per_s=1), Priority.GHOST)) == {"cpu", "storage"}


def test_a_group_that_vanished_is_no_missing_controller(fake_group: Path, tmp_path: Path) -> None:
    for path in fake_group.iterdir():
        path.unlink()
    fake_group.rmdir()
    with pytest.raises(GroupGone, match=r"g1 below .* has vanished"):
        writer(tmp_path).apply(G1, Resources(cpu_cores=1), Priority.GHOST)


def test_v2_memory_in_use_is_not_killed_for(fake_group: Path, tmp_path: Path) -> None:
    """cgroup2 kills when `memory.max` is lowered below what is held and cannot be reclaimed; so it is not lowered."""
    (fake_group / "memory.current").write_text(str(500 * MIB))
    (fake_group / "memory.high").write_text("777\n")
    with pytest.raises(EngineError, match=f"limit {100 * MIB} is below what the desktop uses.*The one before stays"):
        writer(tmp_path).apply(G1, Resources(cpu_cores=1, memory_bytes=100 * MIB), Priority.GHOST)
    assert (fake_group / "memory.max").read_text() == ""
    assert (fake_group / "memory.high").read_text() == "777"
    assert (fake_group / "memory.reclaim").read_text() == str(400 * MIB)  # tried first
    assert (fake_group / "cpu.max").read_text() == "100000 100000"  # the rest is in force


def test_whole_cores_are_pinned_where_asked_for(fake_group: Path, tmp_path: Path) -> None:
    other = fake_group.parent / "ghostdesk-t.g2"
    other.mkdir()
    (other / "cpuset.cpus").write_text("0,1\n")
    write = writer(tmp_path, pin=True)
    write.apply(G1, Resources(cpu_cores=2), Priority.GHOST)
    assert (fake_group / "cpuset.cpus").read_text() == "2,3"
    write.apply(G1, NOTHING, Priority.PERSON)
    assert (fake_group / "cpuset.cpus").read_text() == "0,1,2,3"
    (fake_group / "cpuset.cpus").write_text("")
    writer(tmp_path).apply(G1, Resources(cpu_cores=2), Priority.GHOST)
    assert (fake_group / "cpuset.cpus").read_text() == ""


def test_what_the_kernel_refuses_is_told(fake_group: Path, tmp_path: Path) -> None:
    (fake_group / "cpu.max").unlink()
    (fake_group / "cpu.max").mkdir()  # cannot be opened for writing
    with pytest.raises(EngineError, match=r"cpu\.max = 100000 100000 was refused"):
        writer(tmp_path).apply(G1, Resources(cpu_cores=1), Priority.GHOST)
