"""The planner's side of replicas: the same routes on a unix socket, and what only processes of ours ask each other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.types import Scope

from ghostdesk.control.service import DesktopService
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.conditions import ClientLink
from ghostdesk.kernel.errors import ConfigError, GhostdeskError
from ghostdesk.kernel.ids import GhostId, UserId, ghost_id, user_id
from ghostdesk.server.auth import Identity
from ghostdesk.server.guard import Guard
from ghostdesk.server.replica import IDENTITY, identity_from
from ghostdesk.server.streams import StreamHost

SILENT_S = 10.0
"""A replica that says nothing for so long has died; nobody looks through it any more."""
_ALIVE_S = 3.0
SOCKET_NAME = "planner.sock"


class _Ticket(BaseModel):
    model_config = ConfigDict(extra="forbid")
    secret: str = Field(max_length=256)
    user: str = Field(max_length=64)
    session: str = Field(max_length=128)


class _Line(BaseModel):
    user: str
    ghost: str
    link: dict[str, Any]


class _Viewers(BaseModel):
    model_config = ConfigDict(extra="forbid")
    replica: str = Field(max_length=32)
    viewers: dict[str, int]
    lines: list[_Line] = []


class PeerGuard(Guard):
    """Believes the caller about who is asking: only our own user can connect."""

    async def _admit(self, scope: Scope) -> Identity | None:
        if scope["path"].startswith("/internal/"):
            return None
        return identity_from(Headers(scope=scope).get(IDENTITY, ""))


class RemoteViewers:
    """Which desktops are looked at through which replica, by what each said last.

    Args:
        service: hears who comes and goes.
        clock: tells when a replica fell silent.
    """

    def __init__(self, service: DesktopService, clock: Clock) -> None:
        self._service, self._clock = service, clock
        self._held: dict[str, Counter[GhostId]] = {}
        self._heard_s: dict[str, float] = {}
        self._turn = asyncio.Lock()

    async def hear(self, replica: str, viewers: Counter[GhostId]) -> None:
        """Take a replica's word; saying it twice changes nothing."""
        async with self._turn:
            before = self._held.get(replica, Counter())
            self._held[replica], self._heard_s[replica] = viewers, self._clock.now_s()
            for ghost in (viewers - before).elements():
                with contextlib.suppress(GhostdeskError):
                    await self._service.viewer_connecting(ghost)
            for ghost in (before - viewers).elements():
                with contextlib.suppress(GhostdeskError):
                    await self._service.viewer_left(ghost)

    def replicas(self) -> int:
        """How many others serve with us."""
        now_s = self._clock.now_s()
        return sum(now_s - heard_s <= _ALIVE_S for heard_s in self._heard_s.values())

    async def forget_silent(self) -> None:
        """Nobody looks through a replica that fell silent."""
        now_s = self._clock.now_s()
        for replica in [name for name, heard_s in self._heard_s.items() if now_s - heard_s > SILENT_S]:
            await self.hear(replica, Counter())
            del self._held[replica], self._heard_s[replica]

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(SILENT_S / 4)
            await self.forget_silent()


def add_internal_routes(app: FastAPI, host: StreamHost, service: DesktopService, viewers: RemoteViewers) -> None:
    """What replicas ask."""
    router = APIRouter(prefix="/internal", include_in_schema=False)

    @router.post("/admit")
    async def admit(body: _Ticket) -> dict[str, str]:
        admitted = await host.admit(body.secret, UserId(body.user), bytes.fromhex(body.session))
        return {"ghost": admitted.ghost, "path": admitted.path}

    @router.post("/viewers")
    async def look(body: _Viewers) -> dict[str, str]:
        counts = Counter({ghost_id(ghost): count for ghost, count in body.viewers.items() if count > 0})
        await viewers.hear(body.replica, counts)
        for line in body.lines:
            service.link_measured(user_id(line.user), ghost_id(line.ghost), ClientLink(**line.link))
        return {}

    app.include_router(router)


@contextlib.contextmanager
def planner_listener(path: Path) -> Iterator[socket.socket]:
    """A listening socket that only our user may connect to, in the place of a dead planner's; removed at the end.

    Raises:
        ConfigError: it cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    part = path.with_name(f".{path.name}")
    try:
        try:
            part.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                listener.bind(str(part))
            finally:
                os.umask(before)
            listener.listen(1024)
            listener.setblocking(False)
            part.replace(path)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be made: {error.strerror}.", "Set state.run_directory to a short path of your own."
            ) from None
        inode = path.stat().st_ino
        try:
            yield listener
        finally:
            with contextlib.suppress(OSError):
                if path.stat().st_ino == inode:
                    path.unlink()
    finally:
        listener.close()
