"""Reaching into a machine through QEMU's guest agent (docs/interop/qemu-ga-ref): run a script, look for a file."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

from ghostdesk.engines.libvirt.connection import Connection
from ghostdesk.engines.libvirt.errors import Unreachable
from ghostdesk.kernel.errors import BuildFailed, EngineError, NotFound

SCRIPTS = "/opt/ghostdesk/vm"
PAINTED = "/run/ghostdesk-painted"
_AGENT_TIMEOUT_S = 10
_LOOK_EVERY_S = 0.1
_LOOK_LATER_S = 0.5
_PATIENCE = 4.0


class Guest:
    """One machine's inside.

    Args:
        connection: its host.
        name: the machine's.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    async def ask(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """One command of the guest agent; raises as `Connection.call`."""
        text = json.dumps({"execute": command, "arguments": arguments or {}})

        def work(connection: Any) -> str:
            import libvirt_qemu

            told: str = libvirt_qemu.qemuAgentCommand(connection.lookupByName(self._name), text, _AGENT_TIMEOUT_S, 0)
            return told

        return json.loads(await self._connection.call(work))["return"]

    async def start(self, script: str, *arguments: str, given: str = "") -> int:
        """Start one of our scripts in there, and do not wait for its end."""
        body: dict[str, Any] = {"path": f"{SCRIPTS}/{script}", "arg": list(arguments), "capture-output": True}
        if given:
            body["input-data"] = base64.b64encode(given.encode()).decode()
        return int((await self.ask("guest-exec", body))["pid"])

    async def run(self, script: str, *arguments: str, given: str = "", timeout_s: float = 30.0) -> None:
        """Run one of our scripts in there to its end; raises `EngineError` with what it complained of."""
        pid = await self.start(script, *arguments, given=given)
        deadline_s = time.monotonic() + timeout_s
        while True:
            told = await self.ask("guest-exec-status", {"pid": pid})
            if told.get("exited"):
                break
            if time.monotonic() > deadline_s:
                raise EngineError(f"{script} has not ended in machine {self._name} within {timeout_s:g} s.")
            await asyncio.sleep(_LOOK_EVERY_S)
        if told.get("exitcode"):
            said = base64.b64decode(told.get("err-data", "")).decode(errors="replace").strip()
            raise EngineError(f"{script} failed in machine {self._name}: {said[-300:] or told['exitcode']}.")

    async def await_painted(self, timeout_s: float) -> None:
        """Wait until the desktop is on the screen; raises `BuildFailed`, and `NotFound` when the machine is gone."""
        deadline_s = time.monotonic() + timeout_s
        said = ""
        while (began_s := time.monotonic()) < deadline_s:
            try:
                handle = await self.ask("guest-file-open", {"path": PAINTED, "mode": "r"})
                await self.ask("guest-file-close", {"handle": handle})
                return
            except (NotFound, Unreachable):
                raise
            except EngineError as error:  # the agent is not there yet, or the file is not
                said = error.cause
                if not await self._alive():
                    raise BuildFailed(
                        "The machine ended before its desktop was on the screen.",
                        "Look at its log on the host (/var/log/libvirt/qemu), and at the image.",
                    ) from None
            # A machine that is slow to answer is not slowed down further by being asked.
            await asyncio.sleep(max(_LOOK_LATER_S, _PATIENCE * (time.monotonic() - began_s)))
        raise BuildFailed(
            f"The machine's desktop was not on the screen within {timeout_s:g} s: {said}",
            "Raise engine.boot_timeout_s if the host is slow; an image needs the guest agent and ghostdesk's session.",
        )

    async def _alive(self) -> bool:
        return bool(await self._connection.call(lambda c: c.lookupByName(self._name).isActive()))
