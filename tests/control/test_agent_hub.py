"""The hub against agents that are honest, late, forged or hostile, over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.agent import wire
from ghostdesk.control import agent_hub
from ghostdesk.control.agent_check import AGENT_SOURCES, MAX_LATE_S, Allowance, BadEvent, checked_event
from ghostdesk.control.agent_hub import AgentHub, wire_call
from ghostdesk.engines.protocol import AgentLink, Endpoint
from ghostdesk.ghosts.commands import CloseApp, HideApp, LaunchHidden, ShowApp, TellBound
from ghostdesk.kernel.clock import VirtualClock
from ghostdesk.kernel.errors import AgentError, NotFound
from ghostdesk.kernel.ids import AppId, GhostId, UserId
from ghostdesk.telemetry.events import EventKind, TelemetrySource, UsageEvent

GHOST = GhostId("g1")
NOW_S = 1_000_000.0
APP = AppId("mousepad")


@dataclass
class Events:
    usage: list[UsageEvent] = field(default_factory=list)
    lost: list[GhostId] = field(default_factory=list)

    def on_usage(self, ghost: GhostId, event: UsageEvent) -> None:
        self.usage.append(event)

    def on_agent_lost(self, ghost: GhostId) -> None:
        self.lost.append(ghost)


@dataclass
class World:
    hub: AgentHub
    events: Events
    endpoint: Endpoint
    clock: VirtualClock


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    events, clock = Events(), VirtualClock(NOW_S)
    hub = AgentHub(events, sources=list(TelemetrySource), sample_every_s=30, clock=clock)
    endpoint = Endpoint(str(tmp_path / "rfb"), str(tmp_path / "agent.sock"), "sesame", os.geteuid())
    await hub.connect(GHOST, endpoint)
    yield World(hub, events, endpoint, clock)
    await hub.close()


class FakeAgent:
    """Speaks the agent's side of the wire. Answers every call with `{}` unless told otherwise."""

    def __init__(self) -> None:
        self.calls: list[wire.Message] = []
        self.answers: dict[str, dict[str, Any] | None] = {}
        self.closed = asyncio.Event()

    async def connect(self, path: str, **hello: Any) -> FakeAgent:
        self.reader, self.writer = await asyncio.open_unix_connection(path)
        message = {"type": "hello", "version": wire.VERSION, "ghost": GHOST, "token": "sesame"} | hello
        self.send(message)
        self.task = asyncio.create_task(self._serve())
        return self

    def send(self, message: wire.Message) -> None:
        self.writer.write(wire.encode(message))

    def event(self, **fields: Any) -> None:
        self.send({"type": "event", "kind": "app-launch", "time_s": NOW_S, "app": APP} | fields)

    async def _serve(self) -> None:
        while line := await self.reader.readline():
            message = wire.decode(line)
            if message["type"] == "call":
                self.calls.append(message)
                answer = self.answers.get(message["method"], {"result": {}})
                if answer is not None:
                    self.send({"type": "reply", "id": message["id"]} | answer)
        self.closed.set()
        self.writer.close()

    async def close(self) -> None:
        self.writer.close()
        await self.task


async def until(check: Any) -> None:
    for _ in range(1000):
        if check():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not within 5 s")


def is_a_link(hub: AgentHub) -> AgentLink:
    """mypy checks here that the hub fills the seam."""
    return hub


async def test_an_agent_with_the_credential_is_called_and_answers(world: World) -> None:
    agent = await FakeAgent().connect(world.endpoint.agent_path)
    await world.hub.wait_connected(GHOST, 5)
    agent.answers["show"] = {"result": {"path": "shown", "duration_s": 0.004, "junk": [1]}}
    outcome = await world.hub.apply(ShowApp(GHOST, APP))
    assert outcome.ok and outcome.facts == {"path": "shown", "duration_s": 0.004}
    agent.answers["catalogue"] = {"result": {"apps": [{"id": "a"}, 7]}}
    assert await world.hub.catalogue(GHOST) == [{"id": "a"}]
    agent.answers["list"] = {"result": {"apps": "nonsense"}}
    assert await world.hub.listing(GHOST) == []
    await agent.close()
    await until(lambda: world.events.lost == [GHOST])


async def test_the_socket_is_the_agents_alone(world: World) -> None:
    mode = Path(world.endpoint.agent_path).stat()
    assert stat.S_IMODE(mode.st_mode) == 0o600
    assert mode.st_uid == world.endpoint.agent_uid


@pytest.mark.parametrize(
    "hello",
    [
        {"token": "wrong"},
        {"token": ""},
        {"token": None},
        {"token": "sésame"},
        {"ghost": "g2"},
        {"version": 0},
        {"type": "event"},
    ],
)
async def test_a_wrong_hello_is_refused(world: World, hello: dict[str, Any]) -> None:
    agent = await FakeAgent().connect(world.endpoint.agent_path, **hello)
    await asyncio.wait_for(agent.closed.wait(), 5)
    assert not world.hub.connected(GHOST)
    with pytest.raises(AgentError, match="1 connections were refused"):
        await world.hub.wait_connected(GHOST, 0.05)
    assert world.events.lost == []


async def test_whoever_says_nothing_is_sent_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_hub, "HELLO_LIMIT_S", 0.05)
    reader, writer = await asyncio.open_unix_connection(world.endpoint.agent_path)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_uid_with_the_credential_is_refused(tmp_path: Path) -> None:
    events = Events()
    hub = AgentHub(events, sources=[], sample_every_s=30, clock=VirtualClock(NOW_S))
    endpoint = Endpoint("", str(tmp_path / "a.sock"), "sesame", 12345)
    await hub.connect(GHOST, endpoint)
    assert Path(endpoint.agent_path).stat().st_uid == 12345
    script = f"""
import socket
s = socket.socket(socket.AF_UNIX); s.connect({endpoint.agent_path!r})
s.sendall({wire.encode({"type": "hello", "version": 1, "ghost": GHOST, "token": "sesame"})!r})
print(s.recv(100))
"""
    as_root = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], capture_output=True, check=False, timeout=20
    )
    assert b"welcome" not in as_root.stdout
    assert not hub.connected(GHOST)
    await hub.close()


async def test_the_newest_connection_counts_but_only_with_the_credential(world: World) -> None:
    first = await FakeAgent().connect(world.endpoint.agent_path)
    await world.hub.wait_connected(GHOST, 5)
    forged = await FakeAgent().connect(world.endpoint.agent_path, **{"token": "guess"})
    await asyncio.wait_for(forged.closed.wait(), 5)
    assert await world.hub.call(GHOST, "ping") == {}
    first.answers["show"] = None
    pending = asyncio.create_task(world.hub.call(GHOST, "show", {"app": APP}, 30))
    await until(lambda: [call for call in first.calls if call["method"] == "show"])
    second = await FakeAgent().connect(world.endpoint.agent_path)
    await asyncio.wait_for(first.closed.wait(), 5)
    with pytest.raises(AgentError, match="connected anew"):
        await pending
    await world.hub.call(GHOST, "ping")
    assert [call for call in second.calls if call["method"] == "ping"]
    assert world.events.lost == []
    await second.close()


async def test_a_silent_agent_runs_into_the_time_limit(world: World) -> None:
    agent = await FakeAgent().connect(world.endpoint.agent_path)
    await world.hub.wait_connected(GHOST, 5)
    agent.answers["ping"] = None
    with pytest.raises(AgentError, match="thaw the ghost first"):
        await world.hub.call(GHOST, "ping", {}, 0.05)
    agent.send({"type": "reply", "id": agent.calls[-1]["id"], "result": {}})  # too late: passed over
    agent.answers.clear()
    assert await world.hub.call(GHOST, "ping") == {}
    await agent.close()


async def test_calls_fail_clearly_without_an_agent_or_a_ghost(world: World) -> None:
    outcome = await world.hub.apply(ShowApp(GHOST, APP))
    assert isinstance(outcome.error, AgentError) and outcome.error.mend
    outcome = await world.hub.apply(ShowApp(GhostId("other"), APP))
    assert "nobody listens" in str(outcome.error)
    agent = await FakeAgent().connect(world.endpoint.agent_path)
    await world.hub.wait_connected(GHOST, 5)
    agent.answers["show"] = None
    pending = asyncio.create_task(world.hub.apply(ShowApp(GHOST, APP)))
    await until(lambda: [call for call in agent.calls if call["method"] == "show"])
    await agent.close()
    assert "connection to the agent ended" in str((await pending).error)


async def test_refusals_carry_the_agents_reason_without_control_characters(world: World) -> None:
    agent = await FakeAgent().connect(world.endpoint.agent_path)
    await world.hub.wait_connected(GHOST, 5)
    agent.answers["show"] = {"error": {"code": "unknown-app", "message": "no such\x1b[2J thing"}}
    error = (await world.hub.apply(ShowApp(GHOST, APP))).error
    assert isinstance(error, NotFound) and "\x1b" not in str(error) and "no such" in str(error)
    for nonsense in (None, 7, {}, {"code": [], "message": {}}):
        agent.answers["show"] = {"error": nonsense}
        assert isinstance((await world.hub.apply(ShowApp(GHOST, APP))).error, AgentError)
    await agent.close()


async def test_a_new_agent_is_told_its_sources_and_that_it_is_bound(world: World) -> None:
    first = await FakeAgent().connect(world.endpoint.agent_path)
    await world.hub.wait_connected(GHOST, 5)
    assert (await world.hub.apply(TellBound(GHOST, UserId("ada")))).ok
    await first.close()
    await until(lambda: not world.hub.connected(GHOST))
    await world.hub.set_sources([TelemetrySource.CAMERA], 5)
    second = await FakeAgent().connect(world.endpoint.agent_path)
    await until(lambda: len(second.calls) >= 2)
    assert [(call["method"], call["params"]) for call in second.calls] == [
        ("sources", {"enabled": ["camera"], "sample_every_s": 5}),
        ("bound", {"user": "ada", "files": []}),
    ]
    await second.close()


async def test_events_are_checked_and_those_switched_off_dropped(world: World) -> None:
    agent = await FakeAgent().connect(world.endpoint.agent_path)
    await world.hub.wait_connected(GHOST, 5)
    agent.event(detail="shown", value=0.25)
    agent.event(kind="sign-in")
    agent.event(kind="nonsense")
    agent.event(app="../x")
    agent.event(detail="a title with spaces")
    agent.event(value=-1)
    agent.event(value=True)
    agent.event(kind="camera", app=None, value=1, time_s=NOW_S + 500)
    await until(lambda: len(world.events.usage) >= 2)
    await world.hub.set_sources([TelemetrySource.CAMERA])
    agent.event()
    agent.event(kind="camera", value=0, app=None)
    await until(lambda: len(world.events.usage) >= 3)
    assert [(e.kind, e.app, e.value, e.detail, e.time_s, e.desktop) for e in world.events.usage] == [
        (EventKind.APP_LAUNCH, APP, 0.25, "shown", NOW_S, GHOST),
        (EventKind.CAMERA, None, 1.0, None, NOW_S, GHOST),
        (EventKind.CAMERA, None, 0.0, None, NOW_S, GHOST),
    ]
    await agent.close()


async def test_a_flood_of_events_is_cut_off_and_calls_still_work(world: World) -> None:
    agent = await FakeAgent().connect(world.endpoint.agent_path)
    await world.hub.wait_connected(GHOST, 5)
    for _ in range(2000):
        agent.event()
    assert await world.hub.call(GHOST, "ping") == {}
    assert len(world.events.usage) == 400
    world.clock.advance(0.5)
    for _ in range(200):
        agent.event()
    await world.hub.call(GHOST, "ping")
    assert len(world.events.usage) == 500
    await agent.close()


async def test_an_agent_that_speaks_nonsense_is_cut_off(world: World) -> None:
    agent = await FakeAgent().connect(world.endpoint.agent_path)
    await world.hub.wait_connected(GHOST, 5)
    agent.writer.write(b"nonsense\n" * 5)
    assert await world.hub.call(GHOST, "ping") == {}
    agent.writer.write(b"nonsense\n" * 30)
    await asyncio.wait_for(agent.closed.wait(), 5)
    await until(lambda: world.events.lost == [GHOST])


async def test_a_line_without_end_is_cut_off(world: World) -> None:
    agent = await FakeAgent().connect(world.endpoint.agent_path)
    await world.hub.wait_connected(GHOST, 5)
    agent.writer.write(b"x" * (wire.MAX_LINE_BYTES + 70_000))
    await asyncio.wait_for(agent.closed.wait(), 10)
    await until(lambda: world.events.lost == [GHOST])


async def test_connect_twice_keeps_the_agent_and_disconnect_removes_the_socket(world: World) -> None:
    agent = await FakeAgent().connect(world.endpoint.agent_path)
    await world.hub.wait_connected(GHOST, 5)
    await world.hub.connect(GHOST, world.endpoint)
    assert await world.hub.call(GHOST, "ping") == {}
    await world.hub.disconnect(GHOST)
    await asyncio.wait_for(agent.closed.wait(), 5)
    assert not Path(world.endpoint.agent_path).exists()
    assert world.events.lost == [], "it was asked for"
    await world.hub.disconnect(GHOST)


async def test_a_stale_socket_is_replaced_and_an_impossible_one_explained(tmp_path: Path) -> None:
    hub = AgentHub(Events(), sources=[], sample_every_s=30, clock=VirtualClock(NOW_S))
    stale = tmp_path / "a.sock"
    stale.write_text("left by a crash")
    await hub.connect(GHOST, Endpoint("", str(stale), "t", os.geteuid()))
    assert stale.is_socket()
    with pytest.raises(AgentError, match="cannot be made"):
        await hub.connect(GhostId("g2"), Endpoint("", str(tmp_path / ("x" * 120)), "t", os.geteuid()))
    await hub.close()


def test_every_command_has_its_call() -> None:
    assert wire_call(LaunchHidden(GHOST, APP)) == ("launch", {"app": APP, "hidden": True, "files": []})
    assert wire_call(ShowApp(GHOST, APP)) == ("show", {"app": APP})
    assert wire_call(HideApp(GHOST, APP)) == ("hide", {"app": APP, "freeze": True, "unmap": False})
    assert wire_call(CloseApp(GHOST, APP)) == ("close", {"app": APP})
    assert wire_call(TellBound(GHOST, UserId("ada"))) == ("bound", {"user": "ada", "files": []})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "kind": st.sampled_from([kind.value for kind in EventKind]) | JSON,
            "time_s": JSON,
            "app": JSON,
            "value": JSON,
            "detail": JSON,
        },
    )
)
def test_whatever_an_agent_sends_gives_a_sound_event_or_none(fields: dict[str, Any]) -> None:
    try:
        event = checked_event({"type": "event", **fields}, GHOST, NOW_S, list(TelemetrySource))
    except BadEvent:
        return
    assert event is not None
    assert NOW_S - MAX_LATE_S <= event.time_s <= NOW_S
    assert event.user is None and event.desktop == GHOST
    assert event.detail is None or re.fullmatch(r"[!-~]{1,128}", event.detail)
    json.dumps([event.value, event.app], allow_nan=False)


@given(st.lists(st.floats(0, 10), max_size=200))
def test_no_burst_exceeds_the_allowance(gaps_s: list[float]) -> None:
    allowance = Allowance(per_s=5.0)
    now_s, taken = 100.0, 0
    for gap_s in gaps_s:
        now_s += gap_s
        taken += allowance.take(now_s)
    assert taken <= 10 + 5.0 * (now_s - 100.0) + 1


async def test_agents_are_told_what_their_user_allows_and_nothing_else_is_taken(world: World) -> None:
    allowed = {TelemetrySource.APPLICATIONS, TelemetrySource.CAMERA, TelemetrySource.PLACE}
    world.hub.sources_of = lambda user: allowed if user == "ada" else frozenset(TelemetrySource)
    agent = await FakeAgent().connect(world.endpoint.agent_path)
    await world.hub.wait_connected(GHOST, 5)
    told = lambda: [call["params"]["enabled"] for call in agent.calls if call["method"] == "sources"]  # noqa: E731
    await until(lambda: told() == [sorted(AGENT_SOURCES)])  # nobody's yet: what the operator allows
    await world.hub.apply(TellBound(GHOST, UserId("ada")))
    await until(lambda: told()[-1] == ["applications", "camera"])
    agent.event(kind="app-focus")
    agent.event(kind="app-launch")
    await until(lambda: [event.kind for event in world.events.usage] == [EventKind.APP_LAUNCH])
    allowed.discard(TelemetrySource.APPLICATIONS)
    await world.hub.retell(UserId("bob"))
    await world.hub.retell(UserId("ada"))
    await until(lambda: told()[-1] == ["camera"])
    agent.event(kind="app-launch")
    agent.event(kind="camera", value=1.0)
    await until(lambda: len(world.events.usage) == 2)
    assert world.events.usage[-1].kind is EventKind.CAMERA
    assert len(told()) == 3


@pytest.mark.parametrize("kind", ["place", "mode", "sign-in"])
def test_agents_cannot_say_where_somebody_is_or_what_they_chose(kind: str) -> None:
    with pytest.raises(BadEvent):
        checked_event({"kind": kind, "detail": "home"}, GHOST, NOW_S, list(TelemetrySource))
