"""Nothing but what is meant to be open works without a session, from elsewhere, or under another name."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest
from starlette.routing import BaseRoute, Route, WebSocketRoute
from websockets.exceptions import InvalidStatus

from ghostdesk.kernel.errors import StoreError
from ghostdesk.kernel.ids import UserId
from ghostdesk.server.guard import MAX_BODY_BYTES, PublicAddress, local_origins
from ghostdesk.store.protocol import StoredUser

ADA, OLA = UserId("ada"), UserId("ola")
OPEN = {("GET", "/healthz"), ("POST", "/api/session"), ("GET", "/{path:path}"), ("HEAD", "/{path:path}")}


def leaves(routes: list[BaseRoute]) -> list[BaseRoute]:
    """Every route, also those of routers that are kept whole inside others."""
    found: list[BaseRoute] = []
    for route in routes:
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        nested = getattr(route, "routes", None) or getattr(inner, "routes", None)
        found += leaves(list(nested)) if nested and not isinstance(route, (Route, WebSocketRoute)) else [route]
    return found


def all_calls(world: Any) -> list[tuple[str, str]]:
    calls = []
    for route in leaves(world.app.routes):
        for method in getattr(route, "methods", None) or ["WEBSOCKET"]:
            calls.append((method, route.path))
    return calls


def test_every_route_is_seen(world: Any) -> None:
    calls = set(all_calls(world))
    assert {("WEBSOCKET", "/api/desktop/stream"), ("GET", "/api/status"), ("POST", "/api/apps/{app}/launch")} <= calls
    assert len(calls) >= 14


async def test_no_route_works_without_a_session(world: Any) -> None:
    async with world.client() as client, world.served():
        for method, path in all_calls(world):
            if (method, path) in OPEN:
                continue
            if method == "WEBSOCKET":
                with pytest.raises(InvalidStatus) as refused:
                    await world.socket(None).__aenter__()
                assert refused.value.response.status_code == 401
            else:
                answer = await client.request(method, path.replace("{app}", "editor"))
                assert answer.status_code == 401, (method, path)
                assert answer.json()["error"]["code"] == "sign-in"
    assert world.service.owned == {} and world.service.viewers == []


async def test_unknown_api_addresses_need_a_session_too(world: Any) -> None:
    async with world.client() as client:
        for path in ("/api/docs", "/api/", "/api/../api/me", "/api/%2e%2e/status"):
            assert (await client.get(path)).status_code == 401, path
    async with world.signed_in(ADA) as client:
        assert (await client.get("/api/nothing")).status_code == 404
        assert (await client.put("/api/me")).status_code == 405


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        ("", ""),
        ("", "same-origin"),
        ("null", ""),
        ("http://evil.example", ""),
        ("http://evil.example", "cross-site"),
        ("OWN", "cross-site"),
        ("OWN", "same-site"),
        ("OWN", "none"),
        ("OWN.evil.example", ""),
        ("http://127.0.0.1", ""),
        ("https://OWNHOST", ""),
    ],
)
async def test_what_changes_something_must_come_from_our_page(world: Any, origin: str, site: str) -> None:
    origin = origin.replace("OWNHOST", f"127.0.0.1:{world.port}").replace("OWN", world.url)
    async with world.signed_in(ADA, origin=origin, sec_fetch_site="") as client:
        headers = {"Sec-Fetch-Site": site} if site else {}
        for method in ("POST", "DELETE", "PUT", "PATCH"):
            answer = await client.request(method, "/api/desktop/open", headers=headers)
            assert answer.status_code == 403, answer.text
            assert answer.json()["error"]["code"] == "refused"
    assert world.service.owned == {}


async def test_reading_across_sites_is_refused(world: Any) -> None:
    async with world.signed_in(ADA, origin="", sec_fetch_site="") as client:
        assert (await client.get("/api/me", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 403
        assert (await client.get("/api/me", headers={"Origin": "http://evil.example"})).status_code == 403
        assert (await client.get("/api/me")).status_code == 200
        answer = await client.get("/", headers={"Sec-Fetch-Site": "cross-site"})  # a link on another site
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers


async def test_upgrades_check_origin_and_session(world: Any) -> None:
    async with world.signed_in(ADA) as client, world.served():
        for origin in ("http://evil.example", "null", f"https://127.0.0.1:{world.port}", f"{world.url}.evil.example"):
            with pytest.raises(InvalidStatus) as refused:
                await world.socket(client, origin=origin).__aenter__()
            assert refused.value.response.status_code == 403
        with pytest.raises(InvalidStatus) as refused:
            headers = {"Cookie": "ghostdesk=" + "a" * 43}
            await world.socket(client, additional_headers=headers).__aenter__()
        assert refused.value.response.status_code == 401
    assert world.service.viewers == []


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", "", "127.0.0.1:PORT.evil.example"])
async def test_other_names_are_refused(world: Any, host: str) -> None:
    async with world.signed_in(ADA) as client:
        headers = {"Host": host.replace("PORT", str(world.port))}
        for path in ("/", "/api/me", "/index.html"):
            assert (await client.get(path, headers=headers)).status_code == 421, path
        assert (await client.get("/healthz", headers=headers)).text == "ok\n"


async def test_every_answer_carries_the_security_headers(world: Any) -> None:
    async with world.signed_in(ADA) as client:
        calls = [
            ("GET", "/"),
            ("GET", "/api/me"),
            ("GET", "/nowhere"),
            ("POST", "/api/desktop/open"),
            ("GET", "/healthz"),
        ]
        for method, path in [*calls, ("GET", "/api/status"), ("PUT", "/api/me")]:
            headers = (await client.request(method, path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert len(headers["x-request-id"]) == 16
            if path.startswith("/api/"):
                assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["//evil.example", "//evil.example/..", "/\\evil.example", "/assets", "/api", "/healthz/"]
)
async def test_nothing_redirects(world: Any, path: str) -> None:
    async with world.signed_in(ADA) as client:
        answer = await client.get(world.url + path, follow_redirects=False)
        assert answer.status_code in (200, 401, 404), path
        assert "location" not in answer.headers


async def test_paths_do_not_leave_the_page(world: Any) -> None:
    async with world.client() as client:
        for path in ("/../app.py", "/%2e%2e/%2e%2e/etc/passwd", "/assets/../../s", "/assets/%2e%2e/index.html"):
            assert (await client.get(world.url + path)).status_code == 404, path


async def test_big_bodies_are_refused(world: Any) -> None:
    async with world.client() as client:
        answer = await client.post("/api/session", content=b"x" * (MAX_BODY_BYTES + 1))
        assert answer.status_code == 413

        async def pieces() -> Any:
            for _ in range(MAX_BODY_BYTES // 1024 + 2):
                yield b"x" * 1024

        answer = await client.post("/api/session", content=pieces())
        assert answer.status_code in (400, 413)


async def test_insides_are_shown_to_operators_alone(world: Any) -> None:
    broken = StoreError("/secret/path/db.sqlite is damaged.", "Restore it.")
    for user, seen in ((ADA, False), (OLA, True)):
        async with world.signed_in(user) as client:
            world.service.fail_open = broken
            answer = await client.post("/api/desktop/open")
            error = answer.json()["error"]
            assert answer.status_code == 503 and error["code"] == "store"
            assert ("/secret/path" in error["cause"]) is seen
            assert error["request_id"] == answer.headers["x-request-id"]


async def test_unforeseen_errors_say_nothing_but_a_number(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with world.signed_in(OLA) as client:
        world.service.fail_open = ZeroDivisionError("internal detail")
        with caplog.at_level(logging.ERROR):
            answer = await client.post("/api/desktop/open")
        assert answer.status_code == 500
        assert "internal detail" not in answer.text
        assert answer.json()["error"]["request_id"] in caplog.text
        assert "content-security-policy" in answer.headers


async def test_logs_hold_no_secrets(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        token = world.token(ADA)
        client = world.client()
        await client.post("/api/session", json={"token": token})
        await client.post("/api/session", json={"token": token})
        await client.post("/api/session", json={"token": token, "more": token})
        await client.get("/?q=" + token)
        async with world.served():
            handle = await world.opened(client)
            ticket = await world.ticket(client, handle)
            async with world.stream(client, ticket):
                pass
        cookie = client.cookies["ghostdesk"]
        await client.aclose()
    ours = "\n".join(
        r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "websockets.client", "httpcore"))
    )
    assert "POST '/api/session' 200" in ours
    for secret in (token, ticket, cookie):
        assert secret not in ours


async def test_log_lines_cannot_be_forged(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="ghostdesk.server"):
        async with world.client() as client:
            await client.get("/x%0afake line")
    assert all("\n" not in r.getMessage() for r in caplog.records if r.name == "ghostdesk.server")


async def test_role_by_route(world: Any) -> None:
    for user, status in ((ADA, 403), (OLA, 200)):
        async with world.signed_in(user) as client:
            assert (await client.get("/api/status")).status_code == status
            assert (await client.get("/api/me")).status_code == 200


async def test_a_disabled_account_is_shut_out(world: Any) -> None:
    async with world.signed_in(ADA) as client:
        assert (await client.get("/api/me")).status_code == 200
        world.store.put_user(StoredUser(ADA, "Ada", disabled=True))
        world.clock.advance(5.0)
        assert (await client.post("/api/desktop/open")).status_code == 401


@pytest.mark.parametrize("origin", ["127.0.0.1:1", "ftp://x", "http://x/", "http://", "http://x/path"])
def test_an_origin_must_be_one(origin: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        PublicAddress(frozenset({origin}))


def test_loopback_goes_by_three_names() -> None:
    assert local_origins("127.0.0.1", 8470, tls=False) == {
        "http://127.0.0.1:8470",
        "http://localhost:8470",
        "http://[::1]:8470",
    }
    assert local_origins("desk.example.org", 443, tls=True) == {"https://desk.example.org"}
    secure = PublicAddress(local_origins("desk.example.org", 443, tls=True))
    assert secure.cookie_name.startswith("__Host-") and "Strict-Transport-Security" in secure.headers()


def test_all_methods_of_the_page_are_safe(world: Any) -> None:
    methods = [m for m, p in all_calls(world) if not p.startswith("/api/")]
    assert set(methods) <= {"GET", "HEAD"}
    assert list(itertools.filterfalse(str.isupper, methods)) == []
