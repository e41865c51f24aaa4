"""The mixture: the network over all evidence, and every strong simple expert beside it, weighed by success.

The last stage is Bayes' rule over experts with a fixed share that may change sides (Herbster and Warmuth 1998): over
any stretch of T steps its log loss exceeds that of the best single expert by at most ln(1 / its first weight) plus
T times 0.001, so the whole is never much worse than its best member, whatever the network does. A person's weights
start at everyone's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ghostdesk.kernel.ids import AppId
from ghostdesk.profiles.forecast_watch import Judged
from ghostdesk.profiles.next_app.evidence import (
    FEATURES,
    NOTHING_LENT,
    START,
    Evidence,
    Floats,
    Lent,
    PersonEvidence,
)
from ghostdesk.profiles.next_app.expert import ExpertFactory, NextAppExpert, Shares
from ghostdesk.profiles.next_app.ipam import Ipam
from ghostdesk.profiles.next_app.markov import Markov
from ghostdesk.profiles.next_app.most_frequent import MostFrequent
from ghostdesk.profiles.next_app.most_recent import Current, MostRecent
from ghostdesk.profiles.next_app.network import EvidenceNetwork, Lesson, corrected
from ghostdesk.profiles.next_app.ppm import PpmRecencyExpert
from ghostdesk.profiles.situation import UNKNOWN, Situation

NETWORK = "network"
TRAINED = "LSTM"
"""The trained model's expert, where there is one."""
SIMPLE: Mapping[str, ExpertFactory] = {
    "most frequent": MostFrequent,
    "most recent": lambda: MostRecent(Current.LAST),
    "Markov-2": lambda: Markov(2),
    "IPAM": Ipam,
    "PPM-3 + recency": PpmRecencyExpert,
}
SWITCH = 0.001
"""Share of the weights that is dealt out anew at each step."""
_LEAST = 1e-6
_TRUST_IN_NETWORK = 0.6
_TRUST_IN_TRAINED = 0.3


def starting_weights(names: tuple[str, ...]) -> dict[str, float]:
    """The weights before anything is known: most on the network, the rest dealt evenly."""
    first = {
        name: trust for name, trust in ((NETWORK, _TRUST_IN_NETWORK), (TRAINED, _TRUST_IN_TRAINED)) if name in names
    }
    others = [name for name in names if name not in first]
    left = max(1.0 - sum(first.values()), 0.0) if others else 0.0
    weights = {**first, **{name: left / len(others) for name in others}}
    whole = sum(weights.values())
    return {name: weight / whole for name, weight in weights.items()}


@dataclass(frozen=True, slots=True)
class Opinion:
    """What each expert says at one moment, and what the network saw."""

    evidence: Evidence
    log_shares: Floats
    shares: Mapping[str, Shares]


@dataclass
class NextAppMixture:
    """A `NextAppExpert` of one person.

    Args:
        network: shared by everyone; this class never teaches it (see `lesson`).
        experts: the simple experts (and the LSTM, where there is one) of this person.
        weights: each expert's weight, as everyone's; sums to 1.
        lent: what others turn to now; set by whoever knows the others.
    """

    network: EvidenceNetwork
    experts: dict[str, NextAppExpert] = field(default_factory=lambda: {name: new() for name, new in SIMPLE.items()})
    weights: dict[str, float] = field(default_factory=dict)
    lent: Lent = NOTHING_LENT
    person: PersonEvidence = field(default_factory=PersonEvidence)
    own: Floats = field(default_factory=lambda: np.zeros(FEATURES, dtype=np.float32))
    lesson: Lesson | None = None
    """The last step as the network may learn it."""
    judged: Judged | None = None
    """What the last step cost."""
    _last: tuple[Situation, Lent, Opinion] | None = None
    _mixed: tuple[Opinion, Shares] | None = None

    def __post_init__(self) -> None:
        if not self.weights:
            self.weights = starting_weights((NETWORK, *self.experts))

    def opinion(self, situation: Situation = UNKNOWN) -> Opinion:
        """Everyone's opinion now. A question and the step after it share it."""
        if self._last is not None and self._last[0] is situation and self._last[1] is self.lent:
            return self._last[2]
        evidence = self.person.evidence(situation, self.lent)
        log_shares = self.network.scores(evidence.features, self.own)
        network = dict(zip(evidence.apps, np.exp(log_shares[:-1]).tolist(), strict=True))
        shares = {NETWORK: network, **{name: expert.shares(situation) for name, expert in self.experts.items()}}
        opinion = Opinion(evidence, log_shares, shares)
        self._last = (situation, self.lent, opinion)
        return opinion

    def shares(self, situation: Situation = UNKNOWN) -> Shares:
        """The forecast now: the experts' shares by their weights."""
        return self.mixed(self.opinion(situation))

    def mixed(self, opinion: Opinion) -> Shares:
        """The experts' shares by their weights. A question and the step after it share them."""
        if self._mixed is not None and self._mixed[0] is opinion:
            return self._mixed[1]
        total: Shares = {}
        for name, shares in opinion.shares.items():
            weight = self.weights.get(name, 0.0)
            for app, share in shares.items():
                total[app] = total.get(app, 0.0) + weight * share
        total.pop(START, None)
        self._mixed = (opinion, total)
        return total

    def learn(self, app: AppId, situation: Situation = UNKNOWN) -> None:
        """The person turned to `app`."""
        opinion = self.opinion(situation)
        self._last = None
        apps = opinion.evidence.apps
        chosen = apps.index(app) if app in apps else len(apps)
        self.lesson = Lesson(opinion.evidence.features, chosen)
        self.judged = _judged(app, self.mixed(opinion), opinion.shares.get(TRAINED))
        self._mixed = None
        self.weights = reweighed(self.weights, {n: s.get(app, 0.0) for n, s in opinion.shares.items()})
        self.own = corrected(self.own, self.lesson, opinion.log_shares)
        self.recall(app, situation)

    def recall(self, app: AppId, situation: Situation = UNKNOWN, *, trained: bool = True) -> None:
        """Learn from the long past: what followed what, without judging the experts by it. Ten times quicker.

        `trained` is False for a past so long that the trained model's state would have lost it again.
        """
        self._last = None
        self.person.learn(app, situation)
        for name, expert in self.experts.items():
            if trained or name != TRAINED:
                expert.learn(app, situation)


def _judged(app: AppId, mixed: Shares, trained: Shares | None) -> Judged:
    first = max(mixed, key=lambda one: mixed[one], default=None)
    return Judged(app, _loss_nats(mixed, app), app == first, _loss_nats(trained, app) if trained else None)


def _loss_nats(shares: Shares, app: AppId) -> float:
    """What came had this log loss; an application that is not listed has what the listed ones leave."""
    share = shares.get(app)
    return -math.log(max(1.0 - math.fsum(shares.values()) if share is None else share, _LEAST))


def reweighed(weights: Mapping[str, float], chances: Mapping[str, float]) -> dict[str, float]:
    """Weights after a step at which each expert gave what came this chance. They sum to 1, none is ever 0."""
    risen = {name: weight * max(chances.get(name, 0.0), _LEAST) for name, weight in weights.items()}
    whole = math.fsum(risen.values())
    dealt = SWITCH / len(weights)
    return {name: dealt + (1.0 - SWITCH) * one / whole for name, one in risen.items()}
