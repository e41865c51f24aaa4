"""What is asked of libvirt: golden files, written when GHOSTDESK_WRITE_GOLDEN is set, and then looked at by people."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.libvirt.capabilities import ESX, HYPERV, QEMU, TEST, DriverCapabilities
from ghostdesk.engines.libvirt.render import (
    LEAST_MEMORY_BYTES,
    GhostPlaces,
    MachinePlan,
    balloon_bytes,
    card_address,
    card_xml,
    copied_domain_xml,
    domain_xml,
    ghost_of,
    machine_id,
    machine_name,
    processors,
    snapshot_xml,
    volume_xml,
)
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import EngineError
from ghostdesk.kernel.ids import GhostId, TemplateId
from ghostdesk.kernel.resources import GIB, MIB, Resources

_GOLDEN = Path(__file__).parent / "golden"
_TEMPLATE = DesktopTemplate(TemplateId("office"), 1280, 800)
_PLACES = GhostPlaces(Path("/run/gd/g1"), Path("/var/lib/gd/machines/g1/slot"))
_BOOTED = MachinePlan("0a1b2c", "kvm", "x86_64", 4 * GIB, 2, "desks", "desktop.qcow2")
_DIRECT = replace(
    _BOOTED,
    virtualisation="qemu",
    image="disk.raw",
    image_format="raw",
    kernel="/img/vmlinuz",
    first_root="/img/initrd",
)


def _matches(name: str, rendered: str) -> None:
    path = _GOLDEN / name
    if os.environ.get("GHOSTDESK_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(rendered)
    assert rendered == path.read_text()


@pytest.mark.parametrize(
    ("name", "plan", "can"),
    [
        ("qemu-kvm.xml", _BOOTED, QEMU),
        ("qemu-emulated.xml", _DIRECT, QEMU),
        ("test.xml", replace(_BOOTED, virtualisation="test", architecture="i686"), TEST),
        ("esx.xml", replace(_BOOTED, virtualisation="vmware", image_format="vmdk"), ESX),
        ("hyperv.xml", replace(_BOOTED, virtualisation="hyperv"), HYPERV),
    ],
)
def test_a_ghost_s_machine(name: str, plan: MachinePlan, can: DriverCapabilities) -> None:
    disk = "[desks] gd/g1.vmdk" if can is ESX else "/pool/gd-0a1b2c-g1.qcow2"
    _matches(name, domain_xml(plan, can, "g1", _TEMPLATE, disk, _PLACES))


def test_a_machine_without_shared_folders_has_none() -> None:
    xml = domain_xml(_BOOTED, QEMU, "g1", _TEMPLATE, "/d", GhostPlaces(Path("/run/gd/g1"), None))
    assert "<filesystem" not in xml


def test_a_copy_of_a_saved_machine() -> None:
    saved = (Path(__file__).parent / "saved_machine.xml").read_text()
    places = GhostPlaces(Path("/run/gd/g7"), Path("/var/lib/gd/machines/g7/slot"))
    copied = copied_domain_xml(saved, "0a1b2c", "g7", "/pool/gd-0a1b2c-g7.qcow2", places)
    _matches("copied.xml", copied)
    assert "base" not in copied, "nothing of the first machine's own is left"
    with pytest.raises(EngineError, match="cannot be read"):
        copied_domain_xml("<domain", "p", "g", "/d", places)


def test_volumes_cards_and_snapshots() -> None:
    _matches("overlay.xml", volume_xml("gd-0a1b2c-g1.qcow2", 2 * GIB, "qcow2", "/pool/desktop.raw", "raw"))
    _matches("copy.xml", volume_xml("gd-0a1b2c-g1.vmdk", 2 * GIB, "vmdk"))
    _matches("card.xml", card_xml("lan", card_address("0a1b2c", "g1")))
    _matches("snapshot.xml", snapshot_xml("before", "Before <the> lesson & after"))


_IDS = st.from_regex(r"[a-z0-9]{1,32}", fullmatch=True)


@given(_IDS, _IDS)
def test_names_and_ids_tell_ghosts_apart(one: str, two: str) -> None:
    assert ghost_of("0a1b2c", machine_name("0a1b2c", one)) == GhostId(one)
    assert ghost_of("ffffff", machine_name("0a1b2c", one)) is None
    assert (machine_id("0a1b2c", one) == machine_id("0a1b2c", two)) == (one == two)
    assert machine_id("ffffff", one) != machine_id("0a1b2c", one)
    assert card_address("0a1b2c", one).startswith("52:54:00:") and len(card_address("0a1b2c", one)) == 17


@given(st.floats(0, 1e12), st.floats(0, 300))
def test_limits_stay_within_what_a_machine_has(memory: float, cores: float) -> None:
    limits = Resources(cpu_cores=cores, memory_bytes=memory)
    assert LEAST_MEMORY_BYTES <= balloon_bytes(limits, 4 * GIB) <= 4 * GIB
    assert 1 <= processors(limits, 8) <= 8
    assert balloon_bytes(Resources(), 4 * GIB) == 4 * GIB and processors(Resources(), 8) == 8
    assert balloon_bytes(Resources(memory_bytes=512 * MIB), 4 * GIB) == 512 * MIB
