"""What is learnt from, what is held out, and which people stand side by side: pure, and equal for equal seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ghostdesk.kernel.errors import ConfigError

VALIDATION_SHARE: Final = 0.075
GATE_SHARE: Final = 0.075
CONTEXT: Final = 256
"""Steps before the held-out ones that are shown, not scored, so that no forecast begins in the dark."""
MOST_HELD_OUT: Final = 512
WINDOW: Final = 64
"""Steps through which errors are followed back."""
MOST_SIDE_BY_SIDE: Final = 128
STEP_BYTES: Final = 2_600
"""Memory a step of a group takes while it is in memory, measured with tracemalloc and rounded up."""
WINDOW_STEP_BYTES: Final = 24_000
"""Memory that a step of a window takes while it is learnt from, measured and rounded up."""
BASE_BYTES: Final = 330 * 2**20
"""Memory of the interpreter with torch and everything else loaded, measured and rounded up."""
LEAST_MEMORY_BYTES: Final = BASE_BYTES + 64 * 2**20


@dataclass(frozen=True, slots=True)
class Split:
    """A person's steps in the order of time: ``[0, train)`` to learn from, then validation, then the gate's.

    Args:
        train: end of the steps that are learnt from.
        validation: end of those that early stopping looks at.
        end: end of those that decide whether the model goes live.
    """

    train: int
    validation: int
    end: int

    @classmethod
    def of(cls, length: int) -> Split:
        """The split of a history of so many steps; every part has one step at least."""
        gate = min(max(round(length * GATE_SHARE), 1), MOST_HELD_OUT)
        validation = min(max(round(length * VALIDATION_SHARE), 1), MOST_HELD_OUT)
        return cls(length - validation - gate, length - gate, length)


@dataclass(frozen=True, slots=True)
class Group:
    """People who stand side by side, by number; the longest history last."""

    people: tuple[int, ...]
    steps: int


def groups(lengths: Sequence[int], memory_bytes: int, seed: int, window: int = WINDOW) -> tuple[Group, ...]:
    """Put people of like length together, within the memory that there is.

    Args:
        lengths: steps of each person that will be in memory.
        memory_bytes: that the whole process may take.
        seed: shuffles people of equal length.

    Raises:
        ConfigError: the memory is too little for anything.
    """
    if memory_bytes < LEAST_MEMORY_BYTES:
        raise ConfigError(
            f"{memory_bytes / 2**20:.0f} MiB of memory are too little to train in.",
            f"Allow {LEAST_MEMORY_BYTES / 2**20:.0f} MiB or more with --memory-mib.",
        )
    room = memory_bytes - BASE_BYTES
    order = np.lexsort((np.random.default_rng([seed, 7]).random(len(lengths)), np.asarray(lengths)))
    found: list[Group] = []
    pending: list[int] = []
    steps = 0
    for person in order.tolist():
        length = lengths[person]
        taken = (steps + length) * STEP_BYTES + (len(pending) + 1) * window * WINDOW_STEP_BYTES
        if pending and (taken > room or len(pending) >= MOST_SIDE_BY_SIDE):
            found.append(Group(tuple(pending), steps))
            pending, steps = [], 0
        pending.append(person)
        steps += length
    if pending:
        found.append(Group(tuple(pending), steps))
    return tuple(found)


def most_steps(memory_bytes: int) -> int:
    """Of one person's history so many steps fit: the latest are taken."""
    return max((memory_bytes - BASE_BYTES - WINDOW * WINDOW_STEP_BYTES) // (2 * STEP_BYTES), 1)


def order_of_groups(count: int, epoch: int, seed: int) -> tuple[int, ...]:
    """Another order in each epoch."""
    return tuple(np.random.default_rng([seed, 11, epoch]).permutation(count).tolist())
