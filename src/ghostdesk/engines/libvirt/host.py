"""What a libvirt host says of itself: its driver, its machines, its room. Pure readers beside the calls that block."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ghostdesk.engines.libvirt.capabilities import DriverCapabilities, capabilities_of
from ghostdesk.engines.libvirt.connection import binding
from ghostdesk.kernel.errors import MissingRequirement

# virDomainState, virDomainPausedReason (libvirt's include/libvirt/libvirt-domain.h)
RUNNING, BLOCKED, PAUSED, SHUTTING_DOWN, OFF, CRASHED, SUSPENDED = 1, 2, 3, 4, 5, 6, 7
PAUSED_IO_ERROR = 5


@dataclass(frozen=True, slots=True)
class Host:
    """A libvirt host.

    Args:
        can: its driver.
        version: of driver and library, for people.
        virtualisation: the type of domain that it runs best.
        architecture: its own.
        qemu_uid: under which its QEMU processes run; -1 where it does not say.
        memory_bytes, cpu_cores, megahertz: of the host.
    """

    can: DriverCapabilities
    version: str
    virtualisation: str
    architecture: str
    qemu_uid: int
    memory_bytes: float
    cpu_cores: float
    megahertz: int


@dataclass(frozen=True, slots=True)
class MachineState:
    """A machine of ours, as found.

    Args:
        name, uuid: its name and id.
        state, reason: libvirt's numbers.
        saved: whether its memory is on the disk.
        memory_bytes, cpu_s: what it holds and has used; 0 when unknown.
    """

    name: str
    uuid: str
    state: int
    reason: int
    saved: bool
    memory_bytes: int = 0
    cpu_s: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether its desktop is there, running or not."""
        return self.state in {RUNNING, BLOCKED, PAUSED, SUSPENDED} or self.saved

    @property
    def halted(self) -> bool:
        """Whether the host stopped it because a disk is full or broken."""
        return self.state == PAUSED and self.reason == PAUSED_IO_ERROR

    @property
    def frozen(self) -> bool:
        """Whether somebody stopped it, or its memory is on the disk."""
        return self.alive and self.state not in {RUNNING, BLOCKED} and not self.halted


def read_host(connection: Any, architecture: str, wanted: str = "") -> Host:
    """Ask the host what it is.

    Args:
        architecture: of the image.
        wanted: the kind of machine ("kvm" or "qemu"); empty for the quickest that the host names.

    Raises:
        MissingRequirement: it cannot run the image; beside libvirt's own errors.
    """
    can = capabilities_of(connection.getType())
    info = connection.getInfo()
    told = ET.fromstring(connection.getCapabilities())  # noqa: S314 - from libvirt
    version = ".".join(str(connection.getVersion() // number % 1000) for number in (1_000_000, 1000, 1))
    library = connection.getLibVersion()
    kinds = [kind for kind in domain_types(told, architecture) if not wanted or kind == wanted]
    if wanted and not kinds and domain_types(told, architecture):
        raise MissingRequirement(
            f"This host cannot run machines with {wanted}.", 'Set engine.virtualisation to "auto", or mend the host.'
        )
    if not kinds:
        own = sorted({arch.get("name", "") for arch in told.findall("guest/arch")})
        raise MissingRequirement(
            f"This host cannot run machines of the image's architecture, {architecture}: it runs {', '.join(own)}.",
            "Set engine.image_architecture right, use another image, or install QEMU for it.",
        )
    return Host(
        can,
        f"{can.title} {version}, libvirt {library // 1_000_000}.{library // 1000 % 1000}.{library % 1000}",
        kinds[0],
        str(told.findtext("host/cpu/arch") or info[0]),
        qemu_uid(told, kinds[0]),
        float(info[1]) * 1024 * 1024,
        float(info[2]),
        int(info[3]),
    )


def domain_types(capabilities: ET.Element, architecture: str) -> list[str]:
    """The kinds of machine that a host can run for an architecture, the quickest first."""
    kinds = [
        domain.get("type", "")
        for guest in capabilities.findall("guest")
        if guest.findtext("os_type") == "hvm"
        for arch in guest.findall("arch")
        if arch.get("name") == architecture
        for domain in arch.findall("domain")
    ]
    return sorted(dict.fromkeys(kinds), key=lambda kind: kind != "kvm")


def qemu_uid(capabilities: ET.Element, kind: str) -> int:
    """Under which uid QEMU runs, from the host's security model; our own where it has none."""
    for model in capabilities.findall("host/secmodel"):
        if model.findtext("model") == "dac":
            for label in model.findall("baselabel"):
                if label.get("type") == kind and label.text:
                    return int(label.text.lstrip("+").partition(":")[0])
    return os.geteuid()


def list_machines(connection: Any, can: DriverCapabilities, prefix: str) -> list[MachineState]:
    """Every machine whose name begins so. Blocks."""
    if can.bulk_stats:
        libvirt = binding()
        wanted = libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_BALLOON | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
        found = [(domain, told) for domain, told in connection.getAllDomainStats(wanted, 0)]
        return [_from_stats(domain, told) for domain, told in found if domain.name().startswith(prefix)]
    return [look(domain, can) for domain in connection.listAllDomains(0) if domain.name().startswith(prefix)]


def look(domain: Any, can: DriverCapabilities) -> MachineState:
    """One machine. Blocks."""
    state, reason = domain.state(0)
    saved = can.managed_save and state == OFF and bool(domain.hasManagedSaveImage(0))
    return MachineState(domain.name(), domain.UUIDString(), int(state), int(reason), saved)


def _from_stats(domain: Any, told: Mapping[str, Any]) -> MachineState:
    state = int(told.get("state.state", 0))
    saved = state == OFF and bool(domain.hasManagedSaveImage(0))
    held = int(told.get("balloon.rss") or told.get("balloon.current") or 0) * 1024 if state != OFF else 0
    cpu_s = float(told.get("cpu.time") or 0) / 1e9
    reason = int(told.get("state.reason", 0))
    return MachineState(domain.name(), domain.UUIDString(), state, reason, saved, held, cpu_s)


def free_memory_bytes(connection: Any) -> float:
    """What is left without swapping. Blocks; raises libvirt's errors where the driver does not say."""
    libvirt = binding()
    try:
        told = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
        return float(told.get("free", 0) + told.get("buffers", 0) + told.get("cached", 0)) * 1024
    except libvirt.libvirtError:
        return float(connection.getFreeMemory())
