"""What is asked of libvirt, as XML: pure. Source: libvirt's docs/formatdomain.rst and docs/formatstorage.rst."""

from __future__ import annotations

import math
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.engines.libvirt.capabilities import Disks, DriverCapabilities
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import EngineError
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import MIB, Resources

AGENT_PORT = "org.ghostdesk.agent"
GUEST_PORT = "org.qemu.guest_agent.0"
HOME_TAG = "home"
LEAST_MEMORY_BYTES = 384 * MIB
"""A machine's memory is never taken below this: its desktop would die."""
_NAMESPACE = uuid.UUID("5e0a9d3c-7f5b-4b1e-9a5c-0d0f6c1f7a11")
_NETWORK_PREFIX = (0x52, 0x54, 0x00)
"""The prefix that QEMU's and libvirt's own cards have."""


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """What every machine of one ghostdesk has in common.

    Args:
        pool: tells our machines from another ghostdesk's; a few letters.
        virtualisation: "kvm", "qemu" (emulation by software), "test", "vmware" or "hyperv": the domain's type.
        architecture: of the image.
        memory_bytes, cpu_cores: the most that a machine can have; less is a matter of limits.
        storage_pool: where disks are.
        image: the volume in it that ghosts' disks begin as.
        image_format: its format: "qcow2", "raw" or "vmdk".
        kernel, first_root: the kernel that is booted and its first root file system, as the host sees them; empty for
            images that boot by themselves.
        machine: QEMU's machine type.
    """

    pool: str
    virtualisation: str
    architecture: str
    memory_bytes: int
    cpu_cores: int
    storage_pool: str
    image: str
    image_format: str = "qcow2"
    kernel: str = ""
    first_root: str = ""
    machine: str = "pc"


@dataclass(frozen=True, slots=True)
class GhostPlaces:
    """Where the things of one ghost are.

    Args:
        run: the folder of its sockets, as this machine and the host see it.
        slot: the folder in which its user's home appears; None where homes are not shared.
    """

    run: Path
    slot: Path | None

    @property
    def rfb(self) -> Path:
        """The screen's socket, made by QEMU."""
        return self.run / "rfb.sock"

    @property
    def agent(self) -> Path:
        """The agent's socket, made by the control plane; QEMU connects to it."""
        return self.run / "agent.sock"


def machine_name(pool: str, ghost: str) -> str:
    """The name of a ghost's machine."""
    return f"gd-{pool}-{ghost}"


def ghost_of(pool: str, name: str) -> GhostId | None:
    """The ghost whose machine has this name; None when it is none of ours."""
    before = machine_name(pool, "")
    return GhostId(name.removeprefix(before)) if name.startswith(before) else None


def machine_id(pool: str, ghost: str) -> uuid.UUID:
    """The machine's own id: the same for the same ghost, so that a second build never makes a second machine."""
    return uuid.uuid5(_NAMESPACE, f"{pool}/{ghost}")


def card_address(pool: str, ghost: str) -> str:
    """The hardware address of a ghost's network card."""
    digits = machine_id(pool, ghost).bytes[:3]
    return ":".join(f"{byte:02x}" for byte in (*_NETWORK_PREFIX, *digits))


def disk_name(pool: str, ghost: str, disk_format: str) -> str:
    """The volume that is a ghost's disk."""
    return f"{machine_name(pool, ghost)}.{disk_format}"


def domain_xml(
    plan: MachinePlan,
    can: DriverCapabilities,
    ghost: str,
    template: DesktopTemplate,
    disk: str,
    places: GhostPlaces,
) -> str:
    """The machine of one ghost.

    Args:
        disk: the disk's path as the host sees it.
    """
    domain = ET.Element("domain", type=plan.virtualisation)
    _text(domain, "name", machine_name(plan.pool, ghost))
    _text(domain, "uuid", str(machine_id(plan.pool, ghost)))
    if can.driver == "qemu":
        ET.SubElement(domain, "genid").text = str(machine_id(plan.pool, f"{ghost}/generation"))
    _text(domain, "memory", str(plan.memory_bytes // 1024), unit="KiB")
    _text(domain, "currentMemory", str(plan.memory_bytes // 1024), unit="KiB")
    _text(domain, "vcpu", str(plan.cpu_cores), placement="static")
    system = ET.SubElement(domain, "os")
    kind = _text(system, "type", "hvm", arch=plan.architecture)
    if can.driver == "qemu":
        kind.set("machine", plan.machine)
    if plan.kernel:
        _text(system, "kernel", plan.kernel)
        _text(system, "initrd", plan.first_root)
        _text(system, "cmdline", _command_line(plan))
    elif can.driver in {"qemu", "test"}:
        ET.SubElement(system, "boot", dev="hd")
    if can.driver == "qemu":
        features = ET.SubElement(domain, "features")
        ET.SubElement(features, "acpi")
        ET.SubElement(features, "apic")
        if plan.virtualisation == "kvm":
            ET.SubElement(domain, "cpu", mode="host-model")
        _text(domain, "on_poweroff", "destroy")
        _text(domain, "on_reboot", "destroy")
        _text(domain, "on_crash", "destroy")
    devices = ET.SubElement(domain, "devices")
    _disk(devices, can, disk)
    if can.driver == "qemu":
        _qemu_devices(devices, template, places)
    return _rendered(domain)


def _command_line(plan: MachinePlan) -> str:
    # Under emulation, the guards against the processor's side channels cost time and guard nothing.
    emulated = " mitigations=off" if plan.virtualisation == "qemu" else ""
    return f"console=ttyS0 quiet panic=5 random.trust_cpu=on{emulated}"


def _disk(devices: ET.Element, can: DriverCapabilities, disk: str) -> None:
    device = ET.SubElement(devices, "disk", type="file", device="disk")
    if can.driver == "qemu":
        ET.SubElement(device, "driver", name="qemu", type="qcow2", discard="unmap")
    ET.SubElement(device, "source", file=disk)
    bus, target = ("virtio", "vda") if can.disks is Disks.OVERLAY else ("scsi", "sda")
    ET.SubElement(device, "target", dev=target, bus=bus)


def _qemu_devices(devices: ET.Element, template: DesktopTemplate, places: GhostPlaces) -> None:
    ET.SubElement(devices, "controller", type="usb", model="none")
    for name in (GUEST_PORT, AGENT_PORT):
        channel = ET.SubElement(devices, "channel", type="unix")
        if name == AGENT_PORT:
            source = ET.SubElement(channel, "source", mode="connect", path=str(places.agent))
            ET.SubElement(source, "reconnect", enabled="yes", timeout="1")
        else:
            ET.SubElement(channel, "source", mode="bind")
        ET.SubElement(channel, "target", type="virtio", name=name)
    if places.slot is not None:
        folder = ET.SubElement(devices, "filesystem", type="mount", accessmode="passthrough", multidevs="remap")
        ET.SubElement(folder, "source", dir=str(places.slot))
        ET.SubElement(folder, "target", dir=HOME_TAG)
    ET.SubElement(devices, "input", type="tablet", bus="virtio")
    ET.SubElement(devices, "input", type="keyboard", bus="virtio")
    screen = ET.SubElement(devices, "graphics", type="vnc")
    ET.SubElement(screen, "listen", type="socket", socket=str(places.rfb))
    video = ET.SubElement(devices, "video")
    model = ET.SubElement(video, "model", type="virtio", heads="1", primary="yes")
    ET.SubElement(model, "resolution", x=str(template.width_px), y=str(template.height_px))
    ET.SubElement(devices, "memballoon", model="virtio", freePageReporting="on")


def copied_domain_xml(saved: str, pool: str, ghost: str, disk: str, places: GhostPlaces) -> str:
    """The machine of one ghost as a copy of a saved one: the same devices at the same places, its own files and ids.

    Args:
        saved: the saved machine's XML, as libvirt wrote it into the file.
        disk: the copy's own disk.

    Raises:
        EngineError: the saved machine is not one of ours.
    """
    try:
        domain = ET.fromstring(saved)  # noqa: S314 - see above
    except ET.ParseError as error:
        raise EngineError(f"The saved machine cannot be read: {error}.", "Remove it; it is made again.") from None
    domain.attrib.pop("id", None)
    _set(domain, "name", machine_name(pool, ghost))
    _set(domain, "uuid", str(machine_id(pool, ghost)))
    _set(domain, "genid", str(machine_id(pool, f"{ghost}/generation")))
    source = domain.find("devices/disk/source")
    graphics = domain.find("devices/graphics")
    agent = domain.find(f"devices/channel/target[@name='{AGENT_PORT}']/../source")
    if source is None or graphics is None or agent is None:
        raise EngineError("The saved machine is not one of a ghost.", "Remove it; it is made again.")
    source.attrib.clear()
    source.set("file", disk)
    for disk_device in domain.findall("devices/disk"):
        for backing in disk_device.findall("backingStore"):
            disk_device.remove(backing)
    for listener in graphics.findall("listen"):  # libvirt writes the socket as an attribute, or both
        graphics.remove(listener)
    graphics.set("socket", str(places.rfb))
    agent.set("path", str(places.agent))
    guest = domain.find(f"devices/channel/target[@name='{GUEST_PORT}']/../source")
    if guest is not None:
        guest.attrib.pop("path", None)
    folder = domain.find("devices/filesystem/source")
    if folder is not None and places.slot is not None:
        folder.set("dir", str(places.slot))
    for label in domain.findall("seclabel"):
        domain.remove(label)
    return _rendered(domain)


def volume_xml(name: str, size_bytes: int, disk_format: str, backing: str = "", backing_format: str = "") -> str:
    """A volume; with `backing`, one that holds only what differs from it."""
    volume = ET.Element("volume", type="file")
    _text(volume, "name", name)
    _text(volume, "capacity", str(size_bytes), unit="bytes")
    if backing:
        _text(volume, "allocation", "0", unit="bytes")
    target = ET.SubElement(volume, "target")
    ET.SubElement(target, "format", type=disk_format)
    if backing:
        store = ET.SubElement(volume, "backingStore")
        _text(store, "path", backing)
        ET.SubElement(store, "format", type=backing_format)
    return _rendered(volume)


def card_xml(network: str, address: str) -> str:
    """A network card in one of the host's networks."""
    card = ET.Element("interface", type="network")
    ET.SubElement(card, "mac", address=address)
    ET.SubElement(card, "source", network=network)
    ET.SubElement(card, "model", type="virtio")
    return _rendered(card)


def snapshot_xml(name: str, why: str) -> str:
    """A snapshot of disk and memory."""
    snapshot = ET.Element("domainsnapshot")
    _text(snapshot, "name", name)
    _text(snapshot, "description", why)
    return _rendered(snapshot)


def balloon_bytes(limits: Resources, most_bytes: int) -> int:
    """How much memory a machine is left with under these limits."""
    if not limits.memory_bytes:
        return most_bytes
    return int(min(max(limits.memory_bytes, LEAST_MEMORY_BYTES), most_bytes))


def processors(limits: Resources, most: int) -> int:
    """How many processors a machine is to use under these limits: enough for its share of time, 1 at least."""
    return min(max(1, math.ceil(limits.cpu_cores)), most) if limits.cpu_cores else most


def disk_target(can: DriverCapabilities) -> str:
    """The name of a machine's disk, for limits."""
    return "vda" if can.disks is Disks.OVERLAY else "sda"


def _text(parent: ET.Element, name: str, text: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, name, attributes)
    element.text = text
    return element


def _set(domain: ET.Element, name: str, text: str) -> None:
    element = domain.find(name)
    if element is not None:
        element.text = text


def _rendered(element: ET.Element) -> str:
    ET.indent(element)
    return ET.tostring(element, encoding="unicode") + "\n"
