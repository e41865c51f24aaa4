"""Everyone's next application: a mixture for each person, one network and one pool for all, learning as events come.

People who were not seen for long are put to rest: their last applications are kept, two bytes each, and what was last
forecast for their next session; the contexts are made anew from these when they come back.

What is shared learns from everyone alike: the network takes at most eight steps of one person in every 64 of all, and
the pool counts each person once, so a million events of one person move either no more than a busy colleague does.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.arrivals.trained_blend import TrainedHazards
from ghostdesk.profiles.baselines.sessions import ACTIVITY, SESSION_GAP_S
from ghostdesk.profiles.baselines.slots import WeekSlots, sane
from ghostdesk.profiles.circumstances import Circumstances
from ghostdesk.profiles.forecast import LaunchProbability
from ghostdesk.profiles.forecast_watch import Judged, NextAppWatch
from ghostdesk.profiles.next_app.evidence import START
from ghostdesk.profiles.next_app.expert import NextAppExpert, Shares
from ghostdesk.profiles.next_app.lstm_expert import LstmExpert
from ghostdesk.profiles.next_app.mixture import NETWORK, SIMPLE, TRAINED, NextAppMixture, starting_weights
from ghostdesk.profiles.next_app.network import EvidenceNetwork, Lesson
from ghostdesk.profiles.next_app.pool import Attributes, LendingPool
from ghostdesk.profiles.situation import Situation
from ghostdesk.telemetry.events import EventKind, UsageEvent

_LESSONS_A_PERSON = 8
_JUDGED, _TRAINED_PAST = 50, 100
"""Of a long past the experts are judged by the last fifty applications, and the trained model sees a hundred."""
_KEPT_STEPS = 256
_KEPT_APPS = 8
_MOST_APPS = 65_535
MOST_AWAKE = 2048
"""People whose contexts are kept whole: those seen last."""
_TRAINED_REACH_S = 6 * 86_400.0
"""The trained model's waits for a sign-in reach a week: after so long since the last step it is asked no more."""
_BATCH = 64
_POOL_EVERY = 1024
_POOL_PEOPLE = 512
_ALIKE_EVERY = 16
_ALIKE_UNTIL = 500
"""Whoever did more than this is better known by their own past than by their likes."""


class _Person:
    """What is kept of one person."""

    __slots__ = ("alike", "alike_at", "around", "current", "mixture", "past", "version")

    def __init__(self, mixture: NextAppMixture) -> None:
        self.mixture = mixture
        self.around = Circumstances()
        self.current: AppId | None = None
        self.past: deque[int] = deque(maxlen=_KEPT_STEPS)
        self.alike: tuple[tuple[UserId, float], ...] = ()
        self.alike_at = (-1, -1)
        self.version = 0


@dataclass(frozen=True, slots=True)
class _Rested:
    """A person put to rest: the numbers of their last applications (0 begins a session), and what was foretold.

    Some 600 bytes: 256 steps, eight applications with float16 chances, the experts' weights.
    """

    past: bytes
    apps: bytes
    chances: bytes
    weights: bytes
    last_s: float


class NextAppForecasts:
    """A `NextAppPredictor` of applications launched or turned to.

    The same application again (a focus that comes back) is no new event. A session's first application follows a mark
    of its own. Events older than the user's latest are ignored.

    Args:
        slots: tells local time.
        network: the shared weights, to go on with those of an earlier run.
        trained: makes a person's experts from trained models, by their names; none without a model.
        around: adds to a person's situation what else is known of them, such as their calendar.
        most_awake: people whose contexts are kept whole.
        judged: told what each step cost that had been forecast.
    """

    def __init__(
        self,
        slots: WeekSlots,
        network: EvidenceNetwork | None = None,
        trained: Callable[[], dict[str, NextAppExpert]] = dict,
        around: Callable[[UserId, Situation], Situation] = lambda _user, situation: situation,
        most_awake: int = MOST_AWAKE,
        judged: Callable[[Judged], None] = lambda _step: None,
    ) -> None:
        self.watch = NextAppWatch()
        self._judged = judged
        self._around = around
        self._trained = trained
        self._most_awake = most_awake
        self._rested: dict[UserId, _Rested] = {}
        self._names: list[AppId] = [START]
        self._numbers: dict[AppId, int] = {START: 0}
        self._lessons: list[Lesson] = []
        self._taught: Counter[UserId] = Counter()
        self.network = network or EvidenceNetwork()
        self._slots = slots
        self._people: dict[UserId, _Person] = {}
        self._attributes: dict[UserId, Attributes] = {}
        self._pool = LendingPool()
        self._pool_version = 0
        self._weights: dict[str, float] = {}
        self._events = self._pool_events = 0
        self._stale = False

    # Learning.

    def set_attributes(self, attributes: Mapping[UserId, Attributes]) -> None:
        """Job roles and departments, as the operator gives them."""
        self._attributes = dict(attributes)
        self._stale = True

    def observe(self, event: UsageEvent, *, apps_after: int = 0) -> None:
        """Learn from one more event.

        Where `apps_after` more applications of the person are known to follow, it is of the long past, which is
        learnt in less detail: see `NextAppMixture.recall`.
        """
        if event.user is None or not sane(event.time_s):
            return
        person = self._people.get(event.user)
        if person is None:
            if event.kind not in ACTIVITY:
                return
            person = self._awake(event.user)
        if event.time_s < person.around.last_s:
            return
        is_app = event.kind in (EventKind.APP_LAUNCH, EventKind.APP_FOCUS) and event.app is not None
        if not (is_app and self._turned_to(event.user, person, event, apps_after)):
            person.around.observe(event)
        person.version += 1

    def forget(self, user: UserId) -> None:
        """Drop everything that is known of a person, also what they lent to others."""
        self._attributes.pop(user, None)
        self._rested.pop(user, None)
        if self._people.pop(user, None) is not None:
            self._stale = True
        self._lessons, self._taught = [], Counter()

    # Forecasting.

    def version(self, user: UserId, now_s: float) -> tuple[int, bool, int, int]:
        """Changes when the user's forecast does; the last part moves with what all share."""
        person = self._people.get(user)
        if person is None and user in self._rested:
            return (-2, True, 0, 0)
        third = int(self._slots.clock(now_s)[1] // 3)
        if person is None:
            return (-1, True, third, self._pool_version)
        return (person.version, now_s - person.around.last_s >= SESSION_GAP_S, third, self._pool_version)

    def predict(self, user: UserId, now_s: float, limit: int) -> list[LaunchProbability]:
        """The likeliest applications, likeliest first; an unknown user gets what others lend. Sums to 1 at most."""
        self._renew_pool()
        rested = self._rested.get(user)
        if rested is not None:
            return self._foretold(rested, limit)
        person = self._people.get(user) or self._newcomer()
        self._lend(user, person, self._begins(person, now_s))
        shares = person.mixture.shares(self._around(user, person.around.at(now_s, self._slots)))
        best = sorted(shares.items(), key=lambda item: (-item[1], item[0]))[: max(limit, 0)]
        return [LaunchProbability(app, share) for app, share in best if share > 0.0]

    def usage_shares(self, user: UserId) -> Shares:
        """How much of their time steps each application took so far; everyone's for an unknown user."""
        person = self._people.get(user)
        return person.mixture.person.usage_shares() if person and person.mixture.person.count else self._pool.usage

    def near_resources(self, user: UserId, now_s: float) -> npt.NDArray[np.float64] | None:
        """The trained model's quantiles of what the desktop takes over its first horizon, shape (resources, levels).

        None for whoever is not awake, and without a trained model.
        """
        person = self._people.get(user)
        expert = person.mixture.experts.get(TRAINED) if person is not None else None
        if person is None or not isinstance(expert, LstmExpert):
            return None
        return expert.resource_quantiles(self._around(user, person.around.at(now_s, self._slots)))[:, 0]

    def trained_arrivals(self, begin_s: npt.NDArray[np.float64], slot_s: float) -> TrainedHazards | None:
        """The trained model's chances of a sign-in in slots to come, of those who are awake; None without a model."""
        if TRAINED not in self._trained():
            return None
        users, found = [], []
        for user, person in self._people.items():
            expert = person.mixture.experts.get(TRAINED)
            last_s = expert.last_s if isinstance(expert, LstmExpert) else None
            if isinstance(expert, LstmExpert) and last_s is not None and 0.0 <= begin_s[0] - last_s < _TRAINED_REACH_S:
                users.append(user)
                found.append([expert.sign_in_within(slot_s, at_s - last_s) for at_s in begin_s.tolist()])
        return TrainedHazards(users, np.array(found).reshape(len(users), len(begin_s)))

    def launch_within(self, user: UserId, now_s: float, lead_s: Sequence[float]) -> tuple[float, ...]:
        """The trained model's chances that the user turns to an application within each time; empty without one."""
        person = self._people.get(user)
        expert = person.mixture.experts.get(TRAINED) if person is not None else None
        if not isinstance(expert, LstmExpert) or expert.last_s is None:
            return ()
        elapsed_s = max(now_s - expert.last_s, 0.0)
        return tuple(expert.launch_within(one, elapsed_s) for one in lead_s)

    def weights(self, user: UserId) -> dict[str, float]:
        """How far each expert is trusted for this user; everyone's for an unknown one."""
        person = self._people.get(user)
        return dict(person.mixture.weights if person is not None else self._weights)

    # Inside.

    def _newcomer(self) -> _Person:
        experts = {**{name: new() for name, new in SIMPLE.items()}, **self._trained()}
        names = (NETWORK, *experts)
        weights = dict(self._weights) if set(self._weights) == set(names) else starting_weights(names)
        return _Person(NextAppMixture(self.network, experts, weights))

    def _begins(self, person: _Person, now_s: float) -> bool:
        return person.around.position == 0 or now_s - person.around.last_s >= SESSION_GAP_S

    def _turned_to(self, user: UserId, person: _Person, event: UsageEvent, apps_after: int) -> bool:
        """Learn it; False when it is no new application."""
        judge = apps_after <= _JUDGED
        begins = self._begins(person, event.time_s)
        app = event.app
        if app is None or (app == person.current and not begins):
            return False
        situation = self._around(user, person.around.at(event.time_s, self._slots))
        if begins:
            situation = replace(situation, session_position=0)
        if judge:
            self._renew_pool()
            self._lend(user, person, begins)
            person.mixture.learn(app, situation)
            if person.mixture.lesson is not None and self._taught[user] < _LESSONS_A_PERSON:
                self._taught[user] += 1
                self._lessons.append(person.mixture.lesson)
            if person.mixture.judged is not None:
                self.watch.judged(person.mixture.judged)
                self._judged(person.mixture.judged)
            person.mixture.lesson = person.mixture.judged = None
        else:
            person.mixture.recall(app, situation, trained=apps_after <= _TRAINED_PAST)
        person.current = app
        if begins:
            person.past.append(0)
        person.past.append(self._number(app))
        person.around.observe(event)  # a gap begins the session anew, before this application is counted in it
        person.around.turned_to_application(event.time_s)
        self._events += 1
        if self._events >= min(2 * self._pool_events, self._pool_events + _POOL_EVERY):
            self._stale = True
        if judge and self._events % _BATCH == 0:
            self._teach()
        return True

    def _lend(self, user: UserId, person: _Person, begins: bool) -> None:
        count = person.mixture.person.count
        due = (count // _ALIKE_EVERY, self._pool_version)
        if person.alike_at != due:
            person.alike_at = due
            person.alike = self._pool.alike(user, person.mixture.person) if count < _ALIKE_UNTIL else ()
        app = START if begins else person.current
        person.mixture.lent = self._pool.lend(app, self._attributes.get(user, Attributes()), person.alike)

    def _teach(self) -> None:
        self.network.learn(self._lessons)
        self._lessons, self._taught = [], Counter()

    def _number(self, app: AppId) -> int:
        """A small number for an application; with more than 65,535 of them, those that come late have none (START)."""
        number = self._numbers.get(app)
        if number is None and len(self._names) <= _MOST_APPS:
            number = self._numbers[app] = len(self._names)
            self._names.append(app)
        return number or 0

    def _awake(self, user: UserId) -> _Person:
        """The person, made anew from their last applications if they were put to rest."""
        person = self._people[user] = self._newcomer()
        rested = self._rested.pop(user, None)
        if rested is not None:
            position = 0
            for number in np.frombuffer(rested.past, dtype=np.uint16).tolist():
                person.past.append(number)
                position = 0 if number == 0 else position + 1
                if number:
                    person.current = self._names[number]
                    person.mixture.recall(person.current, Situation(session_position=position - 1))
            person.around.last_s = rested.last_s
            weights = np.frombuffer(rested.weights, dtype=np.float32).tolist()
            if len(weights) == len(person.mixture.weights):
                person.mixture.weights = dict(zip(person.mixture.weights, weights, strict=True))
        if len(self._people) > self._most_awake:
            self._rest(user)
        return person

    def _rest(self, coming: UserId) -> None:
        """Put an eighth of the people to rest, those not seen for longest; never whoever is coming."""
        others = sorted((p.around.last_s, user) for user, p in self._people.items() if user != coming)
        for last_s, user in others[: max(1, self._most_awake // 8)]:
            person = self._people[user]
            likely = self.predict(user, last_s + SESSION_GAP_S, _KEPT_APPS)
            numbers = [self._number(one.app) for one in likely]
            self._rested[user] = _Rested(
                np.array(person.past, dtype=np.uint16).tobytes(),
                np.array(numbers, dtype=np.uint16).tobytes(),
                np.array([one.probability for one in likely], dtype=np.float16).tobytes(),
                np.array(list(person.mixture.weights.values()), dtype=np.float32).tobytes(),
                last_s,
            )
            del self._people[user]

    def _foretold(self, rested: _Rested, limit: int) -> list[LaunchProbability]:
        numbers, chances = np.frombuffer(rested.apps, np.uint16), np.frombuffer(rested.chances, np.float16)
        found = zip(numbers.tolist(), chances.tolist(), strict=True)
        return [LaunchProbability(self._names[n], c) for n, c in found if n][: max(limit, 0)]

    def _renew_pool(self) -> None:
        """Make the pool anew from the people that are there: at most 512, spread evenly over all."""
        if not self._stale:
            return
        self._stale, self._pool_events = False, self._events
        users = sorted(self._people)
        some = np.unique(np.linspace(0, len(users) - 1, min(len(users), _POOL_PEOPLE)).astype(int)) if users else ()
        lenders = {users[i]: self._people[users[i]].mixture.person for i in some}
        self._pool = LendingPool.of(lenders, self._attributes)
        self._pool_version += 1
        known = [self._people[users[i]].mixture.weights for i in some]
        self._weights = {n: float(np.mean([w.get(n, 0.0) for w in known])) for n in known[0]} if known else {}
