"""Which disk a folder is on, and how that disk shares itself out."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ghostdesk.engines.local.cgroup_limits import BlockDevice
from ghostdesk.engines.local.mounts import unescape

SYS = Path("/sys/dev/block")
MOUNTINFO = Path("/proc/self/mountinfo")
_CHOSEN = re.compile(r"\[(\S+)\]")


def block_device_of(path: Path, sys: Path = SYS, mountinfo: Path = MOUNTINFO) -> BlockDevice | None:
    """The disk that holds `path`; None when it is on none (tmpfs, overlay, a network), or is gone.

    File systems of several disks (btrfs) name no disk of their own: then it is the one they were mounted from.
    """
    try:
        number = path.stat().st_dev
        entry = sys / f"{os.major(number)}:{os.minor(number)}"
        if not entry.exists():
            source = _mounted_from(path, mountinfo.read_text())
            if source is None:
                return None
            number = Path(source).stat().st_rdev
            entry = sys / f"{os.major(number)}:{os.minor(number)}"
        whole = entry.resolve(strict=True)
        if (whole / "partition").exists():
            whole = whole.parent
        major, _, minor = (whole / "dev").read_text().strip().partition(":")
        return BlockDevice(int(major), int(minor))
    except (OSError, ValueError):
        return None


def _mounted_from(path: Path, mountinfo: str) -> str | None:
    """The device file that the file system of `path` was mounted from (proc(5)); None where it was from none."""
    real = os.path.realpath(path)
    best, source = "", ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        point = unescape(left.split()[4])
        inside = point in ("/", real) or real.startswith(point + "/")
        if inside and len(point) >= len(best):  # of two on one place the later one is seen
            best, source = point, unescape(right.split()[1])
    return source if source.startswith("/dev/") else None


def scheduler_of(device: BlockDevice, sys: Path = SYS) -> str:
    """The I/O scheduler of a disk, such as "mq-deadline" or "none"; "" where nothing tells."""
    try:
        found = _CHOSEN.search((sys / str(device) / "queue" / "scheduler").read_text())
    except OSError:
        return ""
    return found.group(1) if found else ""
