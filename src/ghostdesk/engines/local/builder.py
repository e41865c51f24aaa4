"""Building one ghost and taking one down: the steps, in the order that a crash at any point allows to be mended."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ghostdesk.engines.local import network, pagecache, samepage
from ghostdesk.engines.local.cgroups import Cgroups
from ghostdesk.engines.local.clone_plan import ImageBroken
from ghostdesk.engines.local.gpu import grant_from_text, grant_to_text
from ghostdesk.engines.local.gpu_shares import GpuShares
from ghostdesk.engines.local.homes import Homes, make_home
from ghostdesk.engines.local.images import Image, Images
from ghostdesk.engines.local.io_priority import with_priority
from ghostdesk.engines.local.launch import (
    Patience,
    check_socket,
    drop_rights,
    log_tail,
    start_sandbox,
    wait_for_screen,
    wait_until_set_up,
)
from ghostdesk.engines.local.limits import Limiter, told
from ghostdesk.engines.local.mounts import bind_shared, mounted_under, unmount_all_under
from ghostdesk.engines.local.processes import (
    boot_id,
    descendants,
    is_alive,
    kill_and_wait,
    read_process,
    reap,
    uids_in_use,
    with_argument,
)
from ghostdesk.engines.local.records import (
    GhostPaths,
    GhostRecord,
    Records,
    clear_disk_errors,
    open_private,
)
from ghostdesk.engines.local.sandbox import (
    SandboxPlan,
    bwrap_arguments,
    environment,
    generated_etc,
    usr_links,
)
from ghostdesk.engines.turns import Facts
from ghostdesk.ghosts.commands import Build
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import BuildFailed, EngineError, GhostdeskError, InsufficientCapacity
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import Priority, Resources

UID_BASE, UID_COUNT = 210_000, 10_000
"""The host's uids that ghosts run under, one each, when we are root; the last is for desktops that are imaged."""
SESSION = ("/bin/bash", "/opt/ghostdesk/desktop/session.sh")


@dataclass(frozen=True)
class Builder:
    """Makes and unmakes ghosts.

    Args:
        records: where everything is.
        cgroups: their control groups.
        limiter: what they may use.
        gpus: what they hold of the GPUs.
        homes: users' homes.
        runtime: the folder that is bound at /opt/ghostdesk.
        build_timeout_s: how long a screen may take to answer.
        network: "outbound" or "isolated": the most that a template may get.
        shared_slots: whether homes are mounted into slots, which then must be shared mounts.
        uid_lock: held while a uid, and a share of a GPU, is chosen.
        merge: whether ghosts are started with same-page merging, until they are bound.
        images: images of running desktops to restore ghosts from; None where that cannot be.
    """

    records: Records
    cgroups: Cgroups
    limiter: Limiter
    gpus: GpuShares
    homes: Homes
    runtime: Path
    build_timeout_s: float
    network: str
    shared_slots: bool
    uid_lock: threading.Lock
    merge: bool = False
    images: Images | None = None

    def build(self, command: Build) -> Facts:
        """Start a desktop and wait for its screen; on failure nothing of it stays.

        Returns:
            Facts: the limits that this host cannot enforce, and how the network is.

        Raises:
            BuildFailed: with the end of the session's log.
            InsufficientCapacity: the disk is full, or no uid is free.
        """
        ghost = command.ghost
        record = self.records.read(ghost)
        if record is not None and self.is_alive(record):
            return {"path": "already"}
        self.destroy(ghost)
        try:
            return self._build(command)
        except (GhostdeskError, OSError) as error:
            tail = log_tail(self.records.paths(ghost).log)
            with contextlib.suppress(GhostdeskError, OSError):
                self.destroy(ghost)
            if isinstance(error, BuildFailed) and tail and tail not in error.cause:
                raise BuildFailed(f"{error.cause} Its log ends: {tail}", error.mend) from error
            if isinstance(error, GhostdeskError):
                raise
            raise BuildFailed(f"The desktop cannot be built: {error}") from error

    def _build(self, build: Build) -> Facts:
        ghost, template = build.ghost, build.template
        paths = self.records.paths(ghost)
        outbound = "outbound" in {self.network} & {template.network}
        record, gpu_facts = self._claim(ghost, template, outbound, build.limits.gpu_share)
        image = self.image_for(record, template)
        self._make_folders(record, paths, outbound)
        self.cgroups.create(ghost, record.uid)
        problems, cut = self.limiter.prepare(record, build.limits, build.priority)
        problems |= self.gpus.limit(record)
        record, problem, facts = self.come_up(record, build.limits, build.priority, image)
        return {"network": record.network, **facts, **gpu_facts, **told(problems | problem, cut)}

    def image_for(self, record: GhostRecord, template: DesktopTemplate) -> Image | None:
        """The image to restore a ghost from; none for one that holds a GPU, as its devices are not in any."""
        return None if self.images is None or record.gpu else self.images.of(template)

    def come_up(
        self, record: GhostRecord, limits: Resources, priority: Priority, image: Image | None
    ) -> tuple[GhostRecord, dict[str, str], Facts]:
        """Start the session of a ghost whose folders and groups are there, and wait for its screen.

        From an image, where there is one; when that fails it is dropped, and the session is started cold.

        Returns:
            The record, as it was written; limits that are not enforced; which way it was ("path").
        """
        facts: Facts = {"path": "cold"}
        if os.geteuid() == 0:
            self.records.paths(record.ghost).run.chmod(0o770)  # its session makes a socket there, then it is closed
        if image is not None and self.images is not None:
            try:
                return self._restore(record, limits, priority, self.images, image)
            except (ImageBroken, BuildFailed) as error:
                self.images.drop(image.folder, str(error))
                self.end_all(record)
                facts |= {"image_problem": error.cause}
        record, problem = self._start(record, limits, priority)
        return record, problem, facts

    def _restore(
        self, record: GhostRecord, limits: Resources, priority: Priority, images: Images, image: Image
    ) -> tuple[GhostRecord, dict[str, str], Facts]:
        paths = self.records.paths(record.ghost)
        images.generic_home(image, paths, record.uid)
        with with_priority(self.limiter.meant(priority)):
            pid, start_ticks = images.restore(image, record, paths, self._patience(record.ghost))
        # Its namespaces were made by us, so only root may enter them to bring the way out.
        record = replace(record, pid=pid, start_ticks=start_ticks)
        record, problem = self._running(record, limits, network_uid=os.geteuid())
        return record, problem, {"path": "clone"}

    def _start(self, record: GhostRecord, limits: Resources, priority: Priority) -> tuple[GhostRecord, dict[str, str]]:
        ghost, paths = record.ghost, self.records.paths(record.ghost)
        plan = self.plan(record, paths)
        launcher = samepage.LAUNCHER if self.merge else ()
        command = [*drop_rights(record.uid, plan.gpu.groups), *launcher, *bwrap_arguments(plan, SESSION)]
        with with_priority(self.limiter.meant(priority)):
            _, pid, start_ticks = start_sandbox(
                command,
                env=environment(plan),
                log=paths.log,
                cgroup_files=self.cgroups.entrances(ghost),
                patience=self._patience(ghost),
            )
        record = replace(record, pid=pid, start_ticks=start_ticks)
        self.records.write(record)
        wait_until_set_up(pid, start_ticks, self._patience(ghost), time.sleep)
        return self._running(record, limits, network_uid=record.uid)

    def _running(
        self, record: GhostRecord, limits: Resources, *, network_uid: int
    ) -> tuple[GhostRecord, dict[str, str]]:
        """What every session gets once its first process runs: a record, a network, a closed run folder."""
        ghost, paths = record.ghost, self.records.paths(record.ghost)
        problem: dict[str, str] = {}
        record = replace(record, resting=False)
        self.records.write(record)
        if record.network == "outbound":
            entrances = self.cgroups.entrances(ghost, "net")
            patience = self._patience(ghost)
            slirp, slirp_start = network.start_network(record.pid, network_uid, paths.log, entrances, patience)
            record = replace(record, network_pid=slirp, network_start_ticks=slirp_start)
            self.records.write(record)
            problem = self.limiter.network(record, limits)
        wait_for_screen(paths.rfb, record.pid, record.start_ticks, self._patience(ghost), time.sleep)
        self._close_run_folder(record, paths)
        return record, problem

    def plan(self, record: GhostRecord, paths: GhostPaths) -> SandboxPlan:
        """What its sandbox is started with."""
        return SandboxPlan(
            ghost=record.ghost,
            paths=paths,
            runtime=self.runtime,
            width_px=record.width_px,
            height_px=record.height_px,
            cgroup=self.cgroups.freezing(record.ghost),
            cgroup_kind=self.cgroups.kind,
            usr_merged=usr_links(),
            firefox_policies=not Path("/etc/firefox").exists(),
            gpu=self.gpus.gpus.view(grant_from_text(record.gpu)),
        )

    def _patience(self, ghost: GhostId) -> Patience:
        """For one step of a build."""
        before_s = self.cgroups.cpu_wait_s(ghost)
        return Patience(self.build_timeout_s, lambda: self.cgroups.cpu_wait_s(ghost) - before_s)

    def _claim(
        self, ghost: GhostId, template: DesktopTemplate, outbound: bool, gpu_share: float
    ) -> tuple[GhostRecord, Facts]:
        """Choose the ghost's uid, and its share of a GPU, and put both on record before anything else exists."""
        paths = self.records.paths(ghost)
        if gpu_share:
            self.gpus.gpus.look(now=True)
        with self.uid_lock, clear_disk_errors(paths.record):
            uid = self._free_uid() if os.geteuid() == 0 else os.geteuid()
            grant, facts = self.gpus.choose(gpu_share)
            paths.folder.mkdir(mode=0o750, exist_ok=True)
            record = GhostRecord(
                ghost=ghost,
                template=template.template,
                network="outbound" if outbound else "isolated",
                uid=uid,
                boot=boot_id(),
                merging=self.merge,
                created_s=time.time(),
                gpu=grant_to_text(grant),
                width_px=template.width_px,
                height_px=template.height_px,
            )
            self.records.write(record)
        return record, facts

    def _free_uid(self) -> int:
        taken = {record.uid for name in self.records.ghosts() if (record := self.records.read(name)) is not None}
        taken |= uids_in_use()
        # Each state folder begins elsewhere: two engines on one host do not take the same one in the same moment.
        first = zlib.crc32(os.fsencode(os.path.realpath(self.records.state_dir)))
        for uid in (UID_BASE + (first + step) % (UID_COUNT - 1) for step in range(UID_COUNT - 1)):
            if uid not in taken:
                return uid
        raise InsufficientCapacity(f"All {UID_COUNT} uids for ghosts are in use.", "Destroy ghosts that nobody needs.")

    def _make_folders(self, record: GhostRecord, paths: GhostPaths, outbound: bool) -> None:
        with clear_disk_errors(paths.record):
            paths.run.mkdir(mode=0o770, exist_ok=True)
            paths.slot.mkdir(mode=0o755, exist_ok=True)
            paths.etc.mkdir(mode=0o755, exist_ok=True)
            if os.geteuid() == 0:
                # Root's, and open to this ghost's group alone: the ghost may pass, and change nothing but its socket.
                for folder, mode in ((paths.folder, 0o750), (paths.run, 0o770)):
                    os.chown(folder, 0, record.uid)
                    folder.chmod(mode)
            with open_private(paths.token, 0o400) as stream:
                stream.write(secrets.token_urlsafe(32))
            if os.geteuid() == 0:
                os.chown(paths.token, record.uid, record.uid)
            for name, text in generated_etc(record.ghost, secrets.token_hex(16), outbound=outbound).items():
                (paths.etc / name).write_text(text)
            make_home(paths.home, record.uid)
        if self.shared_slots:
            bind_shared(paths.slot)

    def _close_run_folder(self, record: GhostRecord, paths: GhostPaths) -> None:
        """Take the ghost's right to put anything else in its run folder, then see that the socket is a real one.

        Otherwise its user could put a link to another ghost's socket there, and the control plane would follow it.
        """
        if os.geteuid() == 0:
            paths.run.chmod(0o750)
        check_socket(paths.rfb, record.uid)

    def is_alive(self, record: GhostRecord) -> bool:
        """Whether the ghost's first process runs, or it rests as an image, and needs none."""
        return record.boot == boot_id() and (record.resting or is_alive(record.pid, record.start_ticks))

    def processes(self, record: GhostRecord) -> list[int]:
        """The host's pids of everything in the ghost."""
        if record.resting or not self.is_alive(record):
            return []
        return [process.pid for process in descendants(record.pid) if process.state not in "ZX"]

    def remember_files(self, record: GhostRecord) -> None:
        """Keep the list of files that a fresh ghost has mapped, for `CacheTemplate`; once a template."""
        path = pagecache.list_path(self.records.state_dir, record.template)  # type: ignore[arg-type]
        if not path.exists():
            pagecache.save_list(path, pagecache.mapped_files(self.processes(record)))

    def destroy(self, ghost: GhostId) -> None:
        """End the ghost and remove all that is its own, whatever is left of it. Users' homes stay whole."""
        record = self.records.read(ghost)
        paths = self.records.paths(ghost)
        if record is not None and record.boot == boot_id():
            self.limiter.let_go(record)
            self._kill(record)
        if record is None or record.pid == 0:
            kill_strays(paths)
        self._end_group(ghost)
        self.cgroups.remove(ghost)
        if not paths.folder.exists() and not paths.run.exists():
            return
        unmount_all_under(paths.folder)
        if record is not None:
            self.homes.give_back(record)
        elif paths.home.is_dir() and any(paths.home.iterdir()):
            self.homes.rescue(paths, "unknown")
        if mounted_under(paths.folder):
            raise EngineError(f"Something is mounted under {paths.folder} again.", "Unmount it and destroy once more.")
        remove_folder(paths.run)
        remove_folder(paths.folder, last=paths.record.name)

    def end_all(self, record: GhostRecord) -> None:
        """End every process of a ghost, and nothing else of it; raises `EngineError` when one stays."""
        if record.pid:
            self._kill(record)
        if self.cgroups.kind != "none":
            with contextlib.suppress(EngineError):  # it has no group
                self.cgroups.thaw(record.ghost)
        self._end_group(record.ghost)

    def _end_group(self, ghost: GhostId) -> None:
        for pid in self.cgroups.pids(ghost):
            if (process := read_process(pid)) is not None:
                kill_and_wait(pid, process.start_ticks)

    def _kill(self, record: GhostRecord) -> None:
        """SIGKILL to the first process ends the whole PID namespace (pid_namespaces(7))."""
        parent = process.parent if (process := read_process(record.pid)) and self.is_alive(record) else 0
        if self.cgroups.kind == "v1" and self.cgroups.frozen(record.ghost):
            # A v1-frozen process dies only once thawed.
            if (first := read_process(record.pid)) and first.start_ticks == record.start_ticks:
                os.kill(record.pid, 9)
            self.cgroups.thaw(record.ghost)
        if not kill_and_wait(record.pid, record.start_ticks):
            raise EngineError(
                f"Ghost {record.ghost} does not die.", "A process in it may be stuck on a device or disk."
            )
        if parent > 1:
            _wait_gone(parent)
        kill_and_wait(record.network_pid, record.network_start_ticks)


def _wait_gone(monitor: int, timeout_s: float = 2.0) -> None:
    """Wait for bubblewrap's outer process, which ends once the inner one has, and collect it if it is ours."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        reap(monitor)
        process = read_process(monitor)
        if process is None or process.state in "ZX":
            break
        time.sleep(0.002)
    reap(monitor)


def kill_strays(paths: GhostPaths) -> None:
    """End what a crash left running between the start of the sandbox and its record: known by the slot it binds."""
    for monitor in with_argument(str(paths.slot)):
        family = descendants(monitor.pid)
        for process in family[1:2]:
            for slirp in with_argument(f"/proc/{process.pid}/ns/net"):
                kill_and_wait(slirp.pid, slirp.start_ticks)
        for process in family:
            kill_and_wait(process.pid, process.start_ticks)


def remove_folder(folder: Path, last: str = "") -> None:
    """Remove a folder that holds no mount; the entry `last` goes last, so that a crash on the way leaves it."""
    if not folder.is_dir():
        return
    entries: Sequence[Path] = sorted(folder.iterdir(), key=lambda entry: entry.name == last)
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
    folder.rmdir()
