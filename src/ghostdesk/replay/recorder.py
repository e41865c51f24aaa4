"""Writes down what happens to ghosts while the loop runs, as plain arrays."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ghostdesk.ghosts.commands import Outcome
from ghostdesk.ghosts.events import GhostEvent
from ghostdesk.ghosts.ghost import Ghost, GhostState
from ghostdesk.ghosts.lifecycle import Step
from ghostdesk.kernel.clock import Clock
from ghostdesk.kernel.ids import GhostId
from ghostdesk.profiles.arrivals.seam import Floats, Ints


class Phase(IntEnum):
    """Where a ghost is, as far as costs go."""

    GONE = 0
    BOOTING = 1
    READY = 2
    WARM = 3
    PARKED = 4
    ACTIVE = 5
    DRAINING = 6


_PHASE = {
    GhostState.ABSENT: Phase.GONE,
    GhostState.CACHED: Phase.BOOTING,
    GhostState.READY: Phase.READY,
    GhostState.WARM: Phase.WARM,
    GhostState.PARKED: Phase.PARKED,
    GhostState.ACTIVE: Phase.ACTIVE,
    GhostState.DRAINING: Phase.DRAINING,
}
NEVER = float("inf")


@dataclass(frozen=True)
class Recording:
    """What happened.

    Args:
        change_s, before, after: when ghosts changed and between which `Phase`s, shape (changes,), in the order of time.
        start_s, claimed_s, served_s: when people came, when a ghost became theirs, and when they had their desktop
            (infinite: never), shape (starts,), in the order in which they were served.
        found: whether a ghost was ready for them, shape (starts,).
    """

    change_s: Floats
    before: Ints
    after: Ints
    start_s: Floats
    claimed_s: Floats
    served_s: Floats
    found: Ints


class Recorder:
    """Listens to the executor, and is told of every start."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now: dict[GhostId, int] = {}
        self._change_s, self._before, self._after = array("d"), array("b"), array("b")
        self._start_s, self._claimed_s, self._served_s = array("d"), array("d"), array("d")
        self._found = array("b")

    def on_change(self, step: Step, _event: GhostEvent, _outcomes: Sequence[Outcome]) -> None:
        """A ghost took a step."""
        ghost: Ghost = step.ghost
        after = int(_PHASE[ghost.state])
        before = self._now.get(ghost.ghost, 0)
        if before == after:
            return
        self._change_s.append(self._clock.now_s())
        self._before.append(before)
        self._after.append(after)
        if after:
            self._now[ghost.ghost] = after
        else:
            del self._now[ghost.ghost]

    def served(self, start_s: float, claimed_s: float, served_s: float, *, found: bool) -> None:
        """Somebody who came at `start_s` had their desktop at `served_s`."""
        self._start_s.append(start_s)
        self._claimed_s.append(claimed_s)
        self._served_s.append(served_s)
        self._found.append(found)

    def recording(self) -> Recording:
        """All of it."""
        return Recording(
            np.array(self._change_s, dtype=np.float64),
            np.array(self._before, dtype=np.int64),
            np.array(self._after, dtype=np.int64),
            np.array(self._start_s, dtype=np.float64),
            np.array(self._claimed_s, dtype=np.float64),
            np.array(self._served_s, dtype=np.float64),
            np.array(self._found, dtype=np.int64),
        )
