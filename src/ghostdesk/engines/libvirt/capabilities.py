"""What each driver of libvirt can do for ghosts: pure, a table. The engine asks here before it calls anything.

Source: libvirt's own matrix of calls by driver (docs/hvsupport.html, made from the drivers' tables of calls; version
9.0.0), and for the flags the drivers' sources as of that version. The tests hold the table against that matrix.
docs/reference/libvirt-drivers.md shows it to people, and is held against it too.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from ghostdesk.kernel.errors import MissingRequirement


class Disks(StrEnum):
    """How a ghost gets a disk of its own from the image."""

    OVERLAY = "overlay"
    """A qcow2 file that holds only what differs from the image: made in no time."""
    COPY = "copy"
    """A whole copy, made by the host's storage."""
    NONE = "none"
    """The driver has no calls for it: ghosts cannot be made."""


class When(StrEnum):
    """When a change takes effect."""

    LIVE = "live"
    """At once, asked for with the flag for running machines."""
    DEFAULT = "default"
    """The driver takes no such flag and decides itself."""
    NEVER = "never"
    """There is no call."""


@dataclass(frozen=True, slots=True)
class DriverCapabilities:
    """What one driver can do.

    Args:
        driver: its name here: "qemu", "test", "esx" or "hyperv".
        title: for people.
        disks: how ghosts get disks.
        suspend: stop and go on, memory kept: the frozen rung.
        managed_save: memory to disk and back: the parked rung.
        memory: the balloon.
        vcpus: how many processors.
        cpu_time: the scheduler's limit; "quota" of time, "megahertz" (VMware's limit), or "" for none.
        block_io: limits of a disk.
        interface: limits of a network card.
        snapshots: of the whole machine.
        bulk_stats: one call that tells memory and processor time of all machines.
        guest_agent: whether we can reach into the machine.
        homes: users' folders of the host appear in the machine (9p).
        console: the screen is a unix socket on the host.
        saved_start: a new machine may begin as a copy of a saved one.
        network_card: cards can be added to a running machine.
        begin_paused: a machine can be fetched from the disk ahead of its wake, and stay frozen.
    """

    driver: str
    title: str
    disks: Disks = Disks.NONE
    suspend: bool = False
    managed_save: bool = False
    memory: When = When.NEVER
    vcpus: When = When.NEVER
    cpu_time: str = ""
    block_io: bool = False
    interface: bool = False
    snapshots: bool = False
    bulk_stats: bool = False
    guest_agent: bool = False
    homes: bool = False
    console: bool = False
    saved_start: bool = False
    network_card: bool = False
    begin_paused: bool = False


QEMU = DriverCapabilities(
    "qemu", "QEMU and KVM", Disks.OVERLAY, suspend=True, managed_save=True, memory=When.LIVE, vcpus=When.LIVE,
    cpu_time="quota", block_io=True, interface=True, snapshots=True, bulk_stats=True, guest_agent=True, homes=True,
    console=True, saved_start=True, network_card=True, begin_paused=True,
)  # fmt: skip
TEST = DriverCapabilities(
    "test", "libvirt's own pretended host", Disks.OVERLAY, suspend=True, managed_save=True, memory=When.LIVE,
    vcpus=When.LIVE, block_io=True, interface=True, snapshots=True, bulk_stats=True,
)  # fmt: skip
ESX = DriverCapabilities(
    "esx", "VMware ESXi and vCenter", Disks.COPY, suspend=True, memory=When.DEFAULT, vcpus=When.LIVE,
    cpu_time="megahertz", snapshots=True,
)  # fmt: skip
HYPERV = DriverCapabilities(
    "hyperv", "Microsoft Hyper-V", suspend=True, managed_save=True, memory=When.DEFAULT, vcpus=When.DEFAULT,
)  # fmt: skip

DRIVERS: dict[str, DriverCapabilities] = {one.driver: one for one in (QEMU, TEST, ESX, HYPERV)}
_TYPES = {"QEMU": "qemu", "TEST": "test", "ESX": "esx", "VPX": "esx", "GSX": "esx", "HYPER-V": "hyperv"}

CALLS: dict[str, tuple[str, ...]] = {
    "suspend": ("virDomainSuspend", "virDomainResume"),
    "managed_save": ("virDomainManagedSave", "virDomainManagedSaveRemove", "virDomainHasManagedSaveImage"),
    "memory": ("virDomainSetMemoryFlags",),
    "vcpus": ("virDomainSetVcpusFlags",),
    "cpu_time": ("virDomainSetSchedulerParametersFlags",),
    "block_io": ("virDomainSetBlockIoTune",),
    "interface": ("virDomainSetInterfaceParameters",),
    "snapshots": ("virDomainSnapshotCreateXML", "virDomainRevertToSnapshot", "virDomainSnapshotDelete"),
    "bulk_stats": ("virConnectGetAllDomainStats",),
    "guest_agent": ("virDomainQemuAgentCommand",),
    "saved_start": ("virDomainSaveFlags", "virDomainRestoreFlags"),
    "network_card": ("virDomainAttachDeviceFlags",),
}
"""Which calls of libvirt a capability needs."""
ALWAYS = (
    "virDomainDefineXML", "virDomainUndefineFlags", "virDomainCreateWithFlags", "virDomainDestroyFlags",
    "virConnectListAllDomains", "virDomainLookupByName", "virDomainGetInfo", "virDomainGetState", "virNodeGetInfo",
)  # fmt: skip
"""Calls that every driver here has."""


def capabilities_of(connection_type: str) -> DriverCapabilities:
    """The driver's row, by what `virConnectGetType` says; raises `MissingRequirement` for a driver that is not here."""
    driver = _TYPES.get(connection_type.upper())
    if driver is None:
        raise MissingRequirement(
            f"The {connection_type} driver of libvirt is not supported.",
            "Use an address of qemu, esx, vpx or hyperv.",
        )
    return DRIVERS[driver]


def without(capabilities: DriverCapabilities, *, remote: bool) -> DriverCapabilities:
    """What is left where libvirt's host is another machine: files and sockets of that host are not here."""
    if not remote:
        return capabilities
    from dataclasses import replace

    return replace(capabilities, homes=False, console=False, saved_start=False)


def matrix_rows() -> list[tuple[str, ...]]:
    """The table for people: a heading, then one row a capability, one column a driver."""
    rows: list[tuple[str, ...]] = [("capability", *(one.title for one in DRIVERS.values()))]
    for field in fields(DriverCapabilities):
        if field.name not in ("driver", "title"):
            words = (_word(getattr(one, field.name)) for one in DRIVERS.values())
            rows.append((field.name, *words))
    return rows


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or "no"
