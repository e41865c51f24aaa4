"""The mixture as a scored method: its network and its pool are made from the training steps of other people alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostdesk.evaluate.lstm_method import LstmMethod
from ghostdesk.evaluate.sequences import AppSequence, situations
from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.next_app.evidence import START, Lent, PersonEvidence
from ghostdesk.profiles.next_app.expert import ExpertFactory, NextAppExpert, Shares
from ghostdesk.profiles.next_app.mixture import NETWORK, SIMPLE, TRAINED, NextAppMixture, starting_weights
from ghostdesk.profiles.next_app.network import EvidenceNetwork, Lesson
from ghostdesk.profiles.next_app.pool import Attributes, LendingPool
from ghostdesk.profiles.situation import UNKNOWN, Situation

_LESSONS = 40_000
_DRAWS = 2
"""Lessons are taken from so many sequences of each person: more of them overlap."""
_EPOCHS = 3
_BATCH = 128
_STEP = 3e-3
_WARM_UP = 100
_ALIKE_EVERY = 16
_ALIKE_UNTIL = 500
_SCORED = UserId("scored")
"""The person that is scored; no one among those who lend has this id."""
NOBODY = Attributes()


class BorrowingMixture:
    """A `NextAppExpert`: the mixture of one person, with what a pool of others lends."""

    def __init__(self, mixture: NextAppMixture, pool: LendingPool, user: UserId = _SCORED) -> None:
        self._mixture = mixture
        self._pool = pool
        self._user = user
        self._alike: tuple[tuple[UserId, float], ...] = ()
        self._lent: dict[AppId, Lent] = {}

    def shares(self, situation: Situation = UNKNOWN) -> Shares:
        """The forecast now."""
        self._borrow(situation)
        return self._mixture.shares(situation)

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:
        """The person turned to `app`."""
        self._borrow(situation)
        self._mixture.learn(app, situation)

    def _borrow(self, situation: Situation) -> None:
        if self._pool.people:
            person = self._mixture.person
            if person.count % _ALIKE_EVERY == 0 and person.count <= _ALIKE_UNTIL:
                self._alike = self._pool.alike(self._user, person) if person.count < _ALIKE_UNTIL else ()
                self._lent = {}
            app = _open(person, situation)
            if app not in self._lent:
                self._lent[app] = self._pool.lend(app, NOBODY, self._alike)
            self._mixture.lent = self._lent[app]


@dataclass(frozen=True)
class MixtureMethod:
    """A `PooledMethod`. `seed` chooses the lessons; `lstm` is trained on the same others and joins the experts."""

    seed: int = 0
    lstm: LstmMethod | None = None

    def fit(self, others: Sequence[AppSequence]) -> ExpertFactory:
        """Learn the network and the pool from other people's training steps."""
        rng = np.random.default_rng(self.seed)
        pool = LendingPool.of(_people(others), {})
        trained = self.lstm.fit(others) if self.lstm is not None else None
        return self._factory(_taught(_lessons(others, rng), rng), pool, trained)

    def alone(self) -> ExpertFactory:
        """A new network and nobody to borrow from."""
        return self._factory(EvidenceNetwork(), LendingPool())

    def _factory(
        self, network: EvidenceNetwork, pool: LendingPool, trained: ExpertFactory | None = None
    ) -> ExpertFactory:
        def one() -> NextAppExpert:
            experts = {name: new() for name, new in SIMPLE.items()}
            if trained is not None:
                experts[TRAINED] = trained()
            return BorrowingMixture(NextAppMixture(network, experts, starting_weights((NETWORK, *experts))), pool)

        return one


def _open(person: PersonEvidence, situation: Situation) -> AppId:
    return START if situation.session_position == 0 or not person.trail else person.trail[-1]


def _people(sequences: Sequence[AppSequence]) -> dict[UserId, PersonEvidence]:
    """Each person's contexts after the training steps of their first draw."""
    people: dict[UserId, PersonEvidence] = {}
    for one in sequences:
        if one.user not in people:
            person = people[one.user] = PersonEvidence()
            for app, situation in zip(one.apps, situations(one), strict=True):
                person.learn(app, situation)
    return people


def _lessons(sequences: Sequence[AppSequence], rng: np.random.Generator) -> list[Lesson]:
    """Lessons from everyone's first steps on, each person borrowing from the others; not all, if there are many."""
    people = _people(sequences)
    some = _few_draws(sequences)
    taken = min(1.0, _LESSONS / max(sum(len(one.apps) for one in some), 1))
    lessons: list[Lesson] = []
    pools: dict[UserId, LendingPool] = {}
    for one in some:
        pool = pools.get(one.user)
        if pool is None:
            pool = pools[one.user] = LendingPool.of({u: p for u, p in people.items() if u != one.user}, {})
        person, alike = PersonEvidence(), ()  # type: tuple[PersonEvidence, tuple[tuple[UserId, float], ...]]
        chosen = rng.random(len(one.apps)) < taken
        for step, (app, situation) in enumerate(zip(one.apps, situations(one), strict=True)):
            if step % _ALIKE_EVERY == 0:
                alike = pool.alike(one.user, person) if step < _ALIKE_UNTIL else ()
            if chosen[step]:
                seen = person.evidence(situation, pool.lend(_open(person, situation), NOBODY, alike))
                lessons.append(Lesson(seen.features, seen.apps.index(app) if app in seen.apps else len(seen.apps)))
            person.learn(app, situation)
    return lessons


def _few_draws(sequences: Sequence[AppSequence]) -> list[AppSequence]:
    seen: Counter[UserId] = Counter()
    some = []
    for one in sequences:
        seen[one.user] += 1
        if seen[one.user] <= _DRAWS:
            some.append(one)
    return some


def _taught(lessons: Sequence[Lesson], rng: np.random.Generator) -> EvidenceNetwork:
    """A network that went over the lessons three times, in an order of its own, with smaller and smaller steps."""
    network = EvidenceNetwork()
    batches = _EPOCHS * (len(lessons) // _BATCH)
    done = 0
    for _ in range(_EPOCHS):
        order = rng.permutation(len(lessons))
        for start in range(0, len(order) - _BATCH + 1, _BATCH):
            done += 1
            step = _STEP * min(1.0, done / _WARM_UP) * (1.0 - 0.95 * done / batches)
            network.learn([lessons[i] for i in order[start : start + _BATCH]], step)
    return network
