"""The engine for virtual machines over libvirt. See docs/how-to/libvirt.md."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ghostdesk.engines.libvirt.abilities import abilities_of, problem_ability
from ghostdesk.engines.libvirt.bases import Bases
from ghostdesk.engines.libvirt.capabilities import DriverCapabilities, without
from ghostdesk.engines.libvirt.connection import Connection, binding, check_uri, is_remote, open_connection, typed
from ghostdesk.engines.libvirt.disks import check_room, find_image, make_disk, remove_disk
from ghostdesk.engines.libvirt.errors import NotSupported, Unreachable
from ghostdesk.engines.libvirt.guest import Guest
from ghostdesk.engines.libvirt.homes import put_home
from ghostdesk.engines.libvirt.host import Host, MachineState, free_memory_bytes, list_machines, look, read_host
from ghostdesk.engines.libvirt.limits import apply_limits, machine_limits
from ghostdesk.engines.libvirt.records import MachineRecord, MachineRecords
from ghostdesk.engines.libvirt.render import (
    MachinePlan,
    card_address,
    card_xml,
    disk_name,
    domain_xml,
    ghost_of,
    machine_name,
    snapshot_xml,
)
from ghostdesk.engines.libvirt.saved import UnknownFormat
from ghostdesk.engines.local.launch import rfb_answers
from ghostdesk.engines.protocol import Ability, Endpoint, ObservedGhost
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

Facts = dict[str, float | str]
BUILDS_AT_ONCE = 2
SAVE_TIMEOUT_S = 300.0
_READ_EVERY_S = 0.05
_RANDOM_BYTES = 64


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


class LibvirtEngine:
    """Ghosts as virtual machines.

    Args:
        state_dir: records, homes and saved machines.
        run_dir: sockets; short.
        uri: which libvirt.
        plan: what machines have in common; its pool and virtualisation are filled in at the start.
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
        self._records = MachineRecords(self._state_dir, self._run_dir)
        self._host: Host | None = None
        self._bases: Bases | None = None
        self._builds = asyncio.Semaphore(BUILDS_AT_ONCE)
        self._locks: dict[GhostId, asyncio.Lock] = {}
        self._halted: tuple[str, ...] = ()

    @classmethod
    def from_settings(cls, settings: LibvirtSettings, state_dir: Path, run_dir: Path) -> LibvirtEngine:
        """The engine that the settings describe; raises `ConfigError` and `MissingRequirement`."""
        if not settings.image:
            raise MissingRequirement(
                "engine.image is not set.", "Name the volume in engine.storage_pool that desktops' disks begin as."
            )
        plan = MachinePlan(
            pool="",
            virtualisation="",
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
        self._host = host = await self._connection.call(lambda c: read_host(c, self._plan.architecture))
        self._plan = replace(self._plan, virtualisation=host.virtualisation)
        self._records = MachineRecords(self._state_dir, self._run_dir, slots=self.can.homes)
        for folder in (self._state_dir, self._state_dir / "homes", self._records.machines_dir, self._run_dir):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._bases = Bases(
            self._connection, self._plan, self.can, self._state_dir / "bases", self._records, self._boot_timeout_s
        )
        await self._connection.call(lambda c: find_image(c, self._plan))

    @property
    def can(self) -> DriverCapabilities:
        """What the host's driver can do here; raises `EngineError` before `start`."""
        if self._host is None:
            raise EngineError("The libvirt engine has not been started.")
        can = without(self._host.can, remote=is_remote(self._connection.uri))
        # A machine's folder keeps a user's ids only where QEMU may set them.
        return can if self._host.qemu_uid == 0 else replace(can, homes=False)

    def _name(self, ghost: str) -> str:
        return machine_name(self._plan.pool, ghost)

    async def observe(self) -> Sequence[ObservedGhost]:
        """Every machine of ours on the host, alive or not."""
        found = await self._connection.call(lambda c: list_machines(c, self.can, self._name("")))
        halted, seen = [], []
        for machine in found:
            ghost = ghost_of(self._plan.pool, machine.name)
            if ghost is None or ghost.startswith("base"):
                continue
            record = self._records.read(ghost)
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
        started_s = time.perf_counter()
        lock = self._locks.setdefault(command.ghost, asyncio.Lock())
        try:
            async with lock:
                facts = await self._carry_out(command)
            return Outcome(command, None, time.perf_counter() - started_s, facts)
        except GhostdeskError as error:
            return Outcome(command, error, time.perf_counter() - started_s)
        except (OSError, ValueError) as error:
            failed = EngineError(f"{type(command).__name__} of ghost {command.ghost} failed: {error}.")
            return Outcome(command, failed, time.perf_counter() - started_s)
        finally:
            if isinstance(command, Destroy) and not lock.locked():
                self._locks.pop(command.ghost, None)

    async def _carry_out(self, command: EngineCommand) -> Facts:  # noqa: PLR0911 - one line a command
        ghost_id(command.ghost)
        match command:
            case CacheTemplate():
                return await self._cache(command)
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
                await self._destroy(command.ghost)
                return {}

    # Building

    async def _cache(self, command: CacheTemplate) -> Facts:
        if not (self.can.saved_start and self.can.guest_agent):
            return {}
        bases = self._the_bases()
        base = await bases.get(command.template, self._qemu_uid())
        await bases.remove_all_but({base.key} | {r.base for r in map(self._records.read, self._records.ghosts()) if r})
        return {"base": base.key}

    async def _build(self, command: Build) -> Facts:
        ghost = command.ghost
        record = self._records.read(ghost)
        machine = await self._find(ghost)
        if record is not None and record.ready and machine is not None and machine.alive:
            return {"path": "already"}
        await self._destroy(ghost)
        record = MachineRecord(ghost, command.template.template, self._qemu_uid())
        try:
            await self._connection.call(lambda c: check_room(c, self._plan))
            self._records.make_folders(ghost, record.agent_uid)
            self._write_token(ghost)
            self._records.write(record)
            facts, record = await self._begin(command, record)
            if self.can.guest_agent:
                await self._identify(ghost)
            record = await self._add_card(command, record)
            facts |= await self._set_limits(ghost, command.limits, command.priority)
            if self.can.console:
                await self._await_screen(self._records.places(ghost).rfb)
            self._records.write(replace(record, ready=True))
            return facts
        except (GhostdeskError, OSError) as error:
            await self._quietly_destroy(ghost)
            if isinstance(error, GhostdeskError):
                raise
            raise BuildFailed(f"The desktop cannot be built: {error}") from error

    async def _begin(self, command: Build, record: MachineRecord) -> tuple[Facts, MachineRecord]:
        """The machine runs and its desktop is painted: a copy of a saved one, or booted."""
        ghost, places = command.ghost, self._records.places(command.ghost)
        began_s = time.perf_counter()
        if self.can.saved_start:
            bases = self._the_bases()
            base = await bases.get(command.template, self._qemu_uid())
            based = replace(record, base=base.key)
            self._records.write(based)
            name = disk_name(self._plan.pool, ghost, "qcow2")
            disk = await self._connection.call(lambda c: make_disk(c, self._plan, self.can.disks, name, base.disk))
            try:
                began_s = time.perf_counter()
                await bases.begin(base, ghost, disk, places)
                return {"path": "restored", "machine_s": time.perf_counter() - began_s}, based
            except UnknownFormat:
                pass  # a libvirt that saves in another way: boot
        await self._connection.call(lambda c: self._boot(c, command))
        if self.can.guest_agent:
            await self._guest(ghost).await_painted(self._boot_timeout_s)
        return {"path": "booted", "machine_s": time.perf_counter() - began_s}, record

    def _boot(self, connection: Any, command: Build) -> None:
        """Make the disk, define the machine and start it. Blocks."""
        ghost = command.ghost
        image = find_image(connection, self._plan)
        made = "qcow2" if self.can.driver in {"qemu", "test"} else image.disk_format
        disk = make_disk(connection, self._plan, self.can.disks, disk_name(self._plan.pool, ghost, made), image)
        xml = domain_xml(self._plan, self.can, ghost, command.template, disk, self._records.places(ghost))
        connection.defineXML(xml).create()

    async def _identify(self, ghost: GhostId) -> None:
        """Tell the machine who it is; a copy gets random state, ids and the time of its own."""
        token = (self._run_dir / ghost / "agent.token").read_text()
        given = f"{token}\n{secrets.token_hex(_RANDOM_BYTES)}\n"
        await self._guest(ghost).run("identify.sh", ghost, str(int(time.time())), given=given)

    async def _add_card(self, command: Build, record: MachineRecord) -> MachineRecord:
        if not (self._network and self.can.network_card and command.template.network == "outbound"):
            return record
        address = card_address(self._plan.pool, command.ghost)
        xml = card_xml(self._network, address)
        flags = binding().VIR_DOMAIN_AFFECT_LIVE | binding().VIR_DOMAIN_AFFECT_CONFIG
        await self._connection.call(
            lambda c: c.lookupByName(self._name(command.ghost)).attachDeviceFlags(xml, flags)
        )
        if self.can.guest_agent:
            await self._guest(command.ghost).start("network.sh", address)
        return replace(record, card=address)

    async def _await_screen(self, socket: Path) -> None:
        deadline_s = time.monotonic() + self._build_timeout_s
        while not await asyncio.to_thread(rfb_answers, socket):
            if time.monotonic() > deadline_s:
                raise BuildFailed(
                    f"The desktop's screen did not answer within {self._build_timeout_s:g} s.",
                    "Raise engine.build_timeout_s if the host is slow.",
                )
            await asyncio.sleep(_READ_EVERY_S)

    def _write_token(self, ghost: GhostId) -> None:
        path = self._run_dir / ghost / "agent.token"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o400), "w") as stream:
            stream.write(secrets.token_urlsafe(32))

    # What is done with a machine that is there

    async def _attach(self, command: AttachHome) -> Facts:
        user = user_id(command.user)
        record, machine = await self._living(command.ghost)
        if record.owner is not None and record.owner != user:
            raise Conflict(
                f"Ghost {command.ghost} belongs to another user.",
                "Destroy it; a ghost is never handed to a second user.",
            )
        if record.owner == user and (record.home or not self.can.homes):
            return {"attached": "already"}
        record = replace(record, owner=user)
        self._records.write(record)  # its owner is on record before the home can be reached
        if not self.can.homes:
            return {"attached": "owner only: this host shares no folders; have the machine mount the home itself"}
        await asyncio.to_thread(put_home, self._state_dir / "homes" / user, self._records.home(command.ghost))
        record = replace(record, home="attached")
        self._records.write(record)
        if not machine.frozen:
            await self._mount_home(record)
        return {"attached": "bound"}

    async def _mount_home(self, record: MachineRecord) -> None:
        await self._guest(record.ghost).run("home.sh")
        self._records.write(replace(record, home="mounted"))

    async def _set_limits(self, ghost: GhostId, limits: Resources, priority: Priority) -> Facts:
        record = self._records.read(ghost)
        machine = await self._find(ghost)
        if record is None or machine is None or not machine.alive:
            raise self._unknown(ghost)
        if machine.saved:
            return {"not_limited": "it is on the disk: limits are set when it is called back"}
        wanted = machine_limits(
            limits, priority, memory_bytes=self._plan.memory_bytes, cpu_cores=self._plan.cpu_cores,
            core_megahertz=self._host.megahertz if self._host else 0,
        )  # fmt: skip
        can = self.can
        if machine.frozen:
            can = replace(can, guest_agent=False) if not can.guest_agent else can
        missing = await self._connection.call(
            lambda c: apply_limits(
                binding(), c.lookupByName(self._name(ghost)), can, wanted, record.card, self._connection.uri
            )
        )
        return {"not_limited": ", ".join(missing)} if missing else {}

    async def _freeze(self, ghost: GhostId) -> Facts:
        _, machine = await self._living(ghost)
        if not machine.frozen:
            await self._on(ghost, lambda domain: domain.suspend())
        return {}

    async def _thaw(self, ghost: GhostId) -> Facts:
        record, machine = await self._living(ghost)
        if not machine.frozen and not machine.halted:
            return {}
        await self._on(ghost, lambda domain: domain.create() if machine.saved else domain.resume())
        if machine.saved and self.can.console:
            await self._await_screen(self._records.places(ghost).rfb)
        if self.can.guest_agent:
            await self._wake_inside(record)
        return {"path": "restored" if machine.saved else "resumed"}

    async def _wake_inside(self, record: MachineRecord) -> None:
        """The machine's clock stood still, and a home may have come while it slept."""
        guest = self._guest(record.ghost)
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
        record, machine = await self._living(ghost)
        if machine.saved:
            return {"reclaimed_bytes": 0.0, "why": "it is on the disk already"}
        if not self.can.managed_save:
            return {"reclaimed_bytes": 0.0, "why": f"{self.can.title} cannot save machines"}
        if record.home == "mounted":
            return {"reclaimed_bytes": 0.0, "why": "QEMU does not save a machine that has a folder of the host mounted"}
        flags = binding().VIR_DOMAIN_SAVE_PAUSED if self.can.driver in {"qemu", "test"} else 0
        found = [one for one in await self.observe() if one.ghost == ghost]
        await self._on(ghost, lambda domain: domain.managedSave(flags), SAVE_TIMEOUT_S)
        return {"reclaimed_bytes": float(found[0].memory_bytes) if found else 0.0}

    async def _restore(self, ghost: GhostId) -> Facts:
        """Memory back from the disk; the machine stays frozen."""
        _, machine = await self._living(ghost)
        if not machine.saved:
            return {"called_back_bytes": 0.0}
        flags = binding().VIR_DOMAIN_START_PAUSED
        await self._on(ghost, lambda domain: domain.createWithFlags(flags), SAVE_TIMEOUT_S)
        after = await self._find(ghost)
        return {"called_back_bytes": float(after.memory_bytes) if after else 0.0}

    async def _destroy(self, ghost: GhostId) -> None:
        name, can = self._name(ghost), self.can

        def work(connection: Any) -> None:
            libvirt = binding()
            try:
                domain = connection.lookupByName(name)
                if domain.isActive():
                    domain.destroy()
                undefine = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE if can.managed_save else 0
                if can.snapshots and can.driver in {"qemu", "test"}:
                    undefine |= libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                domain.undefineFlags(undefine)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
            if can.disks != "none":
                for kind in ("qcow2", "vmdk"):
                    remove_disk(connection, self._plan, disk_name(self._plan.pool, ghost, kind))

        await self._connection.call(work)
        await asyncio.to_thread(self._records.remove, ghost)

    async def _quietly_destroy(self, ghost: GhostId) -> None:
        try:
            await self._destroy(ghost)
        except EngineError:
            return

    # Snapshots, for operators

    async def take_snapshot(self, ghost: GhostId, name: str, why: str = "") -> None:
        """Keep the machine's disk and memory as they are now under a name; raises `NotSupported` and typed errors."""
        record, _ = await self._living(ghost)
        self._need_snapshots(record)
        await self._on(ghost, lambda domain: domain.snapshotCreateXML(snapshot_xml(name, why), 0), SAVE_TIMEOUT_S)

    async def snapshots(self, ghost: GhostId) -> Sequence[str]:
        """The names of a ghost's snapshots, the oldest first."""
        await self._living(ghost)
        names = await self._on(ghost, lambda domain: [one.getName() for one in domain.listAllSnapshots(0)])
        return tuple(names)

    async def revert(self, ghost: GhostId, name: str) -> None:
        """Go back to a snapshot; raises `NotFound` for an unknown one."""
        record, _ = await self._living(ghost)
        self._need_snapshots(record)
        await self._on(
            ghost, lambda domain: domain.revertToSnapshot(domain.snapshotLookupByName(name, 0), 0), SAVE_TIMEOUT_S
        )

    async def remove_snapshot(self, ghost: GhostId, name: str) -> None:
        """Forget a snapshot; raises `NotFound` for an unknown one."""
        await self._living(ghost)
        await self._on(ghost, lambda domain: domain.snapshotLookupByName(name, 0).delete(0), SAVE_TIMEOUT_S)

    def _need_snapshots(self, record: MachineRecord) -> None:
        if not self.can.snapshots:
            raise NotSupported(f"{self.can.title} has no snapshots.", "docs/reference/libvirt-drivers.md says what can.")
        if record.home == "mounted":
            raise NotSupported(
                f"Ghost {record.ghost} has its user's home mounted; QEMU keeps no memory of such a machine.",
                "Take snapshots before a home is attached.",
            )

    # Looking

    async def _on(self, ghost: GhostId, work: Callable[[Any], Any], timeout_s: float = 60.0) -> Any:
        return await self._connection.call(lambda c: work(c.lookupByName(self._name(ghost))), timeout_s)

    async def _find(self, ghost: GhostId) -> MachineState | None:
        try:
            found: MachineState = await self._on(ghost, lambda domain: look(domain, self.can))
        except NotFound:
            return None
        return found

    async def _living(self, ghost: GhostId) -> tuple[MachineRecord, MachineState]:
        """The ghost's record and machine; raises `NotFound` unless both are there and alive."""
        record, machine = self._records.read(ghost), await self._find(ghost)
        if record is None or machine is None or not machine.alive:
            raise self._unknown(ghost)
        return record, machine

    def _unknown(self, ghost: GhostId) -> NotFound:
        return NotFound(f"There is no ghost {ghost} on the host.", "It was destroyed, or never built.")

    def _guest(self, ghost: GhostId) -> Guest:
        return Guest(self._connection, self._name(ghost))

    def _the_bases(self) -> Bases:
        if self._bases is None:
            raise EngineError("The libvirt engine has not been started.")
        return self._bases

    def _qemu_uid(self) -> int:
        return self._host.qemu_uid if self._host is not None else os.geteuid()

    def endpoint(self, ghost: GhostId) -> Endpoint:
        """Where the desktop answers; raises `NotFound`."""
        places, record = self._records.places(ghost), self._records.read(ghost)
        try:
            token = (self._run_dir / ghost / "agent.token").read_text()
        except OSError:
            token = ""
        if record is None or not token:
            raise self._unknown(ghost)
        return Endpoint(str(places.rfb), str(places.agent), token, record.agent_uid)

    def abilities(self) -> Sequence[Ability]:
        """What the host lets us do; before `start` it is asked now, in this thread."""
        uri = self._connection.uri
        host = self._host
        if host is None:
            try:
                host = typed(lambda: self._look_once(uri), uri)
            except GhostdeskError as problem:
                return (problem_ability(problem),)
        can = without(host.can, remote=is_remote(uri))
        return abilities_of(host, can if host.qemu_uid == 0 else replace(can, homes=False), self._network)

    def _look_once(self, uri: str) -> Host:
        connection = open_connection(uri)
        try:
            host = read_host(connection, self._plan.architecture)
            find_image(connection, self._plan)
            return host
        finally:
            connection.close()

    def capacity(self) -> Resources:
        """What the host has in all, as read at the start."""
        host = self._host
        return Resources(host.cpu_cores, host.memory_bytes) if host is not None else Resources()

    async def conditions(self) -> HostConditions:
        """The host's memory and the pool's room, as far as libvirt tells."""
        total = self.capacity().memory_bytes
        problems = ["libvirt tells no pressure"]
        faults = tuple(
            HostFault("disk-full", f"The host stopped ghost {ghost}: its disk cannot be written") for ghost in self._halted
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
            if self._host is not None and not keep_ghosts:
                ghosts = {one.ghost for one in await self.observe()} | set(self._records.ghosts())
                outcomes = await asyncio.gather(*(self.apply(Destroy(ghost)) for ghost in ghosts))
                if failed := [outcome.error for outcome in outcomes if outcome.error is not None]:
                    raise failed[0]
        finally:
            await self._connection.close()


__all__ = ["LibvirtEngine", "LibvirtSettings", "Unreachable"]
