"""What the kernel's files say of pressure, faults and compressed swap: parsers that raise `ValueError` for rubbish."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from ghostdesk.kernel.conditions import Pressure

_MOST_PERCENT = 100.0


def parse_pressure(resource: str, text: str) -> Pressure:
    """One file of /proc/pressure (kernel: accounting/psi.rst); a line that is absent counts as no pressure.

    Args:
        resource: "cpu", "memory", "io" or "irq".
    """
    lines: dict[str, tuple[float, float, float]] = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind not in ("some", "full"):
            continue  # a kernel to come may add kinds
        told = dict(pair.partition("=")[::2] for pair in rest.split())
        try:
            lines[kind] = (_share(told["avg10"]), _share(told["avg60"]), _seconds(told["total"]))
        except KeyError as error:
            raise ValueError(f"no {error.args[0]} in {line[:60]!r}") from None
    if not lines:
        raise ValueError("it says neither some nor full")
    none = (0.0, 0.0, 0.0)
    return Pressure(resource, *lines.get("some", none), *lines.get("full", none))


def _share(text: str) -> float:
    percent = float(text)
    if not 0.0 <= percent <= _MOST_PERCENT:  # false for what is not a number, too
        raise ValueError(f"{text[:20]!r} is no share in per cent")
    return percent / _MOST_PERCENT


def _seconds(text: str) -> float:
    passed_s = int(text) / 1e6
    if not 0.0 <= passed_s < math.inf:
        raise ValueError(f"{text[:20]!r} is no time in microseconds")
    return passed_s


def parse_counter(text: str, name: str) -> int:
    """One counter of a file of "name number" lines, such as /proc/vmstat or a cgroup's memory.events."""
    for line in text.splitlines():
        found, _, number = line.partition(" ")
        if found == name:
            value = int(number)
            if value < 0:
                raise ValueError(f"{name} is {value}")
            return value
    raise ValueError(f"it has no {name}")


def parse_counters(text: str, prefix: str) -> int:
    """The sum of the counters whose names begin with `prefix`; 0 where there is none."""
    total = 0
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name.startswith(prefix):
            total += max(int(number), 0)
    return total


def parse_zram_memory(mm_stat: str) -> int:
    """Memory that a zram device takes, from its mm_stat (kernel: admin-guide/blockdev/zram.rst, mem_used_total)."""
    parts = mm_stat.split()
    if len(parts) < 3:
        raise ValueError("mm_stat has fewer than 3 numbers")
    value = int(parts[2])
    if value < 0:
        raise ValueError(f"mem_used_total is {value}")
    return value


def zram_memory_bytes(block: Path) -> int:
    """Memory that all zram devices under /sys/block take. A device that goes away meanwhile takes none."""
    total = 0
    for folder in block.glob("zram*"):
        try:
            total += parse_zram_memory((folder / "mm_stat").read_text())
        except FileNotFoundError:
            continue
    return total


def host_cards(net: Path) -> tuple[str, ...]:
    """Network cards under /sys/class/net that lead out of the host: those with a device behind them; on a host whose
    cards are all virtual (a container), those that are not the loopback."""
    names = sorted(entry.name for entry in net.iterdir())
    real = tuple(name for name in names if (net / name / "device").exists())
    return real or tuple(name for name in names if name != "lo" and not _is_shaper(name))


def _is_shaper(name: str) -> bool:
    return name.startswith(("ifb", "veth", "tap", "docker", "br-", "virbr", "dummy"))


def throttle_counters(cpus: Path) -> tuple[Path, ...]:
    """The files under /sys/devices/system/cpu that count how often a processor slowed down for heat: one a package."""
    chosen: dict[str, Path] = {}
    for counter in sorted(cpus.glob("cpu[0-9]*/thermal_throttle/package_throttle_count")):
        cpu = counter.parent.parent
        try:
            package = (cpu / "topology/physical_package_id").read_text().strip()
        except OSError:
            package = cpu.name
        chosen.setdefault(package, counter)
    return tuple(chosen.values())


def sum_of(counters: Iterable[Path]) -> int:
    """The sum of files that hold one number each."""
    return sum(int(counter.read_text()) for counter in counters)
