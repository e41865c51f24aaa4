"""What people lend each other: the habits of everyone, of colleagues, and of those who behave alike.

Each person counts once in every distribution, however much they do, so nobody's history, not even a million events of
one, moves the pool further than anybody else's (bounded influence). The pool is made anew from the people that are
there, so that a person who is deleted is in it no more. Likeness in behaviour is the cosine of how often people use
which application (user-based collaborative filtering: Resnick et al. 1994).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.next_app.evidence import NOTHING_LENT, START, Lent, PersonEvidence
from ghostdesk.profiles.next_app.expert import Shares

_SURE = 3.0
_NEIGHBOURS = 6
_MOST_APPS = 64
_SURE_EVENTS = 10.0
"""Whoever did less than this lends less."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the operator says of a person; empty where nothing is known."""

    job_role: str = ""
    department: str = ""

    def groups(self) -> tuple[str, ...]:
        """The groups they belong to, closest first."""
        named = (("job role and department", f"{self.job_role} / {self.department}"), ("job role", self.job_role),
                 ("department", self.department))  # fmt: skip
        both = self.job_role and self.department
        return tuple(f"{kind}: {name}" for kind, name in named if name and (both or " / " not in name))


@dataclass(frozen=True)
class LendingPool:
    """Made by `LendingPool.of`. `people` is how many lend."""

    people: int = 0
    usage: Shares = field(default_factory=dict)
    after: Mapping[AppId, Shares] = field(default_factory=dict)
    groups: Mapping[str, Shares] = field(default_factory=dict)
    lenders: Mapping[UserId, tuple[PersonEvidence, Shares, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, people: Mapping[UserId, PersonEvidence], attributes: Mapping[UserId, Attributes]) -> LendingPool:
        """The pool of these people, each counted once at most."""
        lenders: dict[UserId, tuple[PersonEvidence, Shares, float]] = {}
        usage, groups, after = _Sum(), {}, {}  # type: ignore[var-annotated]
        for user, person in people.items():
            own, lends = person.usage_shares(), person.count / (person.count + _SURE_EVENTS)
            if not own:
                continue
            lenders[user] = (person, own, sum(s * s for s in own.values()) ** 0.5)
            usage.add(own, lends)
            for group in attributes.get(user, Attributes()).groups():
                groups.setdefault(group, _Sum()).add(own, lends)
            for app in (*own, START):
                following, weight = person.followers(app)
                if following:
                    after.setdefault(app, _Sum()).add(following, weight / (weight + _SURE))
        return cls(
            len(lenders),
            usage.mean(),
            {app: one.mean(usage.mean(), 0.5) for app, one in after.items()},
            {group: one.mean(usage.mean(), 0.5) for group, one in groups.items()},
            lenders,
        )

    def alike(self, user: UserId, person: PersonEvidence) -> tuple[tuple[UserId, float], ...]:
        """Those who use what this person uses, most alike first, with the cosine of their usage."""
        own = person.usage_shares()
        length = sum(s * s for s in own.values()) ** 0.5
        if length == 0.0:
            return ()
        found = [
            (other, sum(share * theirs.get(app, 0.0) for app, share in own.items()) / (length * norm))
            for other, (_, theirs, norm) in self.lenders.items()
            if other != user
        ]
        return tuple(sorted(found, key=lambda one: (-one[1], one[0]))[:_NEIGHBOURS])

    def lend(self, app: AppId | None, attributes: Attributes, alike: tuple[tuple[UserId, float], ...]) -> Lent:
        """What others turn to when `app` is open: see `Lent`."""
        if not self.people:
            return NOTHING_LENT
        colleagues: Shares = next((self.groups[g] for g in attributes.groups() if g in self.groups), {})
        similar = _Sum()
        for other, likeness in alike:
            lender, usage, _ = self.lenders[other]
            following, weight = lender.followers(app) if app is not None else ({}, 0.0)
            similar.add(following, likeness**2 * weight / (weight + _SURE))
            similar.add(usage, likeness**2 * _SURE / (weight + _SURE))
        after = self.after.get(app, self.usage) if app is not None else self.usage
        return Lent((after, self.usage, colleagues, similar.mean()))


class _Sum:
    """A weighted mean of distributions."""

    def __init__(self) -> None:
        self._shares: Shares = {}
        self._weight = 0.0

    def add(self, shares: Shares, weight: float) -> None:
        if not shares:
            return
        self._weight += weight
        for app, share in shares.items():
            self._shares[app] = self._shares.get(app, 0.0) + weight * share

    def mean(self, prior: Shares | None = None, prior_weight: float = 0.0) -> Shares:
        """The mean, shrunk towards `prior`; the likeliest applications only."""
        total = dict(self._shares)
        for app, share in (prior or {}).items():
            total[app] = total.get(app, 0.0) + prior_weight * share
        whole = self._weight + (prior_weight if prior else 0.0)
        best = sorted(total, key=lambda a: (-total[a], a))[:_MOST_APPS]
        return {app: total[app] / whole for app in best} if whole > 0 else {}
