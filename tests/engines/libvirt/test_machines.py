"""A machine of its own, on a real libvirtd with QEMU by software emulation: what is on its screen, and what is done to
it behind the engine's back."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from functools import partial

import numpy as np
import pytest
from libvirt_daemon import LibvirtDaemon

from ghostdesk.bench.rfb import RfbClient
from ghostdesk.engines.libvirt.engine import LibvirtEngine
from ghostdesk.engines.libvirt.errors import Unreachable
from ghostdesk.engines.libvirt.limits import tap_of
from ghostdesk.ghosts.commands import AttachHome, Build, Destroy, Freeze, SetLimits, Thaw
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import NotFound
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import MIB, Resources
from ghostdesk.testing import MakeEngine

pytestmark = pytest.mark.desktop
GHOST = GhostId("m1")
LIMITS = Resources(cpu_cores=1.0, memory_bytes=448.0 * MIB, network_bytes_per_s=1e6, storage_bytes_per_s=50e6)
TEMPLATE = DesktopTemplate(TemplateId("conformance"), width_px=800, height_px=600)


@pytest.fixture
async def engine(emulated_engine: MakeEngine, daemon: LibvirtDaemon) -> AsyncIterator[LibvirtEngine]:
    assert isinstance(emulated_engine, partial)
    made: LibvirtEngine = emulated_engine.func(
        *emulated_engine.args, **emulated_engine.keywords, network=daemon.network
    )
    await made.start()
    yield made
    await made.stop(keep_ghosts=False)


async def _ok(
    engine: LibvirtEngine, command: Build | Freeze | Thaw | AttachHome | SetLimits | Destroy
) -> dict[str, float | str]:
    outcome = await engine.apply(command)
    assert outcome.error is None, outcome.error
    return outcome.facts


async def test_a_desktop_is_on_the_screen_and_survives_its_daemon(engine: LibvirtEngine, daemon: LibvirtDaemon) -> None:
    facts = await _ok(engine, Build(GHOST, TEMPLATE, LIMITS))
    assert facts["path"] == "restored", "a ghost is a copy of a machine that was booted once"
    told = str(facts.get("not_limited", ""))
    assert not any(word in told for word in ("memory", "processors", "cpu", "storage")), told
    await _check_card(engine, daemon)
    # A frozen desktop answers too: the screen is QEMU's.
    await _ok(engine, Freeze(GHOST))
    async with await RfbClient.connect(engine.endpoint(GHOST).rfb_path, 60.0) as screen:
        assert screen.size == (800, 600)
        picture = screen.picture()
    colours = np.unique(picture.reshape(-1, picture.shape[-1]) if picture.ndim == 3 else picture.reshape(-1), axis=0)
    assert len(colours) > 30, "the wallpaper's gradient and the panel are painted, not one colour"
    await _ok(engine, AttachHome(GHOST, UserId("ann")))
    home = daemon.folder / "state" / "homes" / "ann"
    (home / "Documents" / "thesis.txt").write_text("chapter one")
    # The daemon dies; machines go on, and calls say that it cannot be reached.
    daemon.kill()
    outcome = await engine.apply(Thaw(GHOST))
    assert isinstance(outcome.error, Unreachable) and outcome.error.mend
    daemon.start()
    (found,) = await engine.observe()
    assert found.alive and found.frozen and found.owner == "ann"
    await _ok(engine, Thaw(GHOST))
    guest = engine.site.guest(GHOST)
    handle = await guest.ask("guest-file-open", {"path": "/home/user/Documents/thesis.txt", "mode": "r"})
    assert (await guest.ask("guest-file-read", {"handle": handle}))["count"] == len("chapter one")
    # Somebody ends the machine by hand.
    os.kill(daemon.machines()[0], signal.SIGKILL)
    for _ in range(600):
        (found,) = await engine.observe()
        if not found.alive:
            break
        await asyncio.sleep(0.05)
    assert not found.alive, "it counts as lost"
    assert isinstance((await engine.apply(Freeze(GHOST))).error, NotFound)
    await _ok(engine, Destroy(GHOST))
    assert (home / "Documents" / "thesis.txt").read_text() == "chapter one", "a home is never removed with a machine"


def _qdisc(device: str) -> str:
    command = ["tc", "qdisc", "show", "dev", device]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


async def _check_card(engine: LibvirtEngine, daemon: LibvirtDaemon) -> None:
    """What a machine gets from the network is limited on the host, where this host has networks."""
    record = engine.site.records.read(GHOST)
    assert record is not None and bool(record.card) == bool(daemon.network)
    if record.card:
        tap = tap_of(await engine.site.on(GHOST, lambda domain: domain.XMLDesc(0)), record.card)
        shown = await asyncio.to_thread(_qdisc, tap)
        assert "qdisc htb" in shown or "qdisc tbf" in shown, shown


async def test_snapshots_of_a_real_machine(engine: LibvirtEngine) -> None:
    if not os.environ.get("GHOSTDESK_LONG_TESTS"):
        pytest.skip("under emulation this takes long: set GHOSTDESK_LONG_TESTS=1")
    await _ok(engine, Build(GHOST, TEMPLATE, LIMITS))
    await engine.snapshots.take(GHOST, "before", "the lesson")
    assert await engine.snapshots.names(GHOST) == ["before"]
    await engine.snapshots.revert(GHOST, "before")
    (found,) = await engine.observe()
    assert found.alive and not found.frozen
    await engine.snapshots.remove(GHOST, "before")
    with pytest.raises(NotFound):
        await engine.snapshots.revert(GHOST, "before")
