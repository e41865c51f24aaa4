"""The account of what a host drew, measured and modelled apart, and of what sleeping hosts did not draw. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ghostdesk.kernel.conditions import PowerReading

LONGEST_GAP_S = 120.0
"""Between two readings that lie further apart, nobody knows what was drawn: it is counted as unknown, not guessed."""
_MOST_W = 1e5


@dataclass(frozen=True, slots=True)
class EnergyAccount:
    """Energy so far; `add` gives the next one.

    Args:
        since_s: when it was opened, UTC seconds.
        measured_j, modelled_j: what was drawn, by sensors and by a model.
        saved_j: what suspended hosts would have drawn awake, less what they drew asleep and what waking them took.
        known_s, unknown_s: time that is accounted for, and time without readings.
        last_s, last_w, last_modelled: the latest reading; None and NaN before the first.
    """

    since_s: float
    measured_j: float = 0.0
    modelled_j: float = 0.0
    saved_j: float = 0.0
    known_s: float = 0.0
    unknown_s: float = 0.0
    last_s: float | None = None
    last_w: float = math.nan
    last_modelled: bool = True

    def add(self, now_s: float, reading: PowerReading | None, *, saved_w: float = 0.0) -> EnergyAccount:
        """A reading at `now_s`; the time since the one before counts with the mean of both.

        Args:
            now_s: UTC seconds; a clock that went back starts a new stretch and takes nothing away.
            reading: None where nothing says, or what it says cannot be believed.
            saved_w: what hosts that sleep save at present.
        """
        watts = reading.power_w if reading is not None and 0.0 <= reading.power_w < _MOST_W else math.nan
        modelled = reading.modelled if reading is not None else True
        fresh = replace(self, last_s=now_s, last_w=watts, last_modelled=modelled)
        if self.last_s is None or now_s <= self.last_s:
            return fresh
        passed_s = now_s - self.last_s
        # What is not a number is not equal to itself.
        if passed_s > LONGEST_GAP_S or watts != watts or self.last_w != self.last_w:  # noqa: PLR0124
            return replace(fresh, unknown_s=self.unknown_s + passed_s)
        drawn_j = passed_s * (watts + self.last_w) / 2.0
        if modelled or self.last_modelled:
            fresh = replace(fresh, modelled_j=self.modelled_j + drawn_j)
        else:
            fresh = replace(fresh, measured_j=self.measured_j + drawn_j)
        return replace(fresh, known_s=self.known_s + passed_s, saved_j=self.saved_j + passed_s * saved_w)

    def spend(self, energy_j: float) -> EnergyAccount:
        """A suspend and a wake took so much of what sleeping saved."""
        return replace(self, saved_j=self.saved_j - energy_j)
