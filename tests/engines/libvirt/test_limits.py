"""Limits as libvirt takes them, and that a call which a driver has not is never made."""

from typing import Any

import pytest

from ghostdesk.engines.libvirt.capabilities import DRIVERS, ESX, HYPERV, QEMU, TEST
from ghostdesk.engines.libvirt.connection import binding
from ghostdesk.engines.libvirt.errors import Unreachable
from ghostdesk.engines.libvirt.limits import (
    GHOST_SHARES,
    PERSON_SHARES,
    MachineLimits,
    apply_limits,
    machine_limits,
    tap_of,
)
from ghostdesk.kernel.errors import MissingRequirement, NotFound
from ghostdesk.kernel.resources import GIB, Priority, Resources


class Machine:
    """Notes the calls; refuses those that are named, with libvirt's own error."""

    def __init__(self, refused: dict[str, int] | None = None) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self._refused = refused or {}

    def __getattr__(self, name: str) -> Any:
        def called(*arguments: Any) -> Any:
            self.calls.append((name, arguments))
            if name in self._refused:
                libvirt = binding()
                error = libvirt.libvirtError(name)
                error.err = (self._refused[name], 0, f"{name} does not work", 2, None, None, None, -1, -1)
                raise error
            return "<domain/>" if name == "XMLDesc" else 1

        return called

    @property
    def called(self) -> set[str]:
        return {name for name, _ in self.calls}


@pytest.fixture
def libvirt() -> Any:
    try:
        return binding()
    except MissingRequirement as problem:
        pytest.skip(str(problem))


WANTED = machine_limits(
    Resources(0.5, 1.5e9, 0.0, 12.5e6, 200e6), Priority.GHOST, memory_bytes=4 * GIB, cpu_cores=4, core_megahertz=2000
)


def test_limits_in_libvirt_s_units() -> None:
    assert MachineLimits(1_464_843, 1, 50_000, 1000, GHOST_SHARES, 200_000_000, 12_207) == WANTED
    free = machine_limits(Resources(), Priority.PERSON, memory_bytes=4 * GIB, cpu_cores=4, core_megahertz=2000)
    assert free == MachineLimits(4 * GIB // 1024, 4, -1, -1, PERSON_SHARES, 0, 0)


def test_qemu_is_told_all_of_it(libvirt: Any) -> None:
    machine = Machine()
    assert apply_limits(libvirt, machine, QEMU, WANTED, "52:54:00:1:2:3", "qemu:///system", awake=True) == []
    told = dict(machine.calls)
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE
    assert told["setMemoryFlags"] == (WANTED.memory_kib, live)
    assert told["setSchedulerParametersFlags"][0]["global_quota"] == 50_000
    assert told["setBlockIoTune"] == ("vda", {"total_bytes_sec": 200_000_000}, live)
    assert told["setInterfaceParameters"][1] == {"inbound.average": 12_207, "outbound.average": 12_207}
    asleep = Machine()
    apply_limits(libvirt, asleep, QEMU, WANTED, "", "qemu:///system", awake=False)
    assert not asleep.called & {"setVcpusFlags", "vcpusFlags", "setInterfaceParameters"}


@pytest.mark.parametrize(
    ("driver", "calls", "missing"),
    [
        (ESX, {"setMemoryFlags", "setVcpusFlags", "setSchedulerParametersFlags"}, ["storage", "network"]),
        (HYPERV, {"setMemoryFlags", "setVcpusFlags"}, ["cpu", "storage", "network"]),
        (TEST, {"setMemoryFlags", "setVcpusFlags", "setBlockIoTune", "setInterfaceParameters"}, ["cpu"]),
    ],
    ids=lambda value: getattr(value, "driver", ""),
)
def test_a_call_that_a_driver_has_not_is_not_made_and_told(
    libvirt: Any, driver: Any, calls: set[str], missing: list[str]
) -> None:
    machine = Machine()
    told = apply_limits(libvirt, machine, driver, WANTED, "52:54:00:1:2:3", "x", awake=True)
    assert machine.called == calls
    assert [one.split()[0] for one in told] == missing
    assert all(driver.title in one for one in told)


def test_drivers_without_flags_for_running_machines_get_none(libvirt: Any) -> None:
    machine = Machine()
    apply_limits(libvirt, machine, HYPERV, WANTED, "", "hyperv://h/", awake=True)
    assert dict(machine.calls)["setMemoryFlags"][1] == 0 and dict(machine.calls)["setVcpusFlags"][1] == 0


@pytest.mark.parametrize("driver", sorted(DRIVERS))
def test_what_fails_is_told_and_the_rest_is_done(libvirt: Any, driver: str) -> None:
    machine = Machine({"setMemoryFlags": libvirt.VIR_ERR_OPERATION_INVALID})
    told = apply_limits(libvirt, machine, DRIVERS[driver], WANTED, "", "x", awake=True)
    assert any(one.startswith("memory") and "does not work" in one for one in told)
    assert "setVcpusFlags" in machine.called or "vcpusFlags" in machine.called


def test_a_machine_or_host_that_is_gone_is_an_error(libvirt: Any) -> None:
    for code, kind in ((libvirt.VIR_ERR_NO_DOMAIN, NotFound), (libvirt.VIR_ERR_INVALID_CONN, Unreachable)):
        with pytest.raises(kind):
            apply_limits(libvirt, Machine({"setMemoryFlags": code}), QEMU, WANTED, "", "x", awake=True)


def test_the_tap_behind_a_card() -> None:
    domain = (
        "<domain><devices><interface type='network'><mac address='52:54:00:aa:bb:cc'/><target dev='vnet3'/>"
        "</interface></devices></domain>"
    )
    assert tap_of(domain, "52:54:00:aa:bb:cc") == "vnet3"
    assert tap_of(domain, "52:54:00:00:00:00") == ""
