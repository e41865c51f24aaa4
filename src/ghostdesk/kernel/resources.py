"""The five resources that ghostdesk hands out, each with its unit."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum


class Priority(StrEnum):
    """Who comes first where desktops compete for the same resource."""

    GHOST = "ghost"
    """Gets what people leave, and yields at once."""
    PERSON = "person"
    """Somebody works in it: never starved by ghosts."""


@dataclass(frozen=True, slots=True)
class Resources:
    """An amount of each resource: a demand, a limit, a capacity or what is left of one."""

    cpu_cores: float = 0.0
    memory_bytes: float = 0.0
    gpu_share: float = 0.0
    network_bytes_per_s: float = 0.0
    storage_bytes_per_s: float = 0.0

    def __post_init__(self) -> None:
        # A sum is not a number when one of them is not, or for infinities: only then is it worth looking closer.
        if math.isnan(sum(self.as_tuple())):
            for field in fields(self):
                if math.isnan(getattr(self, field.name)):
                    raise ValueError(f"{field.name} is not a number")

    def __add__(self, other: Resources) -> Resources:
        return Resources(*(a + b for a, b in zip(self.as_tuple(), other.as_tuple(), strict=True)))

    def __sub__(self, other: Resources) -> Resources:
        return Resources(*(a - b for a, b in zip(self.as_tuple(), other.as_tuple(), strict=True)))

    def scaled(self, factor: float) -> Resources:
        """Every amount times `factor`."""
        return Resources(*(a * factor for a in self.as_tuple()))

    def fits_in(self, room: Resources) -> bool:
        """Whether no amount exceeds the one in `room`."""
        return all(a <= b + 1e-9 for a, b in zip(self.as_tuple(), room.as_tuple(), strict=True))

    def as_tuple(self) -> tuple[float, float, float, float, float]:
        """CPU cores, memory bytes, GPU share, network bytes/s, storage bytes/s, in this order."""
        return (self.cpu_cores, self.memory_bytes, self.gpu_share, self.network_bytes_per_s, self.storage_bytes_per_s)


NOTHING = Resources()
MIB = 1024 * 1024
GIB = 1024 * MIB
