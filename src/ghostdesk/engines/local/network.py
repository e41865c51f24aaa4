"""The way out of a ghost: a user-mode network stack (slirp4netns) attached from outside, with no way back in."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ghostdesk.engines.local.launch import Patience, drop_rights, log_tail, spawn, wait_readable
from ghostdesk.engines.local.processes import kill_and_wait, read_process
from ghostdesk.kernel.errors import BuildFailed

TUN = Path("/dev/net/tun")
_READY_FD, _OWNER_FD = 11, 12
_NS_GET_USERNS = 0xB701


def unusable() -> str:
    """Why ghosts cannot reach the internet here; "" when they can."""
    if shutil.which("slirp4netns") is None:
        return "slirp4netns is not installed"
    if not TUN.exists():
        return f"{TUN} is missing"
    return "" if os.access(TUN, os.R_OK | os.W_OK) else f"{TUN} may not be opened"


def _runs_as(uid: int) -> int:
    """The ghost's own uid, unless this host lets only root open the tunnel device.

    Then slirp4netns runs as root, but gives up its capabilities and the host's files when it enters its own sandbox.
    """
    return uid if TUN.stat().st_mode & 0o006 == 0o006 else os.geteuid()


def start_network(pid: int, uid: int, log: Path, cgroup_files: Sequence[Path], patience: Patience) -> tuple[int, int]:
    """Give a ghost's network namespace a way out, and return slirp4netns' pid and start time.

    It runs outside the ghost, under the ghost's uid where it can, and refuses to forward to the host's loopback.
    Connections go out only: nothing, other ghosts included, can connect in.

    Args:
        pid: a process of the ghost.
        uid: the ghost's uid.
        log: where it complains.
        cgroup_files: groups to join.
        patience: how long the interface may take.

    Raises:
        BuildFailed: it did not come up.
    """
    command = ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", f"--ready-fd={_READY_FD}"]
    # Its own sandbox needs a writable /run to pivot into, and seccomp a libseccomp that knows the kernel's calls.
    command += ["--enable-sandbox", "--enable-seccomp"]
    runs_as = _runs_as(uid)
    if runs_as != 0:
        # slirp4netns enters it by itself, too, but not for its sandbox when it is told the network by a path.
        command = ["nsenter", f"--user=/proc/self/fd/{_OWNER_FD}", "--preserve-credentials", "--", *command]
    else:
        # Its sandbox detaches the old root and makes only "/" private before: as root, on a host whose mounts are
        # shared (systemd), that would take the mounts below /sys, /dev and /run down on the host itself.
        command = ["unshare", "--mount", "--propagation", "private", "--", *command]
    command += ["--netns-type=path", f"/proc/{pid}/ns/net", "tap0"]
    read_end, write_end = os.pipe()
    try:
        owner = _owner_of_network(pid)
        try:
            slirp = spawn(
                [*drop_rights(runs_as), *command],
                env={"PATH": os.environ.get("PATH", os.defpath)},
                log=log,
                cgroup_files=cgroup_files,
                inherit={write_end: _READY_FD, owner: _OWNER_FD},
            )
        finally:
            os.close(write_end)
            os.close(owner)
        ready = wait_readable(read_end, patience) and os.read(read_end, 1) == b"1"
    finally:
        os.close(read_end)
    process = read_process(slirp)
    if ready and process is not None and process.state not in "ZX":
        return slirp, process.start_ticks
    if process is not None:
        kill_and_wait(slirp, process.start_ticks)
    raise BuildFailed(f"The desktop's network did not come up: {log_tail(log)}", 'Set engine.network = "isolated".')


def _owner_of_network(pid: int) -> int:
    """A descriptor of the user namespace that owns a process's network (ioctl_ns(2)): who enters it may change it.

    It is not the process's own: bubblewrap makes a second one inside, once its mounts are made, to map the uid anew.
    """
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(network, _NS_GET_USERNS)
    finally:
        os.close(network)
