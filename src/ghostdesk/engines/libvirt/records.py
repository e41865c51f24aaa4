"""What is kept of each ghost beside libvirt, so that a control plane that was killed finds everything again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ghostdesk.engines.libvirt.render import GhostPlaces
from ghostdesk.engines.local.mounts import bind_shared, mounted_under, unmount_all_under
from ghostdesk.engines.local.records import write_atomically
from ghostdesk.engines.local.sandbox import INSIDE_UID
from ghostdesk.kernel.errors import EngineError
from ghostdesk.kernel.ids import GhostId, UserId


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """A ghost as written to machine.json.

    Args:
        ghost: its id.
        template: its template's id.
        agent_uid: the uid of its QEMU process, under which its agent's connection comes.
        owner: whose home it has.
        home: "", "attached" (the host has put it there; the machine has not mounted it yet) or "mounted".
        base: the saved machine that it is a copy of; "" when it was booted.
        card: the hardware address of its network card; "" without one.
        ready: whether its build was finished.
    """

    ghost: GhostId
    template: str
    agent_uid: int
    owner: UserId | None = None
    home: str = ""
    base: str = ""
    card: str = ""
    ready: bool = False


class MachineRecords:
    """The folders of all ghosts.

    Args:
        state_dir: records and slots are in `machines` below it.
        run_dir: sockets.
        slots: whether homes appear in machines.
    """

    def __init__(self, state_dir: Path, run_dir: Path, *, slots: bool = True) -> None:
        self.machines_dir = state_dir / "machines"
        self.run_dir = run_dir
        self.slots = slots

    def places(self, ghost: str) -> GhostPlaces:
        """Where the ghost's things are, whether it exists or not."""
        slot = self.machines_dir / ghost / "slot"
        return GhostPlaces(self.run_dir / ghost, slot if self.slots else None)

    def home(self, ghost: GhostId) -> Path:
        """Where a user's home is put so that the ghost sees it."""
        return self.machines_dir / ghost / "slot" / "user"

    def read(self, ghost: GhostId) -> MachineRecord | None:
        """The ghost's record; None when there is none that can be read."""
        try:
            table = json.loads((self.machines_dir / ghost / "machine.json").read_text())
            known = {field.name for field in fields(MachineRecord)}
            return MachineRecord(**{key: value for key, value in table.items() if key in known})
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def write(self, record: MachineRecord) -> None:
        """Replace the record in one step; raises `InsufficientCapacity` when the disk is full."""
        write_atomically(self.machines_dir / record.ghost / "machine.json", json.dumps(asdict(record), indent=1))

    def make_folders(self, ghost: str, uid: int) -> None:
        """Folders for a new ghost; the host's QEMU may make sockets in one."""
        folder, run = self.machines_dir / ghost, self.run_dir / ghost
        for path, mode in ((folder, 0o711), (run, 0o770), (folder / "slot", 0o711), (folder / "slot" / "user", 0o700)):
            path.mkdir(mode=mode, parents=True, exist_ok=True)
            path.chmod(mode)
        if os.geteuid() == 0:
            os.chown(run, uid, -1)
            os.chown(folder / "slot" / "user", INSIDE_UID, INSIDE_UID)
            if not mounted_under(folder / "slot"):
                bind_shared(folder / "slot")  # what is mounted in it later is seen by QEMU, in its own namespace too

    def remove(self, ghost: str) -> None:
        """Take a home out of the slot, then remove all folders; raises `EngineError` rather than reach into a home."""
        folder = self.machines_dir / ghost
        unmount_all_under(folder)
        if mounted_under(folder):
            raise EngineError(f"Something is still mounted under {folder}.", f"Look at it with: findmnt -R {folder}")
        for path in (self.run_dir / ghost, folder):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path)

    def ghosts(self) -> Iterator[GhostId]:
        """Every ghost that has a folder."""
        names = set()
        for directory in (self.machines_dir, self.run_dir):
            with contextlib.suppress(FileNotFoundError):
                names |= {entry.name for entry in directory.iterdir() if entry.is_dir()}
        return (GhostId(name) for name in sorted(names))
