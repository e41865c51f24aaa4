"""Forecasts in words that the user understands."""

from __future__ import annotations

from collections.abc import Sequence

from ghostdesk.profiles.baselines.slots import WeekSlots
from ghostdesk.profiles.baselines.weekbits import Habit
from ghostdesk.profiles.forecast import LaunchProbability

_SURE = 0.3


def arrival_reason(slots: WeekSlots, number: int, habit: Habit) -> str:
    """Why a sign-in is or is not expected around this slot of the week."""
    day, time = slots.words(number)
    if habit.weeks_known == 0:
        return f"no history of their own on {day} yet: as likely as anybody around {time}"
    weeks = "week" if habit.weeks_known == 1 else "weeks"
    last = f"the last {habit.weeks_known} {weeks}" if habit.weeks_known > 1 else "the one week known"
    if habit.weeks_with == 0:
        return f"did not sign in on {day} around {time} in {last}"
    return f"signs in on {day} around {time} ({habit.weeks_with} of {last})"


def app_reason(apps: Sequence[LaunchProbability]) -> str:
    """Which application comes next, if any stands out."""
    if not apps or apps[0].probability < _SURE:
        return ""
    return f"turns to {apps[0].app} next ({apps[0].probability:.0%} likely)"
