"""A real PostgreSQL server of the tests' own: on a unix socket in a folder of theirs, gone at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path


class PostgresProblem(Exception):
    """A server cannot be had here; says why."""


def programs() -> Path:
    """Where initdb and postgres are; Debian keeps them out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    if (beside := shutil.which("initdb")) is not None:
        return Path(beside).parent
    raise PostgresProblem("PostgreSQL's server is not installed (Debian: postgresql)")


class PostgresServer:
    """Starts when made. `new_database` gives the address of an empty one; `stop`, `start`, `kill` play its faults."""

    def __init__(self) -> None:
        self._bin = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="gdp", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"))
        self._user, self._number = self._owner(), 0
        self._server: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", "gd", "-E", "UTF8", "--no-sync")
        self.start()

    def _owner(self) -> list[str]:
        """PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return []
        try:
            known = pwd.getpwnam("postgres")
        except KeyError:
            raise PostgresProblem("there is no user postgres to run the server as") from None
        os.chown(self.folder, known.pw_uid, known.pw_gid)
        return ["setpriv", f"--reuid={known.pw_uid}", f"--regid={known.pw_gid}", "--clear-groups", "--"]

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [*self._user, str(self._bin / program), *words], capture_output=True, text=True, cwd="/", check=False
        )
        if done.returncode != 0:
            raise PostgresProblem(f"{program}: {done.stderr.strip()[-300:]}")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = ["-D", str(self.folder / "data"), "-k", str(self.folder), "-c", "listen_addresses="]
        words += ["-c", "max_connections=60", "-c", "shared_buffers=128MB", "-c", "fsync=off"]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [*self._user, str(self._bin / "postgres"), *words], stdout=log, stderr=log, cwd="/"
            )
        deadline_s = time.monotonic() + 30
        while True:
            try:
                self._run("psql", "-h", str(self.folder), "-U", "gd", "-c", "SELECT 1", "postgres")
                return
            except PostgresProblem:
                if time.monotonic() > deadline_s or self._server.poll() is not None:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once, as a fast shutdown does."""
        assert self._server is not None
        self._server.send_signal(signal.SIGINT)
        self._server.wait(30)

    def new_database(self) -> str:
        """The address of an empty database."""
        self._number += 1
        name = f"gd{self._number}"
        self._run("psql", "-h", str(self.folder), "-U", "gd", "-c", f"CREATE DATABASE {name}", "postgres")
        return f"postgresql://gd@/{name}?host={self.folder}"

    def end(self) -> None:
        """Stop it and remove its folder."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGQUIT)  # nothing in it is wanted any more
            self._server.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)
