"""Counts of what each person chooses in which circumstances, shrunk towards everyone's: partial pooling that forgets.

A share is a Dirichlet-smoothed count (a posterior mean, Gelman et al., Bayesian Data Analysis, 3rd ed., chapters 3 and
5): starting from equal shares, each circumstance from the general to the special moves it, everyone's counts first and
the person's own last. Counts fade by `FADE` with each new one, so that habits may change, and the weight of one person
in any circumstance stays below 1 / (1 - FADE) = 50 however often they choose: nobody can drown the others.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from ghostdesk.kernel.ids import UserId
from ghostdesk.profiles.situation import Situation

FADE = 0.98
OWN_STRENGTH = 2.0
"""As many choices of a person's own weigh as much as what was believed before."""
POOL_STRENGTH = 10.0
_MOST_CIRCUMSTANCES = 600
_MOST_CHOICES = 64
_NOTHING_LEFT = 1e-6

Circumstance = Hashable
K = TypeVar("K", bound=str)
Counts = dict[str, float]


class HabitTable:
    """Fading counts of choices by person and circumstance, and their sum over everyone.

    A choice has a name of the person's own and a shared word under which others may know it (the kind of a place).
    A person's part of the sum is what they have in their own table, so that `forget` takes it out exactly.
    """

    def __init__(self) -> None:
        self._own: dict[UserId, dict[Circumstance, Counts]] = {}
        self._shared: dict[tuple[UserId, Circumstance], Counts] = {}
        self._pool: dict[Circumstance, Counts] = {}

    def learn(
        self, user: UserId, circumstances: Sequence[Circumstance], choice: str, shared: str | None = None
    ) -> None:
        """The person chose `choice` in these circumstances. Past 600 circumstances of a person new ones are ignored."""
        own = self._own.setdefault(user, {})
        for circumstance in circumstances:
            if circumstance not in own and len(own) >= _MOST_CIRCUMSTANCES:
                continue
            add_fading(own.setdefault(circumstance, {}), choice)
            part = self._shared.setdefault((user, circumstance), {})
            pool = self._pool.setdefault(circumstance, {})
            _move(pool, part, -1.0)
            add_fading(part, choice if shared is None else shared)
            _move(pool, part, 1.0)

    def forget(self, user: UserId) -> None:
        """Take everything that came from this person out, from everyone's sum as well."""
        for circumstance in self._own.pop(user, {}):
            pool = self._pool[circumstance]
            _move(pool, self._shared.pop((user, circumstance)), -1.0)
            if not pool:
                del self._pool[circumstance]

    def drop(self, user: UserId, choice: str, shared: str | None = None) -> None:
        """Forget one choice of a person (a place or a mode that was deleted).

        `shared` is its shared word where no other choice of the person's has it: their part of it goes, too.
        """
        for circumstance, counts in self._own.get(user, {}).items():
            counts.pop(choice, None)
            part = self._shared[user, circumstance]
            if shared is not None and shared in part:
                _move(self._pool[circumstance], {shared: part.pop(shared)}, -1.0)

    def weight(self, user: UserId, circumstance: Circumstance) -> float:
        """How much of the person's own is known in a circumstance: 0 for nothing, towards 50 for a lot."""
        return sum(self._own.get(user, {}).get(circumstance, {}).values())

    def pool_choices(self, circumstance: Circumstance) -> Counts:
        """What everyone chose in a circumstance, by shared word."""
        return dict(self._pool.get(circumstance, {}))

    def own_choices(self, user: UserId, circumstance: Circumstance) -> Counts:
        """What the person chose in a circumstance."""
        return dict(self._own.get(user, {}).get(circumstance, {}))

    def shares(
        self, user: UserId, circumstances: Sequence[Circumstance], choices: Mapping[str, str]
    ) -> dict[str, float]:
        """Probability of each of `choices`, which sum to 1; empty for no choices.

        Args:
            user: whose.
            circumstances: from the general to the special.
            choices: the shared word of each name that can be chosen now.
        """
        if not choices:
            return {}
        shares = dict.fromkeys(choices, 1.0 / len(choices))
        names: dict[str, int] = {}
        for shared in choices.values():
            names[shared] = names.get(shared, 0) + 1
        for circumstance in circumstances:
            pool = self._pool.get(circumstance, {})
            counts = {name: pool.get(shared, 0.0) / names[shared] for name, shared in choices.items()}
            shares = _shrunk(counts, shares, POOL_STRENGTH)
        own = self._own.get(user, {})
        for circumstance in circumstances:
            shares = _shrunk(own.get(circumstance, {}), shares, OWN_STRENGTH)
        return shares


def times_of(situation: Situation) -> tuple[Circumstance, ...]:
    """The circumstances of time, from the general to the special: always, the hour on working days or the weekend, the
    hour of the week. Hours that are not known are left out."""
    if situation.hour is None:
        return ("always",)
    hour = int(situation.hour) % 24
    if situation.weekday is None:
        return ("always", ("hour", hour))
    return ("always", ("hour", situation.weekday >= 5, hour), ("week", situation.weekday, hour))


def _shrunk(counts: Mapping[str, float], prior: Mapping[str, float], strength: float) -> dict[str, float]:
    total = sum(counts.get(name, 0.0) for name in prior) + strength
    return {name: (counts.get(name, 0.0) + strength * share) / total for name, share in prior.items()}


def add_fading(counts: dict[K, float], choice: K) -> None:
    """Count one more choice: the others fade, and beyond 64 the rarest goes."""
    for name in counts:
        counts[name] *= FADE
    counts[choice] = counts.get(choice, 0.0) + 1.0
    if len(counts) > _MOST_CHOICES:
        del counts[min(counts, key=lambda name: counts[name])]


def _move(pool: Counts, part: Mapping[str, float], sign: float) -> None:
    for name, count in part.items():
        left = pool.get(name, 0.0) + sign * count
        if left > _NOTHING_LEFT:
            pool[name] = left
        else:
            pool.pop(name, None)
