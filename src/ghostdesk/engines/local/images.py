"""Images of running desktops on this host: which there are, and restoring clones from them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.engines.local.cgroups import Cgroups
from ghostdesk.engines.local.clone_plan import (
    INSIDE_ROOT_OFFSET,
    ImageBroken,
    ImageInfo,
    image_key,
    restore_arguments,
    with_host_name,
    with_ids,
)
from ghostdesk.engines.local.criu import Criu, host_facts
from ghostdesk.engines.local.homes import change_owner
from ghostdesk.engines.local.launch import Patience
from ghostdesk.engines.local.processes import descendants, read_process
from ghostdesk.engines.local.records import GhostPaths, GhostRecord, clear_disk_errors
from ghostdesk.engines.local.sandbox import ETC_GENERATED
from ghostdesk.ghosts.ghost import DesktopTemplate

INFO = "image.json"
MAKING = ".making"
GHOST_FILE = "ghost.id"
"""In a ghost's run folder: its id, for an agent whose environment is its template's."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image: CRIU's files, the root that clones mount on, and the home as the template desktop left it."""

    folder: Path
    info: ImageInfo

    @property
    def files(self) -> Path:
        """CRIU's; the memory of a desktop, so nobody but us may look."""
        return self.folder / "criu"

    @property
    def root(self) -> Path:
        """Empty folders, files and links."""
        return self.folder / "root"

    @property
    def home(self) -> Path:
        """Of nobody."""
        return self.folder / "home"


class Images:
    """The images in one folder.

    Args:
        folder: where they are; on the file system that ghosts' folders are on, as clones link to their files.
        criu: the program.
        apps: applications that are launched ahead in each.
        runtime: the folder that is bound at /opt/ghostdesk.
        cgroups: the ghosts' control groups.
    """

    def __init__(self, folder: Path, criu: Criu, apps: Sequence[str], runtime: Path, cgroups: Cgroups) -> None:
        self.folder = folder
        self.criu = criu
        self.apps = tuple(apps)
        self.runtime = runtime
        self._cgroups = cgroups
        self._facts = host_facts(criu)
        self._lock = threading.Lock()
        self.problem = ""
        """Why there is no image where there should be one, for people."""

    def key(self, template: DesktopTemplate) -> str:
        """What this template's image depends on."""
        return image_key(template, self.apps, self.runtime.name, self._facts)

    def place(self, template: DesktopTemplate) -> Path:
        """Where this template's image is, or would be."""
        return self.folder / hashlib.sha256(self.key(template).encode()).hexdigest()[:16]

    def of(self, template: DesktopTemplate) -> Image | None:
        """The template's image; None when there is none. A damaged one is removed, and `problem` says so."""
        place = self.place(template)
        try:
            info = ImageInfo.of_text((place / INFO).read_text())
            found = Image(place, info)
            have = sum(entry.stat().st_size for entry in found.files.iterdir())
            if info.key != self.key(template) or have != info.bytes or not found.home.is_dir():
                raise ImageBroken(f"The image in {place} is not whole ({have} of {info.bytes} bytes).")
        except FileNotFoundError:
            if place.is_dir():
                self.drop(place, f"The image in {place} has lost files.")
            return None
        except (OSError, ImageBroken) as error:
            self.drop(place, str(error))
            return None
        return found

    def drop(self, place: Path, why: str) -> None:
        """Remove an image that cannot be used; another is made when the next desktop of its template is built."""
        self.problem = why
        with self._lock, contextlib.suppress(OSError):
            beside = place.with_name(f".dropped-{place.name}-{threading.get_ident()}")
            place.rename(beside)
            shutil.rmtree(beside, ignore_errors=True)

    def sweep(self, keep: Path) -> None:
        """Remove earlier images of the template whose image is `keep`: nothing can be restored from them any more."""
        try:
            name = json.loads(ImageInfo.of_text((keep / INFO).read_text()).key)[0]
        except (OSError, ValueError, ImageBroken):
            return
        for other in self.folder.iterdir():
            with contextlib.suppress(OSError, ValueError, ImageBroken):
                if other != keep and json.loads(ImageInfo.of_text((other / INFO).read_text()).key)[0] == name:
                    self.drop(other, self.problem)

    def generic_home(self, image: Image, paths: GhostPaths, uid: int) -> None:
        """Give a ghost that is nobody's the home that its image expects; raises `ImageBroken`."""
        try:
            shutil.rmtree(paths.home, ignore_errors=True)
            shutil.copytree(image.home, paths.home, symlinks=True)
            change_owner(paths.home, uid)
            paths.home.chmod(0o700)
        except (OSError, shutil.Error) as error:
            raise ImageBroken(f"The image's home cannot be copied: {error}.") from error

    def restore(self, image: Image, record: GhostRecord, paths: GhostPaths, patience: Patience) -> tuple[int, int]:
        """Restore a clone for a ghost whose folders and control groups are there.

        Returns:
            Its first process' pid and start time. It runs, and its screen answers in a moment.

        Raises:
            ImageBroken: it could not be; processes of it may be left in its control groups.
        """
        work = paths.folder / "image"
        try:
            with clear_disk_errors(work):
                self._write_files(image, record, work)
            (paths.run / GHOST_FILE).write_text(record.ghost)
            paths.rfb.unlink(missing_ok=True)
            # Mounts and sockets are made by the clone's inner root, whose rights reach what its user owns.
            paths.folder.chmod(0o711)
            os.chown(paths.run, record.uid, record.uid)
            arguments = restore_arguments(image.root, "pid", self._sources(image, record, paths))
            entrances = self._cgroups.entrances(record.ghost)
            self.criu.restore(arguments, work, image.root, entrances, patience)
            pid = int((work / "pid").read_text())
            process = read_process(pid)
            if process is None:
                raise ImageBroken("The desktop was restored and ended at once.")
            subprocess.run(
                ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "link", "set", "lo", "up"],
                check=True,
                capture_output=True,
                timeout=20,
            )
            self._freeze_apps(image, record, pid)
            return pid, process.start_ticks
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise ImageBroken(f"The desktop cannot be restored: {error}.") from error
        finally:
            with contextlib.suppress(OSError):
                os.chown(paths.run, 0, record.uid)
                paths.folder.chmod(0o750)
            shutil.rmtree(work, ignore_errors=True)

    def _write_files(self, image: Image, record: GhostRecord, work: Path) -> None:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o710)
        os.chown(work, 0, record.uid + INSIDE_ROOT_OFFSET)  # the inner root looks for files that are not there
        for file in image.files.iterdir():
            if file.name.startswith("userns-"):
                (work / file.name).write_bytes(with_ids(file.read_bytes(), record.uid))
            elif file.name.startswith("utsns-"):
                (work / file.name).write_bytes(with_host_name(file.read_bytes(), record.ghost))
            elif file.suffix == ".img":
                os.link(file, work / file.name)

    def _sources(self, image: Image, record: GhostRecord, paths: GhostPaths) -> dict[str, str]:
        """What of the host is bound at each mount: the ghost's own, the runtime, or what has the same path."""
        own = {
            "/run/ghost": paths.run,
            "/home": paths.slot,
            "/opt/ghostdesk": self.runtime,
            "/etc/firefox/policies/policies.json": self.runtime / "desktop" / "firefox-policies.json",
            **{f"/etc/{name}": paths.etc / name for name in ETC_GENERATED},
        }
        if (group := self._cgroups.freezing(record.ghost)) is not None:
            own["/run/cgroup"] = group
        return {name: os.path.realpath(own.get(place, place)) for place, name in image.info.mounts.items()}

    def _freeze_apps(self, image: Image, record: GhostRecord, pid: int) -> None:
        """Applications that were launched ahead go into groups of their own, frozen, where the agent knows them."""
        if not image.info.groups:
            return
        inside = {inner_pid(process.pid): process.pid for process in descendants(pid)}
        for name, pids in image.info.groups.items():
            self._cgroups.freeze_part(record.ghost, record.uid, name, [inside[n] for n in pids if n in inside])


def inner_pid(pid: int) -> int:
    """A process' id in its own PID namespace; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return 0
