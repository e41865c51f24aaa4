"""Slots of the local week: time as a person's habits see it."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.errors import ConfigError

DAY_S = 86_400
WEEK_S = 7 * DAY_S
EARLIEST_S = 0.0
LATEST_S = 4_102_444_800.0
"""1970 and 2100: times outside are a broken clock, not a habit."""
MONDAY_S = 3 * DAY_S
"""1970-01-01 was a Thursday: so many seconds after a Monday."""
_OFFSET_STEP_S = 900
"""Zones change their offset at whole quarters of an hour of UTC."""
DAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


def sane(time_s: float) -> bool:
    """Whether this can be the time of a real event."""
    return EARLIEST_S <= time_s <= LATEST_S


@lru_cache(maxsize=65_536)
def _offset_s(zone: ZoneInfo, step: int) -> float:
    offset = datetime.fromtimestamp(step * _OFFSET_STEP_S, zone).utcoffset()
    return offset.total_seconds() if offset is not None else 0.0


class WeekSlots:
    """Numbers the slots of local time since Monday, 1969-12-29.

    Args:
        timezone: an IANA name, such as "Europe/Berlin"; raises `ConfigError` when it is unknown.
        slot_s: length of a slot; a day has to be a whole number of them.
    """

    def __init__(self, timezone: str, slot_s: int) -> None:
        try:
            self._zone = ZoneInfo(timezone)
        except (KeyError, ValueError, OSError):
            raise ConfigError(f"{timezone!r} is no time zone.", "Use an IANA name such as Europe/Berlin.") from None
        if slot_s <= 0 or DAY_S % slot_s:
            raise ConfigError(f"A day is not a whole number of slots of {slot_s} s.", "Use 900, 1800 or 3600.")
        self.slot_s = slot_s
        self.a_day = DAY_S // slot_s
        self.a_week = WEEK_S // slot_s

    def number(self, time_s: float) -> int:
        """The slot's number; times before 1970 and after 2100 are taken as 1970 and 2100."""
        return int(self.local_s(time_s) // self.slot_s)

    def local_s(self, time_s: float) -> float:
        """Seconds of local time since Monday, 1969-12-29, 00:00; times before 1970 and after 2100 as in `number`."""
        clamped = min(max(time_s, EARLIEST_S), LATEST_S)
        return clamped + _offset_s(self._zone, int(clamped // _OFFSET_STEP_S)) + MONDAY_S

    def clock(self, time_s: float) -> tuple[int, float]:
        """Local weekday (0 is Monday) and hour of the day (0 to 24)."""
        local_s = self.local_s(time_s)
        return int(local_s // DAY_S) % 7, (local_s % DAY_S) / 3600.0

    def fraction(self, time_s: float) -> float:
        """How much of the slot has passed at this time, 0 to 1."""
        return (self.local_s(time_s) % self.slot_s) / self.slot_s

    def pieces(self, now_s: float, horizon_s: float, slot_s: float) -> tuple[npt.NDArray[np.int64], float]:
        """Cut a horizon into steps of `slot_s`, and each into pieces of a sixth of a slot of the week at most.

        Returns:
            Slot numbers at the pieces' middles, shape (steps, pieces a step), and a piece's length in week slots.
        """
        steps = max(1, min(int(np.ceil(horizon_s / slot_s - 1e-9)), 10_000))
        a_step = max(1, int(np.ceil(6.0 * slot_s / self.slot_s - 1e-9)))
        piece_s = slot_s / a_step
        numbers = [self.number(now_s + (i + 0.5) * piece_s) for i in range(steps * a_step)]
        return np.array(numbers, dtype=np.int64).reshape(steps, a_step), piece_s / self.slot_s

    def words(self, number: int) -> tuple[str, str]:
        """The slot's weekday and time of day, such as ("Mondays", "09:00")."""
        slot = number % self.a_week
        minutes = (slot % self.a_day) * self.slot_s // 60
        return DAYS[slot // self.a_day], f"{minutes // 60:02d}:{minutes % 60:02d}"
