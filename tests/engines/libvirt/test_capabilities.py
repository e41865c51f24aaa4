"""The table of what each driver can do, against libvirt's own matrix, and the page that shows it to people."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from ghostdesk.engines.libvirt.abilities import abilities_of
from ghostdesk.engines.libvirt.capabilities import (
    ALWAYS,
    CALLS,
    DRIVERS,
    ESX,
    HYPERV,
    QEMU,
    Disks,
    When,
    capabilities_of,
    matrix_rows,
    without,
)
from ghostdesk.engines.libvirt.connection import binding
from ghostdesk.engines.libvirt.host import Host
from ghostdesk.engines.protocol import DESKTOPS, PARKING
from ghostdesk.kernel.errors import MissingRequirement

_RECORDED: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "driver_calls.json").read_text())["calls"]
_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "libvirt-drivers.md"


def _has(driver: str, call: str) -> bool:
    return driver in _RECORDED[call]


@pytest.mark.parametrize("driver", sorted(DRIVERS))
def test_what_a_driver_is_said_to_do_it_has_calls_for(driver: str) -> None:
    can = DRIVERS[driver]
    for capability, calls in CALLS.items():
        value = getattr(can, capability)
        if value and value != When.NEVER:
            assert all(_has(driver, call) for call in calls), f"{driver}: {capability}"
    assert all(_has(driver, call) for call in ALWAYS)


@pytest.mark.parametrize("driver", ["qemu", "esx", "hyperv"])
def test_what_a_driver_has_calls_for_is_used(driver: str) -> None:
    """But for calls that cannot be meant here: then this says why."""
    for capability, calls in CALLS.items():
        there = all(_has(driver, call) for call in calls)
        value = getattr(DRIVERS[driver], capability)
        # Hyper-V can be given cards, but a card needs a guest agent that asks for its address.
        meant = there and (driver, capability) != ("hyperv", "network_card")
        assert meant == (bool(value) and value != When.NEVER), f"{driver}: {capability}"


def test_disks_by_the_storage_driver() -> None:
    assert ESX.disks is Disks.COPY and _has("esx", "virStorageVolCreateXMLFrom")
    assert HYPERV.disks is Disks.NONE and not _has("hyperv", "virStorageVolCreateXML")


def test_the_driver_of_a_connection() -> None:
    assert capabilities_of("QEMU") is QEMU
    assert capabilities_of("VPX") is ESX and capabilities_of("ESX") is ESX
    assert capabilities_of("Hyper-V") is HYPERV
    with pytest.raises(MissingRequirement, match="xenlight"):
        capabilities_of("xenlight")


def test_the_pretended_host_answers_as_the_table_says(pretended_host: Any) -> None:
    """Each call that the table says the test driver has is answered, and those it says it has not are refused."""
    libvirt = binding()
    can = capabilities_of(pretended_host.getType())
    domain = pretended_host.lookupByName("test")
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE
    domain.setMemoryFlags(1 << 20, live)
    domain.setVcpusFlags(1, live)
    assert pretended_host.getAllDomainStats(0, 0) and can.bulk_stats
    domain.suspend()
    domain.resume()
    snapshot = domain.snapshotCreateXML("<domainsnapshot><name>one</name></domainsnapshot>", 0)
    domain.revertToSnapshot(snapshot, 0)
    snapshot.delete(0)
    with pytest.raises(libvirt.libvirtError) as refused:
        domain.attachDeviceFlags("<interface type='network'><source network='default'/></interface>", live)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT and not can.network_card
    with pytest.raises(libvirt.libvirtError):
        domain.setSchedulerParametersFlags({"global_quota": 50_000}, live)
    assert can.cpu_time == ""


def test_another_machine_s_files_are_not_here() -> None:
    far = without(QEMU, remote=True)
    assert not (far.homes or far.console or far.saved_start) and far.managed_save
    assert without(QEMU, remote=False) is QEMU


@pytest.mark.parametrize(
    ("driver", "desktops", "parking"),
    [("qemu", None, True), ("test", True, True), ("esx", False, False), ("hyperv", False, True)],
)
def test_what_an_operator_is_told(driver: str, desktops: bool | None, parking: bool) -> None:
    host = Host(DRIVERS[driver], "1", "kvm", "x86_64", 0, 1e9, 2.0, 2000)
    told = {one.name: one for one in abilities_of(host, host.can, "lan")}
    assert told[PARKING].available == parking
    assert (told[DESKTOPS].available if DESKTOPS in told else None) == desktops
    assert all(one.detail and (one.available or one.mend) for one in told.values())
    away = {one.name: one for one in abilities_of(host, replace(host.can, homes=False), "")}
    assert not away["homes"].available and "user" in away["homes"].mend


def test_the_page_shows_the_table_as_it_is() -> None:
    page = _PAGE.read_text()
    heading, *rows = matrix_rows()
    assert f"| {' | '.join(heading)} |" in page
    for row in rows:
        assert f"| `{row[0]}` | {' | '.join(row[1:])} |" in page
    assert len(rows) == len(fields(QEMU)) - 2
