"""Control groups: chosen from the host's mounts, written as the kernel's documents say, and frozen for real.

The v2 files are tested on a tree of plain files that is called `fake`: hosts that hold the controllers in v1
have no such files. Freezing is tested on the real trees of this host. Limits: see `test_cgroup_writer.py`.
"""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from ghostdesk.engines.local.cgroups import Cgroups, Hierarchies, detect
from ghostdesk.engines.local.reclaim import NoGroup, V2Group
from ghostdesk.kernel.errors import ConfigError, EngineError
from ghostdesk.kernel.ids import GhostId

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
    """A tree of plain files in the shape of cgroup2, with what the kernel would make in `ghostdesk-t.g1`."""
    (folder / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    for group in (folder, folder / "ghostdesk-t.g1"):
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


def test_fake_v2_tree_gets_delegation(tmp_path: Path) -> None:
    root = fake_v2(tmp_path)
    groups = Cgroups(Hierarchies("v2", root), "ghostdesk-t")
    groups.prepare()
    assert (root / "cgroup.subtree_control").read_text() == "+pids"  # a plain file keeps only the last of four writes
    groups.create(G1, os.geteuid())
    group = root / "ghostdesk-t.g1"
    assert (group / "pids.max").read_text() == "4096"
    assert groups.entrances(G1) == [group / "desk/cgroup.procs"]
    assert groups.freezing(G1) == group
    (group / "memory.current").write_text("12345\n")
    (group / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert groups.use(G1) == (12345, 2.5)
    assert groups.memory_of(G1, [7]) == NoGroup((7,))
    (group / "memory.stat").write_text("anon 4096\n")
    assert groups.memory_of(G1, [7]) == V2Group(group)


def test_without_groups_nothing_freezes_by_them() -> None:
    with pytest.raises(EngineError):
        Cgroups(Hierarchies("none"), "ghostdesk-t").freeze(G1)


def test_cores_are_used_only_where_desktops_are_pinned() -> None:
    pins = "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    assert "cpuset" not in detect(HYBRID + pins, "auto", anywhere).v1
    found = detect(HYBRID + pins, "auto", anywhere, pin=True)
    assert found.pin
    assert found.v1["cpuset"] == Path("/sys/fs/cgroup/cpuset")


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
