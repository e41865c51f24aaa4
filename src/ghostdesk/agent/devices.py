"""Use of the microphone and of cameras: which application, on or off. Never what is said or seen."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ghostdesk.agent import inotify, processes
from ghostdesk.agent.loop import Loop
from ghostdesk.agent.reporting import Reporter

AppOfPid = Callable[[int], str | None]
RETRY_S = 15.0
SETTLE_S = 0.1


class OnOff:
    """Reports changes of the set of applications that use something."""

    def __init__(self, reporter: Reporter, kind: str) -> None:
        self._reporter = reporter
        self._kind = kind
        self._now: set[str | None] = set()

    def set(self, apps: set[str | None]) -> None:
        """These use it now; None stands for one that is not in the catalogue."""
        for app in apps - self._now:
            self._reporter.report(self._kind, app=app, value=1.0)
        for app in self._now - apps:
            self._reporter.report(self._kind, app=app, value=0.0)
        self._now = apps


class Microphone:
    """PulseAudio's (or PipeWire's) recording streams, event-driven through ``pactl subscribe``.

    pulsectl in the agent would cost 5 MiB of unshared memory and a poll; pactl is a small C program that sleeps.
    """

    def __init__(self, loop: Loop, reporter: Reporter, app_of_pid: AppOfPid) -> None:
        self._loop = loop
        self._use = OnOff(reporter, "microphone")
        self._app_of_pid = app_of_pid
        self._process: Any = None
        self._wanted = False
        self._due = False

    def start(self) -> None:
        """Begin as soon as there is a sound server; looks for one every `RETRY_S` seconds."""
        if not self._wanted:
            self._wanted = True
            self._connect()

    def stop(self) -> None:
        """Watch no more."""
        self._wanted = False
        self._end()

    def _connect(self) -> None:
        import shutil
        import subprocess

        if not self._wanted or self._process is not None:
            return
        if not Path(pulse_socket()).exists() or shutil.which("pactl") is None:
            self._loop.later(RETRY_S, self._connect)
            return
        self._process = subprocess.Popen(
            ["pactl", "subscribe"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
        os.set_blocking(self._process.stdout.fileno(), False)
        self._loop.watch(self._process.stdout, self._read)
        self._look()

    def _read(self) -> None:
        block = os.read(self._process.stdout.fileno(), 65536)
        if not block:
            self._end()
            self._use.set(set())
            self._loop.later(RETRY_S, self._connect)
        elif b"source-output" in block and not self._due:
            self._due = True
            self._loop.later(SETTLE_S, self._look)

    def _look(self) -> None:
        import subprocess

        self._due = False
        if self._process is None:
            return
        try:
            answer = subprocess.run(
                ["pactl", "-f", "json", "list", "source-outputs"],
                capture_output=True,
                timeout=2,
                check=True,
                stdin=subprocess.DEVNULL,
            ).stdout
            streams = json.loads(answer or b"[]")
        except (OSError, subprocess.SubprocessError, ValueError):
            return
        self._use.set({self._app_of(stream) for stream in streams if isinstance(stream, dict)})

    def _app_of(self, stream: dict[str, Any]) -> str | None:
        properties = stream.get("properties") or {}
        try:
            return self._app_of_pid(int(properties.get("application.process.id", "")))
        except ValueError:
            return None

    def _end(self) -> None:
        if self._process is not None:
            self._loop.forget(self._process.stdout)
            self._process.stdout.close()
            if self._process.poll() is None:
                self._process.terminate()
            self._process.wait(timeout=2)
            self._process = None


def pulse_socket() -> str:
    """Where the sound server listens."""
    server = os.environ.get("PULSE_SERVER", "")
    if server.startswith("unix:"):
        return server.removeprefix("unix:")
    return str(Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"), "pulse/native"))


class Camera:
    """Opens and closes of ``video*`` devices; who has one open is read from /proc then.

    Args:
        folder: where the devices are.
    """

    def __init__(self, loop: Loop, reporter: Reporter, app_of_pid: AppOfPid, folder: str = "/dev") -> None:
        self._loop = loop
        self._use = OnOff(reporter, "camera")
        self._app_of_pid = app_of_pid
        self._folder = Path(folder)
        self._inotify: inotify.Inotify | None = None
        self._due = False

    def start(self) -> None:
        """Begin, where there is a camera."""
        devices = self._devices()
        if self._inotify is not None or not devices:
            return
        try:
            self._inotify = inotify.Inotify()
            for device in devices:
                self._inotify.add(device, inotify.OPENED | inotify.CLOSED)
        except OSError:
            self.stop()
            return
        self._loop.watch(self._inotify.fileno(), self._read)
        self._look()

    def stop(self) -> None:
        """Watch no more."""
        if self._inotify is not None:
            self._loop.forget(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    def _read(self) -> None:
        if self._inotify is not None and list(self._inotify.read()) and not self._due:
            self._due = True
            self._loop.later(SETTLE_S, self._look)

    def _devices(self) -> list[str]:
        return [str(path) for path in self._folder.glob("video*")]

    def _look(self) -> None:
        self._due = False
        devices = set(self._devices())
        users = [pid for pid in processes.all_pids() if devices & set(processes.open_files(pid))]
        self._use.set({self._app_of_pid(pid) for pid in users})
