"""The HTTP API. A session acts for its own user only: no route takes a user's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Request, Response, WebSocket
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from ghostdesk.control.service import AppView, DesktopHandle, DesktopService, StatusView
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import app_id, ghost_id
from ghostdesk.server.auth import Authenticator, Identity
from ghostdesk.server.errors import TooMany
from ghostdesk.server.events import EventStreams
from ghostdesk.server.gateway import Gateway
from ghostdesk.server.guard import PublicAddress
from ghostdesk.server.identity import Who, identity_of, operator_of
from ghostdesk.server.limits import RateLimit
from ghostdesk.server.personal_api import add_personal_routes
from ghostdesk.server.tickets import TicketOffice
from ghostdesk.store.protocol import LaunchRecord


@dataclass(frozen=True)
class Parts:
    """What the routes work with."""

    service: DesktopService
    authenticator: Authenticator
    tickets: TicketOffice
    gateway: Gateway
    events: EventStreams
    address: PublicAddress
    clock: Clock
    session_life_s: float
    sign_in_limit: RateLimit


class Me(BaseModel):
    """Who is signed in."""

    user: str
    display_name: str
    role: str


class SignIn(BaseModel):
    """The token of a one-time link."""

    model_config = ConfigDict(extra="forbid")
    token: str = Field(max_length=256)


class TicketFor(BaseModel):
    """Which desktop a stream is wanted of."""

    model_config = ConfigDict(extra="forbid")
    ghost: str = Field(max_length=32)
    generation: int = Field(ge=0, le=2**53)


class TicketGiven(BaseModel):
    """The first message that the stream must send, as ``{"ticket": ...}``, within `life_s` seconds."""

    ticket: str


def make_router(parts: Parts) -> APIRouter:
    """All routes under `/api/`."""
    router = APIRouter(prefix="/api")
    _add_session(router, parts)
    _add_desktop(router, parts)
    _add_streams(router, parts)
    _add_apps(router, parts)
    add_personal_routes(router, parts.service, parts.clock)
    return router


def _add_session(router: APIRouter, parts: Parts) -> None:
    address = parts.address

    @router.post("/session", summary="Sign in with a one-time link")
    async def sign_in(request: Request, response: Response, body: SignIn) -> Me:
        client = request.client.host if request.client else "unknown"
        wait_s = parts.sign_in_limit.wait_s(client, parts.clock.now_s())
        if wait_s > 0:
            raise TooMany("Too many sign-ins were tried from here.", "Wait a minute.", wait_s)
        identity, cookie = await parts.authenticator.sign_in(body.token)
        response.set_cookie(
            address.cookie_name,
            cookie,
            max_age=int(parts.session_life_s),
            path="/",
            secure=address.secure,
            httponly=True,
            samesite="strict",
        )
        return _me(identity)

    @router.delete("/session", status_code=204, summary="Sign out; the desktop goes on")
    async def sign_out(request: Request, who: Who) -> Response:
        cookie = request.cookies.get(address.cookie_name, "")
        await parts.authenticator.sign_out(cookie)
        parts.gateway.sign_out(who.session)
        response = Response(status_code=204)
        response.delete_cookie(address.cookie_name, path="/", secure=address.secure, httponly=True, samesite="strict")
        return response

    @router.get("/me", summary="Who is signed in")
    async def me(who: Who) -> Me:
        return _me(who)

    @router.get("/openapi.json", include_in_schema=False, dependencies=[Depends(identity_of)])
    async def openapi(request: Request) -> dict[str, object]:
        schema: dict[str, object] = request.app.openapi()
        return schema


def _add_desktop(router: APIRouter, parts: Parts) -> None:
    service = parts.service

    @router.post("/desktop/prepare", summary="At the door: a desktop to preconnect to, or null")
    async def prepare(who: Who) -> DesktopHandle | None:
        return await service.prepare_desktop(who.user)

    @router.post("/desktop/open", summary="Claim a desktop")
    async def open_desktop(who: Who) -> DesktopHandle:
        return await service.open_desktop(who.user)

    @router.delete("/desktop", status_code=204, summary="End the desktop; the home is kept")
    async def end(who: Who) -> None:
        await service.end_session(who.user)

    @router.post("/desktop/ticket", summary="A one-use ticket for the stream")
    async def ticket(who: Who, body: Annotated[TicketFor, Body()]) -> TicketGiven:
        try:
            ghost = ghost_id(body.ghost)
        except ValueError:
            raise NotFound("There is no such desktop.") from None
        service.rfb_path(who.user, ghost, body.generation)  # raises unless it is theirs
        now_s = parts.clock.now_s()
        return TicketGiven(ticket=parts.tickets.issue(who.user, ghost, body.generation, who.session, now_s))


def _add_streams(router: APIRouter, parts: Parts) -> None:
    cookie_name = parts.address.cookie_name

    @router.websocket("/desktop/stream")
    async def stream(socket: WebSocket) -> None:
        identity: Identity = socket.state.identity
        await parts.gateway.stream(socket, identity, socket.cookies.get(cookie_name))

    @router.get("/events", summary="What the page must know, as server-sent events", response_class=StreamingResponse)
    async def events(request: Request, who: Who) -> StreamingResponse:
        parts.events.admit(who)
        stream = parts.events.of(who, request.cookies.get(cookie_name))
        return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _add_apps(router: APIRouter, parts: Parts) -> None:
    service = parts.service

    @router.get("/apps", summary="What can be started, likeliest first")
    async def apps(who: Who) -> list[AppView]:
        return list(await service.catalogue(who.user))

    @router.post("/apps/{app}/launch", summary="Show or start an application on the open desktop")
    async def launch(app: str, who: Who) -> LaunchRecord:
        try:
            wanted = app_id(app)
        except ValueError:
            raise NotFound("There is no such application.") from None
        return await service.launch(who.user, wanted)

    @router.get(
        "/status", summary="Ghosts, plan, launches and abilities; operators only", dependencies=[Depends(operator_of)]
    )
    async def status() -> StatusView:
        return service.status()


def _me(identity: Identity) -> Me:
    return Me(user=identity.user, display_name=identity.display_name, role=identity.role)
