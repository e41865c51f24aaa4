"""The next application: prediction by partial matching, mixed with recency.

PPM (Cleary and Witten 1984, escape method C of Moffat 1990) blends what followed the last three, two, one and no
applications. Recency asks how far back in the list of recently used ones people go. The two are mixed by weights that
follow their success (a Bayesian mixture with a fixed share, Herbster and Warmuth 1998). Each user has both models; what
they leave open is given to everyone's, so that a newcomer gets everyone's forecast.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ghostdesk.kernel.ids import AppId, UserId
from ghostdesk.profiles.baselines.sessions import ACTIVITY, SESSION_GAP_S
from ghostdesk.profiles.baselines.slots import sane
from ghostdesk.profiles.forecast import LaunchProbability
from ghostdesk.telemetry.events import EventKind, UsageEvent

START = AppId("<start>")
"""Stands for the beginning of a session among the applications before. It is never forecast."""

Context = tuple[AppId, ...]
Shares = dict[AppId, float]

_ORDER = 3
_FORGET = 0.98
"""What happened before in the same context counts so much less with each new event in it."""
_RECENT = 24
"""Length of the list of recently used applications."""
_SHARE = 0.02
_LEAST = 1e-4
_POOL_RANKS = 2.0


class Contexts:
    """Counts of what followed each context of up to `order` applications; at most `limit` contexts are kept."""

    def __init__(self, order: int, forget: float, limit: int) -> None:
        self._order = order
        self._forget = forget
        self._limit = limit
        self._after: dict[Context, Shares] = {}

    def __len__(self) -> int:
        return len(self._after)

    def add(self, before: Context, app: AppId) -> None:
        """`app` followed `before`."""
        for length in range(min(self._order, len(before)) + 1):
            counts = self._after.setdefault(before[len(before) - length :], {})
            for other in counts:
                counts[other] *= self._forget
            counts[app] = counts.get(app, 0.0) + 1.0
            if len(counts) > _RECENT * 4:
                _drop_rarest(counts)
        if len(self._after) > self._limit:
            self._shrink()

    def blend(self, before: Context, lower: Shares) -> Shares:
        """What follows `before`: from the shortest context to the longest, each leaving its escape to the one below."""
        shares = lower
        for length in range(min(self._order, len(before)) + 1):
            counts = self._after.get(before[len(before) - length :])
            if not counts:
                if length:
                    break
                continue
            whole = sum(counts.values()) + len(counts)
            escape = len(counts) / whole
            shares = {app: share * escape for app, share in shares.items()}
            for app, count in counts.items():
                shares[app] = shares.get(app, 0.0) + count / whole
        return shares

    def _shrink(self) -> None:
        """Keep the half of the contexts that was seen most; the empty one always."""
        ranked = sorted(self._after, key=lambda c: (len(c) > 0, -sum(self._after[c].values()), len(c)))
        for context in ranked[max(1, self._limit // 2) :]:
            del self._after[context]


class Recency:
    """How far back in the list of recently used applications people go for the next one."""

    def __init__(self) -> None:
        self._ranks = [0.0] * _RECENT

    def add(self, recent: Sequence[AppId], app: AppId) -> None:
        """`app` came next, when `recent` (latest first) were the ones before."""
        if app in recent:
            self._ranks = [count * _FORGET for count in self._ranks]
            self._ranks[recent.index(app)] += 1.0

    def shares(self, recent: Sequence[AppId], prior: Recency | None) -> Shares:
        """Each recent application's share; `prior` counts as two events."""
        usual = prior._ranks if prior is not None else [0.0] * _RECENT
        scale = _POOL_RANKS / max(sum(usual), _POOL_RANKS)
        weights = [own + scale * pool for own, pool in zip(self._ranks, usual, strict=True)]
        whole = sum(weights) + 1.0
        return {app: weight / whole for app, weight in zip(recent, weights, strict=False)}


class _Person:
    """What is kept of one user: the models, the way here, and the weight of PPM against recency."""

    __slots__ = ("before", "contexts", "last_s", "ppm_weight", "recency", "recent", "version")

    def __init__(self, contexts: Contexts) -> None:
        self.contexts = contexts
        self.recency = Recency()
        self.before: Context = (START,)
        self.recent: list[AppId] = []
        self.ppm_weight = 0.7
        self.last_s = float("-inf")
        self.version = 0


class PpmRecency:
    """A `NextAppPredictor` of applications launched or turned to.

    The same application again (a focus that comes back) is no new event, unless `keep_repeats`. A session's first
    application follows a mark of its own, so what people open first is learnt too. Events older than the user's latest
    are ignored.

    Args:
        order: applications looked back at.
        contexts_per_user: bound of the memory: some 300 bytes each.
        keep_repeats: count an application that follows itself.
    """

    def __init__(self, order: int = _ORDER, contexts_per_user: int = 1500, *, keep_repeats: bool = False) -> None:
        self._order = order
        self._limit = contexts_per_user
        self._keep_repeats = keep_repeats
        self._people: dict[UserId, _Person] = {}
        self._pool = Contexts(order, 0.9995, 20 * contexts_per_user)
        self._pool_recency = Recency()
        self._pool_events = 0

    def observe(self, event: UsageEvent) -> None:
        """Learn from one more event."""
        if event.user is None or not sane(event.time_s):
            return
        person = self._people.get(event.user)
        if person is None:
            if event.kind not in ACTIVITY:
                return
            person = self._people[event.user] = _Person(Contexts(self._order, _FORGET, self._limit))
        if event.time_s < person.last_s:
            return
        if event.kind in (EventKind.SIGN_IN, EventKind.SIGN_OUT) or event.time_s - person.last_s >= SESSION_GAP_S:
            person.before = (START,)
            person.version += 1
        if event.kind in ACTIVITY or event.kind is EventKind.SIGN_OUT:
            person.last_s = event.time_s
        if event.kind in (EventKind.APP_LAUNCH, EventKind.APP_FOCUS) and event.app is not None:
            self._learn(person, event.app)

    def version(self, user: UserId, now_s: float) -> tuple[int, bool, int]:
        """Changes when the user's forecast does; the last part moves with everyone's, every 256 events."""
        person = self._people.get(user)
        if person is None:
            return (-1, True, self._pool_events // 256)
        return (person.version, now_s - person.last_s >= SESSION_GAP_S, self._pool_events // 256)

    def predict(self, user: UserId, now_s: float, limit: int) -> list[LaunchProbability]:
        """The likeliest applications, likeliest first; an unknown user gets everyone's. Sums to 1 at most."""
        person = self._people.get(user)
        if person is None:
            shares = self._pool.blend((START,), {})
        elif now_s - person.last_s >= SESSION_GAP_S:
            shares = self._mix(person, (START,))
        else:
            shares = self._mix(person, person.before)
        return _ranked(shares, limit)

    def _mix(self, person: _Person, before: Context) -> Shares:
        ppm, recency = self._experts(person, before)
        weight = person.ppm_weight
        apps = {**ppm, **recency}
        return {app: weight * ppm.get(app, 0.0) + (1.0 - weight) * recency.get(app, 0.0) for app in apps}

    def _experts(self, person: _Person, before: Context) -> tuple[Shares, Shares]:
        ppm = person.contexts.blend(before, self._pool.blend(before, {}))
        return ppm, person.recency.shares(person.recent, self._pool_recency)

    def _learn(self, person: _Person, app: AppId) -> None:
        if not self._keep_repeats and person.before[-1] == app:
            return
        ppm, recency = self._experts(person, person.before)
        good = person.ppm_weight * max(ppm.get(app, 0.0), _LEAST)
        other = (1.0 - person.ppm_weight) * max(recency.get(app, 0.0), _LEAST)
        person.ppm_weight = _SHARE / 2 + (1.0 - _SHARE) * good / (good + other)
        person.contexts.add(person.before, app)
        person.recency.add(person.recent, app)
        self._pool.add(person.before, app)
        self._pool_recency.add(person.recent, app)
        self._pool_events += 1
        if app in person.recent:
            person.recent.remove(app)
        person.recent = [app, *person.recent[: _RECENT - 1]]
        person.before = (*person.before, app)[-self._order :]
        person.version += 1


def _ranked(shares: Shares, limit: int) -> list[LaunchProbability]:
    best: Iterable[tuple[AppId, float]] = sorted(shares.items(), key=lambda item: (-item[1], item[0]))[: max(limit, 0)]
    return [LaunchProbability(app, share) for app, share in best if app != START and share > 0.0]


def _drop_rarest(counts: Shares) -> None:
    del counts[min(counts, key=lambda app: (counts[app], app))]
