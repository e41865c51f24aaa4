"""The host at one moment: pressure, load, room, network, and whether it fails. See docs/explanation/context.md.

Every part is read by itself. A part that cannot be read (an old kernel, a container without the file, rubbish) is named
in the reading's `problems` and counts as calm; the others are told all the same.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from ghostdesk.engines.local.condition_files import (
    host_cards,
    parse_counter,
    parse_counters,
    parse_pressure,
    sum_of,
    throttle_counters,
    zram_memory_bytes,
)
from ghostdesk.engines.local.disks import block_device_of
from ghostdesk.kernel.conditions import HostConditions, HostFault, Pressure

_CLOCK_JUMP_S = 2.0
"""A wall clock that moved by so much more or less than time passed was set."""
_UNREADABLE = (
    OSError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    NotImplementedError,
    RuntimeWarning,
)
"""What a file that is absent or not as expected makes of reading it, psutil's ways included."""
_FULL_INODES_SHARE = 0.01

Fields = dict[str, Any]


class ConditionsReader:
    """Reads the host again and again; rates and counters are since the reading before (the first one has none).

    Args:
        state_dir: whose file system and disk are watched.
        proc, sys: where the kernel's files are; psutil reads from `psutil.PROCFS_PATH`.
        wall_s, passed_s: the wall clock, and a clock that nobody sets (it goes on while the host sleeps).
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
        wall_s: Callable[[], float] = time.time,
        passed_s: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._state_dir, self._proc, self._sys = state_dir, proc, sys
        self._wall_s, self._passed_s = wall_s, passed_s
        self._before: dict[str, tuple[float, ...]] = {}
        self._problems: list[str] = []
        self._faults: list[HostFault] = []
        self._elapsed_s = 0.0
        self._throttles: tuple[Path, ...] | None = None

    def read(self) -> HostConditions:
        """Look at the host now; never raises for what it finds."""
        self._problems, self._faults = [], []
        now_s, passed_s = self._wall_s(), self._passed_s()
        self._clock(now_s, passed_s)
        fields: Fields = {}
        parts: tuple[tuple[str, Callable[[], Fields]], ...] = (
            ("pressure", self._pressure),
            ("the load", self._load),
            ("processors' use", self._cpu),
            ("memory", self._memory),
            ("swap", self._swap),
            ("compressed swap", self._zram),
            ("room on the disk", self._room),
            ("work of the disk", self._disk),
            ("network cards", self._network),
            ("killed processes", self._kills),
            ("heat", self._heat),
        )
        for name, part in parts:
            fields |= self._try(name, part)
        return HostConditions(now_s, **fields, problems=tuple(self._problems), faults=tuple(self._faults))

    def _try(self, name: str, part: Callable[[], Fields]) -> Fields:
        try:
            found = part()
            for key, value in found.items():
                if isinstance(value, float) and not 0.0 <= value < math.inf:
                    raise ValueError(f"{key} is {value}")
            return found
        except _UNREADABLE as error:
            told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)[:120]
            self._problems.append(f"{name} cannot be read: {told or type(error).__name__}")
            return {}

    def _since(self, name: str, *values: float) -> tuple[float, ...]:
        """How much each value grew since the reading before; 0 at the first, and for one that went back (a counter that
        wrapped, a device that was exchanged)."""
        before = self._before.get(name)
        self._before[name] = values
        if before is None or len(before) != len(values):
            return (0.0,) * len(values)
        return tuple(max(0.0, value - old) for value, old in zip(values, before, strict=True))

    def _clock(self, now_s: float, passed_s: float) -> None:
        before = self._before.get("clock")
        self._before["clock"] = (now_s, passed_s)
        self._elapsed_s = 0.0
        if before is None:
            return
        self._elapsed_s = max(0.0, passed_s - before[1])
        jump_s = (now_s - before[0]) - (passed_s - before[1])
        if abs(jump_s) >= _CLOCK_JUMP_S:
            way = "forward" if jump_s > 0 else "back"
            self._faults.append(HostFault("clock-set", f"the host's clock was set {way} by {abs(jump_s):.0f} s"))

    def _pressure(self) -> Fields:
        folder, found = self._proc / "pressure", []
        if not folder.is_dir():
            raise FileNotFoundError(2, "the kernel tells none (it needs CONFIG_PSI, and psi=1 where that is not on)")
        for resource in ("cpu", "memory", "io", "irq"):
            one = self._pressure_of(resource, folder / resource)
            if one is not None:
                found.append(one)
        by_name = {one.resource: one for one in found}
        none = Pressure("none")
        cpu, memory, io = (by_name.get(name, none) for name in ("cpu", "memory", "io"))
        return {
            "pressures": tuple(found),
            "cpu_pressure": cpu.some_10s,
            "memory_pressure": memory.some_10s,
            "memory_full_pressure": memory.full_10s,
            "io_pressure": io.some_10s,
            "io_full_pressure": io.full_10s,
        }

    def _pressure_of(self, resource: str, path: Path) -> Pressure | None:
        try:
            return parse_pressure(resource, path.read_text())
        except FileNotFoundError:
            if resource != "irq":  # only with CONFIG_IRQ_TIME_ACCOUNTING
                self._problems.append(f"{resource} pressure cannot be read: no {path}")
        except (OSError, ValueError) as error:
            self._problems.append(f"{resource} pressure cannot be read: {error}")
        return None

    def _load(self) -> Fields:
        return {"load": os.getloadavg()[0]}

    def _cpu(self) -> Fields:
        times = psutil.cpu_times()
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)  # in user and nice, too
        idle, whole = self._since("cpu", times.idle + getattr(times, "iowait", 0.0), total)
        return {"cpu_share": min(1.0, max(0.0, 1.0 - idle / whole)) if whole > 0 else 0.0}

    def _memory(self) -> Fields:
        memory = psutil.virtual_memory()
        if memory.total <= 0:
            raise ValueError(f"MemTotal is {memory.total}")
        return {
            "memory_bytes": float(memory.total),
            "memory_available_bytes": float(min(memory.available, memory.total)),
        }

    def _swap(self) -> Fields:
        sizes = {}
        for line in (self._proc / "meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("SwapTotal", "SwapFree"):
                sizes[name] = float(int(rest.split()[0]) * 1024)
        return {"swap_bytes": sizes["SwapTotal"], "swap_free_bytes": min(sizes["SwapFree"], sizes["SwapTotal"])}

    def _zram(self) -> Fields:
        return {"zram_memory_bytes": float(zram_memory_bytes(self._sys / "block"))}

    def _room(self) -> Fields:
        found = os.statvfs(self._state_dir)
        if found.f_flag & os.ST_RDONLY:
            self._faults.append(HostFault("read-only", "the disk that holds the state has become read-only"))
        free = float(found.f_bavail * found.f_frsize)
        if found.f_files and found.f_favail < found.f_files * _FULL_INODES_SHARE:
            self._faults.append(HostFault("disk-full", "the disk that holds the state has no inodes left"))
        elif free <= 0.0:
            self._faults.append(HostFault("disk-full", "the disk that holds the state is full"))
        used = float((found.f_blocks - found.f_bfree) * found.f_frsize)
        return {"disk_bytes": used + free, "disk_free_bytes": free}  # as df: what is kept for root is nobody's

    def _disk(self) -> Fields:
        device = block_device_of(self._state_dir, self._sys / "dev/block")
        if device is None:
            return {}  # a file system without a disk of its own has nothing that could be busy
        name = (self._sys / "dev/block" / str(device)).resolve().name
        busy = psutil.disk_io_counters(perdisk=True, nowrap=False)[name].busy_time / 1e3
        (grown_s,) = self._since(f"disk {name}", busy)
        return {"disk_busy_share": min(1.0, grown_s / self._elapsed_s) if self._elapsed_s > 0 else 0.0}

    def _network(self) -> Fields:
        counters = psutil.net_io_counters(pernic=True, nowrap=False)
        into = out = 0.0
        for card in host_cards(self._sys / "class/net"):
            if card in counters:
                grown = self._since(f"card {card}", counters[card].bytes_recv, counters[card].bytes_sent)
                into, out = into + grown[0], out + grown[1]
        if self._elapsed_s <= 0:
            return {}
        return {"network_in_bytes_per_s": into / self._elapsed_s, "network_out_bytes_per_s": out / self._elapsed_s}

    def _kills(self) -> Fields:
        """Kills for want of the host's memory. A process that reached the limit of its own cgroup is killed, too, but
        without any allocation that stalled for the whole host."""
        text = (self._proc / "vmstat").read_text()
        killed, stalled = self._since("kills", parse_counter(text, "oom_kill"), parse_counters(text, "allocstall"))
        if killed > 0:
            what = "a process" if killed == 1 else f"{killed:.0f} processes"
            if stalled > 0:
                self._faults.append(HostFault("oom-kill", f"the kernel killed {what} for want of memory"))
            else:
                self._faults.append(HostFault("limit-kill", f"the kernel killed {what} at a memory limit of its own"))
        return {}

    def _heat(self) -> Fields:
        if self._throttles is None:
            self._throttles = throttle_counters(self._sys / "devices/system/cpu")
        (grown,) = self._since("heat", sum_of(self._throttles))
        if grown > 0:
            self._faults.append(HostFault("hot", "the processor slows down for heat"))
        return {}
