"""SYNTHETIC people of a large office, and what a forecast that knows their habits says of them.

Everybody has a usual time to come, comes within some minutes of it on most days, stays for hours, and comes back after
a while. Nobody in it exists. The forecast is told these habits: how good forecasts are is measured elsewhere; this one
costs what a good one has to say to the planner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.kernel.resources import MIB, Resources
from ghostdesk.profiles.baselines.hour_of_week import Outlook
from ghostdesk.profiles.forecast import ArrivalCurve, LaunchProbability, UsageCurve
from ghostdesk.telemetry.events import UsageEvent
from ghostdesk.telemetry.history import History

Floats = npt.NDArray[np.float64]
SLOT_S, SLOTS = 300.0, 24
_GRAIN_S = 10.0
_REACH = 6.0
"""Deviations from the usual time that the table of hazards covers."""
_APPS = tuple(AppId(f"synthetic-app-{n}") for n in range(12))
_NEEDS = Resources(cpu_cores=0.5, memory_bytes=400.0 * MIB, network_bytes_per_s=2e5, storage_bytes_per_s=1e6)


@dataclass(frozen=True, slots=True)
class Habits:
    """How synthetic people live.

    Args:
        rush_s: spread of usual times over the people; most are in the middle, which is when the simulation begins.
        punctual_s: spread of one person's times around their usual one.
        come: share of people who come on a day.
        stay_s, break_s: mean time at the desktop, and away from it before coming back.
    """

    rush_s: float = 2700.0
    punctual_s: float = 600.0
    come: float = 0.8
    stay_s: float = 14_400.0
    break_s: float = 3600.0


class SyntheticPeople:
    """Who comes when, drawn from a seed, and whether they are there.

    Args:
        count: how many.
        habits: how they live.
        start_s: the middle of the rush, UTC seconds.
        seed: equal seeds give equal people.
    """

    def __init__(self, count: int, habits: Habits, start_s: float, seed: int) -> None:
        self.habits, self.start_s = habits, start_s
        self.names: tuple[UserId, ...] = tuple(UserId(f"synthetic-{n}") for n in range(count))
        self.row = {name: n for n, name in enumerate(self.names)}
        self._draw = np.random.default_rng([seed, 7])
        self.usual_s: Floats = start_s + self._draw.normal(0.0, habits.rush_s, count)
        self.next_s: Floats = self.usual_s + self._draw.normal(0.0, habits.punctual_s, count)
        """When each comes next; infinite for nobody who comes."""
        self.next_s[self._draw.random(count) >= habits.come] = np.inf
        self.there = self.next_s <= start_s
        self.been = self.there.copy()
        self.next_s[self.there] = np.inf

    def stay_s(self) -> float:
        """How long somebody stays."""
        return float(self._draw.exponential(self.habits.stay_s))

    def arrived(self, user: UserId) -> None:
        """They are there."""
        row = self.row[user]
        self.there[row] = self.been[row] = True

    def left(self, user: UserId) -> float:
        """They are gone; how long they stay away, in seconds."""
        self.there[self.row[user]] = False
        return float(self._draw.exponential(self.habits.break_s))


class HabitForecast:
    """A `ProfileEngine` that was told the habits of `SyntheticPeople`: chances for two hours in steps of 5 min."""

    def __init__(self, people: SyntheticPeople) -> None:
        self._people = people
        habits = people.habits
        reach_s = _REACH * habits.punctual_s + SLOT_S
        self._first_s = -reach_s
        offsets = np.arange(-reach_s, reach_s + _GRAIN_S, _GRAIN_S)
        erf = np.vectorize(math.erf)
        scale = habits.punctual_s * math.sqrt(2.0)
        before = habits.come * 0.5 * (1.0 + erf(offsets / scale))
        after = habits.come * 0.5 * (1.0 + erf((offsets + SLOT_S) / scale))
        self._hazard: Floats = (after - before) / np.maximum(1.0 - before, 1e-9)
        self._again = 1.0 - math.exp(-SLOT_S / habits.break_s)
        self._steps = np.rint(np.arange(SLOTS) * SLOT_S / _GRAIN_S).astype(np.int64)
        self._at_s, self._hazards = float("nan"), np.zeros((0, SLOTS))

    def fit(self, history: History, now_s: float) -> None:
        """Nothing is learnt: the habits are known."""

    def observe(self, event: UsageEvent) -> None:
        """Nothing is learnt."""

    def forget(self, user: UserId) -> None:
        """Nobody exists."""

    def users(self) -> Sequence[UserId]:
        """All of them."""
        return self._people.names

    def outlook(self, now_s: float) -> Outlook:
        """Everyone's chances, and a newcomer's, who never comes, in the last row."""
        return Outlook(self._all(now_s), np.zeros((0, SLOTS)))

    def predict_resource_needs(self, user: UserId, now_s: float) -> UsageCurve:
        """One person's curve."""
        row = self._people.row[user]
        there = bool(self._people.there[row])
        apps = (LaunchProbability(_APPS[row % 5], 0.45), LaunchProbability(_APPS[5 + row % 7], 0.3))
        return UsageCurve(
            user, now_s, SLOT_S, tuple(self._all(now_s)[row].tolist()), (float(there),) * SLOTS, apps, _NEEDS,
            ("is there now" if there else "a synthetic habit",), _NEEDS,
        )  # fmt: skip

    def usage_curve(self, user: UserId, now_s: float, horizon_s: float, slot_s: float) -> UsageCurve:  # noqa: ARG002
        """The same curve: nobody looks at another."""
        return self.predict_resource_needs(user, now_s)

    def predict_arrivals(self, now_s: float, horizon_s: float) -> ArrivalCurve:
        """Everyone's together."""
        steps = max(1, min(SLOTS, round(horizon_s / SLOT_S)))
        hazards = self._all(now_s)[:, :steps]
        absent = np.cumprod(1.0 - hazards, axis=1)
        expected = np.concatenate((hazards[:, :1], hazards[:, 1:] * absent[:, :-1]), axis=1).sum(0)
        return ArrivalCurve(now_s, SLOT_S, tuple(expected.tolist()), dispersion=1.2)

    def _all(self, now_s: float) -> Floats:
        """Hazards at this moment, shape (people + 1, steps); worked out once for each."""
        if self._at_s != now_s:
            people = self._people
            first = np.rint((now_s - people.usual_s - self._first_s) / _GRAIN_S).astype(np.int64)
            at = np.clip(first[:, None] + self._steps, 0, len(self._hazard) - 1)
            hazards = np.zeros((len(people.names) + 1, SLOTS))
            hazards[:-1] = self._hazard[at]
            hazards[:-1][people.been] = self._again
            hazards[:-1][people.there] = 0.0
            self._at_s, self._hazards = now_s, hazards
        return self._hazards
