"""What an operator is told that this host can and cannot do, each with its mend."""

from __future__ import annotations

from collections.abc import Sequence

from ghostdesk.engines.libvirt.capabilities import Disks, DriverCapabilities, When
from ghostdesk.engines.libvirt.host import Host
from ghostdesk.engines.protocol import DESKTOPS, PARKING, Ability
from ghostdesk.kernel.errors import GhostdeskError

_MATRIX = "See docs/reference/libvirt-drivers.md."


def problem_ability(problem: GhostdeskError) -> Ability:
    """Desktops cannot run, and why."""
    return Ability(DESKTOPS, False, problem.cause, problem.mend or _MATRIX)


def abilities_of(host: Host, can: DriverCapabilities, network: str) -> Sequence[Ability]:
    """The host's abilities."""
    emulated = host.virtualisation == "qemu"
    found = [
        Ability("server", True, f"{host.version}, {host.virtualisation} on {host.architecture}"),
        Ability(
            "hardware virtualisation", not emulated,
            "emulation by software: machines run 10 to 50 times slower" if emulated else host.virtualisation,
            "Switch virtualisation on in the firmware, and see that /dev/kvm can be opened.",
        ),
        Ability(
            PARKING, can.managed_save,
            "machines are saved to the disk" if can.managed_save else f"{can.title} cannot save machines",
            "" if can.managed_save else "A frozen machine keeps its memory there.",
        ),
        _ability("start from a saved machine", can.saved_start, "a new ghost is a copy of one that was booted", can),
        _ability("homes", can.homes, "a folder of the host, through 9p", can,
                 'The host\'s QEMU has to run as root (user = "root" in qemu.conf); else let machines mount homes.'),
        _ability("memory limits", can.memory is not When.NEVER, "the balloon", can),
        _ability("CPU limits", bool(can.cpu_time), can.cpu_time or "none", can),
        _ability("disk limits", can.block_io, "bytes a second", can),
        _ability("network limits", can.interface and bool(network), "bytes a second", can,
                 "Set engine.network_name to a network of the host." if can.interface else ""),
        _ability("snapshots", can.snapshots, "of disk and memory", can),
        Ability("network", bool(network), network or "none: desktops are isolated",
                "Set engine.network_name to a network of the host."),
    ]  # fmt: skip
    if can.disks is Disks.NONE or not can.console:
        why = "it cannot make disks" if can.disks is Disks.NONE else "its screens cannot be reached from here"
        found.insert(0, Ability(DESKTOPS, can.driver == "test", f"{can.title}: {why}", _MATRIX))
    return found


def _ability(name: str, there: bool, detail: str, can: DriverCapabilities, mend: str = "") -> Ability:
    return Ability(name, there, detail if there else f"not with {can.title} as it is here", mend or _MATRIX)
