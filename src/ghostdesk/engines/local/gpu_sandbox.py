"""What a desktop that holds a grant sees of the device: pure rendering, beside `sandbox.py`.

Nothing else of any device exists inside: bubblewrap's own /dev has none. /proc/driver/nvidia, which lists every card,
is covered by an empty folder, with the grant's own card if there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import relpath

from ghostdesk.engines.local.gpu import MIG, MPS, GpuDevice, GpuGrant, GpuInventory

SOFTWARE = {"LIBGL_ALWAYS_SOFTWARE": "1"}
"""The environment without a grant: no wait for a GPU that is not there."""
NOWHERE = {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void"}
"""For a desktop with another vendor's device, in case the driver's files are there."""


@dataclass(frozen=True, slots=True)
class GpuView:
    """What a sandbox is given.

    Args:
        arguments: for bubblewrap, after its --dev and --proc.
        environment: for the session.
        groups: the host's groups that its processes need.
    """

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[int, ...] = ()


NO_GPU = GpuView((), SOFTWARE, ())
_PROC = "/proc/driver/nvidia"
_HIDDEN = ("--tmpfs", _PROC)


def view(grant: GpuGrant | None, inventory: GpuInventory, *, hide_cards: bool = False) -> GpuView:
    """What the desktop sees; software drawing without a grant, or when its device is gone.

    Args:
        grant: what it holds.
        inventory: what there is.
        hide_cards: whether the host has a list of NVIDIA's cards in /proc.
    """
    device = inventory.find(grant.key) if grant is not None else None
    if grant is None or device is None:
        return GpuView(_HIDDEN, SOFTWARE, ()) if hide_cards else NO_GPU
    nodes = [*device.nodes]
    for part in device.slices:
        nodes += part.nodes if part.uuid == grant.mig else ()
    arguments: list[str] = []
    for node in nodes:  # a device that goes in this moment leaves a desktop without it, not none
        arguments += ["--dev-bind-try", node.path, node.path]
    arguments += _sysfs(device)
    if hide_cards:
        arguments += _HIDDEN
    if hide_cards and device.vendor == "nvidia":
        arguments += _proc(device)
    if grant.way == MPS:  # its sockets alone: clients were seen to need neither the host's /dev/shm nor its IPC
        arguments += ["--bind-try", grant.mps_pipe, grant.mps_pipe]
    groups = tuple(sorted({node.gid for node in nodes if node.needs_group}))
    return GpuView(tuple(arguments), environment(grant, device), groups)


def _sysfs(device: GpuDevice) -> Iterator[str]:
    """The device's own folder, and the link by which libdrm finds it from the node's number."""
    if not device.sysfs:
        return
    yield from ("--ro-bind-try", device.sysfs, device.sysfs)
    for node in device.nodes:
        if node.device and node.path.startswith("/dev/dri/"):
            target = f"{device.sysfs}/drm/{node.path.rsplit('/', 1)[1]}"
            yield from ("--symlink", relpath(target, "/sys/dev/char"), f"/sys/dev/char/{node.device}")


def _proc(device: GpuDevice) -> Iterator[str]:
    for name in ("params", "version", *([f"gpus/{device.pci}"] if device.pci else [])):
        yield from ("--ro-bind-try", f"{_PROC}/{name}", f"{_PROC}/{name}")


def environment(grant: GpuGrant, device: GpuDevice) -> dict[str, str]:
    """The variables by which libraries choose their device, and ask MPS for their limits."""
    if device.vendor != "nvidia":
        return dict(NOWHERE)
    seen = grant.mig if grant.way == MIG else grant.key
    chosen = {"CUDA_VISIBLE_DEVICES": seen, "NVIDIA_VISIBLE_DEVICES": seen, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    if grant.way == MPS:
        chosen["CUDA_MPS_PIPE_DIRECTORY"] = grant.mps_pipe
        chosen["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = str(max(1, round(100 * grant.share)))
        if grant.memory_bytes:
            # By the device's number among those that are visible: there is one.
            chosen["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"0={max(1, int(grant.memory_bytes / 2**20))}M"
    return chosen


def dmem_limit(grant: GpuGrant | None) -> tuple[str, str] | None:
    """(file, value) of the kernel's device memory controller (cgroup-v2.rst, "DMEM"); None when it does not apply."""
    if grant is None or not grant.dmem_region:
        return None
    amount = str(int(grant.memory_bytes)) if grant.memory_bytes else "max"
    return ("dmem.max", f"{grant.dmem_region} {amount}")
