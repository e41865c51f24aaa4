"""What the calendars of a synthetic organisation say: holidays, terms, absences, meetings, classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ghostdesk.replay.synthetic.draws import Draws, Floats, Ints
from ghostdesk.replay.synthetic.figures_starts import SHORT_TERM_DAYS
from ghostdesk.replay.synthetic.people import People
from ghostdesk.replay.synthetic.scenarios import (
    ClassScenario,
    FireDrill,
    HolidayScenario,
    MondayStorm,
    NewStaff,
    Scenario,
)

Flags = npt.NDArray[np.bool_]

HOLIDAYS_A_YEAR = 12
AWAY_SHARE = 0.05
"""Share of weeks that a person is out of office."""
MOST_MEETINGS = 3
"""Series of meetings of one person at most: one more for each step of the job role."""
_TERM_WEEKS = ((2, 19), (20, 32), (34, 51))
"""Terms, in weeks of a year of 52 that begins with the history: first, and first after."""
_TEAM = 60
_MEETING_S = (1_800.0, 2_700.0, 3_600.0)


@dataclass(frozen=True)
class Agenda:
    """The calendars of everyone, worked out where they are asked for.

    Args:
        seed: of the history.
        users: how many people there are.
        days: how many days.
        scenarios: what was asked for; checked.
    """

    seed: int
    users: int
    days: int
    scenarios: tuple[Scenario, ...] = ()

    @cached_property
    def holidays(self) -> frozenset[int]:
        """Days (from 0) on which hardly anybody works."""
        rng = np.random.default_rng([self.seed, 0])
        count = rng.binomial(self.days, HOLIDAYS_A_YEAR / 365.0)
        asked = {one.day for one in self.scenarios if isinstance(one, HolidayScenario)}
        return frozenset(rng.choice(self.days, size=count, replace=False).tolist()) | asked

    @cached_property
    def is_holiday(self) -> Flags:
        """The same, shape (days,)."""
        return np.isin(np.arange(self.days), list(self.holidays))

    @cached_property
    def terms(self) -> tuple[tuple[int, int], ...]:
        """First and last day (from 0) of each term that begins within the history."""
        years = range(self.days // 364 + 1)
        found = [(year * 364 + 7 * a, year * 364 + 7 * b - 3) for year in years for a, b in _TERM_WEEKS]
        return tuple(term for term in found if term[0] < self.days)

    @cached_property
    def in_term(self) -> Flags:
        """Whether each day lies in a term, shape (days,)."""
        return self._within(self.terms)

    @cached_property
    def in_short_term(self) -> Flags:
        """Whether each day lies in a short term (the summer's), shape (days,)."""
        return self._within(tuple(term for term in self.terms if term[1] - term[0] <= SHORT_TERM_DAYS))

    def _within(self, terms: tuple[tuple[int, int], ...]) -> Flags:
        day = np.arange(self.days)
        return np.asarray(np.any([(day >= first) & (day <= last) for first, last in terms] or [day < 0], axis=0))

    @cached_property
    def drills(self) -> tuple[FireDrill, ...]:
        """In the order of time."""
        return tuple(sorted((s for s in self.scenarios if isinstance(s, FireDrill)), key=lambda drill: drill.at_s))

    @property
    def storms(self) -> bool:
        """Whether everybody comes at once on Mondays."""
        return any(isinstance(one, MondayStorm) for one in self.scenarios)

    @cached_property
    def classes(self) -> tuple[tuple[ClassScenario, Ints], ...]:
        """Each class with the numbers of its members, in order."""
        found = []
        for number, one in enumerate(s for s in self.scenarios if isinstance(s, ClassScenario)):
            rng = np.random.default_rng([self.seed, 3, number])
            members = rng.choice(self.users, size=one.people, replace=False)
            found.append((one, np.sort(members.astype(np.int64))))
        return tuple(found)

    def first_days(self, index: Ints) -> Ints:
        """The first day of each person; 0 for those who were there before."""
        first = np.zeros(len(index), dtype=np.int64)
        until = self.users
        for one in self.scenarios:
            if isinstance(one, NewStaff):
                first[(index >= until - one.people) & (index < until)] = one.day
                until -= one.people
        return first

    def away(self, index: Ints) -> Flags:
        """Whether each person is out of office on each day, shape (people, days): whole weeks, Monday to Friday."""
        week = np.arange(self.days) // 7
        weeks = np.arange(week[-1] + 1)
        out = Draws(self.seed, "away").uniform(index[:, None], weeks[None, :]) < AWAY_SHARE
        return np.asarray(out[:, week] & (np.arange(self.days) % 7 < 5)[None, :])

    def meetings(self, people: People) -> Meetings:
        """The weekly series that each person is invited to; teams share them."""
        draws, series = Draws(self.seed, "meetings"), np.arange(MOST_MEETINGS)[None, :]
        team = (people.index // _TEAM * 64 + people.department)[:, None]
        weekday = (draws.uniform(team, series, 0) * 5).astype(np.int64)
        start_s = 1_800.0 * np.floor(19.0 + 13.0 * draws.uniform(team, series, 1))
        length_s = np.asarray(_MEETING_S)[(draws.uniform(team, series, 2) * len(_MEETING_S)).astype(np.int64)]
        return Meetings(weekday, start_s, length_s, series <= people.job_role[:, None])


@dataclass(frozen=True, slots=True)
class Meetings:
    """Weekly series, all of shape (people, `MOST_MEETINGS`): weekday, second of the day, seconds, whether invited."""

    weekday: Ints
    start_s: Floats
    length_s: Floats
    invited: Flags
