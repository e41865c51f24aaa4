"""Devices that come and go, what people are told of it, and what a sandbox is given."""

import logging
from pathlib import Path

import pytest
from fake_nvml import FakeCard, FakeNvml, FakeSlice
from gpu_trees import Tree, add_drm, add_mig_file, add_mps, add_nvidia

from ghostdesk.engines.local import gpu_tree
from ghostdesk.engines.local.gpu import MIG, MPS, DeviceNode, GpuDevice, GpuGrant, GpuHolding, GpuInventory, GpuRefusal
from ghostdesk.engines.local.gpu_nvml import Nvml, NvmlUnavailable
from ghostdesk.engines.local.gpu_sandbox import NO_GPU, dmem_limit, view
from ghostdesk.engines.local.gpus import LOOK_EVERY_S, Gpus
from ghostdesk.kernel.ids import GhostId

CARD = "GPU-11111111-2222-3333-4444-555555555555"
GHOST = GhostId("g1")


def no_library() -> Nvml:
    raise NvmlUnavailable("nvidia-ml-py is not installed")


def gpus(root: Path, nvml: FakeNvml | None = None, **options: object) -> Gpus:
    return Gpus(gpu_tree.Tree(root), load=(lambda: nvml) if nvml else no_library, **options)  # type: ignore[arg-type]


def test_hot_plug_and_unplug_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree, now = Tree(tmp_path), [0.0]
    host = gpus(tmp_path, monotonic=lambda: now[0])
    assert host.look().devices == ()
    assert host.ability().detail.startswith("no GPU (no DRM render node")
    add_drm(tree, 128, "0000:03:00.0", "amdgpu", "0x1002", 16 * 2**30)
    assert host.look().devices == ()  # looked at a moment ago
    now[0] += LOOK_EVERY_S
    with caplog.at_level(logging.WARNING):
        assert len(host.look().devices) == 1
        assert host.share_capacity() == 1.0
        grant = host.choose(0.5, [])
        assert isinstance(grant, GpuGrant)
        holdings = [GpuHolding(GHOST, grant)]
        tree.remove("/sys/class/drm/renderD128")
        for _ in range(3):
            now[0] += LOOK_EVERY_S
            host.look(holdings)
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "GPU amd GPU 0x744c",
        "GPU amd GPU 0x744c",
        "Ghost g1 holds a GPU that is gone: 0000:03:00.0",
    ]
    assert host.share_capacity() == 0.0
    assert isinstance(host.choose(0.5, holdings), GpuRefusal)
    assert host.view(grant) == NO_GPU


def test_the_ability_names_what_there_is_and_whose_is_gone(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    add_nvidia(tree, 0, "0000:01:00.0", CARD)
    nvml = FakeNvml(FakeCard(CARD))
    host = gpus(tmp_path, nvml)
    host.look()
    assert host.ability().available
    assert host.ability().detail == "NVIDIA Test: 80 GiB, whole or time-sliced (no MPS daemon: no guarantee)"
    add_mps(tree)
    host.look(now=True)
    assert host.ability().detail == "NVIDIA Test: 80 GiB, whole or in MPS shares"
    add_mps(tree, options="-d")
    host.look(now=True)
    assert "the MPS daemon serves one user at a time" in host.ability().detail
    gone = host.ability([GpuHolding(GHOST, GpuGrant("GPU-gone", "whole", 1.0))])
    assert "ghost g1 holds one that is gone" in gone.detail
    assert "Build those ghosts anew." in gone.mend
    assert not gpus(tmp_path, nvml, sharing="off").ability().available


def test_a_mig_device_counts_its_slices(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    add_nvidia(tree, 0, "0000:01:00.0", CARD)
    add_mig_file(tree, 0, 1, 0, (12, 13))
    host = gpus(tmp_path, FakeNvml(FakeCard(CARD, mig=True, slices=[FakeSlice("MIG-a", 3, 40 * 2**30, 1)])))
    host.look()
    assert host.share_capacity() == pytest.approx(3 / 7)
    assert host.ability().detail == "NVIDIA Test: 80 GiB, 1 MIG slices"
    grant = host.choose(0.2, [])
    assert isinstance(grant, GpuGrant) and grant.way == MIG
    seen = host.view(grant)
    binds = seen.arguments[1::3][: seen.arguments.count("--dev-bind-try")]
    assert set(binds) == {
        "/dev/nvidia0",
        "/dev/nvidiactl",
        "/dev/nvidia-uvm",
        "/dev/nvidia-caps/nvidia-cap12",
        "/dev/nvidia-caps/nvidia-cap13",
    }
    assert seen.environment["CUDA_VISIBLE_DEVICES"] == "MIG-a"
    assert "LIBGL_ALWAYS_SOFTWARE" not in seen.environment


def test_an_mps_share_asks_for_its_limits() -> None:
    card = GpuDevice("GPU-x", "nvidia", "nvidia", "N", "0000:01:00.0", 80 * 2**30, (DeviceNode("/dev/nvidia0"),))
    grant = GpuGrant("GPU-x", MPS, 0.3, 24 * 2**30, mps_pipe="/tmp/nvidia-mps")
    seen = view(grant, GpuInventory((card,)))
    assert seen.environment == {
        "CUDA_VISIBLE_DEVICES": "GPU-x",
        "NVIDIA_VISIBLE_DEVICES": "GPU-x",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_MPS_PIPE_DIRECTORY": "/tmp/nvidia-mps",
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "30",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=24576M",
    }
    assert "/tmp/nvidia-mps" in seen.arguments


def test_a_render_node_brings_its_group_and_its_own_part_of_sysfs() -> None:
    sysfs = "/sys/devices/pci0000:00/0000:03:00.0"
    node = DeviceNode("/dev/dri/renderD128", 44, 0o660, "226:128")
    card = GpuDevice("0000:03:00.0", "amd", "amdgpu", "A", nodes=(node,), sysfs=sysfs, dmem_region="drm/x/vram0")
    grant = GpuGrant("0000:03:00.0", "drm", 0.5, 8 * 2**30, dmem_region="drm/x/vram0")
    seen = view(grant, GpuInventory((card,)))
    assert seen.groups == (44,)
    assert seen.arguments == (
        *("--dev-bind-try", "/dev/dri/renderD128", "/dev/dri/renderD128"),
        *("--ro-bind-try", sysfs, sysfs),
        *("--symlink", "../../devices/pci0000:00/0000:03:00.0/drm/renderD128", "/sys/dev/char/226:128"),
    )
    assert seen.environment == {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void"}
    assert dmem_limit(grant) == ("dmem.max", f"drm/x/vram0 {8 * 2**30}")


def test_without_a_grant_nothing_of_any_device_is_seen() -> None:
    assert view(None, GpuInventory()).arguments == ()
    assert view(None, GpuInventory()).environment == {"LIBGL_ALWAYS_SOFTWARE": "1"}
    assert dmem_limit(None) is None
    assert dmem_limit(GpuGrant("x", "whole", 1.0)) is None
