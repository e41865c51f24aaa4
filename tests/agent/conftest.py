"""A real display, window manager and agent, with no engine around them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ghostdesk.agent.menu import launch_command
from ghostdesk.control.agent_hub import AgentHub
from ghostdesk.control.system_clock import SystemClock
from ghostdesk.engines.protocol import Endpoint
from ghostdesk.ghosts.commands import TellBound
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.telemetry.events import TelemetrySource, UsageEvent

NEEDED = ("Xvnc", "openbox", "dbus-daemon", "mousepad", "xprop", "xdotool")
DISPLAY_OPTIONS = "-geometry 800x600 -depth 24 -SecurityTypes None -rfbport -1"
SYSTEM_PYTHON = "/usr/bin/python3"
SOURCES = Path(__file__).parents[2] / "src"
GHOST = GhostId("g1")
V2_ROOTS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))


@dataclass
class Events:
    """Keeps what agents report."""

    usage: list[UsageEvent] = field(default_factory=list)
    lost: list[GhostId] = field(default_factory=list)

    def on_usage(self, ghost: GhostId, event: UsageEvent) -> None:
        self.usage.append(event)

    def on_agent_lost(self, ghost: GhostId) -> None:
        self.lost.append(ghost)

    def told(self, kind: str) -> list[UsageEvent]:
        return [event for event in self.usage if event.kind == kind]


@dataclass
class Desk:
    """One desktop with its agent."""

    folder: Path
    display: str
    environment: dict[str, str]
    hub: AgentHub
    events: Events
    cgroup: Path | None
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    agent: subprocess.Popen[bytes] | None = None
    ghost: GhostId = GHOST

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(str(self.folder / "rfb"), str(self.folder / "agent.sock"), "sesame", os.geteuid())

    def spawn(self, *command: str, **more: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment | more, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    async def start_agent(self) -> None:
        self.agent = self.spawn(SYSTEM_PYTHON, "-m", "ghostdesk.agent")
        await self.hub.wait_connected(self.ghost, 15)

    async def kill_agent(self) -> None:
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait(10)
        await self.until(lambda: not self.hub.connected(self.ghost))

    async def bind(self) -> None:
        outcome = await self.hub.apply(TellBound(self.ghost, UserId("ada")))
        assert outcome.ok, outcome.error

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        return await self.hub.call(self.ghost, method, params, 40)

    async def until(self, check: Callable[[], Any], limit_s: float = 20.0) -> Any:
        end_s = time.monotonic() + limit_s
        while not (found := check()):
            assert time.monotonic() < end_s, f"not within {limit_s} s; log:\n{self.log()}"
            await asyncio.sleep(0.02)
        return found

    async def state_of(self, app: str) -> str:
        return next((str(found["state"]) for found in await self.hub.listing(self.ghost) if found["app"] == app), "")

    async def pids_of(self, app: str) -> list[int]:
        return [pid for found in await self.hub.listing(self.ghost) if found["app"] == app for pid in found["pids"]]

    def picture(self) -> bytes:
        """The whole root window."""
        from Xlib import X, display

        connection = display.Display(self.display)
        try:
            root = connection.screen().root
            size = root.get_geometry()
            return bytes(root.get_image(0, 0, size.width, size.height, X.ZPixmap, 0xFFFFFFFF).data)
        finally:
            connection.close()

    def xdotool(self, *words: str) -> str:
        done = subprocess.run(["xdotool", *words], env=self.environment, capture_output=True, timeout=20, check=False)
        return done.stdout.decode().strip()

    def ask_menu(self, app: str) -> None:
        """What an entry of the desktop's menu does."""
        subprocess.run(launch_command(AppId(app)).split(), env=self.environment, check=True, timeout=10)

    def groups(self) -> list[str]:
        return [path.name for path in self.cgroup.glob("app-*")] if self.cgroup else []

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def stop(self) -> None:
        marked = [f"DISPLAY={self.display}".encode(), f"HOME={self.home}".encode()]
        for path in Path("/proc").glob("[0-9]*"):  # applications, which are not our children
            with contextlib.suppress(OSError):
                if set(marked) <= set((path / "environ").read_bytes().split(b"\0")):
                    os.kill(int(path.name), signal.SIGKILL)
        for process in self.processes:
            process.kill()
            process.wait(10)


@pytest.fixture(params=["v2"])
def cgroup(request: pytest.FixtureRequest) -> Iterator[tuple[str, Path | None]]:
    """A cgroup of this test's own, of the kind that the test asks for (indirect parameter: v2, v1 or none)."""
    kind = request.param
    if kind == "none":
        yield kind, None
        return
    roots = V2_ROOTS if kind == "v2" else (Path("/sys/fs/cgroup/freezer"),)
    root = next((r for r in roots if kind == "v1" or (r / "cgroup.controllers").exists()), None)
    if root is None or not root.is_dir() or not os.access(root, os.W_OK):
        pytest.skip(f"no cgroup {kind} that can be written to")
    folder = root / f"ghostdesk-test-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    yield kind, folder
    for path in [*folder.glob("app-*"), folder]:
        remove_cgroup(path)


def remove_cgroup(path: Path) -> None:
    """Thaw it, end what is in it, and remove it; the kernel needs a moment to see the end of a process."""
    for name, text in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
        if (path / name).exists():
            (path / name).write_text(text)
    for _ in range(100):
        for pid in (path / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(OSError):
            path.rmdir()
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} cannot be removed")


@pytest.fixture
async def desk(tmp_path: Path, cgroup: tuple[str, Path | None]) -> AsyncIterator[Desk]:
    """A desktop whose agent is connected; not bound yet."""
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    if not any(Path("/usr/lib/python3/dist-packages").glob("Xlib")):
        pytest.skip("needs python3-xlib for the system's Python")
    kind, folder = cgroup
    (tmp_path / "home").mkdir()
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "token").write_text("sesame\n")
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(tmp_path / "home"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/run/bus",
        "GSETTINGS_BACKEND": "memory",
        "NO_AT_BRIDGE": "1",
        "PYTHONPATH": str(SOURCES),
        "GHOSTDESK_GHOST": GHOST,
        "GHOSTDESK_AGENT_SOCKET": str(tmp_path / "agent.sock"),
        "GHOSTDESK_TOKEN_FILE": str(tmp_path / "token"),
        "GHOSTDESK_CGROUP": str(folder or ""),
        "GHOSTDESK_CGROUP_KIND": kind,
        "GHOSTDESK_VIDEO_FOLDER": str(tmp_path / "dev"),
    }
    events = Events()
    hub = AgentHub(events, sources=list(TelemetrySource), sample_every_s=3600, clock=SystemClock())
    desk = Desk(tmp_path, "", environment, hub, events, folder)
    try:
        desk.display = environment["DISPLAY"] = start_display(desk)
        desk.spawn("dbus-daemon", "--session", "--nofork", f"--address=unix:path={tmp_path}/run/bus")
        desk.spawn("openbox", "--sm-disable")
        await desk.until(lambda: "0x" in ask_root(desk, "_NET_SUPPORTING_WM_CHECK"))
        await hub.connect(GHOST, desk.endpoint)
        await desk.start_agent()
        yield desk
    finally:
        await hub.close()
        desk.stop()


def start_display(desk: Desk) -> str:
    """Start Xvnc on a free display and return its name."""
    read, write = os.pipe()
    with (desk.folder / "log").open("ab") as log:
        process = subprocess.Popen(
            ["Xvnc", "-displayfd", str(write), "-rfbunixpath", "rfb", *DISPLAY_OPTIONS.split()],
            cwd=desk.folder,
            pass_fds=[write],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    desk.processes.append(process)
    os.close(write)
    with os.fdopen(read) as numbers:
        return f":{numbers.readline().strip()}"


def ask_root(desk: Desk, name: str) -> str:
    """A property of the root window, as xprop prints it."""
    done = subprocess.run(["xprop", "-root", name], env=desk.environment, capture_output=True, check=False, timeout=10)
    return done.stdout.decode()
