"""The application: routes, guard and page put together."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from pathlib import Path

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
from ghostdesk.server.static import load_page, serve_asset
from ghostdesk.server.tickets import TicketOffice
from ghostdesk.store.protocol import Store

STATIC_DIR = Path(__file__).parent / "static"
"""Where the build puts the page."""
SIGN_INS_AT_ONCE = 10
SIGN_IN_EVERY_S = 6.0


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
    """The server's application.

    Args:
        service: the control plane.
        store: accounts, links and sessions (unused when an `authenticator` is given).
        origins: the addresses that browsers reach us by (see `guard.local_origins`); other hosts are refused.
        web_session_life_s: seconds that a sign-in lasts.
        ticket_life_s: seconds that a stream's ticket is good for.
        clock: tells the time.
        static_dir: the built page.
        authenticator: who signs people in; one-time links by default.
    """
    address = PublicAddress(frozenset(origins))
    stopping = asyncio.Event()
    who = authenticator if authenticator is not None else LinkAuthenticator(store, clock, web_session_life_s)
    tickets = TicketOffice(ticket_life_s)
    parts = Parts(
        service=service,
        authenticator=who,
        tickets=tickets,
        gateway=Gateway(service, tickets, who, clock),
        events=EventStreams(service, who, stopping),
        address=address,
        clock=clock,
        session_life_s=web_session_life_s,
        sign_in_limit=RateLimit(SIGN_INS_AT_ONCE, SIGN_IN_EVERY_S),
    )
    app = FastAPI(title="ghostdesk", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.stopping = stopping
    app.include_router(make_router(parts))
    _add_open_routes(app, static_dir)
    app.add_middleware(Guard, address=address, authenticator=who)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _bad_request)
    return app


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
