"""What instances use, read beside the control loop: a few at a time, those first that were read longest ago.

A list of all instances with their state takes a server tens of milliseconds an instance (it enters each one's network
namespace), so 200 would take seconds; the same list without state takes a millisecond each. So a tick lists, and this
keeps up with the states behind it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

READ_AT_ONCE = 4
MOST_A_ROUND = 24
FRESH_S = 10.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What one instance used when it was last read; `read_s` is when, on a clock that only goes on."""

    memory_bytes: int = 0
    cpu_s: float = 0.0
    read_s: float = float("-inf")


NO_USAGE = Usage()


def usage_of(state: Mapping[str, Any], read_s: float) -> Usage:
    """From the API's answer; what it does not tell is 0."""
    memory = (state.get("memory") or {}).get("usage") or 0
    cpu_ns = (state.get("cpu") or {}).get("usage") or 0
    return Usage(max(int(memory), 0), max(float(cpu_ns), 0.0) / 1e9, read_s)


@dataclass(frozen=True)
class Readings:
    """The last reading of each instance, by name. A value: `kept` and `noted` give new ones."""

    of: Mapping[str, Usage] = field(default_factory=dict)

    def usage(self, name: str) -> Usage:
        """The last reading; nothing when there was none."""
        return self.of.get(name, NO_USAGE)

    def kept(self, names: Collection[str]) -> Readings:
        """Without those that are gone."""
        return Readings({name: usage for name, usage in self.of.items() if name in names})

    def noted(self, name: str, usage: Usage) -> Readings:
        """With this reading."""
        return Readings({**self.of, name: usage})

    def next_round(self, living: Collection[str], now_s: float) -> tuple[str, ...]:
        """Whom to read now: the living whose reading is old, the oldest first, at most `MOST_A_ROUND`."""
        old = [name for name in living if now_s - self.usage(name).read_s >= FRESH_S]
        return tuple(sorted(old, key=lambda name: (self.usage(name).read_s, name))[:MOST_A_ROUND])
