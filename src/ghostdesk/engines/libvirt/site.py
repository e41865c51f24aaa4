"""One libvirt host with what is ours on it: finds machines, reaches into them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ghostdesk.engines.libvirt.capabilities import DriverCapabilities
from ghostdesk.engines.libvirt.connection import Connection
from ghostdesk.engines.libvirt.guest import Guest
from ghostdesk.engines.libvirt.host import Host, MachineState, look
from ghostdesk.engines.libvirt.records import MachineRecord, MachineRecords
from ghostdesk.engines.libvirt.render import MachinePlan, machine_id, machine_name
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import GhostId

CALL_TIMEOUT_S = 60.0
SAVE_TIMEOUT_S = 300.0
"""Memory goes to a disk or comes from it."""


@dataclass(frozen=True, slots=True)
class Site:
    """A host.

    Args:
        connection, host: the host, and what it said of itself.
        can: what its driver can do here.
        plan: what machines have in common.
        records: what we keep beside libvirt.
    """

    connection: Connection
    host: Host
    can: DriverCapabilities
    plan: MachinePlan
    records: MachineRecords

    def name(self, ghost: str) -> str:
        """The name of a ghost's machine."""
        return machine_name(self.plan.pool, ghost)

    async def on(self, ghost: GhostId, work: Callable[[Any], Any], timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """Do something with libvirt's object of the machine; raises `NotFound` and typed errors."""
        return await self.connection.call(lambda c: work(c.lookupByName(self.name(ghost))), timeout_s)

    async def find(self, ghost: GhostId) -> MachineState | None:
        """The machine; None when there is none, or one of that name that is not ours."""
        try:
            found: MachineState = await self.on(ghost, lambda domain: look(domain, self.can))
        except NotFound:
            return None
        return found if found.uuid == str(machine_id(self.plan.pool, ghost)) else None

    async def living(self, ghost: GhostId) -> tuple[MachineRecord, MachineState]:
        """The ghost's record and machine; raises `NotFound` unless both are there and alive."""
        record, machine = self.records.read(ghost), await self.find(ghost)
        if record is None or machine is None or not machine.alive:
            raise unknown(ghost)
        return record, machine

    def guest(self, ghost: GhostId) -> Guest:
        """The inside of the machine."""
        return Guest(self.connection, self.name(ghost))


def unknown(ghost: GhostId) -> NotFound:
    """The error of a ghost that is not there."""
    return NotFound(f"There is no ghost {ghost} on the host.", "It was destroyed, or never built.")
