"""A whole ghost: all limits at once, lifted by a claim, out of its own reach; and a group that was taken away."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ghostdesk.engines.local import io_priority, network, shaping
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.ghosts.commands import Build, Destroy, Freeze, SetLimits, Thaw
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.ids import GhostId, TemplateId
from ghostdesk.kernel.resources import MIB, NOTHING, Priority, Resources

pytestmark = pytest.mark.desktop
GHOSTS_YIELD = True
"""For the fixture `engine`; elsewhere ghosts compete, so that a busy machine does not make tests wait."""
G1 = GhostId("g1")
HELD = Resources(cpu_cores=0.2, memory_bytes=400 * MIB, network_bytes_per_s=500_000, storage_bytes_per_s=4 * MIB)
RecordOf = Callable[[str], dict[str, object]]
Inside = Callable[..., "subprocess.CompletedProcess[str]"]


def threads_of(uid: int) -> list[int]:
    """Every thread of a uid."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if path.stat().st_uid == uid:
                found += [int(entry.name) for entry in (path / "task").iterdir()]
    return found


def shaped(pid: int) -> list[str]:
    """The buckets of a ghost, as the host sees them."""
    enter = ["nsenter", f"--net=/proc/{pid}/ns/net", "tc", "qdisc"]
    shown = subprocess.run(enter, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in shown if "tbf" in line]


async def used_share(engine: LocalEngine, seconds: float) -> float:
    """CPU of the ghost, in cores."""
    begin, begin_s = engine._builder.cgroups.use(G1)[1], time.monotonic()
    await asyncio.sleep(seconds)
    return (engine._builder.cgroups.use(G1)[1] - begin) / (time.monotonic() - begin_s)


@pytest.fixture
async def held(engine: LocalEngine) -> LocalEngine:
    """An engine with a ghost that has every limit."""
    if problem := network.unusable() or shaping.unusable():
        pytest.skip(problem)
    # As for somebody who waits: on a busy machine a ghost's build would take its time.
    build = Build(G1, DesktopTemplate(TemplateId("t")), Resources(network_bytes_per_s=1e6), Priority.PERSON)
    built = await engine.apply(build)
    assert built.error is None
    outcome = await engine.apply(SetLimits(G1, HELD))
    assert outcome.error is None
    if "not_limited" in outcome.facts:
        pytest.skip(f"not limited on this host: {outcome.facts['not_limited_why']}")
    return engine


async def test_a_ghost_is_held_and_a_claim_lifts_all(held: LocalEngine, record_of: RecordOf) -> None:
    pid, uid = int(str(record_of("g1")["pid"])), int(str(record_of("g1")["uid"]))
    assert all("rate 4Mbit" in line for line in shaped(pid))
    assert {io_priority.io_class(thread) for thread in threads_of(uid)} == {3}
    join = "".join(f"echo $$ > {path}; " for path in held._builder.cgroups.entrances(G1))
    load = await asyncio.create_subprocess_exec("sh", "-c", f"{join} exec timeout 20 sh -c 'while :; do :; done'")
    assert await used_share(held, 1.0) < 0.4

    await held.apply(Freeze(G1))
    claimed = await held.apply(SetLimits(G1, NOTHING, Priority.PERSON))
    assert (claimed.error, claimed.facts) == (None, {})
    await held.apply(Thaw(G1))
    assert all("rate 100Gbit" in line for line in shaped(pid))
    # None (0) is what a process that has just begun has: it counts as best effort, too.
    assert {io_priority.io_class(thread) for thread in threads_of(uid)} <= {0, 2}
    for _ in range(50):
        if (used := await used_share(held, 0.2)) > 0.4:
            break
    assert used > 0.4
    load.kill()
    await load.wait()
    assert (await held.apply(SetLimits(G1, NOTHING, Priority.PERSON))).ok  # told again


@pytest.mark.parametrize(
    "attempt", ["{}", "unshare -Ur {}", "exec 9</proc/self/ns/net; unshare -Urn nsenter --net=/dev/fd/9 {}"]
)
async def test_nothing_inside_can_lift_a_network_limit(
    held: LocalEngine, record_of: RecordOf, inside: Inside, attempt: str
) -> None:
    """Nobody inside has a right over the network, and a user namespace of one's own gives none over this one."""
    for command in ("tc qdisc del dev tap0 root", "ip link del ifb0", "ip link set tap0 down"):
        done = inside("g1", f"PATH=$PATH:/usr/sbin:/sbin; {attempt.format(command)}")
        assert done.returncode != 0
        assert "not permitted" in done.stderr or "denied" in done.stderr
    assert len(shaped(int(str(record_of("g1")["pid"])))) == 2


async def test_a_group_that_was_taken_away_is_made_anew(
    engine: LocalEngine, template: DesktopTemplate, record_of: RecordOf
) -> None:
    assert (await engine.apply(Build(G1, template, HELD, Priority.PERSON))).ok
    cgroups = engine._builder.cgroups
    root = cgroups.trees.v1.get("cpu")
    if root is None:
        pytest.skip("this host has no v1 cpu controller")
    group = cgroups.group(root, G1)
    while pids := (group / "cgroup.procs").read_text().split():  # the desktop still starts some
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (root / "cgroup.procs").write_text(pid)
    group.rmdir()
    mended = await engine.apply(SetLimits(G1, HELD))
    assert mended.error is None
    assert "has vanished" in str(mended.facts["mended"])
    assert str(record_of("g1")["pid"]) in (group / "cgroup.procs").read_text().split()
    assert (group / "cpu.cfs_quota_us").read_text() == "20000\n"
    assert "mended" not in (await engine.apply(SetLimits(G1, HELD))).facts


async def test_limits_beyond_the_machine_are_cut_and_nonsense_is_refused(
    engine: LocalEngine, template: DesktopTemplate
) -> None:
    built = await engine.apply(Build(G1, template, Resources(cpu_cores=10_000), Priority.PERSON))
    assert built.ok
    assert "10000 cores cut to" in str(built.facts["cut"])
    wrong = await engine.apply(SetLimits(G1, Resources(memory_bytes=-5)))
    assert "memory limit -5 is below zero" in str(wrong.error)
    await engine.apply(Destroy(G1))
    assert "no ghost g1" in str((await engine.apply(SetLimits(G1, HELD))).error)
