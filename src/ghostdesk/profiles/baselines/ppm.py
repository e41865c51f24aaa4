"""What followed which applications, and how far back people go: the two members of `next_app.ppm`.

Contexts are those of prediction by partial matching (Cleary and Witten 1984, escape method C of Moffat 1990): they
blend what followed the last three, two, one and no applications. Recency asks how far back in the list of recently
used ones people go.
"""

from __future__ import annotations

from collections.abc import Sequence

from ghostdesk.kernel.ids import AppId

START = AppId("<start>")
"""Stands for the beginning of a session among the applications before. It is never forecast."""

Context = tuple[AppId, ...]
Shares = dict[AppId, float]

_FORGET = 0.98
"""What happened before in the same context counts so much less with each new event in it."""
_RECENT = 24
"""Length of the list of recently used applications."""


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

    def shares(self, recent: Sequence[AppId]) -> Shares:
        """Each recent application's share; a new application keeps the weight of one event."""
        whole = sum(self._ranks) + 1.0
        return {app: weight / whole for app, weight in zip(recent, self._ranks, strict=False)}


def _drop_rarest(counts: Shares) -> None:
    del counts[min(counts, key=lambda app: (counts[app], app))]
