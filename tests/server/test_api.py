"""What the routes do, and in whose name."""

from __future__ import annotations

from typing import Any

import pytest

from ghostdesk.kernel.errors import InsufficientCapacity, QuotaReached
from ghostdesk.kernel.ids import UserId

ADA, BEN, OLA = UserId("ada"), UserId("ben"), UserId("ola")


async def test_prepare_and_open_give_one_desktop(world: Any) -> None:
    async with world.signed_in(ADA) as client:
        prepared = (await client.post("/api/desktop/prepare")).json()
        opened = (await client.post("/api/desktop/open")).json()
        again = (await client.post("/api/desktop/open")).json()
        assert (prepared["active"], opened["active"]) == (False, True)
        assert prepared["ghost"] == opened["ghost"] == again["ghost"]
        assert (await client.delete("/api/desktop")).status_code == 204
        assert (await client.post("/api/desktop/open")).json()["ghost"] != opened["ghost"]


async def test_nothing_to_prepare_is_null(world: Any) -> None:
    world.service.prepares = False
    async with world.signed_in(ADA) as client:
        answer = await client.post("/api/desktop/prepare")
        assert answer.status_code == 200 and answer.json() is None


async def test_users_have_desktops_of_their_own(world: Any) -> None:
    async with world.signed_in(ADA) as ada, world.signed_in(BEN) as ben:
        hers, his = (await ada.post("/api/desktop/open")).json(), (await ben.post("/api/desktop/open")).json()
        assert hers["ghost"] != his["ghost"]
        await ben.delete("/api/desktop")
        assert ADA in world.service.owned and BEN not in world.service.owned


async def test_applications(world: Any) -> None:
    async with world.signed_in(ADA) as client:
        apps = (await client.get("/api/apps")).json()
        assert [(app["app"], app["name"]) for app in apps] == [("editor", "<b>Editor</b>")]
        assert (await client.post("/api/apps/editor/launch")).status_code == 404  # no desktop yet
        await client.post("/api/desktop/open")
        record = (await client.post("/api/apps/editor/launch")).json()
        assert (record["what"], record["path"]) == ("editor", "shown")
    assert world.service.launched == [("ada", "editor")]


@pytest.mark.parametrize("app", ["unknown", "..%2f..%2fbin%2fsh", "a%20b", "%00", "-rf", "x" * 200, "$(id)", "a;b"])
async def test_odd_applications_are_not_found(world: Any, app: str) -> None:
    async with world.signed_in(ADA) as client:
        await client.post("/api/desktop/open")
        assert (await client.post(f"/api/apps/{app}/launch")).status_code in (404, 405)
    assert world.service.launched == []


async def test_no_room_says_when_to_come_again(world: Any) -> None:
    world.service.fail_open = InsufficientCapacity("The host has no room.", "Try again in a minute.")
    async with world.signed_in(ADA) as client:
        answer = await client.post("/api/desktop/open")
        assert answer.status_code == 503 and answer.headers["retry-after"] == "30"
        assert answer.json()["error"]["cause"] == "The host has no room."


async def test_a_quota_is_told_with_what_helps(world: Any) -> None:
    world.service.fail_open = QuotaReached("The 2 desktops that physics may have are in use.", "Wait.")
    async with world.signed_in(ADA) as client:
        answer = await client.post("/api/desktop/open")
        assert answer.status_code == 403
        error = answer.json()["error"]
        assert (error["code"], error["mend"]) == ("quota", "Wait.")
        assert "physics may have" in error["cause"], "people who are no operators read it too"


async def test_status_tells_of_capacity_bookings_and_wishes_that_were_not_granted(world: Any) -> None:
    async with world.signed_in(OLA) as client:
        status = (await client.get("/api/status")).json()
    (wish,) = status["infeasible"]
    assert (wish["code"], wish["resource"], wish["asked"], wish["count"]) == ("memory", "memory_bytes", 1.5e9, 1)
    capacity = status["capacity"]
    assert [room["allowed"] for room in capacity["rooms"] if room["resource"] == "network_bytes_per_s"] == [None]
    assert [booking["state"] for booking in capacity["bookings"]] == ["held", "booked"]


async def test_status_shows_everything(world: Any) -> None:
    async with world.signed_in(OLA) as client:
        status = (await client.get("/api/status")).json()
        assert {"ghosts", "plan", "infeasible", "launches", "abilities", "pool_target", "problem"} <= set(status)
        assert status["plan"][0]["reason"]
        forecasts = status["forecasts"]
        assert (forecasts["model"], forecasts["drifted"], forecasts["hit_rate_before"]) == ("0003", True, None)
        assert "Train again" in forecasts["mend"]


async def test_openapi_is_for_those_signed_in(world: Any) -> None:
    async with world.client() as client:
        assert (await client.get("/api/openapi.json")).status_code == 401
    async with world.signed_in(ADA) as client:
        paths = (await client.get("/api/openapi.json")).json()["paths"]
        assert {"/api/me", "/api/desktop/open", "/api/apps/{app}/launch"} <= set(paths)
