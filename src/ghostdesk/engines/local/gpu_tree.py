"""Devices as the kernel shows them: /sys/class/drm, /dev, /proc/driver/nvidia and the dmem controller, below any root.

Sources: the kernel's drm-uapi.rst and sysfs-class-drm; amdgpu's thermal and memory files; NVIDIA's driver README,
"The /proc/driver/nvidia interface", and its MIG user guide for the capability files.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ghostdesk.engines.local.gpu import DeviceNode, GpuDevice, MpsDaemon

VENDORS = {"0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel"}
NO_HARDWARE = ("vgem", "vkms", "simple-framebuffer", "simpledrm", "bochs", "ast", "mgag200", "cirrus", "hyperv_drm")
"""DRM drivers without any rendering hardware behind them."""
NVIDIA_PROC = "/proc/driver/nvidia"
NVIDIA_CONTROL = ("/dev/nvidiactl", "/dev/nvidia-uvm")
NVIDIA_OPTIONAL = ("/dev/nvidia-modeset",)
_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_UUID = re.compile(r"GPU-[0-9a-f]{8}-[0-9a-f-]{27}")


class Tree:
    """Files below a root, read without ever raising: what cannot be read is absent."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str:
        """A small file's text without white space around it; "" when it cannot be read."""
        try:
            return self._at(path).read_text(errors="replace").strip()
        except (OSError, ValueError):
            return ""

    def names(self, folder: str) -> list[str]:
        """What is in a folder, sorted; nothing when it cannot be read."""
        try:
            return sorted(entry.name for entry in self._at(folder).iterdir())
        except OSError:
            return []

    def real(self, path: str) -> str:
        """Where links lead, as a path from the root; "" when nowhere, or out of the root."""
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            return "/" + str(self._at(path).resolve(strict=True).relative_to(self.root.resolve()))
        return ""

    def node(self, path: str, device: str = "") -> DeviceNode | None:
        """A device file; None when it is not there."""
        try:
            status = self._at(path).stat()
        except OSError:
            return None
        return DeviceNode(path, status.st_gid, status.st_mode & 0o777, device)


@dataclass(frozen=True, slots=True)
class NvidiaCard:
    """One card of NVIDIA's driver, as /proc tells it.

    Args:
        pci: its address.
        minor: the number in /dev/nvidiaN; None when unknown.
        uuid: "" when unknown.
        name: the model.
    """

    pci: str
    minor: int | None = None
    uuid: str = ""
    name: str = ""


def drm_devices(tree: Tree, cgroup_root: str = "/sys/fs/cgroup") -> list[GpuDevice]:
    """Every device with a render node, those of NVIDIA's driver too (vendor "nvidia", the node alone)."""
    regions = dmem_regions(tree.text(f"{cgroup_root}/dmem.capacity"))
    found = []
    for name in tree.names("/sys/class/drm"):
        if not re.fullmatch(r"renderD\d+", name):
            continue
        folder = f"/sys/class/drm/{name}"
        driver = tree.real(f"{folder}/device/driver").rsplit("/", 1)[-1]
        if driver in NO_HARDWARE:
            continue
        sysfs = tree.real(f"{folder}/device")
        address = sysfs.rsplit("/", 1)[-1]
        pci = address if _PCI.fullmatch(address) else ""
        vendor = VENDORS.get(tree.text(f"{folder}/device/vendor"), "other")
        if vendor == "nvidia" and driver != "nvidia":
            vendor = "other"  # nouveau: a render node, but no CUDA
        node = tree.node(f"/dev/dri/{name}", tree.text(f"{folder}/dev"))
        region, region_bytes = next(((r, size) for r, size in regions if pci and f"/{pci}/" in r), ("", 0.0))
        memory = positive(tree.text(f"{folder}/device/mem_info_vram_total")) or region_bytes
        found.append(
            GpuDevice(
                key=pci or name,
                vendor=vendor,
                driver=driver or "unknown driver",
                name=f"{vendor} GPU {tree.text(f'{folder}/device/device') or name}",
                pci=pci,
                memory_bytes=memory,
                nodes=(node,) if node else (),
                sysfs=sysfs,
                dmem_region=region,
                problem=_node_problem(node, f"/dev/dri/{name}"),
            )
        )
    return found


def _node_problem(node: DeviceNode | None, path: str) -> str:
    if node is None:
        return f"{path} does not exist"
    return f"only root may open {path}" if node.closed else ""


def dmem_regions(text: str) -> list[tuple[str, float]]:
    """`dmem.capacity` of the root cgroup: one "REGION BYTES" a line (cgroup-v2.rst, "DMEM Interface Files")."""
    pairs = (line.split() for line in text.splitlines())
    found = [(pair[0], positive(pair[1])) for pair in pairs if len(pair) == 2]
    return [(region, size) for region, size in found if size and "vram" in region.rsplit("/", 1)[-1]]


def positive(text: str) -> float:
    """A positive whole number; 0 for anything else."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0.0


def nvidia_cards(tree: Tree) -> list[NvidiaCard]:
    """What /proc/driver/nvidia/gpus lists."""
    found = []
    for pci in tree.names(f"{NVIDIA_PROC}/gpus"):
        if not _PCI.fullmatch(pci):
            continue
        lines = tree.text(f"{NVIDIA_PROC}/gpus/{pci}/information").splitlines()
        told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        minor = told.get("Device Minor", "")
        uuid = told.get("GPU UUID", "")
        found.append(
            NvidiaCard(
                pci,
                int(minor) if minor.isascii() and minor.isdigit() else None,
                uuid if _UUID.fullmatch(uuid) else "",
                told.get("Model", ""),
            )
        )
    return found


def nvidia_nodes(tree: Tree, minor: int | None) -> tuple[tuple[DeviceNode, ...], str]:
    """The card's own file and those that all cards share; and what is missing of them."""
    if minor is None:
        return (), "the driver does not tell its number"
    nodes, problem = [], ""
    for path in (f"/dev/nvidia{minor}", *NVIDIA_CONTROL, *NVIDIA_OPTIONAL):
        node = tree.node(path)
        if node is not None and not node.closed:
            nodes.append(node)
        elif path not in NVIDIA_OPTIONAL and not problem:
            problem = _node_problem(node, path) + ("; nvidia-modprobe -u -c 0 makes it" if node is None else "")
    return tuple(nodes), problem


def mig_nodes(tree: Tree, minor: int, instance: int, compute: int) -> tuple[DeviceNode, ...]:
    """The two capability files that open one compute instance; () when either is missing."""
    folder = f"{NVIDIA_PROC}/capabilities/gpu{minor}/mig/gi{instance}"
    nodes = []
    for path in (f"{folder}/access", f"{folder}/ci{compute}/access"):
        number = re.search(r"^DeviceFileMinor:\s*(\d+)", tree.text(path), re.MULTILINE)
        node = tree.node(f"/dev/nvidia-caps/nvidia-cap{number[1]}") if number else None
        if node is None:
            return ()
        nodes.append(node)
    return tuple(nodes)


def has_mig_instances(tree: Tree, minor: int) -> bool:
    """Whether the kernel lists GPU instances on this card."""
    return any(name.startswith("gi") for name in tree.names(f"{NVIDIA_PROC}/capabilities/gpu{minor}/mig"))


def mps_daemon(tree: Tree, pipe_directory: str = "/tmp/nvidia-mps") -> MpsDaemon | None:  # noqa: S108 - its default
    """The MPS control daemon, when root runs it: anybody could make a folder of that name in /tmp."""
    pid = tree.text(f"{pipe_directory}/nvidia-cuda-mps-control.pid")
    if not pid.isdigit() or not tree.text(f"/proc/{pid}/comm").startswith("nvidia-cuda-mps"):
        return None
    uid = re.search(r"^Uid:\s*(\d+)", tree.text(f"/proc/{pid}/status"), re.MULTILINE)
    if uid is None or uid[1] != "0":
        return None
    options = tree.text(f"/proc/{pid}/cmdline").split("\0")
    return MpsDaemon(pipe_directory, any_user=any(word.lstrip("-") in {"multiuser-server", "M"} for word in options))


def joined(card: GpuDevice, drm: list[GpuDevice]) -> GpuDevice:
    """An NVIDIA card with the render node that its driver's DRM part offers, if any."""
    same = [device for device in drm if card.pci and device.pci == card.pci and not device.problem]
    if not same:
        return card
    nodes: Iterator[DeviceNode] = (node for device in same for node in device.nodes)
    return replace(card, nodes=(*card.nodes, *nodes), sysfs=same[0].sysfs)
