"""From the host's totals at some numbers of ghosts to what one more costs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Step:
    """The totals of all ghosts together, in bytes, when there were so many.

    Args:
        ghosts: how many.
        processes: of all of them.
        pss_bytes: resident, shared pages shared out among all who map them.
        swap_pss_bytes: in swap, before compression.
        zram_bytes: the RAM that zram took since before the first.
        kernel_bytes: what the kernel holds for their cgroups: page tables, stacks, slab, sockets.
        available_lost_bytes: by how much the host's MemAvailable fell; all that happens on the host is in it.
    """

    ghosts: int
    processes: int
    pss_bytes: int
    swap_pss_bytes: int
    zram_bytes: int
    kernel_bytes: int
    available_lost_bytes: int

    @property
    def ram_bytes(self) -> int:
        """All the RAM that can be laid to their account."""
        return self.pss_bytes + self.zram_bytes + self.kernel_bytes


@dataclass(frozen=True, slots=True)
class Cost:
    """A straight line through the totals.

    Args:
        marginal_bytes: what one more takes.
        shared_bytes: what all share: files in the page cache that everyone maps.
        up_to: the largest number that was measured; everything beyond is extrapolated.
    """

    marginal_bytes: float
    shared_bytes: float
    up_to: int

    def fit_in(self, memory_bytes: float) -> int:
        """How many fit."""
        return max(0, int((memory_bytes - self.shared_bytes) // self.marginal_bytes)) if self.marginal_bytes > 0 else 0

    def take(self, ghosts: int) -> float:
        """What so many take, in bytes."""
        return self.shared_bytes + ghosts * self.marginal_bytes


def cost_of(steps: Sequence[Step]) -> Cost | None:
    """Least squares over the steps; None with fewer than two different numbers of ghosts."""
    counts = np.array([step.ghosts for step in steps], dtype=float)
    if len(set(counts.tolist())) < 2:
        return None
    slope, base = np.polyfit(counts, np.array([step.ram_bytes for step in steps], dtype=float), 1)
    return Cost(float(slope), max(0.0, float(base)), int(counts.max()))
