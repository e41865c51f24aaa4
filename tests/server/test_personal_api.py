"""`/api/my` over the real personal part and a real database: whose data it is, what is refused, what is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_world import World as Plane

from ghostdesk.kernel.errors import StoreError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.server.personal_api import MOST_CALENDAR_CHARACTERS
from ghostdesk.telemetry.calendars.entries import CalendarSource
from ghostdesk.telemetry.calendars.errors import CalendarError
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent

ADA, BEN = UserId("ada"), UserId("ben")


@pytest.fixture
def plane(world: Any, tmp_path: Path) -> Iterator[Plane]:
    (tmp_path / "plane").mkdir()
    made = Plane(tmp_path / "plane")
    world.service.personal = made.plane.personal
    yield made
    made.close()


def seen(plane: Plane, user: UserId = ADA, kind: EventKind = EventKind.APP_FOCUS) -> None:
    plane.plane.on_user_event(UsageEvent(plane.clock.now_s(), kind, user, AppId("gimp")))


async def test_the_data_has_the_shape_that_the_page_reads(world: Any, plane: Plane) -> None:
    seen(plane)
    async with world.signed_in(ADA) as client:
        assert (await client.put("/api/my/consents/place", json={"allowed": True})).status_code == 204
        place = {"kind": "office", "latitude": 52.52, "longitude": 13.4}
        assert (await client.put("/api/my/places/Büro 2", json=place)).status_code == 204
        mode = {"apps": ["kdenlive"], "file_types": ["video/mp4"], "resources": {"cpu_cores": 4, "gpu_share": 0.5}}
        assert (await client.put("/api/my/modes/video editing", json=mode)).status_code == 204
        assert (await client.post("/api/my/mode", json={"name": "video editing"})).status_code == 204
        assert (await client.post("/api/my/place", json={"name": "Büro 2"})).json() == {"place": "Büro 2"}
        data = (await client.get("/api/my/data")).json()
    assert set(data) == {"consents", "places", "modes", "calendars", "prepared", "habits"}
    focus = next(consent for consent in data["consents"] if consent["source"] == "focus")
    assert set(focus) == {"source", "label", "what", "allowed", "operator_allows", "events", "first_s", "last_s"}
    assert (focus["events"], focus["first_s"]) == (1, plane.clock.now_s())
    assert {c["source"] for c in data["consents"]} == {source.value for source in TelemetrySource}
    assert data["places"] == [{"name": "Büro 2", "kind": "office", "here": True, "probability": 1.0}]
    (shown,) = data["modes"]
    assert (shown["name"], shown["apps"], shown["chosen"]) == ("video editing", ["kdenlive"], True)
    assert shown["resources"]["cpu_cores"] == 4 and 0 < shown["probability"] < 1
    assert shown["reason"] == "video editing is chosen"


async def test_nobody_reads_or_changes_what_is_anothers(world: Any, plane: Plane) -> None:
    plane.store.put_calendar(CalendarSource(ADA, "work", "file"))
    seen(plane)
    async with world.signed_in(ADA) as ada, world.signed_in(BEN) as ben:
        for client in (ada, ben):
            await client.put("/api/my/consents/place", json={"allowed": True})
        await ada.put("/api/my/places/den", json={"kind": "home"})
        await ada.put("/api/my/modes/editing", json={})
        for call, path, body in (
            ("DELETE", "/api/my/places/den", None),
            ("DELETE", "/api/my/modes/editing", None),
            ("DELETE", "/api/my/calendars/work", None),
            ("POST", "/api/my/place", {"name": "den"}),
            ("POST", "/api/my/mode", {"name": "editing"}),
        ):
            assert (await ben.request(call, path, json=body)).status_code == 404, path
        assert (await ben.delete("/api/my/data?source=all")).json() == {"deleted_events": 0}
        his = (await ben.get("/api/my/data")).json()
        assert (his["places"], his["modes"], his["calendars"]) == ([], [], [])
        assert "gimp" not in (await ben.get("/api/my/export")).text
        hers = (await ada.get("/api/my/data")).json()
        assert [len(hers[part]) for part in ("places", "modes", "calendars")] == [1, 1, 1]
        assert next(c for c in hers["consents"] if c["source"] == "focus")["events"] == 1


async def test_no_route_takes_a_users_name(world: Any, plane: Plane) -> None:
    async with world.signed_in(ADA) as client:
        paths = (await client.get("/api/openapi.json")).json()["paths"]
        mine = {path: calls for path, calls in paths.items() if path.startswith("/api/my/")}
        assert len(mine) == 9
        for calls in mine.values():
            for call in calls.values():
                assert not {parameter["name"] for parameter in call.get("parameters", [])} & {"user", "who", "owner"}
        for path, body in (
            ("/api/my/modes/m", {"user": "ben"}),
            ("/api/my/consents/focus", {"allowed": True, "user": "b"}),
        ):
            assert (await client.put(path, json=body)).status_code == 422


async def test_the_export_is_a_file_with_everything(world: Any, plane: Plane) -> None:
    for number in range(3):
        plane.plane.on_user_event(UsageEvent(plane.clock.now_s() - number, EventKind.APP_FOCUS, ADA, AppId("gimp")))
    async with world.signed_in(ADA) as client:
        answer = await client.get("/api/my/export")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"] == 'attachment; filename="ghostdesk-my-data.json"'
    exported = json.loads(answer.text)
    assert (exported["user"], [e["app"] for e in exported["events"]]) == ("ada", ["gimp"] * 3)


async def test_an_export_that_cannot_begin_is_an_error_and_no_torn_file(
    world: Any, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: UserId) -> None:
        raise StoreError("The disk at /secret is gone.", "Bring it back.")

    monkeypatch.setattr(plane.store, "user", away)
    async with world.signed_in(ADA) as client:
        answer = await client.get("/api/my/export")
    assert answer.status_code == 503 and "/secret" not in answer.text


async def test_deleting(world: Any, plane: Plane) -> None:
    async with world.signed_in(ADA) as client:
        seen(plane)
        seen(plane, kind=EventKind.CAMERA)
        assert (await client.delete("/api/my/data?source=camera")).json() == {"deleted_events": 1}
        assert (await client.delete("/api/my/data?source=nonsense")).status_code == 404
        assert (await client.delete("/api/my/data")).status_code == 422  # never everything by accident
        assert (await client.delete("/api/my/data?source=all")).json() == {"deleted_events": 1}
        assert plane.store.count_events() == 0
        answers = [(await client.delete("/api/my/data?source=all")).status_code for _ in range(12)]
        assert answers[-1] == 429


@pytest.mark.parametrize(
    ("call", "path", "body", "status"),
    [
        ("PUT", "/api/my/consents/nonsense", {"allowed": True}, 404),
        ("PUT", "/api/my/consents/focus", {"allowed": "perhaps"}, 422),
        ("PUT", "/api/my/consents/focus", {}, 422),
        ("PUT", "/api/my/places/den", {"kind": "castle"}, 422),
        ("PUT", "/api/my/places/den", {"kind": "home", "latitude": 52.0}, 422),
        ("PUT", "/api/my/places/den", {"kind": "home", "latitude": 91, "longitude": 0}, 422),
        ("PUT", "/api/my/places/den", {"kind": "home", "latitude": "north", "longitude": 0}, 422),
        ("PUT", "/api/my/places/%20den", {"kind": "home"}, 422),
        ("PUT", "/api/my/places/" + "x" * 41, {"kind": "home"}, 422),
        ("PUT", "/api/my/places/a%0Ab", {"kind": "home"}, 422),
        ("POST", "/api/my/place", {}, 422),
        ("POST", "/api/my/place", {"name": "den", "latitude": 1, "longitude": 1}, 422),
        ("POST", "/api/my/place", {"latitude": 1}, 422),
        ("PUT", "/api/my/modes/m", {"apps": ["../../bin/sh"]}, 422),
        ("PUT", "/api/my/modes/m", {"apps": ["a", "a"]}, 422),
        ("PUT", "/api/my/modes/m", {"apps": ["a"] * 65}, 422),
        ("PUT", "/api/my/modes/m", {"resources": {"cpu_cores": -1}}, 422),
        ("PUT", "/api/my/modes/m", {"resources": {"cpu_cores": 1e300}}, 422),
        ("PUT", "/api/my/modes/m", {"resources": {"gold": 1}}, 422),
        ("POST", "/api/my/mode", {}, 422),
        ("GET", "/api/my/curve?hours=0", None, 422),
        ("GET", "/api/my/curve?hours=49", None, 422),
        ("GET", "/api/my/curve?hours=nan", None, 422),
        ("PUT", "/api/my/calendars/work", {"text": 7}, 422),
        ("PUT", "/api/my/modes/m", {"apps": ["x" * 70_000]}, 413),
    ],
)
async def test_odd_requests_are_refused_and_change_nothing(
    world: Any, plane: Plane, call: str, path: str, body: Any, status: int
) -> None:
    async with world.signed_in(ADA) as client:
        await client.put("/api/my/consents/place", json={"allowed": True})
        answer = await client.request(call, path, json=body)
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["cause"]
    assert (plane.store.places(ADA), plane.store.modes(ADA), plane.store.count_events()) == ([], [], 0)


async def test_places_need_the_persons_consent(world: Any, plane: Plane) -> None:
    async with world.signed_in(ADA) as client:
        answer = await client.post("/api/my/place", json={"latitude": 52.52, "longitude": 13.4})
    assert answer.status_code == 403
    assert answer.json()["error"]["mend"] == "Switch Places on first."


async def test_calendars_of_five_mebibytes_are_read_and_larger_ones_refused(world: Any, plane: Plane) -> None:
    read: list[int] = []

    def reading(user: UserId, name: str, text: str, now_s: float) -> None:
        read.append(len(text))
        if text.startswith("broken"):
            raise CalendarError("It is no calendar.", "Export it again.")

    plane.plane.personal.links.read_calendar = reading
    async with world.signed_in(ADA) as client:
        await client.put("/api/my/consents/calendar", json={"allowed": True})
        put = lambda text: client.put("/api/my/calendars/work", json={"text": text})  # noqa: E731
        assert (await put("x" * MOST_CALENDAR_CHARACTERS)).status_code == 204
        assert (await put("x" * (MOST_CALENDAR_CHARACTERS + 1))).status_code == 422
        assert (await put("x" * 9_000_000)).status_code == 413
        broken = await put("broken")
        assert broken.status_code == 422 and broken.json()["error"]["cause"] == "It is no calendar."
    assert read == [MOST_CALENDAR_CHARACTERS, 6]


async def test_the_curve(world: Any, plane: Plane) -> None:
    plane.forecast.arrival[ADA] = 0.25
    plane.forecast.apps[ADA] = ("editor",)
    async with world.signed_in(ADA) as client:
        curve = (await client.get("/api/my/curve?hours=48")).json()
    assert set(curve) == {"start_s", "slot_s", "arrival", "presence", "apps", "resources", "reasons"}
    assert (curve["arrival"], curve["reasons"]) == ([0.25], ["a habit"])
    assert curve["apps"] == [{"app": "editor", "name": "editor", "probability": 0.4, "in_use": []}]


async def test_the_page_may_ask_for_its_own_position_and_no_other_page(world: Any, plane: Plane) -> None:
    async with world.signed_in(ADA) as client:
        policy = (await client.get("/api/my/data")).headers["permissions-policy"]
    assert "geolocation=(self)" in policy and "camera=()" in policy
