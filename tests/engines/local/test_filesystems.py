"""Whether a folder is on this host."""

from __future__ import annotations

from pathlib import Path

from ghostdesk.engines.local.filesystems import remote_kind

TABLE = """\
21 1 8:1 / / rw - ext4 /dev/sda1 rw
30 21 0:40 / /srv/homes rw shared:5 - nfs4 files:/homes rw
31 30 0:41 / /srv/homes/local rw - tmpfs none rw
32 21 0:42 / /srv/my\\040homes/ada rw - fuse.sshfs ada@files: rw
33 21 0:43 / /srv/homes-too rw - xfs /dev/sdb rw
"""


def test_the_innermost_mount_says_what_it_is() -> None:
    for folder, kind in (
        ("/srv/homes", "nfs4"),
        ("/srv/homes/ada", "nfs4"),
        ("/srv/homes/local/ada", ""),
        ("/srv/homes-too/ada", ""),
        ("/srv/my homes/ada", "fuse.sshfs"),
        ("/srv", ""),
    ):
        assert remote_kind(Path(folder), TABLE) == kind, folder


def test_this_hosts_own_folders_are_local(tmp_path: Path) -> None:
    assert remote_kind(tmp_path) == ""
