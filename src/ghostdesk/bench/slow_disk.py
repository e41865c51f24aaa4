"""A slow disk for a while: the kernel's own throttle on reads, for a desktop and for this program."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ghostdesk.bench.desk import BenchError
from ghostdesk.engines.local.cgroup_limits import BlockDevice
from ghostdesk.engines.local.disks import block_device_of

_OURS = "ghostdesk-bench-slow"
_MEND = "Leave the slow disk out with --slow-iops 0."


@contextlib.contextmanager
def slow_disk(uid: int, reads_per_s: int) -> Iterator[None]:
    """Let the desktop of that uid, and this program with what it starts, read so often a second; root's.

    Where the blkio controller is v1 it limits each group by itself, so both are limited apart; so does io.max of v2.

    Raises:
        BenchError: this host cannot throttle its disk.
    """
    disk = block_device_of(Path("/usr"))
    if disk is None:
        raise BenchError("The disk that holds /usr cannot be throttled.", _MEND)
    with contextlib.ExitStack() as undo:
        try:
            root, name = _controller()
            theirs = _group_of(_process_of(uid), root, name)
            if theirs == root:
                raise BenchError("The desktop is in no control group of its own: the host would be slowed.", _MEND)
            _limit(theirs, disk, reads_per_s, undo)
            ours = root / _OURS
            before = _group_of(os.getpid(), root, name)
            ours.mkdir(exist_ok=True)
            undo.callback(ours.rmdir)
            _limit(ours, disk, reads_per_s, undo)
            undo.callback((before / "cgroup.procs").write_text, str(os.getpid()))
            (ours / "cgroup.procs").write_text(str(os.getpid()))
        except OSError as error:
            raise BenchError(f"The disk cannot be throttled: {error}.", _MEND) from error
        yield


def _controller() -> tuple[Path, str]:
    """Where the controller of disks is mounted, and its name in /proc/PID/cgroup ("" for v2)."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(maxsplit=2)
        place = Path(before.split()[4])
        if kind == "cgroup" and "blkio" in options.rpartition(" ")[2].split(","):
            return place, "blkio"
        if kind == "cgroup2" and "io" in (place / "cgroup.controllers").read_text().split():
            return place, ""
    raise BenchError("This host has no cgroup controller for disks.", _MEND)


def _process_of(uid: int) -> int:
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and entry.stat().st_uid == uid:
                return int(entry.name)
    raise BenchError(f"No process runs under uid {uid}.")


def _group_of(pid: int, root: Path, name: str) -> Path:
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if name in controllers.split(","):
            group = root / path.lstrip("/")
            # In v2 the limit stands on the ghost's group; the desktop's processes are in one below it.
            while not name and not (group / "io.max").exists() and group != root:
                group = group.parent
            return group
    raise BenchError(f"Process {pid} is in no group for disks.")


def _limit(group: Path, disk: BlockDevice, reads_per_s: int, undo: contextlib.ExitStack) -> None:
    v1 = group / "blkio.throttle.read_iops_device"
    if v1.exists():
        v1.write_text(f"{disk} {reads_per_s}")
        undo.callback(v1.write_text, f"{disk} 0")
        return
    (group / "io.max").write_text(f"{disk} riops={reads_per_s}")
    undo.callback((group / "io.max").write_text, f"{disk} riops=max")
