"""Clones of a running desktop, by a real CRIU: who they are, what is in them, parking as an image, broken images."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from host_limits import limits_of_process

from ghostdesk.bench.rfb import RfbClient
from ghostdesk.config import EngineSettings, PoolSettings, Settings, StateSettings
from ghostdesk.control.agent_hub import AgentHub
from ghostdesk.control.system_clock import SystemClock
from ghostdesk.engines.local import criu
from ghostdesk.engines.local.abilities import check_requirements
from ghostdesk.engines.local.clones import ABILITY, CloneOptions
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.network import unusable
from ghostdesk.engines.protocol import PARKING, Engine
from ghostdesk.ghosts.commands import (
    AttachHome,
    Build,
    CallBackMemory,
    Destroy,
    EngineCommand,
    Freeze,
    Outcome,
    ReclaimMemory,
    SetLimits,
    ShowApp,
    Thaw,
)
from ghostdesk.ghosts.events import BindRequested, BuildRequested, ParkRequested, WakeRequested
from ghostdesk.ghosts.ghost import DesktopTemplate, GhostState
from ghostdesk.kernel.errors import GhostdeskError
from ghostdesk.kernel.ids import AppId, GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import MIB, NOTHING, Resources
from ghostdesk.store.protocol import StoredUser
from ghostdesk.telemetry.events import UsageEvent
from ghostdesk.testing import MakeEngine
from ghostdesk.testing.life import LifeChecks
from ghostdesk.wiring import Ghostdesk, assemble, open_settings_store

pytestmark = pytest.mark.desktop
A, B = GhostId("a"), GhostId("b")
ANN, BEN = UserId("ann"), UserId("ben")
APP = AppId("org.xfce.mousepad")
TEMPLATE = DesktopTemplate(TemplateId("plain"), network="isolated")
Inside = Callable[..., "subprocess.CompletedProcess[str]"]
RecordOf = Callable[[str], dict[str, object]]


class NoEvents:
    """Nobody wants to know what the agents report."""

    def on_usage(self, ghost: GhostId, event: UsageEvent) -> None:
        pass

    def on_agent_lost(self, ghost: GhostId) -> None:
        pass


def options(apps: tuple[str, ...] = (APP,)) -> CloneOptions:
    return CloneOptions(apps=apps, rest=True)


def engine_in(folder: Path, clones: CloneOptions) -> LocalEngine:
    return LocalEngine(folder / "state", folder / "run", network="isolated", ghosts_yield=False, clones=clones)


async def done(engine: LocalEngine, command: EngineCommand) -> Outcome:
    outcome = await engine.apply(command)
    assert outcome.ok, outcome.error
    return outcome


async def make_image(folder: Path, template: DesktopTemplate, clones: CloneOptions) -> None:
    """As the engine makes one: beside the first desktop of a template, which is built cold."""
    engine = engine_in(folder, clones)
    await engine.start()
    try:
        assert (await done(engine, Build(A, template, NOTHING))).facts["path"] == "cold"
        await engine.clones.made()
        (told,) = [one for one in engine.abilities() if one.name == ABILITY]
        assert told.available, told.detail
    finally:
        await engine.stop(keep_ghosts=False)


@contextlib.contextmanager
def an_image(template: DesktopTemplate, clones: CloneOptions) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    found, why, mend = criu.find()
    if found is None:
        pytest.skip(f"no CRIU that works here ({why}). {mend}")
    try:
        check_requirements()
    except GhostdeskError as error:
        pytest.skip(str(error))
    folder = Path(tempfile.mkdtemp(prefix="gd-", dir="/tmp"))
    folder.chmod(0o711)
    try:
        asyncio.run(make_image(folder, template, clones))
        yield folder / "state" / "images"
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The folder of images with one of `TEMPLATE` in it, in which an editor was launched."""
    with an_image(TEMPLATE, options()) as images:
        yield images


def with_images(images: Path, folder: Path) -> None:
    """Give an engine's folder the images, without copying their bytes."""
    (folder / "state").mkdir(mode=0o711)
    subprocess.run(["cp", "-al", str(images), str(folder / "state")], check=True)


@pytest.fixture
async def engine(image: Path, open_dir: Path) -> AsyncIterator[LocalEngine]:
    with_images(image, open_dir)
    engine = engine_in(open_dir, options())
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop(keep_ghosts=False)


@pytest.fixture
async def hub() -> AsyncIterator[AgentHub]:
    hub = AgentHub(NoEvents(), sources=(), sample_every_s=60.0, clock=SystemClock())
    yield hub
    await hub.close()


async def clone(engine: LocalEngine, ghost: GhostId) -> None:
    built = await done(engine, Build(ghost, TEMPLATE, NOTHING))
    assert built.facts["path"] == "clone", built.facts


def content(folder: Path) -> Iterator[bytes]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path.read_bytes()


async def test_two_clones_are_two_machines_without_secrets_and_shut_in(
    engine: LocalEngine, image: Path, inside: Inside, record_of: RecordOf, open_dir: Path
) -> None:
    await clone(engine, A)
    await clone(engine, B)
    check_identity(inside, record_of)
    check_secrets(engine.endpoint(A).agent_token, image, inside, open_dir)
    check_walls(inside, record_of)


def check_identity(inside: Inside, record_of: RecordOf) -> None:
    """What names a machine differs, from inside, in everything."""
    asked = {
        "host name": "hostname",
        "machine-id": "cat /etc/machine-id",
        "machine-id of the session bus": (
            "DBUS_SESSION_BUS_ADDRESS=$(tr '\\0' '\\n' < /proc/$(pgrep -x tint2)/environ"
            " | sed -n s/^DBUS_SESSION_BUS_ADDRESS=//p) dbus-send --session --print-reply=literal"
            " --dest=org.freedesktop.DBus / org.freedesktop.DBus.Peer.GetMachineId | tr -d ' '"
        ),
        "randomness": "head -c 16 /dev/urandom | od -An -tx1",
        "our ticket": "cat /run/ghost/agent.token",
        "the agent's name": "cat /run/ghost/ghost.id",
        "uid outside": "cat /proc/self/uid_map",
    }
    for what, command in asked.items():
        of_a, of_b = inside("a", command), inside("b", command)
        assert of_a.returncode == of_b.returncode == 0, (what, of_a.stderr, of_b.stderr)
        assert of_a.stdout.strip(), what
        assert of_a.stdout != of_b.stdout, what
    told = [inside("a", asked[what]).stdout.strip() for what in ("machine-id", "machine-id of the session bus")]
    assert told[0] == told[1]
    assert inside("a", "hostname; cat /run/ghost/ghost.id").stdout.split() == ["a", "a"]
    assert record_of("a")["uid"] != record_of("b")["uid"]
    # The clock is the host's, not that of the moment the image was made.
    assert abs(int(inside("a", "date +%s").stdout) - time.time()) < 30
    # There is nothing to re-seed of what a desktop might have been given: no keys, no X cookies.
    for path in ("/etc/ssh", "/home/user/.ssh", "/home/user/.Xauthority", "/home/user/.gnupg"):
        assert inside("a", f"test -e {path}").returncode != 0, path
    assert "-auth" not in inside("a", "tr '\\0' ' ' < /proc/$(pgrep -x Xvnc)/cmdline").stdout


def check_secrets(token_of_a: str, image: Path, inside: Inside, open_dir: Path) -> None:
    """No secret of the host or of another desktop is in the image, or in a clone."""
    token = token_of_a.encode()
    secrets = [token, inside("a", "cat /etc/machine-id").stdout.strip().encode()]
    with contextlib.suppress(OSError):
        secrets.append(Path("/etc/machine-id").read_text().strip().encode())
    for secret in filter(None, secrets):
        assert not any(secret in text for text in content(image))
        assert inside("b", f"grep -rlF {secret.decode()} /home /run/ghost /tmp /etc/machine-id").stdout == ""
    assert inside("b", "tr '\\0' '\\n' < /proc/$(pgrep -x tint2)/environ | grep GHOSTDESK_GHOST=").stdout.strip() == (
        "GHOSTDESK_GHOST=desktop"
    )
    # What is left of the restoring is gone, and nobody but root can read the image.
    assert not (open_dir / "state/ghosts/a/image").exists()
    assert all((place / "criu").stat().st_mode & 0o077 == 0 for place in (open_dir / "state/images").iterdir())


def check_walls(inside: Inside, record_of: RecordOf) -> None:
    """A clone is shut in as any ghost is."""
    status = Path(f"/proc/{record_of('a')['pid']}/status").read_text()
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
        assert line in status
    assert inside("a", "id -u; id -g").stdout.split() == ["1000", "1000"]
    for path in ("/usr/x", "/etc/x", "/opt/ghostdesk/x", "/x", "/run/x", "/var/x"):
        assert inside("a", f"touch {path}").returncode != 0, path
    for path in ("/home/user/x", "/tmp/x", "/run/user/1000/x"):
        assert inside("a", f"touch {path}").returncode == 0, path
    assert inside("a", "ls -A /home").stdout == "user\n"
    assert inside("a", "ls /etc/shadow /root /srv /boot").stdout == ""
    mounts = inside("a", "cat /proc/mounts").stdout
    assert [line for line in mounts.splitlines() if "nosuid" not in line] == []
    shown = {int(pid) for pid in inside("a", "ls /proc").stdout.split() if pid.isdecimal()}
    assert 0 < len(shown) < 40
    assert "-b" not in inside("a", "ls /proc/*/root/run/ghost 2>/dev/null").stdout
    assert inside("a", "ip -o link").stdout.count("\n") == 1  # loopback
    assert inside("a", "ip -o link show lo").stdout.count("UP") >= 1


async def test_a_clone_is_painted_shows_the_templates_application_and_takes_a_key(
    engine: LocalEngine, hub: AgentHub, inside: Inside
) -> None:
    await clone(engine, A)
    endpoint = engine.endpoint(A)
    async with await RfbClient.connect(endpoint.rfb_path) as screen:
        assert len(set(screen.picture().reshape(-1)[::97].tolist())) > 20
        await hub.connect(A, endpoint)
        await hub.wait_connected(A, 60.0)
        (there,) = (await hub.call(A, "list"))["apps"]
        assert (there["app"], there["state"]) == (APP, "frozen")
        shown = await hub.apply(ShowApp(A, APP))
        assert shown.ok, shown.error
        assert shown.facts["path"] == "shown"
        assert await screen.wait_quiet(0.5, 30.0)
        before = screen.picture()
        for _ in range(20):  # the window may not have the keyboard yet
            screen.press(ord("W"))
            if await screen.wait_until(lambda: bool((screen.live() != before).sum() > 20), 1.5):
                break
        else:
            pytest.fail("no key changed anything on the screen")
    assert (await done(engine, AttachHome(A, ANN))).facts == {"attached": "idmap"}
    assert inside("a", "touch /home/user/mine && stat -c %u /home/user/mine").stdout == "1000\n"


async def test_a_clone_has_a_way_out_where_its_template_asks(image: Path, open_dir: Path, inside: Inside) -> None:
    if why := unusable():
        pytest.skip(why)
    with_images(image, open_dir)
    engine = LocalEngine(open_dir / "state", open_dir / "run", ghosts_yield=False, clones=options())
    await engine.start()
    try:
        built = await done(engine, Build(A, replace(TEMPLATE, network="outbound"), NOTHING))
        assert (built.facts["path"], built.facts["network"]) == ("clone", "outbound"), built.facts
        assert "tap0" in inside("a", "ip -o link").stdout
        assert "nameserver" in inside("a", "cat /etc/resolv.conf").stdout
    finally:
        await engine.stop(keep_ghosts=False)


async def test_a_ghost_that_is_nobodys_is_parked_as_an_image(
    engine: LocalEngine, hub: AgentHub, record_of: RecordOf, open_dir: Path
) -> None:
    assert any(one.name == PARKING and one.available for one in engine.abilities())
    await clone(engine, A)
    endpoint = engine.endpoint(A)
    await hub.connect(A, endpoint)
    await done(engine, Freeze(A))
    for _ in range(2):
        assert (await done(engine, ReclaimMemory(A))).ok
    (seen,) = await engine.observe()
    assert (seen.alive, seen.frozen, seen.resting, seen.owner) == (True, True, True, None)
    assert record_of("a")["pid"] == 0
    assert seen.memory_bytes < 8 * MIB
    await done(engine, SetLimits(A, Resources(memory_bytes=900 * MIB)))
    await done(engine, Freeze(A))
    # A foreseen wake restores it and leaves it frozen; a thaw lets it run.
    await done(engine, CallBackMemory(A))
    (seen,) = await engine.observe()
    assert (seen.alive, seen.frozen, seen.resting) == (True, True, False)
    await done(engine, Thaw(A))
    assert engine.endpoint(A) == endpoint
    async with await RfbClient.connect(endpoint.rfb_path):
        pass
    await hub.wait_connected(A, 60.0)
    # Somebody's is never an image.
    await done(engine, AttachHome(A, ANN))
    await done(engine, Freeze(A))
    await done(engine, ReclaimMemory(A))
    (seen,) = await engine.observe()
    assert (seen.alive, seen.frozen, seen.resting, seen.owner) == (True, True, False, "ann")


async def test_resting_ghosts_are_found_again_and_destroyed(engine: LocalEngine, open_dir: Path) -> None:
    for ghost in (A, B):
        await clone(engine, ghost)
        await done(engine, Freeze(ghost))
        await done(engine, ReclaimMemory(ghost))
    await engine.stop(keep_ghosts=True)
    again = engine_in(open_dir, options())
    await again.start()
    assert {one.ghost: (one.alive, one.resting) for one in await again.observe()} == {A: (True, True), B: (True, True)}
    await done(again, AttachHome(A, ANN))
    await done(again, Thaw(A))
    async with await RfbClient.connect(again.endpoint(A).rfb_path):
        pass
    await done(again, Destroy(B))
    assert [one.ghost for one in await again.observe()] == [A]
    await again.stop(keep_ghosts=False)
    assert await again.observe() == []


def damage_shorter(image: Path) -> None:
    largest = max((image / "criu").iterdir(), key=lambda path: path.stat().st_size)
    text = largest.read_bytes()
    largest.unlink()  # the bytes are shared with other tests
    largest.write_bytes(text[: len(text) // 2])


def damage_inside(image: Path) -> None:
    core = image / "criu" / "core-1.img"
    size = core.stat().st_size
    core.unlink()
    core.write_bytes(bytes(size))


def damage_gone(image: Path) -> None:
    shutil.rmtree(image / "criu")


@pytest.mark.parametrize("damage", [damage_shorter, damage_inside, damage_gone])
async def test_a_broken_image_is_dropped_and_a_cold_start_takes_its_place(
    engine: LocalEngine, open_dir: Path, damage: Callable[[Path], None]
) -> None:
    (place,) = (open_dir / "state/images").iterdir()
    await clone(engine, A)
    await done(engine, Freeze(A))
    await done(engine, ReclaimMemory(A))
    token = engine.endpoint(A).agent_token
    damage(place)
    woken = await done(engine, Thaw(A))
    assert woken.facts["path"] == "cold"
    if damage is damage_inside:  # only CRIU can tell
        assert "CRIU cannot restore the desktop" in str(woken.facts["image_problem"])
    assert not place.exists()
    assert engine.endpoint(A).agent_token == token
    async with await RfbClient.connect(engine.endpoint(A).rfb_path):
        pass
    (told,) = [one for one in engine.abilities() if one.name == ABILITY]
    assert not told.available
    assert told.mend


async def test_what_a_crash_left_of_an_image_in_the_making_is_removed(open_dir: Path, image: Path) -> None:
    with_images(image, open_dir)
    left = open_dir / "state/images/.making-abc-1"
    (left / "desktop").mkdir(parents=True)
    engine = engine_in(open_dir, options())
    await engine.start()
    assert not left.exists()
    assert len([*(open_dir / "state/images").iterdir()]) == 1
    await engine.stop(keep_ghosts=False)


async def test_without_criu_everything_is_as_before(open_dir: Path, desktop_host: None) -> None:
    engine = engine_in(open_dir, CloneOptions(criu=str(open_dir / "none"), rest=True))
    await engine.start()
    try:
        built = await done(engine, Build(A, TEMPLATE, NOTHING))
        assert built.facts["path"] == "cold"
        (told,) = [one for one in engine.abilities() if one.name == ABILITY]
        assert not told.available
        assert "does not exist" in told.detail
        await done(engine, Freeze(A))
        await done(engine, ReclaimMemory(A))
        (seen,) = await engine.observe()
        assert (seen.alive, seen.frozen, seen.resting) == (True, True, False)
    finally:
        await engine.stop(keep_ghosts=False)


@pytest.fixture
async def ghostdesk(image: Path, open_dir: Path) -> AsyncIterator[Ghostdesk]:
    """The whole of it, but that nothing ticks."""
    with_images(image, open_dir)
    settings = replace(
        Settings(),
        engine=EngineSettings(network="isolated", clones="park", clone_apps=(APP,), ghosts_yield=False),
        pool=PoolSettings(floor=0, ceiling=4),
        state=StateSettings(directory=open_dir / "state", run_directory=open_dir / "run"),
    )
    store = open_settings_store(settings)
    for user in (ANN, BEN):
        store.put_user(StoredUser(user, user))
    desk = assemble(settings, store)
    await desk.start(ticking=False)
    try:
        yield desk
    finally:
        await desk.stop(keep_ghosts=False)
        store.close()


async def resting(desk: Ghostdesk, ghost: GhostId) -> bool:
    return any(one.ghost == ghost and one.resting for one in await desk.engine.observe())


async def test_the_control_plane_parks_desktops_as_images_until_somebody_comes(
    ghostdesk: Ghostdesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghostdesk.control.plane._AGENT_RETURNS_WITHIN_S", 0.2)
    plane, executor, manager = ghostdesk.plane, ghostdesk.plane.executor, ghostdesk.plane.loop.manager
    assert isinstance(ghostdesk.engine, LocalEngine)
    for name in ("g1", "g2"):
        ghost = GhostId(name)
        manager.add(ghost, TEMPLATE.template)
        await executor.carry_out(ghost, BuildRequested(TEMPLATE))
        await executor.carry_out(ghost, ParkRequested("for the test"))
        assert manager.get(ghost).state is GhostState.PARKED
        assert await resting(ghostdesk, ghost)
    # Its agent is gone with it, and nobody takes that for a loss.
    await asyncio.gather(*(plane._await_return(GhostId(name)) for name in ("g1", "g2")))
    assert {one.state for one in manager} == {GhostState.PARKED}

    # Somebody signs in: a clone is theirs, with their home.
    handle = await plane.open_desktop(ANN)
    assert handle.path == "parked"
    assert not await resting(ghostdesk, handle.ghost)
    async with await RfbClient.connect(ghostdesk.engine.endpoint(handle.ghost).rfb_path):
        pass
    (seen,) = [one for one in await ghostdesk.engine.observe() if one.ghost == handle.ghost]
    assert (seen.owner, seen.frozen) == (ANN, False)

    # Somebody is foreseen: it wakes, and its agent is there for what follows.
    (other,) = [one.ghost for one in manager if one.state is GhostState.PARKED]
    await executor.carry_out(other, WakeRequested("for the test"))
    await executor.carry_out(other, BindRequested(BEN))
    assert (manager.get(other).state, manager.get(other).owner) == (GhostState.READY, BEN)


class TestLocalEngineWithClones(LifeChecks):
    """Every desktop is a clone, and every parked one rests as an image."""

    template = TEMPLATE
    folder: Path

    @pytest.fixture
    def make_engine(self, image: Path, open_dir: Path) -> MakeEngine:
        with_images(image, open_dir)
        self.folder = open_dir
        return lambda: engine_in(open_dir, options())

    async def limits_seen(self, engine: Engine, ghost: GhostId) -> Resources:
        record = json.loads((self.folder / "state/ghosts" / ghost / "ghost.json").read_text())
        return limits_of_process(int(record["pid"]), lambda group: group.startswith("ghostdesk-"))
