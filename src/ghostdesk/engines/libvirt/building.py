"""Building a ghost's machine: a copy of a saved one where the host can, else booted; then it learns who it is."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ghostdesk.engines.libvirt.bases import Bases
from ghostdesk.engines.libvirt.capabilities import Disks
from ghostdesk.engines.libvirt.connection import binding
from ghostdesk.engines.libvirt.disks import check_room, find_image, make_disk, remove_disk
from ghostdesk.engines.libvirt.errors import NameTaken
from ghostdesk.engines.libvirt.records import MachineRecord
from ghostdesk.engines.libvirt.render import card_address, card_xml, disk_name, domain_xml, machine_id
from ghostdesk.engines.libvirt.saved import UnknownFormat
from ghostdesk.engines.libvirt.site import SAVE_TIMEOUT_S, Site
from ghostdesk.engines.local.launch import rfb_answers
from ghostdesk.engines.turns import Facts
from ghostdesk.ghosts.commands import Build, CacheTemplate
from ghostdesk.kernel.errors import BuildFailed, EngineError
from ghostdesk.kernel.ids import GhostId

_READ_EVERY_S = 0.05
_RANDOM_BYTES = 64


class Builder:
    """Makes machines, and takes them away.

    Args:
        site: the host.
        bases: the saved machines that ghosts are copies of.
        network: the host's network for templates that ask for outbound; empty for none.
        screen_timeout_s: how long a machine's screen may take to answer.
        boot_timeout_s: how long a boot may take until the desktop is painted.
    """

    def __init__(
        self, site: Site, bases: Bases, *, network: str, screen_timeout_s: float, boot_timeout_s: float
    ) -> None:
        self._site, self._bases, self._network = site, bases, network
        self._screen_timeout_s, self._boot_timeout_s = screen_timeout_s, boot_timeout_s

    async def cache(self, command: CacheTemplate) -> Facts:
        """Have the template's base ready, and remove those on which no ghost stands any more."""
        if not self._site.can.saved_start:
            return {}
        base = await self._bases.get(command.template, self._site.host.qemu_uid)
        records = map(self._site.records.read, self._site.records.ghosts())
        await self._bases.remove_all_but({base.key} | {record.base for record in records if record is not None})
        return {"base": base.key, "boot_s": base.boot_s, "save_s": base.save_s}

    async def begin(self, command: Build) -> tuple[Facts, MachineRecord]:
        """Make the machine; its desktop is painted and it knows its name. What fails leaves things to `destroy`."""
        ghost, site = command.ghost, self._site
        record = MachineRecord(ghost, command.template.template, site.host.qemu_uid)
        await site.connection.call(lambda c: check_room(c, site.plan))
        site.records.make_folders(ghost, record.agent_uid)
        self._write_token(ghost)
        site.records.write(record)
        facts, record = await self._run(command, record)
        if site.can.guest_agent:
            await self._identify(ghost)
        return facts, await self._add_card(command, record)

    async def _run(self, command: Build, record: MachineRecord) -> tuple[Facts, MachineRecord]:
        site, ghost = self._site, command.ghost
        if site.can.saved_start:
            base = await self._bases.get(command.template, site.host.qemu_uid)
            based = replace(record, base=base.key)
            site.records.write(based)
            name = disk_name(site.plan.pool, ghost, "qcow2")
            began_s = time.perf_counter()
            disk = await site.connection.call(lambda c: make_disk(c, site.plan, site.can.disks, name, base.disk))
            try:
                await self._bases.begin(base, ghost, disk, site.records.places(ghost))
                return {"path": "restored", "machine_s": time.perf_counter() - began_s}, based
            except UnknownFormat:
                pass  # a libvirt that saves in another way: boot
        began_s = time.perf_counter()
        await site.connection.call(lambda c: self._boot(c, command))
        if site.can.guest_agent:
            await site.guest(ghost).await_painted(self._boot_timeout_s)
        return {"path": "booted", "machine_s": time.perf_counter() - began_s}, replace(record, base="")

    def _boot(self, connection: Any, command: Build) -> None:
        """Make the disk, define the machine and start it. Blocks."""
        site, ghost = self._site, command.ghost
        image = find_image(connection, site.plan)
        made = "qcow2" if site.can.disks is Disks.OVERLAY else image.disk_format
        disk = make_disk(connection, site.plan, site.can.disks, disk_name(site.plan.pool, ghost, made), image)
        xml = domain_xml(site.plan, site.can, ghost, command.template, disk, site.records.places(ghost))
        connection.defineXML(xml).create()

    async def _identify(self, ghost: GhostId) -> None:
        """Tell the machine who it is; a copy gets random state, ids and the time of its own."""
        token = (self._site.records.run_dir / ghost / "agent.token").read_text()
        given = f"{token}\n{secrets.token_hex(_RANDOM_BYTES)}\n"
        await self._site.guest(ghost).run("identify.sh", ghost, str(int(time.time())), given=given)

    async def _add_card(self, command: Build, record: MachineRecord) -> MachineRecord:
        site = self._site
        if not (self._network and site.can.network_card and command.template.network == "outbound"):
            return record
        address = card_address(site.plan.pool, command.ghost)
        xml = card_xml(self._network, address)
        flags = binding().VIR_DOMAIN_AFFECT_LIVE | binding().VIR_DOMAIN_AFFECT_CONFIG
        await site.on(command.ghost, lambda domain: domain.attachDeviceFlags(xml, flags))
        if site.can.guest_agent:
            await site.guest(command.ghost).start("network.sh", address)
        return replace(record, card=address)

    async def await_screen(self, ghost: GhostId) -> None:
        """Wait until the machine's screen answers, where that can be seen from here; raises `BuildFailed`."""
        socket = self._site.records.places(ghost).rfb
        deadline_s = time.monotonic() + self._screen_timeout_s
        while self._site.can.console and not await asyncio.to_thread(rfb_answers, socket):
            if time.monotonic() > deadline_s:
                raise BuildFailed(
                    f"The desktop's screen did not answer within {self._screen_timeout_s:g} s.",
                    "Raise engine.build_timeout_s if the host is slow.",
                )
            await asyncio.sleep(_READ_EVERY_S)

    def _write_token(self, ghost: GhostId) -> None:
        path: Path = self._site.records.run_dir / ghost / "agent.token"
        path.unlink(missing_ok=True)
        path.touch(0o600)
        path.write_text(secrets.token_urlsafe(32))
        path.chmod(0o400)

    async def destroy(self, ghost: GhostId) -> None:
        """End the machine, and remove all that was its own; the home goes back first."""
        site = self._site

        def work(connection: Any) -> None:
            libvirt = binding()
            try:
                domain = connection.lookupByName(site.name(ghost))
                if domain.UUIDString() != str(machine_id(site.plan.pool, ghost)):
                    raise NameTaken(
                        f"There is a machine {site.name(ghost)} that is not of this ghostdesk.",
                        "Rename or remove it, if it is nobody's.",
                    )
                if domain.isActive():
                    domain.destroy()
                undefine = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE if site.can.managed_save else 0
                if site.can.snapshots and site.can.driver in {"qemu", "test"}:
                    undefine |= libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                domain.undefineFlags(undefine)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
            if site.can.disks is not Disks.NONE:
                for kind in ("qcow2", "vmdk"):
                    remove_disk(connection, site.plan, disk_name(site.plan.pool, ghost, kind))

        await site.connection.call(work, SAVE_TIMEOUT_S)
        await asyncio.to_thread(site.records.remove, ghost)

    async def quietly_destroy(self, ghost: GhostId) -> None:
        """The same after something failed: that is what is told."""
        try:
            await self.destroy(ghost)
        except (EngineError, OSError):
            return
