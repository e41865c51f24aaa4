"""Making an image: a template desktop is started, left to settle, written by CRIU, and ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.engines.local.builder import SESSION, UID_BASE, UID_COUNT, Builder, kill_strays
from ghostdesk.engines.local.clone_plan import (
    FRESH,
    ImageBroken,
    ImageInfo,
    dump_arguments,
    id_map,
    mount_names,
    root_entries,
)
from ghostdesk.engines.local.homes import make_home
from ghostdesk.engines.local.images import GHOST_FILE, INFO, MAKING, Image, Images, inner_pid
from ghostdesk.engines.local.io_priority import with_priority
from ghostdesk.engines.local.launch import Patience, start_sandbox, wait_until_set_up
from ghostdesk.engines.local.mounts import bind_shared, unmount_all_under
from ghostdesk.engines.local.processes import descendants
from ghostdesk.engines.local.records import GhostPaths, GhostRecord, clear_disk_errors, write_atomically
from ghostdesk.engines.local.sandbox import environment, generated_etc, imageable_arguments
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import BuildFailed, EngineError
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import NOTHING, Priority

TEMPLATE_UID = UID_BASE + UID_COUNT - 1
HOST_NAME = GhostId("desktop")
"""What the template desktop is called; each clone has its own name."""
LOG = "/tmp/.session.log"  # noqa: S108 - inside
SETTLED = "/tmp/.ghostdesk/settled"  # noqa: S108 - inside
"""Made by the agent, once what is launched ahead has painted."""
DUMP_TIMEOUT_S = 120.0
QUIET_S = 0.7
_QUIET_CPU_S = 0.03
_AS_THE_USER = (
    'chown 1000:1000 /run/user/1000; for n in 3 4 5 6 7 8 9 10 11 12 13 14 15; do eval "exec $n>&-"; done; '
    f"exec </dev/null >{LOG} 2>&1; exec setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all "
    '--bounding-set=-all --no-new-privs -- "$@"'
)
"""No descriptor from outside may be left, as CRIU could not restore it; then the inner root is given up."""


class Stopped(Exception):
    """The engine is leaving."""


@dataclass(frozen=True)
class ImageMaker:
    """Makes images, one at a time.

    Args:
        builder: for its folders, groups and limits.
        images: where images go.
        stop: set when the engine leaves.
        timeout_s: how long a template desktop may take to settle, time in which it waits for the CPU not counted.
    """

    builder: Builder
    images: Images
    stop: threading.Event
    timeout_s: float

    def tidy(self) -> None:
        """Remove what a crash left of images in the making."""
        self.images.folder.mkdir(mode=0o711, exist_ok=True)
        for left in self.images.folder.iterdir():
            if left.name.startswith(MAKING):
                self._remove(left, _ghost(left))
            elif left.name.startswith(".dropped-"):
                shutil.rmtree(left, ignore_errors=True)

    def make(self, template: DesktopTemplate) -> Image | None:
        """Make the template's image; None when the engine was stopped meanwhile.

        Raises:
            ImageBroken: CRIU could not write it.
            BuildFailed: the template desktop did not come up, or did not settle.
        """
        place = self.images.place(template)
        making = place.with_name(f"{MAKING}-{place.name}-{os.getpid()}")
        ghost = _ghost(making)
        self._remove(making, ghost)
        try:
            with clear_disk_errors(making / INFO):
                return self._make(template, place, making, ghost)
        except Stopped:
            return None
        except OSError as error:
            raise ImageBroken(f"The image cannot be made: {error}.") from error
        finally:
            self._remove(making, ghost)

    def _make(self, template: DesktopTemplate, place: Path, making: Path, ghost: GhostId) -> Image:
        begun_s = time.time()
        image = Image(making / "image", ImageInfo(self.images.key(template), {}))
        paths = GhostPaths(making / "desktop", making / "run")
        record = GhostRecord(
            ghost,
            template.template,
            "isolated",
            TEMPLATE_UID,
            width_px=template.width_px,
            height_px=template.height_px,
        )
        self._make_folders(image, paths)
        pid = self._start(record, paths)
        self._settle(record, pid)
        mounts = mount_names(Path(f"/proc/{pid}/mountinfo").read_text())
        make_root(image.root, Path(f"/proc/{pid}/root"), mounts)
        groups = self._groups(ghost)
        self.images.criu.dump(dump_arguments(pid, mounts), image.files, DUMP_TIMEOUT_S)
        # After the dump: it may have put names of removed files there, that clones need.
        shutil.copytree(paths.home, image.home, symlinks=True)
        size = sum(entry.stat().st_size for entry in image.files.iterdir())
        info = ImageInfo(self.images.key(template), mounts, groups, size, begun_s)
        write_atomically(image.folder / INFO, info.to_text())
        shutil.rmtree(place, ignore_errors=True)
        image.folder.rename(place)
        self.images.problem = ""
        self.images.sweep(place)
        return Image(place, info)

    def _make_folders(self, image: Image, paths: GhostPaths) -> None:
        for folder, mode in (
            (image.folder.parent, 0o711),
            (image.folder, 0o711),
            (image.files, 0o700),
            (image.root, 0o755),
            (paths.folder, 0o711),
            (paths.run, 0o770),
            (paths.slot, 0o755),
            (paths.etc, 0o755),
        ):
            folder.mkdir()
            folder.chmod(mode)
        os.chown(paths.run, 0, TEMPLATE_UID)
        # Without a machine-id, as whoever reads one keeps it; no credential, as nobody listens to this agent.
        for name, text in generated_etc(HOST_NAME, "", outbound=False).items():
            (paths.etc / name).write_text(text.strip("\n") + "\n" if text.strip() else "")
        (paths.run / GHOST_FILE).write_text(HOST_NAME)
        make_home(paths.home, TEMPLATE_UID)
        if self.builder.shared_slots:
            bind_shared(paths.slot)

    def _start(self, record: GhostRecord, paths: GhostPaths) -> int:
        builder, ghost = self.builder, record.ghost
        builder.cgroups.create(ghost, record.uid)
        builder.limiter.prepare(record, NOTHING, Priority.GHOST)
        plan = builder.plan(record, paths)
        inner = imageable_arguments(plan, ["/bin/bash", "-c", _AS_THE_USER, "bash", *SESSION])
        inner[inner.index("--hostname") + 1] = HOST_NAME
        told = environment(plan) | {
            "GHOSTDESK_GHOST": HOST_NAME,
            "GHOSTDESK_GHOST_FILE": f"/run/ghost/{GHOST_FILE}",
            "GHOSTDESK_LAUNCH_AHEAD": " ".join(self.images.apps),
            "GHOSTDESK_SETTLED_FILE": SETTLED,
        }
        with user_namespace(record.uid) as namespace, with_priority(builder.limiter.meant(Priority.GHOST)):
            enter = ["nsenter", f"--user={namespace}", "--setuid", "0", "--setgid", "1000", "--"]
            _, pid, start_ticks = start_sandbox(
                [*enter, *inner],
                env=told,
                log=paths.log,
                cgroup_files=builder.cgroups.entrances(ghost),
                patience=self._patience(ghost),
            )
        wait_until_set_up(pid, start_ticks, self._patience(ghost), time.sleep)
        return pid

    def _patience(self, ghost: GhostId) -> Patience:
        before_s = self.builder.cgroups.cpu_wait_s(ghost)
        return Patience(self.timeout_s, lambda: self.builder.cgroups.cpu_wait_s(ghost) - before_s)

    def _settle(self, record: GhostRecord, pid: int) -> None:
        """Wait until the panel is there, the agent has done what it was told, and nothing uses the CPU any more."""
        root, patience = Path(f"/proc/{pid}/root"), self._patience(record.ghost)

        def settled() -> bool:
            return (root / SETTLED.lstrip("/")).exists() and "tint2" in {_name(p.pid) for p in descendants(pid)}

        self._wait(pid, patience, settled)
        while True:
            before_s = sum(process.cpu_s for process in descendants(pid))
            self._wait(pid, patience, _after(QUIET_S))
            if sum(process.cpu_s for process in descendants(pid)) - before_s <= _QUIET_CPU_S:
                return

    def _wait(self, pid: int, patience: Patience, done: Callable[[], bool]) -> None:
        while not done():
            if self.stop.wait(0.02):
                raise Stopped
            if not Path(f"/proc/{pid}").exists():
                raise BuildFailed("The desktop that was to be imaged ended.")
            if patience.left_s() <= 0:
                log = Path(f"/proc/{pid}/root{LOG}")
                tail = log.read_text(errors="replace")[-300:] if log.exists() else ""
                raise BuildFailed(f"The desktop that was to be imaged did not settle. {tail}".strip())

    def _groups(self, ghost: GhostId) -> dict[str, list[int]]:
        """Applications that were launched ahead run on for the dump, as nothing frozen can be written."""
        found = {}
        for name, pids in self.builder.cgroups.parts(ghost).items():
            found[name] = [inner_pid(pid) for pid in pids]
            self.builder.cgroups.thaw_part(ghost, name)
        return found

    def _remove(self, making: Path, ghost: GhostId) -> None:
        if not making.exists() and ghost not in self.builder.cgroups.ghosts():
            return
        paths = GhostPaths(making / "desktop", making / "run")
        kill_strays(paths)
        self.builder.end_all(GhostRecord(ghost, "", "isolated", TEMPLATE_UID))
        with contextlib.suppress(EngineError):
            self.builder.cgroups.remove(ghost)
        unmount_all_under(making)
        shutil.rmtree(making, ignore_errors=True)


def _ghost(making: Path) -> GhostId:
    """The name of the control groups of an image in the making."""
    return GhostId("image" + "".join(letter for letter in making.name if letter.isalnum())[-26:])


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _after(pause_s: float) -> Callable[[], bool]:
    end_s = time.monotonic() + pause_s
    return lambda: time.monotonic() >= end_s


@contextlib.contextmanager
def user_namespace(uid: int):  # type: ignore[no-untyped-def]
    """A user namespace that maps a desktop's uid and its inner root; yields its path, good while we are inside."""
    holder = subprocess.Popen(
        ["unshare", "--user", "sh", "-c", "echo; read _"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        if holder.stdout is None or holder.stdout.readline() != b"\n":
            raise BuildFailed("A user namespace cannot be made.")
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{name}").write_text(id_map(uid))
        yield f"/proc/{holder.pid}/ns/user"
    finally:
        holder.kill()
        holder.communicate()


def make_root(root: Path, inside: Path, mounts: dict[str, str]) -> None:
    """The empty root that clones mount on: what there is to mount on, and the links of the template's own root."""
    for folder in (inside, inside / "etc", inside / "var"):
        for entry in folder.iterdir():
            if entry.is_symlink():
                link = root / entry.relative_to(inside)
                link.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                link.symlink_to(entry.readlink())
    for name in root_entries(mounts):
        target = root / name
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if (inside / name).is_dir() or f"/{name}" in FRESH:
            target.mkdir(mode=0o755, exist_ok=True)
        elif not target.exists():
            target.touch(mode=0o644)
    for entry in (root, *root.rglob("*")):
        if not entry.is_symlink():
            entry.chmod(0o755 if entry.is_dir() else 0o644)
