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
_STEPS_IN_ALL: Final = 4_000_000
MOST_SIDE_BY_SIDE: Final = 128
BASE_BYTES: Final = 390 * 2**20
STEP_BYTES: Final = 1_400
_WINDOW_STEP_BYTES: Final = 45_000
_WINDOW_UNIT_BYTES: Final = 80
"""Memory of the process with torch and everything else loaded; of a step of a group; of a step of a window while it is
learnt from, and of each unit there. Resident memory was measured with 30 and 60 people of 400 and 1,500 steps."""
LEAST_MEMORY_BYTES: Final = BASE_BYTES + 58 * 2**20


@dataclass(frozen=True, slots=True)
class Room:
    """Memory to train in.

    Args:
        memory_bytes: that the whole process may take.
        hidden: units of the model.

    Raises:
        ConfigError: it is too little for anything.
    """

    memory_bytes: int
    hidden: int = 64

    def __post_init__(self) -> None:
        if self.memory_bytes < LEAST_MEMORY_BYTES:
            raise ConfigError(
                f"{self.memory_bytes / 2**20:.0f} MiB of memory are too little to train in.",
                f"Allow {LEAST_MEMORY_BYTES / 2**20:.0f} MiB or more with --memory-mib.",
            )

    @property
    def free_bytes(self) -> int:
        """What is left for history."""
        return self.memory_bytes - BASE_BYTES

    def person_bytes(self, steps: int) -> int:
        """What one more person with so many steps takes."""
        window = WINDOW * (_WINDOW_STEP_BYTES + self.hidden * _WINDOW_UNIT_BYTES)
        return steps * STEP_BYTES + window

    def most_steps(self) -> int:
        """Of one person's history so many steps fit: the latest are taken."""
        return max((self.free_bytes - self.person_bytes(0)) // (2 * STEP_BYTES), WINDOW)


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


def groups(lengths: Sequence[int], room: Room, seed: int) -> tuple[Group, ...]:
    """Put people of like length together, within the memory that there is.

    Args:
        lengths: steps of each person that will be in memory.
        room: the memory.
        seed: shuffles people of equal length.
    """
    order = np.lexsort((np.random.default_rng([seed, 7]).random(len(lengths)), np.asarray(lengths)))
    found: list[Group] = []
    pending: list[int] = []
    steps = taken = 0
    for person in order.tolist():
        more = room.person_bytes(lengths[person])
        if pending and (taken + more > room.free_bytes or len(pending) >= MOST_SIDE_BY_SIDE):
            found.append(Group(tuple(pending), steps))
            pending, steps, taken = [], 0, 0
        pending.append(person)
        steps += lengths[person]
        taken += more
    if pending:
        found.append(Group(tuple(pending), steps))
    return tuple(found)


def order_of_groups(count: int, epoch: int, seed: int) -> tuple[int, ...]:
    """Another order in each epoch."""
    return tuple(np.random.default_rng([seed, 11, epoch]).permutation(count).tolist())


def epochs_for(steps: int) -> int:
    """How many passes at most when nobody says: few over a long history, more over a short one."""
    return min(max(round(_STEPS_IN_ALL / max(steps, 1)), 2), 12)
