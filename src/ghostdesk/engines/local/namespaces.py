"""A user namespace to try id-mapped mounts with."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ghostdesk.engines.local.sandbox import INSIDE_UID


def open_mapped_namespace() -> int:
    """Open a user namespace that maps `INSIDE_UID`, made by a short-lived child; the caller closes it.

    Raises:
        OSError: this host allows none.
    """
    command = ["unshare", "--user", "sh", "-c", "echo; read _"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        try:
            if child.stdout is None or child.stdout.readline() != b"\n":
                raise OSError(1, "user namespaces are refused")
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{child.pid}/{name}").write_text(f"{INSIDE_UID} {INSIDE_UID} 1\n")
            return os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            child.kill()
