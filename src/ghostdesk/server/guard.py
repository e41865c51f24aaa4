"""What stands before every route: host, origin, session, size, headers, request numbers. A new route cannot forget it.

Everything under `/api/` needs a session, but for signing in; what is open is listed here and nowhere else.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.server.auth import Authenticator, Identity
from ghostdesk.server.errors import Refused, SignInRequired, response_of

log = logging.getLogger("ghostdesk.server")

OPEN_API = frozenset({("POST", "/api/session")})
"""What may be called under `/api/` without a session."""
HEALTH = "/healthz"
MAX_BODY_BYTES = 64 * 1024
LARGE_BODIES = {("PUT", "/api/my/calendars/"): 8 * 1024 * 1024}
"""What may be longer, by method and the start of the path: a calendar of 5 MiB, quoted as JSON."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class PublicAddress:
    """Where browsers find us: the origins that our own page has, such as ``https://desk.example.org``."""

    origins: frozenset[str]

    def __post_init__(self) -> None:
        for origin in self.origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or not parts.netloc
                or origin != f"{parts.scheme}://{parts.netloc}"
            ):
                raise ValueError(f"{origin!r} is no origin: write scheme://host or scheme://host:port")

    @property
    def hosts(self) -> frozenset[str]:
        """What a request may have in its Host header."""
        return frozenset(urlsplit(origin).netloc for origin in self.origins)

    @property
    def secure(self) -> bool:
        """Whether all of it is TLS."""
        return all(origin.startswith("https://") for origin in self.origins)

    @property
    def cookie_name(self) -> str:
        """The session cookie; `__Host-` forbids other hosts and plain HTTP to set it."""
        return "__Host-ghostdesk" if self.secure else "ghostdesk"

    def headers(self) -> Mapping[str, str]:
        """Security headers for every response."""
        # 'self' covers our WebSockets in today's browsers, older ones want them named; a policy cannot name IPv6.
        sockets = " ".join(sorted(o.replace("http", "ws", 1) for o in self.origins if "[" not in o))
        policy = {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' data: blob:",
            "connect-src": f"'self' {sockets}",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
            "require-trusted-types-for": "'script'",
        }
        headers = {
            "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "clipboard-read=(self), clipboard-write=(self), fullscreen=(self), "
            "camera=(), microphone=(), geolocation=(self)",
        }
        if self.secure:
            headers["Strict-Transport-Security"] = "max-age=31536000"
        return headers


def local_origins(host: str, port: int, *, tls: bool) -> frozenset[str]:
    """The origins of a server on `host`: on loopback, every name that loopback goes by."""
    names = {host if ":" not in host else f"[{host}]"}
    if host in ("127.0.0.1", "::1", "localhost"):
        names = {"127.0.0.1", "[::1]", "localhost"}
    scheme, usual = ("https", 443) if tls else ("http", 80)
    return frozenset(f"{scheme}://{name}" + ("" if port == usual else f":{port}") for name in names)


class Guard:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, address: PublicAddress, authenticator: Authenticator) -> None:
        self._app = app
        self._address = address
        self._authenticator = authenticator
        self._headers = address.headers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request or upgrade, then hand it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, scope, self._headers)
        state = scope.setdefault("state", {})
        state["request_id"] = answer.request_id
        identity: Identity | None = None
        try:
            identity = await self._admit(scope)
            state["identity"] = identity
            limited = _limited(receive, _most_bytes(scope)) if scope["type"] == "http" else receive
            await self._app(scope, limited, answer.send)
        except GhostdeskError as error:
            await answer.refuse(error, receive, operator=identity is not None and identity.operator)
        except Exception:
            log.exception("request %s failed", answer.request_id)
            await answer.refuse(GhostdeskError("Something went wrong on the server."), receive, operator=False)
        finally:
            answer.log(identity)

    async def _admit(self, scope: Scope) -> Identity | None:
        headers = Headers(scope=scope)
        path, method = scope["path"], scope.get("method", "WEBSOCKET")
        if path == HEALTH and method in _SAFE_METHODS:
            return None
        if headers.get("host", "") not in self._address.hosts:
            raise Refused("This server does not go by that name.", "Open the address that it prints.", 421)
        api = path.startswith("/api/") or method not in _SAFE_METHODS
        if api:
            self._check_origin(headers, changes=method not in _SAFE_METHODS)
        _check_length(headers, _most_bytes(scope))
        if not api or (method, path) in OPEN_API:
            return None
        cookies = cookie_parser(headers.get("cookie", ""))
        identity = await self._authenticator.who(cookies.get(self._address.cookie_name))
        if identity is None:
            raise SignInRequired("You are not signed in, or your session has ended.", "Sign in with a new link.")
        return identity

    def _check_origin(self, headers: Headers, *, changes: bool) -> None:
        """Browsers tell where a request comes from: what changes something must come from our own page."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        wrong_origin = origin not in self._address.origins if changes or origin is not None else False
        wrong_site = site not in (("same-origin",) if changes else ("same-origin", "none")) if site else False
        if wrong_origin or wrong_site:
            raise Refused("The request does not come from this server's own page.", "Use the page, or send its Origin.")


class _Answer:
    """Adds our headers to a response, notes its status, and answers for routes that failed."""

    def __init__(self, send: Send, scope: Scope, headers: Mapping[str, str]) -> None:
        self.request_id = secrets.token_hex(8)
        self._send = send
        self._scope = scope
        self._headers = headers
        self._status = 0
        self._started = time.perf_counter()

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
            self._status = message.get("status", 101)
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            message["headers"] = headers.raw
            for name, value in self._headers.items():
                headers[name] = value
            headers["X-Request-Id"] = self.request_id
            if self._scope["path"].startswith("/api/"):
                headers["Cache-Control"] = "no-store"
        await self._send(message)

    async def refuse(self, error: GhostdeskError, receive: Receive, *, operator: bool) -> None:
        """Answer with the error, unless an answer is under way already."""
        if self._status:
            if self._scope["type"] == "websocket":
                await self._send({"type": "websocket.close", "code": 1011})
            return
        response = response_of(error, self.request_id, operator=operator)
        scope = dict(self._scope)
        if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
            self._status = response.status_code
            await self._send({"type": "websocket.close", "code": 1008})
            return
        await response(scope, receive, self.send)

    def log(self, identity: Identity | None) -> None:
        """One line a request: never a query, a header or a body, as these may hold secrets."""
        duration_ms = 1000.0 * (time.perf_counter() - self._started)
        method = self._scope.get("method", "WEBSOCKET")
        user = identity.user if identity is not None else "-"
        log.info(
            "%s %s %s %d %.0f ms %s",
            self.request_id,
            method,
            ascii(self._scope["path"])[:200],
            self._status,
            duration_ms,
            user,
        )


def _most_bytes(scope: Scope) -> int:
    """How long the body of this request may be."""
    for (method, start), most in LARGE_BODIES.items():
        if scope.get("method") == method and scope["path"].startswith(start):
            return most
    return MAX_BODY_BYTES


def _check_length(headers: Headers, most: int) -> None:
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:12]) > most:
        raise _too_big(most)


def _limited(receive: Receive, most: int) -> Receive:
    """Count a body that came without its length."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise _too_big(most)
        return message

    return counted


def _too_big(most: int) -> Refused:
    return Refused("The request is too big.", f"{most} bytes at most.", 413)
