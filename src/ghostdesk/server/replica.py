"""Serving people while another process plans: the page, sign-in and streams here, everything else asked of the planner.

The planner listens on a unix socket in the run folder (see `planner_side`), which only our own user may connect to, so
whoever speaks on it is believed about who is asking. When the planner dies, requests wait until another takes its
place, or until this process does; streams go on, as they lead straight to the desktop's own socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ghostdesk.control.service import DesktopService
from ghostdesk.kernel.conditions import ClientLink
from ghostdesk.kernel.errors import GhostdeskError, NotAllowed, NotFound
from ghostdesk.kernel.ids import GhostId, UserId, ghost_id
from ghostdesk.server.auth import Identity
from ghostdesk.server.streams import Admitted, StreamHost

log = logging.getLogger("ghostdesk.server.replica")

PATIENCE_S = 20.0
"""How long a request waits for a planner."""
TELL_EVERY_S = 1.0
"""How often the planner hears which desktops are looked at through us."""
_TRY_EVERY_S = 0.1
_CONNECT_WITHIN_S = 2.0
_ANSWER_WITHIN_S = 10.0
IDENTITY = "x-ghostdesk-identity"
OWN_ROUTES = frozenset({"/api/session", "/api/me", "/api/openapi.json"})
"""What needs the database alone, and is answered by every replica."""
AGAIN = frozenset({"/api/desktop/open", "/api/desktop/prepare", "/api/desktop/ticket"})
"""What may be asked twice without harm though its method does not say so."""
_SAFE_TO_REPEAT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_PASSED_ON = ("content-type", "cookie", "accept")
_PASSED_BACK = ("content-type", "retry-after", "content-disposition", "x-accel-buffering")


class NoPlanner(GhostdeskError):
    """Nobody plans at present; somebody will in a moment."""

    code = "no-planner"

    def __init__(self) -> None:
        super().__init__("ghostdesk is changing over at this moment.", "Try again.")


class ServiceSlot:
    """Stands for the control plane in the routes, and is it once this process plans."""

    def __init__(self) -> None:
        self.service: DesktopService | None = None

    def __getattr__(self, name: str) -> Any:
        """What the control plane has of that name."""
        if self.service is None:
            raise NoPlanner
        return getattr(self.service, name)


class PlannerLink:
    """Calls to the process that plans; raises `NoPlanner` when none answers in time.

    Args:
        path: the planner's socket.
    """

    def __init__(self, path: Path) -> None:
        self.replica = secrets.token_hex(8)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=16)
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(path), limits=limits),
            base_url="http://planner",
            timeout=httpx.Timeout(None, connect=_CONNECT_WITHIN_S),
            trust_env=False,
        )

    async def send(self, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        """Ask once; the answer's body is still to be read. Raises `httpx.TransportError`."""
        request = self._client.build_request(method, path, headers=headers, content=body)
        return await self._client.send(request, stream=True)

    async def call(self, path: str, told: dict[str, Any]) -> dict[str, Any]:
        """A call between processes, repeated until a planner answers; raises what the planner raised."""
        deadline_s = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            try:
                answer = await self._client.post(path, json=told, timeout=_ANSWER_WITHIN_S)
            except httpx.TransportError:
                if asyncio.get_running_loop().time() > deadline_s:
                    raise NoPlanner from None
                await asyncio.sleep(_TRY_EVERY_S)
                continue
            found: dict[str, Any] = answer.json()
            if answer.status_code != 200:
                raise _error_of(found)
            return found

    async def tell(self, path: str, told: dict[str, Any]) -> None:
        """A call that may be lost; raises `httpx.TransportError`."""
        await self._client.post(path, json=told, timeout=_ANSWER_WITHIN_S)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()


class Forwarding:
    """ASGI middleware behind the guard: while another process plans, it is asked; else the routes answer."""

    def __init__(self, app: ASGIApp, slot: ServiceSlot, link: PlannerLink) -> None:
        self._app, self._slot, self._link = app, slot, link

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer here, or ask the planner."""
        path = scope["path"]
        here = scope["type"] != "http" or not path.startswith("/api/") or path in OWN_ROUTES
        if here or self._slot.service is not None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        answer = await self._ask(request, body)
        if answer is None:  # this process plans by now
            await self._app(scope, _said_again(body, receive), send)
            return
        headers = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
        response = StreamingResponse(_body_of(answer, path), answer.status_code, headers)
        try:
            await response(scope, receive, send)
        finally:
            await answer.aclose()

    async def _ask(self, request: Request, body: bytes) -> httpx.Response | None:
        identity: Identity = request.state.identity
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        headers[IDENTITY] = identity_text(identity)
        query = request.url.query
        address = request.url.path + (f"?{query}" if query else "")
        again = request.method in _SAFE_TO_REPEAT or request.url.path in AGAIN
        deadline_s = asyncio.get_running_loop().time() + PATIENCE_S
        while self._slot.service is None:
            try:
                return await self._link.send(request.method, address, headers, body)
            except httpx.ConnectError:
                pass
            except httpx.TransportError:
                if not again:
                    raise NoPlanner from None  # it may have been done: the person decides whether to ask again
            if asyncio.get_running_loop().time() > deadline_s:
                raise NoPlanner
            await asyncio.sleep(_TRY_EVERY_S)
        return None


class ReplicaStreams:
    """Streams of a replica; the planner is told, again and again, which desktops are looked at through it.

    What it was told is all that it needs: one that has just taken over hears everything within a second.
    """

    def __init__(self, link: PlannerLink) -> None:
        self._link = link
        self._own: StreamHost | None = None
        self._viewers: Counter[GhostId] = Counter()
        self._lines: dict[tuple[UserId, GhostId], ClientLink] = {}

    async def admit(self, secret: str, user: UserId, session: bytes) -> Admitted:
        """See `StreamHost`."""
        if self._own is not None:
            return await self._own.admit(secret, user, session)
        told = {"secret": secret, "user": user, "session": session.hex()}
        found = await self._link.call("/internal/admit", told)
        return Admitted(user, ghost_id(found["ghost"]), str(found["path"]))

    async def connecting(self, ghost: GhostId) -> None:
        """See `StreamHost`."""
        self._viewers[ghost] += 1
        if self._own is not None:
            await self._own.connecting(ghost)
        else:
            await self.tell()

    async def left(self, ghost: GhostId) -> None:
        """See `StreamHost`."""
        self._viewers[ghost] -= 1
        self._viewers += Counter()
        if self._own is not None:
            await self._own.left(ghost)
        else:
            await self.tell()

    def measured(self, user: UserId, ghost: GhostId, link: ClientLink) -> None:
        """See `StreamHost`."""
        if self._own is not None:
            self._own.measured(user, ghost, link)
        else:
            self._lines[user, ghost] = link

    def revoke(self, session: bytes) -> None:
        """See `StreamHost`. A planner elsewhere takes tickets only with their session, which has ended."""
        if self._own is not None:
            self._own.revoke(session)

    async def tell(self) -> None:
        """Tell the planner who looks, unless that is us; one that is away hears it the next time."""
        if self._own is not None:
            return
        lines = [{"user": u, "ghost": g, "link": asdict(line)} for (u, g), line in self._lines.items()]
        self._lines.clear()
        told = {"replica": self._link.replica, "viewers": dict(self._viewers), "lines": lines}
        with contextlib.suppress(httpx.TransportError):
            await self._link.tell("/internal/viewers", told)

    async def tell_every(self, every_s: float = TELL_EVERY_S) -> None:
        """Until cancelled."""
        while True:
            await self.tell()
            await asyncio.sleep(every_s)

    async def take_over(self, own: StreamHost) -> None:
        """From now on this process plans; it hears of the streams that are open here."""
        self._own = own
        for ghost in list(self._viewers.elements()):
            with contextlib.suppress(GhostdeskError):
                await own.connecting(ghost)


def identity_text(identity: Identity) -> str:
    """Who is asking, for a header."""
    return json.dumps({**asdict(identity), "session": identity.session.hex()})


def identity_from(text: str) -> Identity:
    """The reverse; raises `NotAllowed`."""
    try:
        told = json.loads(text)
        return Identity(
            UserId(told["user"]), str(told["display_name"]), str(told["role"]), bytes.fromhex(told["session"])
        )
    except (ValueError, KeyError, TypeError):
        raise NotAllowed("The call does not say who is asking.") from None


def _error_of(body: dict[str, Any]) -> GhostdeskError:
    told = body.get("error", {})
    kind = {"not-allowed": NotAllowed, "not-found": NotFound}.get(str(told.get("code")), GhostdeskError)
    return kind(str(told.get("cause", "The planner refused.")), str(told.get("mend", "")))


async def _body_of(answer: httpx.Response, path: str) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    except httpx.TransportError:
        if path != "/api/events":  # a page asks for a new stream of events by itself
            raise
        log.info("the planner ended in the middle of a stream of events")


def _said_again(body: bytes, receive: Receive) -> Receive:
    """A request whose body was read already."""
    said = False

    async def again() -> Message:
        nonlocal said
        if said:
            return await receive()
        said = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
