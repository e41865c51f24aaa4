"""Snapshots of a ghost's machine, disk and memory, for operators."""

from __future__ import annotations

from collections.abc import Sequence

from ghostdesk.engines.libvirt.errors import NotSupported
from ghostdesk.engines.libvirt.records import MachineRecord
from ghostdesk.engines.libvirt.render import snapshot_xml
from ghostdesk.engines.libvirt.site import SAVE_TIMEOUT_S, Site
from ghostdesk.kernel.ids import GhostId


class Snapshots:
    """Takes them and goes back to them. Every call raises `NotFound` for what is not there, and typed errors."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def take(self, ghost: GhostId, name: str, why: str = "") -> None:
        """Keep the machine as it is now under a name; raises `NotSupported` where that cannot be."""
        record, _ = await self._site.living(ghost)
        self._check(record)
        xml = snapshot_xml(name, why)
        await self._site.on(ghost, lambda domain: domain.snapshotCreateXML(xml, 0), SAVE_TIMEOUT_S)

    async def names(self, ghost: GhostId) -> Sequence[str]:
        """What a ghost's snapshots are called, sorted."""
        await self._site.living(ghost)
        found = await self._site.on(ghost, lambda domain: [one.getName() for one in domain.listAllSnapshots(0)])
        return sorted(found)

    async def revert(self, ghost: GhostId, name: str) -> None:
        """Go back to one."""
        record, _ = await self._site.living(ghost)
        self._check(record)
        await self._site.on(
            ghost, lambda domain: domain.revertToSnapshot(domain.snapshotLookupByName(name, 0), 0), SAVE_TIMEOUT_S
        )

    async def remove(self, ghost: GhostId, name: str) -> None:
        """Forget one."""
        await self._site.living(ghost)
        await self._site.on(ghost, lambda domain: domain.snapshotLookupByName(name, 0).delete(0), SAVE_TIMEOUT_S)

    def _check(self, record: MachineRecord) -> None:
        can = self._site.can
        if not can.snapshots:
            raise NotSupported(f"{can.title} has no snapshots.", "docs/reference/libvirt-drivers.md says what can.")
        if record.home == "mounted":
            raise NotSupported(
                f"Ghost {record.ghost} has its user's home mounted; QEMU keeps no memory of such a machine.",
                "Take snapshots before a home is attached.",
            )
