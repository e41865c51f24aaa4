"""A real `ghostdesk run` in its own process and folders, as an operator would start it, and a user's way in."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

GATE_OPEN = "[context]\nwarming_gate = false"
TELLING = ("problem", "notes", "ghosts", "launches", "context")
REQUIRED = ("bwrap", "Xvnc", "openbox", "xdotool")


def missing_programs() -> list[str]:
    """What real desktops need and this machine lacks."""
    return [name for name in REQUIRED if shutil.which(name) is None]


def wait_for(true: Callable[[], Any], timeout_s: float = 30.0, what: str = "it") -> Any:
    """Wait until `true()` is; fails loudly after `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {timeout_s} s")


class Running:
    """One ghostdesk process after another on the same folders; `database` and `name` where several share them."""

    def __init__(
        self, root: Path, *, database: str = "", name: str = "ghostdesk", engine: str = "", **pool: int
    ) -> None:
        self.root, self.database = root, database
        self.state, self.run = root / "s", root / "r"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = root / f"{name}.toml"
        shared = f"database = '{database}'\n" if database else ""
        settings = {"floor": 1, "ceiling": 4, **pool}
        self.config.write_text(
            f"[server]\nport = {self.port}\n[state]\ndirectory = '{self.state}'\nrun_directory = '{self.run}'\n{shared}"
            "[forecast]\ntick_s = 0.5\n"
            f"[engine]\nghosts_yield = false\n{engine}"  # the same: ghosts that yield get ready late on a busy machine
            f"{GATE_OPEN}\n"  # whatever runs beside the tests
            "[pool]\n" + "".join(f"{k} = {v}\n" for k, v in settings.items())
        )
        self.process: subprocess.Popen[str] | None = None
        self.log = root / f"{name}.log"
        self.clients: list[httpx.Client] = []
        self._operator: httpx.Client | None = None

    def command(self, *words: str, before: tuple[str, ...] = (), **kwargs: Any) -> subprocess.CompletedProcess[str]:
        """`ghostdesk WORDS`, to its end."""
        full = (*before, sys.executable, "-m", "ghostdesk", *words, "--config", str(self.config))
        return subprocess.run(full, capture_output=True, text=True, timeout=60, check=False, **kwargs)

    def start(self, *options: str, env: dict[str, str] | None = None, wait: bool = True) -> None:
        """`ghostdesk run`, until it prints its address."""
        words = [sys.executable, "-m", "ghostdesk", "run", "--config", str(self.config), *options]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                words, stdout=log, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})},
                start_new_session=True,
            )  # fmt: skip
        if wait:
            wait_for(lambda: "#sign-in=" in self.said() or self.process.poll() is not None, 40, "start")  # type: ignore[union-attr]
            assert "#sign-in=" in self.said(), self.said()

    def said(self) -> str:
        """What it printed, its line breaks undone."""
        return re.sub(r"\s+", " ", self.log.read_text()) if self.log.exists() else ""

    def kill(self) -> None:
        """SIGKILL to the control plane alone: what it started goes on."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_s: float = 30.0) -> int:
        """SIGTERM, and wait for the clean end."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout_s)

    def sign_in(self, user: str) -> httpx.Client:
        """Make the account, use a one-time link, and give the signed-in client."""
        if user != "operator":
            added = self.command("user", "add", user)
            assert added.returncode == 0, added.stderr
        link = json.loads(self.command("sign-in-link", user, "--json").stdout)["url"]
        client = httpx.Client(base_url=self.url, headers={"Origin": self.url}, timeout=30)
        answer = client.post("/api/session", json={"token": link.rpartition("=")[2]})
        self.clients.append(client)
        assert answer.status_code == 200, answer.text
        return client

    def status(self) -> dict[str, Any]:
        """The status as the operator's page sees it."""
        if self._operator is None:
            self._operator = self.sign_in("operator")
        answer = self._operator.get("/api/status")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ghosts(self) -> dict[str, dict[str, Any]]:
        """Ghosts by id."""
        return {g["ghost"]: g for g in self.status()["ghosts"]}

    def told(self) -> str:
        """What explains a failed test: the end of the log, and what the status view says of the ghosts."""
        try:
            status = json.dumps({k: v for k, v in self.status().items() if k in TELLING}, indent=1)
        except (httpx.HTTPError, AssertionError, RuntimeError) as error:  # it is down, or its clients are closed
            status = f"no status: {error}"
        return f"{self.said()[-6000:]}\n{status[:6000]}"

    def said_problem(self) -> str:
        """The problem that the status view shows; empty when all is well, or while nothing can be asked."""
        try:
            return str(self.status()["problem"])
        except (httpx.HTTPError, AssertionError):
            return "no space to ask"

    def record(self, ghost: str) -> dict[str, Any]:
        """The engine's own record of a ghost, as it lies on disk."""
        found: dict[str, Any] = json.loads((self.state / "ghosts" / ghost / "ghost.json").read_text())
        return found

    def rfb_greeting(self, ghost: str) -> bytes:
        """What the desktop's screen server says first."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(10)
            line.connect(str(self.run / ghost / "rfb.sock"))
            return line.recv(12)

    def remains(self) -> list[str]:
        """Everything of ours that is still on the host: processes, mounts, cgroups, sockets, ghost folders."""
        found = [f"mount {line.split()[4]}" for line in _lines("/proc/self/mountinfo") if str(self.root) in line]
        found += [f"socket {path}" for path in self.run.rglob("*.sock")] if self.run.exists() else []
        ghosts = self.state / "ghosts"
        found += [f"folder {path}" for path in ghosts.iterdir()] if ghosts.exists() else []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.root) in words and int(entry.name) != os.getpid():
                found.append(f"process {entry.name} {words[:80]}")
        return found

    def events(self) -> list[tuple[Any, ...]]:
        """What the database holds of usage, read from outside."""
        base = sqlite3.connect(f"file:{self.state / 'ghostdesk.db'}?mode=ro", uri=True)
        try:
            return base.execute("select kind, user, app from events order by time_s").fetchall()
        finally:
            base.close()


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


@contextmanager
def running(**pool: int) -> Iterator[Running]:
    """A ghostdesk's folders, which are left empty of desktops whatever the test did."""
    root = Path(tempfile.mkdtemp(prefix="gdw-"))
    root.chmod(0o711)
    desk = Running(root, **pool)
    try:
        yield desk
    finally:
        for client in desk.clients:
            client.close()
        if desk.process is not None and desk.process.poll() is None:
            desk.process.kill()
            desk.process.wait()
        desk.command("clean")
        shutil.rmtree(root, ignore_errors=True)
