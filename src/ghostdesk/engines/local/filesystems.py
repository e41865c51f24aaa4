"""Which file system a folder is on, as far as it matters whether its files are on this host."""

from __future__ import annotations

import os
from pathlib import Path

from ghostdesk.engines.local.mounts import unescape

_REMOTE = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "lustre", "glusterfs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs",
    "fuse.glusterfs", "fuse.davfs", "fuse.mount_davfs", "davfs", "fuse.goofys", "fuse.geesefs", "fuse.juicefs",
})  # fmt: skip


def remote_kind(folder: Path, mountinfo: str | None = None) -> str:
    """The kind of remote file system that a folder is on, such as "nfs4" or "fuse.sshfs"; "" where it is local."""
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text()
    # only the parent is looked at: a server that does not answer must not be asked
    real, best, kind = os.path.join(os.path.realpath(folder.parent), folder.name), "", ""  # noqa: PTH118
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        point, fields = unescape(before.split()[4]), after.split()
        if fields and _holds(point, real) and len(point) >= len(best):
            best, kind = point, fields[0]
    return kind if kind in _REMOTE else ""


def _holds(point: str, path: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
