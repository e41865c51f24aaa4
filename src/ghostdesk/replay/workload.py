"""A SYNTHETIC history of an imaginary organisation: for measuring cost, and for tests that need many people.

Nothing in it was observed. Every event has the source "synthetic", and every user's name begins with it, so that no
figure got from it can pass for one of real people. How well a forecast does on it says nothing of how well it does on
people: the habits were made by rules that are simpler than habits are.

What it has, as field studies describe it: departments and job roles with their own applications, popularity by Zipf's
law (Zipf 1949), a personal first-order Markov chain mixed with recency (the short-term memory of Anderson et al., WWW
2014), sessions on working days with a personal start, a weekly rhythm and holidays, heavy-tailed dwell times
(log-normal), recurring meetings with the microphone on, and resource samples that follow the application in front.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import AppId, UserId, app_id, user_id
from ghostdesk.telemetry.events import EventKind, UsageEvent

SOURCE = "synthetic"
DAY_S = 86_400.0
FIRST_DAY_S = 1_735_516_800.0
"""Monday, 2024-12-30 00:00 UTC: weeks begin with the history."""

DEPARTMENTS: dict[str, tuple[str, ...]] = {
    "engineering": ("synthetic.editor", "synthetic.terminal", "synthetic.debugger", "synthetic.cad", "synthetic.git"),
    "finance": ("synthetic.spreadsheet", "synthetic.ledger", "synthetic.reports", "synthetic.pdf", "synthetic.tax"),
    "design": ("synthetic.drawing", "synthetic.video", "synthetic.photos", "synthetic.fonts", "synthetic.models"),
    "teaching": ("synthetic.slides", "synthetic.grades", "synthetic.courses", "synthetic.whiteboard", "synthetic.quiz"),
    "research": ("synthetic.notebook", "synthetic.statistics", "synthetic.papers", "synthetic.plots", "synthetic.lab"),
    "support": ("synthetic.tickets", "synthetic.phone", "synthetic.wiki", "synthetic.remote", "synthetic.monitor"),
}
EVERYONE: tuple[str, ...] = (
    "synthetic.browser", "synthetic.mail", "synthetic.chat", "synthetic.files", "synthetic.writer",
    "synthetic.calendar", "synthetic.music", "synthetic.notes", "synthetic.viewer", "synthetic.settings",
)  # fmt: skip
JOB_ROLES = ("assistant", "specialist", "lead")
MEETING_APP = "synthetic.meeting"
_FILE_TYPES = ("application/pdf", "text/plain", "image/png", "application/vnd.oasis.opendocument.text")
_DAY_WEIGHTS = np.array([1.1, 1.15, 1.1, 1.05, 0.9, 0.08, 0.05])
"""How often people work on each day of the week, beside a working day's 1."""
_HOLIDAYS_A_YEAR = 12
_TURN_SHARE = 0.62
"""Of the events of a day so many are applications turned to; the rest are samples, sign-ins, files and microphones."""
_PRIVATE_APPS = 3

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SyntheticPerson:
    """Somebody who does not exist."""

    user: UserId
    department: str
    job_role: str


@dataclass(frozen=True)
class SyntheticWorkload:
    """An organisation's history, made anew from the seed whenever it is asked for; nothing is held.

    Args:
        users: how many people.
        days: how many days, from a Monday on.
        events_a_day: mean number of events a person and calendar day, of all kinds.
        seed: equal seeds give equal histories, on one version of numpy.

    Raises:
        ConfigError: a size is not possible.
    """

    users: int
    days: int
    events_a_day: float = 50.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (1 <= self.users <= 1_000_000 and 1 <= self.days <= 3_650 and 1.0 <= self.events_a_day <= 10_000.0):
            raise ConfigError(
                f"No history has {self.users} users, {self.days} days and {self.events_a_day:g} events a day.",
                "Ask for 1 to 1,000,000 users, 1 to 3,650 days and 1 to 10,000 events a day.",
            )
        if self.seed < 0:
            raise ConfigError(f"The seed {self.seed} is negative.", "Give a whole number from 0 on.")

    @cached_property
    def holidays(self) -> frozenset[int]:
        """Days (from 0) on which hardly anybody works."""
        rng = np.random.default_rng([self.seed, 0])
        count = rng.binomial(self.days, _HOLIDAYS_A_YEAR / 365.0)
        return frozenset(rng.choice(self.days, size=count, replace=False).tolist())

    def people(self) -> Iterator[SyntheticPerson]:
        """Everyone, in order."""
        return (self.person(index) for index in range(self.users))

    def person(self, index: int) -> SyntheticPerson:
        """One of them, by number from 0."""
        rng = np.random.default_rng([self.seed, 1, index])
        department = str(rng.choice(list(DEPARTMENTS)))
        role = str(rng.choice(JOB_ROLES, p=[0.3, 0.5, 0.2]))
        return SyntheticPerson(user_id(f"{SOURCE}-{index:06d}"), department, role)

    def events(self) -> Iterator[UsageEvent]:
        """Everyone's events, person after person, each in the order of time."""
        for index in range(self.users):
            yield from self.events_of(index)

    def events_of(self, index: int) -> Iterator[UsageEvent]:
        """One person's events in the order of time; a day at a time is held."""
        person = self.person(index)
        rng = np.random.default_rng([self.seed, 2, index])
        habits = _Habits.of(person, rng)
        for day in range(self.days):
            worked = _DAY_WEIGHTS[day % 7] * (0.05 if day in self.holidays else 1.0)
            if rng.random() >= min(worked, 0.97):
                continue
            usual = self.events_a_day * _DAY_WEIGHTS.size / _working_days() * habits.busyness
            yield from _day(person, habits, day, usual, rng)


def _working_days() -> float:
    """Expected days worked in a week; holidays are so few that they are left out."""
    return float(np.minimum(_DAY_WEIGHTS, 0.97).sum())


@dataclass(frozen=True)
class _Habits:
    """What makes one person's days alike.

    `chain` is (apps, apps): cumulative probability of the next application after each.
    """

    apps: tuple[AppId, ...]
    popularity: Floats
    chain: Floats
    first: Floats
    recency: float
    start_hour: float
    stay_hours: float
    busyness: float
    meeting_hour: float
    meeting_days: frozenset[int]
    cpu: Floats
    memory: Floats

    @classmethod
    def of(cls, person: SyntheticPerson, rng: np.random.Generator) -> _Habits:
        own = [f"{SOURCE}.own{rng.integers(1000):03d}" for _ in range(_PRIVATE_APPS)]
        names = [*dict.fromkeys([*DEPARTMENTS[person.department], *EVERYONE, MEETING_APP, *own])]
        # the department's applications come first in the ranking, shaken by the person's taste
        rank = np.argsort(np.arange(len(names)) + rng.normal(0.0, 4.0, len(names)))
        popularity = np.empty(len(names))
        popularity[rank] = 1.0 / np.arange(1, len(names) + 1) ** 1.1
        popularity /= popularity.sum()
        chain = rng.dirichlet(0.4 + 3.0 * popularity, size=len(names)) + 1e-3 * popularity
        np.fill_diagonal(chain, 0.0)  # turning to what is in front is no event
        chain /= chain.sum(axis=1, keepdims=True)
        role = JOB_ROLES.index(person.job_role)
        return cls(
            apps=tuple(app_id(name) for name in names),
            popularity=popularity,
            chain=np.cumsum(chain, axis=1),
            first=np.cumsum(rng.dirichlet(0.3 + 5.0 * popularity)),
            recency=float(rng.uniform(0.1, 0.4)),
            start_hour=float(np.clip(rng.normal(8.5, 0.9), 5.0, 13.0)),
            stay_hours=float(np.clip(rng.normal(7.5, 1.0), 3.0, 10.0)),
            busyness=float(np.clip(rng.lognormal(-0.045, 0.3), 0.3, 3.0)),
            meeting_hour=float(rng.uniform(0.5, 5.0)),
            meeting_days=frozenset(rng.choice(5, size=1 + role, replace=False).tolist()),
            cpu=rng.lognormal(-1.5, 0.8, len(names)),
            memory=rng.lognormal(19.5, 0.6, len(names)),
        )


def _day(
    person: SyntheticPerson, habits: _Habits, day: int, events: float, rng: np.random.Generator
) -> Iterator[UsageEvent]:
    """One session: sign-in, applications with what they use and open, perhaps a meeting, sign-out."""
    user = person.user
    start_s = FIRST_DAY_S + day * DAY_S + 3600.0 * (habits.start_hour + rng.normal(0.0, 0.25))
    turns = max(int(rng.poisson(events * _TURN_SHARE)), 1)
    dwell_s = rng.lognormal(0.0, 1.0, turns)
    dwell_s *= 3600.0 * habits.stay_hours * rng.uniform(0.8, 1.1) / dwell_s.sum()
    times_s = start_s + 20.0 + np.concatenate(([0.0], np.cumsum(dwell_s)[:-1]))
    path = _path(habits, turns, rng)
    meeting = -1
    if day % 7 in habits.meeting_days:
        meeting = int(np.searchsorted(times_s, start_s + 3600.0 * habits.meeting_hour))
        if meeting < turns:
            path[meeting] = habits.apps.index(MEETING_APP)
    per_turn = max(events * (1.0 - _TURN_SHARE) - 2.0, 0.0) / turns
    fresh, opens = set(path), rng.random(turns) < 0.08
    counts = rng.poisson(max(per_turn - 0.08, 0.0), turns)
    yield UsageEvent(_ms(start_s), EventKind.SIGN_IN, user, source=SOURCE)
    for turn, app in enumerate(path):
        at_s, for_s = float(times_s[turn]), float(dwell_s[turn])
        kind = EventKind.APP_LAUNCH if app in fresh else EventKind.APP_FOCUS
        fresh.discard(app)
        spent_s = round(for_s, 1) if kind is EventKind.APP_FOCUS else None
        yield UsageEvent(_ms(at_s), kind, user, habits.apps[app], value=spent_s, source=SOURCE)
        if turn == meeting:
            yield UsageEvent(_ms(at_s + 0.01 * for_s), EventKind.MICROPHONE, user, value=1.0, source=SOURCE)
        if opens[turn]:
            opened = _FILE_TYPES[(app + int(habits.start_hour)) % len(_FILE_TYPES)]
            yield UsageEvent(_ms(at_s + 0.02 * for_s), EventKind.FILE_OPENED, user, detail=opened, source=SOURCE)
        yield from _samples(user, habits, app, at_s, for_s, int(counts[turn]), rng)
        if turn == meeting:
            yield UsageEvent(_ms(at_s + 0.99 * for_s), EventKind.MICROPHONE, user, value=0.0, source=SOURCE)
    yield UsageEvent(_ms(float(times_s[-1] + dwell_s[-1])), EventKind.SIGN_OUT, user, source=SOURCE)


def _path(habits: _Habits, turns: int, rng: np.random.Generator) -> list[int]:
    """The applications of a session: the personal chain, or one of the last few again."""
    draws, back = rng.random(turns), rng.random(turns) < habits.recency
    which = rng.geometric(0.5, turns) + 1
    last = len(habits.apps) - 1
    path: list[int] = []
    for turn in range(turns):
        if back[turn] and turn >= which[turn] and path[-which[turn]] != path[-1]:
            path.append(path[-which[turn]])
            continue
        shares = habits.chain[path[-1]] if path else habits.first
        path.append(min(int(np.searchsorted(shares, draws[turn], side="right")), last))
    return path


def _samples(
    user: UserId, habits: _Habits, app: int, at_s: float, for_s: float, count: int, rng: np.random.Generator
) -> Iterator[UsageEvent]:
    """What the desktop used while the application was in front: processor and memory by turns, now and then traffic."""
    for i in range(count):
        when_s = _ms(at_s + for_s * (0.05 + 0.9 * (i + 1) / (count + 1)))
        noise = rng.lognormal(0.0, 0.3)
        kind, value = (
            (EventKind.CPU, round(min(habits.cpu[app] * noise, 16.0), 3)),
            (EventKind.MEMORY, float(round(1e9 + habits.memory[app] * noise))),
            (EventKind.NETWORK, float(round(3e4 * noise * (1 + app)))),
        )[int(rng.integers(3))]
        yield UsageEvent(when_s, kind, user, value=value, source=SOURCE)


def _ms(time_s: float) -> float:
    return round(time_s, 3)
