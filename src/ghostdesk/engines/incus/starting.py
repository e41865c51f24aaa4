"""Starting an instance that was made, until its screen answers: with a folder that both see, or over the API."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ghostdesk.engines.incus.api import IncusApi, instance_path
from ghostdesk.engines.incus.reach import Reach
from ghostdesk.engines.incus.render import AGENT_UID, INSIDE_UID, InstancePlan, host_uid
from ghostdesk.engines.local.launch import check_socket, rfb_answers
from ghostdesk.kernel.errors import BuildFailed
from ghostdesk.kernel.ids import GhostId

STATE_TIMEOUT_S = 30
_READ_EVERY_S = 0.02
_LOOK_EVERY_S = 0.5
_USUAL_UID = 101_000
"""Of a desktop's user, with the map of ids that Debian's packages set up."""


class Starter:
    """Starts instances.

    Args:
        api, plan: of the server.
        reach: opens the ways to desktops over the API; None where the server sees the run folder.
        build_timeout_s: how long a screen may take to answer.
    """

    def __init__(self, api: IncusApi, plan: InstancePlan, reach: Reach | None, build_timeout_s: float) -> None:
        self._api, self._plan, self._reach, self._build_timeout_s = api, plan, reach, build_timeout_s

    async def start(self, ghost: GhostId, name: str, run: Path) -> int:
        """Start the instance, and wait for the screen; the uid that its agent has here comes back.

        Raises what the API raises, and `BuildFailed`.
        """
        if self._reach is None:
            uid = await self._beside(name, run)
        else:
            uid = os.geteuid()
            if self._plan.machines:  # files go in by its own agent, once it has booted
                await self._turn_on(name)
                await self._until_booted(name)
            await self._api.put_file(name, "/run/ghost", None, INSIDE_UID, 0o700)
            token = (run / "agent.token").read_bytes()
            await self._api.put_file(name, "/run/ghost/agent.token", token, INSIDE_UID, 0o400)
            if not self._plan.machines:
                await self._turn_on(name)
            await self._reach.open(ghost, name, run)
        await self._await_screen(run / "rfb.sock")
        if self._reach is None:
            run.chmod(0o750)
            check_socket(run / "rfb.sock", uid)
        await self._api.change("PATCH", instance_path(name), {"config": {AGENT_UID: str(uid)}})
        return uid

    async def _beside(self, name: str, run: Path) -> int:
        """Start it where it sees the run folder, and give that to its user; the uid that the host sees."""
        path = instance_path(name)
        instance = await self._api.get(path)
        uid = _uid_of(instance) or _USUAL_UID
        os.chown(run, 0, uid)
        run.chmod(0o770)
        os.chown(run / "agent.token", uid, uid)
        await self._turn_on(name)
        really = host_uid(await self._api.get(path))
        if really != uid:  # another map than usual: the run folder was closed to it
            os.chown(run, 0, really)
            os.chown(run / "agent.token", really, really)
        return really

    async def _until_booted(self, name: str) -> None:
        """Wait for the server's agent in a virtual machine, which says how many processes there are."""
        deadline_s = time.monotonic() + self._build_timeout_s
        while int((await self._api.get(instance_path(name, "/state"))).get("processes") or 0) <= 0:
            if time.monotonic() > deadline_s:
                raise BuildFailed(
                    f"The virtual machine did not boot within {self._build_timeout_s:g} s.",
                    "Raise engine.build_timeout_s; its image needs the agent of Incus or LXD.",
                )
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _turn_on(self, name: str) -> None:
        state = {"action": "start", "timeout": STATE_TIMEOUT_S}
        await self._api.change("PUT", instance_path(name, "/state"), state)

    async def _await_screen(self, socket: Path) -> None:
        deadline_s = time.monotonic() + self._build_timeout_s
        # Over the API, each question starts a program in there: it is asked once, and waits there.
        patience_s = 1.0 if self._reach is None else self._build_timeout_s
        while not await asyncio.to_thread(rfb_answers, socket, patience_s):
            if time.monotonic() > deadline_s:
                raise BuildFailed(
                    f"The desktop's screen did not answer within {self._build_timeout_s:g} s.",
                    "Raise engine.build_timeout_s if the server is slow; see `incus console --show-log`.",
                )
            await asyncio.sleep(_READ_EVERY_S)


def _uid_of(instance: Mapping[str, Any]) -> int | None:
    try:
        return host_uid(instance)
    except (ValueError, KeyError):
        return None
