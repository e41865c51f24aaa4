"""What is found on hosts of each kind, and what is said of devices that are not right."""

import json
import math
import threading
from pathlib import Path

import pytest
from fake_nvml import FakeCard, FakeNvml, FakeSlice
from gpu_trees import Tree, add_drm, add_mig_file, add_mps, add_nvidia, lay_out
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostdesk.engines.local import gpu_tree
from ghostdesk.engines.local.gpu import GpuInventory
from ghostdesk.engines.local.gpu_inventory import read_gpus_now, read_inventory
from ghostdesk.engines.local.gpu_nvml import Nvml, NvmlUnavailable, load_nvml
from ghostdesk.engines.local.timed import TimedReader

CARD = "GPU-11111111-2222-3333-4444-555555555555"
OTHER = "GPU-99999999-2222-3333-4444-555555555555"


def no_library() -> Nvml:
    raise NvmlUnavailable("nvidia-ml-py is not installed (pip install 'ghostdesk[gpu]')")


def found(tree: Tree, nvml: FakeNvml | None = None) -> GpuInventory:
    return read_inventory(gpu_tree.Tree(tree.root), (lambda: nvml) if nvml else no_library)


def test_no_gpu_is_said_and_the_library_is_not_even_asked(tmp_path: Path) -> None:
    def never() -> Nvml:
        raise AssertionError("asked")

    inventory = read_inventory(gpu_tree.Tree(tmp_path), never)
    assert inventory.devices == ()
    assert inventory.problem == "no DRM render node and no NVIDIA driver"


def test_an_amd_card_with_its_memory_and_dmem_region(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    add_drm(tree, 128, "0000:03:00.0", "amdgpu", "0x1002", 16 * 2**30)
    tree.file("/sys/fs/cgroup/dmem.capacity", "drm/0000:03:00.0/vram0 17163091968\ndrm/0000:03:00.0/stolen 67108864\n")
    (card,) = found(tree).devices
    assert (card.key, card.vendor, card.driver) == ("0000:03:00.0", "amd", "amdgpu")
    assert card.memory_bytes == 16 * 2**30
    assert card.dmem_region == "drm/0000:03:00.0/vram0"
    assert [(node.path, node.device) for node in card.nodes] == [("/dev/dri/renderD128", "226:128")]
    assert card.sysfs == "/sys/devices/pci0000:00/0000:03:00.0"
    assert not card.problem
    (now,) = read_gpus_now(gpu_tree.Tree(tmp_path), found(tree))
    assert (now.power_w, now.use, now.memory_used_bytes, now.problem) == (81.0, 0.37, 2 * 2**30, "")


def test_a_built_in_intel_gpu_has_no_memory_of_its_own(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    add_drm(tree, 128, "0000:00:02.0", "i915", "0x8086")
    (card,) = found(tree).devices
    assert (card.vendor, card.memory_bytes, card.dmem_region, card.problem) == ("intel", 0.0, "", "")
    (now,) = read_gpus_now(gpu_tree.Tree(tmp_path), found(tree))
    assert (now.power_w, now.use) == (None, None)
    assert "neither power nor use" in now.problem


@pytest.mark.parametrize("driver", ["vgem", "vkms", "bochs"])
def test_drivers_without_hardware_are_no_gpu(tmp_path: Path, driver: str) -> None:
    add_drm(Tree(tmp_path), 128, "0000:00:01.0", driver, "0x1234")
    assert found(Tree(tmp_path)).devices == ()


def test_nouveau_is_no_cuda_device(tmp_path: Path) -> None:
    add_drm(Tree(tmp_path), 128, "0000:01:00.0", "nouveau", "0x10de")
    assert [card.vendor for card in found(Tree(tmp_path)).devices] == ["other"]


def test_one_nvidia_card_without_mig(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    add_nvidia(tree, 0, "0000:01:00.0", CARD)
    add_drm(tree, 129, "0000:01:00.0", "nvidia", "0x10de")
    nvml = FakeNvml(FakeCard(CARD))
    (card,) = found(tree, nvml).devices
    assert (card.key, card.name, card.pci, card.mig) == (CARD, "NVIDIA Test", "0000:01:00.0", False)
    assert card.memory_bytes == 80 * 2**30
    paths = {node.path for node in card.nodes}
    assert paths == {"/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/dri/renderD129"}
    assert not card.problem
    assert nvml.open == 0


def test_without_the_library_the_card_is_known_by_the_kernel_alone(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    add_nvidia(tree, 0, "0000:01:00.0", CARD)
    inventory = found(tree)
    (card,) = inventory.devices
    assert (card.key, card.memory_bytes, card.problem) == (CARD, 0.0, "")
    assert "pip install 'ghostdesk[gpu]'" in inventory.problem


def test_mig_slices_need_their_capability_files(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    add_nvidia(tree, 0, "0000:01:00.0", CARD)
    slices = [FakeSlice("MIG-a", 3, 40 * 2**30, 1), FakeSlice("MIG-b", 1, 10 * 2**30, 7)]
    nvml = FakeNvml(FakeCard(CARD, mig=True, slices=slices))
    (card,) = found(tree, nvml).devices
    assert (card.mig, card.slices) == (True, ())
    assert "/dev/nvidia-caps" in card.problem
    add_mig_file(tree, 0, 1, 0, (12, 13))
    (card,) = found(tree, nvml).devices
    (part,) = card.slices
    assert (part.uuid, part.share, part.memory_bytes) == ("MIG-a", 3 / 7, 40 * 2**30)
    assert [node.path for node in part.nodes] == ["/dev/nvidia-caps/nvidia-cap12", "/dev/nvidia-caps/nvidia-cap13"]
    assert not card.problem


def test_mig_instances_without_the_library_are_not_handed_out(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    add_nvidia(tree, 0, "0000:01:00.0", CARD)
    add_mig_file(tree, 0, 1, 0, (12, 13))
    assert "only NVIDIA's library can tell" in found(tree).devices[0].problem


def test_missing_and_closed_files_are_named(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    add_nvidia(tree, 0, "0000:01:00.0", CARD)
    tree.remove("/dev/nvidia-uvm")
    assert found(tree).devices[0].problem == "/dev/nvidia-uvm does not exist; nvidia-modprobe -u -c 0 makes it"
    tree.node("/dev/nvidia-uvm", 0o600)
    assert found(tree).devices[0].problem == "only root may open /dev/nvidia-uvm"
    tree.remove("/proc/driver/nvidia")
    assert "the driver does not list it" in found(tree).devices[0].problem


def test_errors_in_the_middle_keep_the_other_answers(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    add_nvidia(tree, 0, "0000:01:00.0", CARD)
    add_nvidia(tree, 1, "0000:02:00.0", OTHER)
    broken = FakeCard(CARD, errors={"nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMigMode"})
    lost_card = FakeCard(OTHER, "00000000:02:00.0", 1, errors={"handle"})
    inventory = found(tree, FakeNvml(broken, lost_card))
    assert [(card.key, card.memory_bytes, card.mig) for card in inventory.devices] == [
        (CARD, 0, None),
        (OTHER, 0, None),
    ]
    assert "GPU is lost" in inventory.problem


def test_a_driver_that_is_not_loaded(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.node("/dev/nvidia0")
    inventory = found(tree, FakeNvml(driver=False))
    assert "the driver does not list it" in inventory.devices[0].problem
    assert "Driver Not Loaded" in inventory.problem


def test_a_library_that_hangs_costs_one_thread_and_no_more_than_its_time(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    add_nvidia(tree, 0, "0000:01:00.0", CARD)
    release, asked = threading.Event(), []

    def hangs() -> Nvml:
        asked.append(1)
        release.wait(20)
        raise NvmlUnavailable("released")

    timed: TimedReader = TimedReader("NVIDIA's library", 0.05)
    first = read_inventory(gpu_tree.Tree(tmp_path), hangs, timed=timed)
    second = read_inventory(gpu_tree.Tree(tmp_path), hangs, timed=timed)
    release.set()
    assert first.problem == "NVIDIA's library did not answer within 0.05 s"
    assert second.problem == "NVIDIA's library still hangs from an earlier read"
    assert [device.key for device in second.devices] == [CARD]
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("card", "power_w", "use", "said"),
    [
        (FakeCard(CARD), 71.5, 0.12, ""),
        (FakeCard(CARD, power_mw=math.nan), None, 0.12, "power: nan cannot be true"),
        (FakeCard(CARD, power_mw=-5), None, 0.12, "power: -5 cannot be true"),
        (FakeCard(CARD, power_mw=1_100_000), None, 0.12, "power: 1100000 cannot be true"),
        (FakeCard(CARD, use=4_294_967_295), 71.5, None, "use: 4294967295 cannot be true"),
        (FakeCard(CARD, used_bytes=10**15), 71.5, 0.12, "memory: cannot be true"),
        (FakeCard(CARD, errors={"nvmlDeviceGetPowerUsage"}), None, 0.12, "power: nvmlDeviceGetPowerUsage failed"),
        (FakeCard(CARD, power_mw="full"), None, 0.12, "power: 'full' cannot be true"),
    ],
)
def test_what_cannot_be_true_is_not_believed(
    tmp_path: Path, card: FakeCard, power_w: float | None, use: float | None, said: str
) -> None:
    tree = Tree(tmp_path)
    add_nvidia(tree, 0, "0000:01:00.0", CARD)
    card.pids = [9, 7, 9]
    (now,) = read_gpus_now(gpu_tree.Tree(tmp_path), found(tree, FakeNvml(card)), lambda: FakeNvml(card))
    assert (now.power_w, now.use, now.problem, now.pids) == (power_w, use, said, (7, 9))


def test_an_mps_daemon_counts_when_root_runs_it(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    add_nvidia(tree, 0, "0000:01:00.0", CARD)
    assert found(tree).mps is None
    add_mps(tree)
    mps = found(tree).mps
    assert mps is not None and mps.any_user
    add_mps(tree, options="-d")
    mps = found(tree).mps
    assert mps is not None and not mps.any_user
    add_mps(tree, uid=1000)
    assert found(tree).mps is None
    add_mps(tree)
    tree.file("/proc/4242/comm", "sleep\n")
    assert found(tree).mps is None


def test_the_library_has_every_function_that_is_used() -> None:
    try:
        library = load_nvml()
    except NvmlUnavailable as error:
        pytest.skip(str(error))
    used = [name for name in vars(Nvml) if name.startswith("nvml")]
    assert len(used) > 15
    assert [name for name in used if not callable(getattr(library, name, None))] == []


@pytest.mark.parametrize(("moment", "power_w", "use"), [("idle", 79.714, 0.0), ("loaded", 691.264, 0.99)])
def test_a_real_card_as_it_was_recorded(tmp_path: Path, moment: str, power_w: float, use: float) -> None:
    recorded = (Path(__file__).parent / "gpu_tree_h200.json").read_text()
    lay_out(tmp_path, recorded)
    told = json.loads(recorded)["nvml"]
    now = told[moment]
    card = FakeCard(told["uuid"], told["pci"], told["minor"], told["memory_bytes"], mig=told["mig"], **now)
    inventory = found(Tree(tmp_path), FakeNvml(card))
    (device,) = inventory.devices
    assert (device.key, device.pci, device.mig, device.problem) == (told["uuid"], "0000:00:06.0", False, "")
    assert [node.path for node in device.nodes] == ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"]
    assert device.memory_bytes == pytest.approx(140.4 * 2**30, rel=1e-3)
    (reading,) = read_gpus_now(gpu_tree.Tree(tmp_path), inventory, lambda: FakeNvml(card))
    assert (reading.power_w, reading.use, reading.problem) == (pytest.approx(power_w), use, "")
    assert [device.key for device in found(Tree(tmp_path)).devices] == [told["uuid"]]  # by /proc alone, too


_ODD = st.one_of(
    st.none(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.binary(max_size=4), st.booleans()
)


@pytest.fixture(scope="module")
def sliced_tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """One NVIDIA card whose kernel driver tells the truth."""
    tree = Tree(tmp_path_factory.mktemp("sliced"))
    add_nvidia(tree, 0, "0000:01:00.0", CARD)
    add_mig_file(tree, 0, 1, 0, (12, 13))
    return tree


@settings(max_examples=60)
@given(
    st.fixed_dictionaries(
        dict.fromkeys(("minor", "memory_bytes", "used_bytes", "power_mw", "limit_mw", "use", "pci"), _ODD)
    ),
    st.lists(_ODD, max_size=2),
    st.sampled_from([None, True, False]),
    st.lists(st.builds(FakeSlice, st.sampled_from(["MIG-a", ""]), _ODD, _ODD, _ODD), max_size=2),  # type: ignore[arg-type]
)
def test_whatever_the_library_answers_nothing_is_raised_and_nothing_absurd_is_told(
    sliced_tree: Tree, answers: dict[str, object], pids: list[object], mig: bool | None, slices: list[FakeSlice]
) -> None:
    card = FakeCard(CARD, mig=mig, slices=slices, pids=pids, **answers)  # type: ignore[arg-type]
    inventory = found(sliced_tree, FakeNvml(card))
    readings = read_gpus_now(gpu_tree.Tree(sliced_tree.root), inventory, lambda: FakeNvml(card))
    assert [device.key for device in inventory.devices][:1] == [CARD]
    for device in inventory.devices:
        assert 0 <= device.memory_bytes < 2**50
        assert all(0 < part.share <= 1 for part in device.slices)
    for reading in readings:
        assert reading.power_w is None or 0 <= reading.power_w < 100_000
        assert reading.use is None or 0 <= reading.use <= 1
        assert reading.memory_used_bytes is None or reading.memory_used_bytes >= 0
