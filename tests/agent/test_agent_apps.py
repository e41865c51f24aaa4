"""Applications on a real display: hidden, frozen, shown, thawed, closed, and found again after a crash."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psutil
import pytest

from ghostdesk.ghosts.commands import CloseApp, HideApp, LaunchHidden, ShowApp
from ghostdesk.kernel.errors import AgentError, NotFound
from ghostdesk.kernel.ids import AppId

pytestmark = pytest.mark.desktop
Desk = Any  # tests/agent/conftest.py
EDITOR = AppId("org.xfce.mousepad")
KINDS = pytest.mark.parametrize("cgroup", ["v2", "v1", "none"], indirect=True)


def stopped(pids: list[int]) -> bool:
    """Whether none of the processes gets any processor time: their CPU clocks stand still."""
    import time

    def clocks() -> list[str]:
        return [" ".join(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]) for pid in pids]

    before = clocks()
    time.sleep(0.1)
    return bool(pids) and clocks() == before


@KINDS
async def test_a_hidden_window_is_painted_while_its_application_is_still_frozen(desk: Desk) -> None:
    empty = desk.picture()
    outcome = await desk.hub.apply(LaunchHidden(desk.ghost, EDITOR))
    assert outcome.ok, outcome.error
    assert outcome.facts["path"] == "hidden"
    assert await desk.state_of(EDITOR) == "frozen"
    pids = await desk.pids_of(EDITOR)
    assert stopped(pids)
    assert desk.picture() == empty, "nothing of it is to be seen"

    shown = await desk.call("show", app=EDITOR, thaw=False)
    frozen_picture = desk.picture()
    assert shown["path"] == "shown"
    assert await desk.state_of(EDITOR) == "frozen"
    assert stopped(pids)
    assert frozen_picture != empty

    await desk.call("thaw", app=EDITOR)
    await asyncio.sleep(0.7)
    running_picture = desk.picture()
    pixels = [frozen_picture[i : i + 4] == running_picture[i : i + 4] for i in range(0, len(running_picture), 4)]
    assert sum(pixels) > 0.95 * len(pixels), "what was shown frozen is what the running application shows"


@KINDS
async def test_hide_and_show_again_and_close_leave_nothing_behind(desk: Desk) -> None:
    shown = await desk.hub.apply(ShowApp(desk.ghost, EDITOR))
    assert shown.ok and shown.facts["path"] == "cold"
    await asyncio.sleep(0.5)
    before = desk.picture()
    for unmap in (False, True):
        await desk.call("hide", app=EDITOR, freeze=True, unmap=unmap)
        assert await desk.state_of(EDITOR) == "frozen"
        await desk.until(lambda: desk.picture() != before)
        assert (await desk.call("show", app=EDITOR))["path"] == "shown"
        await desk.until(lambda: alike(desk.picture(), before))
    assert (await desk.call("show", app=EDITOR))["path"] == "raised"
    assert (await desk.hub.apply(HideApp(desk.ghost, EDITOR))).ok
    assert (await desk.hub.apply(CloseApp(desk.ghost, EDITOR))).ok
    for _ in range(400):
        if not await desk.state_of(EDITOR):
            break
        await asyncio.sleep(0.02)
    await desk.until(lambda: not desk.groups())


def alike(one: bytes, other: bytes) -> bool:
    """Whether the pictures are the same but for a caret and a button under the pointer."""
    differing = sum(one[i : i + 4] != other[i : i + 4] for i in range(0, len(one), 4))
    return len(one) == len(other) and differing < len(one) / 4 * 0.02


async def test_two_shows_in_quick_succession_start_one(desk: Desk) -> None:
    both = await asyncio.gather(desk.call("show", app=EDITOR), desk.call("show", app=EDITOR))
    assert {answer["path"] for answer in both} == {"cold"}
    assert len(await desk.hub.listing(desk.ghost)) == 1
    assert len(desk.groups()) == 1


async def test_a_show_overtakes_a_hidden_launch(desk: Desk) -> None:
    hidden = asyncio.create_task(desk.call("launch", app=EDITOR, hidden=True, files=[]))
    await asyncio.sleep(0.05)
    shown = await desk.call("show", app=EDITOR)
    assert shown["path"] == "shown"
    assert (await hidden)["path"] == "shown"
    assert await desk.state_of(EDITOR) == "shown"


async def test_a_killed_agent_leaves_hidden_windows_hidden_and_the_next_one_shows_them(desk: Desk) -> None:
    empty = desk.picture()
    await desk.call("launch", app=EDITOR, hidden=True, files=[])
    pids = await desk.pids_of(EDITOR)
    await desk.kill_agent()
    await asyncio.sleep(0.1)
    assert desk.picture() == empty, "hidden though nobody hides it"
    await desk.start_agent()
    assert desk.picture() == empty
    assert await desk.state_of(EDITOR) == "frozen"
    assert await desk.pids_of(EDITOR) == pids
    assert (await desk.call("show", app=EDITOR))["path"] == "shown"
    assert desk.picture() != empty
    assert desk.events.lost == [desk.ghost]


async def test_an_application_that_dies_is_reported_and_its_group_removed(desk: Desk) -> None:
    await desk.bind()
    await desk.call("show", app=EDITOR)
    import os

    for pid in await desk.pids_of(EDITOR):
        os.kill(pid, 9)
    exits = await desk.until(lambda: desk.events.told("app-exit"))
    assert exits[0].app == EDITOR
    await desk.until(lambda: not desk.groups())
    assert (await desk.call("show", app=EDITOR))["path"] == "cold"


async def test_the_desktops_menu_takes_the_fast_path(desk: Desk) -> None:
    await desk.bind()
    await desk.call("launch", app=EDITOR, hidden=True, files=[])
    assert desk.events.told("app-launch") == [], "warming is no use by the user"
    desk.ask_menu(EDITOR)
    launches = await desk.until(lambda: desk.events.told("app-launch"))
    assert (launches[0].app, launches[0].detail) == (EDITOR, "shown")
    await desk.until(lambda: desk.xdotool("getactivewindow", "getwindowname"))
    desk.ask_menu("no-such-app")
    assert await desk.call("ping") == {}


async def test_files_are_opened_by_the_instance_that_runs(desk: Desk) -> None:
    note = desk.home / "note.txt"
    note.write_text("hello")
    await desk.call("launch", app=EDITOR, hidden=True, files=[])
    await desk.call("launch", app=EDITOR, hidden=False, files=[str(note)])
    await desk.until(lambda: desk.xdotool("search", "--name", "note.txt"))
    assert len(await desk.hub.listing(desk.ghost)) == 1


async def test_a_hidden_launch_leaves_the_focus_where_it_is(desk: Desk) -> None:
    await desk.call("show", app="lxterminal")
    focused = await desk.until(lambda: desk.xdotool("getactivewindow"))
    await desk.call("launch", app=EDITOR, hidden=True, files=[])
    assert desk.xdotool("getactivewindow") == focused
    at_its_place = desk.xdotool("mousemove", "400", "300", "getmouselocation", "--shell")
    hidden = int(desk.xdotool("search", "--class", "mousepad").split()[-1])
    assert f"WINDOW={hidden}" not in at_its_place


async def test_bad_calls_get_clear_answers_and_the_agent_stays(desk: Desk) -> None:
    with pytest.raises(NotFound, match="no application 'nope'"):
        await desk.call("show", app="nope")
    with pytest.raises(NotFound):
        await desk.call("show", app="../../etc/passwd")
    for method, params in [
        ("show", {}),
        ("show", {"app": 7}),
        ("launch", {"app": EDITOR, "hidden": "yes"}),
        ("launch", {"app": EDITOR, "files": "x"}),
        ("launch", {"app": EDITOR, "files": [1]}),
        ("hide", {"app": EDITOR}),
        ("freeze", {"app": EDITOR}),
        ("sources", {"enabled": 3}),
        ("events", {}),
        ("__init__", {}),
    ]:
        with pytest.raises(AgentError, match="refused"):
            await desk.call(method, **params)
    assert await desk.call("ping") == {}


async def test_hostile_desktop_files_do_no_harm(desk: Desk) -> None:
    folder = desk.home / ".local/share/applications"
    folder.mkdir(parents=True)
    head = "[Desktop Entry]\nType=Application\n"
    mark = desk.folder / "harm"
    (folder / "shell.desktop").write_text(f"{head}Name=Shell; touch {mark}\nExec=/bin/true ; touch {mark} %c\n")
    (folder / "open-quote.desktop").write_text(f'{head}Name=Q\nExec=/bin/true "never closed\n')
    (folder / "binary.desktop").write_bytes(bytes(range(256)) * 40)
    (folder / "huge.desktop").write_text(head + "Name=Huge\nExec=/bin/true\n" + "X=" + "a" * 400_000)
    (folder / "dir.desktop").mkdir()
    (folder / "loop.desktop").symlink_to(folder / "loop.desktop")
    (folder / "quits.desktop").write_text(f"{head}Name=Quits\nExec=/bin/false\n")
    await desk.bind()
    names = {app["id"] for app in await desk.hub.catalogue(desk.ghost)}
    assert {"shell", "quits"} <= names
    assert not names & {"open-quote", "binary", "huge", "dir", "loop"}
    with pytest.raises(AgentError, match="ended before it showed a window"):
        await desk.call("launch", app="shell", hidden=True, files=[])
    with pytest.raises(AgentError, match="ended before it showed a window"):
        await desk.call("show", app="quits")
    assert not mark.exists()
    await desk.until(lambda: not desk.groups())


async def test_hiding_right_after_showing_leaves_it_frozen(desk: Desk) -> None:
    await desk.call("launch", app=EDITOR, hidden=True, files=[])
    await asyncio.gather(desk.call("show", app=EDITOR), desk.call("hide", app=EDITOR))
    await asyncio.sleep(0.1)
    assert await desk.state_of(EDITOR) == "frozen"
    assert stopped(await desk.pids_of(EDITOR))


async def test_what_was_starting_hidden_stays_hidden_when_the_agent_is_killed(desk: Desk) -> None:
    empty = desk.picture()
    starting = asyncio.create_task(desk.call("launch", app=EDITOR, hidden=True, files=[]))
    assert desk.agent is not None
    agent = psutil.Process(desk.agent.pid)
    started: list[psutil.Process] = []
    while not started:  # the process is there, its window is not
        await asyncio.sleep(0.002)
        started = [child for child in agent.children(recursive=True) if child.exe() != agent.exe()]
    for process in started:  # or else its window could come while no agent is there to hide it
        process.suspend()
    await desk.kill_agent()
    with pytest.raises(AgentError):
        await starting
    await desk.start_agent()
    for process in started:
        process.resume()
    for _ in range(400):
        if await desk.state_of(EDITOR) == "frozen":
            break
        await asyncio.sleep(0.02)
    assert await desk.state_of(EDITOR) == "frozen"
    assert desk.picture() == empty
