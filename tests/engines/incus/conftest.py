"""A real LXD or Incus server, started by the tests in folders of their own, without systemd."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ghostdesk.engines.local.mounts import mounted_under, unmount_all_under

_PRESEED = """
storage_pools:
- name: desks
  driver: {driver}
  config: {config}
profiles:
- name: default
  devices: {{}}
"""


@dataclass(frozen=True)
class Server:
    """A server: its folder, and its process."""

    folder: Path
    pid: int


@pytest.fixture(scope="session")
def incus_server() -> Iterator[Server]:
    """A server with one storage pool, "desks"."""
    daemon = shutil.which("incusd") or shutil.which("lxd")
    if daemon is None:
        pytest.skip("neither Incus nor LXD is installed here")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = Path(tempfile.mkdtemp(prefix="gdx", dir="/var/tmp"))
    folder.chmod(0o711)
    variables = {**os.environ, "LXD_DIR": str(folder), "INCUS_DIR": str(folder)}
    # A mount namespace of its own: what the server mounts is gone with it.
    command = ["unshare", "--mount", "--", daemon, "--group", "root", "--logfile", str(folder / "server.log")]
    server = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _set_up(folder, variables, server)
        yield Server(folder, server.pid)
    finally:
        server.send_signal(signal.SIGPWR)  # stop the instances, then end
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
        if server.poll() is None:
            server.kill()
            server.wait()
        unmount_all_under(folder)
        assert mounted_under(folder) == []
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def incus_socket(incus_server: Server) -> str:
    """Its socket."""
    return str(incus_server.folder / "unix.socket")


@pytest.fixture
def incus_folder(incus_server: Server) -> Path:
    """Its folder."""
    return incus_server.folder


@pytest.fixture
def incus_pid(incus_server: Server) -> int:
    """Its process, in whose mount namespace its storage pools are mounted."""
    return incus_server.pid


def _set_up(folder: Path, variables: dict[str, str], server: "subprocess.Popen[bytes]") -> None:
    deadline_s = time.monotonic() + 30
    while not (folder / "unix.socket").exists():
        if server.poll() is not None or time.monotonic() > deadline_s:
            log = folder / "server.log"
            pytest.skip(f"the server does not start here: {log.read_text()[-300:] if log.exists() else 'no log'}")
        time.sleep(0.05)
    name = "incus" if shutil.which("incusd") else "lxd"
    driver = "btrfs" if shutil.which("mkfs.btrfs") else "dir"
    config = json.dumps({"size": "3GiB"}) if driver == "btrfs" else "{}"
    words = [name, "admin", "init", "--preseed"] if name == "incus" else ["lxd", "init", "--preseed"]
    done = subprocess.run(
        words,
        env=variables,
        input=_PRESEED.format(driver=driver, config=config),
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"the server cannot be set up here: {done.stderr.strip()[-300:]}")


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder with a short path that other uids may pass."""
    folder = Path(tempfile.mkdtemp(prefix="gd-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)
