"""A schedule with phases, as scaling plans of cloud desktops have it: ramp-up, peak, ramp-down, off-peak."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from ghostdesk.allocator.policies.seam import Decision, Moment, Observed, PolicyFamily, Setting

_DAY_S = 86_400.0
_HOUR_S = 3_600.0
_PEAK_DAYS = 28


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the day.

    Args:
        name: for people.
        from_hour: when it begins, 0 to 24, local time; it lasts until the next one begins.
        share: of the buffer, 0 to 1 or more.
    """

    name: str
    from_hour: float
    share: float


OFF_PEAK = Phase("off-peak", 0.0, 0.25)
WEEKDAY = (OFF_PEAK, Phase("ramp-up", 7.0, 0.5), Phase("peak", 9.0, 1.0), Phase("ramp-down", 18.0, 0.5),
           Phase("off-peak", 22.0, 0.25))  # fmt: skip
WEEKEND = (OFF_PEAK, Phase("ramp-up", 9.0, 0.5), Phase("off-peak", 20.0, 0.25))


class SchedulePlan:
    """Holds a share of the most that was ever in use at once (last four weeks), by the phase of the day.

    Args:
        buffer: ghosts at the peak, for each of the most in use at once.
        weekday, weekend: phases in order; the first begins at 0.
        least: ghosts at the least, in every phase.
    """

    def __init__(
        self,
        buffer: float,
        weekday: tuple[Phase, ...] = WEEKDAY,
        weekend: tuple[Phase, ...] = WEEKEND,
        least: int = 1,
    ) -> None:
        if not weekday or not weekend or weekday[0].from_hour != 0.0 or weekend[0].from_hour != 0.0:
            raise ValueError("the first phase of a day has to begin at 0")
        self._buffer, self._days, self._least = buffer, (weekday, weekend), least
        self._peaks: deque[int] = deque([0], maxlen=_PEAK_DAYS)
        self._day = -1

    def grow(self, rows: int) -> None:
        """Rows do not matter."""

    def observe(self, observed: Observed) -> None:
        """The moment says all that matters."""

    def decide(self, moment: Moment) -> Decision:
        """The phase's buffer."""
        day = int((moment.now_s + moment.offset_s) // _DAY_S)
        if day != self._day:
            self._day = day
            self._peaks.append(0)
        self._peaks[-1] = max(self._peaks[-1], moment.active)
        phase = self._phase(moment.week_s)
        most = max(self._peaks)
        target = max(self._least, math.ceil(self._buffer * phase.share * most - 1e-9))
        share = self._buffer * phase.share
        return Decision(target, None, phase.name, f"{phase.name}: {share:.1%} of the {most} in use at the most")

    def _phase(self, week_s: float) -> Phase:
        phases = self._days[week_s >= 5 * _DAY_S]
        hour = week_s % _DAY_S / _HOUR_S
        return [phase for phase in phases if phase.from_hour <= hour][-1]


def _setting(buffer: float) -> Setting:
    return Setting(f"{buffer:.0%} at peak", lambda: SchedulePlan(buffer))


FAMILY = PolicyFamily(
    "schedule",
    "schedule with phases",
    "scaling plans of Azure Virtual Desktop (ramp-up, peak, ramp-down, off-peak), without its reaction to load",
    tuple(_setting(buffer) for buffer in (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15)),
    from_starts=True,
)
