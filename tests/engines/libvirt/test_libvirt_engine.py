"""What the engine does with bad input and with what happens behind its back, on libvirt's pretended host."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ghostdesk.config import EngineSettings
from ghostdesk.engines.libvirt.engine import LibvirtEngine
from ghostdesk.engines.libvirt.errors import NameTaken
from ghostdesk.engines.libvirt.render import MachinePlan, volume_xml
from ghostdesk.engines.protocol import DESKTOPS
from ghostdesk.ghosts.commands import AttachHome, Build, Destroy, Freeze, ReclaimMemory, SetLimits, Thaw
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import ConfigError, InsufficientCapacity, MissingRequirement, NotFound
from ghostdesk.kernel.ids import GhostId, TemplateId, UserId
from ghostdesk.kernel.resources import MIB, Resources
from ghostdesk.testing import MakeEngine

G = GhostId("g1")
TEMPLATE = DesktopTemplate(TemplateId("office"), 1280, 800)
LIMITS = Resources(0.5, 512.0 * MIB, 0.0, 12.5e6, 100e6)
PLAN = MachinePlan("", "", "i686", 1 << 30, 2, "default-pool", "desktop.qcow2")


def _made(make: MakeEngine) -> LibvirtEngine:
    engine = make()
    assert isinstance(engine, LibvirtEngine)
    return engine


@pytest.mark.parametrize(
    ("plan", "said", "mend"),
    [
        (replace(PLAN, storage_pool="attic"), "storage pool", "pool-define-as"),
        (replace(PLAN, image="none.qcow2"), "image is not there", "engine.image"),
        (replace(PLAN, architecture="s390x"), "s390x", "engine.image_architecture"),
        (replace(PLAN, virtualisation="kvm"), "cannot run machines with kvm", "engine.virtualisation"),
    ],
)
async def test_what_is_missing_is_told_at_the_start(
    pretended_host: Any, open_dir: Path, plan: MachinePlan, said: str, mend: str
) -> None:
    engine = LibvirtEngine(open_dir / "state", open_dir / "run", uri="test:///default", plan=plan)
    with pytest.raises(MissingRequirement, match=said) as told:
        await engine.start()
    assert mend in told.value.mend
    (problem,) = engine.abilities()
    assert problem.name == DESKTOPS and not problem.available and problem.mend, "doctor says the same"


def test_settings_that_cannot_work_are_refused(open_dir: Path) -> None:
    with pytest.raises(MissingRequirement, match=r"engine\.image is not set"):
        LibvirtEngine.from_settings(EngineSettings(name="libvirt"), open_dir, open_dir)
    with pytest.raises(ConfigError, match="no address of libvirt"):
        LibvirtEngine.from_settings(EngineSettings(name="libvirt", image="x", address="http://h/"), open_dir, open_dir)


async def test_settings_reach_the_engine(pretended_host: Any, open_dir: Path) -> None:
    settings = EngineSettings(
        name="libvirt", address="test:///default", image="desktop.qcow2", storage_pool="default-pool",
        image_architecture="i686", machine_memory_bytes=1e9, machine_cpu_cores=3,
    )  # fmt: skip
    engine = LibvirtEngine.from_settings(settings, open_dir / "state", open_dir / "run")
    await engine.start()
    assert (await engine.apply(Build(G, TEMPLATE, LIMITS))).ok
    xml = await engine.site.on(G, lambda domain: domain.XMLDesc(0))
    assert ">3</vcpu>" in xml and ">976562</memory>" in xml
    told = {one.name: one for one in engine.abilities()}
    assert "pretended" in told["server"].detail
    await engine.stop(keep_ghosts=False)


async def test_a_name_that_somebody_else_has_is_told_and_left_alone(
    pretended_host: Any, pretended_engine: MakeEngine
) -> None:
    engine = _made(pretended_engine)
    await engine.start()
    name = engine.site.name(G)
    theirs = pretended_host.lookupByName("test").XMLDesc(0).replace("<name>test</name>", f"<name>{name}</name>")
    uuid = theirs[theirs.index("<uuid>") : theirs.index("</uuid>")]
    other = pretended_host.defineXML(theirs.replace(uuid, f"{uuid[:-4]}beef"))
    assert list(await engine.observe()) == []
    for command in (Build(G, TEMPLATE, LIMITS), Destroy(G)):
        outcome = await engine.apply(command)
        assert isinstance(outcome.error, NameTaken) and outcome.error.mend
    assert isinstance((await engine.apply(Freeze(G))).error, NotFound)
    other.undefine()
    volume = pretended_host.storagePoolLookupByName("default-pool")
    assert (await engine.apply(Build(G, TEMPLATE, LIMITS))).ok
    with pytest.raises(NameTaken):
        await engine.site.connection.call(
            lambda c: c.storagePoolLookupByName("default-pool").createXML(volume_xml(f"{name}.qcow2", 1, "qcow2"), 0)
        )
    await engine.stop(keep_ghosts=False)
    assert f"{name}.qcow2" not in volume.listVolumes()


async def test_a_machine_that_was_removed_or_stopped_by_hand(pretended_host: Any, pretended_engine: MakeEngine) -> None:
    engine = _made(pretended_engine)
    await engine.start()
    assert (await engine.apply(Build(G, TEMPLATE, LIMITS))).ok
    machine = pretended_host.lookupByName(engine.site.name(G))
    machine.destroy()
    (found,) = await engine.observe()
    assert not found.alive
    for command in (Freeze(G), Thaw(G), SetLimits(G, LIMITS), AttachHome(G, UserId("ann")), ReclaimMemory(G)):
        outcome = await engine.apply(command)
        assert isinstance(outcome.error, NotFound) and outcome.error.mend
    machine.undefine()
    assert list(await engine.observe()) == []
    assert (await engine.apply(Build(G, TEMPLATE, LIMITS))).facts["path"] == "booted", "and it is built anew"
    assert (await engine.apply(Destroy(G))).ok
    await engine.stop(keep_ghosts=False)


async def test_a_full_pool_begins_nothing(pretended_host: Any, pretended_engine: MakeEngine) -> None:
    engine = _made(pretended_engine)
    await engine.start()
    pool = pretended_host.storagePoolLookupByName("default-pool")
    free = int(pool.info()[3])
    hog = pool.createXML(
        f"<volume><name>hog.img</name><capacity>{free - 9}</capacity><allocation>{free - 9}</allocation></volume>",
        0,
    )
    outcome = await engine.apply(Build(G, TEMPLATE, LIMITS))
    assert isinstance(outcome.error, InsufficientCapacity) and "Free space" in outcome.error.mend
    assert list(await engine.observe()) == [] and list((engine.site.records.machines_dir).iterdir()) == []
    hog.delete(0)
    assert (await engine.apply(Build(G, TEMPLATE, LIMITS))).ok
    await engine.stop(keep_ghosts=False)


async def test_snapshots(pretended_host: Any, pretended_engine: MakeEngine) -> None:
    engine = _made(pretended_engine)
    await engine.start()
    assert (await engine.apply(Build(G, TEMPLATE, LIMITS))).ok
    await engine.snapshots.take(G, "one")
    await engine.snapshots.take(G, "two", "why")
    assert await engine.snapshots.names(G) == ["one", "two"]
    await engine.snapshots.revert(G, "one")
    await engine.snapshots.remove(G, "two")
    assert await engine.snapshots.names(G) == ["one"]
    with pytest.raises(NotFound):
        await engine.snapshots.revert(G, "three")
    with pytest.raises(NotFound):
        await engine.snapshots.take(GhostId("nobody"), "one")
    await engine.stop(keep_ghosts=False)


async def test_limits_that_the_driver_lacks_are_told(pretended_host: Any, pretended_engine: MakeEngine) -> None:
    engine = _made(pretended_engine)
    await engine.start()
    facts = (await engine.apply(Build(G, TEMPLATE, LIMITS))).facts
    assert "cpu" in str(facts["not_limited"]) and "memory" not in str(facts["not_limited"])
    assert (await engine.apply(Freeze(G))).ok and (await engine.apply(ReclaimMemory(G))).ok
    saved = await engine.apply(SetLimits(G, LIMITS.scaled(2.0)))
    assert "when it wakes" in str(saved.facts["not_limited"])
    assert (await engine.apply(Thaw(G))).ok
    machine = pretended_host.lookupByName(engine.site.name(G))
    assert machine.info()[2] == 1024 * 1024, "limits that were set while it slept are set when it wakes"
    await engine.stop(keep_ghosts=False)
