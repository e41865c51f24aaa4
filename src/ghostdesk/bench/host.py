"""Which machine the figures are of, when they were taken, and how: no figure goes without."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where figures come from.

    Args:
        cpu: the processor's name.
        cores: logical processors that this program may use.
        memory_bytes: of the machine.
        kernel: name and release.
        date: when, as the caller says (ISO 8601).
        command: what was run.
        synthetic: true when any of it was not measured on real desktops.
    """

    cpu: str
    cores: int
    memory_bytes: int
    kernel: str
    date: str
    command: str
    synthetic: bool = False

    def line(self) -> str:
        """One line for under a table or a plot."""
        kind = "SYNTHETIC, not measured on real desktops. " if self.synthetic else ""
        memory_gib = self.memory_bytes / 1024**3
        return f"{kind}{self.cpu}, {self.cores} cores, {memory_gib:.0f} GiB, {self.kernel}; {self.date}; {self.command}"


def this_host(*, date: str, command: str) -> Provenance:
    """The facts of this machine."""
    cores = len(os.sched_getaffinity(0))
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    kernel = f"{platform.system()} {platform.release()}"
    return Provenance(cpu_name(_read("/proc/cpuinfo")), cores, memory_bytes, kernel, date, command)


def cpu_name(cpuinfo: str) -> str:
    """The processor's name out of `/proc/cpuinfo`; the architecture where it has none."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Model", "Hardware"} and value.strip():
            return value.strip()
    return platform.machine()


def provenance_json(provenance: Provenance) -> dict[str, Any]:
    """As written in every report's JSON under "provenance"."""
    return asdict(provenance)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
