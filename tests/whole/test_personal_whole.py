"""Consents and deletion in a real ghostdesk with real desktops and real agents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from running import Running, missing_programs, running, wait_for

pytestmark = [
    pytest.mark.desktop,
    pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}"),
]
APP = "org.xfce.mousepad"


@pytest.fixture
def desk() -> Iterator[Running]:
    with running() as made:
        made.start()
        yield made


def stored(client: httpx.Client) -> dict[str, int]:
    """How many events are stored from each source, as the person sees it."""
    data: dict[str, Any] = client.get("/api/my/data").json()
    return {consent["source"]: consent["events"] for consent in data["consents"]}


def test_what_is_switched_off_is_not_recorded_and_what_is_deleted_is_gone(desk: Running) -> None:
    alice, bob = desk.sign_in("alice"), desk.sign_in("bob")
    for client in (alice, bob):
        client.post("/api/desktop/open").raise_for_status()
        wait_for(lambda c=client: c.post(f"/api/apps/{APP}/launch").status_code == 200, what="a launch")  # type: ignore[misc]
        wait_for(lambda c=client: stored(c)["applications"] > 0, what="a recorded launch")  # type: ignore[misc]
    for source in ("applications", "focus", "resources", "files"):
        assert alice.put(f"/api/my/consents/{source}", json={"allowed": False}).status_code == 204
    deleted = desk.command("privacy", "delete", "alice", "--yes")
    assert deleted.returncode == 0, deleted.stderr
    assert not any(stored(alice).values())
    alice.post(f"/api/apps/{APP}/launch").raise_for_status()
    desk.command("privacy", "consent", "bob", "applications", "off")
    wait_for(
        lambda: not {c["source"]: c["allowed"] for c in bob.get("/api/my/data").json()["consents"]}["applications"],
        what="a consent from the command line",
    )
    assert not any(stored(alice).values())
    assert stored(bob)["applications"] > 0
    assert {user for _, user, app in desk.events() if app is not None} == {"bob"}
    assert alice.get("/api/my/export").json()["launches"] == []
    assert desk.stop() == 0
