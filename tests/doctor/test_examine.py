"""The examination of an engine: well, and with each thing that can be wrong; nothing is left of the test desktop."""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from played_screen import PlayedScreen

from ghostdesk.doctor.examine import GHOST, Examination, Wish
from ghostdesk.doctor.report import Finding, Report, State, Verdict
from ghostdesk.engines.protocol import FREEZING, Ability, Endpoint
from ghostdesk.engines.simulated import SimulatedEngine, SimulatedHost
from ghostdesk.ghosts.commands import AttachHome, Build, Destroy, EngineCommand, Freeze, Outcome, SetLimits, Thaw
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.clock import VirtualClock
from ghostdesk.kernel.conditions import HostConditions
from ghostdesk.kernel.errors import AgentError, BuildFailed, EngineError, InsufficientCapacity
from ghostdesk.kernel.ids import GhostId, TemplateId
from ghostdesk.kernel.resources import Resources

WISH = Wish("played", DesktopTemplate(TemplateId("t")), Resources(cpu_cores=1.0))
SOON = replace(WISH, patience_s=4.0)
"""For what fails: long enough for all that has to go well before."""
STEPS = ["start", "leftovers", "room", "build", "picture", "agent", "key", "home", "limits", "freeze", "park", "wake"]


class Played(SimulatedEngine):
    """A simulated engine whose desktop has a played screen, and that can do without something."""

    def __init__(self, host: SimulatedHost, screen: Path) -> None:
        super().__init__(host)
        self.screen = screen
        self.lacks: tuple[str, ...] = ()
        self.stopped: list[bool] = []

    def endpoint(self, ghost: GhostId) -> Endpoint:
        return replace(super().endpoint(ghost), rfb_path=str(self.screen))

    def abilities(self) -> list[Ability]:
        return [
            *super().abilities(),
            *(Ability(name, False, "not with this one", "Take another.") for name in self.lacks),
        ]

    def session_log(self, ghost: GhostId) -> str:
        return "openbox: cannot open display"

    async def stop(self, *, keep_ghosts: bool) -> None:
        self.stopped.append(keep_ghosts)
        await super().stop(keep_ghosts=keep_ghosts)


class Agents:
    """A hub whose agent comes, or does not."""

    def __init__(self) -> None:
        self.comes = True
        self.listening: set[GhostId] = set()

    async def connect(self, ghost: GhostId, endpoint: Endpoint) -> None:
        self.listening.add(ghost)

    async def wait_connected(self, ghost: GhostId, timeout_s: float) -> None:
        if not self.comes:
            raise AgentError("The agent did not connect.", "Look at its log.")

    async def call(self, ghost: GhostId, method: str, params: dict[str, Any], timeout_s: float) -> Mapping[str, Any]:
        return {"apps": [{"id": "editor"}]}

    async def disconnect(self, ghost: GhostId) -> None:
        self.listening.discard(ghost)


@pytest.fixture
def host() -> SimulatedHost:
    return SimulatedHost(VirtualClock())


@pytest.fixture
def engine(host: SimulatedHost) -> Iterator[Played]:
    with tempfile.TemporaryDirectory() as folder:
        yield Played(host, Path(folder) / "rfb")


@pytest.fixture
def agents() -> Agents:
    return Agents()


async def examine(
    engine: Played, agents: Agents, wish: Wish = WISH, **screen: bool
) -> tuple[Report, dict[str, Finding]]:
    async with PlayedScreen(engine.screen, **screen):
        report = await Examination(engine, agents, wish, lambda step: None).run()
    assert engine.stopped == [False], "the engine is left, with nothing of ours in it"
    assert not agents.listening
    return report, {one.step: one for one in report.findings}


async def test_a_host_that_is_well(engine: Played, agents: Agents, host: SimulatedHost) -> None:
    report, found = await examine(engine, agents)
    assert list(found) == [*STEPS, "destroy", "leave"]
    assert {one.state for one in report.findings} == {State.WELL}
    assert report.verdict is Verdict.WELL
    assert "painted" in found["picture"].detail and "after the key" in found["key"].detail
    assert not host.desktops


async def test_without_a_desktop_only_the_engine_and_the_host_are_looked_at(engine: Played, agents: Agents) -> None:
    _, found = await examine(engine, agents, replace(WISH, desktop=False))
    assert list(found) == ["start", "leftovers", "room", "leave"]


async def test_a_desktop_that_never_paints(engine: Played, agents: Agents, host: SimulatedHost) -> None:
    report, found = await examine(engine, agents, SOON, painted=False)
    assert found["picture"].state is State.FAILED
    assert "stayed one colour" in found["picture"].cause and "cannot open display" in found["picture"].cause
    assert "window manager" in found["picture"].mend
    assert found["key"].state is State.SKIPPED and "'picture'" in found["key"].detail
    assert report.verdict is Verdict.BROKEN
    assert found["destroy"].state is State.WELL and not host.desktops


async def test_a_desktop_that_hears_no_key(engine: Played, agents: Agents) -> None:
    report, found = await examine(engine, agents, SOON, hears=False)
    assert found["key"].state is State.FAILED and "openbox" in found["key"].mend
    assert report.exit_code == 1


async def test_a_desktop_whose_screen_does_not_answer(engine: Played, agents: Agents, host: SimulatedHost) -> None:
    report = await Examination(engine, agents, SOON, lambda step: None).run()
    found = {one.step: one for one in report.findings}
    assert found["picture"].state is State.FAILED and "did not answer" in found["picture"].cause
    assert not host.desktops


async def test_an_agent_that_does_not_come(engine: Played, agents: Agents) -> None:
    agents.comes = False
    report, found = await examine(engine, agents)
    assert (found["agent"].code, found["agent"].mend) == ("agent", "Look at its log.")
    assert report.verdict is Verdict.BROKEN
    assert found["key"].state is State.WELL, "what does not hang on it is looked at all the same"


@pytest.mark.parametrize(
    ("command", "step", "needed"),
    [(Build, "build", True), (AttachHome, "home", True), (SetLimits, "limits", False), (Freeze, "freeze", False),
     (Thaw, "wake", True)],
)  # fmt: skip
async def test_a_command_that_fails_is_told_and_the_desktop_is_destroyed(
    engine: Played, agents: Agents, host: SimulatedHost, command: type, step: str, needed: bool
) -> None:
    host.fail(command, 1, InsufficientCapacity("The disk that holds /x is full.", "Free space there."))
    report, found = await examine(engine, agents)
    assert (found[step].state, found[step].code) == (State.FAILED, "capacity")
    assert (found[step].cause, found[step].mend) == ("The disk that holds /x is full.", "Free space there.")
    assert report.verdict is (Verdict.BROKEN if needed else Verdict.PARTLY)
    assert found["destroy"].state is State.WELL and not host.desktops


async def test_a_requirement_that_is_missing_ends_it_at_the_start(
    engine: Played, agents: Agents, host: SimulatedHost
) -> None:
    host.take_away("Xvnc", "apt-get install tigervnc-standalone-server")
    report, found = await examine(engine, agents)
    assert found["start"].code == "missing" and "apt-get install" in found["start"].mend
    assert report.verdict is Verdict.BROKEN
    assert all(found[step].state is State.SKIPPED for step in STEPS[1:])


async def test_what_an_engine_says_it_lacks_is_left_out_with_its_reason(engine: Played, agents: Agents) -> None:
    engine.lacks = (FREEZING,)
    report, found = await examine(engine, agents)
    assert (found["freeze"].state, found["freeze"].detail) == (State.SKIPPED, "not with this one")
    assert found["park"].state is found["wake"].state is State.SKIPPED
    assert report.verdict is Verdict.WELL


async def test_homes_on_a_server_are_left_alone(engine: Played, agents: Agents) -> None:
    _, found = await examine(engine, agents, replace(WISH, home=False))
    assert found["home"].state is State.SKIPPED and "server" in found["home"].detail


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        (HostConditions(0.0, disk_bytes=1e12, disk_free_bytes=1e6), "disk"),
        (HostConditions(0.0, memory_bytes=8e9, memory_available_bytes=1e7), "memory"),
    ],
)
async def test_a_host_without_room(
    engine: Played, agents: Agents, host: SimulatedHost, told: HostConditions, cause: str
) -> None:
    host.conditions = told
    report, found = await examine(engine, agents)
    assert found["room"].state is State.FAILED and cause in found["room"].cause and found["room"].mend
    assert report.verdict is Verdict.BROKEN


async def test_what_a_killed_doctor_left_is_removed_first(engine: Played, agents: Agents, host: SimulatedHost) -> None:
    assert (await engine.apply(Build(GHOST, WISH.template, WISH.limits))).ok
    _, found = await examine(engine, agents)
    assert found["leftovers"].detail == "removed 1 that a killed doctor left"
    assert found["build"].state is State.WELL and not host.desktops


class Sticky(Played):
    async def apply(self, command: EngineCommand) -> Outcome:
        if isinstance(command, Destroy):
            return Outcome(command, EngineError("It does not die.", "Kill it by hand."))
        return await super().apply(command)


async def test_a_desktop_that_does_not_go_away_is_told(host: SimulatedHost, agents: Agents, tmp_path: Path) -> None:
    report, found = await examine(Sticky(host, tmp_path / "rfb"), agents)
    assert (found["destroy"].state, found["destroy"].mend) == (State.FAILED, "Kill it by hand.")
    assert report.exit_code != 0


async def test_a_doctor_that_is_interrupted_destroys_its_desktop(
    engine: Played, agents: Agents, host: SimulatedHost
) -> None:
    async with PlayedScreen(engine.screen, painted=False):
        waiting = asyncio.Event()
        wish = replace(WISH, patience_s=600.0)
        run = Examination(engine, agents, wish, lambda step: waiting.set() if step == "picture" else None).run()
        task = asyncio.create_task(run)
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not host.desktops and engine.stopped == [False]


async def test_a_build_that_fails_with_a_log_keeps_it(engine: Played, agents: Agents, host: SimulatedHost) -> None:
    host.fail(Build, 1, BuildFailed("The screen did not come up. Its log ends: no fonts.", "Install fonts."))
    _, found = await examine(engine, agents)
    assert "no fonts" in found["build"].cause and found["picture"].state is State.SKIPPED
