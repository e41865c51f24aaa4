"""Users' homes: made once, attached to a running or frozen ghost, and never deleted by anything here.

Two ways, chosen by what the host allows:

- `idmap`: the home is mounted into the ghost's slot with its ids mapped by the ghost's own user namespace. On disk a
  home belongs to `INSIDE_UID`; the folder that holds them all is closed to everybody but us.
- `rename`: the home is moved into the slot and back. Its inode is written to the record before it moves, so wherever a
  crash leaves it, `give_back` finds it.

Where homes are on a server, both give way to `remote`: the home is mounted into the slot from there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from ghostdesk.engines.local.mounts import attach_idmapped, mounted_under, unmount_all_under
from ghostdesk.engines.local.records import GhostPaths, GhostRecord, Records, clear_disk_errors
from ghostdesk.engines.local.remote_homes import RemoteHomes, is_mounted
from ghostdesk.engines.local.sandbox import INSIDE_UID
from ghostdesk.kernel.errors import Conflict, EngineError
from ghostdesk.kernel.ids import UserId

FOLDERS = ("Desktop", "Documents", "Downloads", "Music", "Pictures", "Videos", ".config", ".cache", ".local/share")
SKELETON = Path("/etc/skel")
DESKTOP_FILES = Path(__file__).parent / "desktop"
QUIET_FIRST_RUN = {"registrymodifications.xcu": ".config/libreoffice/4/user"}
"""Settings that spare a new user the tips and notices which would cover a window that was opened ahead."""


def make_home(path: Path, uid: int, skeleton: Path = SKELETON) -> None:
    """Make a home from the skeleton, complete or not at all, for `uid` alone."""
    beside = path.with_name(f".{path.name}.new")
    with clear_disk_errors(path):
        shutil.rmtree(beside, ignore_errors=True)
        if skeleton.is_dir():
            shutil.copytree(skeleton, beside, symlinks=True)
        else:
            beside.mkdir()
        for name in FOLDERS:
            (beside / name).mkdir(parents=True, exist_ok=True)
        for name, place in QUIET_FIRST_RUN.items():
            (beside / place).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(DESKTOP_FILES / name, beside / place / name)
        change_owner(beside, uid)
        beside.chmod(0o700)
        beside.rename(path)


def change_owner(tree: Path, uid: int) -> None:
    """Give a whole tree to `uid`, following no link and crossing no mount."""
    if os.geteuid() != 0:
        return
    device = tree.lstat().st_dev
    for folder, names, files, descriptor in os.fwalk(tree, follow_symlinks=False):
        os.chown(folder if folder == str(tree) else descriptor, uid, uid)
        for name in [*names, *files]:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if status.st_dev == device and status.st_uid != uid:
                os.chown(name, uid, uid, dir_fd=descriptor, follow_symlinks=False)


class Homes:
    """Attaches homes to ghosts and takes them back.

    Args:
        records: where everything is.
        idmap: whether id-mapped mounts work here; else homes are moved.
        remote: where homes are on a server.
    """

    def __init__(self, records: Records, *, idmap: bool, remote: RemoteHomes | None = None) -> None:
        self._records = records
        self._remote = remote
        self._idmap = idmap
        self._disk_uid = INSIDE_UID if os.geteuid() == 0 else os.geteuid()

    def path(self, user: UserId) -> Path:
        """Where the user's home rests."""
        return self._records.homes_dir / user

    def attach(self, record: GhostRecord, user: UserId, others: Iterable[GhostRecord]) -> GhostRecord:
        """Attach the home; the owner is on record before the home can be reached.

        Raises:
            Conflict: the ghost has another owner.
            EngineError: the home is in another ghost and can only be in one.
        """
        if record.owner is not None and record.owner != user:
            raise Conflict(
                f"Ghost {record.ghost} belongs to another user.",
                "Destroy it; a ghost is never handed to a second user.",
            )
        if record.owner == user and self._is_attached(record):
            return record
        if self._remote is not None:
            return self._attach_remote(record, user, self._remote)
        away = [other for other in others if other.owner == user and other.attached == "rename" and other != record]
        if away and not self.path(user).exists():
            raise EngineError(f"The home of {user} is in ghost {away[0].ghost}.", f"Destroy {away[0].ghost} first.")
        if not self.path(user).exists():
            make_home(self.path(user), self._disk_uid)
        self.path(user).chmod(0o700)
        return self._attach_idmapped(record, user) if self._idmap else self._attach_renamed(record, user)

    def _is_attached(self, record: GhostRecord) -> bool:
        home = self._records.paths(record.ghost).home
        if record.attached == "idmap":
            return home.resolve() in mounted_under(home)
        if record.attached == "remote":
            return is_mounted(home)
        return record.attached == "rename" and _inode(home) == record.home_inode

    def _attach_idmapped(self, record: GhostRecord, user: UserId) -> GhostRecord:
        owned = replace(record, owner=user, attached="idmap")
        self._records.write(owned)
        namespace = os.open(f"/proc/{record.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            attach_idmapped(self.path(user), self._records.paths(record.ghost).home, namespace)
        except OSError as error:
            raise EngineError(f"The home of {user} cannot be attached: {error.strerror}.") from error
        finally:
            os.close(namespace)
        return owned

    def _attach_remote(self, record: GhostRecord, user: UserId, remote: RemoteHomes) -> GhostRecord:
        owned = replace(record, owner=user, attached="remote")
        self._records.write(owned)
        remote.mount(user, self._records.paths(record.ghost).home, record.uid)
        return owned

    def _attach_renamed(self, record: GhostRecord, user: UserId) -> GhostRecord:
        paths = self._records.paths(record.ghost)
        home = self.path(user)
        owned = replace(record, owner=user, attached="rename", home_inode=_inode(home))
        self._records.write(owned)
        change_owner(home, record.uid)
        generic = paths.folder / "generic"
        if _inode(paths.home) and not generic.exists():
            paths.home.rename(generic)
        home.rename(paths.home)
        return owned

    def give_back(self, record: GhostRecord) -> None:
        """Bring a moved home back where it rests. The ghost's processes must be gone.

        Whatever else its owner left in the slot is user data too, and goes to the `rescued` folder.
        """
        if record.attached != "rename" or record.owner is None:
            return
        paths = self._records.paths(record.ghost)
        rest = self.path(record.owner)
        found = [entry for entry in _folders(paths.slot) if _inode(entry) == record.home_inode]
        if found and not rest.exists():
            change_owner(found[0], self._disk_uid)
            found[0].rename(rest)
        if any(_folders(paths.slot)):
            self.rescue(paths, record.owner)

    def rescue(self, paths: GhostPaths, user: str) -> None:
        """Keep a slot that may hold somebody's data, in the `rescued` folder."""
        self._records.rescued_dir.mkdir(mode=0o700, exist_ok=True)
        paths.slot.rename(self._records.rescued_dir / f"{user}-{paths.folder.name}-{paths.slot.lstat().st_ino}")


def _inode(path: Path) -> int:
    """The inode of a real folder; 0 for anything else."""
    with contextlib.suppress(OSError):
        status = path.lstat()
        if path.is_dir() and not path.is_symlink():
            return status.st_ino
    return 0


def _folders(path: Path) -> list[Path]:
    try:
        return [*path.iterdir()]
    except OSError:
        return []


def idmap_works(folder: Path, userns_of: Callable[[], int]) -> str:
    """Try an id-mapped mount in `folder`; "" when it works, else why not.

    Args:
        folder: on the file system that homes are on.
        userns_of: opens a user namespace that is not the host's, and gives its descriptor.
    """
    if os.geteuid() != 0:
        return "only root may map ids of a mount"
    source, target = folder / ".probe-home", folder / ".probe-slot"
    try:
        source.mkdir(exist_ok=True)
        target.mkdir(exist_ok=True)
        namespace = userns_of()
        try:
            attach_idmapped(source, target, namespace)
        finally:
            os.close(namespace)
        return ""
    except OSError as error:
        return f"id-mapped mounts are refused here: {error.strerror}"
    finally:
        unmount_all_under(target)
        for path in (source, target):
            with contextlib.suppress(OSError):
                path.rmdir()
