"""The local engine: carries out commands on this host. See docs/explanation/local-engine.md for the design."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ghostdesk.engines.local import abilities, memory, network, pagecache, power_meter, prefetching, samepage
from ghostdesk.engines.local.builder import Builder
from ghostdesk.engines.local.cgroup_writer import CgroupWriter
from ghostdesk.engines.local.cgroups import Cgroups, detect
from ghostdesk.engines.local.clones import CloneOptions, Clones
from ghostdesk.engines.local.conditions import ConditionsReader
from ghostdesk.engines.local.disks import block_device_of
from ghostdesk.engines.local.gpu import SHARINGS
from ghostdesk.engines.local.gpu_shares import GpuShares
from ghostdesk.engines.local.gpus import Gpus
from ghostdesk.engines.local.home_files import LocalHomeFiles
from ghostdesk.engines.local.homes import Homes, idmap_works
from ghostdesk.engines.local.launch import log_tail
from ghostdesk.engines.local.limits import Limiter
from ghostdesk.engines.local.mounts import unmount_all_under
from ghostdesk.engines.local.namespaces import open_mapped_namespace
from ghostdesk.engines.local.power_meter import PowerMeter, PowerOptions, make_meter
from ghostdesk.engines.local.processes import continue_all, descendants, is_alive, stop_all
from ghostdesk.engines.local.reclaim import reclaim
from ghostdesk.engines.local.records import GhostRecord, Records, clear_disk_errors, write_atomically
from ghostdesk.engines.local.remote_homes import RemoteHomes, RemoteSource
from ghostdesk.engines.local.runtime import install_runtime
from ghostdesk.engines.local.threads import to_its_end
from ghostdesk.engines.local.zram import zram_used_bytes
from ghostdesk.engines.protocol import Ability, Endpoint, ObservedGhost
from ghostdesk.engines.turns import Facts, Turns
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
from ghostdesk.kernel.conditions import HostConditions, PowerReading
from ghostdesk.kernel.errors import ConfigError, EngineError, GhostdeskError, NotFound
from ghostdesk.kernel.ids import GhostId, ghost_id, user_id
from ghostdesk.kernel.resources import Priority, Resources

_T = TypeVar("_T")
BUILDS_AT_ONCE = 2
CALL_BACKS_AT_ONCE = 2
"""Pages of foreseen wakes; more at a time would only make the likeliest wait for the others."""
PERSON_CALL_BACK_AFTER_S = 0.3
"""The first frame fetches what it needs by itself, and is twice as slow while everything else is fetched beside it."""
MERGE_AFTER_S = 3.0
"""A desktop that was just built changes its pages too fast to be worth merging."""
THREADS, URGENT_THREADS = 8, 4
"""None of them is niced: a niced thread that is preempted while it holds Python's lock would hold up all others."""
URGENT = SetLimits | Thaw | Freeze | AttachHome | CallBackMemory
"""What somebody may be waiting for: it has threads of its own, so that no builds or reclaims stand before it."""
NETWORKS = ("outbound", "isolated")


class LocalEngine:
    """Ghosts as processes of this host, in namespaces of their own.

    Args:
        state_dir: records, homes and the runtime; other uids must be able to pass (mode 0711).
        run_dir: sockets; the same, and short.
        cgroup_mode: "auto", "v2", "hybrid", "v1" or "none".
        build_timeout_s: how long a new desktop's screen may take to answer.
        network: "outbound" or "isolated"; a template can ask for less, not for more.
        pin_cores: whether desktops limited to a whole number of cores are pinned to some (see `cpu_pins`).
        ghosts_yield: whether ghosts run only where nobody else wants to, or compete like people's desktops.
        same_page_merging: whether like pages of ghosts that are nobody's yet are merged, where that can be ended.
        remote_homes: where homes are on a server (see `remote_homes.RemoteSource`).
        gpu_sharing: "auto", "whole" (whole devices and MIG slices alone) or "off".
        power: what the operator says of the host's power.
        clones: whether generic desktops are restored from images of running ones, and rest as such; None is never.
    """

    def __init__(
        self,
        state_dir: Path,
        run_dir: Path,
        *,
        cgroup_mode: str = "auto",
        build_timeout_s: float = 20.0,
        network: str = "outbound",
        pin_cores: bool = False,
        ghosts_yield: bool = True,
        same_page_merging: bool = False,
        remote_homes: RemoteSource | None = None,
        gpu_sharing: str = "auto",
        power: PowerOptions | None = None,
        clones: CloneOptions | None = None,
    ) -> None:
        if gpu_sharing not in SHARINGS:
            raise ConfigError(f"gpu_sharing = {gpu_sharing!r} is unknown.", f"Use one of: {', '.join(SHARINGS)}.")
        if network not in NETWORKS:
            raise ConfigError(f"network = {network!r} is unknown.", f"Use one of: {', '.join(NETWORKS)}.")
        self._records = Records(state_dir.absolute(), run_dir.absolute())
        self._cgroup_mode = cgroup_mode
        self._build_timeout_s = build_timeout_s
        self._wanted_network = network
        self._pin_cores = pin_cores
        self._ghosts_yield = ghosts_yield
        self._want_merging = same_page_merging
        self._scanning: asyncio.Task[None] | None = None
        self._merger = samepage.Merger(self._merged_and_owned)
        self._gpus = Gpus(
            sharing=gpu_sharing, mps_pipe=os.environ.get("CUDA_MPS_PIPE_DIRECTORY"), one_uid=os.geteuid() != 0
        )
        self._power = power or PowerOptions()
        self._meter: PowerMeter | None = None
        self._last_power: PowerReading | None = None
        self._idmap_problem = ""
        kept = self._records.state_dir / "remote-cache"
        self._remote_homes = RemoteHomes(remote_homes, kept) if remote_homes is not None else None
        self._home_files = LocalHomeFiles(self._records, remote=self._remote_homes)
        self._started: Builder | None = None
        self._threads: dict[bool, ThreadPoolExecutor] = {}
        self._conditions = ConditionsReader(self._records.state_dir)
        self.clones = Clones(clones, self._records)
        self._builds = asyncio.Semaphore(BUILDS_AT_ONCE)
        self._call_backs = asyncio.Semaphore(CALL_BACKS_AT_ONCE)
        self._thawed: dict[GhostId, threading.Event] = {}
        self._turns = Turns()
        self.prefetcher: prefetching.LocalPrefetcher | None = None
        """Loads launch sets ahead of launches; None before `start`, and without root."""

    async def start(self) -> None:
        """Prepare the host; raises `MissingRequirement` when desktops cannot run, `EngineError` for bad folders."""
        await self._in_thread(self._start)

    def _start(self) -> None:
        abilities.check_requirements()
        records = self._records
        records.check_socket_paths()
        self._make_folders()
        trees = detect(Path("/proc/self/mountinfo").read_text(), self._cgroup_mode, pin=self._pin_cores)
        name = hashlib.sha256(os.fsencode(os.path.realpath(records.state_dir))).hexdigest()[:8]
        cgroups = Cgroups(trees, f"ghostdesk-{name}")
        cgroups.prepare()
        host = abilities.capacity()
        writer = CgroupWriter(cgroups, lambda: block_device_of(records.homes_dir), host.cpu_cores)
        self._idmap_problem = idmap_works(records.state_dir, open_mapped_namespace)
        homes = Homes(records, idmap=not self._idmap_problem, remote=self._remote_homes)
        self._forget_copies()
        uid_lock = threading.Lock()
        gpus = GpuShares(self._gpus, records, cgroups, uid_lock)
        self._gpus.look(gpus.holdings(), now=True)
        self._started = Builder(
            records=records,
            cgroups=cgroups,
            limiter=Limiter(cgroups, writer, host, self._ghosts_yield),
            gpus=gpus,
            homes=homes,
            runtime=install_runtime(records.state_dir / "runtime"),
            build_timeout_s=self._build_timeout_s,
            network="isolated" if network.unusable() else self._wanted_network,
            shared_slots=not self._idmap_problem or self._remote_homes is not None,
            uid_lock=uid_lock,
            merge=self._want_merging and not samepage.problem(),
        )
        self._started = self.clones.start(self._started)
        if os.geteuid() == 0:
            self.prefetcher = prefetching.LocalPrefetcher(records, self._started.processes)
        for ghost in list(records.ghosts()):
            record = records.read(ghost)
            if record is not None and not self._started.is_alive(record):
                homes.give_back(record)

    def _forget_copies(self) -> None:
        """Remove what is kept of remote homes of those who deleted their data while they used it."""
        if self._remote_homes is not None:
            found = [self._records.read(ghost) for ghost in self._records.ghosts()]
            self._remote_homes.sweep([one.owner for one in found if one is not None and one.owner is not None])

    def _make_folders(self) -> None:
        records = self._records
        for folder, mode in (
            (records.state_dir, 0o711),
            (records.ghosts_dir, 0o711),
            (records.homes_dir, 0o700),
            (records.state_dir / "runtime", 0o755),
            (records.run_dir, 0o711),
        ):
            with clear_disk_errors(folder):
                try:
                    folder.mkdir(mode=mode, parents=True, exist_ok=True)
                    folder.chmod(folder.stat().st_mode | mode)
                except (PermissionError, FileExistsError, NotADirectoryError) as error:
                    raise EngineError(f"{folder} cannot be used: {error.strerror}.", "Give another folder.") from error

    @property
    def _builder(self) -> Builder:
        if self._started is None:
            raise EngineError("The local engine has not been started.")
        return self._started

    async def _in_thread(self, work: Callable[[], _T], *, urgent: bool = False) -> _T:
        if urgent not in self._threads:
            count, name = (URGENT_THREADS, "local-engine-urgent") if urgent else (THREADS, "local-engine")
            self._threads[urgent] = ThreadPoolExecutor(max_workers=count, thread_name_prefix=name)
        return await to_its_end(self._threads[urgent], work)

    async def observe(self) -> Sequence[ObservedGhost]:
        """Every ghost that has a folder, alive or not; half-built and half-destroyed ones show as dead."""
        return await self._in_thread(self._observe)

    def _observe(self) -> list[ObservedGhost]:
        builder, found = self._builder, []
        self._gpus.look(builder.gpus.holdings())
        for ghost in self._records.ghosts():
            record = self._records.read(ghost)
            if record is None:
                found.append(ObservedGhost(ghost, alive=False, frozen=False, owner=None, template=""))
                continue
            alive = builder.is_alive(record)
            used_bytes, cpu_s = self._use(record) if alive else (0, 0.0)
            rests = alive and record.resting
            frozen = rests or (alive and self._is_frozen(record))
            seen = ObservedGhost(ghost, alive, frozen, record.owner, record.template, used_bytes, cpu_s, rests)
            found.append(seen)
        return found

    def _use(self, record: GhostRecord) -> tuple[int, float]:
        used_bytes, cpu_s = self._builder.cgroups.use(record.ghost)
        if not used_bytes:
            processes = descendants(record.pid)
            used_bytes = sum(process.private_bytes for process in processes)
            cpu_s = cpu_s or sum(process.cpu_s for process in processes)
        return used_bytes, cpu_s

    async def apply(self, command: EngineCommand) -> Outcome:
        """Carry out one command; commands for one ghost one after another, and two builds at a time.

        Only `CallBackMemory` lets nobody wait, as a thaw in the middle of it is welcome. Foreseen wakes are called back
        in the order in which they are asked for, which is that of their probability.
        """
        if isinstance(command, CallBackMemory) and not self.clones.rests(command.ghost):
            return await self._apply_call_back(command, time.perf_counter())
        return await self._turns.take(command, lambda: self._take_turn(command))

    async def _take_turn(self, command: EngineCommand) -> Facts:
        if not isinstance(command, Build):
            return await self._in_thread(lambda: self._carry_out(command), urgent=isinstance(command, URGENT))
        async with self._builds:
            facts = await self._in_thread(lambda: self._carry_out(command))
        self._merge_soon()
        self.clones.make_soon(command.template, self._in_thread)
        return facts

    async def _apply_call_back(self, command: CallBackMemory, started_s: float) -> Outcome:
        """Before a foreseen wake everything, until a thaw comes; for a person, what is left after their first frame."""
        thawed = threading.Event()
        try:
            if command.priority is Priority.GHOST:
                async with self._call_backs:
                    self._thawed[command.ghost] = thawed
                    facts = await self._in_thread(lambda: self._call_back(self._living(command.ghost), thawed))
            else:
                await asyncio.sleep(PERSON_CALL_BACK_AFTER_S)
                facts = await self._in_thread(lambda: self._call_back(self._living(command.ghost), thawed))
        except GhostdeskError as error:
            return Outcome(command, error, time.perf_counter() - started_s)
        finally:
            if self._thawed.get(command.ghost) is thawed:
                del self._thawed[command.ghost]
        return Outcome(command, None, time.perf_counter() - started_s, facts)

    def _carry_out(self, command: EngineCommand) -> Facts:  # noqa: PLR0911 - one line a command
        ghost_id(command.ghost)
        if (facts := self.clones.instead(command)) is not None:
            return facts
        match command:
            case CacheTemplate():
                return self._cache(command)
            case Build():
                return self._builder.build(command)
            case AttachHome():
                return self._attach(command)
            case SetLimits():
                return self._set_limits(command)
            case Freeze():
                return self._freeze(self._living(command.ghost))
            case Thaw():
                return self._thaw(self._living(command.ghost))
            case ReclaimMemory():
                return self._reclaim(self._living(command.ghost))
            case CallBackMemory():
                return self._call_back(self._living(command.ghost), threading.Event())
            case Destroy():
                self._builder.destroy(command.ghost)
                self._forget_copies()
                return {}

    def _living(self, ghost: GhostId) -> GhostRecord:
        record = self._records.read(ghost)
        if record is None:
            raise NotFound(f"There is no ghost {ghost} on this host.", "It was destroyed, or never built.")
        if not self._builder.is_alive(record):
            raise NotFound(f"Ghost {ghost} is dead.", "Destroy it and build another.")
        return record

    def _cache(self, command: CacheTemplate) -> Facts:
        files = pagecache.load_list(pagecache.list_path(self._records.state_dir, command.template.template))
        count, total = pagecache.prefetch(files)
        return {"files": float(count), "bytes": float(total)}

    def _attach(self, command: AttachHome) -> Facts:
        user_id(command.user)
        record = self._living(command.ghost)
        others = [other for name in self._records.ghosts() if (other := self._records.read(name)) is not None]
        self._builder.remember_files(record)
        with self._merger.binding() if record.merging else contextlib.nullcontext():
            return {"attached": self._builder.homes.attach(record, command.user, others).attached}

    def _merge_soon(self) -> None:
        """Have like pages of new ghosts merged, once they have settled; one scan serves all that came meanwhile."""
        if self._builder.merge and (self._scanning is None or self._scanning.done()):
            self._scanning = asyncio.create_task(self._merge())

    async def _merge(self) -> None:
        await asyncio.sleep(MERGE_AFTER_S)
        await self._in_thread(self._merger.scan)

    def _merged_and_owned(self) -> bool:
        records = (self._records.read(ghost) for ghost in self._records.ghosts())
        return any(each and each.merging and each.owner and self._builder.is_alive(each) for each in records)

    def _set_limits(self, command: SetLimits) -> Facts:
        record = self._living(command.ghost)
        facts = self._builder.limiter.apply(record, command.limits, command.priority)
        return facts | self._builder.gpus.resize(record, command.limits.gpu_share)

    def _is_frozen(self, record: GhostRecord) -> bool:
        if self._builder.cgroups.kind != "none":
            return self._builder.cgroups.frozen(record.ghost)
        return self._records.paths(record.ghost).frozen.exists()

    def _freeze(self, record: GhostRecord) -> Facts:
        if self._builder.cgroups.kind != "none":
            self._builder.cgroups.freeze(record.ghost)
            return {"by": self._builder.cgroups.kind}
        path = self._records.paths(record.ghost).frozen
        if not path.exists():
            write_atomically(path, json.dumps(stop_all(record.pid)))
        return {"by": "SIGSTOP"}

    def _thaw(self, record: GhostRecord) -> Facts:
        if (calling_back := self._thawed.get(record.ghost)) is not None:
            calling_back.set()
        if self._builder.cgroups.kind != "none":
            self._builder.cgroups.thaw(record.ghost)
            return {}
        path = self._records.paths(record.ghost).frozen
        if path.exists():
            continue_all((int(pid), int(start)) for pid, start in json.loads(path.read_text()))
            path.unlink()
        return {}

    def _reclaim(self, record: GhostRecord) -> Facts:
        if memory.swap_total_bytes() == 0:
            return {"reclaimed_bytes": 0.0, "why": "no swap"}
        pids = self._pids_with_network(record)
        zram_before = zram_used_bytes()
        done = reclaim(self._builder.cgroups.memory_of(record.ghost, pids), pids)
        return {
            "reclaimed_bytes": float(max(0, done.before.anonymous_bytes - done.after.anonymous_bytes)),
            "kept_bytes": float(done.after.anonymous_bytes),
            "cache_bytes": float(max(0, done.before.file_bytes - done.after.file_bytes)),
            "swapped_bytes": float(done.after.swapped_bytes),
            "zram_bytes": float(max(0, zram_used_bytes() - zram_before)),
            "passes": float(done.passes),
            "code": done.verdict.code,
            "why": done.verdict.text,
        }

    def _call_back(self, record: GhostRecord, thawed: threading.Event) -> Facts:
        if memory.swap_total_bytes() == 0:
            return {"called_back_bytes": 0.0}
        pids = self._pids_with_network(record)
        return {"called_back_bytes": float(sum(memory.call_back(pid, thawed.is_set) for pid in pids))}

    def _pids_with_network(self, record: GhostRecord) -> list[int]:
        """Everything of the ghost, and its way out, which runs beside its namespaces."""
        return [*self._builder.processes(record), *([record.network_pid] if self._network_runs(record) else [])]

    def _network_runs(self, record: GhostRecord) -> bool:
        return record.network_pid > 0 and is_alive(record.network_pid, record.network_start_ticks)

    def endpoint(self, ghost: GhostId) -> Endpoint:
        """Where the desktop answers; raises `NotFound`."""
        paths, record = self._records.paths(ghost), self._records.read(ghost)
        try:
            token = paths.token.read_text()
        except OSError:
            token = ""
        if record is None or not token:
            raise NotFound(f"There is no ghost {ghost} on this host.", "It was destroyed, or never built.")
        return Endpoint(str(paths.rfb), str(paths.agent), token, record.uid)

    def home_files(self) -> LocalHomeFiles:
        """Files of the homes on this host (`engines.protocol.HasHomeFiles`)."""
        return self._home_files

    def session_log(self, ghost: GhostId) -> str:
        """The end of what the desktop printed while it came up (`engines.protocol.HasSessionLog`)."""
        return log_tail(self._records.paths(ghost).log)

    def abilities(self) -> Sequence[Ability]:
        """What works on this host and what does not; before `start` without trying to map the ids of a mount."""
        trees = (
            self._started.cgroups.trees
            if self._started
            else detect(Path("/proc/self/mountinfo").read_text(), self._cgroup_mode, pin=self._pin_cores)
        )
        homes = self._records.homes_dir
        disk = block_device_of(next(path for path in (homes, *homes.parents) if path.exists()))
        power = self._last_power
        if self._started is None:
            self._gpus.look()
            power = make_meter(self._power, self._gpus, os.cpu_count() or 1).read_once(0.0, 2.0)
        gpu = self._gpus.ability(self._started.gpus.holdings() if self._started else ())
        told = self.clones.tell(
            *abilities.describe(trees, self._idmap_problem, self._wanted_network, disk),
            gpu,
            *((power_meter.ability(power),) if power is not None else ()),  # not before the first reading
            *samepage.ability(self._want_merging),
            prefetching.ability(self.prefetcher),
        )
        return told if self._started else (abilities.desktops(), *told)

    def capacity(self) -> Resources:
        """What the host has in all."""
        return replace(abilities.capacity(), gpu_share=self._gpus.share_capacity())

    async def conditions(self) -> HostConditions:
        """What the host is like now."""
        return await self._in_thread(self._read_conditions)

    def _read_conditions(self) -> HostConditions:
        found = self._conditions.read()
        if self._meter is None:
            self._gpus.look()
            self._meter = make_meter(self._power, self._gpus, os.cpu_count() or 1)
        self._last_power = self._meter.read(found.cpu_share)
        return replace(found, power=self._last_power)

    async def stop(self, *, keep_ghosts: bool) -> None:
        """Leave the host; with `keep_ghosts` false every ghost, mount, cgroup and socket of ours goes. Homes stay."""
        self._merger.close()
        if self._scanning is not None:
            self._scanning.cancel()
            await asyncio.gather(self._scanning, return_exceptions=True)
        if self.prefetcher is not None:
            await asyncio.to_thread(self.prefetcher.stop)
        await self.clones.stop()
        try:
            if self._started is not None and not keep_ghosts:
                await self._destroy_all()
        finally:
            while self._threads:
                self._threads.popitem()[1].shutdown(wait=True)

    async def _destroy_all(self) -> None:
        names = [*self._records.ghosts(), *map(GhostId, await self._in_thread(self._builder.cgroups.ghosts))]
        outcomes = [await self.apply(Destroy(ghost)) for ghost in dict.fromkeys(names)]
        await self._in_thread(self._leave)
        if failed := [outcome.error for outcome in outcomes if outcome.error is not None]:
            raise failed[0]

    def _leave(self) -> None:
        self._builder.cgroups.remove_parent()
        unmount_all_under(self._records.ghosts_dir)
