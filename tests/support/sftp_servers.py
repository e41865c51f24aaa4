"""A real SSH server on loopback with homes on it, and a relay before it that holds every packet for a while."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SSHD = "/usr/sbin/sshd"


def missing_programs() -> list[str]:
    """What is needed and this machine lacks."""
    missing = [name for name in ("sshfs", "ssh-keygen", "fusermount3", "fincore") if shutil.which(name) is None]
    if not Path(SSHD).exists():
        missing.append("openssh-server")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        missing.append("/dev/fuse")
    return missing


@dataclass
class SshServer:
    """A server that runs.

    Args:
        homes: its folder of homes.
        port: on 127.0.0.1.
        options: what sshfs needs to get in.
    """

    homes: Path
    port: int
    options: tuple[str, ...]
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End it, and the sessions that it serves, as when a machine's network goes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Start one in `folder`, for root with a key."""
    homes = folder / "homes"
    homes.mkdir(parents=True)
    Path("/run/sshd").mkdir(exist_ok=True)  # it insists on it
    for key in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)],
            check=True,
            stdin=subprocess.DEVNULL,
        )
    port = free_port()
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'user.pub'}\n"
        "StrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\nSubsystem sftp internal-sftp\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "config")],
            stdin=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    options = (
        f"IdentityFile={folder / 'user'}",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        f"port={port}",
    )
    server = SshServer(homes, port, options, process)
    try:
        await_port(port)
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_port(port: int) -> None:
    """Wait until somebody listens."""
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError("nobody listens")


class SimulatedLatency:
    """A relay on loopback that holds each packet, both ways, for half of `round_trip_s`: a made-up distance."""

    def __init__(self, port: int, round_trip_s: float) -> None:
        self._to, self._half_s = port, round_trip_s / 2
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> SimulatedLatency:
        self._thread.start()
        self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._relay, "127.0.0.1", self.port))
        self._ready.set()
        self._loop.run_forever()
        server.close()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(self._one_way(reader, far_writer), self._one_way(far_reader, writer))

    async def _one_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

        async def send() -> None:
            while True:
                due_s, data = await queue.get()
                await asyncio.sleep(max(due_s - loop.time(), 0.0))
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            writer.close()

        sending = asyncio.create_task(send())
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                queue.put_nowait((loop.time() + self._half_s, data))
        queue.put_nowait((loop.time() + self._half_s, b""))
        with contextlib.suppress(OSError):
            await sending
