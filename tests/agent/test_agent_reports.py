"""What the agent reports from a real desktop, and above all what it never does."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from typing import Any

import pytest

from ghostdesk.kernel.ids import AppId
from ghostdesk.telemetry.events import TelemetrySource

pytestmark = pytest.mark.desktop
Desk = Any  # tests/agent/conftest.py
EDITOR = AppId("org.xfce.mousepad")
MARK = "Xylophone-7713"


def tap(desk: Desk) -> bytearray:
    """Every byte that the agent sends from now on, as the hub reads it."""
    heard = bytearray()
    connection = desk.hub._lines[desk.ghost].connection
    feed = connection._reader.feed_data

    def listen(block: bytes) -> None:
        heard.extend(block)
        feed(block)

    connection._reader.feed_data = listen
    return heard


async def test_titles_names_contents_and_keys_never_leave(desk: Desk) -> None:
    await desk.bind()
    heard = tap(desk)
    note = desk.home / f"{MARK}.txt"
    note.write_text(f"content {MARK}")
    await desk.call("launch", app=EDITOR, hidden=False, files=[str(note)])
    window = await desk.until(lambda: desk.xdotool("search", "--name", MARK))
    assert MARK in desk.xdotool("getwindowname", window.split()[0]), "the window does bear the secret"
    desk.xdotool("type", f"typed {MARK}")
    await desk.call("show", app="lxterminal")
    await asyncio.sleep(0.5)
    await desk.hub.listing(desk.ghost)
    await desk.call("close", app=EDITOR)
    await desk.until(lambda: desk.events.told("app-focus") and desk.events.told("file-opened"))
    assert desk.events.told("app-launch")
    assert b"app-focus" in heard and b"text/plain" in heard
    assert MARK.lower().encode() not in bytes(heard).lower()


async def test_nothing_is_reported_before_the_desktop_is_bound(desk: Desk) -> None:
    heard = tap(desk)
    await desk.call("show", app=EDITOR)
    await desk.call("show", app="lxterminal")
    await desk.call("sample")
    await asyncio.sleep(0.3)
    assert b'"event"' not in heard
    await desk.bind()
    await desk.call("close", app=EDITOR)
    await desk.until(lambda: desk.events.told("app-exit"))


async def test_each_source_can_be_switched_off_while_it_runs(desk: Desk) -> None:
    await desk.bind()
    heard = tap(desk)
    await desk.hub.set_sources([TelemetrySource.RESOURCES])
    await desk.call("show", app=EDITOR)
    await desk.call("show", app="lxterminal")
    (desk.home / "a.odt").write_text("x")
    await asyncio.sleep(0.4)
    await desk.call("sample")
    await desk.until(lambda: desk.events.told("memory"))
    assert {event.kind for event in desk.events.usage} <= {"cpu", "memory", "network", "storage"}
    for kind in (b"app-", b"file-", b"active", b"microphone", b"camera"):
        assert b'"kind":"' + kind not in heard
    await desk.hub.set_sources([TelemetrySource.APPLICATIONS])
    before = len(desk.events.usage)
    await desk.call("sample")
    await desk.call("close", app=EDITOR)
    await desk.until(lambda: desk.events.told("app-exit"))
    assert [event.kind for event in desk.events.usage[before:]] == ["app-exit"]


async def test_samples_measure_the_desktops_processes(desk: Desk) -> None:
    await desk.bind()
    await desk.call("show", app="lxterminal")
    await asyncio.sleep(0.3)
    busy = in_group(desk, "while :; do :; done")
    try:
        await desk.call("sample")
        desk.events.usage.clear()
        await asyncio.sleep(1.0)
        await desk.call("sample")
        cores = (await desk.until(lambda: desk.events.told("cpu")))[0].value
        memory = (await desk.until(lambda: desk.events.told("memory")))[0].value
    finally:
        busy.kill()
        busy.wait(5)
    assert 0.1 < cores < 2
    assert 1e6 < memory < 4e9


async def test_focus_is_reported_with_its_dwell_time(desk: Desk) -> None:
    await desk.bind()
    await desk.call("show", app=EDITOR)
    await asyncio.sleep(0.4)
    await desk.call("show", app="lxterminal")
    dwells = await desk.until(lambda: [e for e in desk.events.told("app-focus") if e.app == EDITOR])
    assert 0.2 < dwells[0].value < 10


async def test_types_of_opened_files_are_told_once(desk: Desk) -> None:
    (desk.home / "Documents").mkdir()
    (desk.home / ".hidden").mkdir()
    (desk.home / "Documents" / "plan.odt").write_text("x")
    await desk.bind()
    (desk.home / ".hidden" / "a.png").write_text("x")
    for _ in range(3):
        (desk.home / "Documents" / "plan.odt").read_text()
    (desk.home / "Documents" / "new").mkdir()
    await asyncio.sleep(0.2)
    (desk.home / "Documents" / "new" / "sheet.csv").write_text("x")
    await desk.until(lambda: len(desk.events.told("file-opened")) >= 2)
    await asyncio.sleep(0.2)
    types = [event.detail for event in desk.events.told("file-opened")]
    assert types == ["application/vnd.oasis.opendocument.text", "text/csv"]


async def test_camera_use_is_seen_with_its_application(desk: Desk) -> None:
    folder = desk.folder / "dev"
    folder.mkdir()
    (folder / "video0").write_bytes(b"")
    await desk.bind()
    await desk.call("show", app="lxterminal")
    holder = in_group(desk, f"exec sleep 60 < {folder}/video0")
    try:
        uses = await desk.until(lambda: desk.events.told("camera"))
        assert (uses[0].app, uses[0].value) == ("lxterminal", 1.0)
    finally:
        holder.kill()
        holder.wait(5)
    await desk.until(lambda: [event.value for event in desk.events.told("camera")] == [1.0, 0.0])


async def test_recording_is_seen_with_its_application(desk: Desk) -> None:
    if missing := [name for name in ("pulseaudio", "parec", "pactl") if shutil.which(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    modules = [f"--load=module-native-protocol-unix socket={desk.folder}/run/pulse/native", "--load=module-null-sink"]
    server = desk.spawn("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", *modules)
    await desk.until((desk.folder / "run/pulse/native").exists)
    await desk.until(lambda: desk_pactl(desk, "info"))
    await desk.bind()
    await desk.call("show", app="lxterminal")
    recorder = in_group(desk, "exec parec --device=null.monitor > /dev/null")
    started = await desk.until(lambda: desk.events.told("microphone"))
    assert (started[0].app, started[0].value) == ("lxterminal", 1.0)
    recorder.kill()
    recorder.wait(5)
    await desk.until(lambda: desk.events.told("microphone")[-1].value == 0.0)
    server.terminate()
    server.wait(10)
    assert await desk.call("ping") == {}


def in_group(desk: Desk, script: str) -> Any:
    """Run a script as if the first application had started it."""
    return desk.spawn("sh", "-c", f"echo $$ > {desk.cgroup}/app-1/cgroup.procs; {script}")


def desk_pactl(desk: Desk, *words: str) -> bool:
    return subprocess.run(["pactl", *words], env=desk.environment, capture_output=True, check=False).returncode == 0


async def test_events_wait_for_a_control_plane_that_is_away(desk: Desk) -> None:
    await desk.bind()
    await desk.call("show", app=EDITOR)
    await desk.hub.disconnect(desk.ghost)
    desk.ask_menu("lxterminal")
    await desk.until(lambda: desk.xdotool("search", "--class", "lxterminal"))
    assert not [event for event in desk.events.told("app-launch") if event.app == "lxterminal"]
    await desk.hub.connect(desk.ghost, desk.endpoint)
    await desk.hub.wait_connected(desk.ghost, 10)
    await desk.until(lambda: [event for event in desk.events.told("app-launch") if event.app == "lxterminal"])


async def test_a_new_agent_is_told_again_that_the_desktop_is_bound(desk: Desk) -> None:
    await desk.bind()
    await desk.kill_agent()
    await desk.start_agent()
    await asyncio.sleep(0.3)
    await desk.call("show", app=EDITOR)
    await desk.until(lambda: desk.events.told("app-launch"))


async def test_the_agent_leaves_when_the_display_does(desk: Desk) -> None:
    desk.processes[0].kill()
    assert desk.agent.wait(10) == 0


def test_the_agents_words_are_those_of_the_events_module() -> None:
    from ghostdesk.agent.reporting import SOURCE_OF as WORDS
    from ghostdesk.telemetry.events import SOURCE_OF

    theirs = {kind.value: source.value for kind, source in SOURCE_OF.items()}
    # No agent measures a GPU yet; places and modes are told by the page alone.
    assert {word: theirs[word] for word in theirs.keys() - {"gpu", "place", "mode"}} == WORDS
