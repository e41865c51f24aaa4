"""The seam of policies: what one is told, what it is asked, and what it answers.

A policy lives through time: it is told what happened since the last moment (`observe`), and then asked what to hold
from this moment until the next (`decide`). It sees the past and the present alone; it reads no clock and does no I/O.
The same file serves the running control loop, `ghostdesk replay` and `ghostdesk evaluate pool | desktops`.

*Rows* are whoever comes back: people, or shared desktops, by number. A policy may hold ghosts for anybody (`target`),
for single rows (`warm`), or both. Where ghosts are shared by all and a policy speaks of rows alone, as many are held
as rows would be warm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ghostdesk.profiles.baselines.slots import MONDAY_S, WEEK_S

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NONE_STARTED: Ints = np.zeros(0, dtype=np.int64)
NO_TIMES: Floats = np.zeros(0)


@dataclass(frozen=True, slots=True)
class Observed:
    """What happened from one moment to the next.

    Args:
        from_s, to_s: the time that passed (UTC seconds); starts and ends lie in it.
        started, started_s: rows whose use started and when, shape (starts,), in the order of time.
        ended, ended_s: rows whose use ended and when, shape (ends,), in the order of time.
        misses: how many of the starts found nothing ready.
    """

    from_s: float
    to_s: float
    started: Ints = field(default_factory=lambda: NONE_STARTED)
    started_s: Floats = field(default_factory=lambda: NO_TIMES)
    ended: Ints = field(default_factory=lambda: NONE_STARTED)
    ended_s: Floats = field(default_factory=lambda: NO_TIMES)
    misses: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """The present, as far as anybody can know it.

    Args:
        now_s: UTC seconds.
        offset_s: local time minus UTC.
        until_s: when the policy will be asked again, at the latest.
        lead_s: how long a new ghost takes until it is ready: the mean of what was measured here.
        lead_spread: standard deviation of the logarithm of that time; 0 where it always takes the same.
        ready, coming, active: ghosts that wait, that are being made, and that are in use.
        idle_s: seconds since the use of each row ended, shape (rows,): infinite where no use is known, NaN in use.
        row_offset_s: local time minus UTC of each row, shape (rows,), where people live in several zones; else None.
    """

    now_s: float
    offset_s: float
    until_s: float
    lead_s: float
    lead_spread: float
    ready: int
    coming: int
    active: int
    idle_s: Floats
    row_offset_s: Floats | None = None

    @property
    def week_s(self) -> float:
        """Seconds since the local Monday's midnight."""
        return (self.now_s + self.offset_s + MONDAY_S) % WEEK_S

    @property
    def week(self) -> int:
        """Number of the local week since 1970; they begin on Mondays."""
        return int((self.now_s + self.offset_s + MONDAY_S) // WEEK_S)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to hold until the next moment.

    Args:
        target: ghosts for anybody, those that are being made included; one that is taken is replaced at once.
        warm: rows that get a ghost of their own, shape (rows,); None for none.
        code: why, for scripts and counters: one of a few stable words.
        why: why, for people.
    """

    target: int
    warm: Flags | None
    code: str
    why: str


class Policy(Protocol):
    """Decides what to hold. One instance lives through one history."""

    def grow(self, rows: int) -> None:
        """There are so many rows from now on; their number never falls."""
        ...

    def observe(self, observed: Observed) -> None:
        """Learn what happened since the last moment."""
        ...

    def decide(self, moment: Moment) -> Decision:
        """What to hold from now on."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """A policy with its parameter chosen.

    Args:
        label: the parameter, for tables: "5 ghosts".
        make: a new instance that has seen nothing.
    """

    label: str
    make: Callable[[], Policy]


@dataclass(frozen=True, slots=True)
class PolicyFamily:
    """One policy with the range of its parameter: a curve of cost against misses, never a single point.

    Args:
        name: what operators write in settings and on the command line: "static".
        title: what tables show: "static pool".
        source: where it comes from (paper or product).
        settings: in the order of rising cost.
        together: new instances for all settings that share what they learn when they live through the same history side
            by side (told and asked in turn); None where there is nothing to share. They decide as they would alone.
        from_starts: whether it knows nothing but who came and left when. What became of its own decisions is nothing to
            it, so that a long time may be replayed in parts side by side, each learnt from all that was before.
    """

    name: str
    title: str
    source: str
    settings: Sequence[Setting]
    together: Callable[[], Sequence[Policy]] | None = None
    from_starts: bool = False
