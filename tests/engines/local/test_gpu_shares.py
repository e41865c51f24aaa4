"""Shares on record: chosen once, kept over restarts, changed where that can be done live, told where it cannot."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from gpu_trees import Tree, add_drm, add_nvidia

from ghostdesk.engines.local import gpu_tree
from ghostdesk.engines.local.cgroups import Cgroups, Hierarchies
from ghostdesk.engines.local.gpu import DRM, GpuGrant, grant_from_text, grant_to_text
from ghostdesk.engines.local.gpu_nvml import Nvml, NvmlUnavailable
from ghostdesk.engines.local.gpu_shares import GpuShares
from ghostdesk.engines.local.gpus import Gpus
from ghostdesk.engines.local.records import GhostRecord, Records
from ghostdesk.kernel.ids import GhostId

REGION = "drm/0000:03:00.0/vram0"
GIB = 2**30


def no_library() -> Nvml:
    raise NvmlUnavailable("not installed")


class Host:
    """A tree with one AMD card, records, and a cgroup tree of plain files."""

    def __init__(self, folder: Path, mode: str = "v2") -> None:
        self.tree = Tree(folder / "root")
        self.cgroup = folder / "cgroup"
        self.records = Records(folder / "state", folder / "run")
        self.gpus = Gpus(gpu_tree.Tree(self.tree.root), load=no_library)
        self.cgroups = Cgroups(Hierarchies(mode, self.cgroup), "ghostdesk-test")
        self.shares = GpuShares(self.gpus, self.records, self.cgroups, threading.Lock())

    def amd(self) -> None:
        add_drm(self.tree, 128, "0000:03:00.0", "amdgpu", "0x1002", 16 * GIB)
        self.tree.file("/sys/fs/cgroup/dmem.capacity", f"{REGION} {16 * GIB}\n")
        self.gpus.look(now=True)

    def build(self, name: str, share: float, *, controller: bool = True) -> GhostRecord:
        """As the builder does it, without a desktop."""
        ghost = GhostId(name)
        grant, _ = self.shares.choose(share)
        record = GhostRecord(ghost, "plain", "isolated", 210_000, gpu=grant_to_text(grant))
        self.records.paths(ghost).folder.mkdir(parents=True)
        self.records.write(record)
        group = self.cgroups.group(self.cgroup, ghost)
        group.mkdir(parents=True)
        if controller:
            (group / "dmem.max").write_text("")
        return record

    def limit_of(self, name: str) -> str:
        return (self.cgroups.group(self.cgroup, GhostId(name)) / "dmem.max").read_text()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.amd()
    return made


def grant_of(host: Host, name: str) -> GpuGrant | None:
    record = host.records.read(GhostId(name))
    assert record is not None
    return grant_from_text(record.gpu)


def test_shares_are_held_by_records_alone(host: Host, tmp_path: Path) -> None:
    host.build("a", 0.5)
    host.build("b", 0.4)
    again = Host(tmp_path)  # after a restart
    again.gpus.look(now=True)
    assert [(h.ghost, h.grant.share) for h in again.shares.holdings()] == [("a", 0.5), ("b", 0.4)]
    assert again.shares.choose(0.2) == (None, {"gpu": again.shares.choose(0.2)[1]["gpu"], "gpu_reason": "gpu-full"})
    assert again.shares.choose(0.0) == (None, {})


def test_a_ghost_without_a_gpu_is_told_why(tmp_path: Path) -> None:
    bare = Host(tmp_path)
    bare.gpus.look(now=True)
    grant, facts = bare.shares.choose(0.5)
    assert grant is None
    assert facts["gpu_reason"] == "no-gpu"
    assert str(facts["gpu"]).startswith("none: There is no GPU: no DRM render node")


def test_device_memory_is_limited_at_build_and_live(host: Host) -> None:
    record = host.build("a", 0.5)
    assert host.shares.limit(record) == {"gpu": "the driver takes turns, without shares"}
    assert host.limit_of("a") == f"{REGION} {8 * GIB}"
    assert "25%" in str(host.shares.resize(record, 0.25)["gpu"])
    assert host.limit_of("a").startswith(f"{REGION} {4 * GIB}")
    grant = grant_of(host, "a")
    assert grant is not None
    assert (grant.share, grant.memory_bytes) == (0.25, 4 * GIB)
    assert host.shares.resize(replace(record, gpu=grant_to_text(grant)), 0.25) == {}


def test_a_share_that_is_not_free_stays_as_it_was(host: Host) -> None:
    record = host.build("a", 0.5)
    host.build("b", 0.4)
    facts = host.shares.resize(record, 0.7)
    assert facts["gpu_reason"] == "gpu-full"
    assert "70% is not free" in str(facts["gpu"])
    grant = grant_of(host, "a")
    assert grant is not None and grant.share == 0.5
    assert host.shares.resize(record, float("inf"))["gpu_reason"] == "gpu-full"


@pytest.mark.parametrize(
    ("mode", "controller", "said"),
    [("v2", False, "the kernel has no dmem controller"), ("hybrid", True, "needs cgroup v2"), ("none", True, "v2")],
)
def test_memory_that_cannot_be_limited_is_told(tmp_path: Path, mode: str, controller: bool, said: str) -> None:
    host = Host(tmp_path, mode)
    host.amd()
    record = host.build("a", 0.5, controller=controller)
    problem = host.shares.limit(record)["gpu"]
    assert "its memory is not limited" in problem
    assert said in problem
    host.shares.resize(record, 0.25)
    grant = grant_of(host, "a")
    assert grant is not None and grant.share == 0.5  # what could not be enforced is not on record


def test_only_another_desktop_can_have_another_device(tmp_path: Path) -> None:
    host = Host(tmp_path)
    add_nvidia(host.tree, 0, "0000:01:00.0", "GPU-11111111-2222-3333-4444-555555555555")
    host.gpus.look(now=True)
    sliced = host.build("a", 0.5)
    assert "time-slicing" in host.shares.limit(sliced)["gpu"]
    assert host.shares.resize(sliced, 1.0)["gpu_reason"] == "gpu-at-build"
    none = host.build("b", 0.0)
    assert host.shares.limit(none) == {}
    assert host.shares.resize(none, 0.5)["gpu_reason"] == "gpu-at-build"
    assert host.shares.resize(none, 0.0) == {}
    whole = GhostRecord(GhostId("c"), "plain", "isolated", 1, gpu=grant_to_text(GpuGrant("x", "whole", 1.0)))
    assert host.shares.limit(whole) == {}


def test_a_grant_of_a_device_that_is_gone_keeps_its_memory_limit(host: Host) -> None:
    record = host.build("a", 0.5)
    host.tree.remove("/sys/class/drm/renderD128")
    host.gpus.look(now=True)
    assert "50%" in (grant_from_text(record.gpu) or GpuGrant("", DRM, 0.1)).text
    assert "gpu" in host.shares.resize(record, 0.25)
    assert host.limit_of("a").startswith(f"{REGION} {8 * GIB}")
