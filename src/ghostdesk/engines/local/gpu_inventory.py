"""The inventory out of its two sources: what the kernel shows, and what NVIDIA's library tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from ghostdesk.engines.local.gpu import GpuDevice, GpuInventory, GpuReading, MigSlice
from ghostdesk.engines.local.gpu_nvml import Nvml, NvmlCard, NvmlUnavailable, load_nvml, read_cards, read_now
from ghostdesk.engines.local.gpu_tree import (
    NvidiaCard,
    Tree,
    drm_devices,
    has_mig_instances,
    joined,
    mig_nodes,
    mps_daemon,
    nvidia_cards,
    nvidia_nodes,
    positive,
)
from ghostdesk.engines.local.timed import Hung, TimedReader

MPS_PIPE = "/tmp/nvidia-mps"  # noqa: S108 - the daemon's default
AMD_POWER_MOST_W = 2000.0
Cards = tuple[list[NvmlCard], str]


def read_inventory(
    tree: Tree,
    load: Callable[[], Nvml] = load_nvml,
    *,
    timed: TimedReader[Cards] | None = None,
    cgroup_root: str = "/sys/fs/cgroup",
    mps_pipe: str = MPS_PIPE,
    one_uid: bool = False,
) -> GpuInventory:
    """Every device and what is wrong with it; never raises for a lack or a fault of devices, drivers or libraries.

    Args:
        tree: the host's files.
        load: gives NVIDIA's library; it is asked only where the kernel shows a card of NVIDIA's driver.
        timed: what limits the time of the library's answers.
        cgroup_root: where cgroup v2 is mounted.
        mps_pipe: where the MPS daemon would be.
        one_uid: whether all desktops run under one uid, so that any MPS daemon of root's serves them all.
    """
    drm = drm_devices(tree, cgroup_root)
    listed = nvidia_cards(tree)
    files = [int(found[1]) for name in tree.names("/dev") if (found := re.fullmatch(r"nvidia(\d+)", name))]
    told: list[NvmlCard] = []
    problem = ""
    if listed or files:
        try:
            limit = timed or TimedReader[Cards]("NVIDIA's library", 10.0)
            told, problem = limit.read(lambda: read_cards(load()))
        except Exception as error:
            problem = _why(error)
    nvidia = [joined(card, drm) for card in nvidia_devices(tree, listed, told, files)]
    others = [device for device in drm if device.vendor != "nvidia"]
    devices = tuple(sorted([*nvidia, *others], key=lambda device: device.key))
    mps = mps_daemon(tree, mps_pipe) if nvidia else None
    if mps is not None and one_uid:
        mps = replace(mps, any_user=True)
    return GpuInventory(devices, mps, problem or ("" if devices else "no DRM render node and no NVIDIA driver"))


def _why(error: Exception) -> str:
    """A library that answers with what it never should is a library that does not answer."""
    if isinstance(error, NvmlUnavailable | Hung):
        return str(error)
    return f"NVIDIA's library cannot be understood ({type(error).__name__}: {str(error)[:120]})"


def nvidia_devices(
    tree: Tree, listed: Sequence[NvidiaCard], told: Sequence[NvmlCard], files: Sequence[int]
) -> list[GpuDevice]:
    """NVIDIA's cards, each from whoever knows of it: the library, else /proc, else a bare file under /dev."""
    found = []
    by_pci = {card.pci: card for card in listed}
    for card in told:
        proc = by_pci.pop(card.pci, None)
        minor = card.minor if card.minor is not None else proc.minor if proc else None
        found.append(_from_library(tree, card, minor))
    for proc in by_pci.values():
        nodes, missing = nvidia_nodes(tree, proc.minor)
        if proc.minor is not None and has_mig_instances(tree, proc.minor):
            missing = "it has MIG instances, and only NVIDIA's library can tell which"
        name = proc.name or "NVIDIA GPU"
        found.append(GpuDevice(proc.uuid or proc.pci, "nvidia", "nvidia", name, proc.pci, 0.0, nodes, problem=missing))
    known = {int(node.path[11:]) for card in found for node in card.nodes if node.path[11:].isdigit()}
    numbers = [card.minor for card in listed] + [card.minor for card in told]
    known |= {minor for minor in numbers if minor is not None}
    for minor in sorted(set(files) - known):
        problem = "the driver does not list it: it is not loaded, or the card is gone"
        found.append(GpuDevice(f"nvidia{minor}", "nvidia", "nvidia", "NVIDIA GPU", problem=problem))
    return found


def _from_library(tree: Tree, card: NvmlCard, minor: int | None) -> GpuDevice:
    nodes, missing = nvidia_nodes(tree, minor)
    slices = []
    for part in card.slices:
        opens = mig_nodes(tree, minor, part.instance, part.compute) if minor is not None else ()
        if opens:
            slices.append(MigSlice(part.uuid, part.name, min(1.0, part.share), part.memory_bytes, opens))
    if card.slices and not slices:
        missing = missing or "the files under /dev/nvidia-caps that open its MIG slices do not exist"
    return GpuDevice(
        key=card.uuid,
        vendor="nvidia",
        driver="nvidia",
        name=card.name,
        pci=card.pci,
        memory_bytes=card.memory_bytes,
        nodes=nodes,
        mig=card.mig,
        slices=tuple(slices),
        problem=missing,
    )


def read_gpus_now(
    tree: Tree,
    inventory: GpuInventory,
    load: Callable[[], Nvml] = load_nvml,
    timed: TimedReader[list[GpuReading]] | None = None,
) -> list[GpuReading]:
    """What each device of the inventory does now; one that does not answer says why."""
    found: dict[str, GpuReading] = {}
    problem = ""
    if any(device.vendor == "nvidia" for device in inventory.devices):
        try:
            limit = timed or TimedReader[list[GpuReading]]("NVIDIA's library", 10.0)
            found = {reading.key: reading for reading in limit.read(lambda: read_now(load()))}
        except Exception as error:
            problem = _why(error)
    readings = []
    for device in inventory.devices:
        if device.vendor == "nvidia":
            lacking = problem or "the library does not list it"
            readings.append(found.get(device.key) or GpuReading(device.key, problem=lacking))
        else:
            readings.append(_from_sysfs(tree, device))
    return readings


def _from_sysfs(tree: Tree, device: GpuDevice) -> GpuReading:
    """amdgpu's files (kernel: amdgpu/thermal.rst): microwatts, percent, bytes; others have some of them or none."""
    power_w = None
    for name in tree.names(f"{device.sysfs}/hwmon") if device.sysfs else ():
        folder = f"{device.sysfs}/hwmon/{name}"
        microwatts = positive(tree.text(f"{folder}/power1_average")) or positive(tree.text(f"{folder}/power1_input"))
        if 0 < microwatts / 1e6 <= AMD_POWER_MOST_W:
            power_w = microwatts / 1e6
    busy = tree.text(f"{device.sysfs}/gpu_busy_percent") if device.sysfs else ""
    use = int(busy) / 100 if busy.isascii() and busy.isdigit() and int(busy) <= 100 else None
    used = positive(tree.text(f"{device.sysfs}/mem_info_vram_used")) if device.sysfs else 0.0
    memory = used if used and (not device.memory_bytes or used <= device.memory_bytes) else None
    silent = power_w is None and use is None
    return GpuReading(device.key, power_w, use, memory, (), f"{device.driver} tells neither power nor use" * silent)
