"""Device trees as files under a folder: written by hand after the kernel's and the drivers' documents, or recorded.

A recorded tree is JSON: {"files": {path: text}, "links": {path: target}, "nodes": {path: [mode, gid]}}.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Tree:
    """A tree under `root`, which tests change as devices come and go."""

    root: Path
    made: list[Path] = field(default_factory=list)

    def file(self, path: str, text: str) -> None:
        at = self.root / path.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text)

    def link(self, path: str, target: str) -> None:
        at = self.root / path.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.symlink_to(target)

    def node(self, path: str, mode: int = 0o666) -> None:
        self.file(path, "")
        (self.root / path.lstrip("/")).chmod(mode)

    def remove(self, path: str) -> None:
        at = self.root / path.lstrip("/")
        if at.is_dir() and not at.is_symlink():
            for entry in sorted(at.rglob("*"), reverse=True):
                entry.rmdir() if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            at.rmdir()
        else:
            at.unlink()


def lay_out(root: Path, recorded: str) -> Tree:
    """A recorded tree, as files."""
    tree, table = Tree(root), json.loads(recorded)
    for path, text in table["files"].items():
        tree.file(path, text)
    for path, target in table["links"].items():
        tree.link(path, target)
    for path, (mode, _) in table["nodes"].items():
        tree.node(path, mode)
    return tree


def add_drm(tree: Tree, number: int, pci: str, driver: str, vendor: str, vram_bytes: int = 0) -> None:
    """One PCI device with a render node."""
    device = f"/sys/devices/pci0000:00/{pci}"
    tree.file(f"{device}/vendor", f"{vendor}\n")
    tree.file(f"{device}/device", "0x744c\n")
    tree.file(f"/sys/bus/pci/drivers/{driver}/bind", "")
    tree.link(f"{device}/driver", f"../../../bus/pci/drivers/{driver}")
    tree.file(f"{device}/drm/renderD{number}/dev", f"226:{number}\n")
    tree.link(f"{device}/drm/renderD{number}/device", "../../../" + pci)
    tree.link(f"/sys/class/drm/renderD{number}", f"../../devices/pci0000:00/{pci}/drm/renderD{number}")
    tree.node(f"/dev/dri/renderD{number}")
    if vram_bytes:
        tree.file(f"{device}/mem_info_vram_total", f"{vram_bytes}\n")
        tree.file(f"{device}/mem_info_vram_used", f"{vram_bytes // 8}\n")
        tree.file(f"{device}/gpu_busy_percent", "37\n")
        tree.file(f"{device}/hwmon/hwmon3/power1_average", "81000000\n")


def add_nvidia(tree: Tree, minor: int, pci: str, uuid: str) -> None:
    """One card of NVIDIA's driver."""
    tree.file(
        f"/proc/driver/nvidia/gpus/{pci}/information",
        f"Model: \t\t NVIDIA Test\nIRQ:   \t\t 24\nGPU UUID: \t {uuid}\n"
        f"Bus Location: \t {pci}\nDevice Minor: \t {minor}\n",
    )
    for path in (f"/dev/nvidia{minor}", "/dev/nvidiactl", "/dev/nvidia-uvm"):
        tree.node(path)


def add_mig_file(tree: Tree, minor: int, instance: int, compute: int, numbers: tuple[int, int]) -> None:
    """The capability files of one compute instance."""
    folder = f"/proc/driver/nvidia/capabilities/gpu{minor}/mig/gi{instance}"
    for path, number in ((f"{folder}/access", numbers[0]), (f"{folder}/ci{compute}/access", numbers[1])):
        tree.file(path, f"DeviceFileMinor: {number}\nDeviceFileMode: 292\nDeviceFileModify: 1\n")
        tree.node(f"/dev/nvidia-caps/nvidia-cap{number}", 0o444)


def add_mps(tree: Tree, *, options: str = "-d\0-multiuser-server", uid: int = 0) -> None:
    """A running MPS daemon."""
    tree.file("/tmp/nvidia-mps/nvidia-cuda-mps-control.pid", "4242\n")
    tree.file("/proc/4242/comm", "nvidia-cuda-mps\n")
    tree.file("/proc/4242/status", f"Name:\tnvidia-cuda-mps\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    tree.file("/proc/4242/cmdline", f"nvidia-cuda-mps-control\0{options}\0")
