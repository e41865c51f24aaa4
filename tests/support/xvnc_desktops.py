"""Real desktops without ghostdesk's engine: Xvnc and openbox as plain processes, to test the server and the page."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ghostdesk.kernel.ids import AppId, GhostId

NEEDED = ("Xvnc", "openbox", "xdotool")


def missing_programs(*more: str) -> list[str]:
    """Programs that these tests need and the machine lacks."""
    return [name for name in (*NEEDED, *more) if shutil.which(name) is None]


@dataclass
class XvncDesktop:
    """One running desktop."""

    socket: Path
    display: str
    home: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        private = {"HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home), "NO_AT_BRIDGE": "1"}
        return {**keep, **private, "DISPLAY": self.display, "GSETTINGS_BACKEND": "memory", "GTK_USE_PORTAL": "0"}

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def xdotool(self, *words: str) -> str:
        done = subprocess.run(["xdotool", *words], env=self.environment(), capture_output=True, timeout=20, check=False)
        return done.stdout.decode().strip()

    def stop(self) -> None:
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


class XvncDesktops:
    """Makes desktops on demand, and ends those that are left."""

    COMMANDS: ClassVar = {
        "org.xfce.mousepad": ("dbus-run-session", "--", "mousepad"),
        "xev": ("xev", "-geometry", "400x300"),
    }

    def __init__(self, folder: Path, apps: tuple[str, ...] = ()) -> None:
        self._folder = folder
        self._apps = apps
        self.desktops: dict[GhostId, XvncDesktop] = {}

    def make(self, ghost: GhostId) -> str:
        home = self._folder / f"home-{ghost}"
        home.mkdir(mode=0o700)
        desktop = XvncDesktop(self._folder / f"{ghost}.rfb", "", home)
        read_end, write_end = os.pipe()
        command = ["Xvnc", "-displayfd", str(write_end), "-rfbunixpath", str(desktop.socket), "-rfbunixmode", "0600"]
        command += [
            "-SecurityTypes",
            "None",
            "-geometry",
            "1280x800",
            "-depth",
            "24",
            "-AlwaysShared",
            "-SendPrimary=0",  # what is merely selected is not copied
            "-nolisten",
            "tcp",
        ]
        process = subprocess.Popen(
            command,
            pass_fds=(write_end,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        desktop.processes.append(process)
        os.close(write_end)
        with os.fdopen(read_end) as numbers:
            desktop.display = f":{numbers.readline().strip()}"
        wait_for(desktop.socket.exists, "Xvnc's socket")
        desktop.start("openbox")
        self.desktops[ghost] = desktop
        for app in self._apps:
            self.start(ghost, AppId(app))
        return str(desktop.socket)

    def start(self, ghost: GhostId, app: AppId) -> None:
        self.desktops[ghost].start(*self.COMMANDS[app])

    def destroy(self, ghost: GhostId) -> None:
        self.desktops.pop(ghost).stop()

    def close(self) -> None:
        for ghost in list(self.desktops):
            self.destroy(ghost)


def wait_for(truth: object, what: str, timeout_s: float = 15.0) -> None:
    """Wait until `truth()` holds."""
    end_s = time.monotonic() + timeout_s
    while not truth():  # type: ignore[operator]
        if time.monotonic() > end_s:
            raise AssertionError(f"{what} did not come within {timeout_s} s")
        time.sleep(0.02)
