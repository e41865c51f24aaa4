"""A real libvirtd with QEMU, in folders of its own and a mount namespace of its own, without systemd or dbus."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from ghostdesk.engines.libvirt.connection import binding
from ghostdesk.engines.local.mounts import bind_shared, mounted_under, unmount_all_under

_QEMU_CONF = """
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
stdio_handler = "file"
max_core = 0
"""
_DAEMON_CONF = """
unix_sock_dir = "{folder}/sock"
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
log_outputs = "2:file:{folder}/libvirtd.log"
"""
_POOL = "<pool type='dir'><name>desks</name><target><path>{folder}/pool</path></target></pool>"
_NETWORK = "<network><name>lan</name><bridge name='gdtest{number}' stp='off'/></network>"
_OURS = {"etc": "/etc/libvirt", "lib": "/var/lib/libvirt", "run": "/run/libvirt", "cache": "/var/cache/libvirt"}


class DaemonProblem(Exception):
    """It cannot be had here."""


class LibvirtDaemon:
    """libvirtd in `folder`, with a storage pool "desks" in `folder`/pool.

    Everything below the folder is a shared mount: what is mounted there later, QEMU sees too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = ""
        """A network without a way out, "lan", where the host can have one."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.folder}/sock/libvirt-sock"

    def start(self) -> None:
        """Start it, or again after `kill`."""
        program = shutil.which("libvirtd", path="/usr/sbin:/usr/bin")
        if program is None or shutil.which("qemu-system-x86_64") is None or shutil.which("qemu-img") is None:
            raise DaemonProblem("libvirtd or QEMU is not installed here")
        if os.geteuid() != 0:
            raise DaemonProblem("needs root")
        try:
            if not mounted_under(self.folder):
                bind_shared(self.folder)
        except OSError as problem:
            raise DaemonProblem(f"nothing can be mounted here: {problem}") from None
        for name in (*_OURS, "sock", "pool"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "etc" / "qemu.conf").write_text(_QEMU_CONF)
        (self.folder / "etc" / "libvirtd.conf").write_text(_DAEMON_CONF.format(folder=self.folder))
        for place in _OURS.values():
            Path(place).mkdir(parents=True, exist_ok=True)
        # Debian's libvirt-daemon-system makes this user; libvirtd alone asks for it, even where it is not used.
        for name, line in (("passwd", "libvirt-qemu:x:64055:64055::/:/bin/false"), ("group", "libvirt-qemu:x:64055:")):
            known = Path(f"/etc/{name}").read_text()
            (self.folder / name).write_text(known if "libvirt-qemu:" in known else f"{known}{line}\n")
        places = {**_OURS, "passwd": "/etc/passwd", "group": "/etc/group"}
        binds = "; ".join(f"mount --bind {self.folder}/{name} {place}" for name, place in places.items())
        run = f"{binds}; exec {program} -f {self.folder}/etc/libvirtd.conf -p {self.folder}/libvirtd.pid"
        with (self.folder / "start.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "slave", "--", "sh", "-ec", run],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self._await_answer()

    def _await_answer(self) -> None:
        libvirt = binding()
        deadline_s = time.monotonic() + 60
        while True:
            with contextlib.suppress(libvirt.libvirtError):
                connection = libvirt.open(self.uri)
                break
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline_s:
                raise DaemonProblem(f"libvirtd does not start here: {self.log()[-400:]}")
            time.sleep(0.1)
        try:
            if not connection.listAllStoragePools(0):
                connection.storagePoolDefineXML(_POOL.format(folder=self.folder), 0)
            pool = connection.storagePoolLookupByName("desks")
            if not pool.isActive():
                pool.create(0)
            with contextlib.suppress(libvirt.libvirtError):
                if not connection.listAllNetworks(0):
                    connection.networkCreateXML(_NETWORK.format(number=os.getpid() % 10_000))
                self.network = "lan"
        finally:
            connection.close()

    def log(self) -> str:
        """What it complained of."""
        found = (self.folder / name for name in ("start.log", "libvirtd.log"))
        return "\n".join(path.read_text(errors="replace") for path in found if path.exists())

    def kill(self) -> None:
        """End the daemon at once; machines go on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            (self.folder / "libvirtd.pid").unlink(missing_ok=True)

    def machines(self) -> list[int]:
        """The pids of QEMU processes of this daemon."""
        found = []
        for path in (self.folder / "run" / "qemu").glob("*.pid"):
            with contextlib.suppress(OSError, ValueError):
                pid = int(path.read_text())
                if b"qemu" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def stop(self) -> None:
        """End machines and daemon, and remove the folder."""
        with contextlib.suppress(Exception):
            connection = binding().open(self.uri)
            connection.networkLookupByName("lan").destroy()
            connection.close()
        for pid in self.machines():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
            self.kill()
        for group in [*Path("/sys/fs/cgroup").glob("machine"), *Path("/sys/fs/cgroup").glob("*/machine")]:
            with contextlib.suppress(OSError):  # where somebody else has machines, it is not empty
                group.rmdir()
        unmount_all_under(self.folder)
        assert mounted_under(self.folder) == []
        shutil.rmtree(self.folder, ignore_errors=True)
