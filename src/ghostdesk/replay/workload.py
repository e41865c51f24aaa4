"""A SYNTHETIC history of an imaginary organisation: for measuring cost, and for tests that need many people.

Nothing in it was observed. Every event has the source "synthetic", and every user's name begins with it, so that no
figure got from it can pass for one of real people. How well a forecast does on it says little of how well it does on
people: the habits were made by rules that are simpler than habits are.

What it has: departments and job roles with their own applications, popularity by Zipf's law (Zipf 1949), a personal
first-order Markov chain mixed with recency (the short-term memory of Anderson et al., WWW 2014), days that calendars
drive (holidays, terms, absences, meetings with the microphone on, classes), heavy-tailed dwell times (log-normal),
files, and resource samples that follow the application in front. What recorded sets tell of these was measured, and is
matched (`synthetic/calibration.json`); the rest is assumed, and says so where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.replay.synthetic.agenda import Agenda
from ghostdesk.replay.synthetic.documents import MIME_TYPES
from ghostdesk.replay.synthetic.happenings import KINDS, Happenings, happenings
from ghostdesk.replay.synthetic.parameters import Parameters, shipped
from ghostdesk.replay.synthetic.people import (
    DEPARTMENTS,
    EVERYONE,
    JOB_ROLES,
    MEETING_APP,
    NAMES,
    SOURCE,
    People,
    SyntheticPerson,
    user_name,
)
from ghostdesk.replay.synthetic.scenarios import DAY_S, FIRST_DAY_S, Scenario, check_scenarios
from ghostdesk.telemetry.events import UsageEvent

__all__ = [
    "DAY_S", "DEPARTMENTS", "EVERYONE", "FIRST_DAY_S", "JOB_ROLES", "MEETING_APP", "SOURCE", "SyntheticPerson",
    "SyntheticWorkload",
]  # fmt: skip

RHYTHMS = ("recorded", "office")
_BLOCK_EVENTS = 400_000
_BLOCK_PEOPLE = 5_000
_MOST_A_PERSON = 20_000_000
"""Expected events of one person, who is made whole."""


@dataclass(frozen=True)
class SyntheticWorkload:
    """An organisation's history, made anew from the seed whenever it is asked for; nothing is held.

    Args:
        users: how many people.
        days: how many days, from a Monday on.
        events_a_day: mean number of events a person and calendar day, of all kinds.
        seed: equal seeds give equal histories, on one version of numpy.
        scenarios: what else happens; see `synthetic.scenarios`.
        rhythm: "recorded" (hours of the day as spread as in the recorded set) or "office" (most begin at about 8:30).
        parameters: the figures to draw from; the shipped ones if not given.

    Raises:
        ConfigError: a size is not possible, or a scenario does not fit.
    """

    users: int
    days: int
    events_a_day: float = 50.0
    seed: int = 0
    scenarios: tuple[Scenario, ...] = ()
    rhythm: str = "recorded"
    parameters: Parameters | None = None

    def __post_init__(self) -> None:
        if not (1 <= self.users <= 1_000_000 and 1 <= self.days <= 3_650 and 1.0 <= self.events_a_day <= 10_000.0):
            raise ConfigError(
                f"No history has {self.users} users, {self.days} days and {self.events_a_day:g} events a day.",
                "Ask for 1 to 1,000,000 users, 1 to 3,650 days and 1 to 10,000 events a day.",
            )
        if self.days * self.events_a_day > _MOST_A_PERSON:
            raise ConfigError(
                f"{self.days * self.events_a_day:,.0f} events of one person are too many.",
                "Ask for fewer days or events.",
            )
        if self.seed < 0:
            raise ConfigError(f"The seed {self.seed} is negative.", "Give a whole number from 0 on.")
        if self.rhythm not in RHYTHMS:
            raise ConfigError(f"There is no rhythm {self.rhythm[:20]!r}.", f"Rhythms: {', '.join(RHYTHMS)}.")
        check_scenarios(self.scenarios, self.users, self.days)

    @cached_property
    def agenda(self) -> Agenda:
        """The calendars of everyone."""
        return Agenda(self.seed, self.users, self.days, self.scenarios)

    @property
    def holidays(self) -> frozenset[int]:
        """Days (from 0) on which hardly anybody works."""
        return self.agenda.holidays

    def people(self) -> Iterator[SyntheticPerson]:
        """Everyone, in order."""
        for first in range(0, self.users, _BLOCK_PEOPLE):
            block = People.of(self.seed, np.arange(first, min(first + _BLOCK_PEOPLE, self.users)))
            yield from (block.person(row) for row in range(len(block.index)))

    def person(self, index: int) -> SyntheticPerson:
        """One of them, by number from 0."""
        return People.of(self.seed, np.array([index])).person(0)

    def blocks(self) -> Iterator[Happenings]:
        """Everyone's events as arrays, some people at a time: how many depends on what memory a block takes."""
        a_block = int(np.clip(_BLOCK_EVENTS / (self.days * self.events_a_day), 1, _BLOCK_PEOPLE))
        for first in range(0, self.users, a_block):
            yield self._happenings(np.arange(first, min(first + a_block, self.users)))

    def events(self) -> Iterator[UsageEvent]:
        """Everyone's events, person after person, each in the order of time."""
        for block in self.blocks():
            yield from usage_events(block)

    def events_of(self, index: int) -> Iterator[UsageEvent]:
        """One person's events in the order of time: the same as among all others."""
        yield from usage_events(self._happenings(np.array([index])))

    def _happenings(self, index: np.ndarray) -> Happenings:
        parameters = self.parameters or shipped()
        return happenings(parameters, self.agenda, index, self.events_a_day, office=self.rhythm == "office")


def usage_events(block: Happenings) -> Iterator[UsageEvent]:
    """The events of a block, one by one."""
    users: list[UserId] = [user_name(int(index)) for index in block.people.index]
    columns = (block.row.tolist(), block.time_ms.tolist(), block.kind.tolist(), block.app.tolist(),
               block.value.tolist(), block.mime.tolist())  # fmt: skip
    for row, time_ms, kind, app, value, mime in zip(*columns, strict=True):
        yield UsageEvent(
            time_ms / 1000.0,
            KINDS[kind],
            users[row],
            AppId(NAMES[app]) if app >= 0 else None,
            value=value if value == value else None,  # noqa: PLR0124 - NaN is none
            detail=MIME_TYPES[mime] if mime >= 0 else None,
            source=SOURCE,
        )
