"""An engine of one file: each desktop is an Xvnc of its own on this host, with nothing around it.

It is here to be read and tested, not to be used: nothing keeps its desktops apart, and no limits hold.
"""

import asyncio
import json
import os
import secrets
import shutil
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import psutil

from ghostdesk.engines.protocol import FREEZING, PARKING, RESIZING, Ability, Endpoint, ObservedGhost
from ghostdesk.ghosts import commands as do
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.errors import (
    BuildFailed,
    Conflict,
    EngineError,
    GhostdeskError,
    MissingRequirement,
    NotFound,
    Unsupported,
)
from ghostdesk.kernel.ids import ghost_id, user_id
from ghostdesk.kernel.resources import Resources

SCREEN_TIMEOUT_S = 60.0


class PlainEngine:
    """What it knows is on the host: a folder with a record for each ghost, and the processes themselves."""

    def __init__(self, state_dir: Path, run_dir: Path) -> None:
        self._ghosts, self._run_dir = state_dir / "ghosts", run_dir
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def start(self) -> None:
        if shutil.which("Xvnc") is None:
            raise MissingRequirement("Xvnc is not installed.", "Run: apt-get install tigervnc-standalone-server")
        try:
            for folder in (self._ghosts, self._run_dir):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineError(f"{error.filename} cannot be made: {error.strerror}.", "Give another folder.") from error

    async def observe(self) -> list[ObservedGhost]:
        return await asyncio.to_thread(self._observe)

    def _observe(self) -> list[ObservedGhost]:
        found = []
        for folder in sorted(self._ghosts.iterdir()):
            record, screen = self._record(folder.name), self._screen(folder.name)
            frozen = screen is not None and screen.status() == psutil.STATUS_STOPPED
            found.append(
                ObservedGhost(folder.name, screen is not None, frozen, record.get("owner"), record.get("template", ""))
            )
        return found

    async def apply(self, command: do.EngineCommand) -> do.Outcome:
        began_s, error, facts = time.perf_counter(), None, {}
        try:
            ghost_id(command.ghost)
            async with self._locks[command.ghost]:
                # A thread cannot be stopped: whoever gives up waits for its end, so that no two work on one ghost.
                work = asyncio.ensure_future(asyncio.to_thread(self._carry_out, command))
                try:
                    await asyncio.shield(work)
                except asyncio.CancelledError:
                    await asyncio.wait([work])
                    raise
        except GhostdeskError as raised:
            error = raised
        except (OSError, ValueError, psutil.Error) as raised:
            error = EngineError(f"{type(command).__name__} failed: {raised}.")
        return do.Outcome(command, error, time.perf_counter() - began_s, facts)

    def _carry_out(self, command: do.EngineCommand) -> None:
        ghost = command.ghost
        match command:
            case do.Build():
                self._build(command)
            case do.Destroy():
                self._destroy(ghost)
            case do.AttachHome():
                self._living(ghost)
                self._attach(ghost, user_id(command.user))
            case do.Freeze():
                self._living(ghost).suspend()
            case do.Thaw():
                self._living(ghost).resume()
            case do.SetLimits() | do.ReclaimMemory() | do.CallBackMemory():
                self._living(ghost)
                raise Unsupported(f"Plain processes know no {type(command).__name__}.", "Use another engine.")

    def _build(self, build: do.Build) -> None:
        if self._screen(build.ghost) is not None:
            return
        self._destroy(build.ghost)  # what a crash left
        (self._run_dir / build.ghost).mkdir(mode=0o700)
        (self._ghosts / build.ghost).mkdir()
        self._write(build.ghost, {"template": build.template.template, "token": secrets.token_urlsafe(24)})
        size = f"{build.template.width_px}x{build.template.height_px}"
        display = f":{1000 + secrets.randbelow(30_000)}"
        subprocess.Popen(
            ["Xvnc", display, "-geometry", size, "-rfbunixpath", self._rfb(build.ghost), "-rfbport=-1",
             "-SecurityTypes", "None", "-nolisten", "tcp", "-nolisten", "unix"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline_s = time.monotonic() + SCREEN_TIMEOUT_S
        while not Path(self._rfb(build.ghost)).is_socket():
            if time.monotonic() > deadline_s or self._screen(build.ghost) is None:
                self._destroy(build.ghost)
                raise BuildFailed("Xvnc did not come up.", "Run it by hand and see what it says.")
            time.sleep(0.02)

    def _attach(self, ghost: str, user: str) -> None:
        record = self._record(ghost)
        if record.get("owner") not in (None, user):
            raise Conflict(f"Ghost {ghost} has another owner.", "Take another ghost.")
        self._write(ghost, record | {"owner": user})

    def _destroy(self, ghost: str) -> None:
        while (screen := self._screen(ghost)) is not None:
            screen.kill()
            screen.wait(10)
        shutil.rmtree(self._run_dir / ghost, ignore_errors=True)
        shutil.rmtree(self._ghosts / ghost, ignore_errors=True)

    def _screen(self, ghost: str) -> psutil.Process | None:
        """Known by the socket that it serves: a number in a file would be lost in a crash, and used again after one."""
        for process in psutil.process_iter(["cmdline", "status"]):
            if self._rfb(ghost) in (process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _living(self, ghost: str) -> psutil.Process:
        if (screen := self._screen(ghost)) is None:
            raise NotFound(f"There is no ghost {ghost} here.", "It died, was destroyed, or never built.")
        return screen

    def _rfb(self, ghost: str) -> str:
        return str(self._run_dir / ghost / "rfb.sock")

    def _record(self, ghost: str) -> dict[str, str]:
        try:
            return json.loads((self._ghosts / ghost / "ghost.json").read_text())
        except (OSError, ValueError):
            return {}

    def _write(self, ghost: str, record: dict[str, str]) -> None:
        beside = self._ghosts / ghost / ".ghost.json"
        beside.write_text(json.dumps(record))
        beside.replace(self._ghosts / ghost / "ghost.json")

    def endpoint(self, ghost: str) -> Endpoint:
        if not (token := self._record(ghost).get("token")):
            raise NotFound(f"There is no ghost {ghost} here.", "It was destroyed, or never built.")
        return Endpoint(self._rfb(ghost), str(self._run_dir / ghost / "agent.sock"), token, os.geteuid())

    def abilities(self) -> list[Ability]:
        return [
            Ability(FREEZING, True, "SIGSTOP"),
            Ability(RESIZING, False, "nothing holds plain processes to limits", "Use the local engine."),
            Ability(PARKING, False, "no memory is pushed out", "Use the local engine."),
        ]

    def capacity(self) -> Resources:
        return Resources(float(psutil.cpu_count() or 1), float(psutil.virtual_memory().total))

    async def conditions(self) -> HostConditions:
        memory = psutil.virtual_memory()
        return HostConditions(
            time.time(), memory_bytes=memory.total, memory_available_bytes=memory.available,
            problems=("only the memory is read",),
        )  # fmt: skip

    async def stop(self, *, keep_ghosts: bool) -> None:
        if not keep_ghosts and self._ghosts.is_dir():
            for folder in list(self._ghosts.iterdir()):
                await self.apply(do.Destroy(folder.name))
