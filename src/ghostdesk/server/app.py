"""The application: routes, guard and page put together."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ghostdesk.control.service import DesktopService
from ghostdesk.kernel.clock import Clock
from ghostdesk.server.api import Parts, make_router
from ghostdesk.server.auth import Authenticator, LinkAuthenticator
from ghostdesk.server.errors import Refused, body_of
from ghostdesk.server.events import EventStreams
from ghostdesk.server.gateway import Gateway
from ghostdesk.server.guard import HEALTH, Guard, PublicAddress
from ghostdesk.server.limits import RateLimit
from ghostdesk.server.planner_side import PeerGuard, RemoteViewers, add_internal_routes
from ghostdesk.server.replica import Forwarding, PlannerLink, ReplicaStreams, ServiceSlot
from ghostdesk.server.static import load_page, serve_asset
from ghostdesk.server.streams import OwnStreams, StreamHost
from ghostdesk.server.tickets import TicketOffice
from ghostdesk.store.protocol import Store

STATIC_DIR = Path(__file__).parent / "static"
"""Where the build puts the page."""
SIGN_INS_AT_ONCE = 10
SIGN_IN_EVERY_S = 6.0


@dataclass(frozen=True)
class Serving:
    """How people are served, whoever plans.

    Args:
        store: accounts, links and sessions.
        origins: the addresses that browsers reach us by (see `guard.local_origins`); other hosts are refused.
        web_session_life_s: seconds that a sign-in lasts.
        ticket_life_s: seconds that a stream's ticket is good for.
        clock: tells the time.
        static_dir: the built page.
        authenticator: who signs people in; one-time links by default.
    """

    store: Store
    origins: frozenset[str]
    web_session_life_s: float
    ticket_life_s: float
    clock: Clock
    static_dir: Path = STATIC_DIR
    authenticator: Authenticator | None = None

    def parts(self, service: DesktopService, host: StreamHost, tickets: TicketOffice, stopping: asyncio.Event) -> Parts:
        """What the routes work with."""
        who = self.authenticator
        if who is None:
            who = LinkAuthenticator(self.store, self.clock, self.web_session_life_s)
        return Parts(
            service=service,
            authenticator=who,
            tickets=tickets,
            gateway=Gateway(host, who),
            events=EventStreams(service, who, stopping),
            address=PublicAddress(self.origins),
            clock=self.clock,
            session_life_s=self.web_session_life_s,
            sign_in_limit=RateLimit(SIGN_INS_AT_ONCE, SIGN_IN_EVERY_S),
        )


def create_app(
    service: DesktopService,
    store: Store,
    *,
    origins: Iterable[str],
    web_session_life_s: float,
    ticket_life_s: float,
    clock: Clock,
    static_dir: Path = STATIC_DIR,
    authenticator: Authenticator | None = None,
) -> FastAPI:
    """The server's application, where this process alone plans and serves; for the arguments see `Serving`."""
    serving = Serving(
        store, frozenset(origins), web_session_life_s, ticket_life_s, clock, static_dir, authenticator
    )  # fmt: skip
    tickets, app = TicketOffice(ticket_life_s), _bare_app()
    parts = serving.parts(service, OwnStreams(service, tickets, clock), tickets, app.state.stopping)
    _add_routes(app, parts)
    _add_open_routes(app, static_dir)
    app.add_middleware(Guard, address=parts.address, authenticator=parts.authenticator)
    return app


class SharedApps:
    """The applications of a process that shares its work with others: what browsers reach, and what replicas do.

    Until `take_over` another process plans, and is asked on its socket; after it, this one answers on its own.

    Args:
        serving: how people are served.
        planner_socket: where whoever plans listens.
    """

    def __init__(self, serving: Serving, planner_socket: Path) -> None:
        self._serving = serving
        self._slot, self._link = ServiceSlot(), PlannerLink(planner_socket)
        self._streams = ReplicaStreams(self._link)
        self._tickets = TicketOffice(serving.ticket_life_s)
        self.public = _bare_app()
        service = cast(DesktopService, self._slot)
        parts = serving.parts(service, self._streams, self._tickets, self.public.state.stopping)
        _add_routes(self.public, parts)
        _add_open_routes(self.public, serving.static_dir)
        self.public.add_middleware(Forwarding, slot=self._slot, link=self._link)
        self.public.add_middleware(Guard, address=parts.address, authenticator=parts.authenticator)

    async def stand_by(self) -> None:
        """Tell the planner who looks at desktops through us, until cancelled."""
        await self._streams.tell_every()

    async def take_over(self, service: DesktopService) -> tuple[FastAPI, RemoteViewers]:
        """This process plans: answer here from now on; returns the application that other replicas ask.

        Its `RemoteViewers.watch` must run as long as it is served.
        """
        own = OwnStreams(service, self._tickets, self._serving.clock)
        peers, viewers = _bare_app(), RemoteViewers(service, self._serving.clock)
        parts = self._serving.parts(service, own, self._tickets, peers.state.stopping)
        _add_routes(peers, parts)
        add_internal_routes(peers, own, service, viewers)
        peers.add_middleware(PeerGuard, address=parts.address, authenticator=parts.authenticator)
        self._slot.service = service
        await self._streams.take_over(own)
        return peers, viewers

    async def close(self) -> None:
        """Let go of the connections to the planner."""
        await self._link.close()


def _bare_app() -> FastAPI:
    app = FastAPI(title="ghostdesk", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.stopping = asyncio.Event()
    return app


def _add_routes(app: FastAPI, parts: Parts) -> None:
    app.include_router(make_router(parts))
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _bad_request)


def _add_open_routes(app: FastAPI, static_dir: Path) -> None:
    page = load_page(static_dir)

    @app.get(HEALTH, include_in_schema=False)
    async def health() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    @app.api_route("/{path:path}", methods=["GET", "HEAD"], include_in_schema=False)
    async def asset(request: Request, path: str) -> Response:
        if path.startswith("api/"):
            raise HTTPException(404)
        return serve_asset(request, page)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    cause = {404: "There is no such address.", 405: "This address does not do that."}.get(status, "Bad request.")
    return _answer(request, Refused(cause, "GET /api/openapi.json lists what there is.", status))


async def _bad_request(request: Request, error: Exception) -> JSONResponse:
    """Name the fields, never repeat their values: they may be secrets."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    cause = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['type']}" for problem in problems[:5])
    return _answer(request, Refused(f"The request is not understood: {cause}.", "See GET /api/openapi.json.", 422))


def _answer(request: Request, refused: Refused) -> JSONResponse:
    request_id = getattr(request.state, "request_id", None) or secrets.token_hex(8)
    return JSONResponse(body_of(refused, request_id, operator=False), refused.status)
