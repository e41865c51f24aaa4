"""The engine for virtual machines over libvirt. See docs/how-to/libvirt.md."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ghostdesk.engines.libvirt.abilities import abilities_of, problem_ability
from ghostdesk.engines.libvirt.bases import Bases
from ghostdesk.engines.libvirt.building import Builder
from ghostdesk.engines.libvirt.capabilities import DriverCapabilities, without
from ghostdesk.engines.libvirt.connection import Connection, binding, check_uri, is_remote, open_connection, typed
from ghostdesk.engines.libvirt.disks import find_image
from ghostdesk.engines.libvirt.homes import put_home
from ghostdesk.engines.libvirt.host import Host, free_memory_bytes, list_machines, read_host
from ghostdesk.engines.libvirt.limits import apply_limits, machine_limits
from ghostdesk.engines.libvirt.records import MachineRecord, MachineRecords
from ghostdesk.engines.libvirt.render import MachinePlan, ghost_of, machine_id
from ghostdesk.engines.libvirt.site import SAVE_TIMEOUT_S, Site, unknown
from ghostdesk.engines.libvirt.snapshots import Snapshots
from ghostdesk.engines.protocol import Ability, Endpoint, ObservedGhost
from ghostdesk.engines.turns import Facts, Turns, destroy_all
from ghostdesk.ghosts.commands import (
    AttachHome,
    Build,
    CacheTemplate,
    CallBackMemory,
    Destroy,
    EngineCommand,
    Freeze,
    Outcome,
    ReclaimMemory,
    SetLimits,
    Thaw,
)
from ghostdesk.kernel.conditions import HostConditions, HostFault
from ghostdesk.kernel.errors import BuildFailed, Conflict, EngineError, GhostdeskError, MissingRequirement, NotFound
from ghostdesk.kernel.ids import GhostId, ghost_id, user_id
from ghostdesk.kernel.resources import Priority, Resources

BUILDS_AT_ONCE = 2


class LibvirtSettings(Protocol):
    """The settings that this engine needs (see `config.EngineSettings`)."""

    @property
    def address(self) -> str: ...
    @property
    def storage_pool(self) -> str: ...
    @property
    def network_name(self) -> str: ...
    @property
    def build_timeout_s(self) -> float: ...
    @property
    def image(self) -> str: ...
    @property
    def image_architecture(self) -> str: ...
    @property
    def image_kernel(self) -> Path | None: ...
    @property
    def image_initrd(self) -> Path | None: ...
    @property
    def machine_memory_bytes(self) -> float: ...
    @property
    def machine_cpu_cores(self) -> int: ...
    @property
    def boot_timeout_s(self) -> float: ...
    @property
    def virtualisation(self) -> str: ...


class LibvirtEngine:
    """Ghosts as virtual machines.

    Args:
        state_dir: records, homes and saved machines.
        run_dir: sockets; short.
        uri: which libvirt.
        plan: what machines have in common; its pool is filled in, and its virtualisation at the start when empty.
        network: the host's network for templates that ask for outbound; empty for none.
        build_timeout_s: how long a machine that is restored may take until its screen answers.
        boot_timeout_s: how long one that is booted may take until its desktop is painted.
    """

    def __init__(
        self,
        state_dir: Path,
        run_dir: Path,
        *,
        uri: str,
        plan: MachinePlan,
        network: str = "",
        build_timeout_s: float = 60.0,
        boot_timeout_s: float = 300.0,
    ) -> None:
        check_uri(uri)
        self._state_dir, self._run_dir = state_dir.absolute(), run_dir.absolute()
        pool = hashlib.sha256(os.fsencode(os.path.realpath(state_dir))).hexdigest()[:6]
        self._plan = replace(plan, pool=pool)
        self._connection = Connection(uri)
        self._network = network
        self._build_timeout_s, self._boot_timeout_s = build_timeout_s, boot_timeout_s
        self._wanted = self._plan.virtualisation
        self._site: Site | None = None
        self._builder: Builder | None = None
        self._builds = asyncio.Semaphore(BUILDS_AT_ONCE)
        self._turns = Turns()
        self._halted: tuple[str, ...] = ()
        self._later: dict[GhostId, tuple[Resources, Priority]] = {}
        """Limits that were set while a machine slept, and that need it awake."""

    @classmethod
    def from_settings(cls, settings: LibvirtSettings, state_dir: Path, run_dir: Path) -> LibvirtEngine:
        """The engine that the settings describe; raises `ConfigError` and `MissingRequirement`."""
        if not settings.image:
            raise MissingRequirement(
                "engine.image is not set.", "Name the volume in engine.storage_pool that desktops' disks begin as."
            )
        plan = MachinePlan(
            pool="",
            virtualisation="" if settings.virtualisation == "auto" else settings.virtualisation,
            architecture=settings.image_architecture,
            memory_bytes=int(settings.machine_memory_bytes),
            cpu_cores=settings.machine_cpu_cores,
            storage_pool=settings.storage_pool,
            image=settings.image,
            kernel=str(settings.image_kernel or ""),
            first_root=str(settings.image_initrd or ""),
        )
        return cls(
            state_dir,
            run_dir,
            uri=settings.address or "qemu:///system",
            plan=plan,
            network=settings.network_name,
            build_timeout_s=settings.build_timeout_s,
            boot_timeout_s=settings.boot_timeout_s,
        )

    async def start(self) -> None:
        """See that the host is there, lets us in and has pool and image; raises typed errors with the mend."""
        try:
            await self._start_up()
        except BaseException:
            await self._connection.close()
            raise

    async def _start_up(self) -> None:
        host = await self._connection.call(self._ask)
        can = _here(host, self._connection.uri)
        plan = replace(self._plan, virtualisation=host.virtualisation)
        records = MachineRecords(self._state_dir, self._run_dir, slots=can.homes)
        for folder in (self._state_dir, self._state_dir / "homes", records.machines_dir, self._run_dir):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        await self._connection.call(lambda c: find_image(c, plan))
        self._site = site = Site(self._connection, host, can, plan, records)
        self._builder = Builder(
            site,
            Bases(self._connection, plan, can, self._state_dir / "bases", records, self._boot_timeout_s),
            network=self._network,
            screen_timeout_s=self._build_timeout_s,
            boot_timeout_s=self._boot_timeout_s,
        )

    def _ask(self, connection: Any) -> Host:
        return read_host(connection, self._plan.architecture, self._wanted)

    @property
    def plan(self) -> MachinePlan:
        """What its machines have in common."""
        return self._plan

    @property
    def site(self) -> Site:
        """The host; raises `EngineError` before `start`."""
        if self._site is None:
            raise EngineError("The libvirt engine has not been started.")
        return self._site

    @property
    def builder(self) -> Builder:
        """Makes machines on it; raises `EngineError` before `start`."""
        if self._builder is None:
            raise EngineError("The libvirt engine has not been started.")
        return self._builder

    @property
    def snapshots(self) -> Snapshots:
        """Snapshots of its machines."""
        return Snapshots(self.site)

    async def observe(self) -> Sequence[ObservedGhost]:
        """Every machine of ours on the host, alive or not."""
        site = self.site
        found = await site.connection.call(lambda c: list_machines(c, site.can, site.name("")))
        halted, seen = [], []
        for machine in found:
            ghost = ghost_of(self._plan.pool, machine.name)
            if ghost is None or machine.uuid != str(machine_id(self._plan.pool, ghost)) or ghost.startswith("base"):
                continue
            record = site.records.read(ghost)
            if machine.halted:
                halted.append(ghost)
            # A machine without a record of who it belongs to is never handed to anybody.
            alive = machine.alive and record is not None and record.ready
            owner = record.owner if record is not None else None
            template = record.template if record is not None else ""
            seen.append(
                ObservedGhost(ghost, alive, machine.frozen, owner, template, machine.memory_bytes, machine.cpu_s)
            )
        self._halted = tuple(halted)
        return seen

    async def apply(self, command: EngineCommand) -> Outcome:
        """Carry out one command; commands for one ghost one after another."""
        return await self._turns.take(command, lambda: self._carry_out(command))

    async def _carry_out(self, command: EngineCommand) -> Facts:  # noqa: PLR0911 - one line a command
        ghost_id(command.ghost)
        match command:
            case CacheTemplate():
                return await self.builder.cache(command)
            case Build():
                async with self._builds:
                    return await self._build(command)
            case AttachHome():
                return await self._attach(command)
            case SetLimits():
                return await self._set_limits(command.ghost, command.limits, command.priority)
            case Freeze():
                return await self._freeze(command.ghost)
            case Thaw():
                return await self._thaw(command.ghost)
            case ReclaimMemory():
                return await self._save(command.ghost)
            case CallBackMemory():
                return await self._restore(command.ghost)
            case Destroy():
                self._later.pop(command.ghost, None)
                await self.builder.destroy(command.ghost)
                return {}

    async def _build(self, command: Build) -> Facts:
        ghost, builder = command.ghost, self.builder
        record, machine = self.site.records.read(ghost), await self.site.find(ghost)
        if record is not None and record.ready and machine is not None and machine.alive:
            return {"path": "already"}
        await builder.destroy(ghost)
        try:
            facts, record = await builder.begin(command)
            self.site.records.write(record)
            facts |= await self._set_limits(ghost, command.limits, command.priority)
            await builder.await_screen(ghost)
            self.site.records.write(replace(record, ready=True))
            return facts
        except (GhostdeskError, OSError) as error:
            await builder.quietly_destroy(ghost)
            if isinstance(error, GhostdeskError):
                raise
            raise BuildFailed(f"The desktop cannot be built: {error}") from error

    async def _attach(self, command: AttachHome) -> Facts:
        user = user_id(command.user)
        record, machine = await self.site.living(command.ghost)
        if record.owner is not None and record.owner != user:
            raise Conflict(
                f"Ghost {command.ghost} belongs to another user.",
                "Destroy it; a ghost is never handed to a second user.",
            )
        waits = record.home == "attached" and machine.frozen
        if record.owner == user and (waits or record.home == "mounted" or not self.site.can.homes):
            return {"attached": "already"}
        record = replace(record, owner=user)
        self.site.records.write(record)  # its owner is on record before the home can be reached
        if not self.site.can.homes:
            return {"attached": "owner only: this host shares no folders; have the machine mount the home itself"}
        await asyncio.to_thread(put_home, self._state_dir / "homes" / user, self.site.records.home(command.ghost))
        record = replace(record, home="attached")
        self.site.records.write(record)
        if not machine.frozen:
            await self._mount_home(record)
        return {"attached": "bound"}

    async def _mount_home(self, record: MachineRecord) -> None:
        await self.site.guest(record.ghost).run("home.sh")
        self.site.records.write(replace(record, home="mounted"))

    async def _set_limits(self, ghost: GhostId, limits: Resources, priority: Priority) -> Facts:
        record = self.site.records.read(ghost)
        machine = await self.site.find(ghost)
        if record is None or machine is None or not machine.alive:
            raise unknown(ghost)
        self._later.pop(ghost, None)
        if machine.saved or (machine.frozen and self.site.can.guest_agent):
            self._later[ghost] = limits, priority  # what is done inside waits until it runs
        if machine.saved:
            return {"not_limited": "it is on the disk: limits are set when it wakes"}
        wanted = machine_limits(
            limits, priority, memory_bytes=self._plan.memory_bytes, cpu_cores=self._plan.cpu_cores,
            core_megahertz=self.site.host.megahertz,
        )  # fmt: skip
        can, card, uri, awake = self.site.can, record.card, self._connection.uri, not machine.frozen
        missing = await self.site.on(
            ghost, lambda domain: apply_limits(binding(), domain, can, wanted, card, uri, awake=awake)
        )
        return {"not_limited": ", ".join(missing)} if missing else {}

    async def _freeze(self, ghost: GhostId) -> Facts:
        _, machine = await self.site.living(ghost)
        if not machine.frozen:
            await self.site.on(ghost, lambda domain: domain.suspend())
        return {}

    async def _thaw(self, ghost: GhostId) -> Facts:
        record, machine = await self.site.living(ghost)
        if not machine.frozen and not machine.halted:
            return {}
        await self.site.on(ghost, lambda domain: domain.create() if machine.saved else domain.resume())
        if machine.saved:
            await self.builder.await_screen(ghost)
        if self.site.can.guest_agent:
            await self._wake_inside(record)
        if (later := self._later.pop(ghost, None)) is not None:
            await self._set_limits(ghost, *later)
        return {"path": "restored" if machine.saved else "resumed"}

    async def _wake_inside(self, record: MachineRecord) -> None:
        """The machine's clock stood still, and a home may have come while it slept."""
        guest = self.site.guest(record.ghost)
        if record.home == "attached":
            await self._mount_home(record)
        try:
            await guest.start("clock.sh", str(int(time.time())))
        except NotFound:
            raise
        except EngineError:
            return  # a wrong clock is no reason not to show a desktop

    async def _save(self, ghost: GhostId) -> Facts:
        """The parked rung: the machine's memory goes to the disk, and its process ends."""
        record, machine = await self.site.living(ghost)
        if machine.saved:
            return {"reclaimed_bytes": 0.0, "why": "it is on the disk already"}
        if not self.site.can.managed_save:
            return {"reclaimed_bytes": 0.0, "why": f"{self.site.can.title} cannot save machines"}
        if record.home == "mounted":
            return {"reclaimed_bytes": 0.0, "why": "QEMU does not save a machine that has a folder of the host mounted"}
        flags = binding().VIR_DOMAIN_SAVE_PAUSED if self.site.can.driver in {"qemu", "test"} else 0
        found = [one for one in await self.observe() if one.ghost == ghost]
        await self.site.on(ghost, lambda domain: domain.managedSave(flags), SAVE_TIMEOUT_S)
        return {"reclaimed_bytes": float(found[0].memory_bytes) if found else 0.0}

    async def _restore(self, ghost: GhostId) -> Facts:
        """Memory back from the disk; the machine stays frozen."""
        _, machine = await self.site.living(ghost)
        if not machine.saved:
            return {"called_back_bytes": 0.0}
        if not self.site.can.begin_paused:
            return {"called_back_bytes": 0.0, "why": f"{self.site.can.title} fetches memory when a machine wakes"}
        flags = binding().VIR_DOMAIN_START_PAUSED
        await self.site.on(ghost, lambda domain: domain.createWithFlags(flags), SAVE_TIMEOUT_S)
        after = await self.site.find(ghost)
        return {"called_back_bytes": float(after.memory_bytes) if after else 0.0}

    def endpoint(self, ghost: GhostId) -> Endpoint:
        """Where the desktop answers; raises `NotFound`."""
        records = MachineRecords(self._state_dir, self._run_dir)
        places, record = records.places(ghost), records.read(ghost)
        try:
            token = (self._run_dir / ghost / "agent.token").read_text()
        except OSError:
            token = ""
        if record is None or not token:
            raise unknown(ghost)
        return Endpoint(str(places.rfb), str(places.agent), token, record.agent_uid)

    def abilities(self) -> Sequence[Ability]:
        """What the host lets us do; before `start` it is asked now, in this thread."""
        uri = self._connection.uri
        try:
            host = self._site.host if self._site is not None else typed(lambda: self._look_once(uri), uri)
        except GhostdeskError as problem:
            return (problem_ability(problem),)
        return abilities_of(host, _here(host, uri), self._network)

    def _look_once(self, uri: str) -> Host:
        connection = open_connection(uri)
        try:
            find_image(connection, self._plan)
            return self._ask(connection)
        finally:
            connection.close()

    def capacity(self) -> Resources:
        """What the host has in all, as read at the start."""
        if self._site is None:
            return Resources()
        return Resources(self._site.host.cpu_cores, self._site.host.memory_bytes)

    async def conditions(self) -> HostConditions:
        """The host's memory and the pool's room, as far as libvirt tells."""
        total = self.capacity().memory_bytes
        problems = ["libvirt tells no pressure"]
        faults = tuple(
            HostFault("disk-full", f"The host stopped ghost {ghost}: its disk cannot be written")
            for ghost in self._halted
        )
        try:
            free = await self._connection.call(free_memory_bytes)
        except GhostdeskError as error:
            free, problems = total, [*problems, str(error)]
        disk = disk_free = 0.0
        try:
            info = await self._connection.call(lambda c: c.storagePoolLookupByName(self._plan.storage_pool).info())
            disk, disk_free = float(info[1]), float(info[3])
        except GhostdeskError as error:
            problems.append(str(error))
        return HostConditions(
            time.time(), memory_bytes=int(total), memory_available_bytes=int(min(max(free, 1.0), total)),
            disk_bytes=int(disk), disk_free_bytes=int(min(disk_free, disk)), problems=tuple(problems), faults=faults,
        )  # fmt: skip

    async def stop(self, *, keep_ghosts: bool) -> None:
        """Leave the host; with `keep_ghosts` false every machine of ours goes. Homes and bases stay."""
        try:
            if self._site is not None and not keep_ghosts:
                ghosts = {one.ghost for one in await self.observe()} | set(self.site.records.ghosts())
                await destroy_all(self.apply, ghosts)
        finally:
            await self._connection.close()


def _here(host: Host, uri: str) -> DriverCapabilities:
    """What a host can do, seen from this machine."""
    can = without(host.can, remote=is_remote(uri))
    # A machine's folder keeps a user's ids only where QEMU may set them.
    return can if host.qemu_uid == 0 else replace(can, homes=False)
