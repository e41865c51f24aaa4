"""When has an application that starts hidden painted its window? When it neither draws nor computes any more."""

from __future__ import annotations

from dataclasses import dataclass

LOOK_EVERY_S = 0.1
QUIET_S = 0.3
MAX_S = 12.0
BUSY_SHARE = 0.15
"""Share of a core below which an application counts as idle: a clock or a caret may go on."""


@dataclass(slots=True)
class Settling:
    """What has been seen of one application since its main window was mapped. Times are seconds of any steady clock.

    Args:
        mapped_s: when its main window appeared.
        drawn_s: when it last drew.
        ticks: its CPU time at `quiet_from_s`, in ticks.
        quiet_from_s: since when its CPU time is being compared.
    """

    mapped_s: float
    drawn_s: float
    ticks: int
    quiet_from_s: float

    def look(self, now_s: float, ticks: int, ticks_per_s: int) -> bool:
        """Whether it is done: quiet for `QUIET_S`, or `MAX_S` have passed."""
        if now_s - self.mapped_s >= MAX_S:
            return True
        span_s = now_s - self.quiet_from_s
        if span_s >= LOOK_EVERY_S and (ticks - self.ticks) / ticks_per_s > BUSY_SHARE * max(span_s, QUIET_S):
            self.ticks, self.quiet_from_s = ticks, now_s
            return False
        return now_s - self.drawn_s >= QUIET_S and span_s >= QUIET_S
