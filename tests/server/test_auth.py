"""Links, sessions, and what each may do."""

from __future__ import annotations

from typing import Any

import pytest

from ghostdesk.kernel.errors import NotAllowed, NotFound, StoreError
from ghostdesk.kernel.ids import UserId
from ghostdesk.server.auth import LinkAuthenticator, make_sign_in_link
from ghostdesk.store.protocol import StoredUser

ADA, BEN = UserId("ada"), UserId("ben")


async def test_a_link_works_once(world: Any) -> None:
    token = world.token(ADA)
    async with world.client() as client:
        first = await client.post("/api/session", json={"token": token})
        assert first.json() == {"user": "ada", "display_name": "Ada", "role": "user"}
        cookie = first.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie
        second = await client.post("/api/session", json={"token": token})
        assert second.status_code == 403
        assert "used already" in second.json()["error"]["cause"]


async def test_a_link_expires(world: Any) -> None:
    token = world.token(ADA)
    world.clock.advance(61.0)
    async with world.client() as client:
        assert (await client.post("/api/session", json={"token": token})).status_code == 403


def test_links_keep_their_token_in_the_fragment_and_the_store_a_digest(world: Any) -> None:
    link = make_sign_in_link(world.store, ADA, "http://127.0.0.1:8470/", 60.0, 1000.0)
    assert link.startswith("http://127.0.0.1:8470/#sign-in=")
    token = link.partition("=")[2]
    assert all(token.encode() not in digest for digest in world.store.links)


def test_no_link_for_unknown_or_disabled_accounts(world: Any) -> None:
    with pytest.raises(NotFound):
        make_sign_in_link(world.store, UserId("nobody"), world.url, 60.0, 1000.0)
    world.store.put_user(StoredUser(BEN, "Ben", disabled=True))
    with pytest.raises(NotAllowed):
        make_sign_in_link(world.store, BEN, world.url, 60.0, 1000.0)


async def test_an_account_disabled_after_its_link_was_made_stays_out(world: Any) -> None:
    token = world.token(BEN)
    world.store.put_user(StoredUser(BEN, "Ben", disabled=True))
    async with world.client() as client:
        assert (await client.post("/api/session", json={"token": token})).status_code == 403
        assert "ghostdesk" not in client.cookies


async def test_a_session_expires(world: Any) -> None:
    async with world.signed_in(ADA) as client:
        world.clock.advance(3601.0)
        assert (await client.get("/api/me")).status_code == 401


async def test_signing_out_ends_this_session_alone(world: Any) -> None:
    async with world.signed_in(ADA) as here, world.signed_in(ADA) as there:
        cookie = here.cookies["ghostdesk"]
        assert (await here.delete("/api/session")).status_code == 204
        here.cookies.set("ghostdesk", cookie, domain="127.0.0.1")
        assert (await here.get("/api/me")).status_code == 401
        assert [action for _, action, _ in world.store.audit][-3:] == ["make sign-in link", "sign in", "sign out"]
        assert (await there.get("/api/me")).status_code == 200


async def test_another_process_can_end_all_sessions(world: Any) -> None:
    async with world.signed_in(ADA) as client:
        world.store.delete_web_sessions(ADA)
        world.clock.advance(2.5)
        assert (await client.get("/api/me")).status_code == 401


async def test_sign_ins_are_limited_and_the_limit_wears_off(world: Any) -> None:
    async with world.client() as client:
        answers = [await client.post("/api/session", json={"token": "wrong"}) for _ in range(12)]
        assert [a.status_code for a in answers] == [403] * 10 + [429] * 2
        assert int(answers[-1].headers["retry-after"]) > 0
        world.clock.advance(7.0)
        assert (await client.post("/api/session", json={"token": world.token(ADA)})).status_code == 200


async def test_bad_sign_ins_do_not_repeat_what_they_were_sent(world: Any) -> None:
    async with world.client() as client:
        for body in ({"token": "s3cret" * 100}, {"token": 7}, {"s3cret": "s3cret"}, ["s3cret"]):
            answer = await client.post("/api/session", json=body)
            assert answer.status_code in (403, 422)
            assert "s3cret" not in answer.text.replace("body.s3cret", "")


async def test_odd_cookies_are_nobody(world: Any) -> None:
    async with world.client() as client:
        for cookie in (
            "",
            "x",
            "a" * 43,
            "a" * 5000,
            "\udcff".encode("utf-8", "surrogateescape").decode("latin-1") * 43,
        ):
            headers = {"Cookie": b"ghostdesk=" + cookie.encode("latin-1")}
            assert (await client.get("/api/me", headers=headers)).status_code == 401


async def test_a_known_session_needs_no_database_for_a_moment(world: Any) -> None:
    async with world.signed_in(ADA) as client:
        assert (await client.get("/api/me")).status_code == 200
        world.store.broken = StoreError("The disk is full.", "Free some space.")
        assert (await client.get("/api/me")).status_code == 200
        world.clock.advance(3.0)
        answer = await client.get("/api/me")
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "store"


async def test_what_is_remembered_of_sessions_is_bounded(world: Any) -> None:
    who = LinkAuthenticator(world.store, world.clock, 60.0)
    for _ in range(50):
        await who.who("b" * 43)
    assert len(who._known) == 0
