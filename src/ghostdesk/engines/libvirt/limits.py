"""What a machine may use, changed while it runs: only calls that its driver has; what it has not is told."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ghostdesk.engines.libvirt.capabilities import DriverCapabilities, When
from ghostdesk.engines.libvirt.connection import typed
from ghostdesk.engines.libvirt.render import balloon_bytes, disk_target, processors
from ghostdesk.engines.local.shaping import bucket
from ghostdesk.kernel.errors import EngineError, NotFound
from ghostdesk.kernel.resources import Priority, Resources

PERIOD_US = 100_000
PERSON_SHARES, GHOST_SHARES = 1024, 16
"""Weights of processor time where machines compete (cgroup's cpu.shares; libvirt's default is 1024)."""
_LEAST_QUOTA_US = 1000
_NO_QUOTA = -1


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """What is asked of libvirt for one machine.

    Args:
        memory_kib: the balloon.
        processors: in use.
        quota_us: processor time in each `PERIOD_US`, of all processors together; -1 for no limit.
        megahertz: the same for VMware; -1 for no limit.
        shares: weight of processor time.
        disk_bytes_per_s: 0 for no limit.
        card_kib_per_s: 0 for no limit.
    """

    memory_kib: int
    processors: int
    quota_us: int
    megahertz: int
    shares: int
    disk_bytes_per_s: int
    card_kib_per_s: int


def machine_limits(
    limits: Resources, priority: Priority, *, memory_bytes: int, cpu_cores: int, core_megahertz: int = 0
) -> MachineLimits:
    """What limits mean for a machine that has at most this much memory and this many processors."""
    quota_us = max(_LEAST_QUOTA_US, round(limits.cpu_cores * PERIOD_US)) if limits.cpu_cores else _NO_QUOTA
    megahertz = max(1, round(limits.cpu_cores * core_megahertz)) if limits.cpu_cores and core_megahertz else -1
    card = max(1, round(limits.network_bytes_per_s / 1024)) if limits.network_bytes_per_s else 0
    return MachineLimits(
        memory_kib=balloon_bytes(limits, memory_bytes) // 1024,
        processors=processors(limits, cpu_cores),
        quota_us=quota_us,
        megahertz=megahertz,
        shares=PERSON_SHARES if priority is Priority.PERSON else GHOST_SHARES,
        disk_bytes_per_s=int(limits.storage_bytes_per_s),
        card_kib_per_s=card,
    )


def apply_limits(
    libvirt: Any,
    domain: Any,
    can: DriverCapabilities,
    wanted: MachineLimits,
    card: str,
    uri: str,
    *,
    awake: bool,
) -> list[str]:
    """Change a machine (blocking); returns what is not limited, each with why.

    Args:
        domain: libvirt's own object.
        card: the hardware address of its network card; "" without one.
        awake: whether it runs; else what is done by its guest agent is left for later.

    Raises:
        NotFound, Unreachable: it is gone, or its host is.
    """
    missing: list[str] = []

    def attempt(name: str, can_do: bool, work: Callable[[], Any]) -> None:
        if not can_do:
            missing.append(f"{name} (not with {can.title})")
            return
        try:
            typed(work, uri)
        except NotFound:
            raise
        except EngineError as error:
            if error.retry_after_s:
                raise
            missing.append(f"{name} ({error.cause})")

    live = libvirt.VIR_DOMAIN_AFFECT_LIVE

    def flags(when: When) -> int:
        return int(live) if when is When.LIVE else 0

    attempt("memory", can.memory is not When.NEVER, lambda: domain.setMemoryFlags(wanted.memory_kib, flags(can.memory)))
    if awake or not can.guest_agent:
        attempt(
            "processors", can.vcpus is not When.NEVER, lambda: _set_processors(libvirt, domain, can, wanted.processors)
        )
    if can.cpu_time == "quota":
        values = {"global_period": PERIOD_US, "global_quota": wanted.quota_us, "cpu_shares": wanted.shares}
        attempt("cpu", True, lambda: domain.setSchedulerParametersFlags(values, live))
    elif can.cpu_time == "megahertz":
        attempt("cpu", True, lambda: domain.setSchedulerParametersFlags({"limit": wanted.megahertz}, 0))
    else:
        attempt("cpu", wanted.quota_us == _NO_QUOTA, lambda: None)
    if can.block_io or wanted.disk_bytes_per_s:
        rate = {"total_bytes_sec": wanted.disk_bytes_per_s}
        attempt("storage", can.block_io, lambda: domain.setBlockIoTune(disk_target(can), rate, live))
    if card:
        attempt("network", can.interface, lambda: _limit_card(domain, card, wanted.card_kib_per_s, live))
    return missing


def _set_processors(libvirt: Any, domain: Any, can: DriverCapabilities, wanted: int) -> None:
    """With a guest agent, processors are switched on and off inside: both ways work at once, and no hardware moves."""
    if can.guest_agent:
        if domain.vcpusFlags(libvirt.VIR_DOMAIN_VCPU_GUEST) != wanted:
            domain.setVcpusFlags(wanted, libvirt.VIR_DOMAIN_VCPU_GUEST | libvirt.VIR_DOMAIN_AFFECT_LIVE)
        return
    flags = libvirt.VIR_DOMAIN_AFFECT_LIVE if can.vcpus is When.LIVE else 0
    domain.setVcpusFlags(wanted, flags)


def _limit_card(domain: Any, card: str, kib_per_s: int, live: int) -> None:
    """By libvirt; where its own way (an ingress policer) is not in the kernel, by a token bucket on the card's tap."""
    values = {"inbound.average": kib_per_s, "outbound.average": kib_per_s}
    try:
        domain.setInterfaceParameters(card, values, live)
    except Exception as error:
        tap = tap_of(domain.XMLDesc(0), card)
        problem = shape_tap(tap, kib_per_s * 1024.0) if tap else "it has no tap device on this machine"
        if problem:
            raise EngineError(f"{error}; {problem}") from error


def tap_of(domain: str, card: str) -> str:
    """The host's device behind a machine's card; "" when there is none."""
    found = ET.fromstring(domain).find(f"devices/interface/mac[@address='{card}']/../target")  # noqa: S314 - from libvirt
    return found.get("dev", "") if found is not None else ""


def shape_tap(tap: str, rate_bytes_per_s: float) -> str:
    """Limit what a tap device sends into its machine (tc-tbf(8)); returns why not, "" when done."""
    command = ["tc", "qdisc", "replace", "dev", tap, "root", *bucket(rate_bytes_per_s).split()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5.0, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip()
