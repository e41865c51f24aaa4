"""What a host is like at one moment (pressure, load, room, power), and what a line to a browser is like."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PowerReading:
    """What a host draws.

    Args:
        power_w: watts, all that the source sees.
        source: which sensor, or which model, for people.
        modelled: whether it was worked out from use instead of measured.
        problem: why a sensor that is there was not believed; empty when all is well.
    """

    power_w: float
    source: str
    modelled: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Pressure:
    """How much tasks waited for one resource (PSI; kernel: accounting/psi.rst). Shares are from 0 to 1.

    Args:
        resource: "cpu", "memory", "io" or "irq".
        some_10s, some_60s: share of the last 10 s and 60 s in which some task waited.
        some_total_s: time in which some task waited since the host started.
        full_10s, full_60s, full_total_s: the same, in which all tasks waited.
    """

    resource: str
    some_10s: float = 0.0
    some_60s: float = 0.0
    some_total_s: float = 0.0
    full_10s: float = 0.0
    full_60s: float = 0.0
    full_total_s: float = 0.0


@dataclass(frozen=True, slots=True)
class HostFault:
    """Something that is wrong with a host.

    Args:
        code: "oom-kill" (the host ran out of memory), "limit-kill" (a process reached its own limit), "read-only",
            "disk-full", "hot" or "clock-set"; an engine may add others.
        text: what happened, for people.
    """

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class HostConditions:
    """A host at one moment. Shares are from 0 to 1; what cannot be read is 0 and named in `problems`.

    Args:
        time_s: when it was read.
        cpu_pressure, memory_pressure, io_pressure: share of the last 10 s in which some task waited for it (PSI).
        memory_full_pressure, io_full_pressure: the same, in which all tasks waited.
        load: runnable tasks, mean of the last minute.
        cpu_share: share of all cores in use since the reading before.
        memory_bytes, memory_available_bytes: of the host, and what is left without swapping.
        swap_bytes, swap_free_bytes: of all swap.
        zram_memory_bytes: what compressed swap takes of the memory.
        disk_bytes, disk_free_bytes: of the file system that holds the state.
        disk_busy_share: share of the time since the reading before in which its disk worked.
        network_in_bytes_per_s, network_out_bytes_per_s: of the host's cards since the reading before.
        power: what the host draws, None where nothing says.
        problems: what cannot be read or is not believed, for people.
        pressures: all that the kernel tells of pressure, where it does.
        faults: what is wrong with the host, or went wrong since the reading before.
    """

    time_s: float
    cpu_pressure: float = 0.0
    memory_pressure: float = 0.0
    memory_full_pressure: float = 0.0
    io_pressure: float = 0.0
    io_full_pressure: float = 0.0
    load: float = 0.0
    cpu_share: float = 0.0
    memory_bytes: float = 0.0
    memory_available_bytes: float = 0.0
    swap_bytes: float = 0.0
    swap_free_bytes: float = 0.0
    zram_memory_bytes: float = 0.0
    disk_bytes: float = 0.0
    disk_free_bytes: float = 0.0
    disk_busy_share: float = 0.0
    network_in_bytes_per_s: float = 0.0
    network_out_bytes_per_s: float = 0.0
    power: PowerReading | None = None
    problems: tuple[str, ...] = ()
    pressures: tuple[Pressure, ...] = ()
    faults: tuple[HostFault, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientLink:
    """The line to one browser, as the gateway sees it; nothing of what goes over it.

    Args:
        time_s: when it was last measured.
        rtt_s: round trip of a WebSocket ping, smoothed: what the person feels, queues on the way included.
        rtt_best_s: the least of the last minute: the line itself.
        bytes_per_s: what the line carried while it was what the desktop waited for; None when it never was.
        waiting_share: share of the last half minute in which the desktop waited for the line.
        relayed_bytes: sent to the browser over this stream in all.
    """

    time_s: float
    rtt_s: float
    rtt_best_s: float
    bytes_per_s: float | None = None
    waiting_share: float = 0.0
    relayed_bytes: int = 0
