"""Three real LXD servers as a cluster, each in a network namespace of its own on a bridge, for tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from ghostdesk.engines.local.mounts import unmount_all_under

MEMBERS = 3
_IN_NODE = """
mkdir -p "$DIR/cgroups" && mount --rbind /sys/fs/cgroup "$DIR/cgroups" && mount -t sysfs sysfs /sys &&
mount --rbind "$DIR/cgroups" /sys/fs/cgroup && umount -l "$DIR/cgroups" &&
LXD_DIR="$DIR" exec lxd --group root --logfile "$DIR/server.log"
"""


class ClusterProblem(Exception):
    """The cluster cannot be had on this host."""


def _run(*words: str, text: str | None = None, **variables: str) -> str:
    done = subprocess.run(
        words, input=text, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        raise ClusterProblem(f"{' '.join(words)}: {done.stderr.strip()[-300:]}")
    return done.stdout


@dataclass
class Cluster:
    """Three members in `folder`; `start` and `stop` it, `kill` a member in between."""

    folder: Path
    number: int
    servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def node(self, member: int) -> str:
        """The name of a member, which is also its namespace's."""
        return f"gdn{self.number}-{member}"

    def address(self, member: int) -> str:
        """Its address on the bridge."""
        return f"10.213.{self.number % 256}.{member + 10}"

    def socket(self, member: int = 0) -> str:
        """The unix socket of its server."""
        return str(self.folder / self.node(member) / "unix.socket")

    def start(self) -> None:
        """Make the bridge, the namespaces and the cluster."""
        bridge = f"gdb{self.number}"
        _run("ip", "link", "add", bridge, "type", "bridge")
        _run("ip", "link", "set", bridge, "up")
        for member in range(MEMBERS):
            node = self.node(member)
            _run("ip", "netns", "add", node)
            _run("ip", "link", "add", f"{node}e", "type", "veth", "peer", "name", "eth0", "netns", node)
            _run("ip", "link", "set", f"{node}e", "master", bridge, "up")
            for words in ("link set lo up", "link set eth0 up", f"addr add {self.address(member)}/24 dev eth0"):
                _run("ip", "-n", node, *words.split())
            self._start_server(member)
        self._lxd_init(0, self._first())
        for member in range(1, MEMBERS):
            told = _run("lxc", "cluster", "add", self.node(member), LXD_DIR=str(self.folder / self.node(0)))
            token = told.strip().splitlines()[-1]
            self._lxd_init(member, self._joining(member, token))
        _run("lxc", "config", "set", "cluster.offline_threshold", "11", LXD_DIR=str(self.folder / self.node(0)))

    def group(self, name: str, *members: int) -> None:
        """Make a cluster group of these members."""
        variables = {"LXD_DIR": str(self.folder / self.node(0))}
        _run("lxc", "cluster", "group", "create", name, **variables)
        for member in members:
            _run("lxc", "cluster", "group", "assign", self.node(member), f"default,{name}", **variables)

    def _start_server(self, member: int) -> None:
        node = self.node(member)
        folder = self.folder / node
        folder.mkdir()
        folder.chmod(0o711)
        command = ["nsenter", f"--net=/run/netns/{node}", "unshare", "--mount", "sh", "-c", _IN_NODE]
        with (folder / "printed").open("wb") as printed:
            self.servers[node] = subprocess.Popen(
                command, env={**os.environ, "DIR": str(folder)}, stdout=printed, stderr=printed
            )
        deadline_s = time.monotonic() + 30
        while not (folder / "unix.socket").exists():
            if self.servers[node].poll() is not None or time.monotonic() > deadline_s:
                raise ClusterProblem(f"the server of {node} does not start")
            time.sleep(0.05)

    def _lxd_init(self, member: int, preseed: str) -> None:
        node = self.node(member)
        _run(
            "nsenter", f"--net=/run/netns/{node}", "lxd", "init", "--preseed", text=preseed,
            LXD_DIR=str(self.folder / node),
        )  # fmt: skip

    def _first(self) -> str:
        return f"""
config: {{core.https_address: "{self.address(0)}:8443"}}
cluster: {{server_name: "{self.node(0)}", enabled: true}}
storage_pools: [{{name: desks, driver: btrfs, config: {{size: 2GiB}}}}]
profiles: [{{name: default, devices: {{}}}}]
"""

    def _joining(self, member: int, token: str) -> str:
        return f"""
cluster:
  enabled: true
  server_address: "{self.address(member)}:8443"
  cluster_token: "{token}"
  member_config: [{{entity: storage-pool, name: desks, key: size, value: 2GiB}}]
"""

    def kill(self, member: int) -> None:
        """The member dies at once, and every desktop on it: as when its power fails."""
        node = self.node(member)
        inside = _run("ip", "netns", "pids", node).split()
        server = self.servers.pop(node)
        self._kill_tree(server, inside)

    def _kill_tree(self, server: subprocess.Popen[bytes], others: list[str]) -> None:
        family = _descendants({server.pid, *map(int, others)})
        for pid in [server.pid, *family]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        server.wait(10)

    def stop(self) -> None:
        """End everything that was started, and remove it."""
        for member in range(MEMBERS):
            node = self.node(member)
            if node in self.servers:
                pids = subprocess.run(["ip", "netns", "pids", node], capture_output=True, text=True, check=False)
                self._kill_tree(self.servers.pop(node), pids.stdout.split())
            subprocess.run(["ip", "netns", "del", node], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", f"gdb{self.number}"], capture_output=True, check=False)
        for group in Path("/sys/fs/cgroup").glob("*/lxc.*.gd-*"):  # of members that were killed; others' are not empty
            for inner in [*sorted(group.rglob("*/"), reverse=True), group]:
                with contextlib.suppress(OSError):
                    inner.rmdir()
        unmount_all_under(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)


def _descendants(roots: set[int]) -> list[int]:
    """Every process below these, theirs included, as /proc tells."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, grew = set(roots), True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        grew = bool(more)
        found |= more
    return sorted(found)
