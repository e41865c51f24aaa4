"""What is known of a host's GPUs, and what a desktop holds of one: values only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ghostdesk.kernel.ids import GhostId

WHOLE, MIG, MPS, TIME_SLICE, DRM = "whole", "mig", "mps", "time-slice", "drm"
"""The ways in which a desktop holds a device; see `GUARANTEES`."""
SHARINGS = ("auto", "whole", "off")
"""What settings allow: any way, whole devices and MIG slices only, or no GPU in any desktop."""
GUARANTEES = {
    WHOLE: "the whole device: nobody else's desktop gets it",
    MIG: "a MIG slice: its processors and memory are kept apart by the hardware",
    MPS: "an MPS share: the daemon limits threads and memory as the desktop's environment asks; whoever unsets that "
    "gets the daemon's defaults, and whoever goes around the daemon the whole device",
    TIME_SLICE: "time-slicing: the driver takes turns between those that compute; no share and no memory is guaranteed",
    DRM: "a render node beside others: the driver takes turns; memory is limited where the kernel has the dmem "
    "controller",
}


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A file under /dev.

    Args:
        path: as the host names it, from its root.
        gid: the group that owns it.
        mode: permission bits.
        device: "MAJOR:MINOR" where sysfs tells it, else "".
    """

    path: str
    gid: int = 0
    mode: int = 0o666
    device: str = ""

    @property
    def needs_group(self) -> bool:
        """Whether only the owning group may use it."""
        return self.mode & 0o006 != 0o006 and self.mode & 0o060 == 0o060 and self.gid != 0

    @property
    def closed(self) -> bool:
        """Whether nobody but root may use it."""
        return self.mode & 0o004 == 0 and not self.needs_group


@dataclass(frozen=True, slots=True)
class MigSlice:
    """One compute instance on a device in MIG mode.

    Args:
        uuid: by which CUDA finds it ("MIG-...").
        name: the vendor's name of the profile.
        share: of its device, 0-1.
        memory_bytes: its own.
        nodes: the capability files that open it.
    """

    uuid: str
    name: str
    share: float
    memory_bytes: float
    nodes: tuple[DeviceNode, ...] = ()


@dataclass(frozen=True, slots=True)
class GpuDevice:
    """One device.

    Args:
        key: its UUID (NVIDIA, when the library tells it), else its PCI address: stable over restarts.
        vendor: "nvidia", "amd", "intel" or "other".
        driver: the kernel driver's name.
        name: for people.
        pci: such as "0000:03:00.0"; "" when unknown.
        memory_bytes: its own memory; 0 when unknown, or when it uses the host's.
        nodes: what a desktop needs to use it.
        sysfs: the device's folder in /sys, which graphics libraries read; "".
        mig: None when it cannot be in MIG mode, else whether it is.
        slices: its MIG slices.
        dmem_region: its name in the dmem controller; "" without one.
        problem: why it cannot be handed out; "".
    """

    key: str
    vendor: str
    driver: str
    name: str
    pci: str = ""
    memory_bytes: float = 0.0
    nodes: tuple[DeviceNode, ...] = ()
    sysfs: str = ""
    mig: bool | None = None
    slices: tuple[MigSlice, ...] = ()
    dmem_region: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class MpsDaemon:
    """A running MPS control daemon (docs.nvidia.com/deploy/mps).

    Args:
        pipe_directory: where clients find it.
        any_user: whether one server serves all users; else desktops under different uids wait for one another.
    """

    pipe_directory: str
    any_user: bool = False


@dataclass(frozen=True, slots=True)
class GpuInventory:
    """All devices at one moment.

    Args:
        devices: in the order of their keys.
        mps: the daemon, if it runs.
        problem: why there is none, or what could not be read of them; "".
    """

    devices: tuple[GpuDevice, ...] = ()
    mps: MpsDaemon | None = None
    problem: str = ""

    def find(self, key: str) -> GpuDevice | None:
        """The device with this key."""
        return next((device for device in self.devices if device.key == key), None)


@dataclass(frozen=True, slots=True)
class GpuReading:
    """What a device does now; None for what it does not tell, or tells unbelievably.

    Args:
        key: the device.
        power_w: what it draws.
        use: share of the time in which it computed, 0-1.
        memory_used_bytes: held by anybody.
        pids: the host's processes on it.
        problem: why something is None; "".
    """

    key: str
    power_w: float | None = None
    use: float | None = None
    memory_used_bytes: float | None = None
    pids: tuple[int, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class GpuWish:
    """What a desktop should get.

    Args:
        share: of one device, 0-1; 0 for none.
        memory_bytes: of its memory; 0 for the same share of it.
    """

    share: float
    memory_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class GpuGrant:
    """What a desktop holds.

    Args:
        key: the device.
        way: one of `GUARANTEES`.
        share: of the device, 0-1.
        memory_bytes: its limit, or its own memory; 0 when unknown.
        mig: the UUID of its MIG slice; "".
        mps_pipe: the MPS daemon's folder; "".
        dmem_region: where its memory is limited; "".
    """

    key: str
    way: str
    share: float
    memory_bytes: float = 0.0
    mig: str = ""
    mps_pipe: str = ""
    dmem_region: str = ""

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.share:.0%} of GPU {self.mig or self.key}: {GUARANTEES[self.way]}"


@dataclass(frozen=True, slots=True)
class GpuRefusal:
    """Why a desktop gets no device: a stable code, and a text for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class GpuHolding:
    """Which ghost holds what."""

    ghost: GhostId
    grant: GpuGrant


def grant_to_text(grant: GpuGrant | None) -> str:
    """For the ghost's record; "" for none."""
    return json.dumps(asdict(grant), sort_keys=True) if grant is not None else ""


def grant_from_text(text: str) -> GpuGrant | None:
    """Back from the record; None for none, or for a text that is no grant."""
    try:
        table = json.loads(text) if text else None
        if not isinstance(table, dict):
            return None
        grant = GpuGrant(**{f.name: table[f.name] for f in fields(GpuGrant) if f.name in table})
        return grant if grant.way in GUARANTEES and 0 < float(grant.share) <= 1 else None
    except (ValueError, TypeError):
        return None


def inventory_table(inventory: GpuInventory) -> Mapping[str, Any]:
    """As plain values, for JSON."""
    return asdict(inventory)
