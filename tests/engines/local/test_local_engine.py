"""The local engine with real desktops: built, bound, frozen, found again, destroyed."""

# ruff: noqa: ASYNC220, ASYNC221 - short commands, with nothing else on the loop

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ghostdesk.engines.local import builder
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.launch import rfb_answers
from ghostdesk.engines.local.mounts import mounted_under
from ghostdesk.engines.local.processes import read_process, uids_in_use
from ghostdesk.ghosts.commands import (
    AttachHome,
    Build,
    CacheTemplate,
    CallBackMemory,
    Destroy,
    Freeze,
    ReclaimMemory,
    SetLimits,
    Thaw,
)
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import BuildFailed, Conflict, InsufficientCapacity, NotFound
from ghostdesk.kernel.ids import GhostId, UserId
from ghostdesk.kernel.resources import MIB, NOTHING, Resources

pytestmark = pytest.mark.desktop
G1, G2, ALICE, BOB = GhostId("g1"), GhostId("g2"), UserId("alice"), UserId("bob")
LIMITS = Resources(memory_bytes=1500 * MIB)
Inside = Callable[..., "subprocess.CompletedProcess[str]"]
RecordOf = Callable[[str], dict[str, object]]


def gone(pid: int) -> bool:
    """Whether no such process runs; one that the host's init has yet to collect does not run."""
    process = read_process(pid)
    return process is None or process.state in "ZX"


EVERY_MODE = pytest.mark.parametrize("engine", ["auto", "v1", "none"], indirect=True)


def frames_possible(path: str, within_s: float = 20.0) -> bool:
    return rfb_answers(Path(path), timeout_s=within_s)


@EVERY_MODE
async def test_a_life(
    engine: LocalEngine, template: DesktopTemplate, open_dir: Path, inside: Inside, record_of: RecordOf
) -> None:
    built = await engine.apply(Build(G1, template, LIMITS))
    assert built.ok, built.error
    endpoint = engine.endpoint(G1)
    assert frames_possible(endpoint.rfb_path)
    assert (await engine.apply(Build(G1, template, LIMITS))).facts == {"path": "already"}

    assert (await engine.apply(Freeze(G1))).ok
    assert (await engine.apply(Freeze(G1))).ok
    (seen,) = await engine.observe()
    assert (seen.alive, seen.frozen, seen.owner, seen.template) == (True, True, None, "plain")
    assert seen.memory_bytes > MIB
    assert seen.cpu_s > 0
    assert not frames_possible(endpoint.rfb_path, 0.3)

    attached = await engine.apply(AttachHome(G1, ALICE))
    assert attached.ok, attached.error
    assert (await engine.apply(AttachHome(G1, ALICE))).ok
    assert isinstance((await engine.apply(AttachHome(G1, BOB))).error, Conflict)
    assert not (open_dir / "state/homes/bob").exists()

    assert (await engine.apply(Thaw(G1))).ok
    assert (await engine.apply(Thaw(G1))).ok
    assert frames_possible(endpoint.rfb_path)
    assert inside("g1", "echo precious > Documents/thesis.txt; id -un; stat -c %U Documents/thesis.txt").stdout == (
        "user\nuser\n"
    )
    assert (await engine.observe())[0].owner == ALICE

    assert (await engine.apply(Destroy(G1))).ok
    assert (await engine.apply(Destroy(G1))).ok
    thesis = open_dir / "state/homes/alice/Documents/thesis.txt"
    assert thesis.read_text() == "precious\n"
    assert thesis.stat().st_uid == 1000
    assert await engine.observe() == []
    with pytest.raises(NotFound):
        engine.endpoint(G1)
    assert [*(open_dir / "state/ghosts").iterdir(), *(open_dir / "run").iterdir()] == []
    assert mounted_under(open_dir) == []

    # The same user meets the same files in the next ghost.
    assert (await engine.apply(Build(G2, template, LIMITS))).ok
    assert (await engine.apply(AttachHome(G2, ALICE))).ok
    assert inside("g2", "cat Documents/thesis.txt").stdout == "precious\n"


@EVERY_MODE
async def test_a_frozen_ghost_is_destroyed(engine: LocalEngine, template: DesktopTemplate, record_of: RecordOf) -> None:
    assert (await engine.apply(Build(G1, template, NOTHING))).ok
    pid = int(str(record_of("g1")["pid"]))
    assert (await engine.apply(Freeze(G1))).ok
    assert (await engine.apply(Destroy(G1))).ok
    assert gone(pid)
    assert await engine.observe() == []


def is_screen(found: dict[str, Any], uid: int) -> bool:
    return bool(found["name"] == "Xvnc" and found["uids"] and found["uids"].real == uid)


async def test_unknown_and_dead_ghosts_are_named(
    engine: LocalEngine, template: DesktopTemplate, record_of: RecordOf, open_dir: Path
) -> None:
    for command in (AttachHome(G1, ALICE), Freeze(G1), Thaw(G1), SetLimits(G1, LIMITS), ReclaimMemory(G1)):
        assert isinstance((await engine.apply(command)).error, NotFound)
    assert (await engine.apply(Destroy(G1))).ok
    assert not (await engine.apply(Destroy(GhostId("../../etc")))).ok

    assert (await engine.apply(Build(G1, template, NOTHING))).ok
    uid = int(str(record_of("g1")["uid"]))
    (screen,) = [each.pid for each in psutil.process_iter(["name", "uids"]) if is_screen(each.info, uid)]
    os.kill(screen, signal.SIGKILL)
    for _ in range(300):
        if not (await engine.observe())[0].alive:
            break
        await asyncio.sleep(0.01)
    (seen,) = await engine.observe()
    assert not seen.alive
    assert isinstance((await engine.apply(Thaw(G1))).error, NotFound)
    assert (await engine.apply(Build(G1, template, NOTHING))).ok, "a dead ghost's id can be built anew"
    assert (await engine.observe())[0].alive


async def test_only_root_and_the_ghost_reach_its_folders(
    engine: LocalEngine, template: DesktopTemplate, open_dir: Path, record_of: RecordOf
) -> None:
    assert (await engine.apply(Build(G1, template, NOTHING))).ok
    assert (await engine.apply(Build(G2, template, NOTHING))).ok
    uids = [int(str(record_of(ghost)["uid"])) for ghost in ("g1", "g2")]
    assert len(set(uids)) == 2
    assert set(uids) <= uids_in_use()
    for path, mode in ((open_dir / "run/g1", 0o750), (open_dir / "state/ghosts/g1", 0o750)):
        status = path.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, uids[0], mode)
    token = open_dir / "run/g1/agent.token"
    assert (token.stat().st_uid, token.stat().st_mode & 0o777) == (uids[0], 0o400)
    assert engine.endpoint(G1).agent_token == token.read_text()
    assert engine.endpoint(G1).agent_token != engine.endpoint(G2).agent_token
    assert engine.endpoint(G1).agent_token not in repr(engine.endpoint(G1))
    assert (open_dir / "state/homes").stat().st_mode & 0o777 == 0o700


async def test_a_build_that_fails_leaves_nothing_and_says_why(
    engine: LocalEngine, template: DesktopTemplate, open_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "SESSION", ("/bin/sh", "-c", "echo no screen today; exit 3"))
    outcome = await engine.apply(Build(G1, template, LIMITS))
    assert isinstance(outcome.error, BuildFailed)
    assert "no screen today" in str(outcome.error)
    assert [*(open_dir / "state/ghosts").iterdir(), *(open_dir / "run").iterdir()] == []
    assert await engine.observe() == []


async def test_a_full_disk_is_named(desktop_host: None, open_dir: Path, template: DesktopTemplate) -> None:
    disk = open_dir / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0711", "tmpfs", str(disk)], check=True)
    engine = LocalEngine(disk / "state", open_dir / "run", ghosts_yield=False)
    try:
        await engine.start()
        assert (await engine.apply(Build(G1, template, NOTHING))).ok
        with (disk / "filler").open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
            while True:
                stream.write(b"x" * 4096)
        outcome = await engine.apply(Build(G2, template, NOTHING))
        assert isinstance(outcome.error, InsufficientCapacity)
        assert "full" in outcome.error.cause
        assert [seen.ghost for seen in await engine.observe()] == ["g1"]
        assert (await engine.observe())[0].alive
    finally:
        await engine.stop(keep_ghosts=False)
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


KILLED = """
import asyncio, sys, time
from pathlib import Path
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.ghosts.commands import AttachHome, Build
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.resources import NOTHING
async def main():
    place = Path(sys.argv[1])
    engine = LocalEngine(place / "state", place / "run", cgroup_mode=sys.argv[2], ghosts_yield=False)
    await engine.start()
    for ghost in ("g1", "g2"):
        outcome = await engine.apply(Build(ghost, DesktopTemplate("plain", network=sys.argv[3]), NOTHING))
        assert outcome.ok, outcome.error
    outcome = await engine.apply(AttachHome("g1", "alice"))
    assert outcome.ok, outcome.error
    print("built", flush=True)
    time.sleep(600)
asyncio.run(main())
"""


def start_and_kill(arguments: list[str]) -> None:
    with subprocess.Popen([*arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "built\n"
        process.kill()


@pytest.mark.parametrize("network", ["isolated", "outbound"])
async def test_ghosts_outlive_a_killed_control_plane(
    desktop_host: None, open_dir: Path, inside: Inside, record_of: RecordOf, network: str
) -> None:
    start_and_kill([sys.executable, "-c", KILLED, str(open_dir), "auto", network])
    engine = LocalEngine(open_dir / "state", open_dir / "run", ghosts_yield=False)
    await engine.start()
    seen = {ghost.ghost: ghost for ghost in await engine.observe()}
    assert {(g.ghost, g.alive, g.owner) for g in seen.values()} == {("g1", True, "alice"), ("g2", True, None)}
    pids = [int(str(record_of(ghost)[key])) for ghost in ("g1", "g2") for key in ("pid", "network_pid")]
    assert frames_possible(engine.endpoint(G1).rfb_path)
    assert inside("g1", "touch here; ls here").stdout == "here\n"
    assert (await engine.apply(Freeze(G1))).ok
    assert (await engine.apply(AttachHome(G2, BOB))).ok
    await engine.stop(keep_ghosts=False)
    assert (open_dir / "state/homes/alice/here").exists()
    assert all(gone(pid) for pid in pids)


async def test_a_reused_pid_is_never_killed(
    engine: LocalEngine, template: DesktopTemplate, open_dir: Path, record_of: RecordOf
) -> None:
    assert (await engine.apply(Build(G1, template, NOTHING))).ok
    record = record_of("g1")
    assert (await engine.apply(Destroy(G1))).ok
    with subprocess.Popen(["sleep", "60"]) as innocent:
        folder = open_dir / "state/ghosts/g1"
        folder.mkdir()
        (folder / "ghost.json").write_text(json.dumps({**record, "pid": innocent.pid}))
        (seen,) = await engine.observe()
        assert not seen.alive
        assert (await engine.apply(Destroy(G1))).ok
        assert innocent.poll() is None
        innocent.kill()


async def test_half_destroyed_ghosts_are_finished_off(
    engine: LocalEngine, template: DesktopTemplate, open_dir: Path
) -> None:
    assert (await engine.apply(Build(G1, template, NOTHING))).ok
    assert (await engine.apply(AttachHome(G1, ALICE))).ok
    (open_dir / "state/homes/alice/keep").write_text("keep")
    (open_dir / "state/ghosts/g1/ghost.json").write_text("{ torn")
    (seen,) = await engine.observe()
    assert not seen.alive
    assert (await engine.apply(Destroy(G1))).ok
    assert await engine.observe() == []
    assert (open_dir / "state/homes/alice/keep").read_text() == "keep"
    (open_dir / "run/g2").mkdir()
    assert (await engine.apply(Destroy(G2))).ok
    assert not (open_dir / "run/g2").exists()


@pytest.mark.parametrize("engine", ["none", "v1"], indirect=True)
async def test_a_crash_before_the_record_leaves_no_process(
    engine: LocalEngine, template: DesktopTemplate, open_dir: Path, record_of: RecordOf
) -> None:
    outbound = DesktopTemplate(template.template, network="outbound")
    assert (await engine.apply(Build(G1, outbound, NOTHING))).ok
    record = record_of("g1")
    pids = [int(str(record[key])) for key in ("pid", "network_pid")]
    unborn = {**record, "pid": 0, "start_ticks": 0, "network_pid": 0}
    (open_dir / "state/ghosts/g1/ghost.json").write_text(json.dumps(unborn))
    assert not (await engine.observe())[0].alive
    assert (await engine.apply(Destroy(G1))).ok
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize("engine", ["auto", "v1"], indirect=True)
async def test_memory_and_cpu_limits_reach_the_kernel(
    engine: LocalEngine, template: DesktopTemplate, open_dir: Path, inside: Inside
) -> None:
    assert (await engine.apply(Build(G1, template, Resources(cpu_cores=0.5, memory_bytes=800 * MIB)))).ok
    limits = [
        *Path("/sys/fs/cgroup").glob("**/g1/memory.limit_in_bytes"),
        *Path("/sys/fs/cgroup").glob("**/g1/memory.max"),
    ]
    if not limits:
        pytest.skip("this host has no memory controller that we may use")
    values = {int(path.read_text()) for path in limits}
    assert 800 * MIB in values
    refused = await engine.apply(SetLimits(G1, Resources(memory_bytes=1 * MIB)))
    assert refused.ok or "memory limit" in str(refused.error)
    assert (await engine.apply(SetLimits(G1, NOTHING))).ok


async def test_limits_cannot_be_changed_from_inside(
    engine: LocalEngine, template: DesktopTemplate, inside: Inside
) -> None:
    assert (await engine.apply(Build(G1, template, LIMITS))).ok
    done = inside(
        "g1",
        "for f in /run/cgroup/*; do [ -f $f ] && [ -w $f ] && echo ${f##*/}; done; "
        "mkdir /run/cgroup/app-1 && cat /proc/self/cgroup | grep -c ghostdesk",
    )
    assert set(done.stdout.split()) - {"0", "1"} <= {
        "cgroup.procs",
        "cgroup.subtree_control",
        "cgroup.threads",
        "tasks",
    }


@pytest.mark.parametrize("engine", ["auto", "v1"], indirect=True)
async def test_the_agent_can_freeze_one_application(
    engine: LocalEngine, template: DesktopTemplate, record_of: RecordOf
) -> None:
    """What the agent does, with its rights: it makes a group beside `desk`, moves a process there, and freezes it."""
    assert (await engine.apply(Build(G1, template, NOTHING))).ok
    pid = int(str(record_of("g1")["pid"]))
    script = (
        "import os, pathlib, subprocess, time\n"
        "app = pathlib.Path('/run/cgroup/app-1'); app.mkdir(exist_ok=True)\n"
        "child = subprocess.Popen(['sleep', '100'])\n"
        "(app / 'cgroup.procs').write_text(str(child.pid))\n"
        "v2 = (app / 'cgroup.freeze').exists()\n"
        "(app / ('cgroup.freeze' if v2 else 'freezer.state')).write_text('1' if v2 else 'FROZEN')\n"
        "for _ in range(500):\n"
        "    text = (app / ('cgroup.events' if v2 else 'freezer.state')).read_text()\n"
        "    done = ('frozen 1' if v2 else 'FROZEN') in text\n"
        "    if done: break\n"
        "    time.sleep(0.01)\n"
        "print('frozen' if done else 'not')\n"
        "child.kill(); (app / ('cgroup.freeze' if v2 else 'freezer.state')).write_text('0' if v2 else 'THAWED')\n"
    )
    enter = ["nsenter", "-t", str(pid), "-U", "-m", "-p", "-n", "-i", "-u", "--setuid", "1000", "--setgid", "1000"]
    entrances = [
        path / "cgroup.procs"
        for root in ("unified", "freezer", "")
        for path in [*Path("/sys/fs/cgroup", root).glob("ghostdesk-*/g1/desk")]
        if str(pid) in (path / "cgroup.procs").read_text().split()
    ]
    join = "".join(f"echo $$ > {path}; " for path in entrances)
    done = subprocess.run(
        ["sh", "-c", f'{join}exec "$@"', "sh", *enter, "/usr/bin/python3", "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "frozen\n", done.stderr


async def test_the_page_cache_list_is_kept_and_used(
    engine: LocalEngine, template: DesktopTemplate, open_dir: Path
) -> None:
    assert (await engine.apply(CacheTemplate(G1, template))).facts == {"files": 0.0, "bytes": 0.0}
    assert (await engine.apply(Build(G1, template, NOTHING))).ok
    assert (await engine.apply(AttachHome(G1, ALICE))).ok
    cached = await engine.apply(CacheTemplate(G2, template))
    assert float(cached.facts["files"]) > 20
    assert float(cached.facts["bytes"]) > 10 * MIB
    assert any("vnc" in name for name in json.loads((open_dir / "state/filesets/plain.json").read_text()))


async def test_reclaim_without_swap_says_so(engine: LocalEngine, template: DesktopTemplate) -> None:
    if len(Path("/proc/swaps").read_text().splitlines()) > 1:
        pytest.skip("this host has swap")
    assert (await engine.apply(Build(G1, template, NOTHING))).ok
    assert (await engine.apply(Freeze(G1))).ok
    assert (await engine.apply(ReclaimMemory(G1))).facts == {"reclaimed_bytes": 0.0, "why": "no swap"}
    assert (await engine.apply(CallBackMemory(G1))).facts == {"called_back_bytes": 0.0}
    assert not next(ability for ability in engine.abilities() if ability.name == "parked in swap").available


async def test_many_at_once(engine: LocalEngine, template: DesktopTemplate) -> None:
    names = [GhostId(f"m{number}") for number in range(4)]
    built = await asyncio.gather(*(engine.apply(Build(name, template, NOTHING)) for name in names))
    assert [outcome.error for outcome in built] == [None] * 4
    gone = await asyncio.gather(*(engine.apply(Destroy(name)) for name in names))
    assert [outcome.error for outcome in gone] == [None] * 4


async def test_capacity_is_the_hosts(engine: LocalEngine) -> None:
    capacity = engine.capacity()
    assert capacity.cpu_cores == len(os.sched_getaffinity(0))
    assert capacity.memory_bytes > 256 * MIB


UNPRIVILEGED = KILLED.replace(
    'print("built", flush=True)\n    time.sleep(600)',
    """
    from ghostdesk.ghosts.commands import Destroy, Freeze, Thaw
    home = Path(sys.argv[1]) / "state/ghosts/g1/slot/user"
    (home / "note").write_text("kept")
    for command in (Freeze("g1"), Thaw("g1"), Destroy("g1")):
        outcome = await engine.apply(command)
        assert outcome.ok, outcome.error
    print([a.name for a in engine.abilities() if not a.available])
    await engine.stop(keep_ghosts=False)
    print((Path(sys.argv[1]) / "state/homes/alice/note").read_text())
""",
)


def test_without_root_it_works_too(desktop_host: None, open_dir: Path) -> None:
    """As an ordinary user: SIGSTOP freezes, homes are moved, and what is missing is named."""
    source = Path(builder.__file__).parents[3]
    python = Path("/usr/bin/python3")
    found_at = f"PYTHONPATH={source}:{Path(psutil.__file__).parents[1]}"
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", found_at]
    drop += ["PYTHONDONTWRITEBYTECODE=1", str(python)]
    probe = subprocess.run(
        [*drop, "-c", "import sys, ghostdesk, psutil; assert sys.version_info >= (3, 11)"], check=False
    )
    if probe.returncode != 0:
        pytest.skip("an ordinary user cannot read this checkout, or /usr/bin/python3 is too old")
    mine = open_dir / "mine"
    mine.mkdir(mode=0o711)
    os.chown(mine, 65534, 65534)
    done = subprocess.run(
        [*drop, "-c", UNPRIVILEGED, str(mine), "auto", "isolated"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "kept" in done.stdout
    assert "'root'" in done.stdout
