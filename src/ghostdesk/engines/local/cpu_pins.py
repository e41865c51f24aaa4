"""Which cores a desktop is pinned to, where pinning is asked for: pure.

Off by default. A quota of whole cores lets a desktop run wherever a core is free; a pin keeps it waiting for its own
core while others are idle, and a ghost that is claimed must be unpinned first. It pays on large machines with several
memory nodes or caches, and where software is licensed by core.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable


def parse_cpus(text: str) -> frozenset[int]:
    """Cores as the kernel lists them, such as "0-2,5" (cpuset(7)); raises `ValueError` for anything else."""
    cores: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cores.update(range(int(first), int(last or first) + 1))
    return frozenset(cores)


def format_cpus(cores: Iterable[int]) -> str:
    """The same the other way, as single numbers: "0,1,2,5"."""
    return ",".join(str(core) for core in sorted(cores))


def choose(cpu_cores: float, allowed: Collection[int], taken: Iterable[Collection[int]]) -> frozenset[int]:
    """The cores for a desktop: those that the fewest others are pinned to, then those with the lowest numbers.

    Args:
        cpu_cores: its limit. Only a whole number of cores, at least one and fewer than all, is pinned.
        allowed: cores there are.
        taken: the cores of each other desktop that is pinned.

    Returns:
        The cores; all that are allowed where nothing is to be pinned.
    """
    if cpu_cores < 1 or cpu_cores != int(cpu_cores) or cpu_cores >= len(allowed):
        return frozenset(allowed)
    load = dict.fromkeys(sorted(allowed), 0)
    for cores in taken:
        for core in cores:
            if core in load:
                load[core] += 1
    return frozenset(sorted(load, key=lambda core: (load[core], core))[: int(cpu_cores)])
